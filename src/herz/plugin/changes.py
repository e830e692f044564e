"""What a rule depends on, and what happens to it: aspects of rows, questions, events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from herz.model.labels import LabelMatcher
    from herz.model.podinfo import PodGroupKey, PodInfo


class Reads(IntFlag):
    """What a rule's answer for a row depends on; the runner asks again when it changes."""

    NOTHING = 0
    LABELS = 1
    TAINTS = 2
    """Taints and `spec.unschedulable`."""
    ALLOCATABLE = 4
    REQUESTED = 8
    """Resources asked by the pods on the row."""
    PORTS = 16
    IMAGES = 32
    FEATURES = 64
    DEVICES = 128
    """Shared accelerators' free shares."""
    ANNOTATIONS = 256
    NODES = 512
    """Which rows exist; only meaningful in `reads_all`."""
    MIX = 1024
    """The mix of pods seen so far (`View.mix`); only meaningful in `reads_all`."""
    PODS = 2048
    """Which pods, by labels and by their terms, are on which rows; only in `reads_all`."""
    OWNERS = 4096
    """Services and the controllers that own pods; this and what follows: not in `reads`."""
    NAMESPACES = 8192
    VOLUMES = 16384
    """Claims, volumes, storage classes, and what CSI drivers say of nodes."""
    GROUPS = 32768
    """PodGroups."""
    BUDGETS = 65536
    """PodDisruptionBudgets."""
    DISKS = 131072
    """Which claims and disks the pods on the row mount."""
    SIGNALS = 1 << 18
    """What was measured on the node, and whether it is stale."""
    PROMISES = 1 << 19
    """SLA classes and service profiles; not in `reads`."""
    PREEMPTION = 1 << 20
    """What preemption reads besides: nominations to the row, and when its pods started."""


@dataclass(frozen=True, slots=True)
class PodQuery:
    """Which pods on nodes are meant: those that meet all conditions.

    Args:
        conditions: (namespaces, labels) each; None: all namespaces.
        is_terminating_counted: whether pods that are being deleted are meant too.
    """

    conditions: tuple[tuple[frozenset[str] | None, LabelMatcher], ...]
    is_terminating_counted: bool = True

    def means(self, pod: PodInfo) -> bool:
        """Whether the pod is meant."""
        return self.means_group(pod.group)

    def means_group(self, group: PodGroupKey) -> bool:
        """Whether pods that look so to selectors are meant."""
        if group.is_terminating and not self.is_terminating_counted:
            return False
        labels = dict(group.labels)
        return all(
            (namespaces is None or group.namespace in namespaces) and matcher.matches(labels)
            for namespaces, matcher in self.conditions
        )


class EventKind(StrEnum):
    """What a cluster event is about, for hints, by Kubernetes' labels."""

    NODE_ADD = "NodeAdd"
    NODE_UPDATE = "NodeUpdate"
    NODE_DELETE = "NodeDelete"
    ASSIGNED_POD_UPDATE = "AssignedPodUpdate"
    """A pod on a node takes less than before."""
    ASSIGNED_POD_DELETE = "AssignedPodDelete"
    """A pod left its node, or a reservation was released."""
    UNSCHEDULED_POD_UPDATE = "UnscheduledPodUpdate"
    """The waiting pod itself changed."""
    UNSCHEDULED_POD_ADD = "UnscheduledPodAdd"
    """Another pod of a group came; pods without a group come untold."""
    ASSIGNED_POD_ADD = "AssignedPodAdd"
    """A pod was seen on a node, or its labels changed there: others may want to be near it."""
    OBJECT_ADD = "ObjectAdd"
    """An object that is neither node nor pod came; `Change.aspects` says of which family."""
    OBJECT_UPDATE = "ObjectUpdate"
    OBJECT_DELETE = "ObjectDelete"


@dataclass(frozen=True, slots=True)
class Change:
    """A cluster event as hints see it.

    Args:
        kind: what happened.
        aspects: for NODE_UPDATE, the aspects of the node that changed; for OBJECT_*, the family.
        old: the object (Node, PodInfo or what the family has) before; None when it was added.
        new: the object after; None when it was deleted.
        may_hold: for room that was given back, whether the node could hold a pod now by what is
            asked of its resources, if pods of lower priority left; None: nobody can tell.
    """

    kind: EventKind
    aspects: Reads = Reads.NOTHING
    old: Any = None
    new: Any = None
    may_hold: Callable[[PodInfo], bool] | None = None


Hint: TypeAlias = Callable[["PodInfo", Change], bool]
"""Whether a change may make a pod that the rule rejected schedulable."""
