"""A node: its labels, taints and allocatable resources, and what CSI drivers it runs."""

from __future__ import annotations

import msgspec

from herz.model.meta import Condition, ObjectMeta, ResourceMap, Wire


class Taint(Wire, frozen=True, kw_only=True):
    """A mark that keeps away the pods that don't tolerate it."""

    key: str = ""
    value: str = ""
    effect: str = ""
    time_added: str | None = None


class NodeSpec(Wire, frozen=True, kw_only=True):
    """What is wanted of the node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class ContainerImage(Wire, frozen=True, kw_only=True):
    """An image that the node holds, under all its names."""

    names: tuple[str, ...] = ()
    size_bytes: int = 0


class NodeStatus(Wire, frozen=True, kw_only=True):
    """What the node reports. `allocatable` binds placement, never `capacity`."""

    allocatable: ResourceMap = msgspec.field(default_factory=dict)
    capacity: ResourceMap = msgspec.field(default_factory=dict)
    images: tuple[ContainerImage, ...] = ()
    conditions: tuple[Condition, ...] = ()
    declared_features: tuple[str, ...] = ()


class Node(Wire, frozen=True, kw_only=True, tag_field="kind", tag="Node"):
    """A node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def name(self) -> str:
        """The node's name, which is its key."""
        return self.metadata.name


class CSIDriverAllocatable(Wire, frozen=True, kw_only=True):
    """How many volumes of a driver the node can hold; None is no limit."""

    count: int | None = None


class CSINodeDriver(Wire, frozen=True, kw_only=True):
    """One CSI driver on a node."""

    name: str = ""
    node_id: str = msgspec.field(default="", name="nodeID")
    topology_keys: tuple[str, ...] | None = ()
    allocatable: CSIDriverAllocatable | None = None


class CSINodeSpec(Wire, frozen=True, kw_only=True):
    """The CSI drivers on a node."""

    drivers: tuple[CSINodeDriver, ...] = ()


class CSINode(Wire, frozen=True, kw_only=True, tag_field="kind", tag="CSINode"):
    """What CSI drivers a node runs (storage.k8s.io/v1); named like its node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CSINodeSpec = CSINodeSpec()
