"""Sheets are memory only: kept answers are those that asking everything anew would give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from herz.builtin import BUILT_IN
from herz.config import Policy
from herz.model.objects import Node
from herz.place.framework import Framework
from herz.place.outcome import Choice
from herz.plugin import (
    SKIP,
    Filter,
    Int64s,
    Kind,
    Normalize,
    PreScore,
    Reads,
    Rows,
    Score,
    View,
)
from tests.support import strategies as some
from tests.support.machine import Rules, World, make_policy
from tests.support.objects import make_node

NODES = [f"n{number}" for number in range(9)]
PODS = range(14)


class Emptiest(Score):
    """A rule without a kernel that reads what kernels read."""

    name: ClassVar[str] = "Emptiest"
    reads: ClassVar[Reads] = Reads.REQUESTED
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def sign(self, pod: Any) -> object:
        return ()

    def prepare_score(self, pod: Any, view: View) -> Any:
        return None

    def score(self, state: None, view: View, rows: Rows) -> Int64s:
        found: Int64s = 100 - np.minimum(view.requested[0][rows] // 50, 100)
        return found


class Crowd(PreScore, Normalize):
    """A score of which rows fit, and of every pod count: asked again whenever they change."""

    name: ClassVar[str] = "Crowd"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def sign(self, pod: Any) -> object:
        return pod.requests.get("memory", 0)

    def prepare_score(self, pod: Any, view: View) -> Any:
        return None

    def prescore(self, state: None, view: View, feasible: Int64s) -> Any:
        return SKIP if len(feasible) == 1 else feasible

    def score(self, state: Int64s, view: View, rows: Rows) -> Int64s:
        by_row = np.full(view.size, len(state), np.int64)
        by_row[state] = np.arange(len(state)) * 3 + (view.labels("zone")[state] > 0)
        found: Int64s = by_row[rows]
        return found

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        return (raw - low) * 100 // max(high - low, 1)


class Quorum(Filter):
    """A filter whose answer for each row follows from all rows."""

    name: ClassVar[str] = "Quorum"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.LABELS | Reads.NODES

    def sign(self, pod: Any) -> object:
        return pod.requests.get("cpu", 0)

    def prepare(self, pod: Any, view: View) -> Any:
        return 1 + pod.requests.get("cpu", 0) % 3

    def filter(self, state: int, view: View, rows: Rows) -> Any:
        is_enough = np.count_nonzero(view.labels("zone")) >= state
        return np.full(len(view.unschedulable[rows]), 0 if is_enough else self.code, np.int16)

    code = 0


def with_quorum(world: World) -> World:
    Quorum.code = world.book.code(Kind.UNFIT, "Quorum", ("too few zones",))
    return world


def by_name() -> Policy:
    return make_policy(ties="name")


def most() -> Policy:
    """Another strategy, and the kernels as the only scores."""
    strategy = {
        "type": "RequestedToCapacityRatio",
        "resources": [{"name": "cpu"}, {"name": some.SPECIAL, "weight": 3}],
        "requestedToCapacityRatio": {
            "shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
        },
    }
    names = ("NodeResourcesFit", "NodeResourcesBalancedAllocation")
    return make_policy(names, {"NodeResourcesFit": {"scoringStrategy": strategy}})


WORLDS: Mapping[str, tuple[Policy, Rules, int | None]] = {
    "default": (BUILT_IN["default"], (), 7),
    "kernels": (most(), (), 7),
    "by-name": (by_name(), (), None),
    "numpy": (make_policy(), ((Emptiest(), 2),), 9),
    "feasible": (make_policy(), ((Crowd(), 1),), 9),
    "all-rows": (make_policy(), ((Quorum(), 1), (Emptiest(), 1)), 9),
}

ASPECTS = ("labels", "spec", "allocatable", "images", "declared_features")
steps = st.one_of(
    st.sampled_from(NODES[:4]).flatmap(
        lambda name: st.tuples(st.just("tweak"), some.nodes(name), st.sampled_from(ASPECTS))
    ),
    st.sampled_from(NODES).flatmap(lambda name: st.tuples(st.just("node"), some.nodes(name))),
    st.tuples(st.just("drop"), st.sampled_from(NODES)),
    st.tuples(st.just("assign"), st.sampled_from(PODS), st.sampled_from(NODES)),
    st.tuples(st.just("reserve"), st.sampled_from(PODS), st.sampled_from(NODES)),
    st.tuples(st.just("forget"), st.sampled_from(PODS)),
    st.tuples(st.just("ask"), st.integers(0, len(some.KINDS) - 1)),
    st.tuples(st.just("place"), st.integers(0, len(some.KINDS) - 1), st.sampled_from(PODS)),
)
rare = st.sampled_from([("grow",), *([("rest",)] * 7)])


def act(world: World, framework: Framework, step: tuple[Any, ...]) -> None:
    """One change of the cluster, or one question to the kept sheets."""
    cluster = world.cluster
    match step:
        case ("node", node):
            cluster.apply_node(node)
        case ("tweak", node, aspect):
            tweak(world, node, aspect)
        case ("drop", name):
            cluster.remove_node(name)
        case ("assign", number, name):
            pod = some.pod_of(number % len(some.KINDS), f"p{number}")
            cluster.assign(world.read(pod), name, ())
        case ("reserve", number, name):
            pod = some.pod_of(number % len(some.KINDS), f"p{number}")
            row = cluster.nodes.rows.get(name)
            if row is not None and cluster.ledger.get(pod.metadata.uid) is None:
                cluster.reserve(world.read(pod), row, ())
        case ("forget", number):
            cluster.forget(f"uid-p{number}")
        case ("ask", kind):
            framework.decide(world.read(some.pod_of(kind, "asked")))
        case ("place", kind, number):
            place(world, framework, kind, number)
        case ("grow",) if "filler-0" not in cluster.nodes.rows:
            for number in range(70):
                cluster.apply_node(make_node(f"filler-{number}", cpu="0", pods="1"))


def tweak(world: World, like: Node, aspect: str) -> None:
    """Change a node in one aspect only."""
    row = world.cluster.nodes.rows.get(like.name)
    node = None if row is None else world.cluster.nodes.nodes[row]
    if node is None:
        return
    if aspect == "labels":
        node = replace(node, metadata=like.metadata)
    elif aspect == "spec":
        node = replace(node, spec=like.spec)
    else:
        node = replace(node, status=replace(node.status, **{aspect: getattr(like.status, aspect)}))
    world.cluster.apply_node(node)


def place(world: World, framework: Framework, kind: int, number: int) -> None:
    """Decide and reserve, as the cycle does."""
    if world.cluster.ledger.get(f"uid-p{number}") is None:
        info = world.read(some.pod_of(kind, f"p{number}"))
        found = framework.decide(info)
        if isinstance(found, Choice):
            world.cluster.reserve(info, found.row, ())


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(WORLDS))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=st.tuples(*(some.nodes(name) for name in NODES[:3])),
    history=st.lists(st.tuples(steps, rare), min_size=3, max_size=40),
)
def test_kept_sheets_answer_what_fresh_ones_do(
    kind: str, first: tuple[Any, ...], history: list[Any]
) -> None:
    policy, extra, salt = WORLDS[kind]
    world = with_quorum(World(policy, extra, salt=salt)).nodes(*first)
    asked = [world.read(some.pod_of(number, "asked")) for number in range(len(some.KINDS))]
    for pod in asked:
        world.decide(pod)
    for position, (step, big) in enumerate(history):
        act(world, world.framework, step)
        act(world, world.framework, big)
        if step[0] == "ask" or position == len(history) - 1:
            fresh = world.fresh()
            for pod in asked:
                assert world.framework.decide(pod) == fresh.decide(pod)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(history=st.lists(steps, min_size=5, max_size=40), room=st.sampled_from([0, 3000, 30_000]))
def test_a_bounded_memory_of_sheets_answers_the_same(history: list[Any], room: int) -> None:
    world = World()
    small = Framework(
        world.cluster.nodes,
        world.cluster.view,
        world.rules,
        world.book,
        salt=world.salt,
        cache_bytes=room,
    )
    for step in history:
        act(world, small, step)
    for number in range(len(some.KINDS)):
        pod = world.read(some.pod_of(number, "asked"))
        assert small.decide(pod) == world.framework.decide(pod)
        assert small.decide(pod) == world.fresh().decide(pod)


@settings(max_examples=40)
@given(first=some.nodes("n0"), second=some.nodes("n0"), other=some.nodes("n1"))
def test_an_updated_node_is_judged_as_if_it_had_always_been_so(
    first: Any, second: Any, other: Any
) -> None:
    updated, direct = World().nodes(first, other), World().nodes(second, other)
    for number in range(len(some.KINDS)):
        updated.decide(some.pod_of(number, "asked"))
    updated.nodes(second)
    for number in range(len(some.KINDS)):
        pod = some.pod_of(number, "asked")
        assert updated.decide(pod) == direct.decide(pod)
