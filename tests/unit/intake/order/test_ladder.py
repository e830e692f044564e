"""The ladder: what each rung keeps, and when it is left."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.intake.order.comparator import Comparator
from herz.intake.order.ladder import Descent, EdgeReference, OrderBounds, order_batch
from tests.unit.intake.intake_pods import Item, make_candidates, make_item, names


def chain(count: int) -> list[Item]:
    """Each pod after the next one, so that the order is turned round."""
    return [make_item(f"p{n}", after=f"p{n + 1}") for n in range(count - 1)] + [
        make_item(f"p{count - 1}")
    ]


def test_rung_1_without_dependencies_builds_no_graph_and_counts_nothing() -> None:
    result = order_batch(make_candidates(make_item("a"), make_item("b", 5), make_item("c", 5)))
    assert names(result.order) == ["b", "c", "a"]
    assert (result.rung, result.comparisons, result.edges_visited) == (1, 0, 0)


def test_rung_1_puts_a_pod_behind_those_it_names_among_its_peers() -> None:
    result = order_batch(
        make_candidates(make_item("a", after="c"), make_item("b"), make_item("c"), make_item("d"))
    )
    assert names(result.order) == ["b", "c", "a", "d"]
    assert (result.rung, result.edge_count) == (1, 1)


def test_rung_1_overrules_an_edge_against_the_priority_and_says_so() -> None:
    result = order_batch(
        make_candidates(
            make_item("low"),
            make_item("high", 9, after="low"),
            make_item("lower", -1, after="high"),
        )
    )
    assert names(result.order) == ["high", "low", "lower"]
    assert result.overruled == (EdgeReference("shop/low", "shop/high", 1000),)
    assert result.rung == 1


def test_rung_1_with_a_comparator_keeps_dependencies_among_its_equals() -> None:
    comparator = Comparator("even", lambda a, b: len(a.item.name) < len(b.item.name))
    result = order_batch(
        make_candidates(
            make_item("aaa"), make_item("b", after="c"), make_item("c", after="aaa"), make_item("d")
        ),
        comparator,
    )
    assert names(result.order) == ["c", "b", "d", "aaa"]
    assert result.overruled == (EdgeReference("shop/aaa", "shop/c", 1000),)


def test_rung_2_is_reached_by_a_cycle_and_drops_its_weak_edge() -> None:
    items = [make_item("a", after="b"), make_item("b", after="a=0.85")]
    items += [make_item(f"p{n}", after="a") for n in range(5)]
    result = order_batch(make_candidates(*items))
    assert result.rung == 2
    assert result.descents == (Descent(2, "cycle"),)
    assert result.cycles == (("shop/a", "shop/b"),)
    assert result.dropped == (EdgeReference("shop/a", "shop/b", 850),)
    assert result.broken == ()
    assert names(result.order) == ["b", "a", "p0", "p1", "p2", "p3", "p4"]


def test_rung_2_keeps_strong_edges_in_a_small_cycle_without_any_drop_allowed() -> None:
    result = order_batch(
        make_candidates(make_item("a", after="b=0.851"), make_item("b", after="a=0.5"))
    )
    assert names(result.order) == ["b", "a"]
    assert result.dropped == ()  # 15 % of two edges is none
    assert result.broken == (EdgeReference("shop/a", "shop/b", 500),)


def test_rung_2_orders_a_wholly_strong_cycle_by_its_base_and_keeps_the_rest() -> None:
    result = order_batch(
        make_candidates(
            make_item("a", after="b,z"),
            make_item("b", after="a"),
            make_item("z"),
            make_item("after-both", after="b"),
        )
    )
    assert names(result.order) == ["z", "a", "b", "after-both"] or names(result.order) == [
        "b",
        "z",
        "a",
        "after-both",
    ]
    assert {edge.after for edge in result.broken} == {"shop/a", "shop/b"}
    assert result.cycles == (("shop/a", "shop/b"),)


def test_rung_2_holds_strong_edges_whatever_the_priorities() -> None:
    result = order_batch(
        make_candidates(make_item("low"), make_item("high", 9, after="low"), make_item("mid", 5)),
        rung_min=2,
    )
    assert names(result.order) == ["mid", "low", "high"]
    assert result.descents == (Descent(2, "driver"),)


def test_rung_2_drops_the_lightest_weak_edges_and_at_most_15_percent() -> None:
    items = [make_item(f"p{n}", after=f"q=0.{n + 1:02}") for n in range(20)]
    result = order_batch(make_candidates(*items, make_item("q")), rung_min=2)
    assert [edge.weight_thousandths for edge in result.dropped] == [10, 20, 30]
    assert names(result.order)[:4] == ["p0", "p1", "p2", "q"]


def test_rung_2_is_reached_by_too_many_nodes() -> None:
    bounds = OrderBounds(graph_nodes_max=9)
    result = order_batch(make_candidates(*chain(10)), None, bounds)
    assert result.descents == (Descent(2, "nodes"),)
    assert names(result.order) == [f"p{n}" for n in reversed(range(10))]
    assert order_batch(make_candidates(*chain(9)), None, bounds).rung == 1


def test_rung_2_is_reached_by_comparisons_and_falls_back_to_the_default_base() -> None:
    batch = make_candidates(*(make_item(f"p{n:02}", n % 5) for n in range(50)))
    comparator = Comparator("by-name", lambda a, b: a.item.name < b.item.name)
    result = order_batch(batch, comparator, OrderBounds(rung1_steps_max=100, both_steps_max=200))
    assert result.descents == (Descent(2, "comparisons"),)
    assert result.comparisons == 100
    assert [c.item.priority for c in result.order] == sorted(
        (c.item.priority for c in batch), reverse=True
    )


def test_rung_2_is_reached_by_edges() -> None:
    result = order_batch(
        make_candidates(*chain(10)), None, OrderBounds(rung1_steps_max=20, both_steps_max=100)
    )
    assert result.descents == (Descent(2, "edges"),)
    assert names(result.order) == [f"p{n}" for n in reversed(range(10))]


@pytest.mark.parametrize("both", [0, 5, 9, 15, 30, 50])
def test_rung_3_is_fifo_when_both_bounds_are_met(both: int) -> None:
    bounds = OrderBounds(rung1_steps_max=0, both_steps_max=both)
    result = order_batch(make_candidates(make_item("low"), *chain(10)), None, bounds)
    assert result.rung == 3
    assert [descent.rung for descent in result.descents] == [2, 3]
    assert [c.sequence for c in result.order] == list(range(1, 12))
    assert result.edges_visited <= both
    assert (result.dropped, result.broken) == ((), ())


def test_rung_3_by_the_driver_needs_no_graph() -> None:
    result = order_batch(make_candidates(*chain(4)), rung_min=3)
    assert (result.rung, result.edges_visited) == (3, 0)
    assert names(result.order) == ["p0", "p1", "p2", "p3"]


def test_one_dependency_in_a_batch_of_the_largest_size_stays_on_rung_1() -> None:
    items = [make_item(f"p{n}") for n in range(65_535)] + [make_item("z", after="p0")]
    assert order_batch(make_candidates(*items)).rung == 1


def test_bounds_that_contradict_each_other_are_refused() -> None:
    for wrong in (
        {"rung1_steps_max": 10, "both_steps_max": 5},
        {"graph_nodes_max": -1},
        {"dropped_percent_max": 101},
    ):
        with pytest.raises(ConfigError, match=r"queue\.order"):
            OrderBounds(**wrong)
