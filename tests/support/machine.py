"""A scheduler with its parts in reach, its records kept, and short verbs for its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from herz.app import (
    build_plugins,
    queue_sort,
)
from herz.commit.audit.chain import Chain
from herz.config import EXTENDS, PluginEntry, Policies, Policy, RuleTerms, rule_terms
from herz.cycle import Cycle, Parts
from herz.intake.arrive import Arrivals
from herz.intake.queue.scheduling import SchedulingQueue
from herz.model.effects import (
    Bind,
    DeletePod,
    Effect,
    EmitEvent,
    Evict,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
    WakeAt,
)
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import KubernetesObject, Node, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.podinfo import PodInfo
from herz.model.record import Record
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.mix import PodMix
from herz.place.outcome import Choice, NoFit
from herz.place.preemption.preemption import Preemption
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Plugin, PostFilter, ReasonBook
from herz.profiles import (
    Built,
    all_hint_rules,
    arrivals,
    build_framework,
    preemption,
    preemptions,
    profiles_of,
    queue_settings,
    references,
    starvation_terms,
)
from herz.profiles import schedulers as schedulers_of

SECOND = 1_000_000_000
EffectT = TypeVar(
    "EffectT",
    Bind,
    DeletePod,
    EmitEvent,
    Evict,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
    WakeAt,
)

KUBERNETES = (
    "SchedulingGates",
    "Understood",
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeDeclaredFeatures",
    "GangScheduling",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
)
"""Kubernetes' rules, without those for shared accelerators."""

Rules = Sequence[tuple[Plugin, int]]


