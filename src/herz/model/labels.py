"""Selectors over labels: compiled once, then matched fast.

Used by every filter and score that asks "does this selector match these labels?". A selector is
compiled from its object (`compile_selector`, `compile_node_selector`, `compile_preferred`) or from
text (`parse_selector`); what Kubernetes refuses raises ConfigError, at compile time, never later.

Source: apimachinery `labels`, `metav1.LabelSelectorAsSelector`, component-helpers `nodeaffinity`
(facts), checked by the oracle's `selectors` family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from herz.errors import ConfigError
from herz.model.meta import (
    LabelSelector,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from herz.model.pod import PreferredSchedulingTerm

Labels = Mapping[str, str]

IN = "In"
NOT_IN = "NotIn"
EXISTS = "Exists"
DOES_NOT_EXIST = "DoesNotExist"
GREATER = "Gt"
LESS = "Lt"
# These exist in text selectors only; they match like In and NotIn, and print as they were written.
EQUALS = "="
DOUBLE_EQUALS = "=="
NOT_EQUALS = "!="

LABEL_OPERATORS = (IN, NOT_IN, EXISTS, DOES_NOT_EXIST)
NODE_OPERATORS = (*LABEL_OPERATORS, GREATER, LESS)
NODE_NAME_FIELD = "metadata.name"

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label.

    Args:
        key: the label's key.
        operator: one of this module's operators.
        values: what the label's value is compared with.
        bound: the number of Gt and Lt; None for the others.
        written: the values as they are printed, sorted, a repeated one repeated.
    """

    key: str
    operator: str
    values: frozenset[str] = frozenset()
    bound: int | None = None
    written: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet the condition."""
        value = labels.get(self.key)
        operator = self.operator
        if operator in (IN, EQUALS, DOUBLE_EQUALS):
            return value is not None and value in self.values
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        number = None if value is None else parse_int64(value)
        if number is None or self.bound is None:
            return False
        return number > self.bound if operator == GREATER else number < self.bound

    def __str__(self) -> str:
        """The condition in the text form of selectors."""
        if self.operator == EXISTS:
            return self.key
        if self.operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        values = ",".join(self.written)
        if self.operator in (IN, NOT_IN):
            return f"{self.key} {self.operator.lower()} ({values})"
        sign = {GREATER: ">", LESS: "<"}.get(self.operator, self.operator)
        return f"{self.key}{sign}{values}"


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """A compiled selector: all of its requirements, or nothing at all.

    Args:
        requirements: sorted by key; an empty tuple matches everything.
        is_nothing: whether it matches no labels whatever (an absent selector).
    """

    requirements: tuple[Requirement, ...] = ()
    is_nothing: bool = False

    @property
    def is_everything(self) -> bool:
        """Whether it matches all labels."""
        return not self.requirements and not self.is_nothing

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet every requirement."""
        if self.is_nothing:
            return False
        # A loop, not all(): this is the innermost call of spreading and of pod affinity.
        for requirement in self.requirements:  # noqa: SIM110
            if not requirement.matches(labels):
                return False
        return True

    def __str__(self) -> str:
        """The selector in its text form; empty for everything and for nothing."""
        return ",".join(map(str, self.requirements))


EVERYTHING = LabelMatcher()
NOTHING = LabelMatcher(is_nothing=True)


@dataclass(frozen=True, slots=True)
class NodeTermMatcher:
    """A compiled term of a node selector.

    Args:
        labels: the conditions on labels; None where the term has none.
        fields: (key, value, whether it must be equal), each met by the node's fields.
        error: why the term is malformed; such a term matches no node.
    """

    labels: LabelMatcher | None = None
    fields: tuple[tuple[str, str, bool], ...] = ()
    error: ConfigError | None = None

    def matches(self, name: str, labels: Labels) -> bool:
        """Whether a node of that name and labels meets the term."""
        if self.error is not None:
            return False
        if self.labels is not None and not self.labels.matches(labels):
            return False
        # A node without a name has no fields, and then conditions on fields are not asked.
        return not name or all(
            ((name if key == NODE_NAME_FIELD else "") == value) is must_equal
            for key, value, must_equal in self.fields
        )


@dataclass(frozen=True, slots=True)
class NodeMatcher:
    """A compiled node selector: any of its terms. Malformed terms match nothing."""

    terms: tuple[NodeTermMatcher, ...] = ()

    @property
    def error(self) -> ConfigError | None:
        """Why the first malformed term is malformed; None where all are well."""
        return next((term.error for term in self.terms if term.error is not None), None)

    def matches(self, name: str, labels: Labels) -> bool:
        """Whether a node of that name and labels meets at least one term."""
        return any(term.matches(name, labels) for term in self.terms)


@dataclass(frozen=True, slots=True)
class PreferenceMatcher:
    """Compiled preferred terms with their weights."""

    terms: tuple[tuple[int, NodeTermMatcher], ...] = ()

    def score(self, name: str, labels: Labels) -> int:
        """The sum of the weights of the terms that a node meets."""
        return sum(weight for weight, term in self.terms if term.matches(name, labels))


def compile_selector(selector: LabelSelector | None) -> LabelMatcher:
    """The matcher of a label selector; of none, one that matches nothing.

    Raises:
        ConfigError: an operator, key, value or number of values isn't allowed.
    """
    if selector is None:
        return NOTHING
    wanted = [
        make_requirement(key, EQUALS, (value,)) for key, value in selector.match_labels.items()
    ]
    for index, item in enumerate(selector.match_expressions):
        where = f"matchExpressions[{index}]"
        _check_operator(item.operator, LABEL_OPERATORS, where)
        wanted.append(make_requirement(item.key, item.operator, item.values, where=where))
    return _matcher(wanted)


