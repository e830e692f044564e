"""Several profiles in one machine: each pod is decided by that of its scheduler name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from herz.config import Policies, Policy, Profile, QueuePolicy, StarvationPolicy
from herz.intake.queue.hints import Hints as Asked
from herz.intake.queue.hints import Outcome
from herz.intake.queue.item import QueuedPod
from herz.model.decode import convert
from herz.model.effects import Bind, DeletePod, Evict, Nominate, PatchPodStatus
from herz.model.objects import Node, Pod, PodDisruptionBudget, PodGroup
from herz.model.record import Decided
from herz.place.gang import RULE
from herz.plugin import Change, EventKind, Hint, Hints, ReasonBook
from herz.profiles import Built, all_hint_rules, schedulers
from tests.support.machine import KUBERNETES, SECOND, Harness, World, make_policy, only
from tests.support.objects import make_node, make_pod
from tests.support.storage import LOCAL, make_claim, make_class, make_volume, using

FIT = ("SchedulingGates", "Understood", "NodeName", "NodeResourcesFit", "GangScheduling")
Args = Mapping[str, Mapping[str, Any]]


def policy(name: str, rules: Sequence[str] = FIT, args: Args | None = None, **more: Any) -> Policy:
    return replace(make_policy(rules, args, **more), name=name)


def together(*policies: Policy) -> Policies:
    return Policies.of([Profile(each.name, each) for each in policies])


def strategy(kind: str) -> Args:
    return {"NodeResourcesFit": {"scoringStrategy": {"type": kind}}}


PACK = policy("pack", args=strategy("MostAllocated"), ties="name")
SPREAD = policy("spread", args=strategy("LeastAllocated"), ties="name")


def pods_of(scheduler: str, count: int = 4) -> list[Pod]:
    return [
        make_pod(f"{scheduler}-{n}", {"cpu": "1", "memory": "1Gi"}, scheduler=scheduler)
        for n in range(count)
    ]


def pool(name: str) -> list[Node]:
    """Four nodes that only pods which select the pool may use."""
    return [make_node(f"{name}-{n}", labels={"pool": name}) for n in range(4)]


def places(harness: Harness, after: int = 0) -> dict[str, str]:
    """Nodes by the names of the pods that the next step places, in its order."""
    return {bind.name: bind.node for bind in only(Bind, harness.step(after=after))}


# ---- who decides ------------------------------------------------------------------------


@pytest.mark.parametrize("own", [PACK, SPREAD], ids=["pack", "spread"])
def test_each_pod_is_placed_as_its_profile_alone_would(own: Policy) -> None:
    alone = places(Harness(own).apply(*pool("a"), *pods_of(own.name)))
    assert len(set(alone.values())) == (1 if own is PACK else 4)
    whole = Harness(together(PACK, SPREAD)).apply(*pool("a"), *pods_of(own.name))
    assert places(whole) == alone


def test_pods_of_both_profiles_share_one_queue_and_one_cluster() -> None:
    harness = Harness(together(PACK, SPREAD)).apply(*(make_node(n, cpu="8") for n in "abcd"))
    mixed = [pod for pair in zip(pods_of("pack"), pods_of("spread"), strict=True) for pod in pair]
    found = places(harness.apply(*mixed))
    assert list(found) == [pod.metadata.name for pod in mixed]
    # The first spread pod goes where nothing is, the packed ones stay together.
    assert {found[f"pack-{n}"] for n in range(4)} == {"a"}
    assert [found[f"spread-{n}"] for n in range(3)] == ["b", "c", "d"]
    assert harness.used("a") >= 4000


def test_a_pod_whose_scheduler_has_no_profile_is_not_ours() -> None:
    harness = Harness(together(PACK, SPREAD)).apply(make_node("a", cpu="2"))
    harness.apply(make_pod("alien", {"cpu": "1"}, scheduler="other"), make_pod("unnamed"))
    assert only(Bind, harness.step()) == []
    assert harness.kept.records == []
    # On a node it takes room like any other.
    harness.apply(make_pod("alien", {"cpu": "1"}, scheduler="other", node="a"))
    assert harness.used("a") == 1000
    big = make_pod("big", {"cpu": "2"}, scheduler="pack")
    assert only(Bind, harness.apply(big).step()) == []
    harness.delete(make_pod("alien", {"cpu": "1"}, scheduler="other", node="a"))
    assert [bind.name for bind in only(Bind, harness.step(after=20 * SECOND))] == ["big"]


def test_a_record_names_the_profile_under_the_digest_of_all() -> None:
    policies = together(PACK, SPREAD)
    harness = Harness(policies).apply(*pool("a"), *pods_of("pack", 1), *pods_of("spread", 1))
    harness.step()
    named = [(record.policy.name, record.policy.digest) for record in harness.kept.records]
    assert named == [("pack", policies.digest), ("spread", policies.digest)]
    assert policies.digest not in (PACK.digest, SPREAD.digest)


def test_the_order_of_the_profiles_decides_nothing() -> None:
    lines = []
    for given in ((PACK, SPREAD), (SPREAD, PACK), (PACK, SPREAD)):
        harness = Harness(together(*given)).apply(*pool("a"))
        harness.apply(*pods_of("spread"), *pods_of("pack")).step()
        lines.append(harness.kept.lines)
    assert len(lines[0]) == 8
    assert lines[0] == lines[1] == lines[2]


def test_the_digest_follows_every_profile() -> None:
    whole = together(PACK, SPREAD)
    assert whole.digest == together(SPREAD, PACK).digest
    assert whole.name == "pack+spread"
    assert whole.version == "1"
    other = replace(SPREAD, version="2")
    assert together(PACK, other).version == ""
    renamed = Policies.of([Profile("pack", PACK), Profile("apart", SPREAD)])
    assert len({whole.digest, together(PACK, other).digest, renamed.digest}) == 3


def test_another_name_stands_for_a_profile_unless_one_has_it() -> None:
    made = [_built("default-scheduler"), _built("other")]
    assert schedulers(made, {"herz": "default-scheduler"}) == {
        "herz": 0,
        "default-scheduler": 0,
        "other": 1,
    }
    made = [_built("default-scheduler"), _built("herz")]
    assert schedulers(made, {"herz": "default-scheduler"}) == {"default-scheduler": 0, "herz": 1}
    assert schedulers(made[:1], {"herz": "default-scheduler"}) is None


def _built(name: str) -> Built:
    return Built(name, PACK, (), ReasonBook())


# ---- rules of the pod's own profile --------------------------------------------------------


def test_gates_are_those_of_the_pods_profile() -> None:
    open_ = policy("open", FIT[1:])
    harness = Harness(together(open_, PACK)).apply(make_node("a"))
    for name in ("open", "pack"):
        harness.apply(make_pod(name, scheduler=name, gates=("later",)))
    assert list(places(harness)) == ["open"]
    assert harness.state("pack") == "gated"


def test_a_resource_is_ignored_for_pods_of_the_profile_that_ignores_it() -> None:
    args = {"NodeResourcesFit": {"ignoredResources": ["example.com/x"]}}
    harness = Harness(together(policy("lax", args=args), policy("strict")))
    harness.apply(make_node("a", cpu="2"))
    for name in ("lax", "strict"):
        harness.apply(make_pod(name, {"cpu": "1", "example.com/x": "1"}, scheduler=name))
    assert list(places(harness)) == ["lax"]
    assert "Insufficient example.com/x" in harness.kept.records[-1].message


def test_what_is_ignored_keeps_no_pod_asleep() -> None:
    args = {"NodeResourcesFit": {"ignoredResources": ["example.com/x"]}}
    for whole in (policy("lax", args=args), together(policy("lax", args=args), PACK)):
        harness = Harness(whole).apply(make_node("a", cpu="1"))
        full = make_pod("full", {"cpu": "1"}, node="a")
        harness.apply(full)
        harness.apply(make_pod("p", {"cpu": "1", "example.com/x": "1"}, scheduler="lax")).step()
        assert harness.state("p") == "unschedulable"
        harness.delete(full)
        assert list(places(harness, 20 * SECOND)) == ["p"]


def affine(name: str, pool_name: str, rules: Sequence[str] = (), **more: Any) -> Policy:
    """A policy that lets its pods to the nodes of one pool only."""
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": [pool_name]}]}]
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    args = {"NodeAffinity": {"addedAffinity": added}}
    return policy(name, (*FIT, "NodeAffinity", *rules), args, **more)


A_AND_B = together(affine("for-a", "a"), affine("for-b", "b"))


def one_each(**more: Any) -> list[Node]:
    return [make_node(name, labels={"pool": name}, **more) for name in "ab"]


def test_one_rule_has_other_arguments_in_each_profile() -> None:
    harness = Harness(A_AND_B).apply(*one_each())
    for name in ("for-a", "for-b"):
        harness.apply(make_pod(name, scheduler=name))
    assert places(harness) == {"for-a": "a", "for-b": "b"}


def test_room_wakes_the_pods_whose_profile_lets_them_there() -> None:
    """Both pods are alike but for their scheduler name: the answer for one is not the other's."""
    harness = Harness(A_AND_B).apply(*one_each(cpu="2"))
    fillers = {n: make_pod(f"fill-{n}", {"cpu": "2"}, node=n) for n in "ab"}
    harness.apply(*fillers.values())
    for name in ("for-a", "for-b"):
        harness.apply(make_pod(name, {"cpu": "1"}, scheduler=name))
    harness.step()
    assert {harness.state(name) for name in ("for-a", "for-b")} == {"unschedulable"}
    harness.delete(fillers["b"])
    assert harness.state("for-a") == "unschedulable"
    assert places(harness, 20 * SECOND) == {"for-b": "b"}
    harness.delete(fillers["a"])
    assert places(harness, 20 * SECOND) == {"for-a": "a"}


