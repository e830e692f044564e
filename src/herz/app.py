"""The one place that builds and wires.

Everything below takes what it needs as arguments; everything that chooses is here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from herz import plugin as contract
from herz.builtin import BUILT_IN, DEFAULT_RULES, PLUGINS, WEIGHTS, Maker
from herz.commit.audit.chain import NO_RECORD, Chain
from herz.config import (
    DEFAULT_SCHEDULER,
    EXTENDS,
    POINTS,
    Configuration,
    PluginEntry,
    Policies,
    Policy,
    Profile,
    Rules,
    lasting,
    pick_policies,
    pick_policy,
    read_settings,
    rule_terms,
    split_profile,
    with_models,
)
from herz.cycle import Cycle, Parts
from herz.engine import engine_digest, third_party
from herz.errors import ConfigError
from herz.intake.order.comparator import Comparator
from herz.intake.queue.scheduling import SchedulingQueue
from herz.loading import load, made
from herz.model.mix import PodShape
from herz.model.record import PolicyReference
from herz.place.cluster import Cluster
from herz.place.framework import TOP
from herz.place.mix import PodMix
from herz.place.plugins.gpu_fragmentation import GpuFragmentation, typical_arguments
from herz.place.plugins.sla_fit import check_together
from herz.place.plugins.understood import Understood
from herz.place.snapshot import SnapshotDigest
from herz.plugin import (
    SCORE_MAX,
    Plugin,
    PostFilter,
    QueueSort,
    ReasonBook,
    Score,
)
from herz.ports import Machine, Progress, RecordSink
from herz.profiles import (
    Built,
    all_hint_rules,
    arrivals,
    build_framework,
    preemptions,
    profiles_of,
    queue_settings,
    references,
    schedulers,
    starvation_terms,
    switched_off,
)
from herz.world.collecting import Automatic, GarbageCollector
from herz.world.sim import catalogue
from herz.world.sim.make import SCHEDULER_NAME
from herz.world.sim.result import Summary, combine
from herz.world.sim.run import simulate
from herz.world.sim.scenario import Scenario

SHEET_BYTES: Final = 1 << 30
Wrap = Callable[[Policy | Policies, int, Sequence[RecordSink]], Machine]
"""Makes what drivers see, from policy, seed and the sinks of its records."""
ALIASES: Final = MappingProxyType({SCHEDULER_NAME: DEFAULT_SCHEDULER})
"""Whose pods a made scenario's pods are, unless a profile has their scheduler name."""


def policy_names() -> tuple[str, ...]:
    """Names of the built-in policies, in the order in which people should see them."""
    return tuple(BUILT_IN)


def load_policy(name_or_path: str) -> Policy:
    """A built-in policy by name, or the only one of a file; its rules and arguments are checked.

    Raises:
        ConfigError: there is no such policy or file, or something in it is not allowed.
    """
    return _built_in(name_or_path) or pick_policy(*_loaded(name_or_path))


def load_policies(name_or_path: str) -> Policy | Policies:
    """The same, with all profiles where a file has several.

    Raises:
        ConfigError: there is no such policy or file, or something in it is not allowed.
    """
    return _built_in(name_or_path) or pick_policies(*_loaded(name_or_path))


def _built_in(name: str) -> Policy | None:
    policy = BUILT_IN.get(name)
    if policy is not None:
        check(policy)
    elif "/" not in name and "." not in name:
        fix = f"use one of {', '.join(policy_names())}, or the path of a policy file"
        raise ConfigError("unknown policy", where="--policy", value=name, fix=fix)
    return policy


def _loaded(name: str) -> tuple[Policy | Policies | Configuration, str, str]:
    path, scheduler = split_profile(name)
    return load_settings(Path(path)), path, scheduler


def load_settings(path: Path | None) -> Policy | Policies | Configuration:
    """What a file of settings holds, checked: policies, or kube-scheduler's configuration.

    Args:
        path: the file; None for kube-scheduler's defaults.

    Raises:
        ConfigError: the file is not there, or something in it is not allowed.
    """
    settings = with_models(read_settings(path, rules()), path)
    if isinstance(settings, Policy):
        check(settings)
        return settings
    for index, profile in enumerate(settings.profiles):
        try:
            check(profile.policy)
        except ConfigError as error:
            # Policies are sorted: their names, which the errors have, say which is meant.
            place = f" profiles[{index}]" if isinstance(settings, Configuration) else ""
            raise error.at(f"{path}{place}") from error
    return settings


