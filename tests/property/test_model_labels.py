"""Laws of selectors: the text form means the same, and In and NotIn are opposites."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from herz.errors import ConfigError
from herz.model.labels import (
    DOES_NOT_EXIST,
    EXISTS,
    IN,
    NOT_IN,
    compile_label_map,
    compile_selector,
)
from herz.model.objects import LabelSelector, LabelSelectorRequirement
from herz.model.selector_text import parse_selector

_KEYS = st.sampled_from(["a", "b", "in", "notin", "x.io/d"])
_VALUES = st.sampled_from(["", "1", "in", "v-1", "V.2"])
_LABELS = st.dictionaries(_KEYS, _VALUES, max_size=4)


@st.composite
def _requirements(draw: st.DrawFn) -> LabelSelectorRequirement:
    operator = draw(st.sampled_from([IN, NOT_IN, EXISTS, DOES_NOT_EXIST]))
    has_values = operator in (IN, NOT_IN)
    values = tuple(draw(st.lists(_VALUES, min_size=1, max_size=3))) if has_values else ()
    return LabelSelectorRequirement(key=draw(_KEYS), operator=operator, values=values)


_SELECTORS = st.builds(
    LabelSelector,
    match_labels=_LABELS,
    match_expressions=st.lists(_requirements(), max_size=3).map(tuple),
)


@given(_SELECTORS, _LABELS)
def test_text_form_matches_the_same_labels(selector: LabelSelector, labels: dict[str, str]) -> None:
    matcher = compile_selector(selector)
    assert parse_selector(str(matcher)).matches(labels) == matcher.matches(labels)


@given(_requirements(), _LABELS)
def test_an_operator_and_its_opposite_never_agree(
    requirement: LabelSelectorRequirement, labels: dict[str, str]
) -> None:
    opposite = {IN: NOT_IN, NOT_IN: IN, EXISTS: DOES_NOT_EXIST, DOES_NOT_EXIST: EXISTS}
    other = LabelSelectorRequirement(
        key=requirement.key, operator=opposite[requirement.operator], values=requirement.values
    )
    one = compile_selector(LabelSelector(match_expressions=(requirement,)))
    two = compile_selector(LabelSelector(match_expressions=(other,)))
    assert one.matches(labels) != two.matches(labels)


@given(_LABELS, _LABELS)
def test_label_map_matches_exactly_its_supersets(
    wanted: dict[str, str], labels: dict[str, str]
) -> None:
    assert compile_label_map(wanted).matches(labels) == (wanted.items() <= labels.items())


@given(st.text(alphabet="ab=!(),<> intoI\t", max_size=12))
def test_any_text_is_a_selector_or_a_config_error(text: str) -> None:
    try:
        matcher = parse_selector(text)
    except ConfigError:
        return
    assert str(parse_selector(str(matcher))) == str(matcher)
