"""Preemption is what a plain implementation says, and what is kept is what asking anew gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from herz._native import mix64
from herz.model.decode import convert
from herz.model.objects import Pod, PodDisruptionBudget
from herz.model.podinfo import PodInfo
from herz.place.ledger import Placed
from herz.place.outcome import NoFit
from herz.place.preemption.importance import NOT_STARTED, started_ns
from herz.place.preemption.preemption import NotPreempted, Preempted, Preemption
from herz.place.sheet import Sheet
from herz.plugin import Kind, View
from tests.support.machine import KUBERNETES, World, make_policy
from tests.support.objects import make_node, make_pod

RULES = (*KUBERNETES, "PodTopologySpread", "InterPodAffinity", "DefaultPreemption")
NODES = ("n0", "n1", "n2", "n3")
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "zone"}
        ]
    }
}
SPREAD = [
    {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "b"}},
    }
]

pods = st.fixed_dictionaries(
    {
        "cpu": st.sampled_from((2, 1, 2, 3, 0)),
        "priority": st.integers(0, 3),
        "app": st.sampled_from("abc"),
        "port": st.sampled_from((0, 0, 0, 80)),
        "spec": st.sampled_from(
            ({}, {}, {"affinity": APART}, {"topologySpreadConstraints": SPREAD})
        ),
        "start": st.sampled_from((None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")),
    }
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("assign"), st.integers(0, 9), st.sampled_from(NODES), pods),
        st.tuples(st.just("start"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("nominate"), st.integers(0, 2), st.sampled_from(NODES), pods),
        st.tuples(st.just("withdraw"), st.integers(0, 2)),
        st.tuples(st.just("budget"), st.sampled_from("abc"), st.integers(0, 2)),
        st.tuples(st.just("unbudget"), st.sampled_from("abc")),
        st.tuples(st.just("node"), st.sampled_from(NODES), st.integers(2, 6)),
        st.just(("ask",)),
    ),
    min_size=5,
    max_size=25,
)


def made(name: str, content: dict[str, Any], node: str = "") -> Pod:
    """A pod of these properties."""
    ports = [(content["port"], "TCP", "")] if content["port"] else []
    pod = make_pod(
        name,
        {"cpu": str(content["cpu"])},
        node=node,
        ports=ports,
        labels={"app": content["app"]},
        priority=content["priority"],
        spec=content["spec"],
    )
    return replace(pod, status=replace(pod.status, start_time=content["start"]))


def budget(app: str, allowed: int) -> PodDisruptionBudget:
    """A budget over the pods of an app."""
    return convert(
        PodDisruptionBudget,
        {
            "metadata": {"name": f"budget-{app}", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"app": app}}},
            "status": {"disruptionsAllowed": allowed},
        },
    )


class Plain:
    """Kubernetes' algorithm, word by word, on copies of the cluster."""

    def __init__(self, world: World, pod: PodInfo) -> None:
        self._world, self._pod = world, pod
        sheet = world.fresh().sheet(pod)
        assert isinstance(sheet, Sheet)
        self._filters = sheet.filters
        first, book = sheet.table.first().tolist(), world.book
        self.potential = [
            row
            for row, code in enumerate(first)
            if code > 0 and book.verdict(code).kind is Kind.UNFIT
        ]

    def _fits(self, row: int, gone: list[Placed]) -> bool:
        world, pod = self._world, self._pod
        view = world.cluster.view.without(tuple(placed.pod.uid for placed in gone))
        node = world.cluster.nodes.name(row)
        crowded = view
        for other in world.cluster.nominations.on(node, pod.priority, pod.uid):
            crowded = crowded.with_(other, row)
        return self._passes(row, crowded) and self._passes(row, view)

    def _passes(self, row: int, view: View) -> bool:
        rows = np.array([row], np.int64)
        return all(not asked.rule.filter(asked.state, view, rows)[0] for asked in self._filters)

    def victims(self, row: int) -> tuple[list[Placed], int]:
        """Who must leave the row, and how many of them break a budget; nobody: no candidate."""
        cluster = self._world.cluster
        gone = [
            placed
            for placed in cluster.ledger.on(cluster.nodes.name(row))
            if placed.pod.priority < self._pod.priority
        ]
        gone.sort(key=lambda p: (-p.pod.priority, started_ns(p.pod), p.pod.uid))
        if not gone or not self._fits(row, gone):
            return [], 0
        left = {
            thing.metadata.name: thing.status.disruptions_allowed
            for thing in cluster.catalog.all(PodDisruptionBudget)
        }
        breaking = []
        for placed in gone:
            name = f"budget-{placed.pod.pod.metadata.labels['app']}"
            if name in left:
                left[name] -= 1
                if left[name] < 0:
                    breaking.append(placed)
        violations = 0
        for placed in breaking + [p for p in gone if p not in breaking]:
            without = [p for p in gone if p is not placed]
            if self._fits(row, without):
                gone = without
            else:
                violations += placed in breaking
        return gone, violations

    def choice(self) -> tuple[str, list[str], int] | None:
        """Node, victims and violations; None where preemption does not help."""
        cluster, found = self._world.cluster, []
        for row in self.potential:
            victims, violations = self.victims(row)
            if not victims:
                continue
            assert self._world.salt is not None
            key = int(cluster.nodes.keys[row]) ^ self._pod.tie_key ^ self._world.salt
            cost = (
                violations,
                victims[0].pod.priority,
                sum(p.pod.priority + 2**31 for p in victims),
                len(victims),
                -started_ns(victims[0].pod),
                mix64(key),
            )
            uids = [placed.pod.uid for placed in victims]
            found.append((cost, cluster.nodes.name(row), uids, violations))
        return min(found)[1:] if found else None


