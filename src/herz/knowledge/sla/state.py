"""A node's state as features: what a model is asked about a service on a node.

Each feature has a name, a unit and a source; all are whole numbers. A signal that was not
measured, or that is stale, is `MISSING`, and so is every feature made from it. The same function
makes the features of a decision and those of a training row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from herz.knowledge.sla.features import LIMIT, MISSING, FeatureSpec

Int64s: TypeAlias = npt.NDArray[np.int64]

WHOLE: Final = 10_000
VERSION: Final = 1
"""Of this list: a feature that changes its meaning changes it."""
LOADS: Final = ("cpu", "bandwidth", "io", "network")
"""What pods share on a node, besides memory."""
SIGNALS: Final = {
    "cpu_utilisation": ("basis points", "cAdvisor"),
    "bandwidth_utilisation": ("basis points", "hardware counters (resctrl MBM)"),
    "io_utilisation": ("basis points", "/proc/diskstats"),
    "network_utilisation": ("basis points", "/proc/net/dev"),
    "run_queue_wait": ("microseconds a second", "/proc/schedstat"),
    "cpu_pressure": ("basis points", "PSI, some, avg60"),
    "network_jitter": ("microseconds", "probe"),
    "requested_cpu": ("milli cores", "requests of the pods that the sample saw"),
}
"""Names of the signals that are read, with unit and source."""
COUNTERS: Final = ("bandwidth_utilisation",)
"""Those that only hardware counters give."""
SERVICE: Final = (
    "cpu_burstiness",
    "memory_residency",
    "network_jitter_sensitivity",
    "io_stability",
    "cpu_used",
    "cpu_sensitivity",
    "bandwidth_sensitivity",
    "io_sensitivity",
)
"""Traits of the service whose promise is at stake."""


def _spec(name: str, unit: str, source: str, monotone: Literal[-1, 0] = -1) -> FeatureSpec:
    return FeatureSpec(name=name, unit=unit, source=source, monotone=monotone)


MEASURED: Final = tuple(name for name in SIGNALS if name != "requested_cpu")
"""The signals that are features as they are."""

STRAINS: Final = {
    "cpu": "cpu_sensitivity",
    "bandwidth": "bandwidth_sensitivity",
    "io": "io_sensitivity",
    "network": "network_jitter_sensitivity",
}
"""By load, the trait that tells how much the service feels it."""

FEATURES: Final = (
    *(_spec(f"node_{name}", *SIGNALS[name]) for name in MEASURED),
    _spec("unseen_cpu", "basis points", "requests of the pods that came after the sample"),
    *(_spec(f"expected_{name}", "basis points", "profiles of the pods there") for name in LOADS),
    _spec("requested_cpu", "basis points", "requests of the pods there"),
    _spec("requested_memory", "basis points", "requests of the pods there"),
    *(_spec(f"strain_{name}", "basis points", "expected load times sensitivity") for name in LOADS),
    *(_spec(f"service_{name}", "see profiles", "the service's profile", 0) for name in SERVICE),
)
"""All features, in the order of the columns; more of a load never helps a promise."""
NAMES: Final = tuple(feature.name for feature in FEATURES)
ANCHORS: Final = tuple(f"expected_{name}" for name in LOADS)
"""Features that are always there, and on which a model goes straight on beyond what it saw."""


def names_of(feature_set: str) -> tuple[str, ...]:
    """The features that a set has: `counters`, `psi+schedstat` or `requests-only`."""
    if feature_set == "counters":
        return NAMES
    if feature_set == "psi+schedstat":
        return tuple(name for name in NAMES if name.removeprefix("node_") not in COUNTERS)
    return tuple(name for name in NAMES if not name.startswith(("node_", "unseen_")))


def node_features(
    signals: Mapping[str, Int64s],
    expected: Mapping[str, Int64s],
    requested: Mapping[str, Int64s],
    allocatable: Mapping[str, Int64s],
) -> Int64s:
    """The node's features, shape (rows, their number), column by column in memory.

    Args:
        signals: by name, a value by row.
        expected: by load, what the pods there use by their profiles, in basis points.
        requested: `cpu` (milli) and `memory` asked by the pods there.
        allocatable: of both.
    """
    cpu, memory = (np.maximum(allocatable[name], 1) for name in ("cpu", "memory"))
    seen = signals["requested_cpu"]
    unseen = np.maximum(requested["cpu"] - seen, 0) * WHOLE // cpu
    columns = [signals[name] for name in MEASURED]
    columns.append(np.where(seen == MISSING, MISSING, unseen))
    columns += [expected[name] for name in LOADS]
    columns.append(requested["cpu"] * WHOLE // cpu)
    columns.append(requested["memory"] // 1024 * WHOLE // np.maximum(memory // 1024, 1))
    return np.stack(columns).T


def with_service(node: Int64s, traits: Mapping[str, int]) -> Int64s:
    """The whole rows, for the service of these traits, shape (rows, len(FEATURES)).

    Cost: 0.3 ms for 5,000 rows (`bench/micro/bench_sla_model.py`), column by column.
    """
    first, width = NAMES.index(ANCHORS[0]), node.shape[1]
    found = np.empty((len(FEATURES), len(node)), np.int64)
    found[:width] = node.T
    strains = found[width : width + len(STRAINS)]
    sensitivities = np.array([[traits[trait]] for trait in STRAINS.values()], np.int64)
    np.multiply(found[first : first + len(STRAINS)], sensitivities, out=strains)
    np.floor_divide(strains, WHOLE, out=strains)
    found[width + len(STRAINS) :] = [[traits[name]] for name in SERVICE]
    is_missing = found == MISSING
    np.clip(found, -LIMIT, LIMIT, out=found)
    np.putmask(found, is_missing, MISSING)
    return found.T


def measured(values: Mapping[str, float]) -> dict[str, int]:
    """What a `NodeSignals` object may say of measurements: whole numbers of known signals.

    Rounded half to even; NaN and infinities are no measurements, and are left out.
    """
    return {
        name: round(values[name])
        for name in SIGNALS
        if name in values and math.isfinite(values[name])
    }
