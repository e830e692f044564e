"""One pod through the steps: what goes in, what comes out, and what every answer leads to."""

from __future__ import annotations

from typing import Any

import pytest

from herz import signals
from herz.model.effects import Bind, EmitEvent, PatchPodStatus, WakeAt
from herz.model.events import ObjectApplied
from herz.model.objects import Pod, PriorityClass
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Decided, canonical
from herz.place.snapshot import SnapshotDigest
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod

FULL = {"cpu": "4"}


def harness_with_node(**settings: Any) -> Harness:
    return Harness(**settings).apply(make_node("a"))


def last(harness: Harness) -> Any:
    return harness.kept.records[-1]


# ---- decisions --------------------------------------------------------------------------


def test_a_placed_pod_is_reserved_recorded_and_bound() -> None:
    harness = harness_with_node()
    bind = harness.place(make_pod("p", {"cpu": "1", "memory": "2Gi"}))
    record = last(harness)
    assert (bind.node, bind.uid, bind.decision) == ("a", "uid-p", 1)
    assert bind.annotations == (("herz.dev/decision", "1"),)
    assert record.decided is Decided.PLACE
    assert record.node == "a"
    assert record.levels == (("cpu", 2500), ("memory", 2500))
    assert record.top[0].total == sum(record.top[0].scores)
    assert len(record.plugins) == len(record.top[0].scores)
    assert [stage.stage for stage in record.path] == ["filter", "score"]
    assert harness.used("a") == 1000
    assert harness.state("p") == "binding"
    assert harness.counters[signals.ATTEMPTS_SCHEDULED] == 1


def test_a_step_decides_no_more_than_its_limit() -> None:
    harness = harness_with_node()
    harness.apply(*(make_pod(f"p{n}", {"cpu": "100m"}) for n in range(5)))
    assert harness.machine.ready == 5
    assert len(only(Bind, harness.step(limit=2))) == 2
    assert harness.machine.ready == 3
    assert len(only(Bind, harness.step(limit=9))) == 3
    assert harness.step(limit=9) == []


def test_a_step_of_no_pods_decides_nothing_and_one_of_fewer_is_refused() -> None:
    harness = harness_with_node().apply(make_pod("p", {"cpu": "100m"}))
    assert only(Bind, harness.step(limit=0)) == []
    assert harness.machine.ready == 1
    with pytest.raises(AssertionError, match="a count"):
        harness.machine.step(0, -1)


def test_a_record_reaches_its_sinks_before_its_effect_leaves() -> None:
    harness = harness_with_node()
    seen: list[int] = []

    class Full:
        def append(self, record: Any, data: bytes, digest: bytes) -> None:
            assert canonical(record) == data
            assert harness.used("a"), "its room is held"
            seen.append(record.sequence)
            if len(seen) == 2:
                raise OSError("no space left")

    harness.chain._sinks = (Full(),)
    harness.apply(make_pod("p", {"cpu": "100m"}))
    assert seen == []
    effects = harness.step()
    assert seen == [1]
    assert only(Bind, effects)[0].decision == 1
    harness.apply(make_pod("q", {"cpu": "100m"}))
    with pytest.raises(OSError, match="no space left"):
        harness.step()


def test_a_full_node_turns_a_pod_down_in_kubernetes_words() -> None:
    harness = harness_with_node()
    harness.place(make_pod("p", FULL))
    effects = harness.apply(make_pod("q", {"cpu": "1"})).step()
    text = "0/1 nodes are available: 1 Insufficient cpu."
    assert only(PatchPodStatus, effects) == [
        PatchPodStatus(
            namespace="shop", name="q", uid="uid-q", reason="Unschedulable", message=text
        )
    ]
    event = only(EmitEvent, effects)[0]
    assert (event.type, event.reason, event.note) == ("Warning", "FailedScheduling", text)
    assert last(harness).decided is Decided.UNSCHEDULABLE
    assert harness.state("q") == "unschedulable"


