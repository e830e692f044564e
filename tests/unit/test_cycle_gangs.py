"""Gangs: enough pods of a group are placed together, or none holds anything."""

from __future__ import annotations

from typing import Any

import pytest

from herz.model.decode import convert
from herz.model.effects import Bind, EmitEvent, PatchPodStatus
from herz.model.objects import COSCHEDULING_GROUP_LABEL, Pod, PodGroup
from herz.model.outcomes import BindOutcome
from herz.model.record import Decided
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod

BASE = ("scheduling.k8s.io/v1alpha2", "scheduling.x-k8s.io/v1alpha1")


def group(api: str, name: str, count: int, **more: Any) -> PodGroup:
    """A PodGroup of either API that needs so many pods."""
    if api == BASE[0]:
        spec = {"schedulingPolicy": {"gang": {"minCount": count}}, **more}
    else:
        spec = {"minMember": count, **more}
    content = {"apiVersion": api, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}
    return convert(PodGroup, content)


def member(api: str, gang: str, number: int, cpu: str = "2", **more: Any) -> Pod:
    """A pod of the group, as its API's pods say so."""
    name = f"{gang}-{number}"
    if api == BASE[0]:
        spec = {"schedulingGroup": {"podGroupName": gang}}
        return make_pod(name, {"cpu": cpu}, spec=spec, **more)
    return make_pod(name, {"cpu": cpu}, labels={COSCHEDULING_GROUP_LABEL: gang}, **more)


def binds(effects: list[Any]) -> list[str]:
    return sorted(bind.name for bind in only(Bind, effects))


def words(effects: list[Any]) -> str:
    return " | ".join(sorted({patch.message for patch in only(PatchPodStatus, effects)}))


@pytest.fixture(params=BASE, ids=["scheduling.k8s.io", "scheduling.x-k8s.io"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_gang_is_bound_in_one_step_once_enough_of_it_is_there(api: str) -> None:
    harness = Harness().apply(make_node("a"), make_node("b"), group(api, "g", 3))
    effects = harness.apply(member(api, "g", 1), member(api, "g", 2)).step()
    assert binds(effects) == []
    assert 'waiting for the pods of pod group "shop/g": 2 of 3 are there' in words(effects)
    assert {record.decided for record in harness.kept.records} == {Decided.WAIT}
    assert binds(harness.apply(member(api, "g", 3)).step()) == ["g-1", "g-2", "g-3"]


def test_a_gang_waits_for_its_group_and_is_woken_at_once(api: str) -> None:
    harness = Harness().apply(make_node("a"), member(api, "g", 1), member(api, "g", 2))
    assert 'waiting for pod group "shop/g" to appear' in words(harness.step())
    assert binds(harness.apply(group(api, "g", 2)).step()) == ["g-1", "g-2"]


def test_a_group_of_the_other_api_is_not_the_pods_group(api: str) -> None:
    other = BASE[1 - BASE.index(api)]
    harness = Harness().apply(make_node("a"), group(other, "g", 1), member(api, "g", 1))
    assert "to appear" in words(harness.step())


def test_a_gang_that_fits_only_in_part_holds_nothing(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 3))
    for number in (1, 2, 3):
        harness.apply(member(api, "g", number))
    before = harness.snapshot.digest(b"")
    effects = harness.step()
    assert binds(effects) == []
    assert harness.used("a") == 0
    said = words(effects)
    assert 'pod group "shop/g" needs 3 more pods at once and 2 fit together' in said
    assert "Insufficient cpu" in said
    assert len(harness.kept.records) == 3, "each pod has its record"
    assert harness.snapshot.digest(b"") == before, "what was held for a moment left no trace"


def test_more_pods_than_needed_are_placed_as_far_as_they_fit(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 2))
    for number in (1, 2, 3):
        harness.apply(member(api, "g", number))
    effects = harness.step()
    assert len(binds(effects)) == 2
    assert harness.used("a") == 4000
    assert "Insufficient cpu" in words(effects)


def test_two_gangs_that_each_fit_alone_never_hold_halves(api: str) -> None:
    harness = Harness().apply(make_node("a"), make_node("b"))
    harness.apply(group(api, "g", 4), group(api, "h", 4))
    effects: list[Any] = []
    for number in range(4):
        harness.apply(member(api, "g", number), member(api, "h", number))
        # One pod a step: the gangs' pods are decided in turn.
        effects += harness.step(limit=1)
    for _ in range(20):
        effects += harness.step(after=11 * SECOND, limit=1)
        assert harness.used("a") + harness.used("b") in (0, 8000)
    assert len(binds(effects)) == 4
    (first,) = {name[0] for name in binds(effects)}
    for number in range(4):
        harness.delete(member(api, first, number))
    later: list[Any] = []
    for _ in range(20):
        later += harness.step(after=11 * SECOND, limit=1)
    assert len(binds(later)) == 4, "the other gang is placed once there is room"
    assert {name[0] for name in binds(later)} == {"g", "h"} - {first}


