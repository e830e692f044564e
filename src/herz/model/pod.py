"""A pod: the fields of spec and status that placement reads.

`herz.model.fields` lists every field of the API's PodSpec and says which are read, which can't
change a placement, and which make Herz refuse the pod.
"""

from __future__ import annotations

import msgspec

from herz.model.meta import (
    Condition,
    LabelSelector,
    NodeSelector,
    NodeSelectorTerm,
    ObjectMeta,
    ResourceMap,
    ResourceRequirements,
    Wire,
)
from herz.model.storage import PodVolume

DISRUPTION_TARGET = "DisruptionTarget"
"""The condition of a pod that is about to be ended from outside."""
PREEMPTED = "PreemptionByScheduler"
"""Its reason where a scheduler did that."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class ContainerPort(Wire, frozen=True, kw_only=True):
    """A port; only one with a host port occupies something of the node."""

    name: str = ""
    container_port: int = 0
    host_port: int = 0
    protocol: str = ""
    host_ip: str = msgspec.field(default="", name="hostIP")


class ContainerRestartRule(Wire, frozen=True, kw_only=True):
    """What to do when a container exits; read for the node feature that it needs."""

    action: str = ""


class Container(Wire, frozen=True, kw_only=True):
    """A container or init container; `restart_policy` Always makes an init one a sidecar."""

    name: str = ""
    image: str = ""
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    restart_policy: str | None = None
    restart_policy_rules: tuple[ContainerRestartRule, ...] = ()

    @property
    def is_sidecar(self) -> bool:
        """Whether it keeps running beside the containers (for an init container)."""
        return self.restart_policy == "Always"


class PreferredSchedulingTerm(Wire, frozen=True, kw_only=True):
    """A node selector term with a weight of 1 to 100."""

    weight: int = 0
    preference: NodeSelectorTerm = NodeSelectorTerm()


class NodeAffinity(Wire, frozen=True, kw_only=True):
    """Which nodes the pod must have, and which it likes."""

    required: NodeSelector | None = msgspec.field(default=None, name=_REQUIRED)
    preferred: tuple[PreferredSchedulingTerm, ...] = msgspec.field(default=(), name=_PREFERRED)


class PodAffinityTerm(Wire, frozen=True, kw_only=True):
    """Pods to be near to, or far from, within a topology."""

    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    namespace_selector: LabelSelector | None = None
    topology_key: str = ""
    match_label_keys: tuple[str, ...] = ()
    mismatch_label_keys: tuple[str, ...] = ()


class WeightedPodAffinityTerm(Wire, frozen=True, kw_only=True):
    """A pod affinity term with a weight of 1 to 100."""

    weight: int = 0
    pod_affinity_term: PodAffinityTerm = PodAffinityTerm()


class PodAffinity(Wire, frozen=True, kw_only=True):
    """Terms of affinity, or of anti-affinity: the two have one shape."""

    required: tuple[PodAffinityTerm, ...] = msgspec.field(default=(), name=_REQUIRED)
    preferred: tuple[WeightedPodAffinityTerm, ...] = msgspec.field(default=(), name=_PREFERRED)


class Affinity(Wire, frozen=True, kw_only=True):
    """The three affinities of a pod."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class Toleration(Wire, frozen=True, kw_only=True):
    """The taints that a pod puts up with."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class TopologySpreadConstraint(Wire, frozen=True, kw_only=True):
    """How evenly matching pods must lie over the values of a node label."""

    max_skew: int = 0
    topology_key: str = ""
    when_unsatisfiable: str = ""
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: tuple[str, ...] = ()


class PodSchedulingGate(Wire, frozen=True, kw_only=True):
    """A name that keeps the pod out of the queue until it is removed."""

    name: str = ""


class PodResourceClaim(Wire, frozen=True, kw_only=True):
    """A dynamic resource claim of the pod; Herz refuses pods that have one."""

    name: str = ""
    resource_claim_name: str | None = None
    resource_claim_template_name: str | None = None


class PodOS(Wire, frozen=True, kw_only=True):
    """The operating system that the pod declares; read, as Kubernetes does, by nobody here."""

    name: str = ""


class PodSchedulingGroup(Wire, frozen=True, kw_only=True):
    """The PodGroup that the pod belongs to."""

    pod_group_name: str | None = None


class PodSpec(Wire, frozen=True, kw_only=True):
    """What the pod asks for."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    resources: ResourceRequirements | None = None
    overhead: ResourceMap = msgspec.field(default_factory=dict)
    volumes: tuple[PodVolume, ...] = ()
    restart_policy: str = ""
    node_name: str = ""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    scheduling_group: PodSchedulingGroup | None = None
    scheduler_name: str = ""
    priority: int | None = None
    priority_class_name: str = ""
    preemption_policy: str | None = None
    host_network: bool = False
    host_users: bool | None = None
    os: PodOS | None = None
    resource_claims: tuple[PodResourceClaim, ...] = ()
    termination_grace_period_seconds: int | None = None


class ContainerStatus(Wire, frozen=True, kw_only=True):
    """What a container holds on its node, which an in-place resize lets differ from its spec."""

    name: str = ""
    allocated_resources: ResourceMap = msgspec.field(default_factory=dict)
    resources: ResourceRequirements | None = None


class ClaimedResources(Wire, frozen=True, kw_only=True):
    """What a dynamic resource claim of the pod holds of its node, beside what the pod asks for."""

    resource_claim_name: str = ""
    resources: ResourceMap = msgspec.field(default_factory=dict)


class PodStatus(Wire, frozen=True, kw_only=True):
    """What the pod is, as its node and the control plane report it."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    nominated_node_name: str = ""
    start_time: str | None = None
    observed_generation: int = 0
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    allocated_resources: ResourceMap = msgspec.field(default_factory=dict)
    resources: ResourceRequirements | None = None
    resize: str = ""
    node_allocatable_resource_claim_statuses: tuple[ClaimedResources, ...] = ()


class Pod(Wire, frozen=True, kw_only=True, tag_field="kind", tag="Pod"):
    """A pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return self.metadata.key

    @property
    def is_assigned(self) -> bool:
        """Whether it has a node."""
        return self.spec.node_name != ""

    @property
    def is_terminating(self) -> bool:
        """Whether it is being deleted; it holds its resources until it is gone."""
        return self.metadata.deletion_timestamp is not None

    @property
    def is_preempted(self) -> bool:
        """Whether a scheduler has asked for its end, to make room for another pod."""
        for condition in self.status.conditions:
            if condition.type == DISRUPTION_TARGET:
                return condition.status == "True" and condition.reason == PREEMPTED
        return False

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, and holds nothing any more."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def is_gated(self) -> bool:
        """Whether a scheduling gate keeps it out of the queue."""
        return bool(self.spec.scheduling_gates)

    @property
    def priority(self) -> int:
        """The resolved priority; 0 where none is set."""
        return self.spec.priority or 0
