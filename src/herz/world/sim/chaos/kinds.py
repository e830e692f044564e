"""The kinds of pods: each puts one rule of Kubernetes into a workload's draft.

To add one, write a function that fills the draft, with the objects that the API holds for it in
`Draft.objects`, and name it in `KINDS`. Those with volumes are in `volumes`.
"""

from __future__ import annotations

from collections.abc import Callable

from herz.model.objects import (
    ContainerPort,
    LabelSelector,
    NodeSelectorRequirement,
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from herz.world.sim.chaos.draft import Draft
from herz.world.sim.chaos.nodes import DISK, GPU, POOL, ZONES
from herz.world.sim.chaos.volumes import dynamic, local, sole, zonal
from herz.world.sim.fit import ZONE
from herz.world.sim.make import HOSTNAME, one_of

TEAM = "team"
"""The namespaces' label."""


def _plain(draft: Draft) -> None:
    """Asks for room and nothing else."""
    draft.replicas += draft.generator.randrange(20)


def _large(draft: Draft) -> None:
    """Half a node each, late and urgent: what preempts."""
    draft.cpu_milli = draft.generator.choice((2500, 3000))
    draft.requests = {"memory": "2Gi"}
    draft.replicas = draft.generator.randrange(8, 13)
    draft.priority = 1000
    draft.never_preempts = False
    draft.is_late = True


def _ports(draft: Draft) -> None:
    """Host ports of both protocols, on all addresses or on one."""
    number = draft.generator.choice((8080, 9090))
    port = ContainerPort(
        container_port=number,
        host_port=number,
        protocol=draft.generator.choice(("TCP", "TCP", "UDP", "")),
        host_ip=draft.generator.choice(("", "", "10.0.0.1", "10.0.0.2")),
    )
    draft.ports = (port,)
    draft.replicas = draft.generator.randrange(15, 30)


def _hard_spread(draft: Draft) -> None:
    """One or two constraints that must hold."""
    draft.spread = (_constraint(draft, "DoNotSchedule", draft.generator.choice((ZONE, HOSTNAME))),)
    if draft.chance(25):
        draft.spread = (
            _constraint(draft, "DoNotSchedule", ZONE),
            _constraint(draft, "DoNotSchedule", HOSTNAME),
        )


def _soft_spread(draft: Draft) -> None:
    draft.spread = tuple(_constraint(draft, "ScheduleAnyway", key) for key in (ZONE, HOSTNAME))


def _both_spreads(draft: Draft) -> None:
    draft.spread = (
        _constraint(draft, "DoNotSchedule", ZONE),
        _constraint(draft, "ScheduleAnyway", HOSTNAME),
    )


def _constraint(draft: Draft, when: str, key: str) -> TopologySpreadConstraint:
    choice = draft.generator.choice
    is_hard = when == "DoNotSchedule"
    keys = ("version",) if draft.chance(25) else ()
    # The API server takes minDomains with hard constraints only.
    return TopologySpreadConstraint(
        max_skew=choice((1, 1, 2, 3)),
        topology_key=key,
        when_unsatisfiable=when,
        label_selector=draft.own() if draft.chance(85) else draft.other()[1],
        min_domains=choice((None, None, 2, 3, 4)) if is_hard else None,
        node_affinity_policy=choice((None, "Honor", "Ignore")),
        node_taints_policy=choice((None, "Honor", "Ignore")),
        match_label_keys=keys,
    )


def _apart(draft: Draft) -> None:
    """Required anti-affinity to its own kind: one a node, or one a zone."""
    key = HOSTNAME if draft.chance(75) else ZONE
    draft.anti_affinity = (PodAffinityTerm(label_selector=draft.own(), topology_key=key),)
    draft.replicas = 4 if key == ZONE else draft.generator.randrange(10, 26)


def _shy(draft: Draft) -> None:
    """Required anti-affinity to another kind, perhaps in other namespaces."""
    draft.anti_affinity = (_foreign(draft, HOSTNAME),)


def _together(draft: Draft) -> None:
    """Required affinity to its own kind, within a zone or a node."""
    key = ZONE if draft.chance(80) else HOSTNAME
    draft.affinity = (PodAffinityTerm(label_selector=draft.own(), topology_key=key),)
    if key == HOSTNAME:
        draft.replicas = draft.generator.randrange(3, 7)


def _follower(draft: Draft) -> None:
    """Required affinity to another kind, which may not be there."""
    draft.affinity = (_foreign(draft, ZONE if draft.chance(70) else HOSTNAME),)


def _foreign(draft: Draft, key: str) -> PodAffinityTerm:
    namespace, selector = draft.other()
    chance = draft.generator.randrange(3)
    if chance == 0:
        return PodAffinityTerm(label_selector=selector, topology_key=key, namespaces=(namespace,))
    if chance == 1:
        teams = LabelSelector(match_labels={TEAM: namespace})
        return PodAffinityTerm(label_selector=selector, topology_key=key, namespace_selector=teams)
    every = LabelSelector()
    return PodAffinityTerm(label_selector=selector, topology_key=key, namespace_selector=every)


def _sociable(draft: Draft) -> None:
    """Preferred affinity and anti-affinity."""
    near = PodAffinityTerm(label_selector=draft.other()[1], topology_key=ZONE)
    far = PodAffinityTerm(label_selector=draft.own(), topology_key=HOSTNAME)
    draft.likes = (WeightedPodAffinityTerm(weight=20, pod_affinity_term=near),)
    draft.dislikes = (WeightedPodAffinityTerm(weight=50, pod_affinity_term=far),)


def _choosy(draft: Draft) -> None:
    """Asks for nodes by label."""
    if draft.chance(40):
        draft.node_selector = {DISK: "ssd"}
    else:
        zones = tuple(draft.generator.sample(ZONES, 2))
        draft.required_nodes = (one_of(ZONE, zones),)
    wish = NodeSelectorRequirement(key=DISK, operator="Exists")
    draft.preferred_nodes = (wish,) if draft.chance(50) else ()


def _tolerant(draft: Draft) -> None:
    """Goes to the pool, and stays through a cordon."""
    cordon = Toleration(key="node.kubernetes.io/unschedulable", operator="Exists")
    pool = Toleration(key=POOL.key, operator="Equal", value=POOL.value, effect=POOL.effect)
    draft.tolerations = (pool, cordon) if draft.chance(30) else (pool,)


def _device(draft: Draft) -> None:
    """An extended resource, of which there is too little."""
    draft.requests = {**draft.requests, GPU: 1}
    draft.replicas = draft.generator.randrange(24, 32)
    draft.priority = min(draft.priority, 100)
    draft.is_lasting = True


def urgent_device(draft: Draft) -> None:
    """Comes for devices when they are taken: every seed has pods that preempt."""
    draft.requests = {**draft.requests, GPU: 1}
    draft.cpu_milli = 100
    draft.replicas = 18
    draft.priority = 1000
    draft.never_preempts = False
    draft.is_late = True


def _gated(draft: Draft) -> None:
    draft.gates = ("chaos.dev/approved",)
    draft.replicas = draft.generator.randrange(8, 16)


def _gang(draft: Draft) -> None:
    """Groups whose pods are named in their specs."""
    # Bursts are of eight pods: some groups come at once, others in two parts.
    size = draft.group_size = draft.generator.choice((2, 4, 5, 8))
    draft.group_needs = draft.generator.choice((size, size, max(size - 1, 1), size // 2 + 1))
    draft.replicas = size * draft.generator.randrange(3, 6)
    if draft.chance(40):
        # Too large for what is left: some find room for a part of them only, and wait.
        draft.cpu_milli = draft.generator.choice((1500, 2500))
        draft.is_late = True


def _labelled_gang(draft: Draft) -> None:
    """Groups of the coscheduling API, joined by label."""
    _gang(draft)
    draft.is_group_labelled = True


KINDS: tuple[Callable[[Draft], None], ...] = (
    _plain,
    _plain,
    _large,
    _ports,
    _ports,
    _hard_spread,
    _hard_spread,
    _soft_spread,
    _both_spreads,
    _apart,
    _apart,
    _shy,
    _together,
    _follower,
    _device,
    _gang,
    _labelled_gang,
    _sociable,
    _choosy,
    _tolerant,
    urgent_device,
    _gated,
    local,
    zonal,
    dynamic,
    sole,
)
"""A run has workloads of all of them, in turn; some come with two."""
