"""From built rules to what decides: the frameworks, hints and gates of all profiles.

A profile is what decides the pods of one `spec.schedulerName`. All profiles have one queue, one
cluster and one chain; each has rules, a framework and preemption of its own. `PodInfo.profile` is
the index of the pod's profile, by scheduler name, whatever the order in a file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from herz.config import Policies, Policy, Profile, RuleTerms
from herz.intake.arrive import Arrivals, ProfiledArrivals
from herz.intake.order.ladder import OrderBounds
from herz.intake.queue.backoff import BackoffPolicy
from herz.intake.queue.hints import WILDCARD, Answer, HintRule, QueueEvent
from herz.intake.queue.item import QueueItem
from herz.intake.queue.settings import QueueSettings
from herz.model.podinfo import PodInfo
from herz.model.record import PolicyReference
from herz.place.cluster import Cluster
from herz.place.explain import NO_NODES
from herz.place.framework import TOP, Framework
from herz.place.gang import TOGETHER
from herz.place.plugins.gang_scheduling import together_hints
from herz.place.preemption.preemption import BYTES_MAX, Preemption
from herz.place.starvation import StarvationTerms
from herz.plugin import (
    EventKind,
    Hints,
    Plugin,
    PostFilter,
    PreEnqueue,
    Reading,
    Reads,
    ReasonBook,
)

SECOND_NS: Final = 1_000_000_000

Rules: TypeAlias = Sequence[tuple[Plugin, int]]
"""A policy's rules with their weights, in order."""


@dataclass(frozen=True, slots=True)
class Built:
    """A profile whose rules are built.

    Args:
        scheduler_name: whose pods it decides; empty: those of all names.
        policy: which rules.
        rules: the rules.
        book: the codes of their rejections.
        terms: of those that may give way.
    """

    scheduler_name: str
    policy: Policy
    rules: Rules
    book: ReasonBook
    terms: Mapping[str, RuleTerms] = field(default_factory=dict)

    @property
    def off(self) -> frozenset[tuple[str, str]]:
        """(Rule's name, extension point) where the policy does not ask a rule."""
        return switched_off(self.policy)

    @property
    def gates(self) -> list[PreEnqueue]:
        """The rules that may keep a pod out of the queue."""
        off = self.off
        return [
            rule
            for rule, _ in self.rules
            if isinstance(rule, PreEnqueue) and (rule.name, "preEnqueue") not in off
        ]

    @property
    def reads_mix(self) -> bool:
        """Whether a rule reads which pods come."""
        return any(
            rule.reads_all & Reads.MIX for rule, _ in self.rules if isinstance(rule, Reading)
        )


def profiles_of(policy: Policy | Policies) -> tuple[Profile, ...]:
    """The profiles in the order of their indexes; a policy alone decides pods of all names."""
    return policy.profiles if isinstance(policy, Policies) else (Profile("", policy),)


def references(policy: Policy | Policies) -> tuple[PolicyReference, ...]:
    """By profile, how a record names it: the profile's name, and the digest over all profiles."""
    return tuple(
        PolicyReference(policy.digest, each.policy.name, each.policy.version)
        for each in profiles_of(policy)
    )


def schedulers(built: Sequence[Built], aliases: Mapping[str, str]) -> dict[str, int] | None:
    """Profile by the scheduler names that are ours; None: all names are.

    Args:
        built: the profiles.
        aliases: other scheduler names, and whose pods theirs are; a profile's own name counts more.
    """
    if len(built) == 1:
        return None
    found = {each.scheduler_name: index for index, each in enumerate(built)}
    return {name: found[to] for name, to in aliases.items() if to in found} | found


def arrivals(
    built: Sequence[Built],
    frameworks: Sequence[Framework],
    names: Mapping[str, int] | None,
    *,
    order_salt: bytes,
) -> Arrivals | ProfiledArrivals:
    """What reads pods, each by its own profile's rules; `names` are those of `schedulers`."""
    each = [
        Arrivals(one.gates, framework.sign, order_salt=order_salt, profile=index)
        for index, (one, framework) in enumerate(zip(built, frameworks, strict=True))
    ]
    if names is None:
        return each[0]
    return ProfiledArrivals({name: each[index] for name, index in names.items()}, each[0])


def build_framework(
    built: Built, cluster: Cluster, *, salt: int, cache_bytes: int = 1 << 30, top: int = TOP
) -> Framework:
    """The profile's rules over the cluster; `salt` keys the ties where its policy hashes them."""
    return Framework(
        cluster.nodes,
        cluster.view,
        built.rules,
        built.book,
        salt=salt if built.policy.ties == "hash" else None,
        cache_bytes=cache_bytes,
        off=built.off,
        nominations=cluster.nominations,
        top=top,
    )


def switched_off(policy: Policy) -> frozenset[tuple[str, str]]:
    """(Rule's name, extension point) where the policy does not ask a rule."""
    return frozenset((entry.name, point) for entry in policy.plugins for point in entry.off)


