"""PodTopologySpread: which domains count, which pods count, and whose constraints they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from herz.builtin import PLUGINS
from herz.errors import ConfigError
from herz.model.objects import (
    Node,
    Pod,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from herz.place.outcome import NoFit
from herz.plugin import Kind, ReasonBook
from tests.support.objects import make_pod
from tests.support.strategies import DB, HOST, WEB, affinity, expressions
from tests.unit.place.plugins.company import (
    Lying,
    cluster,
    fits,
    lying,
    owned,
    place,
    places,
    points,
    thing,
    why_not,
)

RULE = "PodTopologySpread"
TAINT = [("t", "", "NoSchedule")]
LIST = {"defaultingType": "List"}
SKEWED = "node(s) didn't match pod topology spread constraints"


def constraint(key: str = "zone", **more: Any) -> dict[str, Any]:
    given = {
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": WEB},
    }
    return given | more


def spread(*constraints: dict[str, Any], **given: Any) -> Pod:
    """A pod with constraints; `spec` adds to its spec, `labels` are WEB's unless given."""
    spec = {"topologySpreadConstraints": list(constraints), **given.pop("spec", {})}
    return make_pod("p", labels=given.pop("labels", WEB), spec=spec, **given)


def default(**more: Any) -> dict[str, Any]:
    given = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    return {"defaultingType": "List", "defaultConstraints": [given | more]}


TWO = places("a1", "b1")
THREE = places("a1", "b1", "c1")

CASES: list[tuple[str, Sequence[Node], Sequence[Lying], Pod, str]] = [
    ("nothing lies anywhere", TWO, [], spread(constraint()), "a1 b1"),
    ("the fuller domain is closed", TWO, lying("a1"), spread(constraint()), "b1"),
    ("skew may reach its maximum", TWO, lying("a1"), spread(constraint(maxSkew=2)), "a1 b1"),
    ("and no further", TWO, lying("a1", "a1"), spread(constraint(maxSkew=2)), "b1"),
    (
        "a domain is all its nodes",
        places("a1", "a2", "b1"),
        lying("a1"),
        spread(constraint()),
        "b1",
    ),
    (
        "pods with other labels do not count",
        TWO,
        lying("a1", labels=DB),
        spread(constraint()),
        "a1 b1",
    ),
    (
        "nor pods of other namespaces",
        TWO,
        lying("a1", namespace="bank"),
        spread(constraint()),
        "a1 b1",
    ),
    ("nor pods that end", TWO, lying("a1", is_terminating=True), spread(constraint()), "a1 b1"),
    (
        "a pod that its selector does not mean adds nothing to the skew",
        TWO,
        lying("a1"),
        spread(constraint(), labels=DB),
        "a1 b1",
    ),
    (
        "an empty selector counts no pod",
        TWO,
        lying("a1", "a1", "a1"),
        spread(constraint(labelSelector={})),
        "a1 b1",
    ),
    (
        "no selector means no pod",
        TWO,
        lying("a1", "a1", "a1"),
        spread(constraint(labelSelector=None)),
        "a1 b1",
    ),
    ("a node without the label is closed", places("a1", "-1"), [], spread(constraint()), "a1"),
    (
        "pods there are in no domain",
        places("a1", "b1", "-1"),
        lying("-1", "-1"),
        spread(constraint()),
        "a1 b1",
    ),
    (
        "nodes count only with all keys",
        [place("a1", labels={"rank": "1"}), place("b1", labels={"rank": "2"}), *places("c1")],
        lying("a1", "b1"),
        spread(constraint(), constraint("rank")),
        "a1 b1",
    ),
    (
        "both constraints must hold",
        places("a1", "a2", "b1", "b2"),
        lying("a1", "b2", "b2"),
        spread(constraint(), constraint(HOST)),
        "a2",
    ),
    (
        "too few domains count as if one were empty",
        TWO,
        lying("a1", "b1"),
        spread(constraint(minDomains=3)),
        "",
    ),
    (
        "enough domains do not",
        THREE,
        lying("a1", "b1", "c1"),
        spread(constraint(minDomains=3)),
        "a1 b1 c1",
    ),
    (
        "nodes that the pod's selector leaves out make no domain",
        THREE,
        lying("a1", "b1"),
        spread(
            constraint(),
            spec=affinity([expressions(("zone", "In", ["a", "b"]))]),
        ),
        "a1 b1 c1",
    ),
    (
        "unless the policy says so",
        THREE,
        lying("a1", "b1"),
        spread(
            constraint(nodeAffinityPolicy="Ignore"),
            spec=affinity([expressions(("zone", "In", ["a", "b"]))]),
        ),
        "c1",
    ),
    (
        "a plain node selector is honoured likewise",
        [*TWO, place("c1", labels={"pool": "other"})],
        lying("a1", "b1"),
        spread(constraint(), spec={"nodeSelector": {"pool": "other"}}),
        "a1 b1 c1",
    ),
    (
        "tainted nodes make domains",
        [*TWO, place("c1", taints=TAINT)],
        lying("a1", "b1"),
        spread(constraint()),
        "c1",
    ),
    (
        "unless the policy honours taints",
        [*TWO, place("c1", taints=TAINT)],
        lying("a1", "b1"),
        spread(constraint(nodeTaintsPolicy="Honor")),
        "a1 b1 c1",
    ),
    (
        "and the pod does not tolerate them",
        [*TWO, place("c1", taints=TAINT)],
        lying("a1", "b1"),
        spread(
            constraint(nodeTaintsPolicy="Honor"), spec={"tolerations": [{"operator": "Exists"}]}
        ),
        "c1",
    ),
    (
        "matchLabelKeys count pods of the same value",
        TWO,
        lying("a1", labels=WEB | {"version": "1"}),
        spread(constraint(matchLabelKeys=["version"]), labels=WEB | {"version": "2"}),
        "a1 b1",
    ),
    (
        "and only these",
        TWO,
        lying("a1", labels=WEB | {"version": "2"}),
        spread(constraint(matchLabelKeys=["version"]), labels=WEB | {"version": "2"}),
        "b1",
    ),
    (
        "a key that the pod lacks is passed over",
        TWO,
        lying("a1", labels=WEB | {"version": "1"}),
        spread(constraint(matchLabelKeys=["version"])),
        "b1",
    ),
    (
        "a soft constraint closes nothing",
        TWO,
        lying("a1", "a1"),
        spread(constraint(whenUnsatisfiable="ScheduleAnyway")),
        "a1 b1",
    ),
]


