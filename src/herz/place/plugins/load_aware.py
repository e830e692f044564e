"""LoadAware: nodes by what is measured on them, and by what has come since the measurement.

The form is that of Koordinator's load-aware scheduling: the usage of a node is what was measured,
plus an estimate of the pods that the sample has not seen, plus one of the pod itself, each a
share of the requests; the rest of the allocatable is the score. A node whose measured usage
exceeds the threshold is refused, and the rule gives way where all are. A node without a fresh
sample is counted by the requests of the pods on it, and never refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    MISSING,
    SCORE_MAX,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Int64s,
    Kind,
    Mode,
    Reads,
    ReasonBook,
    Rows,
    Score,
    View,
)

WHOLE: Final = 10_000
REASON: Final = "node(s) cpu usage exceeds the threshold"


class LoadArguments(Arguments, frozen=True):
    """The estimate and the limit.

    Args:
        estimated_percent: of its requests that a pod is taken to use.
        threshold_percent: nodes that use more of their cpu are refused; 0: none.
    """

    estimated_percent: int = 85
    threshold_percent: int = 65


class LoadAware(Filter, Score, Hints):
    """Filters by measured cpu; scores by the cpu that will be left."""

    name: ClassVar[str] = "LoadAware"
    reads: ClassVar[Reads] = Reads.SIGNALS | Reads.REQUESTED | Reads.ALLOCATABLE
    reads_all: ClassVar[Reads] = Reads.NOTHING
    modes: ClassVar[tuple[Mode, ...]] = (Mode.PREFER, Mode.REFUSE)

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, LoadArguments)
        self._estimated, self._threshold = given.estimated_percent, given.threshold_percent
        self._code = reasons.code(Kind.NEVER_FITS, self.name, (REASON,))

    def sign(self, pod: Any) -> object:
        """What the pod asks of cpu."""
        return pod.nonzero[0]

    def prepare(self, pod: Any, view: View) -> Any:
        """The same."""
        return pod.nonzero[0]

    prepare_score = prepare

    def filter(self, state: int, view: View, rows: Rows) -> Codes:
        """The code at nodes whose measured usage exceeds the threshold."""
        usage = view.signal("cpu_utilisation")[rows]
        over = (usage != MISSING) & (usage > self._threshold * 100)
        return np.where(over & (self._threshold > 0), self._code, 0).astype(np.int16)

    def score(self, state: int, view: View, rows: Rows) -> Int64s:
        """The share of the cpu that is left, 0..100, rounded down."""
        allocatable = np.maximum(view.allocatable[0][rows], 1)
        usage, seen = (view.signal(name)[rows] for name in ("cpu_utilisation", "requested_cpu"))
        asked = view.nonzero[0][rows]
        is_seen = (usage != MISSING) & (seen != MISSING)
        used = np.where(is_seen, np.maximum(usage, 0), 0) * allocatable // WHOLE
        unseen = np.maximum(asked - np.where(is_seen, np.maximum(seen, 0), 0), 0)
        total = used + (unseen + state) * self._estimated // 100
        left = np.clip(allocatable - total, 0, allocatable)
        points: Int64s = SCORE_MAX * left // allocatable
        return points

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Nodes and their samples."""
        return {
            EventKind.NODE_ADD: None,
            EventKind.NODE_UPDATE: None,
            EventKind.OBJECT_ADD: _is_sample,
            EventKind.OBJECT_UPDATE: _is_sample,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _is_sample(_pod: Any, change: Any) -> bool:
    return bool(change.aspects & Reads.SIGNALS)
