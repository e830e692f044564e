"""The dependency graph: the two walks, against networkless small cases."""

from __future__ import annotations

from itertools import permutations

from herz.intake.order.graph import Edge, build_graph, find_cycles, topological_order
from tests.unit.intake.intake_pods import Item, make_candidates, make_item


def edges(*pairs: tuple[int, int]) -> list[Edge]:
    return [Edge(before, after, 1000) for before, after in pairs]


def test_build_graph_ignores_names_outside_the_batch_and_other_namespaces() -> None:
    other = Item("uid-x", "bank", "a")
    batch = make_candidates(
        make_item("b", after="a, missing=0.2"), make_item("a"), make_item("c"), other
    )
    graph = build_graph(batch)
    assert graph.edges == (Edge(1, 0, 1000),)
    assert graph.node_count == 2


def test_topological_order_delays_those_that_wait_and_pulls_nobody_forward() -> None:
    assert topological_order(4, edges((3, 0))) == [1, 2, 3, 0]
    assert topological_order(5, edges((4, 0), (0, 1), (1, 2))) == [3, 4, 0, 1, 2]
    assert topological_order(3, edges((0, 2))) == [0, 1, 2]
    assert topological_order(0, []) == []


def test_topological_order_is_the_smallest_of_all_that_hold() -> None:
    given = edges((3, 1), (4, 0), (1, 0), (2, 4))
    allowed = [
        list(order)
        for order in permutations(range(5))
        if all(order.index(edge.before) < order.index(edge.after) for edge in given)
    ]
    assert topological_order(5, given) == min(allowed)


def test_topological_order_is_short_where_a_cycle_is() -> None:
    assert topological_order(4, edges((1, 2), (2, 1), (2, 3))) == [0]


def test_find_cycles_names_the_members_and_not_those_behind() -> None:
    given = edges((5, 1), (1, 5), (2, 3), (3, 4), (4, 2), (1, 0), (6, 6), (2, 2))
    assert find_cycles(8, given) == [(1, 5), (2, 3, 4), (6,)]
    assert find_cycles(8, edges((0, 1), (1, 2))) == []


def test_find_cycles_walks_long_chains_without_recursion() -> None:
    count = 20_000
    chain = edges(*((number, (number + 1) % count) for number in range(count)))
    assert find_cycles(count, chain) == [tuple(range(count))]
