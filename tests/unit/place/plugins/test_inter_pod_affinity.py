"""InterPodAffinity: near some pods, far from others, both ways; and what its terms may say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from herz.builtin import PLUGINS
from herz.errors import ConfigError
from herz.model.objects import Namespace, Node, Pod
from herz.place.outcome import NoFit
from herz.plugin import Kind, ReasonBook
from tests.support.objects import make_pod
from tests.support.strategies import DB, HOST, WEB, pod_affinity, term
from tests.unit.place.plugins.company import (
    Lying,
    cluster,
    fits,
    lying,
    places,
    points,
    thing,
    why_not,
)

RULE = "InterPodAffinity"
TEAM = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
EVERYWHERE: dict[str, Any] = {"namespaceSelector": {}}
BANK = thing(Namespace, "bank", labels={"team": "x"})
SHOP = thing(Namespace, "shop", labels={"team": "x"})
TWO = places("a1", "b1")
FOUR = places("a1", "a2", "b1", "-1")


def near(*terms: dict[str, Any], labels: dict[str, str] = WEB) -> Pod:
    return make_pod("p", labels=labels, spec=pod_affinity(near=terms))


def apart(*terms: dict[str, Any], labels: dict[str, str] = WEB) -> Pod:
    return make_pod("p", labels=labels, spec=pod_affinity(anti=terms))


def lying_apart(node: str, *terms: dict[str, Any], **given: Any) -> list[Lying]:
    """A pod on the node that wants others away."""
    return lying(node, spec=pod_affinity(anti=terms), **given)


def of(rule_term: dict[str, Any], **more: Any) -> dict[str, Any]:
    return rule_term | more


PLAIN = make_pod("p", labels=WEB)
CASES: list[tuple[str, Sequence[Node], Sequence[Lying], Sequence[Any], Pod, str]] = [
    ("near: all of its domain", FOUR, lying("a1"), [], near(term(WEB, "zone")), "a1 a2"),
    ("near: the host alone", FOUR, lying("a1"), [], near(term(WEB, HOST)), "a1"),
    ("near: nobody is there", FOUR, [], [], near(term(DB, "zone")), ""),
    (
        "the first of its kind goes where there is a domain",
        FOUR,
        [],
        [],
        near(term(WEB, "zone")),
        "a1 a2 b1",
    ),
    (
        "the first of its kind meets all of its terms",
        FOUR,
        [],
        [],
        near(term(WEB, "zone"), term(DB, "zone")),
        "",
    ),
    (
        "one that is sought in no domain leaves the next the first of its kind",
        FOUR,
        lying("-1"),
        [],
        near(term(WEB, "zone")),
        "a1 a2 b1",
    ),
    (
        "but not when one of the keys gives a domain",
        FOUR,
        lying("-1"),
        [],
        near(term(WEB, "zone"), term(WEB, HOST)),
        "",
    ),
    (
        "near: one pod must meet all terms",
        FOUR,
        [*lying("a1"), *lying("b1", labels=DB)],
        [],
        near(term(WEB, "zone"), term(DB, "zone"), labels={"app": "other"}),
        "",
    ),
    (
        "near: pods that meet both terms, by different keys",
        FOUR,
        lying("a1", "b1", labels=WEB | DB | {"both": ""}),
        [],
        near(term({"both": ""}, "zone"), term({"both": ""}, HOST)),
        "a1 b1",
    ),
    (
        "near: pods that end count",
        TWO,
        lying("a1", is_terminating=True),
        [],
        near(term(WEB, "zone")),
        "a1",
    ),
    ("apart: all of its domain", FOUR, lying("a1"), [], apart(term(WEB, "zone")), "-1 b1"),
    ("apart: the host alone", FOUR, lying("a1"), [], apart(term(WEB, HOST)), "-1 a2 b1"),
    (
        "apart: each term by itself",
        FOUR,
        [*lying("a1"), *lying("b1", labels=DB)],
        [],
        apart(term(WEB, "zone"), term(DB, "zone")),
        "-1",
    ),
    ("apart: out of every domain", FOUR, lying("-1"), [], apart(term(WEB, "zone")), "-1 a1 a2 b1"),
    (
        "others want it away",
        FOUR,
        lying_apart("a1", term(WEB, "zone"), labels=DB),
        [],
        PLAIN,
        "-1 b1",
    ),
    ("others want others away", TWO, lying_apart("a1", term(DB, "zone")), [], PLAIN, "a1 b1"),
    (
        "others want it away from their host",
        FOUR,
        lying_apart("a1", term(WEB, HOST)),
        [],
        PLAIN,
        "-1 a2 b1",
    ),
    (
        "others' affinity closes nothing",
        TWO,
        lying("a1", spec=pod_affinity(near=[term(WEB, "zone")])),
        [],
        PLAIN,
        "a1 b1",
    ),
    (
        "its own namespace, where none is named",
        TWO,
        lying("a1", namespace="bank"),
        [],
        apart(term(WEB, "zone")),
        "a1 b1",
    ),
    (
        "a named namespace",
        TWO,
        [*lying("a1", namespace="bank"), *lying("b1")],
        [],
        apart(of(term(WEB, "zone"), namespaces=["bank"])),
        "b1",
    ),
    (
        "selected namespaces",
        TWO,
        [*lying("a1", namespace="bank"), *lying("b1")],
        [BANK],
        apart(of(term(WEB, "zone"), **TEAM)),
        "b1",
    ),
    (
        "named and selected ones together",
        TWO,
        [*lying("a1", namespace="bank"), *lying("b1")],
        [BANK],
        apart(of(term(WEB, "zone"), namespaces=["shop"], **TEAM)),
        "",
    ),
    (
        "the empty selector is all namespaces",
        TWO,
        lying("a1", namespace="bank"),
        [],
        apart(of(term(WEB, "zone"), **EVERYWHERE)),
        "b1",
    ),
    (
        "a namespace that nobody knows has no labels",
        TWO,
        lying("a1", namespace="bank"),
        [],
        apart(of(term(WEB, "zone"), **TEAM)),
        "a1 b1",
    ),
    (
        "others select the namespace of the pod",
        TWO,
        lying_apart("a1", of(term(WEB, "zone"), **TEAM), namespace="bank"),
        [SHOP],
        PLAIN,
        "b1",
    ),
    (
        "others mean their own namespace",
        TWO,
        lying_apart("a1", term(WEB, "zone"), namespace="bank"),
        [],
        PLAIN,
        "a1 b1",
    ),
    (
        "an empty label selector is every pod",
        TWO,
        lying("a1", labels=DB),
        [],
        apart({"labelSelector": {}, "topologyKey": "zone"}),
        "b1",
    ),
    ("no label selector is no pod", TWO, lying("a1"), [], apart({"topologyKey": "zone"}), "a1 b1"),
]


@pytest.mark.parametrize(
    ("nodes", "pods", "objects", "pod", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_required_terms_say_where_a_pod_fits(
    nodes: Sequence[Node], pods: Sequence[Lying], objects: Sequence[Any], pod: Pod, expected: str
) -> None:
    assert fits(cluster(RULE, nodes, pods, objects), pod) == expected


def test_the_reasons_tell_the_three_kinds_apart() -> None:
    world = cluster(RULE, TWO, [*lying("a1"), *lying_apart("b1", term(WEB, HOST), labels=DB)])
    assert why_not(world, near(term(DB, "zone")), "a1").endswith("match pod affinity rules")
    assert why_not(world, apart(term(WEB, "zone")), "a1").endswith("match pod anti-affinity rules")
    assert why_not(world, PLAIN, "b1").endswith("satisfy existing pods anti-affinity rules")


def test_preemption_may_help_against_anti_affinity_alone() -> None:
    world = cluster(RULE, places("a1"), lying("a1"))
    kinds = {}
    for name, pod in (("near", near(term(DB, "zone"))), ("apart", apart(term(WEB, "zone")))):
        found = world.decide(pod)
        assert isinstance(found, NoFit)
        kinds[name] = found.kind
    assert kinds == {"near": Kind.NEVER_FITS, "apart": Kind.UNFIT}


def test_a_namespaces_labels_count_as_they_are_now() -> None:
    world = cluster(RULE, TWO, lying("a1", namespace="bank"), [BANK])
    pod = apart(of(term(WEB, "zone"), **TEAM))
    assert fits(world, pod) == "b1"
    world.cluster.catalog.apply(thing(Namespace, "bank", labels={"team": "y"}))
    assert fits(world, pod) == "a1 b1"


# ---- points ---------------------------------------------------------------------------------

HARD = pod_affinity(near=[term(WEB, "zone")])
DRAWN = pod_affinity(prefers=[(10, term(WEB, "zone"))])


def test_preferred_terms_draw_and_push() -> None:
    pods = [*lying("a1"), *lying("b1", labels=DB)]
    world = cluster(RULE, places("a1", "b1", "c1"), pods)
    pod = make_pod(
        "p", spec=pod_affinity(prefers=[(30, term(WEB, "zone"))], avoids=[(10, term(DB, "zone"))])
    )
    assert points(world, pod) == {"a1": 100, "b1": 0, "c1": 25}


def test_preferred_terms_of_pods_that_lie_there_count_as_well() -> None:
    world = cluster(RULE, TWO, lying("a1", labels=DB, spec=DRAWN))
    assert points(world, PLAIN) == {"a1": 100, "b1": 0}


def test_preferred_terms_of_others_can_be_passed_over() -> None:
    args = {"ignorePreferredTermsOfExistingPods": True}
    world = cluster(RULE, TWO, lying("a1", labels=DB, spec=DRAWN), args=args)
    assert points(world, PLAIN) == {}
    own = make_pod("p", spec=pod_affinity(prefers=[(1, term(DB, "zone"))]))
    assert points(world, own) == {"a1": 100, "b1": 0}


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0, {"a1": 0, "b1": 100}),
        (1, {"a1": 10, "b1": 100}),
        (100, {"a1": 100, "b1": 10}),
    ],
)
def test_required_affinity_of_others_draws_by_the_given_weight(
    weight: int, expected: dict[str, int]
) -> None:
    pods = [*lying("a1", labels=DB, spec=HARD), *lying("b1", labels=DB, spec=DRAWN)]
    world = cluster(RULE, places("a1", "b1", "c1"), pods, args={"hardPodAffinityWeight": weight})
    found = points(world, PLAIN)
    assert found.pop("c1") == 0
    assert found == expected


# ---- what is malformed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "where"),
    [
        ({"hardPodAffinityWeight": -1}, "args.hardPodAffinityWeight"),
        ({"hardPodAffinityWeight": 101}, "args.hardPodAffinityWeight"),
        ({"hardPodAffinityWeight": "1"}, "args"),
        ({"hardPodAffinityWeight": 0.5}, "args"),
        ({"ignorePreferredTermsOfExistingPods": "yes"}, "args"),
        ({"ignorePreferredTermsOfExistingPods": None}, "args"),
        ({"colour": "red"}, "args"),
    ],
)
def test_bad_arguments_are_refused_by_place(args: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PLUGINS[RULE](args, ReasonBook())
    assert caught.value.where == f"pluginConfig[{RULE}].{where}"
    assert caught.value.fix


@pytest.mark.parametrize("weight", [0, 100])
def test_the_bounds_of_the_weight_are_allowed(weight: int) -> None:
    assert PLUGINS[RULE]({"hardPodAffinityWeight": weight}, ReasonBook()).name == RULE


@pytest.mark.parametrize("place", ["labelSelector", "namespaceSelector"])
def test_a_malformed_selector_rejects_its_pod_everywhere(place: str) -> None:
    odd = {"matchExpressions": [{"key": "app", "operator": "Odd", "values": ["x"]}]}
    world = cluster(RULE, TWO, lying("a1"))
    found = world.decide(near(of(term(WEB, "zone"), **{place: odd})))
    assert isinstance(found, NoFit)
    assert found.kind is Kind.NEVER_FITS
    assert found.rejected_by == (RULE,)
    assert "parsing pod: spec.affinity.podAffinity.required[0]" in found.message


def test_a_malformed_selector_of_a_pod_that_lies_there_concerns_nobody() -> None:
    odd = {"matchExpressions": [{"key": "app", "operator": "Odd", "values": ["x"]}]}
    world = cluster(RULE, TWO, lying_apart("a1", {"labelSelector": odd, "topologyKey": "zone"}))
    assert fits(world, PLAIN) == "a1 b1"
