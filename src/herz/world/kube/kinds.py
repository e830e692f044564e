"""What is watched: each kind that rules read, and where the API serves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from herz.model.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    KubernetesObject,
    Namespace,
    Node,
    NodeSignals,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    ServiceProfile,
    SLAClass,
    StatefulSet,
    StorageClass,
    VolumeAttachment,
)


@dataclass(frozen=True, slots=True)
class Watched:
    """One kind.

    Args:
        kind: what its objects are read as.
        group: of the API, with the version: `v1`, `apps/v1`.
        plural: its name in paths.
        selector: which objects count; empty: all.
        is_needed: whether nothing can be scheduled without it.
        silence_seconds: after which a watch is opened anew: its connection may be dead.
    """

    kind: type[KubernetesObject]
    group: str
    plural: str
    selector: Mapping[str, str] = field(default_factory=dict)
    is_needed: bool = False
    silence_seconds: float = 30.0

    @property
    def root(self) -> str:
        """The path of its API group's version."""
        return f"/api/{self.group}" if "/" not in self.group else f"/apis/{self.group}"

    @property
    def path(self) -> str:
        """The path of all its objects."""
        return f"{self.root}/{self.plural}"


_SCHEDULED: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}

_OWN: Final = "scheduling.herz.dev/v1alpha1"

WATCHED: Final = (
    # Pods come last: what they are decided by is known before the first of them.
    Watched(Node, "v1", "nodes", is_needed=True, silence_seconds=5),
    Watched(Namespace, "v1", "namespaces", is_needed=True),
    Watched(Service, "v1", "services"),
    Watched(ReplicationController, "v1", "replicationcontrollers"),
    Watched(ReplicaSet, "apps/v1", "replicasets"),
    Watched(StatefulSet, "apps/v1", "statefulsets"),
    Watched(PodDisruptionBudget, "policy/v1", "poddisruptionbudgets"),
    Watched(PersistentVolume, "v1", "persistentvolumes"),
    Watched(PersistentVolumeClaim, "v1", "persistentvolumeclaims"),
    Watched(StorageClass, "storage.k8s.io/v1", "storageclasses"),
    Watched(CSINode, "storage.k8s.io/v1", "csinodes"),
    Watched(CSIDriver, "storage.k8s.io/v1", "csidrivers"),
    Watched(CSIStorageCapacity, "storage.k8s.io/v1", "csistoragecapacities"),
    Watched(VolumeAttachment, "storage.k8s.io/v1", "volumeattachments"),
    Watched(PodGroup, "scheduling.k8s.io/v1alpha2", "podgroups"),
    Watched(PodGroup, "scheduling.x-k8s.io/v1alpha1", "podgroups"),
    Watched(SLAClass, _OWN, "slaclasses"),
    Watched(ServiceProfile, _OWN, "serviceprofiles"),
    Watched(NodeSignals, _OWN, "nodesignals"),
    Watched(Pod, "v1", "pods", _SCHEDULED, is_needed=True, silence_seconds=5),
)
"""All of them. A pod that ends leaves the selection: the watch tells it as a deletion."""
