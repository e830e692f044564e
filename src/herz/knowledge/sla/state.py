"""A node's state as features: what a model is asked about a service on a node.

Each feature has a name, a unit and a source; all are whole numbers. A signal that was not
measured, or that is stale, is `MISSING`, and so is every feature made from it. The same function
makes the features of a decision and those of a training row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Int64s: TypeAlias = npt.NDArray[np.int64]

MISSING: Final = -(1 << 63)
"""As `herz.plugin.MISSING`."""
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


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature.

    Args:
        name: of it.
        unit: of the value.
        source: where the value comes from.
    """

    name: str
    unit: str
    source: str


MEASURED: Final = tuple(name for name in SIGNALS if name != "requested_cpu")
"""The signals that are features as they are."""

FEATURES: Final = (
    *(Feature(f"node_{name}", *SIGNALS[name]) for name in MEASURED),
    Feature("unseen_cpu", "basis points", "requests of the pods that came after the sample"),
    *(Feature(f"expected_{name}", "basis points", "profiles of the pods there") for name in LOADS),
    Feature("requested_cpu", "basis points", "requests of the pods there"),
    Feature("requested_memory", "basis points", "requests of the pods there"),
    *(Feature(f"service_{name}", "see profiles", "the service's profile") for name in SERVICE),
)
"""All features, in the order of the columns."""
NAMES: Final = tuple(feature.name for feature in FEATURES)
NODE_COUNT: Final = len(FEATURES) - len(SERVICE)
"""How many of them are the node's; the service's follow."""


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
    """The node's features, shape (rows, NODE_COUNT).

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
    return np.stack(columns, axis=1)


def with_service(node: Int64s, traits: Mapping[str, int]) -> Int64s:
    """The whole rows, for the service of these traits, shape (rows, len(FEATURES))."""
    service = np.array([traits[name] for name in SERVICE], np.int64)
    return np.hstack((node, np.broadcast_to(service, (len(node), len(service)))))
