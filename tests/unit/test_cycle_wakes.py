"""Pods wake for what no event of the API says in so many words: room that was only kept."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from herz.errors import ConfigError
from herz.model.effects import Bind, Effect
from herz.model.events import OrderLimited
from herz.model.objects import Pod
from herz.model.outcomes import BindOutcome
from tests.support.machine import KUBERNETES, SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod
from tests.support.strategies import DB, HOST, WEB, pod_affinity, spread, term
from tests.unit.test_cycle_gangs import BASE, binds, group, member

LABEL = BASE[1]


def nominated(pod: Pod, node: str) -> Pod:
    return replace(pod, status=replace(pod.status, nominated_node_name=node))


def waiting(name: str, cpu: str, priority: int = 0, **given: Any) -> Pod:
    return make_pod(name, {"cpu": cpu}, priority=priority, **given)


def with_node(pod: Pod, node: str) -> Pod:
    return replace(pod, spec=replace(pod.spec, node_name=node))


def only_binds(effects: list[Effect]) -> list[str]:
    return [one.node for one in only(Bind, effects)]


# ---- nominations ----------------------------------------------------------------------------

HIGH = waiting("high", "3", priority=5)
LOW = waiting("low", "3")


@pytest.fixture
def kept() -> Harness:
    """Node `a` has room, which is kept for HIGH; LOW sleeps, and so does HIGH."""
    harness = Harness().apply(make_node("a", cpu="4"))
    # HIGH waits for another rule's sake.
    harness.apply(nominated(selective(HIGH), "a"), LOW)
    harness.step()
    assert (harness.state("high"), harness.state("low")) == ("unschedulable", "unschedulable")
    return harness


def selective(pod: Pod) -> Pod:
    return replace(pod, spec=replace(pod.spec, node_selector={"pool": "b"}))


def test_room_that_the_api_no_longer_keeps_wakes_others(kept: Harness) -> None:
    kept.apply(nominated(selective(HIGH), ""))
    assert kept.state("low") == "backing_off"


def test_room_that_is_kept_elsewhere_now_wakes_others(kept: Harness) -> None:
    kept.apply(nominated(selective(HIGH), "b"))
    assert kept.state("low") == "backing_off"


def test_a_nominated_pod_that_is_placed_elsewhere_leaves_its_room_to_others(kept: Harness) -> None:
    kept.apply(make_node("b", cpu="3", labels={"pool": "b"}, taints=[("t", "", "NoSchedule")]))
    kept.step(10 * SECOND)
    assert kept.state("low") == "unschedulable"
    every = make_pod("t", spec={"tolerations": [{"operator": "Exists"}]}).spec.tolerations
    tolerant = replace(selective(HIGH), spec=replace(selective(HIGH).spec, tolerations=every))
    assert only_binds(kept.apply(nominated(tolerant, "a")).step(10 * SECOND)) == ["b", "a"]


def test_a_nominated_pod_that_others_place_elsewhere_leaves_its_room(kept: Harness) -> None:
    kept.apply(make_node("b", cpu="1"))
    kept.step(10 * SECOND)
    assert kept.state("low") == "unschedulable"
    kept.apply(with_node(HIGH, "b"))
    assert kept.state("low") == "queued"


def test_room_that_stays_kept_wakes_nobody(kept: Harness) -> None:
    kept.apply(nominated(selective(HIGH), "a"))
    assert kept.state("low") == "unschedulable"


def test_a_preemptor_that_is_given_another_node_leaves_the_first_to_others() -> None:
    harness = Harness(make_policy((*KUBERNETES, "DefaultPreemption")))
    victim = waiting("victim", "5", node="b")
    high = nominated(waiting("high", "5", priority=5, gates=["wait"]), "a")
    harness.apply(make_node("a", cpu="4"), make_node("b", cpu="5"), victim, high)
    harness.apply(LOW).step()
    assert harness.state("low") == "unschedulable"
    harness.apply(nominated(waiting("high", "5", priority=5), "a"))
    assert only_binds(harness.step(10 * SECOND)) == ["a"]
    assert harness.cluster.nominations.node_of("uid-high") == "b"
    assert harness.state("low") == "binding"


# ---- reservations ---------------------------------------------------------------------------


def test_a_pod_that_is_seen_elsewhere_gives_back_what_was_reserved() -> None:
    harness = Harness().apply(make_node("a", cpu="4"))
    bind = harness.place(waiting("first", "3"))
    harness.apply(waiting("second", "3")).step()
    assert harness.state("second") == "unschedulable"
    harness.answer(bind, BindOutcome.UNKNOWN).apply(make_node("b", cpu="1"))
    harness.apply(with_node(waiting("first", "3"), "b"))
    assert harness.state("second") == "backing_off"
    assert only_binds(harness.step(10 * SECOND)) == ["a"]


def test_a_pod_that_is_seen_where_it_was_sent_wakes_nobody_for_its_room() -> None:
    harness = Harness().apply(make_node("a", cpu="4"))
    harness.place(waiting("first", "3"))
    harness.apply(waiting("second", "3")).step()
    harness.apply(with_node(waiting("first", "3"), "a"))
    assert harness.state("second") == "unschedulable"


# ---- affinity and spread --------------------------------------------------------------------

NEAR = make_pod("p", labels=WEB, spec=pod_affinity(near=[term(WEB, "zone"), term(WEB, HOST)]))


def sought_out_of_reach() -> tuple[Harness, Pod]:
    """One that NEAR seeks lies on a node without a zone; NEAR sleeps."""
    lone = make_pod("lone", labels=WEB, node="b")
    harness = Harness(make_policy(("InterPodAffinity",)))
    harness.apply(
        make_node("a", labels={HOST: "a", "zone": "a"}), make_node("b", labels={HOST: "b"})
    )
    harness.apply(lone, NEAR).step()
    assert harness.state("p") == "unschedulable"
    return harness, lone


def test_the_last_pod_that_was_sought_leaves_the_next_the_first_of_its_kind() -> None:
    harness, lone = sought_out_of_reach()
    harness.delete(lone)
    assert harness.state("p") == "backing_off"
    assert only_binds(harness.step(10 * SECOND)) == ["a"]


def test_the_last_pod_that_was_sought_may_lose_its_labels_instead() -> None:
    harness, lone = sought_out_of_reach()
    harness.apply(replace(lone, metadata=replace(lone.metadata, labels=DB)))
    assert harness.state("p") == "backing_off"


def test_a_domain_that_goes_wakes_who_would_have_to_fill_it() -> None:
    spec = spread(("zone", 1, "DoNotSchedule"))
    harness = Harness(make_policy(("PodTopologySpread", "NodeUnschedulable")))
    empty = make_node("b", labels={"zone": "b"}, unschedulable=True)
    harness.apply(make_node("a", labels={"zone": "a"}), empty)
    harness.apply(make_pod("one", labels=WEB, node="a"))
    harness.apply(make_pod("p", labels=WEB, spec=spec)).step()
    assert harness.state("p") == "unschedulable"
    harness.delete(empty)
    assert harness.state("p") == "backing_off"


# ---- gangs ----------------------------------------------------------------------------------


def test_a_node_that_only_the_fitting_pod_of_a_gang_can_use_wakes_the_gang() -> None:
    """The small pod took the room of the large one; now it can go elsewhere."""
    harness = Harness().apply(make_node("a", cpu="3"), group(LABEL, "g", 2))
    harness.apply(member(LABEL, "g", 1, "1"), member(LABEL, "g", 2, "3")).step()
    assert harness.state("g-1") == harness.state("g-2") == "unschedulable"
    harness.apply(make_node("b", cpu="1"))
    assert harness.state("g-1") == "backing_off"


def test_a_waiting_pod_of_a_gang_that_goes_wakes_those_that_it_was_tried_with() -> None:
    harness = Harness().apply(make_node("a", cpu="2"), group(LABEL, "g", 2))
    harness.apply(*(member(LABEL, "g", n, cpu) for n, cpu in ((1, "2"), (2, "1"), (3, "1"))))
    harness.step()
    assert {harness.state(f"g-{n}") for n in (1, 2, 3)} == {"unschedulable"}
    harness.delete(member(LABEL, "g", 1, "2"))
    assert harness.state("g-2") == harness.state("g-3") == "backing_off"
    assert binds(harness.step(10 * SECOND)) == ["g-2", "g-3"]


def test_a_pod_that_takes_room_wakes_no_gang() -> None:
    harness = Harness().apply(
        make_node("a", cpu="3"), make_node("b", cpu="1"), group(LABEL, "g", 3)
    )
    harness.apply(*(member(LABEL, "g", n, "2") for n in (1, 2, 3))).step()
    harness.apply(waiting("other", "1", node="b"))
    assert {harness.state(f"g-{n}") for n in (1, 2, 3)} == {"unschedulable"}


def test_a_pod_that_joins_a_group_by_its_label_completes_the_gang() -> None:
    harness = Harness().apply(make_node("a"), group(LABEL, "g", 2), member(LABEL, "g", 1, "1"))
    loner = make_pod("g-2", {"cpu": "9"})
    harness.apply(loner).step()
    assert harness.state("g-1") == "unschedulable"
    harness.apply(member(LABEL, "g", 2, "1"))
    assert binds(harness.step(20 * SECOND)) == ["g-1", "g-2"]


def test_a_pod_that_leaves_a_group_by_its_label_counts_there_no_more() -> None:
    harness = Harness().apply(group(LABEL, "g", 2), member(LABEL, "g", 1, "1"))
    harness.apply(member(LABEL, "g", 2, "1")).step()
    harness.apply(make_pod("g-2", {"cpu": "1"}), make_node("a"))
    assert binds(harness.step(20 * SECOND)) == ["g-2"]


# ---- the driver's own event -----------------------------------------------------------------


@pytest.mark.parametrize("rung", [-1, 0, 4])
def test_a_rung_that_is_not_there_is_refused_and_changes_nothing(rung: int) -> None:
    harness = Harness().apply(make_node("a"), make_pod("p"))
    with pytest.raises(ConfigError) as caught:
        harness.machine.apply(OrderLimited(time_ns=0, rung=rung))
    assert caught.value.where == "OrderLimited.rung"
    assert (caught.value.value, caught.value.fix) == (rung, "give a rung from 1 to 3")
    assert only_binds(harness.step()) == ["a"]


@pytest.mark.parametrize("rung", [1, 2, 3])
def test_every_rung_of_the_order_may_be_asked_for(rung: int) -> None:
    harness = Harness().apply(make_node("a"), make_pod("p"))
    harness.machine.apply(OrderLimited(time_ns=0, rung=rung))
    assert only_binds(harness.step()) == ["a"]
