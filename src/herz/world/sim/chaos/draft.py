"""A workload in the making: what its kind and chance put together, and the pods that come of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from herz.model.objects import (
    COSCHEDULING_GROUP_LABEL,
    Affinity,
    ContainerPort,
    KubernetesObject,
    LabelSelector,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    PodAffinity,
    PodAffinityTerm,
    PodGroup,
    PodSchedulingGate,
    PodSchedulingGroup,
    PodSpec,
    PreferredSchedulingTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from herz.model.objects import NodeSelector as Selector
from herz.model.storage import ClaimVolumeSource, PodVolume
from herz.model.workload import GangSchedulingPolicy, GroupSchedulingPolicy, PodGroupSpec
from herz.world.sim.make import SCHEDULER_NAME, make_container


@dataclass(slots=True)
class Draft:
    """One workload.

    Args:
        generator: the content's randomness.
        app: its name, and the value of its label `app`.
        namespace: where it lives.
        apps: all (namespace, app) pairs of the run, which terms may name.
        replicas: how many pods come of it.
        cpu_milli: what its one container asks for.
        requests: and what else.
        objects: what else the API holds for it (claims, volumes).
        gates: scheduling gates, removed after a while.
        group_size: how many of its pods make a group, one group after another; 0: no groups.
        group_needs: how many of a group are needed at once.
        is_group_labelled: whether pods join by label (coscheduling), else in their spec.
        claims: the claims of each pod that has any, by its number.
        is_late: it comes when the others have filled the cluster.
        is_lasting: its pods neither complete nor are deleted by their users.
    """

    generator: random.Random
    app: str
    namespace: str
    apps: tuple[tuple[str, str], ...]
    replicas: int
    cpu_milli: int
    requests: dict[str, str | int]
    labels: dict[str, str]
    priority: int = 0
    never_preempts: bool = False
    ports: tuple[ContainerPort, ...] = ()
    node_selector: dict[str, str] = field(default_factory=dict)
    required_nodes: tuple[NodeSelectorRequirement, ...] = ()
    preferred_nodes: tuple[NodeSelectorRequirement, ...] = ()
    affinity: tuple[PodAffinityTerm, ...] = ()
    anti_affinity: tuple[PodAffinityTerm, ...] = ()
    likes: tuple[WeightedPodAffinityTerm, ...] = ()
    dislikes: tuple[WeightedPodAffinityTerm, ...] = ()
    spread: tuple[TopologySpreadConstraint, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    gates: tuple[str, ...] = ()
    group_size: int = 0
    group_needs: int = 0
    is_group_labelled: bool = False
    claims: tuple[tuple[str, ...], ...] = ()
    is_late: bool = False
    is_lasting: bool = False
    objects: list[KubernetesObject] = field(default_factory=list)

    def chance(self, percent: int) -> bool:
        """Whether something of this probability happens."""
        return self.generator.randrange(100) < percent

    @property
    def is_plain(self) -> bool:
        """Whether nothing but room and preferences decides where its pods go."""
        rules = (self.ports, self.spread, self.affinity, self.anti_affinity, self.claims)
        return not (any(rules) or self.group_size or self.is_late or self.is_lasting)

    def own(self) -> LabelSelector:
        """The selector of its own pods."""
        return LabelSelector(match_labels={"app": self.app})

    def other(self) -> tuple[str, LabelSelector]:
        """Another workload of the run: namespace and selector."""
        namespace, app = self.generator.choice(self.apps)
        return namespace, LabelSelector(match_labels={"app": app})

    def groups(self) -> Iterator[PodGroup]:
        """The groups of its pods."""
        policy = GroupSchedulingPolicy(gang=GangSchedulingPolicy(min_count=self.group_needs))
        for first in range(0, self.replicas if self.group_size else 0, self.group_size or 1):
            meta = ObjectMeta(name=self._group(first), namespace=self.namespace)
            if self.is_group_labelled:
                version = "scheduling.x-k8s.io/v1alpha1"
                spec = PodGroupSpec(min_member=self.group_needs, schedule_timeout_seconds=60)
            else:
                version = "scheduling.k8s.io/v1alpha2"
                spec = PodGroupSpec(scheduling_policy=policy)
            yield PodGroup(api_version=version, metadata=meta, spec=spec)

    def labels_of(self, number: int, labels: dict[str, str]) -> dict[str, str]:
        """These labels as the pod of this number carries them."""
        if self.group_size and self.is_group_labelled:
            return {**labels, COSCHEDULING_GROUP_LABEL: self._group(number)}
        return labels

    def spec_of(self, number: int, spec: PodSpec) -> PodSpec:
        """The shared spec as the pod of this number has it: in its group, with its claims."""
        if self.group_size and not self.is_group_labelled:
            named = PodSchedulingGroup(pod_group_name=self._group(number))
            spec = replace(spec, scheduling_group=named)
        if number < len(self.claims):
            volumes = tuple(
                PodVolume(
                    name=f"v{at}", persistent_volume_claim=ClaimVolumeSource(claim_name=claim)
                )
                for at, claim in enumerate(self.claims[number])
            )
            spec = replace(spec, volumes=volumes)
        return spec

    def _group(self, number: int) -> str:
        return f"{self.app}-g{number // self.group_size}"

    def spec(self) -> PodSpec:
        """The spec that all its pods share."""
        container = replace(
            make_container({"cpu": f"{self.cpu_milli}m", **self.requests}), ports=self.ports
        )
        return PodSpec(
            containers=(container,),
            node_selector=self.node_selector,
            affinity=self._affinity(),
            tolerations=self.tolerations,
            topology_spread_constraints=self.spread,
            scheduling_gates=tuple(PodSchedulingGate(name=name) for name in self.gates),
            scheduler_name=SCHEDULER_NAME,
            priority=self.priority,
            preemption_policy="Never" if self.never_preempts else None,
        )

    def _affinity(self) -> Affinity | None:
        affinity = Affinity(
            node_affinity=self._node_affinity(),
            pod_affinity=_terms(self.affinity, self.likes),
            pod_anti_affinity=_terms(self.anti_affinity, self.dislikes),
        )
        return None if affinity == Affinity() else affinity

    def _node_affinity(self) -> NodeAffinity | None:
        required, preferred = self.required_nodes, self.preferred_nodes
        if not required and not preferred:
            return None
        selector = None
        if required:
            selector = Selector(node_selector_terms=(NodeSelectorTerm(match_expressions=required),))
        likes = tuple(
            PreferredSchedulingTerm(
                weight=10, preference=NodeSelectorTerm(match_expressions=(one,))
            )
            for one in preferred
        )
        return NodeAffinity(required=selector, preferred=likes)


def _terms(
    required: tuple[PodAffinityTerm, ...], preferred: tuple[WeightedPodAffinityTerm, ...]
) -> PodAffinity | None:
    if not required and not preferred:
        return None
    return PodAffinity(required=required, preferred=preferred)