def test_an_empty_cluster_says_so_and_a_node_wakes_its_pods() -> None:
    harness = Harness()
    effects = harness.apply(make_pod("p")).step()
    assert only(PatchPodStatus, effects)[0].message == "no nodes available to schedule pods"
    harness.apply(make_node("a"))
    assert len(only(Bind, harness.step(2 * SECOND))) == 1


def test_what_the_ledger_refuses_is_an_error_and_no_binding() -> None:
    """A policy without NodeResourcesFit lets through what does not fit."""
    harness = harness_with_node(policy=make_policy(["NodeName"]))
    effects = harness.apply(make_pod("p", {"cpu": "100"})).step()
    assert only(Bind, effects) == []
    assert only(PatchPodStatus, effects)[0].reason == "SchedulerError"
    assert last(harness).decided is Decided.ERROR
    assert last(harness).rejections[0].plugin == "Ledger"
    assert harness.counters[signals.RESERVATIONS_REFUSED] == 1
    assert harness.counters[signals.ATTEMPTS_ERROR] == 1
    assert harness.state("p") == "backing_off"
    assert harness.used("a") == 0


def test_a_repeated_verdict_is_a_short_record_and_no_new_condition() -> None:
    harness = harness_with_node()
    pod = make_pod("p", {"cpu": "9"})
    first = harness.apply(pod).step()
    assert len(only(PatchPodStatus, first)) == 1
    for count in (2, 3):
        effects = harness.step(400 * SECOND)
        assert last(harness).repeats == 1
        assert last(harness).repeated == count
        assert last(harness).message == ""
        assert last(harness).rejections == ()
        assert only(PatchPodStatus, effects) == []
        assert len(only(EmitEvent, effects)) == 1, "the event comes each time, as in Kubernetes"
    harness.apply(make_node("b", cpu="1"))
    effects = harness.step(400 * SECOND)
    assert last(harness).repeats == 0
    assert last(harness).message == "0/2 nodes are available: 2 Insufficient cpu."
    assert len(only(PatchPodStatus, effects)) == 1
    harness.step(400 * SECOND)
    assert (last(harness).repeats, last(harness).repeated) == (4, 2)


def test_a_pod_that_comes_anew_is_told_in_full_again() -> None:
    harness = harness_with_node()
    pod = make_pod("p", {"cpu": "9"})
    harness.apply(pod).step()
    harness.delete(pod).apply(pod).step()
    assert last(harness).repeats == 0
    assert last(harness).message != ""


# ---- answers to binds -------------------------------------------------------------------


def test_a_confirmed_bind_is_told_and_the_room_stays_taken() -> None:
    harness = harness_with_node()
    harness.answer(harness.place(make_pod("p", FULL)))
    event = only(EmitEvent, harness.step())[0]
    assert (event.type, event.reason) == ("Normal", "Scheduled")
    assert event.note == "Successfully assigned shop/p to a"
    assert harness.state("p") == "bound"
    assert harness.used("a") == 4000


def test_a_refused_bind_gives_room_back_and_is_tried_after_the_error_backoff() -> None:
    harness = harness_with_node()
    waiting = make_pod("q", FULL)
    bind = harness.place(make_pod("p", FULL))
    harness.apply(waiting).step()
    harness.answer(bind, BindOutcome.REFUSED, "the node is gone")
    assert harness.used("a") == 0
    assert harness.state("p") == "backing_off"
    assert harness.state("q") == "backing_off", "the room that came free wakes it"
    effects = harness.step()
    assert only(PatchPodStatus, effects)[0].reason == "SchedulerError"
    assert only(PatchPodStatus, effects)[0].message == "the node is gone"
    assert [bind.uid for bind in only(Bind, effects)] == ["uid-q"], "only errors wait"
    assert harness.counters[signals.BINDS_REFUSED] == 1


def test_an_unknown_answer_keeps_the_room_until_the_pod_is_seen_there() -> None:
    harness = harness_with_node()
    pod = make_pod("p", FULL)
    harness.answer(harness.place(pod), BindOutcome.UNKNOWN, "timeout")
    assert harness.used("a") == 4000
    assert harness.state("p") == "binding"
    assert harness.counters[signals.BINDS_UNKNOWN] == 1
    harness.apply(make_pod("p", FULL, node="a"))
    assert harness.state("p") == "bound"
    assert harness.used("a") == 4000


