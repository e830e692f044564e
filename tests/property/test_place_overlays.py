"""What-if views answer as the cluster would if it were so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.builtin import BUILT_IN
from herz.place.framework import Framework
from herz.place.sheet import Sheet
from herz.plugin import Verdict, View
from tests.support import strategies as some
from tests.support.machine import World

NODES = [f"n{number}" for number in range(5)]
clusters = st.tuples(*(some.nodes(name) for name in NODES))
kinds = st.integers(0, len(some.KINDS) - 1)
placements = st.lists(st.tuples(kinds, st.sampled_from(NODES)), max_size=8)


def answers(world: World, view: View) -> list[Any]:
    """What every kind of pod is told at every row, through this view."""
    framework = Framework(world.cluster.nodes, view, world.rules, world.book, salt=None)
    found: list[Any] = []
    for kind in range(len(some.KINDS)):
        sheet = framework.sheet(world.read(some.pod_of(kind, "asked")))
        if isinstance(sheet, Verdict):
            found.append(sheet)
            continue
        assert isinstance(sheet, Sheet)
        fits = sheet.table.first() == 0
        points = [sheet.table.points(at)[fits].tolist() for at in range(len(sheet.score_names))]
        found.append((sheet.table.first().tolist(), points))
    return found


def build(nodes: Any, placed: list[Any]) -> World:
    world = World(BUILT_IN["default"]).nodes(*nodes)
    for number, (kind, name) in enumerate(placed):
        world.assign(some.pod_of(kind, f"p{number}"), name)
    return world


@pytest.mark.slow
@settings(max_examples=40)
@given(nodes=clusters, placed=placements, data=st.data())
def test_a_view_without_pods_is_the_cluster_after_they_left(
    nodes: Any, placed: list[Any], data: st.DataObject
) -> None:
    world = build(nodes, placed)
    gone = data.draw(st.sets(st.integers(0, max(len(placed) - 1, 0)), max_size=len(placed)))
    before = world.cluster.nodes.usage.copy()
    foreseen = answers(world, world.cluster.view.without(tuple(f"uid-p{n}" for n in sorted(gone))))
    np.testing.assert_array_equal(world.cluster.nodes.usage.requested, before.requested)
    assert world.cluster.nodes.usage.ports == before.ports
    for number in gone:
        world.cluster.forget(f"uid-p{number}")
    assert answers(world, world.cluster.view) == foreseen


@pytest.mark.slow
@settings(max_examples=40)
@given(nodes=clusters, placed=placements, kind=kinds, name=st.sampled_from(NODES))
def test_a_view_with_a_pod_is_the_cluster_after_it_came(
    nodes: Any, placed: list[Any], kind: int, name: str
) -> None:
    world = build(nodes, placed)
    info = world.read(some.pod_of(kind, "new"))
    row = world.cluster.nodes.rows[name]
    before = world.cluster.nodes.usage.copy()
    foreseen = answers(world, world.cluster.view.with_(info, row))
    np.testing.assert_array_equal(world.cluster.nodes.usage.requested, before.requested)
    np.testing.assert_array_equal(world.cluster.nodes.usage.nonzero, before.nonzero)
    assert world.cluster.nodes.usage.ports == before.ports
    world.cluster.assign(info, name, ())
    assert answers(world, world.cluster.view) == foreseen


@pytest.mark.slow
@settings(max_examples=30)
@given(nodes=clusters, placed=placements, kind=kinds, name=st.sampled_from(NODES))
def test_a_view_with_a_pod_and_without_it_is_the_cluster(
    nodes: Any, placed: list[Any], kind: int, name: str
) -> None:
    world = build(nodes, [*placed, (kind, name)])
    last = f"uid-p{len(placed)}"
    held = world.cluster.ledger.get(last)
    assert held is not None
    row = world.cluster.nodes.rows[name]
    swapped = world.cluster.view.without((last,)).with_(held.pod, row, held.devices)
    assert answers(world, swapped) == answers(world, world.cluster.view)
