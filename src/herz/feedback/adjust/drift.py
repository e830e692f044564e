"""Whether what a model is asked now still looks like what it learned from.

Comes in: of each placement that a model was asked about, the features that lay beyond the ranges of
its training, if it abstained for them. Goes out: a name and the features. A model answers for all
but one in twenty rows of held-out units (`herz.knowledge.sla.learning.training.REACH_SHARE`), so
more than that, by more than chance, is drift. Watched, told, and nothing else: abstained rows are
decided carefully anyway, and a new model is a matter of a trial.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from herz.feedback.observe.promises import Placement

NAME: Final = "model-drift"
WINDOW: Final = 500
"""Placements that are looked at: the last ones."""
PLACEMENTS_MIN: Final = 200
EXPECTED: Final = 0.05
"""The share of rows that lie outside without any drift."""
SIGMAS: Final = 3.0
NAMED: Final = 3
"""Features that are named: those that lay beyond most often."""


@dataclass(frozen=True, slots=True)
class Drifted:
    """What is to be told.

    Args:
        share: of the last placements, how many lay outside, 0 to 1.
        placements: how many were looked at.
        features: those beyond their ranges most often.
    """

    share: float
    placements: int
    features: tuple[str, ...]


def is_watched(placement: Placement) -> bool:
    """Whether a model was asked about the placement, and lacked no value."""
    return placement.probability >= 0 and not (placement.abstained and not placement.beyond)


class DriftWatch:
    """The last placements of one model, or of the one that took its place."""

    def __init__(self) -> None:
        # Bound: WINDOW.
        self._seen: deque[tuple[str, ...]] = deque(maxlen=WINDOW)

    def add(self, beyond: Sequence[str]) -> None:
        """One more placement.

        Args:
            beyond: the features beyond their ranges; none: the model answered.
        """
        self._seen.append(tuple(beyond))

    def restore(self, before: Sequence[Placement]) -> None:
        """Placements of before a restart, the oldest first; what was added since came later."""
        since = tuple(self._seen)
        self._seen.clear()
        self._seen.extend(one.beyond for one in before)
        self._seen.extend(since)

    def clear(self) -> None:
        """Another model is in force."""
        self._seen.clear()

    @property
    def drifted(self) -> Drifted | None:
        """What is to be told; None: there is no drift, or too little was seen."""
        count = len(self._seen)
        if count < PLACEMENTS_MIN:
            return None
        share = sum(map(bool, self._seen)) / count
        if share <= EXPECTED + SIGMAS * math.sqrt(EXPECTED * (1 - EXPECTED) / count):
            return None
        often = Counter(name for names in self._seen for name in names)
        # Tie: by name.
        ranked = sorted(often, key=lambda name: (-often[name], name))
        return Drifted(share, count, tuple(ranked[:NAMED]))
