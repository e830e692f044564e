"""A truth whose curves were measured: how response times grew in sessions that no model has seen.

The load tests of `nginx-interference` say, session by session, how the P99 of one service grew
with the number of pods that load the cpu or the memory bandwidth. The form of that growth is a
session's curve, and each seed has one session's. Size, knees, queues and all else stay made up;
so do I/O and network, which the sessions did not load. The file is not part of the repository.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.sla.loop import frozen
from herz.errors import ConfigError
from herz.knowledge.sla.learning.dataset import number, unpacked
from herz.world.sim.promises.curves import Floats
from herz.world.sim.promises.truth import LOADS, Truth

MEASURED: Final = {"cpu": "CPU", "bandwidth": "memBW"}
"""By load, what the load tests call who makes it."""
FULL: Final = 3.0
"""The slowdown's shape where a node is full: that of the made-up curve, so that sizes compare."""
RISE_MIN: Final = 1.5
"""A session whose P99 grows less than so many times has no form to speak of."""
_KIND: Final = re.compile(r"(\d+)_iBench_(CPU|memBW)_pods?")
_NEEDED: Final = ("FolderID", "Replicas", "Interference_Name", "Given_RPS", "P99_Latency")


class Curve(NamedTuple):
    """How much slower by pressure.

    Attributes:
        pressure: from 0 to 1, rising.
        shape: 0 at the start, `FULL` at the end, never falling.
    """

    pressure: tuple[float, ...]
    shape: tuple[float, ...]

    def at(self, pressure: Floats) -> Floats:
        """The shape; beyond 1 straight on from the start through the end."""
        inside = np.interp(pressure, self.pressure, self.shape)
        found: Floats = np.where(pressure > 1, FULL * pressure, inside)
        return found


Curves = Mapping[str, Mapping[str, Curve]]
"""By session and load."""


class MeasuredTruth(Truth):
    """A truth with a session's curves.

    Args:
        curves: of all sessions; the seed says which.
        setup: as of `Truth`; the generator is the last one.
    """

    def __init__(self, curves: Curves, *setup: Any) -> None:
        super().__init__(*setup)
        generator: random.Random = setup[-1]
        names = sorted(curves)
        self.session = names[generator.randrange(len(names))]
        self._curves = curves[self.session]

    def slowdown(self, utilisation: Floats) -> Floats:
        """See `Truth.slowdown`."""
        felt = self.pressure(utilisation)
        shape = felt + 2 * felt * felt
        for name, curve in self._curves.items():
            at = LOADS.index(name)
            shape[at] = curve.at(felt[at])
        found: Floats = 1 + self.feels @ shape
        return found


def measured(path: Path) -> tuple[Curves, str]:
    """The curves of a file, and the digest of all that is frozen with them.

    Raises:
        ConfigError: a column or a number is missing, or no session has a curve for each load.
    """
    text = unpacked(path.read_bytes(), str(path))
    whole = hashlib.sha256(frozen().encode())
    for part in (text.encode(), Path(__file__).read_bytes()):
        whole.update(hashlib.sha256(part).digest())
    return curves_of(text, str(path)), f"sha256:{whole.hexdigest()}"


def maker(curves: Curves) -> partial[MeasuredTruth]:
    """What makes a run's truth (`herz.world.sim.driver.Driver.make_truth`)."""
    return partial(MeasuredTruth, curves)


def curves_of(text: str, where: str) -> Curves:
    """The curves of sessions with a quiet baseline and both kinds of load."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    lost = sorted(set(_NEEDED) - set(reader.fieldnames or ()))
    if lost:
        fix = "give the load tests of nginx-interference"
        raise ConfigError("a column is missing", where=where, value=lost[0], fix=fix)
    # By session and load: by number of pods, how many times the quiet P99.
    grown: dict[str, dict[str, dict[int, list[float]]]] = {}
    runs = [_run(row, f"{where}:{at}") for at, row in enumerate(reader, 2)]
    quiet = _quiet(runs)
    for run in runs:
        match = _KIND.fullmatch(run.kind)
        before = quiet.get((run.session, run.replicas, run.load))
        if match is None or before is None or run.p99_ms is None:
            continue
        loads = {theirs: ours for ours, theirs in MEASURED.items()}
        of_load = grown.setdefault(run.session, {}).setdefault(loads[match[2]], {})
        of_load.setdefault(int(match[1]), []).append(run.p99_ms / before)
    found = {}
    for session, loads_grown in grown.items():
        curves = {name: _curve(ratios) for name, ratios in loads_grown.items()}
        some = {name: curve for name, curve in curves.items() if curve is not None}
        if len(some) == len(MEASURED):
            found[session] = some
    if not found:
        fix = "give sessions with baselines, CPU and memBW pods at the same loads"
        raise ConfigError("no session has a curve for each load", where=where, fix=fix)
    return found


class _Run(NamedTuple):
    session: str
    replicas: str
    kind: str
    load: float
    p99_ms: float | None


def _run(row: Mapping[str, str], where: str) -> _Run:
    load = number(row["Given_RPS"], f"{where} column Given_RPS") or 0.0
    p99_ms = number(row["P99_Latency"], f"{where} column P99_Latency")
    who = (row["FolderID"], row["Replicas"], row["Interference_Name"])
    return _Run(*who, load, p99_ms)


def _quiet(runs: list[_Run]) -> dict[tuple[str, str, float], float]:
    """The median P99 of the baselines, by session, replicas and load."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for run in runs:
        if run.kind.startswith("Baseline") and run.p99_ms:
            found.setdefault((run.session, run.replicas, run.load), []).append(run.p99_ms)
    return {key: float(np.median(values)) for key, values in found.items()}


def _curve(ratios: Mapping[int, list[float]]) -> Curve | None:
    """The curve through the medians; None where there is too little of it."""
    pods = sorted(ratios)
    medians = np.maximum.accumulate([1.0, *(float(np.median(ratios[one])) for one in pods)])
    if len(pods) < 2 or medians[-1] < RISE_MIN:
        return None
    shape = FULL * (medians - 1) / (medians[-1] - 1)
    return Curve((0.0, *(one / pods[-1] for one in pods)), tuple(shape.tolist()))
