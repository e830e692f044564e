"""Exploration: how often, decided by whom, and what is told of it."""

from __future__ import annotations

import random

import pytest

from herz import signals
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.model.record import Promise
from herz.place.exploring import PARTS, propensities, taken
from tests.support.machine import Harness, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import arguments, profile, sample

RULES = ("Understood", "NodeResourcesFit", "SLAClasses", "SLARefuse", "SLAFit")


def of(count: int, exploration: int) -> list[Promise]:
    odds = propensities(count, exploration)
    return [
        Promise(abstained="", contributions=(), node=f"n{at}", probability=9_000, propensity=one)
        for at, one in enumerate(odds)
    ]


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("exploration", [1, 100, 10_000])
def test_propensities_are_a_whole_spread_evenly(count: int, exploration: int) -> None:
    odds = propensities(count, exploration)
    assert sum(odds) == PARTS
    assert len(set(odds[1:])) == 1
    assert odds[1] == exploration * 100 // count


@pytest.mark.parametrize(("count", "exploration"), [(5, 0), (1, 100), (0, 100)])
def test_nothing_to_explore_takes_the_best(count: int, exploration: int) -> None:
    assert set(propensities(count, exploration)) <= {-1}
    assert taken(of(count, exploration), 7) == ""


def test_draws_fall_as_often_as_the_propensities_say() -> None:
    chance, tops = random.Random(0), of(4, 4_000)
    found = [taken(tops, chance.getrandbits(64)) for _ in range(20_000)]
    for one in tops:
        assert found.count(one.node) / 20_000 == pytest.approx(one.propensity / PARTS, abs=0.01)


def explored(exploration: int, *, pods: int = 60) -> Harness:
    """Jobs of a class of this exploration, placed one by one on empty nodes."""
    objective = {"kind": "completion", "shareBasisPoints": 9_950}
    spec = {"objective": objective, "explorationBasisPoints": exploration}
    named = {**arguments(), "classes": {"tries": spec}}
    made = Harness(
        make_policy(
            RULES, dict.fromkeys(RULES[3:], named) | {"SLAClasses": {"classes": named["classes"]}}
        )
    )
    for number in range(6):
        made.apply(make_node(f"n{number}", cpu="64"), sample(f"n{number}"))
    made.apply(profile("job", sla_class="batch", cpu_used=100))
    for number in range(pods):
        made.place(make_pod(f"j{number}", labels={"app": "job", CLASS_LABEL: "tries"}))
    return made


def test_placements_that_explore_are_told_with_their_propensity() -> None:
    made = explored(5_000)
    records = made.kept.records
    away = [one for one in records if one.node != one.top[0].node]
    # Half of the placements explore, one in five of them the best node.
    assert 12 <= len(away) <= 36
    for one in records:
        odds = {told.node: told.propensity for told in one.promises}
        assert odds[one.node] == (100_000 if one in away else 600_000)
        assert sum(odds.values()) == PARTS
    assert made.counters[signals.PROMISES_EXPLORED] == len(away)
    again = explored(5_000)
    assert [one.node for one in again.kept.records] == [one.node for one in records]


def test_classes_explore_nothing_unless_they_say_so() -> None:
    made = explored(0, pods=20)
    for one in made.kept.records:
        assert one.node == one.top[0].node
        assert {told.propensity for told in one.promises} == {-1}
    assert b"propensity" not in b"".join(made.kept.lines)
