"""The back-off: durations, windows, limits."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.intake.queue.backoff import BackoffPolicy, BackoffQueue
from herz.intake.queue.item import QueuedPod
from tests.unit.intake.intake_pods import SECOND, make_item


def backing_off(
    name: str, now_ns: int, *, priority: int = 0, rejections: int = 0, errors: int = 0
) -> QueuedPod:
    pod = QueuedPod(make_item(name, priority))
    pod.unschedulable_count = rejections
    pod.error_count = errors
    BackoffPolicy().impose(pod, now_ns)
    return pod


def test_duration_doubles_from_one_second_to_ten() -> None:
    policy = BackoffPolicy()
    seconds = [policy.duration_ns(count) // SECOND for count in (1, 2, 3, 4, 5, 6, 1000)]
    assert seconds == [1, 2, 4, 8, 10, 10, 10]


@pytest.mark.parametrize(
    ("now_ns", "count", "ready_s"),
    [(0, 1, 2), (1, 1, 2), (SECOND - 1, 1, 2), (SECOND, 1, 3), (SECOND // 2, 2, 3)],
)
def test_end_is_aligned_to_the_window_as_in_kube_scheduler(
    now_ns: int, count: int, ready_s: int
) -> None:
    assert BackoffPolicy().ready_at_ns(now_ns, count) == ready_s * SECOND


def test_one_window_gives_its_pods_by_priority_and_then_in_order() -> None:
    queue = BackoffQueue()
    for name, now_ns, priority in (("a", 30, 0), ("b", 10, 7), ("c", 20, 0)):
        queue.add(backing_off(name, now_ns, priority=priority, rejections=1))
    assert queue.next_ns() == 2 * SECOND
    assert queue.pop_due(2 * SECOND - 1) is None
    found = [queue.pop_due(2 * SECOND) for _ in range(3)]
    assert [pod.item.name for pod in found if pod] == ["b", "a", "c"]
    assert (len(queue), queue.next_ns()) == (0, None)


def test_errors_back_off_apart_and_are_never_popped_early() -> None:
    queue = BackoffQueue()
    failed = backing_off("failed", 0, errors=1)
    rejected = backing_off("rejected", 0, rejections=4)
    queue.add(failed)
    queue.add(rejected)
    assert list(queue) == [rejected, failed]
    assert queue.pop_early() is rejected
    assert queue.pop_early() is None
    assert queue.pop_due(2 * SECOND) is failed


def test_removal_from_any_window_leaves_no_time_behind() -> None:
    queue = BackoffQueue()
    pods = [backing_off(f"p{n}", n * SECOND, rejections=1) for n in range(4)]
    for pod in pods:
        queue.add(pod)
    queue.remove(pods[2])
    queue.remove(pods[0])
    assert queue.next_ns() == 3 * SECOND
    queue.remove(pods[1])
    queue.add(backing_off("again", 2 * SECOND, rejections=1))
    assert queue.next_ns() == 4 * SECOND
    queue.remove(pods[3])
    assert [pod.item.name for pod in queue] == ["again"]


def test_limits_name_themselves_in_words() -> None:
    pod = QueuedPod(make_item("a"))
    pod.retry_count, pod.backoff_ns = 3, 7 * SECOND
    assert BackoffPolicy().parked_because(pod) is None
    assert BackoffPolicy(retries_max=3).parked_because(pod) is None
    assert BackoffPolicy(retries_max=2).parked_because(pod) == (
        "it failed 3 times, and the limit is 2 retries"
    )
    assert BackoffPolicy(backoff_ns_max=6 * SECOND).parked_because(pod) == (
        "it backed off 7000 ms in all, over the limit of 6000 ms"
    )


def test_policy_out_of_range_is_refused() -> None:
    for wrong in (
        {"initial_ns": 0},
        {"initial_ns": 11 * SECOND},
        {"window_ns": 0},
        {"retries_max": -1},
        {"backoff_ns_max": -1},
    ):
        with pytest.raises(ConfigError, match=r"queue\.backoff"):
            BackoffPolicy(**wrong)
