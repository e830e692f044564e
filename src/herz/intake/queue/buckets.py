"""The buckets: one ring a priority; the highest priority first, first come first within it.

Step: queue. This is the default order, kept as pods come and go, so that nothing is sorted when
a pod is popped. The permutation digest of the content is kept beside it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final

from herz.intake.order.digest import EMPTY_DIGEST
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.ring import Ring

# Bound: rings kept though empty. A priority in steady use finds its ring again, and a stream of
# ever new priorities leaves no trail.
EMPTY_RINGS_MAX: Final = 16

# A drained ring gives back a buffer larger than this (32 KiB).
CAPACITY_KEPT_MAX: Final = 4096


class PriorityRing(Ring[QueuedPod]):
    """The pods of one priority."""

    __slots__ = ("priority",)

    def __init__(self, priority: int) -> None:
        super().__init__()
        self.priority = priority


class Buckets:
    """Pods by (priority, highest first; then the order in which they were added).

    Attributes:
        count: the pods inside.
        digest: the permutation digest of their order keys.

    Invariant: `_top` is the ring of the highest priority that holds a pod; None when empty.
    Invariant: `_priorities` is sorted and names exactly the rings.
    """

    __slots__ = ("_priorities", "_rings", "_top", "count", "digest")

    def __init__(self) -> None:
        self._rings: dict[int, PriorityRing] = {}
        self._priorities: list[int] = []
        self._top: PriorityRing | None = None
        self.count = 0
        self.digest = EMPTY_DIGEST

    def __len__(self) -> int:
        return self.count

    def add(self, pod: QueuedPod) -> None:
        """Puts a pod behind its peers. Cost: O(1) for a priority seen lately."""
        item = pod.item
        priority = item.priority
        ring = self._rings.get(priority)
        if ring is None:
            ring = self._make_ring(priority)
        pod.ring = ring
        pod.place = ring.append(pod)
        self.count += 1
        self.digest += item.order_key  # Below 2^128 without a mask: see `digest.with_key`.
        top = self._top
        if top is None or priority > top.priority:
            self._top = ring

    def add_in_sequence(self, pod: QueuedPod) -> None:
        """Puts a pod where its sequence belongs among its peers.

        For a pod whose priority changed: it keeps its age, as in Kubernetes. Cost: O(peers
        behind it).
        """
        self.add(pod)
        ring = pod.ring
        assert ring is not None
        place = pod.place
        while place > ring.head:  # Bound: the peers
            peer = ring.get(place - 1)
            if peer is not None and peer.sequence < pod.sequence:
                break
            place -= 1
        if place == pod.place:
            return
        ring.remove(pod.place)
        ring.insert(place, pod)
        _renumber(ring, place)

    def pop(self) -> QueuedPod | None:
        """Takes the first pod out; None when there is none. Cost: O(1)."""
        ring = self._top
        if ring is None:
            return None
        pod = ring.popleft()
        pod.ring = None
        self.count -= 1
        self.digest -= pod.item.order_key
        if ring.head == ring.tail:
            self._tidy(ring)
        return pod

    def remove(self, pod: QueuedPod) -> None:
        """Takes a given pod out. Cost: O(1) amortised."""
        ring = self._rings[pod.item.priority]
        assert pod.ring is ring, "the pod is in its bucket"
        assert ring.get(pod.place) is pod, "at its place"
        ring.remove(pod.place)
        pod.ring = None
        self.count -= 1
        self.digest -= pod.item.order_key
        assert self.digest >= 0, "each key that leaves had come"
        if ring.is_sparse:
            ring.compact()
            _renumber(ring, ring.head)
        if ring.head == ring.tail:
            self._tidy(ring)

    def first(self, limit: int) -> list[QueuedPod]:
        """The first pods in order, at most `limit`; they stay inside. Cost: O(limit + holes)."""
        found: list[QueuedPod] = []
        for ring in self._descending():
            wanted = limit - len(found)
            if wanted <= 0:
                break
            # At most `holes` of the numbers read are holes, so enough pods come back.
            one, two = ring.since(ring.head, wanted + ring.holes)
            found += one[:wanted]
            found += two[: max(0, wanted - len(one))]
        return found

    def __iter__(self) -> Iterator[QueuedPod]:
        """The pods in order, as they are at each ring's turn."""
        for ring in self._descending():
            yield from ring

    def _descending(self) -> Iterator[PriorityRing]:
        """The rings, highest priority first."""
        return (self._rings[priority] for priority in reversed(tuple(self._priorities)))

    def _make_ring(self, priority: int) -> PriorityRing:
        """A ring for a priority that has none."""
        ring = self._rings[priority] = PriorityRing(priority)
        insort(self._priorities, priority)
        return ring

    def _tidy(self, ring: PriorityRing) -> None:
        """Settles a ring that ran empty: the top moves on, and memory is given back.

        The ring goes when many are kept; else its buffer goes when it is large.
        """
        if not self.count:
            self._top = None
        elif ring is self._top:
            self._lower_top()
        if len(self._priorities) > EMPTY_RINGS_MAX:
            del self._rings[ring.priority]
            del self._priorities[bisect_left(self._priorities, ring.priority)]
        elif ring.capacity > CAPACITY_KEPT_MAX:
            ring.clear()

    def _lower_top(self) -> None:
        """Finds the next ring that holds a pod, below the one that has run empty."""
        assert self._top is not None
        index = bisect_left(self._priorities, self._top.priority)
        self._top = None
        while index > 0:  # Bound: at most EMPTY_RINGS_MAX empty ones are passed
            index -= 1
            ring = self._rings[self._priorities[index]]
            if ring.head != ring.tail:
                self._top = ring
                return


def _renumber(ring: Ring[QueuedPod], start: int) -> None:
    """Tells the pods from this number on where they lie now."""
    for number in range(start, ring.tail):  # Bound: the ring
        pod = ring.get(number)
        if pod is not None:
            pod.place = number