def test_answers_for_pods_that_are_gone_or_settled_are_late() -> None:
    harness = harness_with_node()
    pod = make_pod("p", FULL)
    bind = harness.place(pod)
    harness.delete(pod)
    assert harness.used("a") == 0
    for outcome in BindOutcome:
        harness.answer(bind, outcome)
    assert harness.counters[signals.LATE_ANSWERS] == 3
    bind = harness.place(make_pod("q", FULL))
    harness.answer(bind).answer(bind).answer(bind, BindOutcome.REFUSED)
    assert harness.counters[signals.LATE_ANSWERS] == 5
    assert harness.used("a") == 4000
    assert harness.state("q") == "bound"


def test_an_answer_to_an_older_decision_of_the_pod_is_late() -> None:
    harness = harness_with_node()
    first = harness.place(make_pod("p", FULL))
    harness.answer(first, BindOutcome.REFUSED, "conflict")
    second = only(Bind, harness.step(5 * SECOND))[0]
    assert second.decision != first.decision
    harness.answer(first, BindOutcome.REFUSED, "conflict")
    assert harness.counters[signals.LATE_ANSWERS] == 1
    assert harness.state("p") == "binding"
    assert harness.used("a") == 4000
    harness.answer(second)
    assert harness.state("p") == "bound"


def test_an_update_during_a_bind_counts_when_the_bind_is_refused() -> None:
    harness = harness_with_node()
    bind = harness.place(make_pod("p", FULL))
    before = last(harness).pod.digest
    harness.apply(make_pod("p", FULL, labels={"new": "yes"}))
    harness.answer(bind, BindOutcome.REFUSED, "conflict")
    harness.step(5 * SECOND)
    assert last(harness).decided is Decided.PLACE
    assert last(harness).pod.digest != before


def test_the_watch_may_be_faster_than_the_answer() -> None:
    harness = harness_with_node()
    bind = harness.place(make_pod("p", FULL))
    harness.apply(make_pod("p", FULL, node="a"))
    assert harness.state("p") == "bound"
    harness.answer(bind)
    assert harness.counters[signals.LATE_ANSWERS] == 1
    assert harness.used("a") == 4000


# ---- what others do ---------------------------------------------------------------------


def test_a_queued_pod_that_somebody_else_bound_is_counted_where_it_is() -> None:
    harness = harness_with_node().apply(make_node("b"))
    harness.apply(make_pod("p", FULL), make_pod("p", FULL, node="b"))
    assert harness.machine.ready == 0
    assert harness.state("p") == "bound"
    assert (harness.used("a"), harness.used("b")) == (0, 4000)
    assert harness.step() == []


def test_a_reserved_pod_that_somebody_else_bound_elsewhere_moves_there() -> None:
    harness = harness_with_node().apply(make_node("b", labels={"x": ""}))
    bind = harness.place(make_pod("p", FULL))
    other = "b" if bind.node == "a" else "a"
    harness.apply(make_pod("p", FULL, node=other))
    assert harness.used(bind.node) == 0
    assert harness.used(other) == 4000
    harness.answer(bind, BindOutcome.REFUSED, "already bound")
    assert harness.used(other) == 4000
    assert harness.state("p") == "bound"


def test_a_bound_pod_nobody_knew_takes_room_even_beyond_the_node() -> None:
    harness = harness_with_node()
    harness.apply(make_pod("p", {"cpu": "3"}, node="a"), make_pod("q", {"cpu": "3"}, node="a"))
    assert harness.used("a") == 6000
    effects = harness.apply(make_pod("r", {"cpu": "1m"})).step()
    assert only(Bind, effects) == []


