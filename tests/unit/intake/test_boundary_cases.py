"""The six boundary cases of the queue, each by its name."""

from __future__ import annotations

import pytest

from herz.errors import InvariantError
from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator, FaultKind
from herz.intake.order.ladder import order_batch
from herz.intake.queue.buckets import Buckets
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import State
from herz.intake.queue.ring import CAPACITY_MIN, Ring
from herz.intake.queue.scheduling import SchedulingQueue
from tests.unit.intake.intake_pods import (
    SECOND,
    Event,
    make_candidates,
    make_item,
    names,
    pop_names,
)


def by_name(one: Candidate, two: Candidate) -> bool:
    return one.item.name < two.item.name


# ---- 1. empty and single-element queues ---------------------------------------------------


def test_empty_queue_gives_nothing_and_asks_for_no_wake() -> None:
    queue = SchedulingQueue()
    assert queue.pop() is None
    assert queue.next_wake_ns() is None
    assert queue.advance(10 * SECOND) == 0
    assert queue.on_event(Event("Node/Add"), 0) == 0
    assert queue.delete("uid-unknown") is None
    assert queue.preempt("uid-unknown") is None
    assert (len(queue), queue.digest) == (0, 0)
    queue.verify()


def test_empty_batch_has_an_empty_order_with_and_without_comparator() -> None:
    assert order_batch([]).order == ()
    assert order_batch([], Comparator("by-name", by_name)).order == ()


def test_single_pod_comes_out_and_leaves_an_empty_queue() -> None:
    for comparator in (None, Comparator("by-name", by_name)):
        queue = SchedulingQueue(comparator=comparator)
        queue.add(make_item("only", after="someone-else"), 0)
        assert pop_names(queue) == ["only"]
        assert queue.pop() is None
        assert queue.digest == 0
        queue.verify()


def test_empty_ring_refuses_popleft_and_single_entry_ring_wraps_onto_itself() -> None:
    ring: Ring[str] = Ring(1)
    with pytest.raises(IndexError):
        ring.popleft()
    for number in range(5):
        assert ring.append(f"v{number}") == number
        assert ring.since(0) == ([f"v{number}"], [])
        assert ring.popleft() == f"v{number}"
    assert ring.capacity == 1


# ---- 2. wrap-around -----------------------------------------------------------------------


def test_wrap_around_gives_two_segments_in_logical_order() -> None:
    ring: Ring[int] = Ring(8)
    for number in range(8):
        ring.append(number)
    for _ in range(5):
        ring.popleft()
    for number in range(8, 12):
        ring.append(number)
    assert ring.since(0) == ([5, 6, 7], [8, 9, 10, 11])
    assert ring.since(9) == ([9, 10, 11], [])
    assert ring.since(12) == ([], [])
    assert ring.capacity == 8


def test_wrap_around_survives_growth_with_every_number() -> None:
    ring: Ring[int] = Ring(4)
    for number in range(4):
        ring.append(number)
    ring.popleft()
    ring.popleft()
    for number in range(4, 9):
        ring.append(number)
    assert ring.capacity == 8
    assert [ring.get(number) for number in range(2, 9)] == [2, 3, 4, 5, 6, 7, 8]
    assert list(ring) == [2, 3, 4, 5, 6, 7, 8]


def test_wrap_around_in_the_queue_keeps_first_come_first_served() -> None:
    queue = SchedulingQueue()
    expected = 0
    for number in range(10 * CAPACITY_MIN):
        queue.add(make_item(f"p{number}"), number)
        if number % 3 == 0:
            pod = queue.pop()
            assert pod is not None
            assert pod.item.name == f"p{expected}"
            expected += 1
    queue.verify()
    assert pop_names(queue) == [f"p{number}" for number in range(expected, 10 * CAPACITY_MIN)]


# ---- 3. concurrent insert and remove while a view is read ---------------------------------


