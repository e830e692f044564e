"""Which pods are on which rows, by labels and by terms: counts that follow each change.

A count belongs to a question ("pods of this namespace with these labels") and lives as long as
somebody holds it. A pod that comes or goes moves the counts that its labels match, whatever the
number of pods: the cost of a decision does not grow with the pods that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakValueDictionary, ref

import numpy as np

from herz.model.labels import Labels
from herz.model.podinfo import PodGroupKey, PodInfo
from herz.model.terms import Term
from herz.plugin import Int64s, PodQuery

MATCHED_MAX: Final = 4_096
"""Bound: kinds of pods of which is remembered which terms mean them."""


@dataclass(slots=True)
class _Group:
    """Pods that no selector can tell apart."""

    rows: dict[int, int] = field(default_factory=dict)
    """How many of them by row."""
    counts: list[ref[PodCount]] = field(default_factory=list)
    """The counts that they are in."""


class PodCount:
    """How many of the pods that a query means are on each row.

    Attributes:
        query: the question.
        column: the answer, (rows,) int64.
        version: moves with the answer.
    """

    __slots__ = ("__weakref__", "column", "query", "version")

    def __init__(self, query: PodQuery, size: int) -> None:
        self.query = query
        self.column: Int64s = np.zeros(size, np.int64)
        self.version = 0

    def share(self, pod: PodInfo) -> int:
        """What one such pod adds where it is."""
        return int(self.query.means(pod))


class TermCount:
    """How many pods with a term are on each row.

    Attributes:
        term: the term.
        column: the count, (rows,) int64.
        total: their sum.
        version: moves with the count.
    """

    __slots__ = ("column", "term", "total", "version")

    def __init__(self, term: Term, size: int) -> None:
        self.term = term
        self.column: Int64s = np.zeros(size, np.int64)
        self.total = 0
        self.version = 0

    def share(self, pod: PodInfo) -> int:
        """What one such pod adds where it is."""
        return pod.terms.count(self.term)


Counted: TypeAlias = PodCount | TermCount
_Matched: TypeAlias = tuple[int, tuple[TermCount, ...]]


class PodIndex:
    """Counts of the pods on rows."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._groups: dict[PodGroupKey, _Group] = {}
        self._counts: WeakValueDictionary[PodQuery, PodCount] = WeakValueDictionary()
        self._terms: dict[Term, TermCount] = {}
        self.terms_version = 0
        """Moves when a term comes that no pod had, or goes with the last pod that had it."""
        self._matched: dict[tuple[object, ...], _Matched] = {}

    @property
    def has_terms(self) -> bool:
        """Whether a pod on a row has a term."""
        return bool(self._terms)

    def grow(self, size: int) -> None:
        """Make room for more rows."""
        self._size = size
        every: list[Counted] = [*self._counts.values(), *self._terms.values()]
        for counted in every:
            column = np.zeros(size, np.int64)
            column[: len(counted.column)] = counted.column
            counted.column = column

    def moves(self, pod: PodInfo) -> bool:
        """Whether a count may move when such a pod comes or goes."""
        group = self._groups.get(pod.group)
        return group is None or bool(group.counts) or bool(pod.terms)

    def follow(self, query: PodQuery) -> PodCount:
        """The count of the pods that the query means, kept up to date while it is held.

        Cost: O(1) when somebody holds it; otherwise O(kinds of pods).
        """
        known = self._counts.get(query)
        if known is not None:
            return known
        made = self._counts[query] = PodCount(query, self._size)
        for key, group in self._groups.items():
            if query.means_group(key):
                group.counts.append(ref(made))
                for row, number in group.rows.items():
                    made.column[row] += number
        return made

    def meaning(self, pod: PodInfo, namespace_labels: Labels) -> tuple[TermCount, ...]:
        """The counts of the terms, of pods on rows, that mean this pod."""
        labels = pod.group.labels
        key = (pod.namespace, labels, tuple(sorted(namespace_labels.items())))
        known = self._matched.get(key)
        if known is None or known[0] != self.terms_version:
            # Bound: whatever is dropped is worked out again.
            if len(self._matched) >= MATCHED_MAX:
                self._matched.clear()
            known = self._matched[key] = (
                self.terms_version,
                tuple(self._meaning(pod.namespace, namespace_labels, dict(labels))),
            )
        return known[1]

    def _meaning(self, namespace: str, above: Labels, labels: Labels) -> Iterator[TermCount]:
        for term, counted in self._terms.items():
            if term.matches(namespace, above, labels):
                yield counted

    def shift(self, pod: PodInfo, row: int, sign: int) -> bool:
        """A pod is on the row (1), or is there no more (-1); says whether that moved a count."""
        group = self._groups.get(pod.group)
        if group is None:
            group = self._new_group(pod.group)
        number = group.rows.get(row, 0) + sign
        if number:
            group.rows[row] = number
        else:
            del group.rows[row]
        is_moved = bool(pod.terms)
        if group.counts:
            for counted in _held(group):
                counted.column[row] += sign
                counted.version += 1
                is_moved = True
        if not group.rows:
            del self._groups[pod.group]
        for term in pod.terms:
            self._shift_term(term, row, sign)
        return is_moved

    def _new_group(self, key: PodGroupKey) -> _Group:
        group = self._groups[key] = _Group()
        group.counts = [
            ref(count) for count in self._counts.values() if count.query.means_group(key)
        ]
        return group

    def _shift_term(self, term: Term, row: int, sign: int) -> None:
        counted = self._terms.get(term)
        if counted is None:
            counted = self._terms[term] = TermCount(term, self._size)
            self.terms_version += 1
        counted.column[row] += sign
        counted.total += sign
        counted.version += 1
        if not counted.total:
            del self._terms[term]
            self.terms_version += 1


def _held(group: _Group) -> list[PodCount]:
    """The group's counts that somebody still holds; forgets the others."""
    found = [count for count in (one() for one in group.counts) if count is not None]
    if len(found) < len(group.counts):
        group.counts = [ref(count) for count in found]
    return found
