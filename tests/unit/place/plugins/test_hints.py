"""Which events wake which rejected pods, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from herz.model.objects import Node, Pod
from tests.support.machine import Harness, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.strategies import FEATURE, affinity, expressions

Event = Callable[[Harness], Any]


def comes(*nodes: Node) -> Event:
    return lambda harness: harness.apply(*nodes)


def leaves(*pods: Pod) -> Event:
    return lambda harness: harness.delete(*pods)


def becomes(*pods: Pod) -> Event:
    return lambda harness: harness.apply(*pods)


def node(name: str = "a", **given: Any) -> Node:
    return make_node(name, **{"cpu": "2", **given})


HELD = make_pod("held", {"cpu": "1"}, node="a", ports=[(80, "TCP", "10.0.0.1")])
SMALL = make_pod("small", {}, node="a")
RED = make_pod("p", spec=affinity([expressions(("pool", "In", ["red"]))]))
WEB = make_pod("p", ports=[(80, "TCP", "")])
BIG = make_pod("p", {"cpu": "1500m"})
FEATURED = make_pod("p", spec={"hostNetwork": True, "hostUsers": False})
TAINT = [("t", "", "NoSchedule")]
GENTLE = [("t", "", "PreferNoSchedule")]

CASES: list[tuple[str, str, Node, Pod, Event, bool]] = [
    # NodeResourcesFit
    ("fit pod leaves", "NodeResourcesFit", node(), BIG, leaves(HELD), True),
    ("fit node comes", "NodeResourcesFit", node(), BIG, comes(node("b")), True),
    ("fit small node comes", "NodeResourcesFit", node(), BIG, comes(node("b", cpu="1")), False),
    ("fit node grows", "NodeResourcesFit", node(), BIG, comes(node(cpu="3")), True),
    ("fit node shrinks", "NodeResourcesFit", node(), BIG, comes(node(cpu="1")), False),
    (
        "fit node grows in what nobody asked",
        "NodeResourcesFit",
        node(),
        BIG,
        comes(node(more={"example.com/x": "1"})),
        False,
    ),
    ("fit label", "NodeResourcesFit", node(), BIG, comes(node(labels={"x": ""})), False),
    (
        "fit held pod takes less",
        "NodeResourcesFit",
        node(),
        BIG,
        becomes(make_pod("held", {"cpu": "100m"}, node="a")),
        True,
    ),
    (
        "fit held pod takes more",
        "NodeResourcesFit",
        node(),
        BIG,
        becomes(make_pod("held", {"cpu": "2"}, node="a")),
        False,
    ),
    ("fit own change", "NodeResourcesFit", node(), BIG, becomes(make_pod("p")), True),
    # NodePorts
    ("ports holder leaves", "NodePorts", node(), WEB, leaves(HELD), True),
    ("ports other leaves", "NodePorts", node(), WEB, leaves(SMALL), False),
    ("ports node comes", "NodePorts", node(), WEB, comes(node("b")), True),
    ("ports label", "NodePorts", node(), WEB, comes(node(labels={"x": ""})), False),
    # NodeAffinity
    ("affinity label", "NodeAffinity", node(), RED, comes(node(labels={"pool": "red"})), True),
    ("affinity wrong", "NodeAffinity", node(), RED, comes(node(labels={"pool": "blue"})), False),
    (
        "affinity node",
        "NodeAffinity",
        node(),
        RED,
        comes(node("b", labels={"pool": "red"})),
        True,
    ),
    ("affinity wrong node", "NodeAffinity", node(), RED, comes(node("b")), False),
    ("affinity pod leaves", "NodeAffinity", node(), RED, leaves(HELD), False),
    ("affinity capacity", "NodeAffinity", node(), RED, comes(node(cpu="9")), False),
    # TaintToleration
    ("taint goes", "TaintToleration", node(taints=TAINT), SMALL, comes(node()), True),
    (
        "taint softens",
        "TaintToleration",
        node(taints=TAINT),
        SMALL,
        comes(node(taints=GENTLE)),
        True,
    ),
    (
        "taint hardens",
        "TaintToleration",
        node(taints=TAINT),
        SMALL,
        comes(node(taints=[("t", "", "NoExecute")])),
        False,
    ),
    (
        "taint stays",
        "TaintToleration",
        node(taints=TAINT),
        SMALL,
        comes(node(taints=TAINT, cpu="9")),
        False,
    ),
    (
        "tainted node comes",
        "TaintToleration",
        node(taints=TAINT),
        SMALL,
        comes(node("b", taints=TAINT)),
        False,
    ),
    ("free node comes", "TaintToleration", node(taints=TAINT), SMALL, comes(node("b")), True),
    # NodeUnschedulable
    ("uncordoned", "NodeUnschedulable", node(unschedulable=True), SMALL, comes(node()), True),
    (
        "still cordoned",
        "NodeUnschedulable",
        node(unschedulable=True),
        SMALL,
        comes(node(unschedulable=True, labels={"x": ""})),
        False,
    ),
    (
        "cordoned node comes",
        "NodeUnschedulable",
        node(unschedulable=True),
        SMALL,
        comes(node("b", unschedulable=True)),
        False,
    ),
    (
        "open node comes",
        "NodeUnschedulable",
        node(unschedulable=True),
        SMALL,
        comes(node("b")),
        True,
    ),
    # NodeDeclaredFeatures
    (
        "features come",
        "NodeDeclaredFeatures",
        node(),
        FEATURED,
        comes(node(features=[FEATURE])),
        True,
    ),
    ("features no", "NodeDeclaredFeatures", node(), FEATURED, comes(node(cpu="9")), False),
    ("features node", "NodeDeclaredFeatures", node(), FEATURED, comes(node("b")), True),
    ("features leaves", "NodeDeclaredFeatures", node(), FEATURED, leaves(HELD), False),
]


@pytest.mark.parametrize(
    ("rule", "first", "pod", "event", "is_woken"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_rejected_pod_is_woken_by_what_may_help_it(
    rule: str, first: Node, pod: Pod, event: Event, is_woken: bool
) -> None:
    harness = Harness(make_policy([rule])).apply(first, HELD, SMALL)
    waiting = make_pod("p", {"cpu": "0"}) if pod is SMALL else pod
    harness.apply(waiting).step()
    assert harness.state("p") == "unschedulable", harness.kept.records[-1]
    event(harness)
    assert harness.state("p") == ("backing_off" if is_woken else "unschedulable")


def test_a_pod_is_woken_by_any_of_the_rules_that_rejected_it() -> None:
    rules = ["TaintToleration", "NodeResourcesFit"]
    for event in (leaves(HELD), comes(node("b"))):
        harness = Harness(make_policy(rules)).apply(node(), node("b", taints=TAINT), HELD)
        harness.apply(BIG).step()
        assert harness.state("p") == "unschedulable"
        event(harness)
        assert harness.state("p") == "backing_off"


def test_node_name_waits_for_the_node_of_that_name() -> None:
    """Pods with a node name count as assigned in the machine, so the rule is asked directly."""
    from herz.place.plugins.node_name import NodeName
    from herz.plugin import Change, EventKind, ReasonBook
    from tests.support.machine import World

    hints = NodeName({}, ReasonBook()).hints()
    pod = World().read(make_pod("p", node="b"))
    hint = hints[EventKind.NODE_ADD]
    assert hint is not None
    assert hint(pod, Change(EventKind.NODE_ADD, new=make_node("b")))
    assert not hint(pod, Change(EventKind.NODE_ADD, new=make_node("a")))
    assert EventKind.NODE_UPDATE not in hints
