"""The snapshot digest: a function of what is there, not of how it came to be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.place.snapshot import PARTS, SnapshotDigest, node_element
from tests.support import strategies as some
from tests.support.machine import World
from tests.support.objects import make_node, make_pod

NODES = [f"n{number}" for number in range(4)]
nodes = st.tuples(*(some.nodes(name) for name in NODES)).map(list)
placements = st.lists(
    st.tuples(st.integers(0, len(some.KINDS) - 1), st.sampled_from(NODES)), max_size=6
)


def digest(world: World) -> bytes:
    return world.snapshot.digest(world.cluster.knowledge)


def build(things: list[Any]) -> World:
    world = World()
    for thing in things:
        if isinstance(thing, tuple):
            number, kind, name = thing
            world.assign(some.pod_of(kind, f"p{number}"), name)
        else:
            world.nodes(thing)
    return world


@pytest.mark.slow
@settings(max_examples=80)
@given(given_nodes=nodes, placed=placements, data=st.data())
def test_the_order_in_which_nodes_and_pods_came_does_not_count(
    given_nodes: list[Any], placed: list[Any], data: st.DataObject
) -> None:
    things = [*given_nodes, *((n, kind, name) for n, (kind, name) in enumerate(placed))]
    shuffled = data.draw(st.permutations(things))
    assert digest(build(things)) == digest(build(shuffled))


@pytest.mark.slow
@settings(max_examples=80)
@given(given_nodes=nodes, placed=placements, more=nodes, extra=placements)
def test_what_is_undone_leaves_no_trace(
    given_nodes: list[Any], placed: list[Any], more: list[Any], extra: list[Any]
) -> None:
    world = build([*given_nodes, *((n, k, name) for n, (k, name) in enumerate(placed))])
    before = digest(world)
    world.nodes(*more, make_node("guest"))
    for number, (kind, name) in enumerate(extra):
        world.assign(some.pod_of(kind, f"extra-{number}"), name)
    for number in range(len(extra)):
        world.cluster.forget(f"uid-extra-{number}")
    world.cluster.remove_node("guest")
    world.nodes(*given_nodes)
    assert digest(world) == before


ORIGINAL: dict[str, Any] = {
    "cpu": "4",
    "labels": {"zone": "a"},
    "taints": [("a", "", "NoSchedule")],
    "images": {"web:1": 1},
    "features": ["F"],
    "annotations": {"x": "y"},
}
CHANGES: list[dict[str, Any]] = [
    {"cpu": "5"},
    {"more": {"example.com/x": "1"}},
    {"labels": {"zone": "b"}},
    {"labels": {"zone": "a", "y": ""}},
    {"taints": [("a", "", "NoExecute")]},
    {"taints": []},
    {"unschedulable": True},
    {"images": {"web:1": 2}},
    {"images": {"web:2": 1}},
    {"features": ["F", "G"]},
    {"annotations": {"x": "z"}},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_any_change_of_a_node_is_seen_and_taken_back(change: dict[str, Any]) -> None:
    world = World().nodes(make_node("a", **ORIGINAL), make_node("b"))
    before = digest(world)
    world.nodes(make_node("a", **{**ORIGINAL, **change}))
    assert digest(world) != before
    direct = World().nodes(make_node("b"), make_node("a", **{**ORIGINAL, **change}))
    assert digest(world) == digest(direct)
    world.nodes(make_node("a", **ORIGINAL))
    assert digest(world) == before


def test_a_renamed_node_and_swapped_contents_are_other_snapshots() -> None:
    one = World().nodes(make_node("a", cpu="1"), make_node("b", cpu="2"))
    other = World().nodes(make_node("a", cpu="2"), make_node("b", cpu="1"))
    third = World().nodes(make_node("a", cpu="1"), make_node("c", cpu="2"))
    assert len({digest(one), digest(other), digest(third)}) == 3


def test_where_a_pod_is_and_how_it_is_held_counts() -> None:
    digests = set()
    for name, is_bound in (("a", True), ("b", True), ("a", False), ("b", False)):
        world = World().nodes(make_node("a"), make_node("b"))
        info = world.read(make_pod("p"))
        if is_bound:
            world.cluster.assign(info, name, ())
        else:
            world.cluster.reserve(info, world.cluster.nodes.rows[name], ())
        digests.add(digest(world))
    assert len(digests) == 4


def test_a_confirmed_reservation_is_as_a_pod_that_was_seen_there() -> None:
    one, other = World().nodes(make_node("a")), World().nodes(make_node("a"))
    info = one.read(make_pod("p", {"cpu": "1"}))
    one.cluster.reserve(info, 0, ())
    one.cluster.assign(info, "a", ())
    other.cluster.assign(info, "a", ())
    assert digest(one) == digest(other)


def test_parts_and_knowledge_are_kept_apart() -> None:
    digests = set()
    for part in PARTS:
        snapshot = SnapshotDigest()
        snapshot.add(part, b"element")
        digests |= {snapshot.digest(b""), snapshot.digest(b"known")}
    assert len(digests) == 2 * len(PARTS)


def test_a_node_that_reports_capacity_only_is_followed_like_others() -> None:
    """Allocatable falls back to capacity: its change is a change of what rules read."""
    small, large = (
        make_node("a", status={"allocatable": {}, "capacity": {"cpu": cpu, "pods": "9"}})
        for cpu in ("1", "3")
    )
    assert node_element(small) != node_element(large)
    world, empty = World().nodes(small), World()
    assert world.cluster.apply_node(large) is not None
    assert digest(world) == digest(World().nodes(large))
    assert world.cluster.nodes.allocatable[0, 0] == 3000
    world.cluster.remove_node("a")
    assert digest(world) == digest(empty)
