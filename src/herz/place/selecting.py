"""Compiled node selectors, asked of all rows at once through the selector index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from herz.model.labels import (
    DOES_NOT_EXIST,
    EXISTS,
    GREATER,
    IN,
    LESS,
    NODE_NAME_FIELD,
    NOT_IN,
    LabelMatcher,
    NodeMatcher,
    NodeTermMatcher,
    Requirement,
    compile_label_map,
    compile_node_selector,
)
from herz.model.objects import Pod
from herz.plugin import Rows, View, row_count

Mask = npt.NDArray[np.bool_]

_MEMBERSHIP = (IN, "=", "==")
_NON_MEMBERSHIP = (NOT_IN, "!=")


@dataclass(frozen=True, slots=True)
class RequiredNodes:
    """On which nodes a pod may be: its node selector, and its required node affinity.

    Args:
        labels: the node selector.
        affinity: the required terms; None where the pod has none.
    """

    labels: LabelMatcher
    affinity: NodeMatcher | None

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether one node meets both."""
        return self.labels.matches(labels) and (
            self.affinity is None or self.affinity.matches(name, labels)
        )


def required_nodes(pod: Pod) -> RequiredNodes | None:
    """What the pod requires of nodes; None when nothing."""
    labels, affinity = pod.spec.node_selector, pod.spec.affinity
    own = None if affinity is None else affinity.node_affinity
    selector = None if own is None else own.required
    if not labels and selector is None:
        return None
    matcher = None if selector is None else compile_node_selector(selector)
    return RequiredNodes(compile_label_map(labels), matcher)


def rows_required(required: RequiredNodes, view: View, rows: Rows) -> Mask:
    """By row: whether the node meets what the pod requires."""
    mask = rows_matching_labels(required.labels, view, rows)
    if required.affinity is not None:
        mask = mask & rows_matching(required.affinity, view, rows)
    return mask


def rows_matching(matcher: NodeMatcher, view: View, rows: Rows) -> Mask:
    """By row: whether the node meets at least one term."""
    mask = np.zeros(row_count(view, rows), np.bool_)
    for term in matcher.terms:
        mask |= rows_matching_term(term, view, rows)
    return mask


def rows_matching_term(term: NodeTermMatcher, view: View, rows: Rows) -> Mask:
    """By row: whether the node meets all of the term; a malformed term is met by none."""
    if term.error is not None:
        return np.zeros(row_count(view, rows), np.bool_)
    mask = np.ones(row_count(view, rows), np.bool_)
    if term.labels is not None:
        mask &= rows_matching_labels(term.labels, view, rows)
    for key, value, must_equal in term.fields:
        if key == NODE_NAME_FIELD:
            mask &= _is_named(value, view, rows) == must_equal
        else:
            # A node has no other field: it is as if the field were there and empty.
            mask &= (value == "") == must_equal
    return mask


def rows_matching_labels(matcher: LabelMatcher, view: View, rows: Rows) -> Mask:
    """By row: whether the node's labels meet every requirement."""
    if matcher.is_nothing or not matcher.requirements:
        return np.full(row_count(view, rows), not matcher.is_nothing, np.bool_)
    masks = [_meets(requirement, view, rows) for requirement in matcher.requirements]
    return reduce(np.logical_and, masks)


def _is_named(name: str, view: View, rows: Rows) -> Mask:
    mask = np.zeros(view.size, np.bool_)
    row = view.row(name)
    if row is not None:
        mask[row] = True
    return mask[rows]


def _meets(requirement: Requirement, view: View, rows: Rows) -> Mask:
    column = view.labels(requirement.key)[rows]
    operator = requirement.operator
    if operator == EXISTS:
        return np.not_equal(column, 0)
    if operator == DOES_NOT_EXIST:
        return np.equal(column, 0)
    if operator in (GREATER, LESS):
        return _compares(requirement, view, rows)
    wanted = [view.label_id(value) for value in sorted(requirement.values)]
    found = column == wanted[0] if len(wanted) == 1 else np.isin(column, wanted)
    if operator in _MEMBERSHIP:
        return found
    assert operator in _NON_MEMBERSHIP, f"operator {operator!r} is not compiled"
    return ~found


def _compares(requirement: Requirement, view: View, rows: Rows) -> Mask:
    numbers, are_numbers = view.label_integers(requirement.key)
    column = view.labels(requirement.key)[rows]
    assert requirement.bound is not None, "Gt and Lt are compiled with a bound"
    numbers, are_numbers = numbers[rows], are_numbers[rows] & (column != 0)
    if requirement.operator == GREATER:
        found: Mask = are_numbers & (numbers > requirement.bound)
    else:
        found = are_numbers & (numbers < requirement.bound)
    return found
