"""What one rule says about every row, to all pods that it cannot tell apart.

Sheets of many signatures share answers: 500 kinds of pod with two sets of tolerations between
them ask TaintToleration about a changed node twice, not 500 times. Answers are memory only:
asking again gives the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np

from herz._native import Codes, RawPoints
from herz.errors import InvariantError
from herz.place.columns import NodeTable
from herz.plugin import SKIP, Filter, Int64s, Plugin, Reading, Reads, ReasonBook, Rows, Score, View

Key: TypeAlias = tuple[str, int, bytes, Hashable]
"""The step, the rule's place in the policy, how it signs the pod, and its basis."""
AnswersT = TypeVar("AnswersT", bound="Answers")

_ALL_ROWS: Final = slice(None)


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


class Answers(ABC):
    """Answers by row, brought up to date on demand.

    Args:
        rule: the rule, for what it declares; None: it reads which rows exist.
        nodes: the node table.
        rows: the rows that are asked about; None: all. Such answers are never refreshed.
    """

    def __init__(self, rule: Reading | None, nodes: NodeTable, rows: Int64s | None) -> None:
        self.name = "Nodes" if rule is None else rule.name
        # As plain ints: IntFlag's operators cost a microsecond.
        self.reads_all = 0 if rule is None else int(rule.reads_all)
        # A rule with a basis has it in the key of its answers.
        is_fixed = rule is None or hasattr(rule, "basis")
        self.reads_prepare = 0 if is_fixed else int(getattr(rule, "reads_prepare", 0))
        self.reads = int(Reads.NODES if rule is None else rule.reads)
        self.wanted = self.reads | self.reads_all
        self.epoch = 0
        """How often all rows were asked about."""
        self._nodes = nodes
        self._rows: Rows = _ALL_ROWS if rows is None else rows
        self.size = nodes.size if rows is None else len(rows)
        self._seen = nodes.changes.end
        # What a rule said that its answers were read from; None: it does not say.
        self._version: object = None
        self._row_version: object = None

    def refresh(self) -> None:
        """Ask again about the rows on which something changed that the rule reads.

        Raises:
            RuleError: the rule failed; the rows are asked about again next time.
        """
        changes = self._nodes.changes
        end = changes.end
        if end == self._seen:
            return
        found = changes.since(self._seen, self.reads)
        try:
            if found is None or (found[0] & self.reads_all and self._is_moved()):
                self.epoch += 1
                self.ask(None)
            elif found[1] is not None and self._are_rows_moved():
                self.ask(found[1])
        except RuleError:
            # What the versions stood for was not asked about: everything may have moved.
            self._version = self._row_version = None
            raise
        self._seen = end

    def is_outdated(self) -> bool:
        """Whether the state was prepared from what has changed since."""
        if not self.reads_prepare:
            return False
        changed = self._nodes.changes.mask_since(self._seen)
        return changed is None or bool(changed & self.reads_prepare)

    def _is_moved(self) -> bool:
        """Whether what is read of the whole cluster moved the answers."""
        return True

    def _are_rows_moved(self) -> bool:
        """Whether what is read of the changed rows may have moved an answer."""
        return True

    @abstractmethod
    def ask(self, rows: Int64s | None) -> None:
        """Ask about the rows; None: all."""

    def _at(self, rows: Int64s | None) -> Rows:
        return self._rows if rows is None else rows

    def _put(self, put: Callable[..., Any], rows: Int64s | None, *answer: Any) -> Any:
        """Hand a rule's answer on to a column, which takes one type and length only."""
        try:
            return put(rows, *answer)
        except (TypeError, ValueError) as error:
            what = " ".join(str(error).split())
            raise RuleError(self.name, f"answers with what is no column: {what}") from error


