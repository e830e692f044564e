"""The format `nginx-interference`: load tests of one service under injected interference.

A group is one (FolderID, Replicas, Interference_Name, Interference_ID). Its lightest run gives
the state before the load and is not scored; the others are the outcomes.

The service runs on cores 3 to 7 and the machine's others are 0 to 2: in all sessions without
interference the residency of just those cores grows with the offered load, which no label tells.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from herz.errors import ConfigError
from herz.knowledge.sla.features import Column, FeatureSpec, quantise
from herz.knowledge.sla.learning.dataset import (
    FAILED_NS,
    Dataset,
    Objective,
    Texts,
    digest_of,
    nanoseconds,
    number,
)

LIGHT_MAX: Final = 500.0
"""Requests/s above which a lightest run no longer shows the state before the load."""
BROKEN_MS: Final = 50.0
"""From here on a P99 means that requests timed out."""
OWN: Final = (3, 4, 5, 6, 7)
OTHER: Final = (0, 1, 2)
SERVICE: Final = "nginx"
MACHINE: Final = "interference-testbed"

_KEY: Final = ("FolderID", "Replicas", "Interference_Name", "Interference_ID")
_NEEDED: Final = (
    *(*_KEY, "Given_RPS", "Errors"),
    *("P50_Latency", "P90_Latency", "P99_Latency"),
    *(f"mean_Core{core}_{name}" for core in range(8) for name in ("IPC", "C0res", "C1res")),
    *(f"mean_Core{core}_{name}" for core in range(8) for name in ("L2MISS", "L3MISS")),
    *(f"mean_System_{name}" for name in ("IPC", "READ", "WRITE", "L2MISS", "L3MISS")),
)


def _spec(name: str, unit: str, source: str, per_unit: int = 1000) -> FeatureSpec:
    return FeatureSpec(name, unit, source, per_unit)


def _ratio(name: str, source: str) -> FeatureSpec:
    return FeatureSpec(name, "ratio", source, 1000, "log")


_LOAD: Final = (
    FeatureSpec("load", "requests/s", "offered, of the run to come", 1, "linear", -1, True),
    FeatureSpec("load_per_replica", "requests/s", "of the run to come", 1, "linear", -1, True),
    FeatureSpec("replicas", "pods", "of the service", is_given=True),
    FeatureSpec("load_before", "requests/s", "while the counters were read"),
)


def _counters() -> tuple[FeatureSpec, ...]:
    found = []
    for side, cores in (("own", "the service's cores"), ("other", "the other cores")):
        for how in ("mean", "max", "min"):
            found.append(_spec(f"{side}_ipc_{how}", "instructions/cycle", f"{how} over {cores}"))
            found.append(_spec(f"{side}_busy_{how}", "% of time in C0", f"{how} over {cores}"))
        for level in ("l2", "l3"):
            found.append(_spec(f"{side}_{level}_miss", "10^6 misses/s", f"sum over {cores}"))
        found.append(_spec(f"{side}_idle", "% of time in C1", f"mean over {cores}"))
    found += [
        _ratio("own_busy_over_other", "mean residency, own over other"),
        _ratio("own_busy_spread", "residency of own cores, max over min"),
        _ratio("own_busy_lift", "residency of own cores, mean over min"),
        _spec("own_ipc_range", "instructions/cycle", "max less min over the service's cores"),
        _spec("own_ipc_median", "instructions/cycle", "median over the service's cores"),
        _spec("own_ipc_busy", "instructions/cycle", "mean by residency, the service's cores"),
        _ratio("own_l2_over_other", "L2 misses, own over other"),
        _ratio("own_l3_over_other", "L3 misses, own over other"),
        _spec("system_ipc", "instructions/cycle", "the whole machine"),
        _spec("memory_read", "GB/s", "memory controllers"),
        _spec("memory_write", "GB/s", "memory controllers"),
        _spec("system_l2_miss", "10^6 misses/s", "the whole machine"),
        _spec("system_l3_miss", "10^6 misses/s", "the whole machine"),
    ]
    return tuple(found)


_PROBE: Final = tuple(
    FeatureSpec(f"probe_{name}", "ms", "the lightest run's own latency", 1000, "log", -1)
    for name in ("p50", "p90", "p99")
)

FEATURE_SETS: Final[Mapping[str, tuple[tuple[FeatureSpec, ...], tuple[str, ...]]]] = {
    "counters": (
        (*_LOAD, *_counters()),
        ("own_busy_over_other", "own_ipc_median", "other_ipc_mean"),
    ),
    "counters+probe": ((*_LOAD, *_counters(), *_PROBE), ("probe_p99",)),
}
"""By name: the features, and which of them are the anchors of the line."""


def read_interference(
    text: str, where: str, objective: Objective, *, feature_set: str = "counters+probe"
) -> Dataset:
    """The outcomes of a file.

    Args:
        text: CSV with a head line.
        where: the file, for errors.
        objective: which quantile is the outcome.
        feature_set: a key of `FEATURE_SETS`.

    Raises:
        ConfigError: a column is not there, a cell is no number, or no group is left.
    """
    if feature_set not in FEATURE_SETS:
        fix = f"use one of {', '.join(FEATURE_SETS)}"
        raise ConfigError("no such features", where="--features", value=feature_set, fix=fix)
    specs, anchors = FEATURE_SETS[feature_set]
    if objective.kind != "latency":
        what, fix = "the format has latencies only", "ask for one, such as p99_ms<=1"
        raise ConfigError(what, where=where, value=objective.text, fix=fix)
    indicator = f"{objective.indicator.upper()}_Latency"
    runs = _runs(text, where, indicator)
    groups: dict[tuple[str, ...], list[_Run]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    lightest = {key: min(each, key=_Run.rank) for key, each in groups.items()}
    loud = {key for key, run in lightest.items() if run.load > LIGHT_MAX}
    scored = [run for run in runs if run.key not in loud and run is not lightest[run.key]]
    if not scored:
        fix = f"give groups of two or more runs, the lightest at {LIGHT_MAX:g} requests/s or less"
        raise ConfigError("no outcome to learn from", where=where, fix=fix)
    probes = [lightest[run.key] for run in scored]
    plain = tuple(name for name in runs[0].cells if name.startswith(("mean_", "std_", "p95_")))
    before = {key: _state(run) for key, run in lightest.items() if key not in loud}
    values = [_with_load(before[run.key], run) for run in scored]
    return Dataset(
        feature_set=feature_set,
        specs=specs,
        rows=quantise(specs, values),
        latency_ns=_column(_outcome(run, indicator) for run in scored),
        probe_ns=_column(_outcome(run, indicator) for run in probes),
        quiet_ns=np.zeros(len(scored), np.int64),
        load=_column(round(run.load) for run in scored),
        group=_texts("/".join(run.key) for run in scored),
        session=_texts(run.key[0] for run in scored),
        family=_texts(family_of(run.key[2]) for run in scored),
        campaign=_texts(run.key[0].partition("_V")[0] for run in scored),
        service=_texts(SERVICE for _ in scored),
        machine=_texts(MACHINE for _ in scored),
        digests=_texts(run.digest for run in scored),
        anchors=anchors,
        plain=np.array([_measured(lightest[run.key], run, plain) for run in scored], np.float64),
        plain_names=("Given_RPS", "Replicas", *plain),
        left_out=(
            f"{len(loud)} groups whose lightest run exceeds {LIGHT_MAX:g} requests/s",
            f"{len(lightest) - len(loud)} lightest runs: they give the features",
        ),
    )


def family_of(name: str) -> str:
    """The kind of interference: `base`, one resource, or `mix` of several."""
    if name.startswith("Baseline"):
        return "base"
    words = [word.lower() for word in re.split(r"[_\-\s]+", name) if not word.isdigit()]
    resources = {word for word in words if word not in _NO_RESOURCE}
    return min(resources) if len(resources) == 1 else "mix"


_NO_RESOURCE: Final = {"ibench", "stress", "ng", "stressng", "pod", "pods", ""}


class _Run:
    """One line of the file."""

    __slots__ = ("cells", "digest", "key", "load", "where")

    def __init__(self, cells: Mapping[str, str], where: str) -> None:
        self.cells = cells
        self.where = where
        self.key = tuple(cells[name] for name in _KEY)
        self.load = self.needed("Given_RPS")
        self.digest = digest_of([f"{name}={value}" for name, value in sorted(cells.items())])

    def rank(self) -> tuple[float, str]:
        """Lightest first; equal ones by their digest, so that the file's order says nothing."""
        return self.load, self.digest

    def measured(self, name: str) -> float | None:
        """The number of a cell, None where it is empty."""
        return number(self.cells[name], f"{self.where} column {name}")

    def needed(self, name: str) -> float:
        """The number of a cell that must be there."""
        value = self.measured(name)
        if value is None or value < 0:
            where = f"{self.where} column {name}"
            fix = "write a number, not below 0"
            raise ConfigError("no measurement", where=where, value=self.cells[name], fix=fix)
        return value