def compile_label_map(labels: Labels) -> LabelMatcher:
    """The matcher of a plain map (nodeSelector, a Service's selector); an empty one: everything."""
    return _matcher(
        Requirement(key, EQUALS, frozenset((value,)), written=(value,))
        for key, value in labels.items()
    )


def merge_matchers(one: LabelMatcher, other: LabelMatcher) -> LabelMatcher:
    """The matcher of what both match. One that matches nothing has no requirements to add."""
    return _matcher(dict.fromkeys((*one.requirements, *other.requirements)))


def compile_node_selector(selector: NodeSelector) -> NodeMatcher:
    """The matcher of a node selector. Empty terms are dropped: they match no node.

    Never raises: one malformed term doesn't spoil the others (`NodeMatcher.error` tells).
    """
    terms = []
    for index, term in enumerate(selector.node_selector_terms):
        if term.match_expressions or term.match_fields:
            terms.append(_compile_term_lazily(term, f"nodeSelectorTerms[{index}]"))
    return NodeMatcher(tuple(terms))


def compile_preferred(terms: Iterable[PreferredSchedulingTerm]) -> PreferenceMatcher:
    """The matcher of preferred terms; those of weight 0 and empty ones are dropped.

    Raises:
        ConfigError: a term is malformed; Kubernetes then fails the pod's scoring as a whole.
    """
    compiled = []
    for index, term in enumerate(terms):
        preference = term.preference
        if term.weight == 0 or not (preference.match_expressions or preference.match_fields):
            continue
        compiled.append((term.weight, _compile_term(preference, f"[{index}]")))
    return PreferenceMatcher(tuple(compiled))


def make_requirement(
    key: str, operator: str, values: Iterable[str], *, where: str = ""
) -> Requirement:
    """A checked requirement.

    Raises:
        ConfigError: the key or a value is no label text, or the number of values is wrong.
    """
    given = tuple(values)
    if problem := label_key_problem(key):
        raise ConfigError(problem, where=_path(where, "key"), value=key, fix=_KEY_FIX)
    if problem := _count_problem(operator, len(given)):
        raise ConfigError(problem, where=_path(where, "values"), value=list(given))
    bound = None
    if operator in (GREATER, LESS):
        bound = parse_int64(given[0])
        if bound is None:
            fix = "give one whole number in decimal digits"
            raise ConfigError("not a whole number", where=where, value=given[0], fix=fix)
    for value in given:
        if problem := label_value_problem(value):
            raise ConfigError(problem, where=_path(where, "values"), value=value, fix=_VALUE_FIX)
    return Requirement(key, operator, frozenset(given), bound, tuple(sorted(given)))


_KEY_FIX = 'write "name" or "prefix.example.com/name"'
_VALUE_FIX = "use at most 63 letters, digits, '-', '_', '.', with a letter or digit at both ends"


def label_key_problem(key: str) -> str:
    """What is wrong with a label key; empty where nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not _PREFIX.fullmatch(prefix) or len(prefix) > 253):
        return "the label key's prefix is no DNS subdomain"
    if len(name) > 63 or not _NAME.fullmatch(name):
        return "not a label key"
    return ""


def label_value_problem(value: str) -> str:
    """What is wrong with a label value; empty where nothing is."""
    if value and (len(value) > 63 or not _NAME.fullmatch(value)):
        return "not a label value"
    return ""


def parse_int64(text: str) -> int | None:
    """The 64-bit integer that a text is, by Go's rule: sign and ASCII digits; None otherwise."""
    if len(text) > 64 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _matcher(requirements: Iterable[Requirement]) -> LabelMatcher:
    ordered = sorted(requirements, key=lambda requirement: requirement.key)
    return LabelMatcher(tuple(ordered)) if ordered else EVERYTHING


def _compile_term_lazily(term: NodeSelectorTerm, where: str) -> NodeTermMatcher:
    try:
        return _compile_term(term, where)
    except ConfigError as error:
        return NodeTermMatcher(error=error)


def _compile_term(term: NodeSelectorTerm, where: str) -> NodeTermMatcher:
    requirements = []
    for index, item in enumerate(term.match_expressions):
        path = f"{where}.matchExpressions[{index}]"
        _check_operator(item.operator, NODE_OPERATORS, path)
        requirements.append(make_requirement(item.key, item.operator, item.values, where=path))
    fields = tuple(
        _compile_field(item, f"{where}.matchFields[{index}]")
        for index, item in enumerate(term.match_fields)
    )
    return NodeTermMatcher(_matcher(requirements) if requirements else None, fields)


def _compile_field(item: NodeSelectorRequirement, where: str) -> tuple[str, str, bool]:
    _check_operator(item.operator, (IN, NOT_IN), where)
    if len(item.values) != 1:
        problem = "a field is compared with exactly one value"
        raise ConfigError(problem, where=f"{where}.values", value=list(item.values))
    return item.key, item.values[0], item.operator == IN


def _check_operator(operator: str, allowed: tuple[str, ...], where: str) -> None:
    if operator not in allowed:
        fix = f"use one of {', '.join(allowed)}"
        raise ConfigError(
            "unknown operator", where=_path(where, "operator"), value=operator, fix=fix
        )


def _count_problem(operator: str, count: int) -> str:
    """What is wrong with the number of an operator's values; empty where nothing is."""
    if operator in (IN, NOT_IN):
        return "" if count else f"{operator} needs at least one value"
    if operator in (EXISTS, DOES_NOT_EXIST):
        return f"{operator} takes no values" if count else ""
    return "" if count == 1 else f"{operator} needs exactly one value"


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
