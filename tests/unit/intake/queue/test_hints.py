"""The hints: who is woken by what, and the events of a cycle."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.intake.queue.hints import WILDCARD, HintRule, Hints, InFlightEvents, Outcome, QueueEvent
from herz.intake.queue.item import QueuedPod, QueueItem
from tests.unit.intake.intake_pods import Event, make_item


def rejected(*plugins: str, pending: tuple[str, ...] = ()) -> QueuedPod:
    pod = QueuedPod(make_item("a"))
    pod.rejected_by = plugins
    pod.pending_by = pending
    return pod


def never(item: QueueItem, event: QueueEvent) -> bool:
    return False


def raises(item: QueueItem, event: QueueEvent) -> bool:
    raise OSError("disk")


RULES = [
    HintRule("Fit", ("Node/Add", "Pod/Delete")),
    HintRule("Fit", ("Node/Update",), never),
    HintRule("Taints", ("Node/Update",)),
    HintRule("Silent", ()),
    HintRule("Broken", ("Node/Add",), raises),
    HintRule("Nosy", (WILDCARD,)),
]


@pytest.mark.parametrize(
    ("plugins", "pending", "kind", "outcome"),
    [
        (("Fit",), (), "Node/Add", Outcome.AFTER_BACKOFF),
        (("Fit",), (), "Node/Update", Outcome.STAY),
        (("Fit",), (), "Service/Add", Outcome.STAY),
        (("Fit", "Taints"), (), "Node/Update", Outcome.AFTER_BACKOFF),
        ((), ("Fit",), "Node/Add", Outcome.AT_ONCE),
        (("Fit",), ("Taints",), "Node/Add", Outcome.AFTER_BACKOFF),
        (("Fit",), ("Taints",), "Node/Update", Outcome.AT_ONCE),
        (("Silent",), (), "Node/Add", Outcome.STAY),
        (("Silent",), (), WILDCARD, Outcome.AFTER_BACKOFF),
        ((), ("Silent",), WILDCARD, Outcome.AT_ONCE),
        (("Unheard",), (), "Anything", Outcome.AFTER_BACKOFF),
        (("Broken",), (), "Node/Add", Outcome.AFTER_BACKOFF),
        (("Nosy",), (), "Anything", Outcome.AFTER_BACKOFF),
    ],
)
def test_event_wakes_only_by_the_rules_that_rejected(
    plugins: tuple[str, ...], pending: tuple[str, ...], kind: str, outcome: Outcome
) -> None:
    hints = Hints(RULES)
    pod = rejected(*plugins, pending=pending)
    for _ in range(2):  # the second answer comes from the kept plan
        assert hints.outcome(pod, Event(kind)) is outcome
    assert hints.concerns(plugins, pending, kind) or outcome is Outcome.STAY


def test_hint_that_raises_wakes_the_pod_and_is_named() -> None:
    hints = Hints(RULES)
    hints.outcome(rejected("Broken"), Event("Node/Add"))
    assert hints.error_count == 1
    assert "raises raised OSError('disk') at Node/Add" in hints.last_error


def test_hint_without_a_plugin_is_refused() -> None:
    with pytest.raises(ConfigError, match="hint without a plugin"):
        Hints([HintRule("", ("Node/Add",))])


def test_events_are_kept_only_while_a_pod_is_in_cycle() -> None:
    events = InFlightEvents(10)
    events.record(Event("before"))
    one, two = rejected(), QueuedPod(make_item("b"))
    events.begin(one)
    events.record(Event("first"))
    events.begin(two)
    events.record(Event("second"))
    events.record(Event("own"), "uid-b")
    assert [event.kind for event in events.of(one)] == ["first", "second"]
    assert [event.kind for event in events.of(two)] == ["second", "own"]
    events.end(one)
    events.end(one)
    assert len(events) == 3
    events.end(two)
    assert (len(events), events.in_flight) == (0, 0)


def test_events_over_the_bound_leave_and_are_missed_by_name() -> None:
    events = InFlightEvents(2)
    one, two = rejected(), QueuedPod(make_item("b"))
    events.begin(one)
    events.record(Event("e0"))
    events.begin(two)
    events.record(Event("e1"))
    assert not events.missed(one)
    events.record(Event("e2"))
    assert events.missed(one)
    assert not events.missed(two)
    assert [event.kind for event in events.of(two)] == ["e1", "e2"]
    assert events.dropped_count == 1
