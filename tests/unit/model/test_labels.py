"""Selectors, text selectors, node selectors, taints: a small table of our own."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.model.labels import (
    compile_node_selector,
    compile_preferred,
    compile_selector,
    parse_int64,
)
from herz.model.objects import (
    LabelSelector,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PreferredSchedulingTerm,
    Taint,
    Toleration,
)
from herz.model.selector_text import parse_selector
from herz.model.taints import PREFER_NO_SCHEDULE, find_untolerated, tolerates


def test_absent_selector_matches_nothing_and_empty_one_everything() -> None:
    assert not compile_selector(None).matches({})
    assert compile_selector(LabelSelector()).matches({})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app", True),
        ("!app", False),
        ("app=web", True),
        ("app == web,n>4", True),
        ("n<5", False),
        ("app in (api, web)", True),
        ("app in ()", False),
        ("tier notin (x)", True),
        ("tier=", False),
        ("app!=", True),
        ("in in (in)", False),
    ],
)
def test_text_selector_matches(text: str, matches: bool) -> None:
    assert parse_selector(text).matches({"app": "web", "n": "5"}) is matches


@pytest.mark.parametrize(
    "text",
    ["a b", "a=b c", "=a", "a in b", "a in (b", "a,", ",a", "!!a", "a>x", "a in (b c)", "-a"],
)
def test_text_selector_out_of_grammar_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_selector(text)


def _term(operator: str, *values: str) -> NodeSelectorTerm:
    item = NodeSelectorRequirement(key="n", operator=operator, values=values)
    return NodeSelectorTerm(match_expressions=(item,))


def test_malformed_term_matches_nothing_and_spoils_no_other() -> None:
    selector = NodeSelector(node_selector_terms=(_term("Gt", "x"), _term("Gt", "3")))
    matcher = compile_node_selector(selector)
    assert matcher.matches("node", {"n": "4"})
    assert not matcher.matches("node", {"n": "2"})
    assert matcher.error is not None


def test_empty_terms_match_no_node() -> None:
    empty = NodeSelector(node_selector_terms=(NodeSelectorTerm(),))
    assert not compile_node_selector(empty).matches("node", {})


def test_node_name_field_is_compared() -> None:
    field = NodeSelectorRequirement(key="metadata.name", operator="In", values=("a",))
    selector = NodeSelector(node_selector_terms=(NodeSelectorTerm(match_fields=(field,)),))
    matcher = compile_node_selector(selector)
    assert matcher.matches("a", {})
    assert not matcher.matches("b", {})


def test_preferences_add_up_and_refuse_malformed_terms() -> None:
    terms = [
        PreferredSchedulingTerm(weight=5, preference=_term("Exists")),
        PreferredSchedulingTerm(weight=3, preference=_term("Lt", "2")),
    ]
    assert compile_preferred(terms).score("a", {"n": "1"}) == 8
    with pytest.raises(ConfigError):
        compile_preferred([PreferredSchedulingTerm(weight=1, preference=_term("Gt", "-5"))])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("07", 7),
        ("", None),
        (" 5", None),
        ("1_0", None),
        ("\u0665", None),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
    ],
)
def test_integers_are_gos(text: str, number: int | None) -> None:
    assert parse_int64(text) == number


def test_tolerations_cover_what_they_name() -> None:
    taint = Taint(key="a", value="1", effect="NoSchedule")
    assert tolerates(Toleration(operator="Exists"), taint)
    assert tolerates(Toleration(key="a", value="1"), taint)
    assert not tolerates(Toleration(key="a", value="2"), taint)
    assert not tolerates(Toleration(key="a", operator="Gt", value="0"), taint)
    assert not tolerates(Toleration(key="a", operator="Exists", effect="NoExecute"), taint)


def test_first_untolerated_taint_of_the_effects_is_found() -> None:
    soft = Taint(key="s", effect=PREFER_NO_SCHEDULE)
    hard = Taint(key="h", effect="NoExecute")
    assert find_untolerated((soft, hard), ()) == hard
    assert find_untolerated((soft, hard), (Toleration(key="h", operator="Exists"),)) is None
    assert find_untolerated((soft,), (), frozenset((PREFER_NO_SCHEDULE,))) == soft
