"""The clauses of the rule contract, each checked on made clusters."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np

from herz.errors import ConfigError
from herz.model.podinfo import PodInfo
from herz.place.fuzz.worlds import Dice, Draft, Make, ReadPods
from herz.place.sheet import Sheet
from herz.plugin import (
    SKIP,
    SKIP_NOW,
    Filter,
    Kind,
    Narrowed,
    Normalize,
    PreEnqueue,
    PreScore,
    Reading,
    ReasonBook,
    Score,
    Skip,
    Verdict,
    row_count,
)

PODS: Final = 4
CHANGES: Final = 4


class Clause(StrEnum):
    """What a rule promises."""

    RAISES = "raises"
    SHAPE = "answers in a wrong type or shape"
    RANGE = "answers out of range"
    ROWS = "answers otherwise for single rows than for all at once"
    PURE = "answers otherwise when it is asked again"
    MUTATION = "changes what it is given"
    READS = "depends on what it does not declare"
    OVERLAY = "is wrong on what-if views"
    NORMALIZE = "normalises otherwise one by one"
    COST = "costs more by row the more rows there are"


class Broken(Exception):  # noqa: N818  # it carries a finding, it is no error of ours
    """A clause is broken.

    Args:
        clause: which.
        says: how, in words.
    """

    def __init__(self, clause: Clause, *says: str) -> None:
        self.clause = clause
        self.says = says
        super().__init__(clause.value)


@dataclass(frozen=True, slots=True)
class RuleCase:
    """A rule to be checked, and with what.

    Attributes:
        make: makes the rule.
        args: its arguments.
        words: texts of its code.
        read: makes pods into what rules see.
    """

    make: Make
    args: Mapping[str, Any]
    words: Sequence[str]
    read: ReadPods
    seen: list[str] = field(default_factory=list)


def check_case(case: RuleCase, dice: Dice, size: int) -> list[object]:
    """Every clause, on one made cluster.

    Args:
        case: the rule.
        dice: chance; the same dice make the same cluster.
        size: how large the cluster is, from 1.

    Returns:
        What the rule said, as plain values: the same in any process.

    Raises:
        Broken: a clause.
        ConfigError: the rule refuses its arguments.
    """
    try:
        draft = Draft(dice, case.words, case.make, case.args, case.read)
    except ConfigError:
        raise
    except Exception as error:
        raise Broken(Clause.RAISES, f"as it is made: {_told(error)}") from error
    draft.add_nodes(1 + dice.randrange(size))
    draft.place(dice.randrange(2 * size))
    pods = [draft.pod() for _ in range(PODS)]
    said: list[object] = []
    for pod in pods:
        said += _Asking(draft, pod).all()
    if isinstance(draft.rule, Reading):
        _declared(draft, pods)
        _overlays(draft, pods[:2])
    return said


class _Asking:
    """One rule asked about one pod."""

    def __init__(self, draft: Draft, pod: PodInfo) -> None:
        self._draft = draft
        self._rule: Any = draft.rule
        self._view = draft.cluster.view
        self._pod = pod
        self._live = np.array(sorted(draft.cluster.nodes.rows.values()), np.int64)

    def all(self) -> list[object]:
        """What it says, checked."""
        before = self._fingerprint()
        said: list[object] = []
        rule = self._rule
        if isinstance(rule, PreEnqueue):
            verdict = self._call("admit", self._pod)
            if verdict is not None and not isinstance(verdict, Verdict):
                raise Broken(Clause.SHAPE, f"admit gives {verdict!r:.80}")
            said.append(str(verdict))
        if isinstance(rule, Filter):
            said += self._filter()
        if isinstance(rule, Score):
            said += self._score()
        if self._fingerprint() != before:
            raise Broken(Clause.MUTATION, "the pod or a column of the view is another one now")
        return said

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._rule, method)(*arguments)
        except Exception as error:
            raise Broken(Clause.RAISES, f"{method}: {_told(error)}") from error

    def _state(self, method: str) -> Any:
        """What a preparation gives; None-like answers as they are."""
        state = self._call(method, self._pod, self._view)
        if isinstance(state, Verdict):
            if not state.reasons:
                raise Broken(Clause.SHAPE, f"{method} gives a verdict without reasons")
            return state
        if isinstance(state, Narrowed):
            return state.state
        return state

    def _filter(self) -> list[object]:
        state = self._state("prepare")
        if state is SKIP or state is SKIP_NOW or isinstance(state, Verdict):
            return [str(state)]
        codes = self._column("filter", np.int16, state)
        low, high = int(codes[self._live].min()), int(codes[self._live].max())
        if low < 0 or high >= len(self._draft.book):
            raise Broken(Clause.RANGE, f"filter gives the codes {low} to {high}")
        verdicts = [
            self._draft.book.verdict(int(one)) if one else None for one in codes[self._live]
        ]
        return [str(verdicts)]

    def _score(self) -> list[object]:
        state = self._state("prepare_score")
        if isinstance(state, Skip | Verdict):
            return [str(state)]
        if isinstance(self._rule, PreScore):
            state = self._call("prescore", state, self._view, self._live)
            if isinstance(state, Skip):
                return [str(state)]
        raw = self._column("score", np.int64, state)
        live = raw[self._live]
        if not isinstance(self._rule, Normalize):
            if int(live.min()) < 0 or int(live.max()) > self._rule.points_max:
                raise Broken(Clause.RANGE, f"score gives {live.min()} to {live.max()}")
            return [live.tolist()]
        low, high = int(live.min()), int(live.max())
        points = self._call("normalize", live.copy(), low, high)
        if getattr(points, "dtype", None) != np.int64 or points.shape != live.shape:
            raise Broken(Clause.SHAPE, f"normalize gives {_form(points)}")
        if int(points.min()) < 0 or int(points.max()) > 100:
            raise Broken(Clause.RANGE, f"normalize gives {points.min()} to {points.max()}")
        for at in range(len(live)):
            alone = self._call("normalize", live[at : at + 1].copy(), low, high)
            if alone.tolist() != [points[at]]:
                raise Broken(Clause.NORMALIZE, f"{points[at]} among others, {alone.tolist()} alone")
        return [points.tolist()]

    def _column(self, method: str, dtype: type, state: Any) -> Any:
        """Answers for all rows, held against those for some rows, and against a second asking."""
        whole = self._call(method, state, self._view, slice(None))
        size = row_count(self._view, slice(None))
        if getattr(whole, "dtype", None) != dtype or whole.shape != (size,):
            wanted = f"{dtype.__name__} of shape ({size},)"
            raise Broken(Clause.SHAPE, f"{method} gives {_form(whole)}, not {wanted}")
        whole = whole.copy()
        for rows in self._subsets():
            part = self._call(method, state, self._view, rows)
            if getattr(part, "dtype", None) != dtype or part.shape != rows.shape:
                raise Broken(Clause.SHAPE, f"{method} for {rows.tolist()} gives {_form(part)}")
            if part.tolist() != whole[rows].tolist():
                says = f"{method} for rows {rows.tolist()}: {part.tolist()}"
                raise Broken(Clause.ROWS, says, f"for all rows: {whole[rows].tolist()} there")
        again = self._call(method, state, self._view, slice(None))
        if again.tolist() != whole.tolist():
            raise Broken(Clause.PURE, f"{method}: {whole.tolist()}", f"then {again.tolist()}")
        return whole

    def _subsets(self) -> Iterator[Any]:
        yield self._live
        for row in self._live.tolist()[:4]:
            yield np.array([row], np.int64)
        yield self._live[::2].copy()  # contiguous, as the runner's always are
        yield np.array([], np.int64)

    def _fingerprint(self) -> bytes:
        view, pod = self._view, self._pod
        columns = (view.allocatable, view.requested, view.nonzero, view.devices, view.unschedulable)
        held = b"".join(column.tobytes() for column in columns)
        for key in self._draft.keys:
            numbers, is_known = view.label_integers(key)
            held += view.labels(key).tobytes() + numbers.tobytes() + is_known.tobytes()
        return held + view.taint_sets.tobytes() + pickle.dumps((pod.pod, pod.requests))


def _declared(draft: Draft, pods: list[PodInfo]) -> None:
    """Change things: what is kept, and refreshed as declared, must be what a fresh asking gives."""
    kept = draft.framework
    for pod in pods:
        _told_by(kept, pod, draft.book)
    for _ in range(CHANGES):
        what = draft.change_node() if draft.dice.randrange(2) else draft.change_pods()
        for pod in pods:
            held = _told_by(kept, pod, draft.book)
            fresh = _told_by(draft.fresh(), pod, draft.book)
            if held != fresh:
                says = (
                    f"{what}: its declared reads say that {held[0]} stands",
                    f"it is {fresh[0]}",
                )
                raise Broken(Clause.READS, *(says if held[0] != fresh[0] else (what,)))
    runner, book = draft.anew()
    for pod in pods:
        said, wanted = _told_by(draft.fresh(), pod, draft.book), _told_by(runner, pod, book)
        if said != wanted:
            now = f"after the changes it says {said}"
            raise Broken(Clause.PURE, now, f"and {wanted} where it was not asked before them")


def _overlays(draft: Draft, pods: list[PodInfo]) -> None:
    """What-if views must answer as the cluster does once it is so."""
    placed = sorted(draft.cluster.ledger.placed)
    if placed:
        gone = draft.pick(placed)
        runner = draft.fresh(draft.cluster.view.without((gone,)))
        foreseen = [_told_by(runner, pod, draft.book) for pod in pods]
        draft.cluster.forget(gone)
        if foreseen != [_told_by(draft.fresh(), pod, draft.book) for pod in pods]:
            raise Broken(Clause.OVERLAY, f"without pod {gone} it answers as if it were there")
    name = draft.pick(sorted(draft.cluster.nodes.rows))
    new = draft.pod()
    runner = draft.fresh(draft.cluster.view.with_(new, draft.cluster.nodes.rows[name]))
    foreseen = [_told_by(runner, pod, draft.book) for pod in pods]
    draft.cluster.assign(new, name, ())
    if foreseen != [_told_by(draft.fresh(), pod, draft.book) for pod in pods]:
        raise Broken(
            Clause.OVERLAY, f"with one more pod on {name} it answers as if it were not there"
        )


def _told_by(runner: Any, pod: PodInfo, book: ReasonBook) -> list[object]:
    """The runner's answers for a pod: verdict, or codes and points of the rows that fit."""
    sheet = runner.sheet(pod)
    if isinstance(sheet, Verdict):
        if sheet.kind is Kind.ERROR:
            raise Broken(Clause.RAISES, *sheet.reasons)
        return [str(sheet)]
    assert isinstance(sheet, Sheet), "the runner gives a sheet or a verdict"
    codes = sheet.table.first()
    live = codes >= 0
    fits = codes == 0
    points = [sheet.table.points(at)[fits].tolist() for at in range(len(sheet.score_names))]
    said = [str(book.verdict(int(one))) if one else "fits" for one in codes[live]]
    return [said, points]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _form(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return f"{type(value).__name__} {value!r:.60}"
    return f"{value.dtype} of shape {shape}"