def make_policy(
    names: Sequence[str] = KUBERNETES,
    args: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Policy:
    """A policy of these rules, with arguments by rule."""
    given = args or {}
    entries = tuple(PluginEntry(name, args=dict(given.get(name, {}))) for name in names)
    return Policy("test", entries, **settings)


class World:
    """A cluster, and the rules that judge it.

    Args:
        policy: which rules.
        extra: rules of the test's own, with weights, after the policy's.
        salt: of the ties; None for ties by name.
    """

    def __init__(
        self, policy: Policy | None = None, extra: Rules = (), *, salt: int | None = 7
    ) -> None:
        self.book = ReasonBook()
        self.rules = [*build_plugins(policy or make_policy(), self.book), *extra]
        self.snapshot = SnapshotDigest()
        self.cluster = Cluster(self.snapshot, PodMix())
        self.salt = salt
        self.framework = self.fresh()
        self.arrivals = Arrivals([], self.framework.sign, order_salt=b"")

    def fresh(self) -> Framework:
        """A framework that remembers nothing, over the same cluster."""
        return Framework(
            self.cluster.nodes,
            self.cluster.view,
            self.rules,
            self.book,
            salt=self.salt,
            nominations=self.cluster.nominations,
        )

    def preemption(self) -> Preemption:
        """Preemption by the policy's rule, over a framework that remembers nothing."""
        made = preemption(self.rules, self.cluster, self.fresh())
        assert made is not None, "the policy has a rule for it"
        return made

    def read(self, pod: Pod, unlisted: tuple[str, ...] = ()) -> PodInfo:
        """The pod as the rules see it."""
        return self.arrivals.read(pod, unlisted)

    def decide(self, pod: Pod | PodInfo) -> Choice | NoFit:
        """The framework's answer."""
        return self.framework.decide(pod if isinstance(pod, PodInfo) else self.read(pod))

    def nodes(self, *nodes: Node) -> World:
        """Take nodes in."""
        for node in nodes:
            self.cluster.apply_node(node)
        return self

    def assign(self, pod: Pod, node: str) -> PodInfo:
        """The API holds the pod on the node."""
        info = self.read(pod)
        self.cluster.assign(info, node, ())
        return info


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[bytes] = []
        self.digests: list[bytes] = []

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Keep the record."""
        self.records.append(record)
        self.lines.append(canonical)
        self.digests.append(digest)


class Harness:
    """A machine, driven by hand.

    Args:
        policy: which rules; or several profiles, which decide the pods of their names.
        extra: rules of the test's own, with weights, in every profile.
        schedulers: whose pods are ours; None: all, or those of the profiles' names.
        terms: when rules of the test's own give way, by name.
    """

    def __init__(
        self,
        policy: Policy | Policies | None = None,
        extra: Rules = (),
        *,
        schedulers: frozenset[str] | None = None,
        terms: Mapping[str, RuleTerms] | None = None,
    ) -> None:
        policy = policy or make_policy()
        built = []
        for one in profiles_of(policy):
            book = ReasonBook()
            own = build_plugins(one.policy, book)
            given = {**rule_terms(one.policy, own), **(terms or {})}
            built.append(Built(one.scheduler_name, one.policy, [*own, *extra], book, given))
        first, names = built[0], schedulers_of(built, {})
        self.snapshot = SnapshotDigest()
        self.cluster = Cluster(self.snapshot)
        self.frameworks = tuple(build_framework(one, self.cluster, salt=7) for one in built)
        self.framework = self.frameworks[0]
        self.queue = SchedulingQueue(
            queue_settings(first.policy),
            hints=all_hint_rules([one.rules for one in built]),
            comparator=queue_sort(first.policy, first.rules),
        )
        self.kept = Kept()
        self.chain = Chain("e" * 96, references(policy), [self.kept])
        self.machine = Cycle(
            Parts(
                arrivals=arrivals(built, self.frameworks, names, order_salt=b"salt"),
                queue=self.queue,
                cluster=self.cluster,
                frameworks=self.frameworks,
                snapshot=self.snapshot,
                chain=self.chain,
                schedulers=schedulers if names is None else frozenset(names),
                own_rules=frozenset(
                    rule.name
                    for one in built
                    for rule, _ in one.rules
                    if rule.name not in EXTENDS or isinstance(rule, PostFilter)
                ),
                preemptions=preemptions(built, self.cluster, self.frameworks),
                starvation=starvation_terms(first.policy),
                terms=tuple(one.terms for one in built),
            )
        )
        self.now = 0

    @property
    def counters(self) -> Mapping[str, int]:
        """What the machine counted."""
        return self.machine.counters

    def apply(self, *things: KubernetesObject, unlisted: tuple[str, ...] = ()) -> Harness:
        """The API shows these objects."""
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=self.now, object=thing, unlisted=unlisted))
        return self

    def delete(self, *things: KubernetesObject) -> Harness:
        """The API has these objects no more."""
        for thing in things:
            self.machine.apply(ObjectDeleted(time_ns=self.now, object=thing))
        return self

    def answer(
        self, bind: Bind, outcome: BindOutcome = BindOutcome.BOUND, message: str = ""
    ) -> Harness:
        """The API answers a bind."""
        self.machine.apply(
            BindFinished(
                time_ns=self.now,
                uid=bind.uid,
                decision=bind.decision,
                outcome=outcome,
                message=message,
            )
        )
        return self

    def step(self, after: int = 0, limit: int = 100) -> list[Effect]:
        """Let nanoseconds pass and decide."""
        self.now += after
        effects = self.machine.step(self.now, limit)
        self.queue.verify()
        return effects

    def place(self, pod: Pod) -> Bind:
        """The pod arrives and is decided; it must be placed."""
        found = only(Bind, self.apply(pod).step())
        assert len(found) == 1, f"{pod.key} was not placed: {self.kept.records[-1].message}"
        return found[0]

    def state(self, name: str) -> str:
        """Where the pod of that name (uid `uid-NAME`) is in the queue; empty when unknown."""
        queued = self.queue.get(f"uid-{name}")
        return "" if queued is None else queued.state.value

    def used(self, node: str, resource: str = "cpu") -> int:
        """What the pods on a node take of a resource."""
        nodes = self.cluster.nodes
        return int(nodes.usage.requested[nodes.resource(resource), nodes.rows[node]])


def only(kind: type[EffectT], effects: Sequence[Effect]) -> list[EffectT]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]
