"""Rules that Kubernetes does not have prefer, or refuse until a limit; nobody dies for them."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
import pytest

from herz import signals
from herz.config import RuleTerms
from herz.config.policy import QueuePolicy, StarvationPolicy
from herz.intake.queue.lifecycle import State
from herz.model.decode import convert
from herz.model.effects import Bind, DeletePod, Nominate, PatchPodStatus, WakeAt
from herz.model.objects import Pod, PodGroup
from herz.model.outcomes import BindOutcome
from herz.model.podinfo import PodInfo
from herz.model.record import Decided
from herz.place.outcome import NoFit
from herz.plugin import SKIP, Filter, Kind, Mode, Narrowed, Reads, ReasonBook, Rows, Verdict, View
from tests.support.machine import KUBERNETES, SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod

PREFER = RuleTerms(Mode.PREFER)
NEVER = RuleTerms(Mode.REFUSE)
SPOT = {"spot": "true"}
REASON = "node(s) were spot nodes"


def refuse(seconds: int) -> RuleTerms:
    return RuleTerms(Mode.REFUSE, seconds * SECOND)


class Away(Filter):
    """Pods with `tier: batch` stay away from spot nodes."""

    name: ClassVar[str] = "Away"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING
    label: ClassVar[str] = "spot"

    code: int

    def enter(self, book: ReasonBook) -> None:
        """Its reason gets a code."""
        self.code = book.code(Kind.NEVER_FITS, self.name, (REASON,))

    def sign(self, pod: Any) -> object:
        return pod.pod.metadata.labels.get("tier", "")

    def prepare(self, pod: Any, view: View) -> Any:
        return None if self.sign(pod) == "batch" else SKIP

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        there = view.labels(self.label)[rows] == view.label_id("true")
        return np.where(there, self.code, 0).astype(np.int16)


class Old(Away):
    """The same of old nodes."""

    name: ClassVar[str] = "Old"
    label: ClassVar[str] = "old"


class Nowhere(Away):
    """Rejects such pods before any node is looked at."""

    def prepare(self, pod: Any, view: View) -> Any:
        return SKIP if super().prepare(pod, view) is SKIP else self.answer()

    def answer(self) -> Any:
        return Verdict(Kind.UNFIT, self.name, (REASON,))


class Later(Nowhere):
    """Asks to wait."""

    def answer(self) -> Any:
        return Verdict(Kind.WAIT, self.name, (REASON,))


class Only(Nowhere):
    """Narrows such pods to one node."""

    def answer(self) -> Any:
        return Narrowed(("good",), None)


class Broken(Nowhere):
    """Fails."""

    def answer(self) -> Any:
        raise ZeroDivisionError("oh no")


def machine(
    terms: RuleTerms | None,
    *nodes: Any,
    rules: tuple[type[Away], ...] = (Away,),
    names: tuple[str, ...] = KUBERNETES,
    **more: RuleTerms,
) -> Harness:
    """A machine with the rules after Kubernetes', and what they are to do."""
    given = {} if terms is None else {"Away": terms}
    made = [rule() for rule in rules]
    harness = Harness(make_policy(names), [(rule, 1) for rule in made], terms={**given, **more})
    for rule in made:
        rule.enter(harness.framework.book)
    return harness.apply(*nodes)


def batch(name: str, cpu: str = "1", **more: Any) -> Pod:
    return make_pod(name, {"cpu": cpu}, labels={"tier": "batch"}, **more)


def placed(effects: list[Any]) -> dict[str, str]:
    return {bind.name: bind.node for bind in only(Bind, effects)}


def marks(harness: Harness, name: str) -> tuple[str, ...]:
    """Those of the record that placed the pod."""
    (found,) = (
        record.marks
        for record in harness.kept.records
        if record.pod.name == name and record.decided is Decided.PLACE
    )
    return found


def text(effects: list[Any]) -> str:
    (patch,) = only(PatchPodStatus, effects)
    assert patch.reason == "Unschedulable"
    return patch.message


def gave_way(harness: Harness, mark: str) -> int:
    return harness.counters[signals.GAVE_WAY.format(mark=mark)]


good, bad = make_node("good"), make_node("bad", labels=SPOT)
small = make_node("good", cpu="1")


# ---- prefer ---------------------------------------------------------------------------------


