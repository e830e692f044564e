"""The simulated API and its nodes: refusals, fates, watch order, churn."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from herz.errors import InvariantError
from herz.model.effects import Bind
from herz.model.events import Event, ObjectApplied, ObjectDeleted
from herz.model.objects import ObjectMeta, Pod, PodSchedulingGate, PodSpec
from herz.world.sim.churn import Churn
from herz.world.sim.cluster import Cluster, Fate
from herz.world.sim.controllers import Controllers
from herz.world.sim.engine import Engine
from herz.world.sim.faults import Dice, Faults
from herz.world.sim.make import make_container, make_node
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import AfterEnd, NodeAction, NodeChange, PodArrival, Timing
from herz.world.sim.watch import Watch


class World:
    """The parts without a driver: what is delivered is kept."""

    def __init__(self, faults: Faults | None = None, stall_ns: int = SECOND_NS) -> None:
        self.engine = Engine()
        self.events: list[Event] = []
        self.dice = Dice(faults or Faults(), random.Random(1))
        self.watch = Watch(self.engine, self.dice, 1000, stall_ns, self.events.append)
        self.cluster = Cluster(self.engine, self.watch)
        timing = Timing()
        self.controllers = Controllers(self.engine, self.cluster, self.dice, timing)
        self.churn = Churn(self.engine, self.cluster, self.controllers, self.dice, timing)
        self.churn.add(make_node("n", {"cpu": "2", "pods": 10}, {}))

    def arrive(self, name: str = "p", **more: object) -> Pod:
        spec = PodSpec(containers=(make_container({"cpu": "1"}),))
        meta = ObjectMeta(name=name, namespace="d", uid=f"uid-{name}")
        values: dict[str, object] = {"time_ns": 0, "pod": Pod(metadata=meta, spec=spec), **more}
        arrival = PodArrival(**values)  # type: ignore[arg-type]
        return self.controllers.arrive(arrival).pod

    def bind(self, pod: Pod, node: str = "n") -> str:
        meta = pod.metadata
        request = Bind(
            namespace=meta.namespace, name=meta.name, uid=meta.uid, node=node, decision=1
        )
        refusal = self.cluster.bind(request)
        if not refusal:
            self.controllers.bound(self.cluster.pods[meta.uid])
        return refusal

    def fate(self, name: str = "p") -> Fate:
        return self.cluster.pods[f"uid-{name}"].fate


def test_api_refuses_binds_as_kubernetes_does() -> None:
    world = World()
    pod = world.arrive()
    renamed = replace(pod, metadata=replace(pod.metadata, name="x"))
    assert "not found" in world.bind(renamed)
    other = replace(pod, metadata=replace(pod.metadata, uid="other"))
    assert "UID in the precondition" in world.bind(other)
    assert world.bind(pod) == ""
    assert "already assigned" in world.bind(pod)
    world.controllers.delete(world.cluster.pods["uid-p"])
    assert "being deleted" in world.bind(pod)


def test_api_refuses_a_gated_pod() -> None:
    world = World()
    spec = PodSpec(scheduling_gates=(PodSchedulingGate(name="g"),))
    pod = Pod(metadata=ObjectMeta(name="p", namespace="d", uid="uid-p"), spec=spec)
    world.arrive(pod=pod, ungate_ns=5)
    assert "schedulingGates" in world.bind(pod)
    world.engine.advance(5)
    assert world.bind(pod) == ""


def test_two_pods_of_one_name_are_our_bug() -> None:
    world = World()
    world.arrive()
    with pytest.raises(InvariantError, match=r"already|before"):
        world.arrive()


def test_pod_starts_runs_and_completes() -> None:
    world = World()
    pod = world.arrive(run_ns=60 * SECOND_NS)
    world.bind(pod)
    world.engine.advance(10 * SECOND_NS)
    assert world.cluster.pods["uid-p"].pod.status.phase == "Running"
    assert world.cluster.used["cpu"] == 1000
    world.engine.advance(62 * SECOND_NS)
    assert world.fate() is Fate.COMPLETED
    assert world.cluster.used["cpu"] == 0
    world.engine.advance(200 * SECOND_NS)
    assert isinstance(world.events[-1], ObjectDeleted)
    assert world.cluster.by_key == {}


def test_kubelet_refuses_what_has_no_room_in_truth() -> None:
    world = World()
    pods = [world.arrive(name, after_end=AfterEnd.REPLACE) for name in ("a", "b", "c")]
    assert [world.bind(pod) for pod in pods] == ["", "", ""]
    assert world.fate("c") is Fate.FAILED
    assert world.dice.counts == {"refused_by_node": 1}
    world.engine.advance(100 * SECOND_NS)
    assert world.cluster.pending == 1


def test_lost_pods_are_replaced_under_a_new_name_or_uid() -> None:
    world = World()
    world.bind(world.arrive("a", after_end=AfterEnd.REPLACE))
    world.bind(world.arrive("b", after_end=AfterEnd.RECREATE))
    world.churn.plan(NodeAction(time_ns=SECOND_NS, kind=NodeChange.DELETE, name="n"))
    world.engine.advance(5 * SECOND_NS)
    assert world.fate("a") is world.fate("b") is Fate.EVICTED
    names = sorted(world.cluster.by_key)
    assert names == ["d/a--1", "d/b"]
    assert world.cluster.by_key["d/b"].pod.metadata.uid == "uid-b+2"
    assert world.cluster.capacity["cpu"] == 0


def test_returned_node_is_as_it_was_at_first() -> None:
    world = World()
    for kind in (NodeChange.DRAIN, NodeChange.FAIL, NodeChange.DELETE, NodeChange.RETURN):
        at_ns = world.engine.now_ns + SECOND_NS
        world.churn.plan(NodeAction(time_ns=at_ns, kind=kind, name="n"))
        world.engine.advance(at_ns)
    state = world.cluster.nodes["n"]
    assert state.is_up
    assert state.node.spec.taints == ()
    assert not state.node.spec.unschedulable
    assert world.cluster.capacity["cpu"] == 2000
    assert world.cluster.nodes_up == 1


def test_watch_keeps_order_within_a_kind_when_it_stalls() -> None:
    world = World(Faults(watch_stalled=500_000))
    for number in range(50):
        world.arrive(f"p{number:02d}")
        world.engine.advance(world.engine.now_ns + 10)
    world.engine.advance(10 * SECOND_NS)
    names = [
        event.object.metadata.name
        for event in world.events
        if isinstance(event, ObjectApplied) and isinstance(event.object, Pod)
    ]
    assert names == sorted(names)
    assert len(names) == 50


def test_merged_changes_end_in_what_the_api_holds() -> None:
    world = World(Faults(watch_merged=500_000))
    for number in range(40):
        world.arrive(f"p{number:02d}")
        state = world.cluster.pods[f"uid-p{number:02d}"]
        world.cluster.update(state, replace(state.pod, spec=replace(state.pod.spec, priority=7)))
        if number % 2:
            world.controllers.delete(state)
    world.engine.advance(10 * SECOND_NS)
    known: dict[str, Pod] = {}
    for event in world.events:
        if isinstance(event, ObjectApplied) and isinstance(event.object, Pod):
            known[event.object.metadata.name] = event.object
        elif isinstance(event, ObjectDeleted):
            known.pop(event.object.metadata.name, None)
    assert {name: pod.spec.priority for name, pod in known.items()} == {
        f"p{number:02d}": 7 for number in range(0, 40, 2)
    }
    assert len(world.events) < 100


def test_duplicated_events_come_one_behind_the_other() -> None:
    world = World(Faults(watch_duplicated=1_000_000))
    world.arrive()
    world.engine.advance(SECOND_NS)
    pods = [event for event in world.events if isinstance(event.object, Pod)]  # type: ignore[union-attr]
    assert len(pods) == 2
    assert pods[0] is pods[1]
