"""Outcomes to learn from: what was known of a node, and what became of the promise there.

In: bytes of a file in one of three formats. Out: a `Dataset` of declared integers. A row is one
outcome; a group is the rows that share one measured state; a session is what was measured in one
go. Rows of one session are never split.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.features import Column, FeatureSpec

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

BYTES_MAX: Final = 1 << 30
"""Bound of a data file, unpacked."""
NS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIMED = re.compile(
    r"((?:delay_)?(?:p50|p75|p90|p95|p99))_(ns|us|ms|s)<=([0-9]{1,12}(?:\.[0-9]{1,9})?)", re.A
)
_COMPLETION = re.compile(r"completion>=(?:0\.[0-9]{1,6}|1(?:\.0{1,6})?)", re.A)


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise, such as `p99_ms<=1`, `delay_p99_ms<=2000` or `completion>=0.995`.

    Args:
        text: as it was written.
        indicator: what the data calls the outcome: `p99`, `delay_p99` or `completed`.
        target_ns: its bound; of a completion `DONE_NS`.
        kind: as of a class.
    """

    text: str
    indicator: str
    target_ns: int
    kind: Literal["latency", "delay", "completion"] = "latency"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Outcomes, row by row.

    Args:
        feature_set: name of the features.
        specs: what the columns are.
        rows: quantised features, (n, k).
        latency_ns: the indicator that came of it; `FAILED_NS` where requests failed. Of a pod that
            was to complete: `DONE_NS` where it did, else `FAILED_NS`.
        probe_ns: the indicator measured before, in the state that the features describe; 0: none.
        quiet_ns: the indicator of the service when it is alone; 0 where the data does not say.
        load: requests a second that were offered.
        group: rows of one state share it.
        session: of the group.
        family: the kind of interference, or what else is to be held out together.
        campaign: of the session.
        service: whose promise it was.
        machine: the node's machine type.
        digests: of each row as it was read, hex.
        left_out: sentences on what was not taken, with counts.
        anchors: names of the features of a model's line.
        plain: what was measured, as it is, (n, m) floats: for peers only; NaN is missing.
        plain_names: of its columns.
    """

    feature_set: str
    specs: tuple[FeatureSpec, ...]
    rows: Column
    latency_ns: Column
    probe_ns: Column
    quiet_ns: Column
    load: Column
    group: Texts
    session: Texts
    family: Texts
    campaign: Texts
    service: Texts
    machine: Texts
    digests: Texts
    anchors: tuple[str, ...]
    plain: Floats
    plain_names: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def kept(self, target_ns: int) -> npt.NDArray[np.bool_]:
        """Which outcomes keep the target."""
        found: npt.NDArray[np.bool_] = self.latency_ns <= target_ns
        return found

    def only(self, chosen: npt.NDArray[np.bool_]) -> Dataset:
        """The chosen rows."""
        changes = {name: getattr(self, name)[chosen] for name in _PER_ROW}
        return replace(self, **changes)

    def split(self, by: str) -> Texts:
        """The unit that each row is held out with: `session`, `family` or `campaign`."""
        return {"session": self.session, "family": self.family, "campaign": self.campaign}[by]


FAILED_NS: Final = 10**15
"""What failed requests count as: no target is that far."""
DONE_NS: Final = 1
"""What a completed pod counts as: so the one question asked of it is whether it completed."""

_PER_ROW: Final = (
    *("rows", "latency_ns", "probe_ns", "quiet_ns", "load", "group", "session", "family"),
    *("campaign", "service", "machine", "digests", "plain"),
)


def parse_objective(text: str) -> Objective:
    """The objective as it is typed.

    Raises:
        ConfigError: it is none that this release can learn.
    """
    plain = text.replace(" ", "")
    if _COMPLETION.fullmatch(plain) and float(plain.partition(">=")[2]) > 0:
        return Objective(plain, "completed", DONE_NS, "completion")
    match = _TIMED.fullmatch(plain)
    target = Fraction(match[3]) * NS[match[2]] if match else Fraction(0)
    if match is None or not 0 < target < FAILED_NS or target.denominator != 1:
        fix = (
            "write a quantile, its unit and its bound in whole ns, such as p99_ms<=1 or "
            "delay_p99_s<=2, or a share such as completion>=0.995"
        )
        raise ConfigError("not an objective", where="--objective", value=text, fix=fix)
    kind: Literal["latency", "delay"] = "delay" if match[1].startswith("delay_") else "latency"
    return Objective(plain, match[1], int(target), kind)


def unpacked(data: bytes, where: str) -> str:
    """The text of a file that may be packed with gzip.

    Raises:
        ConfigError: it is torn, too large, or no UTF-8.
    """
    try:
        if data[:2] == b"\x1f\x8b":
            machine = zlib.decompressobj(wbits=31)
            data = machine.decompress(data, BYTES_MAX + 1)
            if not machine.eof and len(data) <= BYTES_MAX:
                raise ConfigError("cut off", where=where, fix="copy the file again")
        if len(data) > BYTES_MAX:
            raise ConfigError("too large", where=where, value=len(data), fix="split the file")
        return data.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        fix = "give UTF-8 text, plain or packed with gzip"
        raise ConfigError(f"not readable: {error}", where=where, fix=fix) from error


def digest_of(values: Sequence[str]) -> str:
    """The first 16 hex digits of the digest of one row as it was read."""
    text = "\x1f".join(values).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def number(text: str, where: str) -> float | None:
    """A decimal number of a cell; None where it is empty or `nan`.

    Raises:
        ConfigError: it is no number, or an infinite one.
    """
    if text.strip().lower() in ("", "nan"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("inf")
    if value in (float("inf"), float("-inf")):
        raise ConfigError("not a number", where=where, value=text, fix="write it in decimal digits")
    return value


def nanoseconds(value: float, unit: str) -> int:
    """A time as whole nanoseconds, rounded half to even."""
    return round(value * NS[unit])