def test_a_preferring_rule_costs_a_node_only_while_another_fits() -> None:
    harness = machine(PREFER, small, bad)
    assert placed(harness.apply(batch("one")).step()) == {"one": "good"}
    assert marks(harness, "one") == ()
    assert placed(harness.apply(batch("two")).step()) == {"two": "bad"}
    assert marks(harness, "two") == ("preferred-against:Away",)
    assert gave_way(harness, "preferred-against:Away") == 1
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 0


def test_the_record_has_both_answers() -> None:
    harness = machine(PREFER, small, bad)
    harness.apply(batch("two", "2")).step()
    stages = [(stage.stage, stage.out) for stage in harness.kept.records[-1].path]
    assert stages == [("filter", 0), ("filter:relaxed", 1), ("score", 1)]
    assert dict(harness.kept.records[-1].path[0].reasons) == {REASON: 1, "Insufficient cpu": 1}


@pytest.mark.parametrize("rule", [Nowhere, Later, Only])
def test_every_way_to_refuse_gives_way(rule: type[Away]) -> None:
    harness = machine(PREFER, bad, rules=(rule,))
    assert placed(harness.apply(batch("one")).step()) == {"one": "bad"}
    assert marks(harness, "one") == ("preferred-against:Away",)


def test_a_rule_that_fails_does_not_give_way() -> None:
    harness = machine(PREFER, bad, rules=(Broken,))
    (patch,) = only(PatchPodStatus, harness.apply(batch("one")).step())
    assert patch.reason == "SchedulerError"


def test_a_rule_that_fails_when_another_gave_way_fails_the_attempt() -> None:
    class Fails(Broken):
        name: ClassVar[str] = "Old"

    harness = machine(PREFER, bad, rules=(Nowhere, Fails), Old=NEVER)
    (patch,) = only(PatchPodStatus, harness.apply(batch("one")).step())
    assert patch.reason == "SchedulerError"
    assert "Old: ZeroDivisionError" in patch.message


def test_only_the_rule_that_refused_the_node_is_marked() -> None:
    old = make_node("old", labels={"old": "true"})
    harness = machine(PREFER, old, rules=(Away, Old), Old=PREFER)
    harness.apply(batch("one")).step()
    assert marks(harness, "one") == ("preferred-against:Old",)
    both = make_node("both", labels={"old": "true", **SPOT})
    harness = machine(PREFER, both, rules=(Away, Old), Old=PREFER)
    harness.apply(batch("one")).step()
    assert marks(harness, "one") == ("preferred-against:Away", "preferred-against:Old")


def test_a_pod_that_no_rule_lets_through_is_told_kubernetes_words() -> None:
    harness = machine(PREFER, small, bad)
    message = text(harness.apply(batch("huge", "9")).step())
    assert message == "0/2 nodes are available: 2 Insufficient cpu."
    assert harness.kept.records[-1].rejections[0].plugin == "NodeResourcesFit"


def test_room_on_a_node_that_a_rule_would_rather_not_have_wakes_the_pod() -> None:
    filler = make_pod("filler", {"cpu": "4"}, node="bad")
    harness = machine(PREFER, bad, filler)
    assert placed(harness.apply(batch("one")).step()) == {}
    assert placed(harness.delete(filler).step(11 * SECOND)) == {"one": "bad"}


def test_rules_without_terms_refuse_as_ever() -> None:
    harness = machine(None, bad)
    message = text(harness.apply(batch("one")).step())
    assert message == f"0/1 nodes are available: 1 {REASON}."
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 1
    assert placed(harness.step(1000 * SECOND)) == {}


# ---- refuse, until a limit ------------------------------------------------------------------


def test_a_refusing_rule_is_named_and_counted_once_a_pod() -> None:
    harness = machine(refuse(60), bad)
    message = text(harness.apply(batch("one")).step())
    assert message == (
        f"0/1 nodes are available: 1 {REASON}. Refused by Away alone, for 60 s at most."
    )
    harness.apply(make_node("bad", labels={**SPOT, "x": "y"})).step(11 * SECOND)
    assert harness.kept.records[-1].repeats == 1, "the words stay the same"
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 1
    harness.apply(batch("two")).step()
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 2


def test_it_is_alone_to_blame_although_other_nodes_are_refused_by_kubernetes() -> None:
    tainted = make_node("tainted", taints=[("a", "b", "NoSchedule")])
    harness = machine(refuse(60), bad, tainted)
    assert "Refused by Away alone" in text(harness.apply(batch("one")).step())
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 1


