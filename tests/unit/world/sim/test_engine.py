"""Virtual time: order, and its bounds."""

from __future__ import annotations

import pytest

from herz.errors import InvariantError
from herz.world.sim.engine import Engine, Rank


def test_engine_goes_by_time_then_rank_then_first_in() -> None:
    engine, seen = Engine(), list[str]()
    engine.at(5, Rank.WATCH, seen.append, "watch")
    engine.at(5, Rank.NODE, seen.append, "node")
    engine.at(1, Rank.ARRIVAL, seen.append, "first")
    engine.at(5, Rank.WATCH, seen.append, "watch again")
    assert engine.next_ns == 1
    engine.advance(5)
    assert seen == ["first", "node", "watch", "watch again"]
    assert engine.next_ns is None
    assert (engine.now_ns, engine.pending, engine.handled) == (5, 0, 4)


def test_engine_takes_what_a_handler_causes_at_the_same_time_by_rank() -> None:
    engine, seen = Engine(), list[str]()

    def cause(name: str) -> None:
        seen.append(name)
        engine.at(3, Rank.NODE, seen.append, f"{name} node")

    engine.at(3, Rank.API, cause, "one")
    engine.at(3, Rank.API, cause, "two")
    engine.advance(3)
    assert seen == ["one", "one node", "two", "two node"]


def test_engine_refuses_the_past_and_keeps_its_bound() -> None:
    engine = Engine(pending_max=1)
    engine.advance(10)
    with pytest.raises(InvariantError, match="10 ns already"):
        engine.at(9, Rank.API, print)
    engine.at(11, Rank.API, print)
    with pytest.raises(InvariantError, match="more than 1 things"):
        engine.at(12, Rank.API, print)