class Presence(Answers):
    """Codes of the first filter of every policy: is there a node at all?"""

    def __init__(self, nodes: NodeTable, rows: Int64s | None) -> None:
        super().__init__(None, nodes, rows)
        self.column = Codes(self.size)
        self.ask(None)

    def ask(self, rows: Int64s | None) -> None:
        """Ask about the rows; None: all."""
        self.column.set_live(rows, self._nodes.is_live[self._at(rows)])


class RuleAnswers(Answers):
    """Answers of a rule for the pods of one state."""

    def __init__(
        self, rule: Reading, state: Any, nodes: NodeTable, view: View, rows: Int64s | None
    ) -> None:
        super().__init__(rule, nodes, rows)
        self._rule: Any = rule
        self._state, self._view = state, view
        self._versioned = getattr(rule, "version", None)
        self._row_versioned = getattr(rule, "row_version", None)
        self._version = self._read(self._versioned)
        self._row_version = self._read(self._row_versioned)

    def _is_moved(self) -> bool:
        before, self._version = self._version, self._read(self._versioned)
        return self._version is None or self._version != before

    def _are_rows_moved(self) -> bool:
        if self._row_versioned is None:
            return True
        before, self._row_version = self._row_version, self._read(self._row_versioned)
        return self._row_version is None or self._row_version != before

    def _read(self, version: Callable[..., object] | None) -> object:
        """What a rule says that its answers were read from; None when it does not say."""
        return None if version is None else call(self._rule, version, self._state, self._view)


class FilterAnswers(RuleAnswers):
    """Codes of a rule for the pods of one state."""

    def __init__(
        self,
        rule: Filter,
        state: Any,
        nodes: NodeTable,
        view: View,
        rows: Int64s | None,
        book: ReasonBook,
    ) -> None:
        super().__init__(rule, state, nodes, view, rows)
        self._book = book
        self.column = Codes(self.size)
        self.ask(None)

    def ask(self, rows: Int64s | None) -> None:
        """Ask the rule about the rows; None: all."""
        codes = call(self._rule, self._rule.filter, self._state, self._view, self._at(rows))
        if not self._put(self.column.set, rows, codes, len(self._book)):
            raise RuleError(self.name, "gives a code that no reason has")


class ScoreAnswers(RuleAnswers):
    """Raw points of a rule for the pods of one state."""

    def __init__(
        self, rule: Score, state: Any, nodes: NodeTable, view: View, rows: Int64s | None
    ) -> None:
        super().__init__(rule, state, nodes, view, rows)
        self.column = RawPoints(self.size)
        if not hasattr(rule, "prescore"):
            self.ask(None)

    def ask(self, rows: Int64s | None) -> None:
        """Ask the rule about the rows; None: all."""
        self._ask(self._state, rows)

    def ask_among(self, fitting: Int64s) -> None:
        """Ask a rule whose points depend on which rows fit."""
        rule = self._rule
        state = call(rule, rule.prescore, self._state, self._view, fitting)
        if state is SKIP:
            self.column.set(None, np.zeros(self.size, np.int64))
        else:
            self._ask(state, None)

    def _ask(self, state: Any, rows: Int64s | None) -> None:
        raw = call(self._rule, self._rule.score, state, self._view, self._at(rows))
        self._put(self.column.set, rows, raw)


class Shelf:
    """Answers by what was asked, kept as long as a sheet uses them."""

    def __init__(self) -> None:
        self._answers: WeakValueDictionary[Key, Answers] = WeakValueDictionary()

    def take(self, key: Key | None, make: Callable[[], AnswersT]) -> AnswersT:
        """The up-to-date answers for the key, made when nobody has them.

        Args:
            key: what was asked; None: the answers depend on more than the key can say.
            make: makes them.

        Raises:
            RuleError: the rule failed.
        """
        if key is None:
            return make()
        kept = cast("AnswersT | None", self._answers.get(key))
        if kept is None or kept.is_outdated():
            kept = self._answers[key] = make()
        else:
            kept.refresh()
        return kept


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