def check(policy: Policy) -> None:
    """Build what the policy names, and throw it away.

    Raises:
        ConfigError: an unknown rule, or a value or argument that is not allowed.
    """
    built = build_plugins(policy, ReasonBook())
    queue_sort(policy, built)
    rule_terms(policy, built)
    queue_settings(policy)


def rules() -> Rules:
    """The rules that a profile of kube-scheduler's configuration may enable."""
    return Rules(
        names=(*PLUGINS, *third_party()),
        defaults=[name for name in DEFAULT_RULES if name != Understood.name],
        guards=(Understood.name,),
        extends=_extends,
    )


def points(rule: Plugin) -> tuple[str, ...]:
    """The extension points at which Herz asks the rule, by the Protocols that it fulfils."""
    protocols = {point: getattr(contract, point[0].upper() + point[1:], None) for point in POINTS}
    found = tuple(
        point
        for point, protocol in protocols.items()
        if protocol is not None and isinstance(rule, protocol)
    )
    # A rule may only switch on what decides elsewhere, as gangs are.
    return found or tuple(point for point in EXTENDS.get(rule.name, ()) if point in POINTS)


def asked(policy: Policy) -> list[tuple[PluginEntry, int | None, tuple[str, ...]]]:
    """Each rule of the policy with the weight of its points, if it scores, and where it is asked.

    Raises:
        ConfigError: the policy names what is not there.
    """
    built = zip(policy.plugins, build_plugins(policy, ReasonBook()), strict=True)
    found = []
    for entry, (rule, weight) in built:
        at = tuple(point for point in points(rule) if point not in entry.off)
        at = tuple(point for point in at if point != "score" or weight)
        found.append((entry, weight if "score" in at else None, at))
    return found


def _extends(name: str, args: Mapping[str, Any]) -> tuple[str, ...]:
    """Of the rule alone: what rules must be together is checked of the whole policy."""
    policy = Policy(name, (PluginEntry(name, args=dict(args)),))
    return points(_one(policy.plugins[0], ReasonBook(), policy, PLUGINS))


def scenario_names() -> tuple[str, ...]:
    """Names of the built-in scenarios."""
    return catalogue.scenario_names()


def run_simulation(
    *,
    scenario: str,
    policy: str,
    seed: int,
    runs: int,
    data: Path | None,
    list_name: str | None,
    load: int | None,
    progress: Progress | None,
    sinks: Sequence[RecordSink] = (),
    wrap: Wrap | None = None,
    garbage: Callable[[], GarbageCollector] = Automatic,
) -> Summary:
    """Simulate a scenario `runs` times, with seeds `seed`, `seed + 1` and so on.

    Args:
        scenario: a built-in name or a path.
        policy: a built-in name or a path.
        seed: of the first run.
        runs: how many.
        data: the folder of a trace.
        list_name: which list of a trace.
        load: how much of a trace arrives, in thousandths.
        progress: told how far each run is.
        sinks: who else gets the records.
        wrap: puts each machine into something that drivers see in its place.
        garbage: makes what decides when Python collects garbage.

    Raises:
        ConfigError: the scenario or the policy is not there, or wrong.
        InvariantError: a checker of the simulator was violated.
    """
    chosen = load_policies(policy)
    share = None if load is None else load / 1000
    loaded = catalogue.load_scenario(scenario, data=data, list_name=list_name, load=share)
    check_served(chosen, loaded)
    chosen = _each(chosen, lambda one: with_workload(one, loaded.workload))
    loaded = dataclasses.replace(loaded, is_budget_hard=is_budget_hard(chosen))
    reference = PolicyReference(chosen.digest, chosen.name, chosen.version)

    def machine(number: int, others: Sequence[RecordSink]) -> Machine:
        if wrap is not None:
            return wrap(chosen, number, (*others, *sinks))
        return build_machine(chosen, number, (*others, *sinks), aliases=ALIASES)

    return combine(
        [
            simulate(loaded, machine, reference, number, progress, garbage())
            for number in range(seed, seed + runs)
        ]
    )


