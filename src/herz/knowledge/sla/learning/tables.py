"""The formats `csv` and `records`: outcomes of any service, as a table or a line of JSON each.

`csv` has a head line. These columns are read; every other one is a feature, a number of which
1/1000 is one quantum:

| column | |
|---|---|
| `session` | required: what was measured in one go |
| `p99_ms` | the outcome; quantile and unit as in the objective or in any unit |
| `delay_p99_ms`, `completed` | the outcome of a delay; of a pod that was to complete: 1 or 0 |
| `group` | rows of one state share it; by default each row is its own |
| `family`, `campaign`, `service`, `machine` | by default `all`, the session, `service`, none |
| `quiet_p99_ms` | the indicator when the service is alone |
| `probe_p99_ms` | the indicator in the state that the features describe |
| `load` | offered requests a second |

`records` is JSON, one object a line. The first says what the features are (`feature_set`,
`features`, `anchors`); each other one has the keys of the columns above, times in whole ns
(`p99_ns`, `delay_p99_ns`), `completed` as true or false, and `features`: the quantised integers
in order, null where missing. Rows of another promise than the one that is learned are left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from herz.errors import ConfigError
from herz.knowledge.sla.features import LIMIT, MISSING, FeatureSpec
from herz.knowledge.sla.learning.dataset import (
    DONE_NS,
    FAILED_NS,
    NS,
    Dataset,
    Objective,
    digest_of,
    nanoseconds,
    number,
)

NAMES: Final = ("session", "group", "family", "campaign", "service", "machine")
COLUMNS_MAX: Final = 1000
_QUANTILES: Final = ("p50", "p75", "p90", "p95", "p99")
_DONE: Final = "completed"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of `records`."""

    feature_set: str
    features: tuple[FeatureSpec, ...]
    anchors: tuple[str, ...] = ()


class _Outcome(msgspec.Struct, frozen=True):
    """One outcome, of either format."""

    session: str
    features: tuple[int | None, ...]
    outcome_ns: int
    quiet_ns: int = 0
    probe_ns: int = 0
    load: int = 0
    names: dict[str, str] = {}
    digest: str = ""