# ---- hints ------------------------------------------------------------------------------


class Told(Hints):
    """Rejects nothing; wants to hear of what a test says."""

    name: ClassVar[str] = "Told"

    def __init__(self, hints: Mapping[EventKind, Hint | None]) -> None:
        self._hints = hints

    def hints(self) -> Mapping[EventKind, Hint | None]:
        return self._hints


class Untold:
    """The same without hints: every event counts."""

    name: ClassVar[str] = "Told"


def _yes(_pod: object, _change: object) -> bool:
    return True


def _no(_pod: object, _change: object) -> bool:
    return False


def outcomes(kind: EventKind, *rules: Any) -> list[bool]:
    """By profile, whether an event wakes a pod that the rule of its profile rejected."""
    asked = Asked(all_hint_rules([[(rule, 1)] if rule else [] for rule in rules]))
    found = []
    info = World(PACK).read(make_pod("p"))
    for index in range(len(rules)):
        pod = QueuedPod(replace(info, profile=index))
        pod.rejected_by = ("Told",)
        outcome = Outcome.STAY
        if asked.concerns(pod.rejected_by, (), kind):
            outcome = asked.outcome(pod, Change(kind))
        found.append(outcome is not Outcome.STAY)
    return found


def test_an_event_is_asked_about_by_the_rules_of_the_pods_profile() -> None:
    add, delete = EventKind.NODE_ADD, EventKind.NODE_DELETE
    rules = (Told({add: _yes}), Told({add: _no}), Told({add: None}), Told({delete: _yes}))
    assert outcomes(add, *rules) == [True, False, True, False]
    assert outcomes(delete, *rules) == [False, False, False, True]
    assert outcomes(EventKind.OBJECT_ADD, *rules) == [False] * 4


