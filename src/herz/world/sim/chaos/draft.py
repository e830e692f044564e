"""A workload in the making: what its kind and chance put together, and the pods that come of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from msgspec.structs import replace

from herz.model.objects import (
    Affinity,
    ContainerPort,
    KubernetesObject,
    LabelSelector,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodSchedulingGate,
    PodSpec,
    PreferredSchedulingTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from herz.model.objects import NodeSelector as Selector
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
        objects: what else the API holds for it (claims, volumes, groups).
        gates: scheduling gates, removed after a while.
        is_late: it comes when the others have filled the cluster.
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
    is_late: bool = False
    objects: list[KubernetesObject] = field(default_factory=list)

    def chance(self, percent: int) -> bool:
        """Whether something of this probability happens."""
        return self.generator.randrange(100) < percent

    def own(self) -> LabelSelector:
        """The selector of its own pods."""
        return LabelSelector(match_labels={"app": self.app})

    def other(self) -> tuple[str, LabelSelector]:
        """Another workload of the run: namespace and selector."""
        namespace, app = self.generator.choice(self.apps)
        return namespace, LabelSelector(match_labels={"app": app})

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
