"""What was measured on nodes: columns that follow samples, nodes and time, and invent nothing."""

from __future__ import annotations

from herz.model.decode import convert
from herz.model.objects import NodeSignals
from herz.plugin import MISSING
from herz.state import frozen, thawed
from tests.support.machine import SECOND, Harness
from tests.support.objects import make_node


def sample(node: str, *, age_ms: int = 0, valid_ms: int = 60_000, **signals: int) -> NodeSignals:
    status = {"ageMilliseconds": age_ms, "validMilliseconds": valid_ms, "signals": signals}
    return convert(NodeSignals, {"metadata": {"name": node}, "status": status})


def values(made: Harness, signal: str) -> dict[str, int]:
    nodes, column = made.cluster.nodes, made.cluster.view.signal(signal)
    assert len(column) == nodes.size
    return {name: int(column[row]) for name, row in nodes.rows.items()}


def test_samples_reach_their_rows_and_missing_ones_say_so() -> None:
    made = Harness().apply(make_node("a"), make_node("b"), sample("a", load=7, wait=0))
    assert values(made, "load") == {"a": 7, "b": MISSING}
    assert values(made, "wait") == {"a": 0, "b": MISSING}
    assert values(made, "nobody_measures_it") == {"a": MISSING, "b": MISSING}
    made.apply(sample("a", load=9))
    assert values(made, "wait")["a"] == MISSING


def test_samples_before_their_node_and_after_it_came_again() -> None:
    made = Harness().apply(sample("a", load=7), make_node("a"))
    assert values(made, "load") == {"a": 7}
    made.delete(make_node("a")).apply(make_node("b"), make_node("a"))
    assert values(made, "load") == {"b": MISSING, "a": 7}


def test_sample_is_stale_from_when_it_was_measured() -> None:
    made = Harness().apply(make_node("a"), sample("a", age_ms=20_000, load=7))
    fresh = made.machine._digest()
    made.step(after=39 * SECOND)
    assert values(made, "load") == {"a": 7}
    made.step(after=1 * SECOND)
    assert values(made, "load") == {"a": MISSING}
    assert made.machine._digest() != fresh
    made.apply(sample("a", load=7))
    assert values(made, "load") == {"a": 7}


def test_stale_sample_that_is_told_once_more_stays_stale() -> None:
    made = Harness().apply(make_node("a"), sample("a", load=7))
    made.step(after=60 * SECOND)
    made.apply(sample("a", age_ms=60_000, load=7)).step()
    assert values(made, "load") == {"a": MISSING}


def test_columns_grow_with_the_table() -> None:
    made = Harness().apply(make_node("n0"), sample("n0", load=1))
    made.apply(*(make_node(f"n{i}") for i in range(1, 200)), sample("n199", load=2))
    found = values(made, "load")
    assert (found["n0"], found["n100"], found["n199"]) == (1, MISSING, 2)


def test_state_holds_what_is_stale() -> None:
    made = Harness().apply(make_node("a"), make_node("b"), sample("a", load=7))
    made.step(after=60 * SECOND)
    made.apply(sample("b", load=8)).step()
    other = Harness()
    thawed(other.machine, frozen(made.machine))
    assert values(other, "load") == {"a": MISSING, "b": 8}
    assert other.machine._digest() == made.machine._digest()
    other.now = made.now
    other.step(after=61 * SECOND)
    assert values(other, "load") == {"a": MISSING, "b": MISSING}