def test_it_falls_back_at_the_limit_and_not_before() -> None:
    harness = machine(refuse(60), bad)
    harness.now = 7 * SECOND
    effects = harness.apply(batch("one")).step()
    assert only(WakeAt, effects)[-1].time_ns == 67 * SECOND
    assert placed(harness.step(60 * SECOND - 1)) == {}
    assert placed(harness.step(1)) == {"one": "bad"}
    assert marks(harness, "one") == ("fell-back:Away",)
    assert gave_way(harness, "fell-back:Away") == 1


def test_the_limit_runs_from_the_first_refusal() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    for number in range(4):
        harness.apply(make_node("bad", labels={**SPOT, "n": str(number)}))
        assert placed(harness.step(12 * SECOND)) == {}
    assert placed(harness.step(12 * SECOND)) == {"one": "bad"}


def test_a_pod_that_fell_back_still_takes_a_better_node() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    harness.now += 60 * SECOND
    assert placed(harness.apply(good).step()) == {"one": "good"}
    assert marks(harness, "one") == ()


def test_a_refused_bind_does_not_start_the_limit_anew() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    (bind,) = only(Bind, harness.step(60 * SECOND))
    harness.answer(bind, BindOutcome.REFUSED, "conflict")
    assert placed(harness.step(2 * SECOND)) == {"one": "bad"}


def test_a_pod_that_is_made_anew_waits_anew() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    harness.now += 50 * SECOND
    harness.delete(batch("one")).apply(batch("one", uid="another")).step()
    assert placed(harness.step(59 * SECOND)) == {}
    assert placed(harness.step(SECOND)) == {"one": "bad"}


def test_what_changed_of_the_pod_is_not_forgotten_when_it_is_woken() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    harness.apply(batch("one", "2")).step(SECOND)
    assert placed(harness.step(59 * SECOND)) == {"one": "bad"}
    assert harness.used("bad") == 2000


def test_each_rule_has_its_own_limit() -> None:
    both = make_node("both", labels={"old": "true", **SPOT})
    harness = machine(refuse(60), both, rules=(Away, Old), Old=refuse(90))
    message = text(harness.apply(batch("one")).step())
    assert message.endswith("Refused by Away, Old alone, for 90 s at most.")
    message = text(harness.step(60 * SECOND))
    assert message.endswith("Refused by Old alone, for 90 s at most.")
    assert placed(harness.step(30 * SECOND)) == {"one": "both"}
    assert marks(harness, "one") == ("fell-back:Away", "fell-back:Old")


def test_never_is_never() -> None:
    harness = machine(NEVER, bad)
    message = text(harness.apply(batch("one")).step())
    assert message.endswith("Refused by Away alone.")
    for _ in range(20):
        assert placed(harness.step(1000 * SECOND)) == {}


def test_a_machine_that_starts_again_starts_the_limit_again() -> None:
    harness = machine(refuse(60), bad)
    harness.apply(batch("one")).step()
    again = machine(refuse(60), bad)
    again.now = harness.now = 50 * SECOND
    again.apply(batch("one")).step()
    assert placed(again.step(59 * SECOND)) == {}
    assert placed(again.step(SECOND)) == {"one": "bad"}


def test_since_when_a_pod_is_refused_is_in_the_snapshot_until_it_is_gone() -> None:
    def digest(at: int, terms: RuleTerms) -> tuple[bytes, bytes]:
        harness = machine(terms, bad)
        harness.now = at
        harness.apply(batch("one")).step()
        waiting = harness.snapshot.digest(b"")
        harness.delete(batch("one"))
        return waiting, harness.snapshot.digest(b"")

    early, late, never = digest(1, refuse(60)), digest(2, refuse(60)), digest(1, NEVER)
    assert len({early[0], late[0], never[0]}) == 3
    assert len({early[1], late[1], never[1]}) == 1


# ---- preemption -----------------------------------------------------------------------------

PREEMPTING = (*KUBERNETES, "DefaultPreemption")


def full(node: str) -> Pod:
    return make_pod(f"low-{node}", {"cpu": "4"}, node=node, priority=0)


@pytest.mark.parametrize(("terms", "waits"), [(PREFER, 0), (refuse(60), 60)])
def test_nobody_is_preempted_for_a_rule_that_gives_way(terms: RuleTerms, waits: int) -> None:
    harness = machine(terms, good, full("good"), bad, names=PREEMPTING)
    effects = harness.apply(batch("high", priority=9)).step()
    effects += harness.step(waits * SECOND)
    assert placed(effects) == {"high": "bad"}
    assert only(DeletePod, effects) == []
    assert harness.counters[signals.PREEMPTION_ATTEMPTS] <= 1


