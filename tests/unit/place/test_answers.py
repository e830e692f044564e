"""Answers of a rule: what failed is asked about again, whatever the rule says of its versions."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from herz.place.answers import FilterAnswers, RuleError
from herz.place.cluster import Cluster
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Codes, Filter, Kind, Reads, ReasonBook, Rows, RowVersioned, View, row_count
from tests.support.objects import make_node


class Moody(Filter, RowVersioned):
    """Refuses every node once it is in the mood; fails when told to."""

    name: ClassVar[str] = "Moody"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING
    fails = False
    mood = 0
    answered = 0

    def sign(self, pod: Any) -> object:
        return ()

    def prepare(self, pod: Any, view: View) -> Any:
        return None

    def row_version(self, state: Any, view: View) -> object:
        return self.mood

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        if self.fails:
            raise ValueError("not now")
        self.answered += 1
        return np.full(row_count(view, rows), self.mood, np.int16)


def test_rows_that_a_rule_failed_on_are_asked_about_again() -> None:
    cluster, rule, book = Cluster(SnapshotDigest()), Moody(), ReasonBook()
    assert book.code(Kind.UNFIT, "Moody", ("in a mood",)) == 1
    cluster.apply_node(make_node("n0"))
    answers = FilterAnswers(rule, None, cluster.nodes, cluster.view, None, book)
    rule.mood, rule.fails = 1, True
    cluster.apply_node(make_node("n0", labels={"a": "b"}))
    with pytest.raises(RuleError, match="not now"):
        answers.refresh()
    rule.fails = False
    answers.refresh()
    assert rule.answered == 2, "once at first, and once for what failed"
    cluster.apply_node(make_node("n0", labels={"a": "c"}))
    answers.refresh()
    assert rule.answered == 2, "its version says that no row's answer moved"
