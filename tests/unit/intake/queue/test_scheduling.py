"""The scheduling queue, as the cycle and the watch use it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from herz.errors import ConfigError, InvariantError
from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator
from herz.intake.queue.backoff import BackoffPolicy
from herz.intake.queue.hints import WILDCARD, HintRule
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import State
from herz.intake.queue.scheduling import SchedulingQueue
from herz.intake.queue.settings import BATCH_LIMIT, QueueSettings
from tests.unit.intake.intake_pods import SECOND, Event, make_item, pop_names

HINTS = [HintRule("Fit", ("Node/Add",)), HintRule("Taints", ("Node/Update",))]
ADD, UPDATE = Event("Node/Add"), Event("Node/Update")


def started(queue: SchedulingQueue, name: str = "a", priority: int = 0) -> QueuedPod:
    """A pod that was added and popped."""
    queue.add(make_item(name, priority), 0)
    pod = queue.pop()
    assert pod is not None
    assert pod.item.name == name
    return pod


def test_retried_pod_goes_behind_its_peers() -> None:
    queue = SchedulingQueue(hints=HINTS)
    pod = started(queue)
    queue.reject(pod, ("Fit",), 0)
    queue.add(make_item("b"), 1)
    queue.on_event(ADD, 5 * SECOND)
    assert pod.sequence > 0
    assert pop_names(queue) == ["b", "a"]
    assert pod.attempts == 2


def test_higher_priority_arrival_ends_the_batch_and_an_equal_one_does_not() -> None:
    queue = SchedulingQueue()
    for name in ("a", "b", "c"):
        queue.add(make_item(name, 5, after="x"), 0)
    assert queue.pop() is not None
    queue.add(make_item("equal", 5), 1)
    assert queue.active.planned == 2
    second = queue.pop()
    assert second is not None
    assert second.item.name == "b"
    queue.add(make_item("urgent", 6), 2)
    assert pop_names(queue) == ["urgent", "c", "equal"]
    assert queue.active.batch_count == 2


def test_batch_is_at_most_batch_max() -> None:
    queue = SchedulingQueue(QueueSettings(batch_max=2))
    for name, after in (("a", "c"), ("b", ""), ("c", "")):
        queue.add(make_item(name, after=after), 0)
    assert pop_names(queue) == ["a", "b", "c"]  # c is not in the batch, so a waits for nothing
    queue = SchedulingQueue(QueueSettings(batch_max=3))
    for name, after in (("a", "c"), ("b", ""), ("c", "")):
        queue.add(make_item(name, after=after), 0)
    assert pop_names(queue) == ["b", "c", "a"]


def test_default_order_makes_no_batch() -> None:
    queue = SchedulingQueue()
    for name, priority in (("a", 0), ("b", 7), ("c", 0)):
        queue.add(make_item(name, priority), 0)
    assert pop_names(queue) == ["b", "a", "c"]
    assert (queue.active.batch_count, queue.active.result) == (0, None)


def test_result_is_of_the_batch_of_the_pod_popped_last() -> None:
    queue = SchedulingQueue()
    queue.add(make_item("a", after="b"), 0)
    queue.add(make_item("b", after="a"), 0)
    assert queue.pop() is not None
    result = queue.active.result
    assert result is not None
    assert result.rung == 2
    assert queue.pop() is not None
    assert queue.active.result is result
    queue.add(make_item("c"), 1)
    assert queue.pop() is not None
    assert queue.active.result is None


def test_comparator_orders_each_batch_and_descents_are_counted() -> None:
    def by_name(one: Candidate, two: Candidate) -> bool:
        return one.item.name < two.item.name

    queue = SchedulingQueue(comparator=Comparator("by-name", by_name))
    for name in "cab":
        queue.add(make_item(name), 0)
    assert pop_names(queue) == ["a", "b", "c"]
    for name in "fde":
        queue.add(make_item(name), 0)
    queue.active.begin_on_rung(3)
    assert pop_names(queue) == ["f", "d", "e"]
    assert queue.active.descents == [0, 0, 0, 1]
    for name in "ihg":
        queue.add(make_item(name), 0)
    assert pop_names(queue) == ["g", "h", "i"]  # the driver's limit was for one batch


def test_gated_pod_is_not_ready_until_its_gates_go() -> None:
    queue = SchedulingQueue()
    pod = queue.add(make_item("a", gates=("quota",)), 0)
    assert queue.pop() is None
    assert queue.on_event(Event(WILDCARD), 1) == 0
    assert queue.next_wake_ns() is None
    queue.update(make_item("a"), 3 * SECOND)
    assert pod.first_ready_ns == 3 * SECOND
    queue.update(make_item("a", gates=("quota",)), 4 * SECOND)
    assert pod.state is State.GATED
    queue.update(make_item("a"), 5 * SECOND)
    assert pop_names(queue) == ["a"]
    queue.verify()


def test_event_wakes_only_pods_that_its_rules_rejected_in_their_old_order() -> None:
    queue = SchedulingQueue(QueueSettings(has_early_pop=False), hints=HINTS)
    for name, plugin in (("a", "Fit"), ("b", "Taints"), ("c", "Fit"), ("d", "Fit")):
        queue.reject(started(queue, name), (plugin,), 0)
    assert queue.on_event(Event("Service/Add"), 1) == 0
    assert queue.on_event(ADD, 5 * SECOND) == 3
    assert queue.counts()[:3] == (3, 0, 1)
    assert pop_names(queue) == ["a", "c", "d"]


def test_woken_pod_serves_its_back_off_unless_a_plugin_asked_it_to_wait() -> None:
    queue = SchedulingQueue(QueueSettings(has_early_pop=False), hints=HINTS)
    one, two = started(queue, "a"), started(queue, "b")
    queue.reject(one, ("Fit",), 0)
    queue.reject(two, ("Taints",), 0, pending_by=("Fit",))
    assert queue.on_event(ADD, 1) == 2
    assert (one.state, two.state) == (State.BACKING_OFF, State.QUEUED)
    assert queue.next_wake_ns() == 2 * SECOND
    assert pop_names(queue) == ["b"]
    assert queue.advance(2 * SECOND - 1) == 0
    assert queue.advance(2 * SECOND) == 1
    assert pop_names(queue) == ["a"]


def test_event_in_mid_cycle_is_replayed_when_the_pod_comes_back() -> None:
    queue = SchedulingQueue(hints=HINTS)
    one, two, three = started(queue, "a"), started(queue, "b"), started(queue, "c")
    queue.on_event(ADD, 1)
    assert queue.reject(one, ("Fit",), 2) is State.BACKING_OFF
    assert queue.reject(two, ("Taints",), 2) is State.UNSCHEDULABLE
    assert queue.reject(three, (), 2, pending_by=("Fit",)) is State.QUEUED
    assert len(queue.events) == 0
    queue.verify()


def test_event_before_the_pop_is_not_replayed() -> None:
    queue = SchedulingQueue(hints=HINTS)
    queue.on_event(ADD, 0)
    assert queue.reject(started(queue), ("Fit",), 1) is State.UNSCHEDULABLE


def test_pod_that_may_have_missed_an_event_is_retried() -> None:
    queue = SchedulingQueue(QueueSettings(events_max=1), hints=HINTS)
    pod = started(queue)
    queue.on_event(ADD, 1)
    queue.on_event(UPDATE, 1)
    assert queue.reject(pod, ("Fit",), 2) is State.BACKING_OFF


def test_rejection_after_binding_went_out_is_retried_after_the_back_off() -> None:
    queue = SchedulingQueue(hints=HINTS)
    pod = started(queue)
    queue.reserved(pod)
    queue.binding(pod)
    assert queue.events.in_flight == 0
    assert queue.reject(pod, ("VolumeBinding",), 2) is State.BACKING_OFF


def test_empty_active_queue_takes_rejected_pods_early_and_failed_ones_not() -> None:
    queue = SchedulingQueue(hints=HINTS)
    rejected, failed = started(queue, "a"), started(queue, "b")
    queue.reject(rejected, ("Fit",), 0)
    queue.on_event(ADD, 1)
    assert queue.fail(failed, 0) is State.BACKING_OFF
    last = rejected.sequence
    assert queue.pop() is rejected
    assert rejected.sequence > last
    assert queue.pop() is None
    assert queue.counters.popped_early == 1
    queue.verify()


def test_error_count_is_of_errors_in_a_row() -> None:
    queue = SchedulingQueue(hints=HINTS)
    pod = started(queue)
    queue.fail(pod, 0)
    assert pod.ready_at_ns == 2 * SECOND
    queue.advance(2 * SECOND)
    assert queue.pop() is pod
    queue.fail(pod, 2 * SECOND)
    assert (pod.error_count, pod.ready_at_ns) == (2, 5 * SECOND)
    queue.advance(5 * SECOND)
    assert queue.pop() is pod
    queue.reject(pod, ("Fit",), 5 * SECOND)
    assert (pod.error_count, pod.unschedulable_count, pod.ready_at_ns) == (0, 1, 7 * SECOND)


def test_flush_after_five_minutes_shows_a_missed_hint_once_the_pod_fits() -> None:
    queue = SchedulingQueue(hints=[HintRule("Forgetful", ())])
    one, two = started(queue, "a"), started(queue, "b")
    for pod in (one, two):
        queue.reject(pod, ("Forgetful",), SECOND)
    assert queue.on_event(ADD, 2 * SECOND) == 0
    assert queue.next_wake_ns() == 330 * SECOND
    assert queue.advance(330 * SECOND - 1) == 0
    assert queue.advance(330 * SECOND) == 2
    assert queue.counters.flushed == 2
    assert queue.pop() is one
    queue.reject(one, ("Forgetful",), 331 * SECOND)
    assert pop_names(queue) == ["b"]
    assert queue.counters.missed_hints == 1


def test_pod_over_its_retries_is_parked_until_it_is_changed() -> None:
    queue = SchedulingQueue(QueueSettings(backoff=BackoffPolicy(retries_max=1)), hints=HINTS)
    pod = started(queue)
    assert queue.reject(pod, ("Fit",), 0) is State.UNSCHEDULABLE
    queue.on_event(ADD, 5 * SECOND)
    assert queue.pop() is pod
    assert queue.fail(pod, 5 * SECOND) is State.PARKED
    assert queue.parked_because(pod) == "it failed 2 times, and the limit is 1 retries"
    assert queue.on_event(Event(WILDCARD), 6 * SECOND) == 0
    assert queue.advance(10_000 * SECOND) == 0
    queue.update(make_item("a"), 11 * SECOND, changes=())
    assert pod.state is State.PARKED
    queue.update(make_item("a", 3), 12 * SECOND)
    assert pod.retry_count == 0
    assert pop_names(queue) == ["a"]
    queue.verify()


def test_update_wakes_an_unschedulable_pod_only_where_the_change_may_help() -> None:
    queue = SchedulingQueue(QueueSettings(has_early_pop=False), hints=HINTS)
    pod = started(queue)
    queue.reject(pod, ("Fit",), 0)
    queue.update(make_item("a"), 1, changes=())
    queue.update(make_item("a"), 1, changes=(UPDATE,))
    assert queue.counts().unschedulable == 1
    queue.update(make_item("a"), 1, changes=(UPDATE, ADD))
    assert queue.counts().backoff == 1
    queue.update(make_item("a", 8), 1)
    assert queue.counts().backoff == 1
    queue.advance(2 * SECOND)
    assert queue.counts().active == 1
    queue.verify()


def test_update_in_mid_cycle_is_replayed_for_that_pod_alone() -> None:
    queue = SchedulingQueue(hints=HINTS)
    one, two = started(queue, "a"), started(queue, "b")
    queue.update(make_item("a", 4), 1, changes=(ADD,))
    assert one.item.priority == 4
    assert queue.reject(one, ("Fit",), 2) is State.BACKING_OFF
    assert queue.reject(two, ("Fit",), 2) is State.UNSCHEDULABLE


def test_update_of_a_queued_pod_moves_it_by_its_priority_and_keeps_its_age() -> None:
    queue = SchedulingQueue()
    for name, priority in (("a", 0), ("b", 5), ("c", 5)):
        queue.add(make_item(name, priority), 0)
    queue.update(make_item("a", 5), 1)
    assert pop_names(queue) == ["a", "b", "c"]


def test_add_of_a_known_pod_is_an_update() -> None:
    queue = SchedulingQueue()
    pod = queue.add(make_item("a"), 0)
    assert queue.add(make_item("a", 3), 1) is pod
    assert pod.item.priority == 3
    assert queue.counters.arrived == 1
    with pytest.raises(AssertionError, match="function of the uid"):
        queue.update(replace(make_item("a"), order_key=1), 2)


def test_adopted_pod_leaves_every_place_and_late_reports_about_it_are_answered() -> None:
    queue = SchedulingQueue(hints=HINTS)
    assert queue.adopt(make_item("foreign")) is None
    queue.add(make_item("queued"), 0)
    assert queue.adopt(make_item("queued")) is State.QUEUED
    pod = started(queue)
    queue.reserved(pod)
    queue.binding(pod)
    assert queue.adopt(make_item("a")) is State.BINDING
    assert queue.bound(pod)
    assert queue.fail(pod, 1) is State.BOUND
    assert queue.counts().bound == 3
    queue.verify()


def test_victim_gives_its_room_up_and_comes_back_or_goes() -> None:
    queue = SchedulingQueue(hints=HINTS)
    waiting = started(queue, "waiting")
    queue.reserved(waiting)
    queue.waiting(waiting)
    assert queue.preempt("uid-waiting") is State.PREEMPTING
    assert queue.reject(waiting, ("DefaultPreemption",), 1) is State.UNSCHEDULABLE
    bound = started(queue, "bound")
    queue.reserved(bound)
    queue.binding(bound)
    queue.bound(bound)
    assert queue.preempt("uid-bound") is State.PREEMPTING
    assert queue.counts().bound == 0
    assert queue.spare("uid-bound")
    assert queue.counts().bound == 1
    assert queue.preempt("uid-bound") is State.PREEMPTING
    assert queue.preempt("uid-bound") is State.PREEMPTING
    assert queue.delete("uid-bound") is State.PREEMPTING
    queue.verify()


def test_pod_without_room_is_no_victim_and_one_never_bound_is_not_spared() -> None:
    queue = SchedulingQueue()
    queue.add(make_item("a"), 0)
    assert queue.preempt("uid-a") is State.QUEUED
    pod = queue.pop()
    assert pod is not None
    assert queue.preempt("uid-a") is State.IN_CYCLE
    queue.reserved(pod)
    queue.preempt("uid-a")
    with pytest.raises(InvariantError, match="never bound"):
        queue.spare("uid-a")
    assert not queue.spare("uid-unknown")


def test_binding_confirmed_for_a_victim_leaves_it_a_victim() -> None:
    queue = SchedulingQueue()
    pod = started(queue)
    queue.reserved(pod)
    queue.binding(pod)
    queue.preempt("uid-a")
    assert queue.bound(pod)
    assert pod.state is State.PREEMPTING
    assert queue.spare("uid-a")
    queue.verify()


def test_pods_over_the_active_bound_wait_first_come_first_served_and_none_is_lost() -> None:
    queue = SchedulingQueue(QueueSettings(active_max=2))
    for name, priority in (("a", 0), ("b", 0), ("c", 0), ("d", 9), ("e", 0)):
        queue.add(make_item(name, priority), 0)
    assert (queue.active.overflow, queue.active.overflow_count) == (3, 3)
    assert queue.counts().active == 5
    queue.delete("uid-e")
    queue.update(make_item("c", 1), 0)
    queue.verify()
    assert pop_names(queue) == ["a", "c", "d", "b"]
    queue.add(make_item("f"), 1)
    assert queue.active.overflow == 0
    queue.verify()


def test_batch_size_out_of_range_is_refused() -> None:
    for wrong in (0, BATCH_LIMIT + 1):
        with pytest.raises(ConfigError, match=r"queue\.batch_max"):
            QueueSettings(batch_max=wrong)


def test_cycle_that_reports_out_of_turn_is_told_so() -> None:
    queue = SchedulingQueue()
    pod = started(queue)
    with pytest.raises(InvariantError, match="in_cycle and cannot bind"):
        queue.binding(pod)
    queue.verify()


def test_pods_that_come_into_a_queue_are_counted_by_event() -> None:
    queue = SchedulingQueue(hints=HINTS)
    pod = started(queue)
    queue.reject(pod, ("Fit",), 0)
    queue.on_event(ADD, 0)
    queue.advance(60 * SECOND)
    gated = replace(make_item("g"), gates=("wait",))
    queue.add(gated, 61 * SECOND)
    queue.update(replace(gated, gates=()), 62 * SECOND)
    assert queue.rooms.incoming == {
        ("active", "UnscheduledPodAdd"): 1,
        ("unschedulable", "ScheduleAttemptFailure"): 1,
        ("backoff", "Node/Add"): 1,
        ("active", "BackoffComplete"): 1,
        ("gated", "UnscheduledPodAdd"): 1,
        ("active", "UnscheduledPodUpdate"): 1,
    }