def test_pods_of_other_schedulers_are_passed_over_until_they_take_room() -> None:
    harness = harness_with_node(schedulers=frozenset({"herz"}))
    harness.apply(make_pod("p", FULL, scheduler="other"))
    assert harness.machine.ready == 0
    assert len(harness.queue) == 0
    assert harness.counters[signals.EVENTS_IGNORED] == 1
    harness.apply(make_pod("p", FULL, scheduler="other", node="a"))
    assert harness.used("a") == 4000
    harness.apply(make_pod("q", scheduler="herz"))
    assert harness.machine.ready == 1


def test_objects_that_no_rule_reads_are_counted_and_passed_over() -> None:
    harness = Harness()
    harness.machine.apply(ObjectApplied(time_ns=0, object=PriorityClass()))
    assert harness.counters[signals.EVENTS_IGNORED] == 1
    assert harness.counters[signals.EVENTS] == 1


def states() -> dict[str, Any]:
    """A pod in each state in which it may be deleted, by the way it got there."""

    def queued(harness: Harness, pod: Pod) -> None:
        harness.apply(pod)

    def unschedulable(harness: Harness, pod: Pod) -> None:
        harness.apply(make_pod("p", {"cpu": "9"})).step()

    def gated(harness: Harness, pod: Pod) -> None:
        harness.apply(make_pod("p", gates=["g"]))

    def binding(harness: Harness, pod: Pod) -> None:
        harness.place(pod)

    def bound(harness: Harness, pod: Pod) -> None:
        harness.answer(harness.place(pod))

    def backing_off(harness: Harness, pod: Pod) -> None:
        harness.answer(harness.place(pod), BindOutcome.REFUSED)

    return {
        state.__name__: state
        for state in (queued, unschedulable, gated, binding, bound, backing_off)
    }


@pytest.mark.parametrize("state", sorted(states()))
@pytest.mark.parametrize("end", ["deleted", "ended", "failed", "terminating"])
def test_a_pod_that_goes_leaves_nothing_in_any_state(state: str, end: str) -> None:
    harness = harness_with_node()
    empty = harness.snapshot.digest(b"")
    pod = make_pod("p", FULL)
    states()[state](harness, pod)
    assert harness.state("p") == state
    assert harness.snapshot.digest(b"") != empty
    is_bound = state == "bound"
    match end:
        case "deleted":
            harness.delete(pod)
        case "ended":
            harness.apply(make_pod("p", FULL, node="a" if is_bound else "", phase="Succeeded"))
        case "failed":
            harness.apply(make_pod("p", FULL, node="a" if is_bound else "", phase="Failed"))
        case "terminating":
            harness.apply(make_pod("p", FULL, node="a" if is_bound else "", is_terminating=True))
    if end == "terminating" and is_bound:
        assert harness.used("a") == 4000, "it holds its room until it is gone"
        harness.delete(pod)
    assert harness.state("p") == ""
    assert len(harness.queue) == len(harness.cluster.ledger) == 0
    assert harness.used("a") == 0
    assert harness.snapshot.digest(b"") == empty
    assert only(Bind, harness.step(500 * SECOND)) == []


def test_a_pod_that_ends_wakes_those_that_wait_for_its_room() -> None:
    harness = harness_with_node()
    harness.answer(harness.place(make_pod("p", FULL)))
    harness.apply(make_pod("q", FULL)).step()
    harness.apply(make_pod("p", FULL, node="a", phase="Succeeded"))
    assert [bind.uid for bind in only(Bind, harness.step(3 * SECOND))] == ["uid-q"]


def test_a_recreated_pod_is_another_one() -> None:
    harness = harness_with_node()
    old, new = make_pod("p", FULL, uid="old"), make_pod("p", {"cpu": "2"}, uid="new")
    bind = harness.place(old)
    harness.delete(old)
    again = harness.place(new)
    harness.answer(bind, BindOutcome.REFUSED, "uid mismatch")
    assert harness.used("a") == 2000
    harness.answer(again)
    queued = harness.queue.get("new")
    assert queued is not None
    assert queued.state.value == "bound"
    assert harness.queue.get("old") is None


