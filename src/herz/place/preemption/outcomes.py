"""What preemption would cost on every row, for pods of one signature and priority.

Kept between decisions: a row is worked again when something on it changed that a rule, or
preemption itself, reads. Outcomes are memory only: working again gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from herz.place.answers import call
from herz.place.columns import EVERY_ASPECT, NodeTable
from herz.place.ledger import Placed
from herz.place.preemption.budgets import Budgets
from herz.place.preemption.importance import started_ns
from herz.place.preemption.trial import Outcome, Trial, moving
from herz.place.sheet import Asked
from herz.plugin import Int64s, Reads, View

BYTES_A_ROW: Final = 300
"""About what a row's outcome takes: its columns, and a few victims."""

_PRIORITY_SHIFT: Final = 1 << 31
"""Makes priorities positive: many pods then never cost less than few."""
NO_VICTIM: Final = -1
"""Stands for the code of a row that has no pod of lower priority."""

_NOT_ASKED: Final = -2
_UNKNOWN: Final = 0
_CANDIDATE: Final = 1
_REFUSED: Final = 2
_ROW: Final = int(EVERY_ASPECT | Reads.PREEMPTION)
_BUDGETS: Final = int(Reads.BUDGETS)

Cost = tuple[Int64s, ...]


class Outcomes:
    """Victims by row.

    Args:
        nodes: the node table.
        filters: the rules that have something to say to such a pod.
        prepared_from: aspects from which they were prepared.
        budgets: as they are now.
    """

    def __init__(
        self, nodes: NodeTable, filters: Sequence[Asked], prepared_from: int, budgets: Budgets
    ) -> None:
        self._nodes = nodes
        self._size = nodes.size
        self._seen = nodes.changes.end
        self._budgets = budgets
        self._prepared_from = prepared_from
        self._whole = self._wanted = 0
        for asked in filters:
            self._whole |= int(asked.rule.reads_all)
            self._wanted |= int(asked.rule.reads)
        self._wanted |= _ROW
        self._versions: list[object] | None = []
        self._state: npt.NDArray[np.int8] = np.zeros(self._size, np.int8)
        # By criterion of the choice, in order; what is lower is better.
        self._costs: Int64s = np.zeros((5, self._size), np.int64)
        self._victims: dict[int, tuple[Placed, ...]] = {}
        # Why the refused rows are refused, where it was asked.
        self._codes: Int64s = np.zeros(self._size, np.int64)
        self._matched: dict[int, frozenset[str]] = {}

    @property
    def bytes(self) -> int:
        """About what it takes."""
        return self._size * BYTES_A_ROW

    def refresh(self, view: View, filters: Sequence[Asked], budgets: Budgets) -> None:
        """Forget the rows on which something changed."""
        changes = self._nodes.changes
        versions = _versions(filters, view)
        before, self._versions = self._versions, versions
        found = changes.since(self._seen, self._wanted)
        self._seen = changes.end
        if (
            found is None
            or found[0] & self._prepared_from
            or (found[0] & self._whole and (versions is None or versions != before))
        ):
            self.forget()
        elif found[1] is not None:
            self._state[found[1]] = _UNKNOWN
        if budgets is not self._budgets:
            self._budget(budgets)

    def _budget(self, budgets: Budgets) -> None:
        changed = budgets.changed(self._budgets)
        self._budgets = budgets
        if changed is None:
            self.forget()
        elif changed:
            rows = [row for row, keys in self._matched.items() if keys & changed]
            self._state[rows] = _UNKNOWN

    def forget(self, row: int | None = None) -> None:
        """Forget the row; None: all."""
        self._state[slice(None) if row is None else row] = _UNKNOWN

    def work(self, trial: Trial, filters: Sequence[Asked], view: View, rows: Int64s) -> None:
        """Find the victims on those of the rows that are not known.

        Raises:
            RuleError: a rule failed; the rows stay unknown.
        """
        rows = rows[self._state[rows] == _UNKNOWN]
        if not len(rows):
            return
        self._codes[rows] = _NOT_ASKED
        # What refuses the pod whoever leaves need not be tried.
        is_open = np.ones(len(rows), np.bool_)
        for asked in filters:
            if not moving(asked):
                is_open &= ~_refuses(asked, view, rows)
        self._state[rows[~is_open]] = _REFUSED
        rows = rows[is_open]
        refusing = [_refuses(asked, view, rows).tolist() for asked in trial.others]
        for at, row in enumerate(rows.tolist()):
            self._keep(row, trial.run(row, [refuses[at] for refuses in refusing]))
            self._note_budgets(trial, row)

    def _note_budgets(self, trial: Trial, row: int) -> None:
        """Remember which budgets an answer about the row is read from."""
        if self._budgets:
            lower = trial.lower(row)
            self._matched[row] = self._budgets.matched([placed.pod for placed in lower])

    def _keep(self, row: int, outcome: Outcome) -> None:
        victims = outcome.victims
        if not victims:
            self._victims.pop(row, None)
            self._state[row] = _REFUSED
            return
        self._victims[row] = victims
        self._state[row] = _CANDIDATE
        first = victims[0].pod
        self._costs[:, row] = (
            outcome.violations,
            first.priority,
            sum(placed.pod.priority + _PRIORITY_SHIFT for placed in victims),
            len(victims),
            # The most important victim is the longest running one of the highest priority.
            -started_ns(first),
        )

    def candidates(self, rows: Int64s) -> Int64s:
        """Those of the rows where preemption helps."""
        found: Int64s = rows[self._state[rows] == _CANDIDATE]
        return found

    def best(self, rows: Int64s) -> Int64s:
        """Of these candidates, those that no criterion tells apart, by Kubernetes' criteria."""
        for cost in self._costs:
            if len(rows) < 2:
                break
            values = cost[rows]
            rows = rows[values == values.min()]
        return rows

    def codes(self, rows: Int64s, trial: Trial) -> Int64s:
        """Why each of the rows is no candidate: a code, 0 or NO_VICTIM.

        Raises:
            RuleError: a rule failed.
        """
        for row in rows[self._codes[rows] == _NOT_ASKED].tolist():
            self._codes[row] = trial.code(row) if trial.victims(row) else NO_VICTIM
            # Of a row that was refused whoever leaves, nothing but this reads a budget.
            self._note_budgets(trial, row)
        found: Int64s = self._codes[rows]
        return found

    def outcome(self, row: int) -> Outcome:
        """The outcome of a candidate."""
        return Outcome(self._victims[row], int(self._costs[0, row]))


def _refuses(asked: Asked, view: View, rows: Int64s) -> npt.NDArray[np.bool_]:
    """Whether the rule refuses the pod on each of the rows, as they are."""
    codes = call(asked.rule, asked.rule.filter, asked.state, view, rows)
    return np.asarray(codes != 0, np.bool_)


def _versions(filters: Sequence[Asked], view: View) -> list[object] | None:
    """What rules that read the whole cluster say of it; None when one does not say."""
    found: list[object] = []
    for asked in filters:
        if not asked.rule.reads_all:
            continue
        if not hasattr(asked.rule, "version"):
            return None
        found.append(call(asked.rule, asked.rule.version, asked.state, view))
    return found
