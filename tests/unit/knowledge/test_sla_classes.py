"""Classes of promises: defaults, what a policy and objects make of them, and refusals aloud."""

from __future__ import annotations

from typing import Any

import pytest

from herz.errors import ConfigError
from herz.knowledge.sla.classes import CLASS_LABEL, DEFAULTS, problem_of, read_classes
from herz.model.decode import convert
from herz.model.manifest import read_manifests
from herz.model.meta import ObjectMeta
from herz.model.objects import Namespace, SLAClass
from herz.model.record import Decided
from tests.support.machine import SECOND, Harness, make_policy
from tests.support.objects import make_node, make_pod

RULES = ("Understood", "NodeResourcesFit", "SLAClasses")
FAST = {"objective": {"kind": "latency", "targetMilliseconds": 5}}


def sla_class(name: str, **spec: Any) -> SLAClass:
    return convert(SLAClass, {"metadata": {"name": name}, "spec": {**FAST, **spec}})


def harness(classes: dict[str, Any] | None = None) -> Harness:
    args = {"SLAClasses": {"classes": classes or {}}}
    return Harness(make_policy(RULES, args)).apply(make_node("n1"))


def test_defaults_are_sound_and_as_told() -> None:
    online, streaming, batch = (DEFAULTS[name] for name in ("online", "streaming", "batch"))
    assert (online.objective.kind, online.objective.target_milliseconds) == ("latency", 100)
    assert online.objective.quantile_basis_points == 9_900
    assert (streaming.objective.kind, streaming.objective.target_milliseconds) == ("delay", 2_000)
    assert (batch.objective.kind, batch.objective.share_basis_points) == ("completion", 9_950)
    assert {spec.below for spec in DEFAULTS.values()} == {"prefer"}
    assert [spec.exploration_basis_points for spec in DEFAULTS.values()] == [0, 0, 100]
    for name, spec in DEFAULTS.items():
        assert problem_of(SLAClass(metadata=ObjectMeta(name=name), spec=spec)) == ""
        assert spec.indicator.query


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"objective": {"kind": "speed", "targetMilliseconds": 5}}, "spec.objective.kind"),
        ({"objective": {"kind": "latency"}}, "spec.objective.targetMilliseconds"),
        ({"objective": {"kind": "completion"}}, "spec.objective.shareBasisPoints"),
        ({**FAST, "below": "hope"}, "spec.below"),
        ({**FAST, "weight": 0}, "spec.weight"),
        ({**FAST, "windowSeconds": 0}, "spec.windowSeconds"),
        ({**FAST, "minimumProbabilityBasisPoints": 10_001}, "spec.minimumProbability"),
    ],
)
def test_wrong_classes_are_refused_by_field(spec: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_classes({"c": spec}, "policy")
    assert where in refusal.value.where
    assert refusal.value.fix


def test_unknown_key_of_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="minimum"):
        read_classes({"c": {**FAST, "minimum": 1}}, "policy")


def test_manifests_hold_classes() -> None:
    text = b"""
apiVersion: scheduling.herz.dev/v1alpha1
kind: SLAClass
metadata: {name: fast}
spec: {objective: {kind: latency, targetMilliseconds: 5}, below: refuse}
"""
    (found,) = read_manifests(text)
    assert isinstance(found.object, SLAClass)
    assert found.object.spec.below == "refuse"
    with pytest.raises(ConfigError, match="out of range"):
        read_manifests(text.replace(b"targetMilliseconds: 5", b"targetMilliseconds: 0"))


def test_pods_of_known_classes_and_of_none_are_placed() -> None:
    made = harness({"mine": FAST}).apply(sla_class("theirs"))
    for name, labels in [
        ("a", {CLASS_LABEL: "online"}),
        ("b", {CLASS_LABEL: "mine"}),
        ("c", {CLASS_LABEL: "theirs"}),
        ("d", {}),
    ]:
        assert made.place(make_pod(name, labels=labels)).node == "n1"


def test_unknown_class_is_refused_aloud_until_it_comes() -> None:
    made = harness()
    made.apply(make_pod("a", labels={CLASS_LABEL: "gold"})).step()
    record = made.kept.records[-1]
    assert record.decided is Decided.UNSCHEDULABLE
    assert "SLA class gold is not known" in record.message
    made.apply(sla_class("gold")).step(after=20 * SECOND)
    assert made.kept.records[-1].node == "n1"


def test_wrong_object_is_refused_with_its_field() -> None:
    made = harness().apply(sla_class("gold", weight=-1))
    made.apply(make_pod("a", labels={CLASS_LABEL: "gold"})).step()
    assert "SLAClass gold is wrong: spec.weight" in made.kept.records[-1].message


def test_object_counts_more_than_the_policy_and_the_policy_more_than_defaults() -> None:
    made = harness({"online": {**FAST, "weight": 7}}).apply(sla_class("online", weight=-1))
    made.apply(make_pod("a", labels={CLASS_LABEL: "online"})).step()
    assert "is wrong" in made.kept.records[-1].message
    made.delete(sla_class("online")).step(after=20 * SECOND)
    assert made.kept.records[-1].node == "n1"


def test_namespace_has_a_default_which_a_label_overrides() -> None:
    made = harness().apply(
        Namespace(metadata=ObjectMeta(name="shop", labels={CLASS_LABEL: "gold"}))
    )
    made.apply(make_pod("a")).step()
    assert "SLA class gold is not known" in made.kept.records[-1].message
    assert made.place(make_pod("b", labels={CLASS_LABEL: "batch"})).node == "n1"
    made.apply(Namespace(metadata=ObjectMeta(name="shop"))).step(after=20 * SECOND)
    assert made.kept.records[-1].pod.name == "a"
    assert made.kept.records[-1].node == "n1"
