"""Objects that own or group pods: their selectors give default spreading, budgets and gangs."""

from __future__ import annotations

import msgspec

from herz.model.meta import Condition, LabelSelector, ObjectMeta, ResourceMap, Wire


class ServiceSpec(Wire, frozen=True, kw_only=True):
    """A plain map of labels selects the pods."""

    selector: dict[str, str] = msgspec.field(default_factory=dict)


class Service(Wire, frozen=True, kw_only=True, tag_field="kind", tag="Service"):
    """A service (v1); a service without a selector selects no pods."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class PodTemplate(Wire, frozen=True, kw_only=True):
    """The pods that a controller makes; only their metadata is read."""

    metadata: ObjectMeta = ObjectMeta()


class ReplicationControllerSpec(Wire, frozen=True, kw_only=True):
    """An absent selector is the template's labels (`herz.model.defaults`)."""

    selector: dict[str, str] = msgspec.field(default_factory=dict)
    template: PodTemplate | None = None


class ReplicationController(
    Wire, frozen=True, kw_only=True, tag_field="kind", tag="ReplicationController"
):
    """A replication controller (v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()


class LabelSelectorSpec(Wire, frozen=True, kw_only=True):
    """The part of a ReplicaSet or StatefulSet that says which pods are its own."""

    selector: LabelSelector | None = None


class ReplicaSet(Wire, frozen=True, kw_only=True, tag_field="kind", tag="ReplicaSet"):
    """A replica set (apps/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LabelSelectorSpec = LabelSelectorSpec()


class StatefulSet(Wire, frozen=True, kw_only=True, tag_field="kind", tag="StatefulSet"):
    """A stateful set (apps/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LabelSelectorSpec = LabelSelectorSpec()


class DisruptionBudgetSpec(Wire, frozen=True, kw_only=True):
    """Which pods the budget protects; minAvailable, maxUnavailable: a count or a percentage."""

    selector: LabelSelector | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class DisruptionBudgetStatus(Wire, frozen=True, kw_only=True):
    """What the budget's controller found; stale while `observed_generation` lags."""

    disruptions_allowed: int = 0
    disrupted_pods: dict[str, str] = msgspec.field(default_factory=dict)
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    observed_generation: int = 0


class PodDisruptionBudget(
    Wire, frozen=True, kw_only=True, tag_field="kind", tag="PodDisruptionBudget"
):
    """How many pods of a selection may be away at once (policy/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()


class BasicSchedulingPolicy(Wire, frozen=True, kw_only=True):
    """Pods of the group are placed one by one."""


class GangSchedulingPolicy(Wire, frozen=True, kw_only=True):
    """The group's pods are placed together, at least `min_count` of them."""

    min_count: int = 0


class GroupSchedulingPolicy(Wire, frozen=True, kw_only=True):
    """Exactly one of the two."""

    basic: BasicSchedulingPolicy | None = None
    gang: GangSchedulingPolicy | None = None


class TopologyConstraint(Wire, frozen=True, kw_only=True):
    """All pods of the group within one value of a node label."""

    key: str = ""


class GroupSchedulingConstraints(Wire, frozen=True, kw_only=True):
    """Where a group may lie."""

    topology: tuple[TopologyConstraint, ...] = ()


class GroupResourceClaim(Wire, frozen=True, kw_only=True):
    """A dynamic resource claim of a group; Herz refuses groups that have one."""

    name: str = ""


class PodGroupSpec(Wire, frozen=True, kw_only=True):
    """What the group asks for: the fields of both APIs that have a kind PodGroup."""

    scheduling_policy: GroupSchedulingPolicy | None = None
    scheduling_constraints: GroupSchedulingConstraints | None = None
    resource_claims: tuple[GroupResourceClaim, ...] = ()
    disruption_mode: str | None = None
    priority_class_name: str = ""
    priority: int | None = None
    min_member: int | None = None
    min_resources: ResourceMap = msgspec.field(default_factory=dict)
    schedule_timeout_seconds: int | None = None


class PodGroupStatus(Wire, frozen=True, kw_only=True):
    """What became of the group."""

    conditions: tuple[Condition, ...] = ()


class PodGroup(Wire, frozen=True, kw_only=True, tag_field="kind", tag="PodGroup"):
    """A group of pods to be placed together.

    Two APIs have one: scheduling.k8s.io/v1alpha2, whose pods name the group in `schedulingGroup`,
    and scheduling.x-k8s.io/v1alpha1 (coscheduling), whose pods carry `COSCHEDULING_GROUP_LABEL`.
    """

    api_version: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()

    @property
    def is_coscheduling(self) -> bool:
        """Whether pods join by label."""
        return self.api_version.startswith("scheduling.x-k8s.io/")

    @property
    def min_count(self) -> int:
        """How many of its pods must be placed at once; 1 where they are placed one by one."""
        if self.is_coscheduling:
            return max(self.spec.min_member or 1, 1)
        policy = self.spec.scheduling_policy
        return max(policy.gang.min_count, 1) if policy and policy.gang else 1


COSCHEDULING_GROUP_LABEL = "scheduling.x-k8s.io/pod-group"
COSCHEDULING_PREFIX = "scheduling.x-k8s.io:"


def group_key(namespace: str, name: str, *, is_coscheduling: bool) -> str:
    """The key of a PodGroup: groups of the two APIs may have one name."""
    return f"{COSCHEDULING_PREFIX if is_coscheduling else ''}{namespace}/{name}"
