"""Room is kept for pods that were refused for capacity for too long."""

from __future__ import annotations

import heapq
import random
from typing import Any

import pytest

from herz.config import parse_policy
from herz.config.policy import QueuePolicy, StarvationPolicy
from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.effects import Bind
from herz.model.objects import Pod, PodGroup
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod

LIFE = 60
"""Mean life of a small pod, in seconds."""
AFTER = 600
NODES = 4
SLOTS = 4 * NODES


class Crowd:
    """Small pods that arrive at 110 % of what the nodes can hold, and leave."""

    def __init__(self, seed: int, policy: StarvationPolicy, priority: int | None = None) -> None:
        self.rng = random.Random(seed)
        self.harness = Harness(make_policy(queue=QueuePolicy(starvation=policy)))
        for number in range(NODES):
            self.harness.apply(make_node(f"n{number}"))
        self.priority = priority
        self.now = 0.0
        self.next_arrival = 0.0
        self.leaving: list[tuple[float, int, Pod]] = []
        self.count = 0
        self.bound: dict[str, float] = {}

    def run(self, seconds: float, *, until: str = "") -> None:
        """Let the crowd come and go, until a pod of this name is bound."""
        end = self.now + seconds
        while self.now < end and until not in self.bound:
            leaves = self.leaving[0][0] if self.leaving else end
            at = min(self.next_arrival, leaves, self.now + 5, end)
            self.harness.now, self.now = int(at * SECOND), at
            if at == self.next_arrival:
                self._arrive()
            while self.leaving and self.leaving[0][0] <= at:
                self.harness.delete(heapq.heappop(self.leaving)[2])
            self._decide()

    def _arrive(self) -> None:
        self.count += 1
        self.harness.apply(make_pod(f"s{self.count}", {"cpu": "1"}, priority=self.priority))
        self.next_arrival += self.rng.expovariate(1.1 * SLOTS / LIFE)

    def _decide(self) -> None:
        for bind in only(Bind, self.harness.step()):
            self.harness.answer(bind)
            self.bound[bind.name] = self.now
            if bind.name.startswith("s"):
                pod = make_pod(bind.name, {"cpu": "1"}, node=bind.node, priority=self.priority)
                ends = self.now + self.rng.expovariate(1 / LIFE)
                heapq.heappush(self.leaving, (ends, self.count, pod))


