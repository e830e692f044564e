"""Pods that may not be queued: gates, what cannot be read, and fields nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from herz import signals
from herz.model.effects import Bind, EmitEvent, PatchPodStatus
from herz.model.objects import Pod
from tests.support.machine import SECOND, Harness, make_policy, only
from tests.support.objects import make_node, make_pod


def harness_with_node(**settings: Any) -> Harness:
    return Harness(**settings).apply(make_node("a"))


def last(harness: Harness) -> Any:
    return harness.kept.records[-1]


def test_of_scheduling_gates_nothing_is_told_for_the_api_server_has() -> None:
    harness = harness_with_node()
    assert harness.apply(make_pod("p", gates=["b", "a"])).step() == []
    assert (harness.state("p"), harness.machine.ready) == ("gated", 0)
    assert harness.apply(make_pod("p", gates=["a"])).step() == []
    assert len(only(Bind, harness.apply(make_pod("p")).step())) == 1


def test_what_gates_a_pod_besides_is_told_once_its_gates_are_gone() -> None:
    harness = harness_with_node()
    assert harness.apply(make_pod("p", {"cpu": "x"}, gates=["a"])).step() == []
    effects = harness.apply(make_pod("p", {"cpu": "x"})).step()
    condition = only(PatchPodStatus, effects)[0]
    assert (condition.reason, len(only(EmitEvent, effects))) == ("SchedulingGated", 1)
    assert harness.apply(make_pod("p", {"cpu": "x"})).step() == [], "told once"


BROKEN: list[tuple[str, Pod, str]] = [
    ("quantity", make_pod("p", {"memory": "1 GB"}), "resources:"),
    ("after", make_pod("p", annotations={"herz.dev/after": "q=9999"}), "herz.dev/after"),
    ("itself", make_pod("p", annotations={"herz.dev/after": "p"}), "herz.dev/after"),
    ("share", make_pod("p", {"herz.dev/gpu-milli": "1001"}), "got 1001"),
    ("count", make_pod("p", {"herz.dev/gpu-count": "65"}), "got 65"),
]


@pytest.mark.parametrize(
    ("pod", "words"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
def test_what_cannot_be_read_gates_the_pod_until_it_is_mended(pod: Pod, words: str) -> None:
    harness = harness_with_node()
    effects = harness.apply(pod).step()
    assert harness.state("p") == "gated"
    assert words in only(PatchPodStatus, effects)[0].message
    assert words in only(EmitEvent, effects)[0].note
    assert len(only(Bind, harness.apply(make_pod("p")).step())) == 1


def test_a_waiting_pod_that_becomes_unreadable_is_gated() -> None:
    harness = harness_with_node()
    harness.apply(make_pod("p"), make_pod("p", {"cpu": "x"}))
    assert harness.state("p") == "gated"
    effects = harness.step()
    assert only(Bind, effects) == []
    assert only(PatchPodStatus, effects)[0].reason == "SchedulingGated"


def test_a_bound_pod_with_an_unreadable_quantity_takes_a_pod_slot() -> None:
    harness = harness_with_node().apply(make_pod("p", {"cpu": "x"}, node="a"))
    assert harness.used("a", "pods") == 1
    assert harness.used("a") == 0


def test_unlisted_fields_are_told_counted_and_marked() -> None:
    harness = harness_with_node().apply(make_pod("p"), unlisted=("fooPolicy", "zed"))
    effects = harness.step()
    warning = only(EmitEvent, effects)[0]
    assert (warning.type, warning.reason) == ("Warning", "UnlistedFields")
    assert "fooPolicy, zed" in warning.note
    assert last(harness).marks == ("unlisted:fooPolicy", "unlisted:zed")
    assert harness.counters[signals.UNLISTED_FIELDS] == 1
    assert [type(effect) for effect in effects] == [EmitEvent, Bind]


def test_strict_policies_refuse_pods_with_unlisted_fields() -> None:
    harness = harness_with_node(policy=make_policy(args={"Understood": {"strict": True}}))
    effects = harness.apply(make_pod("p"), unlisted=("fooPolicy",)).step()
    assert only(Bind, effects) == []
    assert "fooPolicy" in last(harness).message


def test_an_update_that_only_loses_an_unlisted_field_is_seen() -> None:
    harness = harness_with_node(policy=make_policy(args={"Understood": {"strict": True}}))
    harness.apply(make_pod("p"), unlisted=("fooPolicy",)).step()
    harness.apply(make_pod("p"))
    assert len(only(Bind, harness.step(5 * SECOND))) == 1