def read_records(text: str, where: str, objective: Objective) -> Dataset:
    """The outcomes of a file of JSON lines.

    Raises:
        ConfigError: a line is no JSON, lacks a key, or has other features than the first says.
    """
    lines = [(at, line) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ConfigError("empty", where=where, fix="give a head line and outcomes")
    head = _decoded(lines[0][1], Head, f"{where}:{lines[0][0]}")
    rows = [(at, line, _decoded(line, dict[str, Any], f"{where}:{at}")) for at, line in lines[1:]]
    key = _key(objective)
    ours = [one for one in rows if key in one[2] or not _is_outcome(one[2])]
    outcomes = [_record(row, objective, f"{where}:{at}", line) for at, line, row in ours]
    found = _dataset(head, outcomes, where)
    others = len(rows) - len(ours)
    told = (f"{others} outcomes of other promises than {objective.text}",) if others else ()
    return replace(found, left_out=told)


def read_csv(text: str, where: str, objective: Objective, *, feature_set: str = "csv") -> Dataset:
    """The outcomes of a table.

    Raises:
        ConfigError: the outcome or the session is not there, a cell is no number, or a line has
            another length.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    head = next(reader, [])
    if len(set(head)) != len(head) or not 0 < len(head) <= COLUMNS_MAX:
        fix = f"give a head line of different names, at most {COLUMNS_MAX}"
        raise ConfigError("no head line", where=f"{where}:1", value=head[:5], fix=fix)
    times = {
        f"{kind}{quantile}_{unit}"
        for kind in ("", "quiet_", "probe_", "delay_", "quiet_delay_", "probe_delay_")
        for quantile in _QUANTILES
        for unit in NS
    }
    known = {*times, *NAMES, "load", _DONE}
    features = [name for name in head if name not in known]
    specs = tuple(FeatureSpec(name, "as given", "column of the table", 1000) for name in features)
    outcomes = []
    for cells in reader:
        at = f"{where}:{reader.line_num}"
        if len(cells) != len(head):
            fix = f"give {len(head)} cells, as the head line"
            raise ConfigError("a line of another length", where=at, value=len(cells), fix=fix)
        row = dict(zip(head, cells, strict=True))
        outcomes.append(_line(row, specs, objective, at))
    return _dataset(Head(feature_set, specs), outcomes, where)


def _line(
    row: Mapping[str, str], specs: Sequence[FeatureSpec], objective: Objective, at: str
) -> _Outcome:
    return _Outcome(
        session=_text(row, "session", at),
        features=tuple(
            spec.quantised(number(row[spec.name], f"{at} column {spec.name}")) for spec in specs
        ),
        **_cells(row, objective, at),
        load=round(number(row.get("load", ""), f"{at} column load") or 0),
        names={name: row[name] for name in NAMES if row.get(name)},
        digest=digest_of([f"{name}={value}" for name, value in sorted(row.items())]),
    )


def _cells(row: Mapping[str, str], objective: Objective, at: str) -> dict[str, int]:
    """Outcome, quiet and probe of a row of a table."""
    if objective.kind != "completion":
        kinds = {"outcome_ns": "", "quiet_ns": "quiet_", "probe_ns": "probe_"}
        return {name: _time(row, kind, objective, at) for name, kind in kinds.items()}
    cell = row.get(_DONE, "")
    if cell not in ("0", "1"):
        fix = "write 1 where the pod completed, 0 where it did not"
        raise ConfigError("no outcome", where=f"{at} column {_DONE}", value=cell, fix=fix)
    return {"outcome_ns": _done(is_done=cell == "1"), "quiet_ns": DONE_NS}


def _done(*, is_done: bool) -> int:
    return DONE_NS if is_done else FAILED_NS


def _key(objective: Objective) -> str:
    """The key of the outcome in a line."""
    return _DONE if objective.kind == "completion" else f"{objective.indicator}_ns"


def _is_outcome(row: Mapping[str, Any]) -> bool:
    """Whether a line has an outcome of any kind."""
    names = (f"{kind}{quantile}_ns" for kind in ("", "delay_") for quantile in _QUANTILES)
    return _DONE in row or any(name in row for name in names)


def _time(row: Mapping[str, str], kind: str, objective: Objective, at: str) -> int:
    """A time in ns, of whichever unit the table has; 0 where it has none that need not be."""
    for unit in NS:
        name = f"{kind}{objective.indicator}_{unit}"
        if name not in row:
            continue
        value = number(row[name], f"{at} column {name}")
        if value is not None and value > 0:
            return min(nanoseconds(value, unit), FAILED_NS)
        if kind:
            return 0
        fix = "write a time above 0"
        raise ConfigError("no outcome", where=f"{at} column {name}", value=row[name], fix=fix)
    if kind:
        return 0
    fix = f"give a column such as {objective.indicator}_ms"
    raise ConfigError("a column is missing", where=at, value=objective.indicator, fix=fix)


def _record(row: dict[str, Any], objective: Objective, at: str, line: str) -> _Outcome:
    key = _key(objective)
    if objective.kind == "completion":
        if not isinstance(row.get(key), bool):
            fix = "write true where the pod completed, false where it did not"
            raise ConfigError("no outcome", where=at, value=row.get(key), fix=fix)
        row = {**row, key: _done(is_done=row[key]), f"quiet_{key}": DONE_NS}
    given = {
        "session": row.get("session", ""),
        "features": row.get("features"),
        "outcome_ns": row.get(key),
        "quiet_ns": row.get(f"quiet_{key}", 0),
        "probe_ns": row.get(f"probe_{key}", 0),
        "load": row.get("load", 0),
        "names": {name: row[name] for name in NAMES if name in row},
        "digest": digest_of([line.strip()]),
    }
    try:
        found = msgspec.convert(given, _Outcome)
    except msgspec.ValidationError as error:
        fix = f"give session, features and {key} as docs/reference/sla-model.md has them"
        raise ConfigError(f"not an outcome: {error}", where=at, fix=fix) from error
    numbers = (found.quiet_ns, found.probe_ns, found.load, found.outcome_ns - 1)
    if min(numbers) < 0 or max(numbers) >= FAILED_NS or not found.session:
        fix = "give a session, an outcome above 0, and no negative or absurd number"
        raise ConfigError("out of range", where=at, fix=fix)
    return found


def _dataset(head: Head, outcomes: Sequence[_Outcome], where: str) -> Dataset:
    width = len(head.features)
    lost = sorted(set(head.anchors) - {spec.name for spec in head.features})
    if lost:
        raise ConfigError("an anchor that is no feature", where=where, value=lost, fix="mend it")
    if not outcomes:
        raise ConfigError("no outcome to learn from", where=where, fix="give at least one")
    for at, each in enumerate(outcomes, 1):
        bounded = all(value in (None, MISSING) or abs(value) <= LIMIT for value in each.features)
        if len(each.features) != width or not bounded:
            fix = f"give {width} integers, null where missing, each within {LIMIT}"
            raise ConfigError("other features", where=f"{where} outcome {at}", fix=fix)
    rows = [[MISSING if value is None else value for value in each.features] for each in outcomes]
    quantised = np.array(rows, np.int64).reshape(len(outcomes), width)

    def names(name: str, default: str | None = None) -> Any:
        chosen = [each.names.get(name, default or each.session) for each in outcomes]
        return np.array(chosen, np.str_)

    def numbers(name: str) -> Any:
        return np.array([getattr(each, name) for each in outcomes], np.int64)

    groups = [each.names.get("group", str(at)) for at, each in enumerate(outcomes)]
    return Dataset(
        feature_set=head.feature_set,
        specs=head.features,
        rows=quantised,
        latency_ns=numbers("outcome_ns"),
        probe_ns=numbers("probe_ns"),
        quiet_ns=numbers("quiet_ns"),
        load=numbers("load"),
        group=np.array(
            [f"{each.session}/{g}" for each, g in zip(outcomes, groups, strict=True)], np.str_
        ),
        session=names("session"),
        family=names("family", "all"),
        campaign=names("campaign"),
        service=names("service", "service"),
        machine=names("machine", ""),
        digests=np.array([each.digest for each in outcomes], np.str_),
        anchors=head.anchors,
        plain=np.where(quantised == MISSING, np.nan, quantised.astype(np.float64)),
        plain_names=tuple(spec.name for spec in head.features),
    )


def _text(row: Mapping[str, str], name: str, at: str) -> str:
    if not row.get(name, "").strip():
        raise ConfigError("no session", where=at, fix="give each row the name of its session")
    return row[name]


def _decoded(line: str, kind: Any, at: str) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:
        fix = "give one JSON object a line; the first names the features"
        raise ConfigError(f"not readable: {error}", where=at, fix=fix) from error