def marks(crowd: Crowd, name: str) -> list[str]:
    records = crowd.harness.kept.records
    found = [mark for record in records if record.pod.name == name for mark in record.marks]
    return [mark for mark in found if mark.startswith("reserved:")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_pod_as_large_as_a_node_is_bound_within_its_bound(seed: int) -> None:
    crowd = Crowd(seed, StarvationPolicy(after_seconds=AFTER, nodes_percent=25))
    crowd.run(3 * LIFE)
    crowd.harness.apply(make_pod("whole", {"cpu": "4"}))
    start = crowd.now
    crowd.run(AFTER + 5 * LIFE, until="whole")
    assert AFTER <= crowd.bound["whole"] - start <= AFTER + 5 * LIFE
    assert marks(crowd, "whole"), "the record tells of the reservation"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_without_reservations_it_starves(seed: int) -> None:
    crowd = Crowd(seed, StarvationPolicy(after_seconds=0))
    crowd.run(3 * LIFE)
    crowd.harness.apply(make_pod("whole", {"cpu": "4"}))
    crowd.run(AFTER + 5 * LIFE)
    assert "whole" not in crowd.bound
    assert not marks(crowd, "whole")


@pytest.mark.slow
def test_a_gang_gets_the_fewest_nodes() -> None:
    crowd = Crowd(3, StarvationPolicy(after_seconds=AFTER, nodes_percent=50))
    crowd.run(3 * LIFE)
    spec = {"schedulingPolicy": {"gang": {"minCount": 4}}}
    meta = {"name": "g", "namespace": "shop"}
    content = {"apiVersion": "scheduling.k8s.io/v1alpha2", "metadata": meta, "spec": spec}
    crowd.harness.apply(convert(PodGroup, content))
    for number in range(4):
        member = {"schedulingGroup": {"podGroupName": "g"}}
        crowd.harness.apply(make_pod(f"g{number}", {"cpu": "2"}, spec=member))
    crowd.run(AFTER + 6 * LIFE, until="g0")
    assert {"g0", "g1", "g2", "g3"} <= crowd.bound.keys()
    assert {mark.count(",") for mark in marks(crowd, "g0")} == {1}, "two nodes hold four halves"


def full(**policy: Any) -> Harness:
    """Two nodes, full of pods of priority 5."""
    harness = Harness(make_policy(queue=QueuePolicy(starvation=StarvationPolicy(**policy))))
    for node in ("a", "b"):
        harness.apply(make_node(node), make_pod(f"old-{node}", {"cpu": "4"}, node=node, priority=5))
    return harness


def wake(harness: Harness, seconds: int) -> None:
    """Let time pass with something that wakes pods refused for capacity."""
    harness.now += seconds * SECOND
    harness.apply(make_pod("mouse", {"cpu": "1m"}, node="a")).delete(make_pod("mouse"))
    harness.step(after=11 * SECOND)


def reserved(harness: Harness) -> dict[str, str]:
    return {
        record.pod.name: mark
        for record in harness.kept.records
        for mark in record.marks
        if mark.startswith("reserved:")
    }


def test_one_reservation_a_priority_and_the_longest_waiting_gets_it() -> None:
    harness = full(after_seconds=60)
    harness.apply(make_pod("first", {"cpu": "4"}, priority=5)).step()
    harness.apply(make_pod("second", {"cpu": "4"}, priority=5)).step(after=SECOND)
    wake(harness, 60)
    wake(harness, 60)
    assert list(reserved(harness)) == ["first"]
    harness.delete(make_pod("old-a"), make_pod("old-b"))
    assert sorted(bind.name for bind in only(Bind, harness.step(11 * SECOND))) == [
        "first",
        "second",
    ]


def test_pods_of_the_same_priority_leave_the_room_and_higher_ones_take_it() -> None:
    harness = full(after_seconds=60)
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    wake(harness, 60)
    node = reserved(harness)["large"].removeprefix("reserved:")
    old = make_pod(f"old-{node}")
    harness.delete(old).apply(make_pod(f"half-{node}", {"cpu": "2"}, node=node, priority=5))
    harness.apply(make_pod("same", {"cpu": "1"}, priority=5), make_pod("low", {"cpu": "1"}))
    assert only(Bind, harness.step()) == []
    harness.apply(make_pod("high", {"cpu": "1"}, priority=9))
    assert [bind.name for bind in only(Bind, harness.step())] == ["high"]


def test_a_reservation_ends_after_its_time_and_others_are_woken() -> None:
    harness = full(after_seconds=60, ends_after_seconds=100)
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    wake(harness, 60)
    node = reserved(harness)["large"].removeprefix("reserved:")
    harness.apply(make_pod("small", {"cpu": "1"}, priority=5)).step()
    harness.delete(make_pod(f"old-{node}"))
    harness.apply(make_pod("late", {"cpu": "3"}, node=node, priority=5))
    assert only(Bind, harness.step(11 * SECOND)) == []
    assert [bind.name for bind in only(Bind, harness.step(100 * SECOND))] == ["small"]


def test_a_deleted_pod_gives_its_reservation_back() -> None:
    harness = full(after_seconds=60)
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    wake(harness, 60)
    assert reserved(harness)
    harness.delete(make_pod("large")).delete(make_pod("old-a"), make_pod("old-b"))
    small = [make_pod(f"small-{number}", {"cpu": "1"}, priority=5) for number in range(8)]
    assert len(only(Bind, harness.apply(*small).step())) == 8
    assert len(harness.cluster.nominations) == 0


def test_a_holder_that_was_refused_for_another_reason_gives_its_reservation_back() -> None:
    harness = full(after_seconds=60)
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    wake(harness, 60)
    assert reserved(harness)
    harness.apply(make_node("a", unschedulable=True), make_node("b", unschedulable=True))
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5, labels={"changed": "yes"}))
    harness.step(11 * SECOND)
    harness.apply(make_pod("other", {"cpu": "1m"}, node="a", priority=5))
    harness.delete(make_pod("large"))
    harness.apply(make_node("a"), make_node("b"))
    harness.apply(make_pod("next", {"cpu": "4"}, priority=5)).step(11 * SECOND)
    wake(harness, 60)
    assert list(reserved(harness)) == ["large", "next"], "the next in line gets one"


def test_what_changed_of_the_pod_counts_when_its_time_has_come() -> None:
    harness = full(after_seconds=60)
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    harness.apply(make_pod("large", {"cpu": "3"}, priority=5)).step(after=30 * SECOND)
    harness.step(after=30 * SECOND)
    node = reserved(harness)["large"].removeprefix("reserved:")
    harness.delete(make_pod(f"old-{node}"))
    harness.apply(make_pod("small", {"cpu": "1"}, priority=5))
    assert len(only(Bind, harness.step(after=11 * SECOND))) == 2, "one core is left beside three"


def test_what_no_capacity_can_help_is_kept_no_room() -> None:
    harness = full(after_seconds=60)
    selector = {"nodeSelector": {"disk": "ssd"}}
    harness.apply(make_pod("picky", {"cpu": "4"}, spec=selector)).step()
    harness.apply(make_pod("huge", {"cpu": "400"})).step()
    for _ in range(3):
        wake(harness, 60)
        harness.apply(make_node("a", labels={"n": str(harness.now)}))
    assert reserved(harness) == {}


@pytest.mark.parametrize(
    "wrong",
    [{"after_seconds": -1}, {"ends_after_seconds": 0}, {"nodes_percent": 101}],
)
def test_wrong_terms_are_refused(wrong: dict[str, int]) -> None:
    given = {"name": "p", "plugins": [{"name": "NodeName"}], "queue": {"starvation": wrong}}
    with pytest.raises(ConfigError, match=r"queue\.starvation"):
        parse_policy(given, where="test")