def _runs(text: str, where: str, indicator: str) -> list[_Run]:
    reader = csv.reader(io.StringIO(text, newline=""))
    head = next(reader, [])
    lost = sorted({*_NEEDED, indicator} - set(head))
    if lost:
        fix = f"give the columns of nginx-interference; not there: {', '.join(lost[:5])}"
        raise ConfigError("a column is missing", where=f"{where}:1", fix=fix)
    runs = []
    for cells in reader:
        at = f"{where}:{reader.line_num}"
        if len(cells) != len(head):
            fix = f"give {len(head)} cells, as the head line"
            raise ConfigError("a line of another length", where=at, value=len(cells), fix=fix)
        runs.append(_Run(dict(zip(head, cells, strict=True)), at))
    return runs


def _outcome(run: _Run, indicator: str) -> int:
    """The latency in ns; failed requests and time-outs are the worst there is."""
    latency = run.needed(indicator)
    is_broken = run.needed("P99_Latency") >= BROKEN_MS or run.needed("Errors") > 0
    return FAILED_NS if is_broken else nanoseconds(latency, "ms")


def _measured(before: _Run, run: _Run, names: Sequence[str]) -> list[float | None]:
    """Every counter of the lightest run as it is, and the load that is to come."""
    return [run.load, run.needed("Replicas"), *(before.measured(name) for name in names)]


