"""From a seed to one whole run: nodes, workloads, what happens to them, and every fault."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from herz.model.objects import (
    KubernetesObject,
    LabelSelector,
    Namespace,
    ObjectMeta,
    Pod,
    PodDisruptionBudget,
    PodSpec,
    PriorityClass,
    Service,
)
from herz.model.workload import DisruptionBudgetSpec, ServiceSpec
from herz.world.sim.chaos.draft import Draft
from herz.world.sim.chaos.kinds import KINDS, TEAM, urgent_device
from herz.world.sim.chaos.nodes import make_actions, make_nodes
from herz.world.sim.chaos.volumes import make_storage
from herz.world.sim.faults import Faults
from herz.world.sim.fit import amounts_of
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import (
    HOUR_NS,
    MILLISECOND_NS,
    AfterEnd,
    Content,
    Limits,
    PodArrival,
    Scenario,
    Timing,
)

NAMESPACES = ("default", "blue", "green")
PRIORITIES = (-10, 0, 0, 0, 100, 100, 1000)
SPAN_NS = 300 * SECOND_NS
"""Within this time all workloads come."""
WORKLOADS = 44
PODS_LEAST = 1_100
"""Fewer pods than this come in no seed; most have two events and more."""
NODE_CHANGES = 24
LOAD_PERCENT = 95
"""What all workloads but the late ones ask for, in percent of the processors."""


def chaos_scenario(*, is_budget_hard: bool = False) -> Scenario:
    """The scenario `chaos`: every seed is another cluster under another load.

    Args:
        is_budget_hard: whether the policy's preemption holds to disruption budgets.
    """
    return Scenario(
        name="chaos",
        description="a random cluster under random load, node churn and API faults",
        open=_open,
        faults=FAULTS,
        timing=TIMING,
        limits=Limits(time_ns_max=4 * HOUR_NS, history_max=60),
        classes=("service", "job"),
        is_strict=True,
        is_budget_hard=is_budget_hard,
    )


FAULTS = Faults(
    bind_refused=20_000,
    bind_lost=10_000,
    bind_landed=10_000,
    bind_slow=30_000,
    bind_throttled=10_000,
    bind_failed=10_000,
    watch_duplicated=20_000,
    watch_merged=60_000,
    recreation_merged=300_000,
    watch_stalled=4_000,
    watch_gap=1_000,
    removal_refused=30_000,
    patch_refused=100_000,
    provision_failed=100_000,
    deleted_in_flight=10_000,
    recreated_in_flight=10_000,
)
TIMING = Timing(
    bind_ns=(2 * MILLISECOND_NS, 40 * MILLISECOND_NS),
    start_ns=(SECOND_NS, 3 * SECOND_NS),
    evict_ns=30 * SECOND_NS,
    stall_ns=2 * SECOND_NS,
    keep_ns=10 * SECOND_NS,
    is_start_shown=False,
)


@dataclass(frozen=True, slots=True)
class _Workload:
    """One workload, and how its pods live."""

    draft: Draft
    spec: PodSpec
    is_job: bool
    after_end: AfterEnd


def _open(generator: random.Random) -> Content:
    nodes = make_nodes(generator)
    workloads = _make_workloads(
        generator, sum(amounts_of(one.status.allocatable)["cpu"] for one in nodes)
    )
    arrivals = sorted(
        (arrival for workload in workloads for arrival in _arrivals(generator, workload)),
        key=lambda arrival: arrival.time_ns,
    )
    return Content(
        nodes=tuple(nodes),
        arrivals=iter(arrivals),
        pods_expected=len(arrivals),
        objects=(*_objects(generator, workloads), *make_storage(generator, nodes)),
        actions=tuple(make_actions(generator, nodes, SPAN_NS, NODE_CHANGES)),
    )


def _make_workloads(generator: random.Random, capacity_milli: int) -> list[_Workload]:
    drafts = _make_drafts(generator)
    ordinary = [draft for draft in drafts if not draft.is_late]
    asked = sum(draft.cpu_milli * draft.replicas for draft in ordinary)
    for draft in ordinary:
        # Every seed fills its cluster alike, so that each has pods that must preempt.
        draft.cpu_milli = draft.cpu_milli * capacity_milli * LOAD_PERCENT // (100 * asked)
    return [
        _Workload(draft, draft.spec(), _is_job(generator, draft), _after_end(generator))
        for draft in drafts
    ]


def _is_job(generator: random.Random, draft: Draft) -> bool:
    return generator.randrange(100) < 60 and not draft.is_lasting


def _after_end(generator: random.Random) -> AfterEnd:
    return generator.choice((AfterEnd.NOTHING, AfterEnd.REPLACE, AfterEnd.RECREATE))


def _make_drafts(generator: random.Random) -> list[Draft]:
    names = tuple((generator.choice(NAMESPACES), f"app-{at:02d}") for at in range(WORKLOADS))
    made = []
    for at, (namespace, app) in enumerate(names):
        draft = Draft(
            generator=generator,
            app=app,
            namespace=namespace,
            apps=names,
            replicas=generator.randrange(16, 44),
            cpu_milli=generator.choice((100, 250, 500, 750)),
            requests={"memory": generator.choice(("128Mi", "512Mi", "1Gi", "2Gi"))},
            labels={"app": app, "version": generator.choice(("v1", "v2"))},
            priority=generator.choice(PRIORITIES),
            never_preempts=generator.randrange(12) == 0,
        )
        kind = KINDS[at % len(KINDS)]
        kind(draft)
        # Those that preempt in every seed keep to it: a gang, say, would not.
        if generator.randrange(5) == 0 and kind is not urgent_device:
            generator.choice(KINDS)(draft)
        made.append(draft)
    _top_up(made)
    return made


def _top_up(drafts: list[Draft]) -> None:
    """More pods for the plain workloads where chance gave a seed too few."""
    plain = [draft for draft in drafts if draft.is_plain] or drafts
    missing = PODS_LEAST - sum(draft.replicas for draft in drafts)
    for draft in plain if missing > 0 else ():
        draft.replicas += -(-missing // len(plain))


def _arrivals(generator: random.Random, workload: _Workload) -> Iterator[PodArrival]:
    """Its pods, in bursts: many become ready at one time, and their order shows."""
    draft = workload.draft
    begin_ns = generator.randrange(SPAN_NS // 2) + (SPAN_NS // 2 if draft.is_late else 0)
    at_ns, patience_ns = begin_ns, None
    other = {**draft.labels, "version": "v3"}
    if generator.randrange(3) == 0:
        other = {**draft.labels, "app": generator.choice(draft.apps)[1]}
    for number in range(draft.replicas):
        if number % 8 == 0:
            # To the tenth of a second, so that workloads meet.
            at_ns = begin_ns + generator.randrange(SPAN_NS // 6) // (SECOND_NS // 10) * (
                SECOND_NS // 10
            )
        if not draft.group_size or number % draft.group_size == 0:
            patience_ns = _patience_ns(generator, is_group=draft.group_size > 0)
        name = f"{draft.app}-{number:03d}"
        uid = f"{draft.namespace}-{name}"
        labels = draft.labels_of(number, draft.labels)
        meta = ObjectMeta(name=name, namespace=draft.namespace, uid=uid, labels=labels)
        is_kept = workload.is_job or draft.is_lasting
        is_ended = not is_kept and generator.randrange(100) < 70
        yield PodArrival(
            time_ns=at_ns,
            pod=Pod(metadata=meta, spec=draft.spec_of(number, workload.spec)),
            run_ns=generator.randrange(60, 300) * SECOND_NS if workload.is_job else None,
            lifetime_ns=generator.randrange(60, 900) * SECOND_NS if is_ended else None,
            patience_ns=patience_ns,
            class_name="job" if workload.is_job else "service",
            after_end=workload.after_end,
            ungate_ns=generator.randrange(1, 90) * SECOND_NS if draft.gates else None,
            relabel_ns=generator.randrange(300) * SECOND_NS if _is_tenth(generator) else None,
            labels=draft.labels_of(number, other),
        )


def _patience_ns(generator: random.Random, *, is_group: bool) -> int | None:
    """Few wait to the end: each change of the cluster has all of them tried again.

    A group's pods wait for those that come later, and those that have to are given up together.
    """
    if generator.randrange(10 if is_group else 25) == 0:
        return None
    return generator.randrange(5, 80 if is_group else 40) * SECOND_NS


def _is_tenth(generator: random.Random) -> bool:
    return generator.randrange(10) == 0


def _objects(generator: random.Random, workloads: list[_Workload]) -> Iterator[KubernetesObject]:
    """Namespaces, classes, Services and budgets, and what the workloads bring."""
    for name in NAMESPACES:
        yield Namespace(metadata=ObjectMeta(name=name, labels={TEAM: name}))
    for value in sorted(set(PRIORITIES)):
        yield PriorityClass(metadata=ObjectMeta(name=f"p{value}".replace("-", "m")), value=value)
    for workload in workloads:
        draft = workload.draft
        meta = ObjectMeta(name=draft.app, namespace=draft.namespace)
        if generator.randrange(3) == 0:
            yield Service(metadata=meta, spec=ServiceSpec(selector={"app": draft.app}))
        if generator.randrange(2) == 0:
            yield PodDisruptionBudget(metadata=meta, spec=_budget(generator, draft))
        yield from draft.groups()
        yield from draft.objects


def _budget(generator: random.Random, draft: Draft) -> DisruptionBudgetSpec:
    selector = LabelSelector(match_labels={"app": draft.app})
    if draft.is_lasting:
        # Those that others are to preempt in every seed: half of them may go, also one by one.
        return DisruptionBudgetSpec(selector=selector, min_available=draft.replicas // 2)
    if generator.randrange(2):
        return DisruptionBudgetSpec(selector=selector, max_unavailable=generator.randrange(2))
    least = draft.replicas * generator.choice((5, 9, 10)) // 10
    return DisruptionBudgetSpec(selector=selector, min_available=least)
