"""The disruption controller's status, and what the eviction API allows."""

from __future__ import annotations

import random

import pytest

from herz.model.events import ObjectApplied, ObjectDeleted, WorldEvent
from herz.model.objects import LabelSelector, ObjectMeta, Pod, PodDisruptionBudget, PodSpec
from herz.model.workload import DisruptionBudgetSpec
from herz.world.sim.disruptions import Disruptions
from herz.world.sim.engine import Engine
from herz.world.sim.faults import Dice, Faults
from herz.world.sim.result import SECOND_NS
from herz.world.sim.watch import Watch


class World:
    """The controller alone, on an engine."""

    def __init__(self, **spec: int | str) -> None:
        self.engine = Engine()
        self.told: list[PodDisruptionBudget] = []
        watch = Watch(self.engine, Dice(Faults(), random.Random(0)), 0, 0, self.tell)
        self.disruptions = Disruptions(self.engine, watch)
        selector = LabelSelector(match_labels={"app": "a"})
        for name in ("one", "other"):
            meta = ObjectMeta(name=name, namespace="d" if name == "one" else "e")
            budget = DisruptionBudgetSpec(selector=selector, **spec)
            self.disruptions.add(PodDisruptionBudget(metadata=meta, spec=budget))

    def tell(self, event: WorldEvent) -> None:
        assert isinstance(event, ObjectApplied)
        assert isinstance(event.object, PodDisruptionBudget)
        self.told.append(event.object)

    def pods(self, count: int, *, node: str = "n") -> list[Pod]:
        made = [
            Pod(
                metadata=ObjectMeta(
                    name=f"p{at}", namespace="d", uid=f"u{at}", labels={"app": "a"}
                ),
                spec=PodSpec(node_name=node),
            )
            for at in range(count)
        ]
        for pod in made:
            self.disruptions.see(ObjectApplied(time_ns=0, object=pod))
        self.settle()
        return made

    def settle(self) -> None:
        self.engine.advance(self.engine.now_ns + 2 * SECOND_NS)

    @property
    def allowed(self) -> int:
        return self.told[-1].status.disruptions_allowed


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"min_available": 3}, 1),
        ({"max_unavailable": 2}, 2),
        ({"min_available": "50%"}, 2),
        ({"max_unavailable": "30%"}, 2),
    ],
)
def test_budget_allows_what_kubernetes_says(spec: dict[str, int | str], allowed: int) -> None:
    world = World(**spec)
    world.pods(4)
    assert world.allowed == allowed


def test_eviction_counts_at_once_and_until_the_pod_is_gone() -> None:
    world = World(min_available=3)
    first, second, *_ = world.pods(4)
    assert world.disruptions.evict(first) == ""
    assert "would violate" in world.disruptions.evict(second)
    world.settle()
    assert world.told[-1].status.disrupted_pods == {first.metadata.name: "now"}
    world.disruptions.see(ObjectDeleted(time_ns=0, object=first))
    world.settle()
    assert (world.allowed, world.told[-1].status.disrupted_pods) == (0, {})


def test_pods_without_a_node_are_not_healthy() -> None:
    world = World(min_available=1)
    world.pods(3, node="")
    assert not world.told
