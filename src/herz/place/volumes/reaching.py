"""Things in an order, each in reach of some nodes: which is the first at each node?

Local volumes ask for one value of one label, thousands of them for thousands of values. They are
looked up by that value, all rows at once; only what asks for more is asked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from herz.model.labels import DOUBLE_EQUALS, EQUALS, IN, Requirement
from herz.place.columns import NodeTable
from herz.place.volumes.affinity import Reach
from herz.plugin import Int64s, Rows, View, row_count

NOWHERE: Final = np.iinfo(np.int64).max
"""No position: nothing is in reach."""
_NUMBERS_MAX: Final = 64
"""Bound: numbers of reaches that nothing has any more, beyond as many as there are things."""


class Reaches:
    """Where the things at positions 0, 1, ... can be reached.

    Args:
        nodes: knows the numbers of label values.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        # By position: the number of what is asked for, and of the value when that is one label's.
        self._kinds: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._values: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        # A label's key, or a whole reach, by number.
        self._asked: list[str | Reach] = []
        self._numbers: dict[str | Reach, int] = {}

    @property
    def is_overgrown(self) -> bool:
        """Whether most of what is remembered is of things that are gone: make it anew."""
        return len(self._asked) > len(self._kinds) + _NUMBERS_MAX

    def put_all(self, reaches: Sequence[Reach]) -> None:
        """These are the things, in their order."""
        self._asked, self._numbers = [], {}
        read = [self._read(one) for one in reaches]
        self._kinds = np.array([kind for kind, _ in read], np.int32)
        self._values = np.array([value for _, value in read], np.int32)

    def insert(self, at: int, reach: Reach) -> None:
        """One more thing, at this position."""
        kind, value = self._read(reach)
        self._kinds = np.insert(self._kinds, at, kind)
        self._values = np.insert(self._values, at, value)

    def replace(self, at: int, reach: Reach) -> None:
        """Another thing at this position."""
        self._kinds[at], self._values[at] = self._read(reach)

    def delete(self, at: int) -> None:
        """The thing at this position is gone."""
        self._kinds = np.delete(self._kinds, at)
        self._values = np.delete(self._values, at)

    def first(self, among: Int64s, view: View, rows: Rows, barred: Sequence[Int64s] = ()) -> Int64s:
        """By row: the first of some things that is in reach there.

        Args:
            among: positions of the things, sorted.
            view: the nodes.
            rows: which of them.
            barred: by row each: positions that are not to be had there.

        Returns:
            A position by row; NOWHERE where none is in reach.
        """
        best: Int64s = np.full(row_count(view, rows), NOWHERE, np.int64)
        for asked, mine in self._by_kind(among):
            if int(best.max(initial=0)) < int(mine[0]):
                # Bound: later kinds begin later still.
                break
            if isinstance(asked, str):
                found = self._by_label(mine, view.labels(asked)[rows], barred)
            else:
                is_near = asked.rows(view, rows)
                start = np.where(is_near, 0, len(mine))
                found = _skip(mine, start, np.full(len(best), len(mine)), barred)
            np.minimum(best, found, out=best)
        return best

    def _by_kind(self, among: Int64s) -> Iterator[tuple[str | Reach, Int64s]]:
        """What is asked for, with the positions at which it is: that of the first thing first."""
        kinds = self._kinds[among]
        if len(among) and (kinds == kinds[0]).all():
            yield self._asked[kinds[0]], among
            return
        order = np.argsort(kinds, kind="stable")
        starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
        parts = np.split(among[order], starts[1:]) if len(among) else []
        for part in sorted(parts, key=lambda part: int(part[0])):
            yield self._asked[self._kinds[part[0]]], part

    def _by_label(
        self, mine: Int64s, column: npt.NDArray[np.int32], barred: Sequence[Int64s]
    ) -> Int64s:
        values = self._values[mine]
        if not barred and len(column) == 1:
            return np.append(mine[values == column[0]], NOWHERE)[:1]
        if not barred:
            # From the last to the first: of things with one value the first is written last.
            first = np.full(int(values.max()) + 2, NOWHERE, np.int64)
            first[values[::-1]] = mine[::-1]
            found: Int64s = first[np.minimum(column, len(first) - 1)]
            return found
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        start = np.searchsorted(ordered, column)
        return _skip(mine[order], start, np.searchsorted(ordered, column, "right"), barred)

    def _read(self, reach: Reach) -> tuple[int, int]:
        only = only_label(reach)
        asked = reach if only is None else only.key
        number = self._numbers.setdefault(asked, len(self._asked))
        if number == len(self._asked):
            self._asked.append(asked)
        if only is None:
            return number, 0
        (value,) = only.values
        return number, self._nodes.labels.value_id(value)


def _skip(mine: Int64s, start: Int64s, end: Int64s, barred: Sequence[Int64s]) -> Int64s:
    """By row: the first of `mine[start:end]` that is not barred there."""
    padded = np.append(mine, NOWHERE)
    for _ in range(len(barred) + 1):  # Bound: each one barred is met once.
        found: Int64s = np.where(start < end, padded[np.minimum(start, len(mine))], NOWHERE)
        is_barred = np.zeros(len(found), np.bool_)
        for one in barred:
            is_barred |= found == one
        is_barred &= found != NOWHERE
        if not is_barred.any():
            break
        start = start + is_barred
    return found


def only_label(reach: Reach) -> Requirement | None:
    """The one label value that is asked for, as by local volumes; None: it is more than that."""
    if reach.plain is None or reach.plugin or len(reach.plain.terms) != 1:
        return None
    labels = reach.plain.terms[0].labels
    if labels is None or len(labels.requirements) != 1:
        return None
    (only,) = labels.requirements
    is_one = only.operator in (IN, EQUALS, DOUBLE_EQUALS) and len(only.values) == 1
    return only if is_one else None