def test_where_a_profile_has_no_hints_every_event_wakes_its_pods_and_no_others() -> None:
    add, delete = EventKind.NODE_ADD, EventKind.NODE_DELETE
    rules = (Told({add: _yes}), Untold(), Told({}), None)
    assert outcomes(add, *rules) == [True, True, True, True]
    assert outcomes(delete, *rules) == [False, True, True, True]
    assert outcomes(delete, Untold(), Untold()) == [True, True]


# ---- gangs ------------------------------------------------------------------------------


def group(count: int) -> PodGroup:
    content = {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "metadata": {"name": "g", "namespace": "shop"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": count}}},
    }
    return convert(PodGroup, content)


def member(number: int, scheduler: str) -> Pod:
    spec = {"schedulingGroup": {"podGroupName": "g"}}
    return make_pod(f"g-{number}", {"cpu": "1"}, scheduler=scheduler, spec=spec)


def test_a_gang_is_placed_by_its_profile() -> None:
    for name, count in (("pack", 1), ("spread", 3)):
        harness = Harness(together(PACK, SPREAD)).apply(*pool("a"), group(3))
        found = places(harness.apply(*(member(number, name) for number in range(3))))
        assert len(found) == 3
        assert len(set(found.values())) == count


def test_a_gang_of_two_profiles_is_refused_aloud_until_it_is_of_one() -> None:
    """kube-scheduler's frameworkForPodGroup: an error, retried with the back-off of errors."""
    harness = Harness(together(PACK, SPREAD)).apply(*pool("a"), group(2))
    odd = member(3, "spread")
    effects = harness.apply(member(1, "pack"), member(2, "pack"), odd).step()
    assert only(Bind, effects) == []
    conditions = only(PatchPodStatus, effects)
    assert {condition.reason for condition in conditions} == {"SchedulerError"}
    (message,) = {condition.message for condition in conditions}
    assert message.endswith(
        "all pods in a single pod group should have the same .spec.schedulerName set, "
        'got: "pack" and "spread".'
    )
    assert {record.decided for record in harness.kept.records} == {Decided.ERROR}
    assert harness.kept.records[0].rejections[0].plugin == RULE
    assert harness.used("a-0") == 0
    harness.delete(odd)
    assert sorted(places(harness, 20 * SECOND)) == ["g-1", "g-2"]


def test_members_that_run_already_may_be_anybodys() -> None:
    harness = Harness(together(PACK, SPREAD)).apply(*pool("a"), group(2))
    spec = {"schedulingGroup": {"podGroupName": "g"}, "nodeName": "a-0"}
    harness.apply(make_pod("g-0", {"cpu": "1"}, scheduler="spread", spec=spec))
    assert list(places(harness.apply(member(1, "pack")))) == ["g-1"]


# ---- preemption, nominations, starvation ---------------------------------------------------


def evicting(name: str, **args: Any) -> Policy:
    return policy(name, (*FIT, "DefaultPreemption"), {"DefaultPreemption": args})


def test_a_pod_preempts_by_its_own_profile_whosever_the_victims_are() -> None:
    harness = Harness(together(evicting("strong"), policy("weak"))).apply(make_node("a", cpu="1"))
    for name in ("weak", "strong", "other"):
        old = make_pod("old", {"cpu": "1"}, scheduler=name, node="a", priority=0)
        harness.apply(old)
        harness.apply(make_pod("w", {"cpu": "1"}, scheduler="weak", priority=9))
        assert only(DeletePod, harness.step(after=20 * SECOND)) == []
        harness.apply(make_pod("s", {"cpu": "1"}, scheduler="strong", priority=9))
        effects = harness.step(after=20 * SECOND)
        assert [effect.name for effect in only(DeletePod, effects)] == ["old"]
        assert "strong: preempting" in only(DeletePod, effects)[0].message
        for gone in ("w", "s"):
            harness.delete(make_pod(gone))
        harness.delete(old)


def test_budgets_are_limits_for_the_profile_that_says_so() -> None:
    content = {
        "metadata": {"name": "keep", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}},
        "status": {"disruptionsAllowed": 0},
    }
    budget = convert(PodDisruptionBudget, content)
    policies = together(evicting("hard", budgets="hard"), evicting("soft"))
    harness = Harness(policies).apply(make_node("a", cpu="1"), budget)
    harness.apply(make_pod("db", {"cpu": "1"}, node="a", labels={"app": "db"}, priority=0))
    harness.apply(make_pod("h", {"cpu": "1"}, scheduler="hard", priority=9))
    effects = harness.step()
    assert only(Evict, effects) == []
    assert only(DeletePod, effects) == []
    effects = harness.apply(make_pod("s", {"cpu": "1"}, scheduler="soft", priority=9)).step()
    assert [effect.name for effect in only(DeletePod, effects)] == ["db"]