class Story:
    """A cluster to which things happen, with a preemption that lives through all of them."""

    def __init__(self) -> None:
        self.world = World(make_policy(RULES))
        self.kept = Preemption(
            self.world.cluster, self.world.framework, self.world.preemption().terms
        )
        for at, name in enumerate(NODES):
            self.node(name, 4, zone=f"z{at % 2}")
        self.asking: list[PodInfo] = []

    def node(self, name: str, cpu: int, zone: str | None = None) -> None:
        zone = zone or f"z{NODES.index(name) % 2}"
        labels = {"zone": zone}
        self.world.cluster.apply_node(make_node(name, cpu=str(cpu), pods="6", labels=labels))

    def assign(self, at: int, node: str, content: dict[str, Any]) -> None:
        self.delete(at)
        self.world.assign(made(f"p{at}", content, node), node)

    def start(self, at: int) -> None:
        placed = self.world.cluster.ledger.get(f"uid-p{at}")
        if placed is not None:
            pod = placed.pod.pod
            status = replace(pod.status, start_time="2025-12-31T23:59:59Z")
            self.world.assign(replace(pod, status=status), placed.node)

    def delete(self, at: int) -> None:
        self.world.cluster.forget(f"uid-p{at}")

    def nominate(self, at: int, node: str, content: dict[str, Any]) -> None:
        pod = self.world.read(made(f"w{at}", {**content, "start": None}))
        self.world.cluster.nominations.put(pod, node)

    def withdraw(self, at: int) -> None:
        self.world.cluster.nominations.drop(f"uid-w{at}")

    def budget(self, app: str, allowed: int) -> None:
        self.world.cluster.catalog.apply(budget(app, allowed))

    def unbudget(self, app: str) -> None:
        self.world.cluster.catalog.remove(budget(app, 0))

    def ask(self) -> None:
        """Every waiting pod asks; the answers are the plain ones."""
        for pod in self.asking:
            if not isinstance(self.world.decide(pod), NoFit):
                continue
            anew = self.world.preemption().run(pod)
            kept = self.kept.run(pod)
            assert _shown(kept) == _shown(anew)
            if not isinstance(kept, NotPreempted) or kept.is_hopeless:
                assert _shown(kept)[:3] == (Plain(self.world, pod).choice() or ("", [], 0))
            assert not self.world.cluster.view._moved


def _shown(found: Preempted | NotPreempted) -> tuple[Any, ...]:
    if isinstance(found, NotPreempted):
        return "", [], 0, found.message
    uids = [placed.pod.uid for placed in found.victims]
    return found.node, uids, found.violations, (found.candidates, found.tied)


@pytest.mark.slow
@settings(max_examples=30)
@given(
    st.lists(pods, min_size=8, max_size=10),
    steps,
    st.lists(pods, min_size=2, max_size=3),
    st.booleans(),
)
def test_kept_outcomes_are_fresh_ones_and_both_are_the_plain_ones(
    there: list[dict[str, Any]],
    what: list[tuple[Any, ...]],
    waiting: list[dict[str, Any]],
    is_nominated: bool,
) -> None:
    story = Story()
    for at, content in enumerate(there):
        story.assign(at, NODES[at % len(NODES)], content)
    for at, content in enumerate(waiting):
        larger = {"priority": content["priority"] + 1, "cpu": content["cpu"] + 2, "start": None}
        story.asking.append(story.world.read(made(f"w{at}", {**content, **larger})))
    if is_nominated:
        story.world.cluster.nominations.put(story.asking[0], "n1")
    story.ask()
    for number, (verb, *arguments) in enumerate(what):
        getattr(story, verb)(*arguments)
        if number % 4 == 0:
            story.ask()
    story.ask()


def test_importance_reads_times_as_kubernetes_writes_them() -> None:
    world = World(make_policy(RULES))

    def started(text: str | None) -> int:
        pod = make_pod("p")
        return started_ns(world.read(replace(pod, status=replace(pod.status, start_time=text))))

    assert started("1970-01-01T00:00:00Z") == 0
    assert started("2026-01-01T00:00:00Z") == 1_767_225_600 * 10**9
    assert started("2024-02-29T12:00:00.5Z") == 1_709_208_000 * 10**9 + 5 * 10**8
    assert started("2026-01-01T02:00:00+02:00") == started("2026-01-01T00:00:00Z")
    assert started(None) == started("yesterday") == NOT_STARTED
