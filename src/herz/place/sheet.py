"""A sheet: what the rules say about every row for pods of one signature, kept up to date.

Runs the filters and scores of one policy over rows; knows what to ask again after a change. It
holds no rule and no order of its own: `herz._native.Table` keeps the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from herz._native import Table
from herz.errors import InvariantError
from herz.model.record import Stage
from herz.place.columns import NodeTable
from herz.plugin import (
    SKIP,
    Filter,
    Int64s,
    Plugin,
    Reading,
    Reads,
    ReasonBook,
    Rows,
    Score,
    Verdict,
    View,
)

_ALL_ROWS = slice(None)
_NODES = int(Reads.NODES)


@dataclass(slots=True)
class Asked:
    """A rule with its state for the signature.

    Args:
        rule: the rule.
        state: what its `prepare` gave.
        index: its place in the table, among filters or among scores.
        reads: the rule's declaration, as a plain int: IntFlag's operators cost a microsecond.
        reads_all: likewise.
        has_prescore: whether it is a PreScore; asking a Protocol costs tens of microseconds.
        has_extent: whether it is a Normalize.
        has_kernel: whether a native kernel answers for it.
        extent: lowest and highest raw value over the rows that fit, for Normalize rules.
    """

    rule: Any
    state: Any
    index: int
    reads: int
    reads_all: int
    has_prescore: bool = False
    has_extent: bool = False
    has_kernel: bool = False
    extent: tuple[int, int] = (0, 0)


class RuleError(Exception):
    """A rule raised, or answered against the contract. It never leaves the framework.

    Args:
        rule: the rule's name.
        what: what happened.
    """

    def __init__(self, rule: str, what: str) -> None:
        self.rule = rule
        self.what = what
        super().__init__(f"{rule}: {what}")


class Sheet:
    """Codes, points and totals by row for one signature."""

    def __init__(
        self,
        nodes: NodeTable,
        view: View,
        book: ReasonBook,
        filters: list[tuple[Filter, Any]],
        scores: list[tuple[Score, Any, int]],
        rows: Int64s | None = None,
        narrowed_by: tuple[str, ...] = (),
    ) -> None:
        """A sheet over all rows, or over those that rules narrowed the pod to.

        The latter is made for one decision and never refreshed.
        """
        self._nodes = nodes
        self._view = view
        self._book = book
        self.rows = rows
        self.narrowed_by = narrowed_by
        self.failed: Verdict | None = None
        """Why a score could not be prepared; it counts once a node fits."""
        self.stage: tuple[object, Stage] | None = None
        """The filter stage as last told, and what it was told from."""
        # Filter 0 is the table's own: is there a node at all?
        self._filters = [_asked(rule, state, i + 1) for i, (rule, state) in enumerate(filters)]
        self._scores = [_asked(rule, state, i) for i, (rule, state, _) in enumerate(scores)]
        self.score_names = tuple(rule.name for rule, _, _ in scores)
        size = nodes.size if rows is None else len(rows)
        kinds = [
            (weight, asked.has_extent, asked.rule.points_max)
            for asked, (_, _, weight) in zip(self._scores, scores, strict=True)
        ]
        self.table = Table(size, len(filters) + 1, kinds)
        self.seen = nodes.changes.end
        asked = (*self._filters, *self._scores)
        whole = _union(each.reads_all for each in asked)
        # Aspects whose rows are wanted, and those after which others than kernels are asked.
        self._wanted = _union(each.reads for each in asked) | whole | _NODES
        self._others = self._wanted
        self._extents = [each for each in self._scores if each.has_extent]
        if rows is None:
            self._attach_kernels()
        self._fill()

    def _attach_kernels(self) -> None:
        """Let native kernels answer for the rules that have them, after the first time."""
        for asked in self._filters:
            asked.has_kernel = hasattr(asked.rule, "kernel")
            if asked.has_kernel:
                self.table.attach_filter(asked.index, asked.rule.kernel(asked.state))
        for asked in self._scores:
            asked.has_kernel = hasattr(asked.rule, "score_kernel")
            if asked.has_kernel:
                self.table.attach_scorer(asked.index, asked.rule.score_kernel(asked.state))
        asked_all = (*self._filters, *self._scores)
        if not any(each.has_prescore for each in asked_all):
            self._others = _NODES | _union(
                each.reads_all | (0 if each.has_kernel else each.reads) for each in asked_all
            )

    def refresh(self) -> bool:
        """Bring the sheet up to what the node table says now.

        Returns:
            False when it cannot be (the table grew): make a new one.
        """
        changes = self._nodes.changes
        end = changes.end
        if end == self.seen:
            return True
        found = changes.since(self.seen, self._wanted)
        if found is None or self.table.size != self._nodes.size:
            return False
        seen, self.seen = self.seen, end
        changed, rows = found
        if changed & self._others:
            self._work(seen, changed, rows)
        elif len(rows):
            self._ask_kernels(seen, changed, rows)
        return True

    def _ask_kernels(self, seen: int, changed: int, rows: Int64s) -> None:
        """`_work` where only rules with kernels read what changed, in one call."""
        view = self._view
        flips, unknown, wrong = self.table.refresh(
            rows, view.allocatable, view.requested, view.nonzero
        )
        if unknown is not None:
            self._work(seen, changed, rows)
        elif flips and self._extents:
            # Points of a row that fits now may be of an older extent: judged after it is known.
            moved = [self._score(asked, rows, is_due=False) for asked in self._extents]
            self._settle_totals(None if any(moved) else rows)
        elif wrong is not None:
            self._refuse(self._scores[wrong[0]])

    def _work(self, seen: int, changed: int, rows: Int64s) -> None:
        """Ask the rules that read what changed, each about the rows where it did.

        Args:
            seen: position in the log of changes up to which the sheet is right.
            changed: all aspects that changed since.
            rows: the rows on which something changed that any rule reads.
        """
        nodes, view, table = self._nodes, self._view, self.table
        if changed & _NODES:
            at = nodes.changes.rows_since(seen, _NODES)
            table.set_codes(0, at, np.where(nodes.is_live[at], 0, -1).astype(np.int16))
        for asked in self._filters:
            if changed & asked.reads_all:
                rows = np.arange(table.size)
                self._filter(asked, None)
            elif changed & asked.reads and not asked.has_kernel:
                self._filter(asked, nodes.changes.rows_since(seen, asked.reads))
        flips = self._settle_codes(rows)
        is_whole = False
        for asked in self._scores:
            if changed & asked.reads_all:
                is_whole |= self._score(asked, None, is_due=True)
            elif changed & asked.reads and not asked.has_kernel:
                mine = nodes.changes.rows_since(seen, asked.reads)
                is_whole |= self._score(asked, mine, is_due=True)
            elif asked.has_prescore or (flips and asked.has_extent):
                is_whole |= self._score(asked, rows, is_due=False)
        table.refresh_points(rows, view.allocatable, view.requested, view.nonzero)
        self._settle_totals(None if is_whole else rows)

    def _settle_codes(self, rows: Int64s) -> int:
        """Let the filters' kernels answer and conclude; how many rows flipped."""
        view, table = self._view, self.table
        while True:  # Bound: each turn learns the code of one more combination of lacks.
            flips, unknown = table.refresh_codes(
                rows, view.allocatable, view.requested, view.nonzero
            )
            if unknown is None:
                return flips
            index, value = unknown
            asked = self._filters[index - 1]
            table.learn(index, value, asked.rule.code(asked.state, value))

    def _fill(self) -> None:
        """Ask everything about every row."""
        live = self._nodes.is_live if self.rows is None else self._nodes.is_live[self.rows]
        self.table.set_codes(0, None, np.where(live, 0, -1).astype(np.int16))
        for asked in self._filters:
            self._filter(asked, None)
        self.table.settle_codes(None)
        for asked in self._scores:
            self._score(asked, None, is_due=True)
        self._settle_totals(None)

    def _filter(self, asked: Asked, rows: Int64s | None) -> None:
        rule = asked.rule
        codes = call(rule, rule.filter, asked.state, self._view, self._at(rows))
        self._put(asked, self.table.set_codes, rows, codes)
        # As unsigned, a negative code is a very large one: one pass finds both kinds.
        if codes.view(np.uint16).max(initial=0) >= len(self._book):
            raise RuleError(rule.name, "gives a code that no reason has")

    def _put(self, asked: Asked, put: Callable[..., Any], rows: Int64s | None, answer: Any) -> Any:
        """Hand a rule's answer to the table, which takes arrays of one type and length only."""
        try:
            return put(asked.index, rows, answer)
        except (TypeError, ValueError) as error:
            what = " ".join(str(error).split())
            raise RuleError(asked.rule.name, f"answers with what is no column: {what}") from error

    def _at(self, rows: Int64s | None) -> Rows:
        if rows is not None:
            return rows
        return _ALL_ROWS if self.rows is None else self.rows

    def _score(self, asked: Asked, rows: Int64s | None, *, is_due: bool) -> bool:
        """Ask one score. Says whether points moved on other rows than those asked."""
        rule, state = asked.rule, asked.state
        if asked.has_prescore:
            # Its raw points read which rows fit, so all of them may have moved.
            state = call(rule, rule.prescore, state, self._view, self._fitting())
            if state is SKIP:
                self._store(asked, None, np.zeros(self.table.size, np.int64))
                return True
            rows, is_due = None, True
        if asked.has_extent:
            if is_due:
                raw = call(rule, rule.score, state, self._view, self._at(rows))
                self._put(asked, self.table.set_raw, rows, raw)
            return self._normalize(asked, rows, is_due=is_due)
        if is_due:
            points = call(rule, rule.score, state, self._view, self._at(rows))
            self._store(asked, rows, points)
        return rows is None

    def _fitting(self) -> Int64s:
        """The rows that fit, ascending."""
        found = self.table.fitting()
        return found if self.rows is None else self.rows[found]

    def _normalize(self, asked: Asked, rows: Int64s | None, *, is_due: bool) -> bool:
        """Points from raw values: for all rows when the extent moved, else for those asked."""
        extent = self.table.extent(asked.index)
        if extent is not None and extent != asked.extent:
            rows, asked.extent = None, extent
        elif not is_due:
            return False
        raw = self.table.raw(asked.index, rows)
        points = call(asked.rule, asked.rule.normalize, raw, *asked.extent)
        self._store(asked, rows, points)
        return rows is None

    def _store(self, asked: Asked, rows: Int64s | None, points: Int64s) -> None:
        wrong = self._put(asked, self.table.set_points, rows, points)
        if wrong is not None:
            self._refuse(asked)

    def _refuse(self, asked: Asked) -> NoReturn:
        # Neither row nor value: which comes first depends on the order in which nodes arrived.
        raise RuleError(asked.rule.name, f"gives points outside 0 to {asked.rule.points_max}")

    def _settle_totals(self, rows: Int64s | None) -> None:
        """Sum the points; those of a row that fits only now are checked only now."""
        wrong = self.table.settle_totals(rows)
        if wrong is not None:
            self._refuse(self._scores[wrong[0]])


def call(rule: Plugin, method: Callable[..., Any], *args: Any) -> Any:
    """Ask a rule, which may be anybody's code.

    Raises:
        RuleError: it raised.
    """
    try:
        return method(*args)
    except InvariantError:
        raise
    except Exception as error:
        # The edge between Herz and third-party rules: what they raise fails the attempt.
        raise RuleError(rule.name, f"{type(error).__name__}: {error}") from error


def _asked(rule: Reading, state: Any, index: int) -> Asked:
    return Asked(
        rule,
        state,
        index,
        reads=int(rule.reads),
        reads_all=int(rule.reads_all),
        has_prescore=hasattr(rule, "prescore"),
        has_extent=hasattr(rule, "normalize"),
    )


def _union(reads: Iterable[int]) -> int:
    union = 0
    for some in reads:
        union |= some
    return union