def test_a_victim_must_fit_elsewhere_by_its_own_profile() -> None:
    """A pod that only pool a takes has nowhere else to go, whatever the preemptor's rules say."""
    rules = ("DefaultPreemption",)
    mover = affine("mover", "a", rules)
    args = {"DefaultPreemption": {"victimsMustFitElsewhere": True}}
    strong = policy("strong", (*FIT, *rules), args)
    for bound_to, count in (("mover", 0), ("strong", 1)):
        harness = Harness(together(mover, strong)).apply(*one_each(cpu="2"))
        harness.apply(make_pod("b", {"cpu": "1"}, node="b", priority=99))
        old = make_pod("old", {"cpu": "1"}, scheduler=bound_to, node="a", priority=0)
        harness.apply(old, make_pod("two", {"cpu": "2"}, scheduler="strong", priority=9))
        assert len(only(DeletePod, harness.step())) == count


def test_room_nominated_to_one_profiles_pod_is_left_by_the_others() -> None:
    harness = Harness(together(evicting("strong"), SPREAD)).apply(make_node("a", cpu="2"))
    old = make_pod("old", {"cpu": "2"}, node="a", priority=0)
    harness.apply(old, make_pod("s", {"cpu": "2"}, scheduler="strong", priority=9))
    assert [effect.node for effect in only(Nominate, harness.step())] == ["a"]
    harness.delete(old)
    harness.apply(make_pod("low", {"cpu": "1"}, scheduler="spread", priority=1))
    found = places(harness) | places(harness, 20 * SECOND)
    assert found == {"s": "a"}