def test_view_of_a_ring_is_not_disturbed_by_insert_and_remove() -> None:
    ring: Ring[int] = Ring(4)
    for number in range(4):
        ring.append(number)
    view = iter(ring)
    read = [next(view)]
    ring.remove(2)
    ring.insert(1, 77)
    for number in range(4, 20):  # grows the buffer under the reader
        ring.append(number)
    ring.popleft()
    read += view
    assert read == [0, 1, 2, 3]
    assert list(ring) == [77, 1, 3, *range(4, 20)]


def test_segments_of_a_ring_are_not_disturbed_by_insert_and_remove() -> None:
    ring: Ring[int] = Ring(4)
    for number in range(4):
        ring.append(number)
    one, two = ring.since(1)
    ring.clear()
    ring.append(9)
    assert one + two == [1, 2, 3]


def test_batch_that_is_being_decided_takes_arrivals_and_deletions() -> None:
    queue = SchedulingQueue()
    for name in ("a", "b", "c", "d"):
        queue.add(make_item(name, after="x"), 0)  # a dependency makes a batch of them
    first = queue.pop()
    assert first is not None
    view = queue.active.plan()
    queue.delete("uid-c")
    queue.add(make_item("e"), 1)
    assert [pod.item.name for pod in view] == ["b", "c", "d"]
    assert pop_names(queue) == ["b", "d", "e"]
    queue.verify()


def test_comparator_that_inserts_and_removes_while_it_sorts_loses_no_pod() -> None:
    queue: SchedulingQueue
    calls = 0

    def meddling(one: Candidate, two: Candidate) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            queue.delete("uid-b")
            queue.add(make_item("z"), 1)
        return one.item.name > two.item.name

    queue = SchedulingQueue(comparator=Comparator("meddling", meddling))
    for name in ("a", "b", "c"):
        queue.add(make_item(name), 0)
    assert pop_names(queue) == ["c", "a", "z"]
    assert queue.active.fault is None
    queue.verify()


# ---- 4. a priority that changes during the sort -------------------------------------------


def test_priority_that_changes_during_the_sort_is_obeyed_at_the_next_pop() -> None:
    queue: SchedulingQueue
    calls = 0

    def changing(one: Candidate, two: Candidate) -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            queue.update(make_item("c", 9), 1)
        return one.item.priority > two.item.priority

    queue = SchedulingQueue(comparator=Comparator("changing", changing))
    for name, priority in (("a", 3), ("b", 2), ("c", 1)):
        queue.add(make_item(name, priority), 0)
    assert pop_names(queue) == ["c", "a", "b"]
    assert queue.active.fault is None
    assert queue.active.batch_count == 2
    queue.verify()


def test_priority_that_changes_in_every_sort_ends_in_an_order_all_the_same() -> None:
    queue: SchedulingQueue
    calls = 0

    def restless(one: Candidate, two: Candidate) -> bool:
        nonlocal calls
        calls += 1
        queue.update(make_item("b", calls), 1)
        return one.item.name < two.item.name

    queue = SchedulingQueue(comparator=Comparator("restless", restless))
    for name in ("a", "b", "c"):
        queue.add(make_item(name), 0)
    assert sorted(pop_names(queue)) == ["a", "b", "c"]
    queue.verify()


def test_priority_that_changes_between_two_pops_of_a_batch_is_obeyed() -> None:
    queue = SchedulingQueue()
    for name in ("a", "b", "c"):
        queue.add(make_item(name, after="x"), 0)
    first = queue.pop()
    assert first is not None
    queue.update(make_item("c", 5, after="x"), 1)
    assert pop_names(queue) == ["c", "b"]


# ---- 5. a comparator without strict weak order --------------------------------------------


def rock_paper_scissors(one: Candidate, two: Candidate) -> bool:
    beats = {"rock": "scissors", "scissors": "paper", "paper": "rock"}
    return beats[one.item.name] == two.item.name