def test_room_that_comes_wakes_the_gang(api: str) -> None:
    harness = Harness().apply(make_node("a", cpu="2"), group(api, "g", 2))
    harness.apply(member(api, "g", 1), member(api, "g", 2)).step()
    harness.apply(make_node("b", cpu="2"))
    assert binds(harness.step(after=11 * SECOND)) == ["g-1", "g-2"]


def test_a_refused_bind_leaves_the_others_and_the_pod_comes_again(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 2))
    effects = harness.apply(member(api, "g", 1), member(api, "g", 2)).step()
    one, other = only(Bind, effects)
    harness.answer(one)
    harness.answer(other, BindOutcome.REFUSED, "conflict")
    again = harness.step(after=11 * SECOND)
    assert binds(again) == [other.name]


def test_a_gang_that_stays_split_is_told_after_its_timeout(api: str) -> None:
    limit = {"scheduleTimeoutSeconds": 30} if api == BASE[1] else {}
    harness = Harness().apply(make_node("a"), group(api, "g", 2, **limit))
    effects = harness.apply(member(api, "g", 1), member(api, "g", 2)).step()
    one, other = only(Bind, effects)
    harness.answer(one)
    harness.answer(other, BindOutcome.REFUSED, "conflict")
    harness.apply(make_pod("filler", {"cpu": "2"}, node="a"))
    told: list[EmitEvent] = []
    said = ""
    for _ in range(80):
        effects = harness.apply(make_node("a", labels={"n": str(harness.now)})).step(5 * SECOND)
        harness.apply(make_node(f"tiny-{harness.now}", cpu="1"))
        told += [event for event in only(EmitEvent, effects) if event.reason == "GangTimeout"]
        said += words(effects)
    assert len(told) == 1
    seconds = 30 if limit else 300
    assert f"1 of 2 pods are placed; timed out after {seconds} s" in told[0].note
    assert f"timed out after {seconds} s" in said
    assert any("timed out" in record.message for record in harness.kept.records)


def test_a_deleted_pod_no_longer_counts(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 2), member(api, "g", 1))
    harness.step()
    harness.delete(member(api, "g", 1)).apply(member(api, "g", 2))
    assert "1 of 2 are there" in words(harness.step())


def test_bound_pods_of_the_group_count(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 2))
    harness.apply(member(api, "g", 1, node="a"), member(api, "g", 2))
    assert binds(harness.step()) == ["g-2"]


def test_the_pods_of_a_gang_may_differ_in_priority(api: str) -> None:
    harness = Harness().apply(make_node("a"), group(api, "g", 2))
    harness.apply(member(api, "g", 1, priority=1), member(api, "g", 2, priority=9))
    assert [bind.name for bind in only(Bind, harness.step())] == ["g-2", "g-1"]


def test_pods_of_a_basic_group_are_placed_one_by_one() -> None:
    spec: dict[str, Any] = {"schedulingPolicy": {"basic": {}}}
    meta = {"name": "g", "namespace": "shop"}
    basic = convert(PodGroup, {"apiVersion": BASE[0], "metadata": meta, "spec": spec})
    harness = Harness().apply(make_node("a"), basic, member(BASE[0], "g", 1))
    assert binds(harness.step()) == ["g-1"]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"schedulingConstraints": {"topology": [{"key": "zone"}]}}, "topology constraints"),
        ({"resourceClaims": [{"name": "gpu"}]}, "dynamic resource claims"),
    ],
)
def test_what_of_a_group_is_not_understood_is_refused(more: dict[str, Any], what: str) -> None:
    harness = Harness().apply(make_node("a"), group(BASE[0], "g", 1, **more))
    effects = harness.apply(member(BASE[0], "g", 1)).step()
    assert binds(effects) == []
    assert f"has {what}, which Herz does not support" in words(effects)


def test_a_pod_of_a_volcano_group_is_refused_by_name() -> None:
    harness = Harness(make_policy()).apply(make_node("a"))
    harness.apply(make_pod("p", annotations={"scheduling.k8s.io/group-name": "g"}))
    effects = harness.step()
    assert binds(effects) == []
    assert "a Volcano PodGroup (scheduling.k8s.io/group-name)" in words(effects)