@pytest.mark.parametrize(
    ("nodes", "pods", "pod", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_hard_constraints_keep_the_skew(
    nodes: Sequence[Node], pods: Sequence[Lying], pod: Pod, expected: str
) -> None:
    assert fits(cluster(RULE, nodes, pods), pod) == expected


def test_the_reasons_tell_a_missing_label_from_a_skew() -> None:
    world = cluster(RULE, places("a1", "b1", "-1"), lying("a1"))
    assert why_not(world, spread(constraint()), "a1") == SKEWED
    assert why_not(world, spread(constraint()), "-1") == f"{SKEWED} (missing required label)"


def test_a_node_that_goes_takes_its_domain_along() -> None:
    world = cluster(RULE, places("a1", "b1"), lying("a1"))
    assert fits(world, spread(constraint())) == "b1"
    world.cluster.remove_node("b1")
    assert fits(world, spread(constraint())) == "a1"


# ---- defaults -------------------------------------------------------------------------------

SELECTED = {"selector": {"matchLabels": WEB}}
PLAIN = make_pod("p", labels=WEB)
OWNERS: list[tuple[str, Any, Pod, str]] = [
    ("nobody", None, PLAIN, "a1 b1"),
    ("service", thing(Service, "s", spec={"selector": WEB}), PLAIN, "b1"),
    ("service of others", thing(Service, "s", spec={"selector": DB}), PLAIN, "a1 b1"),
    ("service without selector", thing(Service, "s", spec={}), PLAIN, "a1 b1"),
    ("set", thing(ReplicaSet, "r", spec=SELECTED), owned(PLAIN, "ReplicaSet", "r"), "b1"),
    (
        "set of others",
        thing(ReplicaSet, "r", spec=SELECTED),
        owned(PLAIN, "ReplicaSet", "x"),
        "a1 b1",
    ),
    ("stateful", thing(StatefulSet, "r", spec=SELECTED), owned(PLAIN, "StatefulSet", "r"), "b1"),
    (
        "controller",
        thing(ReplicationController, "r", spec={"selector": WEB}),
        owned(PLAIN, "ReplicationController", "r", "v1"),
        "b1",
    ),
    (
        "other kind",
        thing(ReplicaSet, "r", spec=SELECTED),
        owned(PLAIN, "StatefulSet", "r"),
        "a1 b1",
    ),
    (
        "malformed set",
        thing(
            ReplicaSet,
            "r",
            spec={"selector": {"matchExpressions": [{"key": "app", "operator": "Odd"}]}},
        ),
        owned(PLAIN, "ReplicaSet", "r"),
        "a1 b1",
    ),
]


@pytest.mark.parametrize(
    ("owner", "pod", "expected"), [case[1:] for case in OWNERS], ids=[case[0] for case in OWNERS]
)
def test_listed_defaults_are_for_the_pods_of_services_and_controllers(
    owner: Any, pod: Pod, expected: str
) -> None:
    world = cluster(RULE, TWO, lying("a1"), [owner] if owner else [], default())
    assert fits(world, pod) == expected


def test_own_constraints_take_the_place_of_all_defaults() -> None:
    service = thing(Service, "s", spec={"selector": WEB})
    world = cluster(RULE, TWO, lying("a1"), [service], default())
    soft = spread(constraint(whenUnsatisfiable="ScheduleAnyway"))
    assert fits(world, soft) == "a1 b1"


def test_defaults_follow_the_service_when_it_comes_and_goes() -> None:
    service = thing(Service, "s", spec={"selector": WEB})
    world = cluster(RULE, TWO, lying("a1"), [], default())
    assert fits(world, PLAIN) == "a1 b1"
    world.cluster.catalog.apply(service)
    assert fits(world, PLAIN) == "b1"
    world.cluster.catalog.remove(service)
    assert fits(world, PLAIN) == "a1 b1"


def test_the_systems_defaults_score_and_close_nothing() -> None:
    service = thing(Service, "s", spec={"selector": WEB})
    world = cluster(RULE, TWO, lying("a1", "a1", "a1"), [service])
    assert fits(world, PLAIN) == "a1 b1"
    found = points(world, PLAIN)
    assert found["b1"] > found["a1"]


def test_an_empty_list_of_defaults_says_nothing() -> None:
    service = thing(Service, "s", spec={"selector": WEB})
    world = cluster(RULE, TWO, lying("a1", "a1", "a1"), [service], LIST)
    assert points(world, PLAIN) == {}


# ---- points ---------------------------------------------------------------------------------


def test_emptier_domains_get_more_points() -> None:
    world = cluster(RULE, places("a1", "b1", "c1"), lying("a1", "a1", "b1"))
    found = points(world, spread(constraint(whenUnsatisfiable="ScheduleAnyway")))
    assert found["c1"] == 100
    assert found["a1"] < found["b1"] < found["c1"]


def test_nodes_without_the_label_get_no_points() -> None:
    world = cluster(RULE, places("a1", "-1"), lying("a1"))
    found = points(world, spread(constraint(whenUnsatisfiable="ScheduleAnyway")))
    assert found == {"a1": 100, "-1": 0}


def test_domains_that_are_all_empty_get_all_points() -> None:
    world = cluster(RULE, TWO)
    soft = spread(constraint(whenUnsatisfiable="ScheduleAnyway"))
    assert points(world, soft) == {"a1": 100, "b1": 100}


# ---- what is malformed ----------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("unknown key", {"colour": "red"}, "pluginConfig[PodTopologySpread].args"),
    ("wrong type", {"defaultConstraints": "zone"}, "pluginConfig[PodTopologySpread].args"),
    ("wrong defaulting", {"defaultingType": "Both"}, "pluginConfig[PodTopologySpread].args"),
    (
        "beside the system's",
        {**default(), "defaultingType": "System"},
        "pluginConfig[PodTopologySpread].args.defaultConstraints",
    ),
    ("skew", default(maxSkew=0), "defaultConstraints[0]"),
    ("skew's type", default(maxSkew="1"), "defaultConstraints[0]"),
    ("no key", default(topologyKey=""), "defaultConstraints[0]"),
    ("when", default(whenUnsatisfiable="Never"), "defaultConstraints[0]"),
    ("selector", default(labelSelector={"matchLabels": WEB}), "defaultConstraints[0]"),
    ("unknown in it", default(colour="red"), "defaultConstraints[0]"),
    ("policy", default(nodeAffinityPolicy="Maybe"), "defaultConstraints[0]"),
    ("taints", default(nodeTaintsPolicy=1), "defaultConstraints[0]"),
    ("domains", default(minDomains="2"), "defaultConstraints[0]"),
    (
        "twice",
        {**LIST, "defaultConstraints": default()["defaultConstraints"] * 2},
        "defaultConstraints[1]",
    ),
]


@pytest.mark.parametrize(("args", "where"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_bad_arguments_are_refused_by_place(args: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PLUGINS[RULE](args, ReasonBook())
    assert where in caught.value.where
    assert caught.value.fix


def test_a_malformed_selector_is_an_error_of_the_rule() -> None:
    odd = {"matchExpressions": [{"key": "app", "operator": "Odd", "values": []}]}
    world = cluster(RULE, TWO)
    found = world.decide(spread(constraint(labelSelector=odd)))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.ERROR
    assert "spread constraint: " in found.message
