"""Nominated pods count when others are filtered; and the class that keeps nominations."""

from __future__ import annotations

from typing import Any

import numpy as np

from herz.model.objects import Pod
from herz.place.nominated import Genuine, devices_for
from herz.place.outcome import Choice, NoFit
from herz.place.usage import NO_DEVICE
from tests.support.machine import KUBERNETES, World, make_policy
from tests.support.objects import make_node, make_pod

RULES = (*KUBERNETES, "PodTopologySpread", "InterPodAffinity", "DefaultPreemption")


def asking(name: str, cpu: str, priority: int, **more: Any) -> Pod:
    """A pod that asks for so much cpu."""
    return make_pod(name, {"cpu": cpu}, priority=priority, **more)


def make_world(*nodes: str) -> World:
    """A cluster of nodes with four cores."""
    labels = {"kubernetes.io/hostname": ""}
    return World(make_policy(RULES)).nodes(
        *(make_node(name, labels={**labels, "kubernetes.io/hostname": name}) for name in nodes)
    )


def nominate(world: World, pod: Pod, node: str) -> None:
    """The pod has room kept on the node."""
    world.cluster.nominations.put(world.read(pod), node)


def test_equal_and_lower_priorities_leave_the_room_and_higher_ones_do_not() -> None:
    world = make_world("n1")
    nominate(world, asking("waiting", "3", 10), "n1")
    for priority, is_placed in ((9, False), (10, False), (11, True)):
        found = world.decide(asking(f"p{priority}", "2", priority))
        assert isinstance(found, Choice) is is_placed
    assert isinstance(world.decide(asking("small", "1", 0)), Choice), "both fit"


def test_the_histogram_tells_of_the_room_that_is_kept() -> None:
    world = make_world("n1", "n2")
    nominate(world, asking("waiting", "3", 10), "n1")
    world.assign(asking("there", "4", 100), "n2")
    found = world.decide(asking("low", "2", 0))
    assert isinstance(found, NoFit)
    assert found.message == "0/2 nodes are available: 2 Insufficient cpu."


def test_a_node_kept_for_another_is_no_choice_and_counts_in_no_stage() -> None:
    world = make_world("n1", "n2")
    nominate(world, asking("waiting", "4", 10), "n1")
    for at in range(4):
        found = world.decide(asking(f"low-{at}", "1", 0))
        assert isinstance(found, Choice)
        assert (found.node, found.tied, found.path[0].out) == ("n2", 1, 1)


def test_room_is_left_to_a_pod_that_was_nominated_after_it_asked() -> None:
    world = make_world("n1", "n2")
    nominate(world, asking("first", "4", 10), "n2")
    own, other = asking("own", "4", 10), asking("other", "4", 10)
    assert isinstance(world.decide(own), Choice)
    nominate(world, own, "n1")
    assert isinstance(world.decide(other), NoFit), "whose answers are kept with those of the first"


def test_a_pod_leaves_no_room_to_itself() -> None:
    world = make_world("n1", "n2")
    own = asking("own", "4", 10)
    nominate(world, own, "n1")
    nominate(world, asking("other", "4", 10), "n2")
    found = world.decide(own)
    assert isinstance(found, Choice)
    assert (found.node, found.path[0].stage) == ("n1", "filter:nominated")
    # The same signature and priority: the sheet is shared, the answer is the other's own.
    third = world.decide(asking("third", "4", 10))
    assert isinstance(third, NoFit)
    again = world.decide(own)
    assert isinstance(again, Choice)
    assert again.node == "n1"


def test_a_pod_whose_node_does_not_fit_any_more_looks_at_all_nodes() -> None:
    world = make_world("n1", "n2")
    nominate(world, asking("own", "4", 10), "n1")
    world.assign(asking("there", "1", 100), "n1")
    found = world.decide(asking("own", "4", 10))
    assert isinstance(found, Choice)
    assert (found.node, found.path[0].stage) == ("n2", "filter")


def test_filters_must_pass_without_the_nominated_pods_too() -> None:
    near = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "db"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    world = make_world("n1")
    nominate(world, asking("waiting", "1", 10, labels={"app": "db"}), "n1")
    found = world.decide(asking("near", "1", 0, spec={"affinity": near}))
    assert isinstance(found, NoFit), "the pod to be near to is not there yet"


def test_the_anti_affinity_of_nominated_pods_counts() -> None:
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "web"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    world = make_world("n1", "n2")
    nominate(world, asking("waiting", "1", 10, spec={"affinity": apart}), "n1")
    for at in range(3):
        found = world.decide(asking(f"web-{at}", "1", 0, labels={"app": "web"}))
        assert isinstance(found, Choice)
        assert found.node == "n2"


