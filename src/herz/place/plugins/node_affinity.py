"""NodeAffinity: nodeSelector and node affinity of the pod, and the profile's added affinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.errors import ConfigError
from herz.model.labels import (
    LabelMatcher,
    NodeMatcher,
    PreferenceMatcher,
    compile_node_selector,
    compile_preferred,
)
from herz.model.objects import NodeAffinity as Affinity
from herz.model.objects import NodeSelector
from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.place.selecting import (
    RequiredNodes,
    required_nodes,
    rows_matching,
    rows_matching_term,
    rows_required,
)
from herz.plugin import (
    SCORE_MAX,
    SKIP,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    Narrowed,
    Normalize,
    Reads,
    ReasonBook,
    Rows,
    RowVersioned,
    Verdict,
    View,
    row_count,
)

REASON_POD: Final = "node(s) didn't match Pod's node affinity/selector"
REASON_ENFORCED: Final = "node(s) didn't match scheduler-enforced node affinity"
REASON_CONFLICT: Final = "pod affinity terms conflict"

_NOBODY: Final = Affinity()


class NodeAffinityArguments(Arguments, frozen=True):
    """`addedAffinity`: what every pod of the profile must and would like to have."""

    added_affinity: Affinity | None = None


class NodeAffinity(Filter, Normalize, RowVersioned, Hints):
    """Required terms filter, preferred terms score the sum of their weights."""

    name: ClassVar[str] = "NodeAffinity"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        added = read_arguments(self.name, args, NodeAffinityArguments).added_affinity or _NOBODY
        self._added: NodeMatcher | None = None
        self._added_preferred = PreferenceMatcher()
        try:
            if added.required is not None:
                self._added = compile_node_selector(added.required)
                if self._added.error is not None:
                    raise self._added.error
            self._added_preferred = compile_preferred(added.preferred)
        except ConfigError as error:
            raise error.at(f"pluginConfig[{self.name}].args.addedAffinity") from error
        self._pod_code = reasons.code(Kind.NEVER_FITS, self.name, (REASON_POD,))
        self._added_code = reasons.code(Kind.NEVER_FITS, self.name, (REASON_ENFORCED,))

    def sign(self, pod: PodInfo) -> object:
        """The selector and the affinity."""
        spec = pod.pod.spec
        return spec.node_selector, spec.affinity and spec.affinity.node_affinity

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The compiled terms; narrowed when every term names its nodes (DaemonSet pods)."""
        required = required_nodes(pod.pod)
        if required is None and self._added is None:
            return SKIP
        selector = _node_selector(pod)
        names = None if selector is None else _named_nodes(selector)
        if names is None:
            return required
        if not names:
            return Verdict(Kind.NEVER_FITS, self.name, (REASON_CONFLICT,))
        return Narrowed(tuple(sorted(names)), required)

    def filter(self, state: RequiredNodes | None, view: View, rows: Rows) -> Codes:
        """A code where the profile's affinity, or else the pod's, is not met."""
        codes = np.zeros(row_count(view, rows), np.int16)
        if state is not None:
            codes[~rows_required(state, view, rows)] = self._pod_code
        if self._added is not None:
            codes[~rows_matching(self._added, view, rows)] = self._added_code
        return codes

    def prepare_score(self, pod: PodInfo, view: View) -> Any:
        """The compiled preferred terms; an error when one is malformed, as in Kubernetes."""
        affinity = pod.pod.spec.affinity
        own = affinity.node_affinity if affinity is not None else None
        try:
            preferred = compile_preferred(own.preferred if own is not None else ())
        except ConfigError as error:
            return Verdict(Kind.ERROR, self.name, (f"preferred term{error.message}",))
        terms = (*self._added_preferred.terms, *preferred.terms)
        return PreferenceMatcher(terms) if terms else SKIP

    def score(self, state: PreferenceMatcher, view: View, rows: Rows) -> Int64s:
        """The sum of the weights of the terms that the node meets."""
        total = np.zeros(row_count(view, rows), np.int64)
        for weight, term in state.terms:
            total[rows_matching_term(term, view, rows)] += weight
        return total

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        """In proportion to the highest sum."""
        return raw if high == 0 else SCORE_MAX * raw // high

    def row_version(self, state: RequiredNodes | PreferenceMatcher | None, view: View) -> object:
        """Of the labels that the terms ask about."""
        terms = [] if self._added is None else [*self._added.terms]
        matchers: list[LabelMatcher | None] = []
        if isinstance(state, PreferenceMatcher):
            terms = [term for _, term in state.terms]
        elif state is not None:
            matchers.append(state.labels)
            terms += () if state.affinity is None else state.affinity.terms
        if any(term.fields for term in terms):
            return None
        matchers += [term.labels for term in terms]
        return tuple(
            view.labels_version(requirement.key)
            for matcher in matchers
            if matcher is not None
            for requirement in matcher.requirements
        )

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node came or changed its labels and matches now, or the pod changed."""
        return {
            EventKind.NODE_ADD: self._matches,
            EventKind.NODE_UPDATE: self._matches_now,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }

    def _matches(self, pod: PodInfo, change: Change) -> bool:
        name, labels = change.new.name, change.new.metadata.labels
        if self._added is not None and not self._added.matches(name, labels):
            return False
        required = required_nodes(pod.pod)
        return required is None or required.matches(name, labels)

    def _matches_now(self, pod: PodInfo, change: Change) -> bool:
        return bool(change.aspects & Reads.LABELS) and self._matches(pod, change)


def _node_selector(pod: PodInfo) -> NodeSelector | None:
    affinity = pod.pod.spec.affinity
    own = affinity.node_affinity if affinity is not None else None
    return None if own is None else own.required


def _named_nodes(selector: NodeSelector) -> set[str] | None:
    """The names to which every term restricts the pod; None when one term does not."""
    union: set[str] = set()
    for term in selector.node_selector_terms:
        named = [
            set(item.values)
            for item in term.match_fields
            if item.key == "metadata.name" and item.operator == "In"
        ]
        if not named:
            return None
        union |= set.intersection(*named)
    return union if selector.node_selector_terms else None