def _with_load(state: Mapping[str, float | None], run: _Run) -> dict[str, float | None]:
    """The state before, and the load that is to come."""
    replicas = run.needed("Replicas")
    if replicas < 1:
        fix = "give at least one replica"
        raise ConfigError("no replica", where=run.where, value=run.key[1], fix=fix)
    return {
        **state,
        "load": run.load,
        "load_per_replica": run.load / replicas,
        "replicas": replicas,
    }


def _state(run: _Run) -> dict[str, float | None]:
    """What the lightest run shows of the node and of the service, by feature."""
    found: dict[str, float | None] = {"load_before": run.load}
    cores = {
        name: [run.measured(f"mean_Core{core}_{name}") for core in range(8)]
        for name in ("IPC", "C0res", "C1res", "L2MISS", "L3MISS")
    }
    for side, numbers in (("own", OWN), ("other", OTHER)):
        ipc, busy, idle, l2, l3 = (_chosen(cores[name], numbers) for name in cores)
        for name, values in (("ipc", ipc), ("busy", busy)):
            found[f"{side}_{name}_mean"] = _mean(values)
            found[f"{side}_{name}_max"] = max(values, default=None)
            found[f"{side}_{name}_min"] = min(values, default=None)
        found[f"{side}_idle"] = _mean(idle)
        found[f"{side}_l2_miss"] = sum(l2) if l2 else None
        found[f"{side}_l3_miss"] = sum(l3) if l3 else None
        if side == "own" and ipc and busy:
            found["own_ipc_range"] = max(ipc) - min(ipc)
            found["own_ipc_median"] = sorted(ipc)[len(ipc) // 2]
            found["own_ipc_busy"] = _over(
                sum(a * b for a, b in zip(ipc, busy, strict=True)), sum(busy)
            )
            found["own_busy_spread"] = _over(max(busy), max(min(busy), 0.01))
            found["own_busy_lift"] = _over(sum(busy) / len(busy), max(min(busy), 0.01))
    found["own_busy_over_other"] = _over(found["own_busy_mean"], found["other_busy_mean"])
    for level in ("l2", "l3"):
        pair = (found[f"own_{level}_miss"], found[f"other_{level}_miss"])
        found[f"own_{level}_over_other"] = _over(pair[0], pair[1])
    for name, column in _SYSTEM.items():
        found[name] = run.measured(f"mean_System_{column}")
    for name in ("p50", "p90", "p99"):
        found[f"probe_{name}"] = run.measured(f"{name.upper()}_Latency") or None
    return found


_SYSTEM: Final = {
    "system_ipc": "IPC",
    "memory_read": "READ",
    "memory_write": "WRITE",
    "system_l2_miss": "L2MISS",
    "system_l3_miss": "L3MISS",
}


def _chosen(values: Sequence[float | None], numbers: Sequence[int]) -> list[float]:
    """The values of these cores; none if one of them was not measured."""
    chosen = [values[at] for at in numbers]
    there = [value for value in chosen if value is not None]
    return there if len(there) == len(chosen) else []


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _over(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _column(values: Iterable[int]) -> Column:
    return np.array(list(values), np.int64)


def _texts(values: Iterable[str]) -> Texts:
    return np.array(list(values), np.str_)
