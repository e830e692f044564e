"""Selectors and tolerations agree with Kubernetes' own, case by case, refusals included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.labels import compile_node_selector, compile_preferred, compile_selector
from herz.model.node import Taint
from herz.model.objects import LabelSelector, NodeSelector, PreferredSchedulingTerm, Toleration
from herz.model.selector_text import parse_selector
from herz.model.taints import tolerates
from tests.oracle.oracle import Case, cases


def _of_kind(kind: str) -> Iterator[Case]:
    found = [case for case in cases("selectors") if case["kind"] == kind]
    assert found, f"no case of kind {kind}"
    yield from found


def test_label_selectors_agree_with_kubernetes() -> None:
    for case in _of_kind("labelSelector"):
        given = case["selector"]
        selector = None if given is None else convert(LabelSelector, given)
        if "error" in case:
            with pytest.raises(ConfigError):
                compile_selector(selector)
            continue
        matcher = compile_selector(selector)
        seen = (matcher.matches(case["labels"]), matcher.is_everything, str(matcher))
        assert seen == (case["matches"], case["empty"], case["string"]), case


def test_text_selectors_agree_with_kubernetes() -> None:
    for case in _of_kind("string"):
        if "error" in case:
            with pytest.raises(ConfigError):
                parse_selector(case["selector"])
            continue
        matcher = parse_selector(case["selector"])
        assert matcher.matches(case["labels"]) is case["matches"], case
        if "string" in case:
            assert str(matcher) == case["string"], case


def test_node_selectors_agree_with_kubernetes() -> None:
    for case in _of_kind("nodeSelector"):
        matcher = compile_node_selector(convert(NodeSelector, case["nodeSelector"]))
        node = case["node"]
        matches = matcher.matches(node["name"], node.get("labels", {}))
        assert matches is case["matches"], case
        assert (matcher.error is not None) is ("parseError" in case), case
        if "matchError" in case:
            assert matcher.error is not None, case


def test_preferred_terms_agree_with_kubernetes() -> None:
    for case in _of_kind("preferred"):
        terms = [convert(PreferredSchedulingTerm, term) for term in case["terms"]]
        if "parseError" in case:
            with pytest.raises(ConfigError):
                compile_preferred(terms)
            continue
        node = case["node"]
        score = compile_preferred(terms).score(node["name"], node.get("labels", {}))
        assert score == case["score"], case


def test_tolerations_agree_with_kubernetes() -> None:
    for case in _of_kind("toleration"):
        toleration, taint = convert(Toleration, case["toleration"]), convert(Taint, case["taint"])
        assert tolerates(toleration, taint) is case["tolerates"], case