def test_a_rule_that_never_gives_way_is_one_like_any_other() -> None:
    harness = machine(NEVER, good, full("good"), bad, names=PREEMPTING)
    effects = harness.apply(batch("high", priority=9)).step()
    assert [gone.name for gone in only(DeletePod, effects)] == ["low-good"]


def test_room_is_made_where_no_rule_minds() -> None:
    harness = machine(PREFER, good, full("good"), bad, full("bad"), names=PREEMPTING)
    effects = harness.apply(batch("high", priority=9)).step()
    assert [gone.name for gone in only(DeletePod, effects)] == ["low-good"]


@pytest.mark.parametrize("rule", [Away, Nowhere, Only])
def test_room_is_made_on_a_refused_node_when_no_other_helps(rule: type[Away]) -> None:
    harness = machine(PREFER, bad, full("bad"), names=PREEMPTING, rules=(rule,))
    effects = harness.apply(batch("high", "3", priority=9)).step()
    assert [nomination.node for nomination in only(Nominate, effects)] == ["bad"]
    assert [gone.name for gone in only(DeletePod, effects)] == ["low-bad"]
    # It is asked again while its victim goes, and keeps its nomination.
    effects = harness.apply(make_node("third", cpu="1")).step(11 * SECOND)
    assert only(Nominate, effects) == []
    effects = harness.delete(full("bad")).step(11 * SECOND)
    assert placed(effects) == {"high": "bad"}
    assert marks(harness, "high") == ("preferred-against:Away",)


# ---- gangs ----------------------------------------------------------------------------------


def gang(count: int) -> PodGroup:
    spec = {"schedulingPolicy": {"gang": {"minCount": count}}}
    meta = {"name": "g", "namespace": "shop"}
    api = "scheduling.k8s.io/v1alpha2"
    return convert(PodGroup, {"apiVersion": api, "metadata": meta, "spec": spec})


def member(number: int) -> Pod:
    return batch(f"g{number}", spec={"schedulingGroup": {"podGroupName": "g"}})


def test_the_pods_of_a_gang_take_refused_nodes_one_by_one() -> None:
    harness = machine(PREFER, small, bad, gang(2))
    found = placed(harness.apply(member(0), member(1)).step())
    assert sorted(found.values()) == ["bad", "good"]
    told = {marks(harness, name) for name in found}
    assert told == {(), ("preferred-against:Away",)}


def test_a_rule_falls_back_for_a_whole_gang_at_once() -> None:
    harness = machine(refuse(60), bad, gang(2))
    effects = harness.apply(member(0), member(1)).step()
    messages = {patch.message for patch in only(PatchPodStatus, effects)}
    assert all("Refused by Away alone, for 60 s at most." in message for message in messages)
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 2
    assert placed(harness.step(60 * SECOND - 1)) == {}
    assert placed(harness.step(1)) == {"g0": "bad", "g1": "bad"}
    assert marks(harness, "g0") == marks(harness, "g1") == ("fell-back:Away",)


# ---- room that is kept ----------------------------------------------------------------------


def reserving(**policy: Any) -> Harness:
    """Two nodes, one kept for a pod of priority 5 that waits; the other is full."""
    queue = QueuePolicy(starvation=StarvationPolicy(after_seconds=60, **policy))
    harness = Harness(make_policy(queue=queue))
    for node in ("a", "b"):
        harness.apply(make_node(node), make_pod(f"old-{node}", {"cpu": "4"}, node=node, priority=5))
    harness.apply(make_pod("large", {"cpu": "4"}, priority=5)).step()
    harness.step(60 * SECOND)
    (mark,) = harness.kept.records[-1].marks
    node = mark.removeprefix("reserved:")
    half = make_pod("half", {"cpu": "2"}, node=node, priority=5)
    harness.delete(make_pod(f"old-{node}")).apply(half)
    harness.step()
    return harness


def test_kept_room_refuses_and_says_so() -> None:
    harness = reserving()
    message = text(harness.apply(make_pod("small", {"cpu": "1"}, priority=5)).step())
    assert message.endswith("Refused by Reservations alone.")
    assert harness.counters[signals.REFUSED_BY_OWN_RULES] == 1


