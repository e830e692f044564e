"""Evictions that the API refused: how long the victims are left alone.

A refusal says that a budget does not allow what its status seemed to. Asked again in the same
circumstances the API would say the same: the first time it is asked again with the preemptor's
next attempt, then after 10, 30, 70, ... seconds. Other circumstances begin anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from herz.place.columns import NodeTable
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Reads

SPAN_NS: Final = 10_000_000_000
"""The second refusal in a row bars a victim for this long; each one after it for twice more."""
DOUBLINGS_MAX: Final = 5
"""Bound: after five minutes everything is tried again, as by the queue's flush."""

_PART: Final = "nominations"
_PREEMPTION: Final = int(Reads.PREEMPTION)


@dataclass(slots=True)
class _Refusal:
    """Of one pod.

    Attributes:
        node: where it is.
        circumstances: what must differ for another answer.
        count: refusals in a row in these circumstances.
        until_ns: when it may be asked again.
        is_over: whether that time has passed.
    """

    node: str
    circumstances: Hashable
    count: int
    until_ns: int
    is_over: bool


class Refusals:
    """Pods whose eviction was refused. Bound: the pods on nodes.

    Args:
        nodes: the node table, whose readers are told which rows changed.
        snapshot: the digest that follows every change.
    """

    def __init__(self, nodes: NodeTable, snapshot: SnapshotDigest) -> None:
        self._nodes = nodes
        self._snapshot = snapshot
        self._by_uid: dict[str, _Refusal] = {}
        # Tie: by uid. Entries of refusals that were renewed, or are gone, are passed over.
        self._due: list[tuple[int, str]] = []

    def add(self, uid: str, node: str, circumstances: Hashable, now_ns: int) -> None:
        """The API refused to evict the pod."""
        known = self._by_uid.get(uid)
        is_same = known is not None and known.circumstances == circumstances
        count = known.count + 1 if known is not None and is_same else 1
        until_ns = now_ns + SPAN_NS * ((1 << min(count - 1, DOUBLINGS_MAX)) - 1)
        self.forget(uid)
        made = _Refusal(node, circumstances, count, until_ns, until_ns <= now_ns)
        self._by_uid[uid] = made
        self._snapshot.add(_PART, _element(uid, made))
        if not made.is_over:
            heapq.heappush(self._due, (until_ns, uid))
        self._note(node)

    def advance(self, now_ns: int) -> None:
        """Time passed: pods may be asked for again."""
        while self._due and self._due[0][0] <= now_ns:
            until_ns, uid = heapq.heappop(self._due)
            known = self._by_uid.get(uid)
            if known is None or known.until_ns != until_ns or known.is_over:
                continue
            self._snapshot.remove(_PART, _element(uid, known))
            known.is_over = True
            self._snapshot.add(_PART, _element(uid, known))
            self._note(known.node)

    def is_barred(self, uid: str) -> bool:
        """Whether the pod is left alone in the circumstances of its refusal."""
        known = self._by_uid.get(uid)
        return known is not None and not known.is_over

    def is_like(self, uid: str, circumstances: Hashable) -> bool:
        """Whether these are the circumstances of its refusal."""
        known = self._by_uid.get(uid)
        return known is not None and known.circumstances == circumstances

    def forget(self, uid: str) -> None:
        """The pod is gone. Idempotent."""
        known = self._by_uid.pop(uid, None)
        if known is not None:
            self._snapshot.remove(_PART, _element(uid, known))

    def _note(self, node: str) -> None:
        row = self._nodes.rows.get(node)
        if row is not None:
            self._nodes.note(row, _PREEMPTION)


def _element(uid: str, refusal: _Refusal) -> bytes:
    told = (uid, "refused", str(refusal.count), str(refusal.until_ns), str(refusal.is_over))
    return "\0".join(told).encode()
