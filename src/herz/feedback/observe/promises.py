"""Pairs each placement with what became of its promise.

Comes in: records, in their order, and what was measured of pods afterwards. Goes out: one
`Outcome` a window, with what was predicted, for counters, calibration and training. It decides
nothing: what it says comes back to decisions only as an event.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from herz import signals
from herz.model.record import Decided, Record

PLACEMENTS_MAX: Final = 100_000
"""Bound: of more placements, the oldest are forgotten, and counted as never observed."""


class Placement(msgspec.Struct, frozen=True, gc=False):
    """A placement whose promise is watched.

    Args:
        sequence: of its record.
        node: where the pod was put.
        policy: digest of the policy that decided.
        probability: predicted, in basis points; -1: nothing was.
        abstained: by name, why no model answered.
        propensity: how likely the node was to be taken, in parts of a million; -1: for certain.
        shadow: what the model on trial said, in basis points; -1: nothing.
        beyond: the features beyond what the model learned from, where it abstained for them.
    """

    sequence: int
    node: str
    policy: str
    probability: int
    abstained: str
    propensity: int = -1
    shadow: int = -1
    beyond: tuple[str, ...] = ()


class PlacementOutcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a placement's promise in one window.

    Args:
        placement: which.
        uid: the pod's.
        window: number of the window, as the source of the indicator counts them.
        is_kept: whether the promise was kept.
        latency_ns: the indicator; 0 where the promise is not about a time.
    """

    placement: Placement
    uid: str
    window: int
    is_kept: bool
    latency_ns: int = 0


def placement_of(record: Record) -> Placement | None:
    """The placement of a record; None where it places nothing, or nothing was promised."""
    if record.decided is not Decided.PLACE or not record.promises:
        return None
    told = next((one for one in record.promises if one.node == record.node), None)
    return Placement(
        sequence=record.sequence,
        node=record.node,
        policy=record.policy.digest,
        probability=-1 if told is None else told.probability,
        abstained="" if told is None else told.abstained,
        propensity=-1 if told is None else told.propensity,
        shadow=-1 if told is None else told.shadow,
        beyond=() if told is None else told.beyond,
    )


class PromiseObserver:
    """A sink of records (`herz.ports.RecordSink`) that knows what was promised where."""

    def __init__(self) -> None:
        # Bound: PLACEMENTS_MAX, the oldest first.
        self._placed: OrderedDict[str, Placement] = OrderedDict()
        self._last_window: dict[str, int] = {}
        self.counters: Counter[str] = Counter()
        self.watch: Callable[[Placement], None] | None = None  # Told of each placement.

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Remember a placement, with what was predicted for the node that was taken."""
        del canonical, digest
        placement = placement_of(record)
        if placement is None:
            return
        if self.watch is not None:
            self.watch(placement)
        self._keep(record.pod.uid, placement)

    def restore(self, uid: str, placement: Placement) -> None:
        """Remember a placement of before a restart; one that is known already is newer."""
        if uid not in self._placed:
            self._keep(uid, placement)

    def knows(self, uid: str) -> bool:
        """Whether the pod's placement is remembered."""
        return uid in self._placed

    def told(self, uid: str, window: int) -> None:
        """What came of the pod in this window was told before a restart."""
        if uid in self._placed:
            self._last_window[uid] = max(window, self._last_window.get(uid, -1))

    def _keep(self, uid: str, placement: Placement) -> None:
        self._placed[uid] = placement
        self._placed.move_to_end(uid)
        while len(self._placed) > PLACEMENTS_MAX:
            uid, _ = self._placed.popitem(last=False)
            self._last_window.pop(uid, None)
            self.counters[signals.PROMISES_FORGOTTEN] += 1

    def flush(self) -> None:
        """Nothing is held back."""

    def outcome(
        self, uid: str, window: int, *, is_kept: bool, latency_ns: int = 0
    ) -> PlacementOutcome | None:
        """What was measured of a pod in a window; None where nothing was promised, or it is told.

        A window that was told before, or an older one, counts once only.
        """
        placement = self._placed.get(uid)
        if placement is None or window <= self._last_window.get(uid, -1):
            return None
        self._last_window[uid] = window
        kind = "kept" if is_kept else "broken"
        self.counters[signals.PROMISE_OUTCOMES.format(outcome=kind)] += 1
        return PlacementOutcome(placement, uid, window, is_kept, latency_ns)

    def gone(self, uid: str) -> None:
        """The pod is no more."""
        self._placed.pop(uid, None)
        self._last_window.pop(uid, None)
