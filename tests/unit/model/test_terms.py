"""Pod affinity as terms: whose namespaces, which pods, and what is malformed."""

from __future__ import annotations

from typing import Any

import pytest

from herz.errors import ConfigError
from herz.model.terms import Term, TermKind, pod_terms
from tests.support.objects import make_pod
from tests.support.strategies import DB, WEB, pod_affinity, term


def term_of(**more: Any) -> Term:
    """The one term of a pod of the namespace `shop`."""
    spec = pod_affinity(near=[term(WEB, "zone") | more])
    (found,) = pod_terms(make_pod("p", spec=spec))
    return found


def test_a_pod_without_affinity_has_no_terms() -> None:
    assert pod_terms(make_pod("p")) == ()
    assert pod_terms(make_pod("p", spec={"affinity": {}})) == ()
    assert pod_terms(make_pod("p", spec=pod_affinity())) == ()


def test_terms_come_in_order_with_their_weights() -> None:
    one = term(WEB, "zone")
    spec = pod_affinity(near=[one], anti=[one], prefers=[(7, one)], avoids=[(9, one)])
    found = [(each.kind, each.weight) for each in pod_terms(make_pod("p", spec=spec))]
    assert found == [
        (TermKind.AFFINITY, 0),
        (TermKind.PREFERRED_AFFINITY, 7),
        (TermKind.ANTI_AFFINITY, 0),
        (TermKind.PREFERRED_ANTI_AFFINITY, 9),
    ]


TEAM = {"matchLabels": {"team": "x"}}
PLACES: list[tuple[str, dict[str, Any], dict[str, bool]]] = [
    ("nothing said", {}, {"shop": True, "bank": False, "team": False}),
    ("names", {"namespaces": ["bank"]}, {"shop": False, "bank": True, "team": False}),
    ("selector", {"namespaceSelector": TEAM}, {"shop": False, "bank": False, "team": True}),
    (
        "both",
        {"namespaces": ["bank"], "namespaceSelector": TEAM},
        {"shop": False, "bank": True, "team": True},
    ),
    ("all", {"namespaceSelector": {}}, {"shop": True, "bank": True, "team": True}),
    ("empty list", {"namespaces": []}, {"shop": True, "bank": False, "team": False}),
]


@pytest.mark.parametrize(("more", "expected"), [p[1:] for p in PLACES], ids=[p[0] for p in PLACES])
def test_a_term_means_the_namespaces_that_it_names_or_selects(
    more: dict[str, Any], expected: dict[str, bool]
) -> None:
    found = term_of(**more)
    labels = {"team": {"team": "x"}}
    assert {name: found.matches(name, labels.get(name, {}), WEB) for name in expected} == expected


@pytest.mark.parametrize(
    ("selector", "is_web", "is_db"),
    [
        ({"matchLabels": WEB}, True, False),
        ({}, True, True),
        (None, False, False),
        (
            {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
            False,
            True,
        ),
        (
            {"matchLabels": WEB, "matchExpressions": [{"key": "x", "operator": "Exists"}]},
            False,
            False,
        ),
    ],
)
def test_a_term_means_the_pods_that_it_selects(
    selector: dict[str, Any] | None, is_web: bool, is_db: bool
) -> None:
    found = term_of(labelSelector=selector)
    assert found.matches("shop", {}, WEB) is is_web
    assert found.matches("shop", {}, DB) is is_db


def test_terms_that_say_the_same_are_equal() -> None:
    assert term_of() == term_of(namespaces=["shop"])
    assert len({term_of(), term_of(), term_of(namespaces=["bank"])}) == 2


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ("near", "spec.affinity.podAffinity.required[1]"),
        ("anti", "spec.affinity.podAntiAffinity.required[1]"),
        ("prefers", "spec.affinity.podAffinity.preferred[1]"),
        ("avoids", "spec.affinity.podAntiAffinity.preferred[1]"),
    ],
)
@pytest.mark.parametrize("place", ["labelSelector", "namespaceSelector"])
def test_malformed_selectors_are_refused_by_place(given: str, where: str, place: str) -> None:
    odd = {"matchExpressions": [{"key": "app", "operator": "Odd", "values": []}]}
    one = term(WEB, "zone")
    terms: list[Any] = [one, one | {place: odd}]
    if given in ("prefers", "avoids"):
        terms = [(1, each) for each in terms]
    with pytest.raises(ConfigError) as caught:
        pod_terms(make_pod("p", spec=pod_affinity(**{given: terms})))
    assert caught.value.where.startswith(where)
    assert caught.value.fix