def _each(policy: Policy | Policies, change: Callable[[Policy], Policy]) -> Policy | Policies:
    """The policy, or each profile's, changed."""
    if isinstance(policy, Policy):
        return change(policy)
    return Policies.of([Profile(one.scheduler_name, change(one.policy)) for one in policy.profiles])


def without_comparator(policy: Policy | Policies) -> Policy | Policies:
    """What decides once a configured comparator is out of service: the default order."""
    replace = msgspec.structs.replace
    return _each(policy, lambda one: replace(one, queue=replace(one.queue, sort=None)))


def check_served(policy: Policy | Policies, scenario: Scenario) -> None:
    """Refuse a scenario of whose pods the profiles decide none, or too few for its own ends.

    Raises:
        ConfigError: its pods name schedulers that no profile has.
    """
    if isinstance(policy, Policy):
        return
    served = {profile.scheduler_name for profile in policy.profiles}
    served |= {name for name, to in ALIASES.items() if to in served}
    others = [name for name in scenario.schedulers if name not in served]
    if others and (scenario.is_every_fit_expected or len(others) == len(scenario.schedulers)):
        raise ConfigError(
            "no profile decides pods of the scenario",
            where=f"scenario {scenario.name}, spec.schedulerName",
            value=", ".join(others),
            fix=f"name a profile so ({SCHEDULER_NAME} may be {DEFAULT_SCHEDULER}), or pick one for "
            "all pods: FILE#NAME",
        )


def is_budget_hard(policy: Policy | Policies) -> bool:
    """Whether preemption holds to disruption budgets, whichever profile's."""
    return all(
        any(
            isinstance(rule, PostFilter) and rule.terms.is_budget_hard
            for rule, _ in build_plugins(profile.policy, ReasonBook())
        )
        for profile in profiles_of(policy)
    )


def with_workload(policy: Policy, counts: Sequence[tuple[PodShape, int]]) -> Policy:
    """The policy with the workload's typical pods, where a rule wants them and has none."""
    if not counts:
        return policy
    rules = [
        msgspec.structs.replace(rule, args={**rule.args, **typical_arguments(counts)})
        if rule.name == GpuFragmentation.name and "typical" not in rule.args
        else rule
        for rule in policy.plugins
    ]
    return msgspec.structs.replace(policy, plugins=tuple(rules))


def build_plugins(
    policy: Policy, book: ReasonBook, known: Mapping[str, Maker] = PLUGINS
) -> list[tuple[Plugin, int]]:
    """The policy's rules with their weights, in order.

    Args:
        policy: the policy.
        book: where their rejections get codes.
        known: the rules that are here; others are looked for among the installed packages.

    Raises:
        ConfigError: an unknown rule, arguments that it does not take, or a class that is none.
    """
    built = []
    for entry in policy.plugins:
        rule = _one(entry, book, policy, known)
        weight = entry.weight if entry.weight is not None else WEIGHTS.get(entry.name, 1)
        built.append((rule, 0 if "score" in entry.off else weight))
    _check_scales([rule for rule, weight in built if isinstance(rule, Score) and weight], policy)
    check_together([rule.name for rule, _ in built], policy)
    return built


def _one(
    entry: PluginEntry, book: ReasonBook, policy: Policy, known: Mapping[str, Maker]
) -> Plugin:
    make = known[entry.name] if entry.name in known else maker(entry.name, policy)
    rule = made(make, entry, book, policy)
    if getattr(rule, "name", None) != entry.name:
        fix = "give its class the name of its entry point"
        where = f"policy {policy.name} plugins"
        raise ConfigError("not a rule of that name", where=where, value=entry.name, fix=fix)
    return rule


def maker(name: str, policy: Policy) -> Callable[[Mapping[str, Any], ReasonBook], Plugin]:
    """What makes the rule of this name.

    Raises:
        ConfigError: there is none, or its package cannot be loaded.
    """
    return PLUGINS[name] if name in PLUGINS else load(name, policy, PLUGINS)


