"""A sheet: what the rules say about every row for pods of one signature, kept up to date.

Runs the filters and scores of one policy over rows; knows what to ask again after a change. It
holds no rule and no order of its own: `herz._native.Table` draws the conclusions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from herz._native import Codes, Kernel, RawPoints, Table
from herz.errors import InvariantError
from herz.model.podinfo import PodInfo
from herz.model.record import Promise, Stage
from herz.place.answers import (
    Answers,
    AnswersT,
    FilterAnswers,
    Key,
    Presence,
    RuleError,
    ScoreAnswers,
    Shelf,
    call,
)
from herz.place.columns import NodeTable
from herz.plugin import Filter, Int64s, ReasonBook, Score, Verdict, View

if TYPE_CHECKING:
    from herz.place.yielding import Yielding

_EVERYTHING: Final = -1
"""All aspects, when the log of changes no longer reaches back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule that has something to say to a pod.

    Args:
        rule: the rule, a Filter or a Score.
        state: what its preparation gave.
        key: under which its answers are shared.
        weight: of a score.
    """

    rule: Any
    state: Any
    key: Key
    weight: int = 1


class Sheet:
    """Codes, points and totals by row for one signature."""

    def __init__(
        self,
        nodes: NodeTable,
        view: View,
        book: ReasonBook,
        shelf: Shelf,
        filters: list[Asked],
        scores: list[Asked],
        rows: Int64s | None = None,
        narrowed_by: tuple[str, ...] = (),
        yielding: Yielding | None = None,
    ) -> None:
        """A sheet over all rows, or over those that rules narrowed the pod to.

        The latter is made for one decision and never refreshed.

        Raises:
            RuleError: a rule failed.
        """
        self._nodes = nodes
        self._view = view
        self._book = book
        self._shelf = shelf
        self.rows = rows
        self.narrowed_by = narrowed_by
        self.prepared_from = 0
        """Aspects that the rules were prepared from."""
        self.stands: Callable[[int], bool] = _never_stands
        """Whether the rules would be prepared alike after these aspects changed."""
        self.failed: Verdict | None = None
        """Why a score could not be prepared; it counts once a node fits."""
        self.stage: tuple[object, Stage] | None = None
        """The filter stage as last told, and what it was told from."""
        self._seen = nodes.changes.end
        self._answers: list[Answers] = []
        self._prescored: list[ScoreAnswers] = []
        self.filters, self._scores = filters, scores
        self._telling = [asked for asked in scores if hasattr(asked.rule, "tell")]
        self._yielding = yielding
        self.filter_names = tuple(asked.rule.name for asked in filters)
        self.score_names = tuple(asked.rule.name for asked in scores)
        self.weights = tuple(asked.weight for asked in scores)
        self._epochs: list[int] = []
        # Aspects whose rows are wanted; by answers, not by kernels; those that move all rows.
        self._wanted = self._followed = self._whole = 0
        own: list[Codes | Kernel] = [self._presence()]
        if yielding is not None:
            own.append(self._follow(yielding).column)
        self._own_count = len(own)
        columns = [*own, *(self._filter(asked) for asked in filters)]
        kinds = [self._score(asked) for asked in scores]
        size = nodes.size if rows is None else len(rows)
        self.table = Table(size, columns, kinds, view.allocatable, view.requested, view.nonzero)
        self._settle(None)

    def _presence(self) -> Codes:
        answers = self._shelf.take(
            ("nodes", 0, b"", None), lambda: Presence(self._nodes, self.rows)
        )
        return self._follow(answers).column

    def _filter(self, asked: Asked) -> Codes | Kernel:
        rule: Filter = asked.rule
        if self.rows is None and hasattr(rule, "kernel"):
            self._wanted |= int(rule.reads)
            kernel: Kernel = rule.kernel(asked.state)
            return kernel
        answers = self._shelf.take(
            asked.key,
            lambda: FilterAnswers(
                rule, asked.state, self._nodes, self._view, self.rows, self._book
            ),
        )
        return self._follow(answers).column

    def _score(self, asked: Asked) -> tuple[int, int, RawPoints | Kernel, bool]:
        rule: Score = asked.rule
        is_scaled = hasattr(rule, "normalize")
        if self.rows is None and hasattr(rule, "score_kernel"):
            self._wanted |= int(rule.reads)
            return asked.weight, rule.points_max, rule.score_kernel(asked.state), is_scaled
        is_prescored = hasattr(rule, "prescore")
        answers = self._shelf.take(
            None if is_prescored else asked.key,
            lambda: ScoreAnswers(rule, asked.state, self._nodes, self._view, self.rows),
        )
        if is_prescored:
            self._prescored.append(answers)
            self._wanted |= answers.wanted
        else:
            self._follow(answers)
        return asked.weight, rule.points_max, answers.column, is_scaled

    def _follow(self, answers: AnswersT) -> AnswersT:
        self._answers.append(answers)
        self._epochs.append(answers.epoch)
        self._wanted |= answers.wanted
        self._followed |= answers.wanted
        self._whole |= answers.reads_all
        return answers

    def refresh(self) -> bool:
        """Bring the sheet up to what the node table says now.

        Returns:
            False when rules must be prepared anew: the sheet is of no more use.

        Raises:
            RuleError: a rule failed; likewise.
        """
        changes = self._nodes.changes
        end = changes.end
        if end == self._seen:
            return True
        changed, rows = changes.since(self._seen, self._wanted) or (_EVERYTHING, None)
        self._seen = end
        if changed & self.prepared_from and not self.stands(changed):
            return False
        if not changed & self._wanted:
            return True
        if changed & self._followed:
            for answers in self._answers:
                if changed & answers.wanted:
                    answers.refresh()
            if changed & self._whole and self._is_whole():
                rows = None
        self._settle(rows)
        return True

    def exempt(self, pod: PodInfo) -> None:
        """Answer as for this pod, which need not leave room to itself where it is nominated.

        Raises:
            RuleError: a rule failed; the sheet is of no more use.
        """
        if self._yielding is not None:
            rows = self._yielding.exempt(pod)
            if len(rows):
                self._settle(rows)

    def tell(self, rows: list[int]) -> tuple[Promise, ...]:
        """What a score wants recorded of the best rows; the first that tells anything."""
        for asked in self._telling:
            return tuple(call(asked.rule, asked.rule.tell, asked.state, self._view, np.array(rows)))
        return ()

    def code(self, row: int) -> int | None:
        """The code of one row; None when rules narrowed the pod to others."""
        first = self.table.first()
        if self.rows is None:
            return int(first[row])
        at = np.flatnonzero(self.rows == row)
        return int(first[at[0]]) if len(at) else None

    def _is_whole(self) -> bool:
        """Whether some rule was asked about all rows, by this sheet or another."""
        epochs = [answers.epoch for answers in self._answers]
        before, self._epochs = self._epochs, epochs
        return before != epochs

    def _settle(self, rows: Int64s | None) -> None:
        """Let the table conclude for the rows; None: all."""
        if not self._prescored:
            self._conclude(self.table.settle, rows)
            return
        self._conclude(self.table.settle_codes, rows)
        found = self.table.fitting()
        fitting = found if self.rows is None else self.rows[found]
        for answers in self._prescored:
            answers.ask_among(fitting)
        self._conclude(self.table.settle_points, None)

    def _conclude(self, settle: Callable[..., Any], rows: Int64s | None) -> None:
        while True:  # Bound: each turn teaches values that were not known.
            wanted = settle(rows)
            if wanted is None:
                return
            match wanted:
                case (filter_index, value):
                    # The first filters are the table's own.
                    asked = self.filters[filter_index - self._own_count]
                    code = asked.rule.code(asked.state, value)
                    self.table.learn_code(filter_index, value, code)
                case (score, values, low, high):
                    rule = self._scores[score].rule
                    points = call(rule, rule.normalize, values, low, high)
                    self._learn(score, values, points)
                    settle = self.table.settle_points  # The codes are settled.
                case (score,):
                    self._refuse(score)
                case other:
                    raise InvariantError(f"the table asks for {other!r}")

    def _learn(self, score: int, values: Int64s, points: Int64s) -> None:
        try:
            is_right = self.table.learn_points(score, values, points)
        except (TypeError, ValueError) as error:
            what = " ".join(str(error).split())
            name = self._scores[score].rule.name
            raise RuleError(name, f"answers with what is no column: {what}") from error
        if not is_right:
            self._refuse(score)

    def _refuse(self, score: int) -> NoReturn:
        # Neither row nor value: which comes first depends on the order in which nodes arrived.
        rule = self._scores[score].rule
        raise RuleError(rule.name, f"gives points outside 0 to {rule.points_max}")


def _never_stands(_changed: int) -> bool:
    """Of a sheet whose maker did not say otherwise."""
    return False
