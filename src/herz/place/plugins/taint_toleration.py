"""TaintToleration: hard taints must be tolerated; soft ones cost points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from herz.model.objects import Taint, Toleration
from herz.model.podinfo import PodInfo
from herz.model.taints import PREFER_NO_SCHEDULE, find_untolerated, tolerates
from herz.place.plugins.single_reason import SingleReason
from herz.plugin import (
    SCORE_MAX,
    Change,
    Codes,
    EventKind,
    Hint,
    Int64s,
    Normalize,
    Reads,
    Rows,
    View,
)

_Tolerations = tuple[Toleration, ...]


class _BySet:
    """An answer for each interned set of taints, worked out once a set."""

    def __init__(self, answer: Callable[[tuple[Taint, ...]], int]) -> None:
        self._answer = answer
        self._answers: Int64s = np.zeros(0, np.int64)

    def at(self, view: View, rows: Rows) -> Int64s:
        """The answers for the rows."""
        sets = view.taint_sets[rows]
        try:
            return self._answers[sets]
        except IndexError:  # A set that nobody has asked about yet.
            known, highest = len(self._answers), int(sets.max())
            new = [self._answer(view.taints(number)) for number in range(known, highest + 1)]
            self._answers = np.concatenate((self._answers, np.array(new, np.int64)))
            return self._answers[sets]


class TaintToleration(SingleReason, Normalize):
    """NoSchedule and NoExecute filter, PreferNoSchedule scores."""

    name: ClassVar[str] = "TaintToleration"
    reads: ClassVar[Reads] = Reads.TAINTS
    reason: ClassVar[str] = "node(s) had untolerated taint(s)"

    def sign(self, pod: PodInfo) -> object:
        """The tolerations, in order."""
        return pod.pod.spec.tolerations

    def prepare(self, pod: PodInfo, view: View) -> _BySet:
        """The code by set of taints."""
        tolerations = pod.pod.spec.tolerations
        return _BySet(lambda taints: self.code if find_untolerated(taints, tolerations) else 0)

    def filter(self, state: _BySet, view: View, rows: Rows) -> Codes:
        """The code at nodes with a hard taint that is not tolerated."""
        return state.at(view, rows).astype(np.int16)

    def prepare_score(self, pod: PodInfo, view: View) -> _BySet:
        """The number of soft taints that are not tolerated, by set of taints."""
        tolerations = pod.pod.spec.tolerations
        return _BySet(lambda taints: _intolerable(taints, tolerations))

    def score(self, state: _BySet, view: View, rows: Rows) -> Int64s:
        """The number of soft taints that are not tolerated."""
        return state.at(view, rows)

    def normalize(self, raw: Int64s, low: int, high: int) -> Int64s:
        """100 for the fewest, 0 for the most; 100 for all where nobody has any."""
        if high == 0:
            return np.full(len(raw), SCORE_MAX, np.int64)
        return SCORE_MAX - SCORE_MAX * raw // high

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node came or changed whose taints the pod tolerates, or the pod changed."""
        return {
            EventKind.NODE_ADD: _is_tolerated,
            EventKind.NODE_UPDATE: _is_tolerated_now,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _intolerable(taints: tuple[Taint, ...], tolerations: _Tolerations) -> int:
    return sum(
        1
        for taint in taints
        if taint.effect == PREFER_NO_SCHEDULE
        and not any(tolerates(toleration, taint) for toleration in tolerations)
    )


def _is_tolerated(pod: PodInfo, change: Change) -> bool:
    return find_untolerated(change.new.spec.taints, pod.pod.spec.tolerations) is None


def _is_tolerated_now(pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.TAINTS) and _is_tolerated(pod, change)