def test_room_is_kept_where_the_pods_own_profile_lets_it() -> None:
    queue = QueuePolicy(starvation=StarvationPolicy(after_seconds=60))
    policies = together(affine("for-a", "a", queue=queue), affine("for-b", "b", queue=queue))
    harness = Harness(policies).apply(*one_each(cpu="2"))
    harness.apply(*(make_pod(f"fill-{n}", {"cpu": "1"}, node=n, priority=0) for n in "ab"))
    harness.apply(make_pod("big", {"cpu": "2"}, scheduler="for-b", priority=0))
    for _ in range(4):
        harness.step(after=30 * SECOND)
    assert harness.cluster.nominations.node_of("uid-big") == "b"
    assert harness.kept.records[-1].marks == ("reserved:b",)


# ---- volumes ----------------------------------------------------------------------------


def test_each_profile_has_its_own_time_for_volumes() -> None:
    policies = together(
        policy("careless"),
        *(
            policy(name, KUBERNETES, {"VolumeBinding": {"bindTimeoutSeconds": seconds}})
            for name, seconds in (("patient", 100), ("quick", 10))
        ),
    )
    harness = Harness(policies).apply(make_node("a", labels={"zone": "a"}))
    harness.apply(make_class(LOCAL, "kubernetes.io/no-provisioner"))
    for name in ("patient", "quick"):
        harness.apply(make_claim(name, LOCAL), make_volume(f"pv-{name}"))
        harness.apply(using(name, name, scheduler=name))
        harness.step()
    assert {harness.state(name) for name in ("patient", "quick")} == {"waiting"}
    harness.step(after=11 * SECOND)
    assert [harness.state(name) for name in ("patient", "quick")] == ["waiting", "backing_off"]
    harness.step(after=90 * SECOND)
    assert harness.state("patient") == "backing_off"
