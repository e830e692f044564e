"""All objects in one place: import them from here."""

from __future__ import annotations

from typing import TypeAlias

from herz.model.meta import (
    Condition,
    LabelSelector,
    LabelSelectorRequirement,
    Namespace,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    OwnerReference,
    PriorityClass,
    RawQuantity,
    ResourceMap,
    ResourceRequirements,
    Wire,
)
from herz.model.node import (
    ContainerImage,
    CSINode,
    CSINodeDriver,
    Node,
    NodeSpec,
    NodeStatus,
    Taint,
)
from herz.model.pod import (
    Affinity,
    ClaimedResources,
    Container,
    ContainerPort,
    ContainerStatus,
    NodeAffinity,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodResourceClaim,
    PodSchedulingGate,
    PodSchedulingGroup,
    PodSpec,
    PodStatus,
    PreferredSchedulingTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from herz.model.service_levels import NodeSignals, ServiceProfile, SLAClass
from herz.model.storage import (
    ClaimSpec,
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    PodVolume,
    StorageClass,
    VolumeAttachment,
)
from herz.model.workload import (
    COSCHEDULING_GROUP_LABEL,
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)

KubernetesObject: TypeAlias = (
    Pod
    | Node
    | Namespace
    | PriorityClass
    | PodDisruptionBudget
    | Service
    | ReplicationController
    | ReplicaSet
    | StatefulSet
    | PersistentVolumeClaim
    | PersistentVolume
    | StorageClass
    | CSINode
    | CSIDriver
    | CSIStorageCapacity
    | VolumeAttachment
    | PodGroup
    | SLAClass
    | NodeSignals
    | ServiceProfile
)
"""Any object of the cluster. Its JSON names its `kind`, so the union can be decoded; with
`herz.model.decode.decoder`, which keeps numbers exact."""

__all__ = [
    "COSCHEDULING_GROUP_LABEL",
    "Affinity",
    "CSIDriver",
    "CSINode",
    "CSINodeDriver",
    "CSIStorageCapacity",
    "ClaimSpec",
    "ClaimedResources",
    "Condition",
    "Container",
    "ContainerImage",
    "ContainerPort",
    "ContainerStatus",
    "KubernetesObject",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Namespace",
    "Node",
    "NodeAffinity",
    "NodeSelector",
    "NodeSelectorRequirement",
    "NodeSelectorTerm",
    "NodeSignals",
    "NodeSpec",
    "NodeStatus",
    "ObjectMeta",
    "OwnerReference",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "PodAffinity",
    "PodAffinityTerm",
    "PodDisruptionBudget",
    "PodGroup",
    "PodResourceClaim",
    "PodSchedulingGate",
    "PodSchedulingGroup",
    "PodSpec",
    "PodStatus",
    "PodVolume",
    "PreferredSchedulingTerm",
    "PriorityClass",
    "RawQuantity",
    "ReplicaSet",
    "ReplicationController",
    "ResourceMap",
    "ResourceRequirements",
    "SLAClass",
    "Service",
    "ServiceProfile",
    "StatefulSet",
    "StorageClass",
    "Taint",
    "Toleration",
    "TopologySpreadConstraint",
    "VolumeAttachment",
    "WeightedPodAffinityTerm",
    "Wire",
]