def preemptions(
    built: Sequence[Built], cluster: Cluster, frameworks: Sequence[Framework]
) -> tuple[Preemption | None, ...]:
    """By profile, what makes room for its pods; they share the memory for what it costs."""
    share = BYTES_MAX // len(built)
    return tuple(
        preemption(
            one.rules, cluster, framework, off=one.off, bytes_max=share, frameworks=frameworks
        )
        for one, framework in zip(built, frameworks, strict=True)
    )


def preemption(
    rules: Rules,
    cluster: Cluster,
    framework: Framework,
    *,
    off: Collection[tuple[str, str]] = (),
    bytes_max: int = BYTES_MAX,
    frameworks: Sequence[Framework] = (),
) -> Preemption | None:
    """What makes room for pods that fit nowhere; None when no rule of the policy does."""
    for rule, _ in rules:
        if isinstance(rule, PostFilter) and (rule.name, "postFilter") not in off:
            return Preemption(
                cluster,
                framework,
                rule.terms,
                name=rule.name,
                bytes_max=bytes_max,
                frameworks=frameworks,
            )
    return None


# ---- the queue that all share ----------------------------------------------------------


def queue_settings(policy: Policy) -> QueueSettings:
    """The queue's settings as the policy has them.

    Raises:
        ConfigError: a value is out of range.
    """
    queue, backoff, order = policy.queue, policy.queue.backoff, policy.queue.order
    total = backoff.total_seconds_max
    return QueueSettings(
        batch_max=queue.batch_max,
        flush_after_ns=queue.flush_seconds * SECOND_NS,
        backoff=BackoffPolicy(
            initial_ns=backoff.initial_seconds * SECOND_NS,
            max_ns=backoff.max_seconds * SECOND_NS,
            retries_max=backoff.retries_max,
            backoff_ns_max=None if total is None else total * SECOND_NS,
        ),
        order=OrderBounds(
            rung1_steps_max=order.rung1_steps_max,
            both_steps_max=order.both_steps_max,
            graph_nodes_max=order.graph_nodes_max,
            weak_thousandths_max=order.weak_thousandths_max,
            dropped_percent_max=order.dropped_percent_max,
        ),
    )


def starvation_terms(policy: Policy) -> StarvationTerms:
    """When the policy has room kept for pods that wait for long."""
    given = policy.queue.starvation
    return StarvationTerms(
        after_ns=given.after_seconds * SECOND_NS,
        ends_after_ns=given.ends_after_seconds * SECOND_NS,
        nodes_percent=given.nodes_percent,
    )


# ---- hints ------------------------------------------------------------------------------


def hint_rules(rules: Rules) -> list[HintRule]:
    """Which events each rule wants its rejected pods to hear of."""
    found = _common()
    for rule, _ in rules:
        found += [HintRule(rule.name, (kind,), answer) for kind, answer in _answers(rule).items()]
    return found


def all_hint_rules(profiles: Sequence[Rules]) -> list[HintRule]:
    """The same for several profiles: of each pod, its own profile's rules are asked.

    The queue knows rules by name, and two profiles may give one name other arguments.
    """
    if len(profiles) == 1:
        return hint_rules(profiles[0])
    found = _common()
    for name in dict.fromkeys(rule.name for rules in profiles for rule, _ in rules):
        # Empty: without the rule's word every event counts, as for the profile alone.
        tables = [
            next((_answers(rule) for rule, _ in rules if rule.name == name), {})
            for rules in profiles
        ]
        if any(tables):
            kinds = tuple(dict.fromkeys(kind for table in tables for kind in table))
            found.append(HintRule(name, kinds if all(tables) else (WILDCARD,), _by_profile(tables)))
    return found


def _common() -> list[HintRule]:
    """The hints of what rejects pods without being a rule."""
    together = together_hints().items()
    return [
        HintRule(NO_NODES, (EventKind.NODE_ADD,)),
        *(HintRule(TOGETHER, (kind,), cast("Answer | None", hint)) for kind, hint in together),
    ]


def _answers(rule: Plugin) -> dict[str, Answer | None]:
    """The rule's answers by kind of event; empty when it has no hints."""
    if not isinstance(rule, Hints):
        return {}
    # The queue's items are PodInfos and its events Changes: cycle.py puts them in.
    return {kind: cast("Answer | None", hint) for kind, hint in rule.hints().items()}


def _by_profile(tables: Sequence[Mapping[str, Answer | None]]) -> Answer:
    """Asks the rule of the pod's own profile."""

    def answer(item: QueueItem, event: QueueEvent) -> bool:
        assert isinstance(item, PodInfo), "the queue holds what arrive made"
        table = tables[item.profile]
        own = table.get(event.kind, _never) if table else None
        return own is None or own(item, event)

    return answer


def _never(_item: QueueItem, _event: QueueEvent) -> bool:
    """Of events that the rule did not ask for."""
    return False
