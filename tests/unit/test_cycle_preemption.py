"""Preemption through the whole cycle: nominated, victims ended, bound; what may come between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from herz import signals
from herz.model.decode import convert
from herz.model.effects import Bind, DeletePod, Effect, EmitEvent, Evict, Nominate, PatchPodStatus
from herz.model.events import ObjectApplied
from herz.model.objects import Pod, PodDisruptionBudget
from herz.model.outcomes import BindOutcome, RemovalRefused
from herz.model.record import Decided, Victim
from tests.support.machine import KUBERNETES, SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod

MINUTE = 60 * SECOND


def preempting(**args: Any) -> Harness:
    """A machine whose policy preempts."""
    rules = (*KUBERNETES, "DefaultPreemption")
    return Harness(make_policy(rules, {"DefaultPreemption": args}))


def asking(name: str, cpu: str, priority: int, node: str = "", **more: Any) -> Pod:
    """A pod that asks for so much cpu."""
    return make_pod(name, {"cpu": cpu}, node=node, priority=priority, **more)


def full(**args: Any) -> Harness:
    """One node of four cores, filled by two pods of priority 0."""
    harness = preempting(**args).apply(make_node("n1", pods="10"))
    return harness.apply(asking("old", "2", 0, "n1"), asking("other", "2", 0, "n1"))


def with_status(pod: Pod, **status: Any) -> Pod:
    """The pod with these fields of its status."""
    return replace(pod, status=replace(pod.status, **status))


def budget(allowed: int, labels: Mapping[str, str]) -> PodDisruptionBudget:
    """A budget over pods with these labels."""
    content = {
        "metadata": {"name": "keep", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": dict(labels)}},
        "status": {"disruptionsAllowed": allowed},
    }
    return convert(PodDisruptionBudget, content)


def test_a_pod_that_fits_nowhere_is_nominated_and_its_victim_ended() -> None:
    harness = full()
    effects = harness.apply(asking("high", "1", 100)).step()
    assert [type(effect) for effect in effects[:3]] == [Nominate, DeletePod, EmitEvent]
    assert only(Nominate, effects)[0].node == "n1"
    (ended,) = only(DeletePod, effects)
    # Two pods of one priority that never started: the higher uid is the less important one.
    assert (ended.name, ended.uid) == ("other", "uid-other")
    assert "preempting to accommodate a higher priority pod" in ended.message
    told = only(EmitEvent, effects)[0]
    assert (told.name, told.reason, told.action) == ("other", "Preempted", "Preempting")
    assert told.note == "Preempted by pod uid-high on node n1"
    condition = only(PatchPodStatus, effects)[0]
    assert condition.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert harness.state("high") == "unschedulable"
    assert harness.state("other") == "preempting"


def test_the_record_of_a_preemption_names_node_and_victims() -> None:
    harness = full()
    harness.apply(asking("high", "3", 100)).step()
    record = harness.kept.records[-1]
    assert (record.decided, record.node, record.tied) == (Decided.PREEMPT, "n1", 1)
    assert record.victims == (
        Victim("old", "shop", "uid-old"),
        Victim("other", "shop", "uid-other"),
    )
    assert (record.path[-1].stage, record.path[-1].out) == ("preempt", 1)
    assert harness.counters[signals.PREEMPTION_VICTIMS] == 2


def test_the_preemptor_is_bound_once_its_victim_is_gone() -> None:
    harness = full()
    other = asking("other", "2", 0, "n1")
    harness.apply(asking("high", "1", 100)).step()
    assert not only(Bind, harness.step(after=MINUTE)), "the victim still holds the room"
    harness.delete(other)
    (bind,) = only(Bind, harness.step(after=MINUTE))
    assert (bind.name, bind.node) == ("high", "n1")
    assert harness.kept.records[-1].path[0].stage == "filter:nominated"
    harness.answer(bind)
    assert harness.state("high") == "bound"
    assert not len(harness.cluster.nominations)


def test_no_more_is_preempted_while_victims_are_on_their_way_out() -> None:
    harness = full()
    high = asking("high", "1", 100)
    harness.apply(high).step()
    # Something else happens that wakes the preemptor before its victim is gone.
    harness.apply(make_node("n2", cpu="2", taints=[("only", "low", "NoSchedule")]))
    effects = harness.step(after=MINUTE)
    assert not only(DeletePod, effects)
    assert "not eligible due to a terminating pod" in harness.kept.records[-1].message
    assert harness.cluster.nominations.node_of("uid-high") == "n1"


def test_a_terminating_victim_is_recognised_after_a_restart() -> None:
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
    }
    victim = make_pod("other", {"cpu": "2"}, node="n1", priority=0, is_terminating=True, spec={})
    decoded = convert(Pod, {"metadata": {"name": "x"}, "status": {"conditions": [condition]}})
    victim = with_status(victim, conditions=decoded.status.conditions)
    harness = preempting().apply(make_node("n1", pods="10"))
    harness.apply(asking("old", "2", 0, "n1"), victim)
    high = with_status(asking("high", "1", 100), nominated_node_name="n1")
    effects = harness.apply(high).step()
    assert not only(DeletePod, effects)
    assert "not eligible due to a terminating pod" in harness.kept.records[-1].message
    (bind,) = only(Bind, harness.delete(victim).step(after=MINUTE))
    assert bind.name == "high"


def test_a_victim_that_goes_on_its_own_makes_room_as_well() -> None:
    harness = full()
    harness.apply(asking("high", "1", 100)).step()
    done = with_status(asking("other", "2", 0, "n1"), phase="Succeeded")
    (bind,) = only(Bind, harness.apply(done).step(after=MINUTE))
    assert bind.name == "high"


def test_a_preemptor_that_is_deleted_leaves_its_room_to_others() -> None:
    harness = full()
    high = asking("high", "1", 100)
    harness.apply(high).step()
    low = asking("low", "1", 50)
    harness.delete(asking("other", "2", 0, "n1")).apply(low)
    harness.delete(high)
    assert not len(harness.cluster.nominations)
    (bind,) = only(Bind, harness.step(after=MINUTE))
    assert bind.name == "low"


def test_a_nominated_pod_keeps_lower_priorities_away_but_not_higher_ones() -> None:
    harness = full()
    harness.apply(asking("high", "2", 100)).step()
    harness.delete(asking("other", "2", 0, "n1"))
    # The preemptor backs off; pods that come meanwhile must leave its room.
    effects = harness.apply(asking("equal", "1", 100), asking("higher", "1", 200)).step()
    assert [bind.name for bind in only(Bind, effects)] == ["higher"]


def test_a_higher_preemptor_ends_the_nomination_of_a_lower_one() -> None:
    harness = full()
    harness.apply(asking("high", "2", 100)).step()
    assert harness.cluster.nominations.node_of("uid-high") == "n1"
    effects = harness.apply(asking("higher", "4", 200)).step()
    nominated = [(effect.name, effect.node) for effect in only(Nominate, effects)]
    assert nominated[0] == ("high", "")
    assert ("higher", "n1") in nominated
    # The first victim is being ended already; only the second is asked for.
    assert [effect.name for effect in only(DeletePod, effects)] == ["old"]
    assert harness.cluster.nominations.node_of("uid-high") == ""


def test_nominations_are_read_from_the_api() -> None:
    harness = preempting().apply(make_node("n1"), make_node("n2"))
    waiting = with_status(asking("waiting", "4", 100), nominated_node_name="n1")
    harness.apply(replace(waiting, spec=replace(waiting.spec, scheduling_gates=())))
    assert harness.cluster.nominations.node_of("uid-waiting") == "n1"
    (bind,) = only(Bind, harness.step())
    assert (bind.name, bind.node) == ("waiting", "n1")


def test_what_herz_decided_stands_until_the_api_shows_a_change() -> None:
    harness = full()
    high = asking("high", "1", 100)
    harness.apply(high).step()
    harness.apply(high)
    assert harness.cluster.nominations.node_of("uid-high") == "n1"
    harness.apply(with_status(high, nominated_node_name="n1"))
    assert harness.cluster.nominations.node_of("uid-high") == "n1"
    harness.apply(high)
    assert harness.cluster.nominations.node_of("uid-high") == "", "somebody cleared it"


def test_a_pod_that_must_not_preempt_waits() -> None:
    harness = full()
    never = asking("high", "1", 100, spec={"preemptionPolicy": "Never"})
    effects = harness.apply(never).step()
    assert not only(DeletePod, effects)
    message = harness.kept.records[-1].message
    assert message.endswith("preemption: not eligible due to preemptionPolicy=Never.")


def test_a_hopeless_preemptor_loses_its_nomination() -> None:
    harness = full()
    high = with_status(asking("high", "8", 100), nominated_node_name="n1")
    effects = harness.apply(high).step()
    assert only(Nominate, effects)[0].node == ""
    assert not only(DeletePod, effects)
    assert "preemption: 0/1 nodes are available: 1 " in harness.kept.records[-1].message


def test_a_victim_whose_bind_is_under_way_is_deleted_all_the_same() -> None:
    harness = preempting().apply(make_node("n1"))
    bind = harness.place(asking("low", "4", 0))
    effects = harness.apply(asking("high", "4", 100)).step()
    assert [effect.name for effect in only(DeletePod, effects)] == ["low"]
    assert harness.state("low") == "preempting"
    harness.answer(bind, BindOutcome.REFUSED, "deleted")
    assert harness.state("low") == "backing_off"
    (bound,) = only(Bind, harness.step(after=MINUTE, limit=1))
    assert bound.name == "high"


def test_hard_budgets_evict_and_spare_what_they_protect() -> None:
    harness = preempting(budgets="hard").apply(make_node("n1", pods="10"))
    guarded = asking("guarded", "2", 0, "n1", labels={"app": "db"})
    harness.apply(guarded, asking("free", "2", 5, "n1"))
    harness.machine.apply(ObjectApplied(time_ns=0, object=budget(0, {"app": "db"})))
    effects = harness.apply(asking("high", "1", 100)).step()
    assert [effect.name for effect in only(Evict, effects)] == ["free"]
    assert not only(DeletePod, effects)


def test_soft_budgets_yield_when_nothing_else_helps() -> None:
    harness = preempting().apply(make_node("n1", pods="10"))
    harness.apply(asking("guarded", "4", 0, "n1", labels={"app": "db"}))
    harness.machine.apply(ObjectApplied(time_ns=0, object=budget(0, {"app": "db"})))
    effects = harness.apply(asking("high", "1", 100)).step()
    assert [effect.name for effect in only(DeletePod, effects)] == ["guarded"]
    assert harness.kept.records[-1].violations == 1


def test_a_refused_removal_lets_the_preemptor_look_for_room_anew() -> None:
    harness = full(budgets="hard")
    harness.apply(asking("high", "1", 100)).step()
    assert harness.state("other") == "preempting"
    refused = RemovalRefused(time_ns=harness.now, uid="uid-other", message="disruption budget")
    harness.machine.apply(refused)
    assert harness.state("other") == "bound"
    assert harness.counters[signals.REMOVALS_REFUSED] == 1
    harness.machine.apply(ObjectApplied(time_ns=0, object=budget(0, {})))
    effects = harness.step(after=MINUTE)
    assert [effect.node for effect in only(Nominate, effects)] == ["", "n1"]
    harness.machine.apply(replace(refused, uid="uid-unknown"))
    assert harness.counters[signals.LATE_ANSWERS] == 1


def guarded(allowed: int) -> Harness:
    """Two pods that one budget holds on a node that they fill; budgets are limits."""
    harness = preempting(budgets="hard").apply(make_node("n1", pods="10"))
    for name in ("old", "other"):
        harness.apply(asking(name, "2", 0, "n1", labels={"app": "db"}))
    harness.apply(budget(allowed, {"app": "db"}))
    return harness.apply(asking("high", "1", 100))


def refuse(harness: Harness, effects: Sequence[Effect]) -> list[str]:
    """The API refuses all evictions; the names of their pods."""
    evicted = only(Evict, effects)
    for one in evicted:
        event = RemovalRefused(time_ns=harness.now, uid=one.uid, message="disruption budget")
        harness.machine.apply(event)
    return [one.name for one in evicted]


def test_a_refused_eviction_is_asked_for_once_more_and_then_let_be() -> None:
    harness = guarded(allowed=1)
    asked = [refuse(harness, harness.step(after=5 * SECOND)) for _ in range(60)]
    named = [names for names in asked if names]
    # The other pod is as good a victim, and as little to be had.
    assert named == [["other"], ["other"], ["old"], ["other"], ["old"]]
    assert harness.counters[signals.REMOVALS_REFUSED] == 5


def test_a_refused_eviction_is_asked_for_again_when_its_budget_moved() -> None:
    harness = guarded(allowed=1)
    for _ in range(20):
        refuse(harness, harness.step(after=5 * SECOND))
    assert not only(Evict, harness.step(after=5 * SECOND))
    before = harness.snapshot.digest(b"")
    harness.apply(budget(2, {"app": "db"}))
    assert harness.snapshot.digest(b"") != before
    assert only(Evict, harness.step(after=15 * SECOND))


def test_a_refusal_is_part_of_what_was_known() -> None:
    harness = guarded(allowed=1)
    effects = harness.step(after=5 * SECOND)
    before = harness.snapshot.digest(b"")
    refuse(harness, effects)
    harness.step(after=5 * SECOND)
    assert harness.snapshot.digest(b"") != before


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_budget_that_relaxes_wakes_those_whom_it_kept_waiting(is_deleted: bool) -> None:
    harness = guarded(allowed=0)
    assert not only(Evict, harness.step())
    assert harness.state("high") == "unschedulable"
    if is_deleted:
        harness.delete(budget(0, {"app": "db"}))
    else:
        harness.apply(budget(1, {"app": "db"}))
    assert [one.name for one in only(Evict, harness.step(after=15 * SECOND))] == ["other"]


def test_a_budget_that_tightens_wakes_nobody() -> None:
    harness = guarded(allowed=0)
    harness.step()
    harness.apply(budget(-1, {"app": "db"}))
    harness.step(after=15 * SECOND)
    assert harness.state("high") == "unschedulable"


def test_a_pod_that_leaves_its_budget_can_make_room() -> None:
    harness = guarded(allowed=0)
    harness.step()
    harness.apply(asking("old", "2", 0, "n1", labels={"app": "cache"}))
    assert [one.name for one in only(Evict, harness.step(after=15 * SECOND))] == ["old"]


def test_a_victim_must_fit_elsewhere_where_that_is_asked() -> None:
    harness = full(victimsMustFitElsewhere=True)
    effects = harness.apply(asking("high", "1", 100)).step()
    assert not only(DeletePod, effects)
    harness.apply(make_node("n2", cpu="2", taints=[("only", "low", "NoSchedule")]))
    assert not only(DeletePod, harness.step(after=MINUTE))
    movable = asking(
        "movable",
        "2",
        0,
        "n1",
        spec={"tolerations": [{"key": "only", "operator": "Exists"}]},
    )
    harness.delete(asking("other", "2", 0, "n1")).apply(movable)
    effects = harness.apply(asking("next", "1", 200)).step(after=MINUTE)
    assert [effect.name for effect in only(DeletePod, effects)] == ["movable"]


def test_the_digest_follows_nominations_and_victims_and_ends_where_it_began() -> None:
    harness = full()
    before = harness.snapshot.digest(b"")
    high = asking("high", "1", 100)
    harness.apply(high).step()
    assert harness.snapshot.digest(b"") != before
    harness.delete(high, asking("other", "2", 0, "n1"))
    harness.apply(asking("other", "2", 0, "n1"))
    assert harness.snapshot.digest(b"") == before


@pytest.mark.parametrize("priority", [0, -5])
def test_nobody_of_the_same_or_a_higher_priority_is_a_victim(priority: int) -> None:
    harness = full()
    effects = harness.apply(asking("high", "1", priority)).step()
    assert not only(DeletePod, effects)
    assert "No preemption victims found for incoming pod" in harness.kept.records[-1].message
