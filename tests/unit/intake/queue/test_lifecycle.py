"""The lifecycle: the table, its document, and what an illegal move says."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.errors import InvariantError
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import (
    HISTORY_MOVES_MAX,
    MEANINGS,
    MOVES,
    RULES,
    State,
    Verb,
    render_table,
)
from tests.unit.intake.intake_pods import make_item

DOCUMENT = Path(__file__).parents[4] / "docs" / "reference" / "lifecycle.md"


def test_document_has_exactly_the_table_of_the_code() -> None:
    assert render_table() in DOCUMENT.read_text(encoding="utf-8")


def test_table_has_a_meaning_and_a_way_for_every_state() -> None:
    assert set(MEANINGS) == set(State)
    assert {state for state, _ in RULES} == set(State) - {State.GONE}
    assert set(RULES.values()) == set(State) - {State.NEW}
    assert {verb for _, verb in RULES} == set(Verb)
    assert len(MOVES) == len(RULES)


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE, Verb.PREEMPT, Verb.ADOPT])
def test_outside_verbs_are_legal_at_every_living_state(verb: Verb) -> None:
    for state in set(State) - {State.NEW, State.GONE}:
        assert (state, verb) in RULES


def test_move_takes_every_rule_and_refuses_every_other() -> None:
    for state in State:
        for verb in Verb:
            pod = QueuedPod(make_item("a"))
            pod.history = type(pod.history)(state, ())
            pod.state = state
            if (state, verb) in RULES:
                pod.move(verb)
                assert pod.state is RULES[state, verb]
                assert pod.moves[-1].verb is verb
            else:
                with pytest.raises(InvariantError, match=f"is {state.value} and cannot"):
                    pod.move(verb)
                assert pod.state is state


def test_illegal_move_shows_the_history_of_the_pod() -> None:
    pod = QueuedPod(make_item("a"))
    pod.move(Verb.ARRIVE)
    pod.move(Verb.POP)
    with pytest.raises(InvariantError) as caught:
        pod.move(Verb.CONFIRM)
    assert str(caught.value) == (
        "pod shop/a (uid-a) is in_cycle and cannot confirm; its last moves:"
        " new --arrive--> queued; queued --pop--> in_cycle"
    )


def test_history_is_bounded_and_ends_in_the_last_move() -> None:
    pod = QueuedPod(make_item("a"))
    pod.move(Verb.ARRIVE)
    for _ in range(HISTORY_MOVES_MAX):
        pod.move(Verb.POP)
        pod.move(Verb.BACK_OFF)
        pod.move(Verb.WAKE)
    assert len(pod.moves) == HISTORY_MOVES_MAX
    assert pod.moves[-1].target is State.QUEUED


def test_pods_with_one_life_share_its_history() -> None:
    one, two = QueuedPod(make_item("a")), QueuedPod(make_item("b"))
    for verb in (Verb.ARRIVE, Verb.POP, Verb.RESERVE, Verb.BIND, Verb.CONFIRM):
        one.move(verb)
        two.move(verb)
    assert one.history is two.history