@pytest.mark.parametrize(
    ("less", "kind"),
    [
        (rock_paper_scissors, FaultKind.NOT_TRANSITIVE),
        (lambda one, two: True, FaultKind.NOT_IRREFLEXIVE),
        (lambda one, two: one.item.uid != two.item.uid, FaultKind.NOT_ASYMMETRIC),
        (lambda one, two: 1 // 0 > 0, FaultKind.RAISED),
        (lambda one, two: None, FaultKind.NO_BOOL),
    ],
)
def test_comparator_without_strict_weak_order_is_taken_out_of_service(
    less: object, kind: FaultKind
) -> None:
    queue = SchedulingQueue(comparator=Comparator("rps", less))  # type: ignore[arg-type]
    for name in ("rock", "paper", "scissors"):
        queue.add(make_item(name), 0)
    assert pop_names(queue) == ["rock", "paper", "scissors"]  # the default order
    fault = queue.active.fault
    assert fault is not None
    assert fault.kind is kind
    assert fault.pods
    assert all(pod.startswith("shop/") for pod in fault.pods)
    assert "queueSort rps" in str(fault.error)
    queue.add(make_item("later"), 1)
    assert pop_names(queue) == ["later"]  # and it is not asked again


def test_comparator_whose_incomparability_is_not_transitive_shows_three_pods() -> None:
    def within_one(one: Candidate, two: Candidate) -> bool:
        return one.item.priority + 1 < two.item.priority

    batch = make_candidates(*(make_item(f"p{number:02}", number) for number in range(40)))
    result = order_batch(batch, Comparator("within-one", within_one))
    assert result.fault is not None
    assert result.fault.kind is FaultKind.NOT_TRANSITIVE
    assert len(result.fault.pods) == 3
    assert names(result.order) == [f"p{number:02}" for number in reversed(range(40))]


# ---- 6. the state left by a pod that vanishes mid-cycle -----------------------------------


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_pod_that_vanishes_in_mid_cycle_leaves_nothing(steps: int) -> None:
    queue = SchedulingQueue()
    queue.add(make_item("a"), 0)
    pod = queue.pop()
    assert pod is not None
    calls = [queue.reserved, queue.waiting, queue.binding, queue.bound]
    for call in calls[:steps]:
        assert call(pod)
    expected = [State.IN_CYCLE, State.RESERVED, State.WAITING, State.BINDING][steps]
    queue.on_event(Event("Node/Add"), 1)
    assert queue.delete("uid-a") is expected
    # The reports of its cycle come late: each is answered and changes nothing.
    assert not calls[steps](pod)
    assert queue.reject(pod, ("NodeResourcesFit",), 2) is State.GONE
    assert queue.fail(pod, 2) is State.GONE
    assert queue.counters.late_reports == 3
    assert (len(queue), len(queue.events), queue.events.in_flight) == (0, 0, 0)
    assert queue.counts() == (0, 0, 0, 0, 0, 0, 0)
    queue.verify()


def test_pod_that_vanished_and_came_again_is_another_pod() -> None:
    queue = SchedulingQueue()
    queue.add(make_item("a"), 0)
    old = queue.pop()
    assert old is not None
    queue.delete("uid-a")
    new = queue.add(make_item("a"), 1)
    assert queue.fail(old, 2) is State.GONE
    assert new.state is State.QUEUED
    assert pop_names(queue) == ["a"]


def test_pod_in_a_bucket_cannot_be_reported_on_by_a_cycle() -> None:
    queue = SchedulingQueue()
    pod = queue.add(make_item("a"), 0)
    with pytest.raises(InvariantError, match=r"queued and cannot .*arrive"):
        queue.reject(pod, ("NodeName",), 0)
    assert pod.state is State.QUEUED
    assert pod.retry_count == 0
    queue.verify()


def test_buckets_of_one_pod_run_empty_and_fill_again() -> None:
    buckets = Buckets()
    for name in ("a", "b"):
        buckets.add(QueuedPod(make_item(name)))
        pod = buckets.pop()
        assert pod is not None
        assert pod.item.name == name
        assert buckets.pop() is None