def test_kept_room_that_only_prefers_is_taken_when_nothing_else_fits() -> None:
    harness = reserving(mode="Prefer")
    assert placed(harness.apply(make_pod("small", {"cpu": "1"}, priority=5)).step())
    assert marks(harness, "small") == ("preferred-against:Reservations",)
    harness.apply(make_node("c"))
    assert placed(harness.apply(make_pod("next", {"cpu": "1"}, priority=5)).step()) == {"next": "c"}
    assert marks(harness, "next") == ()


def test_kept_room_falls_back_after_its_limit() -> None:
    harness = reserving(fall_back_after_seconds=100)
    harness.apply(make_pod("small", {"cpu": "1"}, priority=5)).step()
    assert placed(harness.step(100 * SECOND - 1)) == {}
    assert "small" in placed(harness.step(1))
    assert marks(harness, "small") == ("fell-back:Reservations",)


def test_room_that_victims_were_ended_for_is_nobody_elses() -> None:
    queue = QueuePolicy(starvation=StarvationPolicy(after_seconds=60, mode="Prefer"))
    harness = Harness(make_policy(PREEMPTING, queue=queue))
    harness.apply(make_node("a"), full("a"), make_pod("large", {"cpu": "4"}, priority=5))
    assert only(Nominate, harness.step())[0].node == "a"
    harness.apply(make_node("a", cpu="4", labels={"x": "y"}))
    harness.apply(make_pod("small", {"cpu": "1"}, priority=5))
    harness.apply(make_pod("low", {"cpu": "1"}, node="a")).delete(full("a"), make_pod("low"))
    assert placed(harness.step(SECOND)).get("small") is None


def test_a_gang_that_is_tried_in_vain_keeps_its_room_as_it_was() -> None:
    terms = StarvationPolicy(after_seconds=60, nodes_percent=100)
    harness = Harness(make_policy(queue=QueuePolicy(starvation=terms)))
    harness.apply(gang(2))
    for node in ("a", "b"):
        harness.apply(make_node(node), make_pod(f"old-{node}", {"cpu": "4"}, node=node))
    spec = {"schedulingGroup": {"podGroupName": "g"}}
    harness.apply(*(make_pod(f"g{number}", {"cpu": "4"}, spec=spec) for number in range(2)))
    harness.step()
    harness.step(60 * SECOND)
    nominations = harness.cluster.nominations
    assert nominations.is_kept("uid-g0")
    assert nominations.is_kept("uid-g1")
    # Half of it fits now, and gives its node back.
    assert placed(harness.delete(make_pod("old-a")).step(11 * SECOND)) == {}
    assert harness.kept.records[-1].message.count("1 fit together") == 1
    assert nominations.is_kept("uid-g0")
    assert nominations.is_kept("uid-g1")


# ---- whatever happens -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_preferring_rule_keeps_nobody_waiting(seed: int) -> None:
    """Whoever waits would wait without the rule, whatever came and went before."""
    chance = random.Random(seed)
    harness = machine(PREFER, rules=(chance.choice([Away, Nowhere, Only]),), names=PREEMPTING)
    there: dict[str, Pod] = {}
    for number in range(120):
        node = f"n{chance.randrange(4)}"
        what = chance.randrange(5)
        if what == 0:
            labels = chance.choice([SPOT, {}])
            harness.apply(make_node(node, cpu=chance.choice("24"), labels=labels))
        elif what == 1 and there:
            harness.delete(there.pop(chance.choice(sorted(there))))
        else:
            pod = batch(f"p{number}", chance.choice("123"), priority=chance.randrange(2))
            there[f"p{number}"] = pod
            harness.apply(pod)
        for effect in harness.step(20 * SECOND):
            if isinstance(effect, Bind):
                harness.answer(effect)
            elif isinstance(effect, DeletePod):
                harness.delete(there.pop(effect.name))
        harness.step(20 * SECOND)
        without = harness.framework.without(
            {"Away"}, harness.cluster.nominations, cache_bytes=1 << 20
        )
        for queued in harness.queue:
            if queued.state is State.UNSCHEDULABLE:
                assert isinstance(queued.item, PodInfo)
                assert isinstance(without.decide(queued.item), NoFit), queued.item.key


def test_the_same_events_give_the_same_records() -> None:
    def run() -> list[bytes]:
        harness = machine(refuse(60), small, bad, rules=(Away, Old), Old=PREFER)
        for number in range(8):
            harness.apply(batch(f"p{number}")).step(10 * SECOND)
        harness.step(200 * SECOND)
        return harness.kept.digests

    assert run() == run()