def test_sheets_follow_nominations_that_come_and_go() -> None:
    world = make_world("n1")
    low = asking("low", "2", 0)
    assert isinstance(world.decide(low), Choice)
    for _ in range(2):
        nominate(world, asking("waiting", "3", 10), "n1")
        assert isinstance(world.decide(low), NoFit)
        nominate(world, asking("waiting", "3", 10), "gone")
        assert isinstance(world.decide(low), Choice), "no such node"
        nominate(world, asking("waiting", "3", 10), "n1")
        assert isinstance(world.decide(low), NoFit)
        assert world.cluster.nominations.drop("uid-waiting") == "n1"
        assert isinstance(world.decide(low), Choice)
    assert world.cluster.nominations.drop("uid-waiting") == ""


def test_a_node_that_comes_back_is_kept_for_its_nominated_pod() -> None:
    world = make_world("n1", "n2")
    nominate(world, asking("waiting", "4", 10), "n1")
    world.cluster.remove_node("n1")
    first = world.decide(asking("low", "1", 0))
    assert isinstance(first, Choice)
    world.nodes(make_node("n1", labels={"kubernetes.io/hostname": "n1"}))
    for at in range(4):
        found = world.decide(asking(f"low-{at}", "1", 0))
        assert isinstance(found, Choice)
        assert found.node == "n2"


def test_nominations_are_in_the_snapshot_digest() -> None:
    world = make_world("n1")
    empty = world.snapshot.digest(b"")
    nominate(world, asking("waiting", "1", 1), "n1")
    one = world.snapshot.digest(b"")
    nominate(world, asking("waiting", "1", 1), "n2")
    assert len({empty, one, world.snapshot.digest(b"")}) == 3
    world.cluster.nominations.settle("uid-waiting")
    assert world.snapshot.digest(b"") == empty


def test_a_nominated_pod_is_counted_on_the_devices_with_most_left() -> None:
    world = make_world("n1")
    pod = world.read(
        make_pod("gpu", {"herz.dev/gpu-count": "2", "herz.dev/gpu-milli": "500"}, priority=1)
    )
    free = np.array([100, 900, -200, 1000, NO_DEVICE], np.int64)
    assert devices_for(pod, free) == (1, 3)
    assert devices_for(world.read(make_pod("plain")), free) == ()


def keep(world: World, pod: Pod, node: str) -> None:
    """The pod has room kept because it waits for long."""
    world.cluster.nominations.put(world.read(pod), node, is_kept=True)


def test_kept_room_is_told_from_what_preemption_made() -> None:
    world = make_world("n1", "n2")
    nominations, genuine = world.cluster.nominations, Genuine(world.cluster.nominations)
    waiting, low = world.read(asking("waiting", "3", 10)), world.read(asking("low", "2", 9))
    high = world.read(asking("high", "2", 11))
    keep(world, asking("waiting", "3", 10), "n1")
    assert nominations.is_kept(waiting.uid)
    assert nominations.concern(low)
    assert [nominations.keeps_from(pod) for pod in (low, waiting, high)] == [True, False, False]
    assert not genuine.concern(low)
    assert genuine.on("n1", 0) == []
    assert genuine.node_of(waiting.uid) == "n1"
    nominate(world, asking("waiting", "3", 10), "n1")
    assert not nominations.is_kept(waiting.uid)
    assert not nominations.keeps_from(low)
    assert genuine.concern(low)
    assert not genuine.concern(high)
    assert [pod.uid for pod in genuine.on("n1", 0)] == [waiting.uid]
    assert genuine.on("n1", 0, exempt=waiting.uid) == []


def test_a_kept_nomination_stays_one_when_the_pod_changes_and_leaves_no_trace() -> None:
    world = make_world("n1")
    empty = world.snapshot.digest(b"")
    pod = asking("waiting", "3", 10)
    nominate(world, pod, "n1")
    genuine = world.snapshot.digest(b"")
    keep(world, pod, "n1")
    assert len({empty, genuine, world.snapshot.digest(b"")}) == 3
    world.cluster.nominations.see(world.read(asking("waiting", "2", 10)))
    assert world.cluster.nominations.is_kept("uid-waiting")
    assert world.cluster.nominations.drop("uid-waiting") == "n1"
    assert not world.cluster.nominations.is_kept("uid-waiting")
    assert world.snapshot.digest(b"") == empty