def build_machine(
    policy: Policy | Policies,
    seed: int,
    sinks: Sequence[RecordSink],
    *,
    sheet_bytes: int = SHEET_BYTES,
    aliases: Mapping[str, str] = MappingProxyType({}),
    after: tuple[int, str] = (0, NO_RECORD),
    term: int = 0,
    known: Mapping[str, Maker] = PLUGINS,
    top: int = TOP,
) -> Cycle:
    """A scheduler, ready for events.

    Args:
        policy: what decides; several profiles decide the pods of their scheduler names only.
        seed: stands for the log's life: it keys the ties and the permutation digest.
        sinks: who gets each record.
        sheet_bytes: memory for what rules said of nodes, kept between pods; decides nothing.
        aliases: other scheduler names, and which of several profiles decides their pods.
        after: number and digest of the record that its chain goes on from.
        term: the leader's term.
        known: the rules that are here.
        top: how many of the best nodes a record names.

    Raises:
        ConfigError: the policy names what is not there; or asserts are switched off.
    """
    if sys.flags.optimize:
        fix = "run without -O and PYTHONOPTIMIZE"
        raise ConfigError("asserts are switched off", where="python", fix=fix)
    built = _built(policy, known)
    snapshot = SnapshotDigest()
    cluster = Cluster(snapshot, PodMix() if any(one.reads_mix for one in built) else None)
    salt = hashlib.sha3_384(b"herz-tie" + str(seed).encode()).digest()
    ties, share = int.from_bytes(salt[:8], "big"), sheet_bytes // len(built)
    frameworks = tuple(
        build_framework(one, cluster, salt=ties, cache_bytes=share, top=top) for one in built
    )
    names = schedulers(built, aliases)
    first = built[0]
    return Cycle(
        Parts(
            arrivals=arrivals(built, frameworks, names, order_salt=salt),
            queue=SchedulingQueue(
                queue_settings(first.policy),
                hints=all_hint_rules([one.rules for one in built]),
                comparator=queue_sort(first.policy, first.rules),
            ),
            cluster=cluster,
            frameworks=frameworks,
            snapshot=snapshot,
            chain=_chain(policy, sinks, after, term),
            schedulers=None if names is None else frozenset(names),
            own_rules=_own_rules(built),
            starvation=starvation_terms(first.policy),
            terms=tuple(one.terms for one in built),
            preemptions=preemptions(built, cluster, frameworks),
        )
    )


def _built(policy: Policy | Policies, known: Mapping[str, Maker]) -> list[Built]:
    """The rules of each profile."""
    built = []
    for profile in profiles_of(policy):
        book = ReasonBook()
        rules = build_plugins(profile.policy, book, known)
        terms = rule_terms(profile.policy, rules)
        name, rules = profile.scheduler_name, lasting(rules, terms)
        built.append(Built(name, profile.policy, rules, book, terms))
    return built


def _own_rules(built: Sequence[Built]) -> frozenset[str]:
    """The rules that stand for no plugin of Kubernetes; who makes room refuses nobody by itself."""
    return frozenset(
        rule.name
        for one in built
        for rule, _ in one.rules
        if rule.name not in EXTENDS or isinstance(rule, PostFilter)
    )


def _chain(
    policy: Policy | Policies, sinks: Sequence[RecordSink], after: tuple[int, str], term: int
) -> Chain:
    return Chain(
        engine_digest(),
        references(policy),
        sinks,
        term=term,
        after=after,
        retired=references(without_comparator(policy)),
    )


def queue_sort(policy: Policy, plugins: Sequence[tuple[Plugin, int]]) -> Comparator | None:
    """The order that the policy names; None for the built-in one.

    Raises:
        ConfigError: the rule is not in the policy, or orders nothing.
    """
    name = policy.queue.sort
    if name is None:
        return None
    rule = next((rule for rule, _ in plugins if rule.name == name), None)
    if not isinstance(rule, QueueSort) or (name, "queueSort") in switched_off(policy):
        fix = "name a QueueSort rule that is among the policy's plugins"
        where = f"policy {policy.name} queue.sort"
        raise ConfigError("no such order", where=where, value=name, fix=fix)
    return Comparator(rule.name, rule.less)


def _check_scales(scores: Sequence[Score], policy: Policy) -> None:
    """Points of two scales cannot be weighed against each other."""
    for rule in scores:
        if rule.points_max != SCORE_MAX and len(scores) > 1:
            others = ", ".join(other.name for other in scores if other is not rule)
            raise ConfigError(
                "rule scores on a scale of its own and must be the only score",
                where=f"policy {policy.name} plugins",
                value=rule.name,
                fix=f"give weight 0 to {others} (or disable them at score), or leave "
                f"{rule.name} out",
            )
