"""The buckets: highest priority first, first come first served within it."""

from __future__ import annotations

from herz.intake.queue.buckets import CAPACITY_KEPT_MAX, EMPTY_RINGS_MAX, Buckets
from herz.intake.queue.item import QueuedPod
from tests.unit.intake.intake_pods import make_item


def add_all(buckets: Buckets, *pairs: tuple[str, int]) -> list[QueuedPod]:
    pods = []
    for sequence, (name, priority) in enumerate(pairs, 1):
        pod = QueuedPod(make_item(name, priority))
        pod.sequence = sequence
        buckets.add(pod)
        pods.append(pod)
    return pods


def drain(buckets: Buckets) -> list[str]:
    found = []
    while (pod := buckets.pop()) is not None:
        found.append(pod.item.name)
    return found


def test_buckets_give_the_highest_priority_first_and_peers_in_order() -> None:
    buckets = Buckets()
    add_all(buckets, ("a", 0), ("b", 5), ("c", -5), ("d", 5), ("e", 0))
    assert [pod.item.name for pod in buckets] == ["b", "d", "a", "e", "c"]
    assert drain(buckets) == ["b", "d", "a", "e", "c"]
    assert (buckets.count, buckets.digest) == (0, 0)


def test_buckets_lower_and_raise_their_top_as_pods_go_and_come() -> None:
    buckets = Buckets()
    pods = add_all(buckets, ("a", 1), ("b", 9))
    buckets.remove(pods[1])
    add_all(buckets, ("c", 3))
    assert drain(buckets) == ["c", "a"]


def test_buckets_read_the_first_pods_without_taking_them() -> None:
    buckets = Buckets()
    pods = add_all(buckets, *((f"p{n}", n % 2) for n in range(10)))
    buckets.remove(pods[3])
    for limit, expected in ((0, ""), (3, "157"), (6, "157902"), (99, "157902468")):
        names = "".join(pod.item.name[1:] for pod in buckets.first(limit))
        assert names == expected
    assert buckets.count == 9


def test_buckets_put_a_pod_back_at_its_age() -> None:
    buckets = Buckets()
    pods = add_all(buckets, ("a", 0), ("b", 0), ("c", 0), ("d", 0))
    for index in (2, 0, 3, 1):
        buckets.remove(pods[index])
        buckets.add_in_sequence(pods[index])
        assert all(pod.ring is not None and pod.ring.get(pod.place) is pod for pod in pods)
    assert drain(buckets) == ["a", "b", "c", "d"]


def test_buckets_keep_places_right_when_holes_are_closed() -> None:
    buckets = Buckets()
    pods = add_all(buckets, *((f"p{n:03}", 0) for n in range(200)))
    for pod in pods[5:190]:
        buckets.remove(pod)
    left = pods[:5] + pods[190:]
    assert all(pod.ring is not None and pod.ring.get(pod.place) is pod for pod in left)
    assert drain(buckets) == [pod.item.name for pod in left]


def test_buckets_keep_no_trail_of_past_priorities() -> None:
    buckets = Buckets()
    for priority in range(10 * EMPTY_RINGS_MAX):
        add_all(buckets, ("a", priority))
        assert drain(buckets) == ["a"]
    assert len(buckets._rings) <= EMPTY_RINGS_MAX
    assert sorted(buckets._rings) == buckets._priorities


def test_buckets_give_a_large_buffer_back_when_it_ran_empty() -> None:
    buckets = Buckets()
    add_all(buckets, *((f"p{n}", 0) for n in range(CAPACITY_KEPT_MAX + 1)))
    drain(buckets)
    assert buckets._rings[0].capacity < CAPACITY_KEPT_MAX