def test_a_node_that_returns_has_its_pods_again() -> None:
    harness = harness_with_node()
    harness.answer(harness.place(make_pod("p", {"cpu": "3"})))
    harness.delete(make_node("a"))
    assert harness.apply(make_pod("q", {"cpu": "2"})).machine.ready == 1
    assert only(Bind, harness.step()) == []
    harness.apply(make_node("other", cpu="0"), make_node("a"))
    assert harness.used("a") == 3000
    assert only(Bind, harness.step(5 * SECOND)) == []
    assert last(harness).message == "0/2 nodes are available: 2 Insufficient cpu."


def test_a_node_that_goes_while_a_bind_is_on_its_way_is_settled_by_the_answer() -> None:
    harness = harness_with_node()
    bind = harness.place(make_pod("p", FULL))
    harness.delete(make_node("a")).answer(bind, BindOutcome.REFUSED, "no such node")
    assert harness.state("p") == "backing_off"
    assert len(harness.cluster.ledger) == 0
    harness.apply(make_node("a"))
    assert harness.used("a") == 0


# ---- time -------------------------------------------------------------------------------


def test_the_machine_asks_to_be_woken_for_the_five_minute_flush_and_honours_it() -> None:
    harness = harness_with_node()
    effects = harness.apply(make_pod("p", {"cpu": "9"})).step()
    wake = only(WakeAt, effects)[0]
    assert wake.time_ns == 300 * SECOND
    assert harness.step(299 * SECOND) == [], "told once, and nothing to do yet"
    assert len(harness.kept.records) == 1
    harness.step(SECOND)
    assert len(harness.kept.records) == 2


def test_the_machine_asks_to_be_woken_for_the_end_of_an_error_backoff() -> None:
    harness = harness_with_node()
    harness.answer(harness.place(make_pod("p")), BindOutcome.REFUSED)
    wake = only(WakeAt, harness.step())[0]
    assert wake.time_ns == 2 * SECOND
    assert only(Bind, harness.step(SECOND)) == []
    assert len(only(Bind, harness.step(SECOND))) == 1


def test_an_update_of_a_waiting_pod_is_judged_anew() -> None:
    harness = harness_with_node()
    harness.apply(make_pod("p", {"cpu": "9"})).step()
    harness.apply(make_pod("p", {"cpu": "1"}))
    assert len(only(Bind, harness.step(3 * SECOND))) == 1


def test_an_event_that_changes_nothing_changes_nothing() -> None:
    harness = harness_with_node()
    node, pod = make_node("a"), make_pod("p", {"cpu": "9"})
    harness.apply(pod).step()
    before = harness.snapshot.digest(b"")
    harness.apply(pod, node)
    assert harness.state("p") == "unschedulable"
    assert harness.snapshot.digest(b"") == before


# ---- the snapshot in the record ---------------------------------------------------------


def test_a_record_names_the_snapshot_that_it_was_decided_on() -> None:
    harness = harness_with_node().apply(make_pod("p"))
    expected = SnapshotDigest()
    for part, elements in _parts(harness).items():
        for element in elements:
            expected.add(part, element)
    order = harness.queue.digest.to_bytes(16, "big")
    # The step pops before it looks, so the order is that of the pods still waiting.
    harness.step()
    assert last(harness).snapshot != expected.digest(order).hex()
    assert last(harness).snapshot == expected.digest((0).to_bytes(16, "big")).hex()


def _parts(harness: Harness) -> dict[str, list[bytes]]:
    from herz.place.snapshot import node_element

    nodes = [node_element(node) for node in harness.cluster.nodes.nodes if node is not None]
    queue: list[Any] = [queued.item for queued in harness.queue]
    return {"nodes": nodes, "queue": [item.digest for item in queue]}


def test_decisions_of_one_step_share_a_snapshot_and_the_next_step_has_another() -> None:
    harness = harness_with_node()
    harness.apply(*(make_pod(f"p{n}") for n in range(4)))
    harness.step(limit=2)
    harness.step(limit=2)
    snapshots = [record.snapshot for record in harness.kept.records]
    assert snapshots[0] == snapshots[1]
    assert snapshots[2] == snapshots[3]
    assert snapshots[0] != snapshots[2]


# ---- limits of numbers ------------------------------------------------------------------


