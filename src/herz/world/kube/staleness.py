"""What must wait while watches have gaps, by kind: the table of docs/reference/live.md.

Most kinds decide about every pod: while one of them may be out of date, nothing is decided. Of the
others only some effects follow. These are decided, and taken back before they leave, as if the API
had refused them: the pod keeps nothing, is told why, and is tried again after its back-off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from herz.model.effects import Bind, DeletePod, Effect, Evict, PatchClaim, PatchVolume
from herz.model.objects import Pod
from herz.model.storage import PodVolume
from herz.model.workload import COSCHEDULING_GROUP_LABEL

BUDGETS: Final = frozenset({"poddisruptionbudgets"})
"""Whom preemption may end."""
GROUPS: Final = frozenset({"podgroups"})
"""How many pods of a gang must be placed together."""
STORAGE: Final = frozenset(
    {
        "persistentvolumes",
        "persistentvolumeclaims",
        "storageclasses",
        "csinodes",
        "csidrivers",
        "csistoragecapacities",
        "volumeattachments",
    }
)
"""Where a pod's volumes are, or may be, and how many a node takes."""
PARTIAL: Final = BUDGETS | GROUPS | STORAGE
"""Kinds of which only some pods' effects follow; of all others every decision does."""

_SOURCES: Final = tuple(
    name for name in PodVolume.__struct_fields__ if name not in ("name", "image")
)


def stops_all(stale: Collection[str]) -> bool:
    """Whether nothing may be decided while these kinds may be out of date."""
    return not PARTIAL.issuperset(stale)


def withheld(effect: Effect, pods: Mapping[str, Pod], stale: Collection[str]) -> str:
    """Why an effect may not leave that was decided while kinds had gaps; empty where it may.

    Args:
        effect: what was decided.
        pods: as the watch last showed them, by namespace and name.
        stale: the kinds' plurals.
    """
    found = sorted(_needed(effect, pods).intersection(stale))
    return f"{', '.join(found)}: what is known may be out of date" if found else ""


def _needed(effect: Effect, pods: Mapping[str, Pod]) -> frozenset[str]:
    """The partial kinds that the effect follows from."""
    if isinstance(effect, DeletePod | Evict):
        return BUDGETS
    if isinstance(effect, PatchClaim | PatchVolume):
        return STORAGE
    if not isinstance(effect, Bind):
        return frozenset()
    pod = pods.get(f"{effect.namespace}/{effect.name}")
    if pod is None:
        return STORAGE | GROUPS
    storage = STORAGE if any(map(_has_source, pod.spec.volumes)) else frozenset()
    is_in_group = pod.spec.scheduling_group or COSCHEDULING_GROUP_LABEL in pod.metadata.labels
    return storage | GROUPS if is_in_group else storage


def _has_source(volume: PodVolume) -> bool:
    return any(getattr(volume, name) is not None for name in _SOURCES)