HUGE = {"memory": "9223372036854775807", "example.com/x": "9223372036854775807"}


@pytest.mark.parametrize("count", [1, 3])
def test_foreign_pods_of_absurd_size_stop_nothing(count: int) -> None:
    """The API lets a pod ask for 2^63-1 of anything; somebody may have put it on a node."""
    harness = harness_with_node()
    for number in range(count):
        harness.apply(make_pod(f"huge-{number}", HUGE, node="a"))
    pods = [make_pod("p", {"cpu": "100m", "memory": "1Mi"}), make_pod("q", {"cpu": "100m"})]
    harness.apply(*pods).step()
    assert harness.state("p") == "unschedulable"
    assert harness.kept.records[0].message == "0/1 nodes are available: 1 Insufficient memory."
    assert harness.state("q") == "binding", "it asks for nothing that is taken"
    for number in range(count):
        harness.delete(make_pod(f"huge-{number}"))
    assert harness.used("a", "memory") == 0
    assert len(only(Bind, harness.step(5 * SECOND))) == 1


def test_late_answers_for_unknown_pods_are_counted() -> None:
    harness = Harness()
    harness.machine.apply(
        BindFinished(time_ns=0, uid="nobody", decision=3, outcome=BindOutcome.BOUND)
    )
    assert harness.counters[signals.LATE_ANSWERS] == 1


def test_policies_may_park_a_pod_and_its_condition_says_so() -> None:
    from herz.config import BackoffPolicy, QueuePolicy

    queue = QueuePolicy(backoff=BackoffPolicy(retries_max=0))
    harness = Harness(make_policy(queue=queue)).apply(make_node("a"))
    effects = harness.apply(make_pod("p", {"cpu": "9"})).step()
    assert harness.state("p") == "parked"
    assert "limit is 0 retries" in only(PatchPodStatus, effects)[0].message
    assert only(Bind, harness.step(900 * SECOND)) == []
    harness.apply(make_pod("p", {"cpu": "1"}))
    assert len(only(Bind, harness.step())) == 1


def test_the_details_of_an_order_stand_in_the_first_record_of_its_batch_only() -> None:
    harness = harness_with_node()
    harness.apply(
        make_pod("a", annotations={"herz.dev/after": "b"}),
        make_pod("b", annotations={"herz.dev/after": "a=0.5"}),
        make_pod("c"),
    )
    harness.step()
    orders = [record.order for record in harness.kept.records]
    assert {order.batch for order in orders} == {1}
    assert [bool(order.dropped or order.broken or order.cycles) for order in orders] == [
        True,
        False,
        False,
    ]
    assert {record.pod.name for record in harness.kept.records} == {"a", "b", "c"}


def test_a_late_copy_from_before_the_bind_changes_nothing() -> None:
    harness = Harness().apply(make_node("a"))
    harness.apply(make_pod("p", node="a", annotations={"herz.dev/decision": "1"}))
    before = harness.snapshot.digest(b"")
    harness.apply(make_pod("p"))
    assert harness.snapshot.digest(b"") == before
    assert harness.state("p") == "bound"
    assert harness.delete(make_pod("p")).snapshot.digest(b"") != before
    assert len(harness.cluster.ledger) == 0


def test_rules_are_counted_where_they_had_a_say() -> None:
    harness = Harness().apply(make_node("a"), make_node("b"))
    harness.apply(make_pod("p", {"cpu": "1"}), make_pod("q", {"cpu": "1"})).step()
    found = harness.machine.evaluations
    profile = harness.kept.records[-1].policy.name
    assert found["NodeResourcesFit", "Filter", profile] == 2
    assert found["NodeResourcesBalancedAllocation", "Score", profile] == 2
    assert ("NodePorts", "Filter", profile) not in found, "it had nothing to say"
    harness.apply(make_pod("big", {"cpu": "9000"})).step()
    found = harness.machine.evaluations
    assert found["NodeResourcesFit", "Filter", profile] == 3
    assert found["NodeResourcesBalancedAllocation", "Score", profile] == 2, "nothing was scored"
