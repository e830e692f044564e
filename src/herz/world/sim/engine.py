"""Virtual time: what happens next, in one order that never depends on anything but the input.

The order is (time, rank, first in first out). There is no wall clock here.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from herz.errors import InvariantError

Handler = Callable[[Any], None]


class Rank(IntEnum):
    """Which of the things due at one time comes first.

    The world moves before it is told of, nodes before the pods that may go there, and answers
    before new arrivals, as an idle API server would do it.
    """

    NODE = 0
    API = 1
    KUBELET = 2
    USER = 3
    ARRIVAL = 4
    WATCH = 5


class Engine:
    """The clock and the things to come.

    What is due at one time with one rank waits in one queue, first in, first out; the heap holds
    each pair of time and rank once (as one integer), so that no tie is ever broken by the heap.

    Args:
        pending_max: bound of the things to come; a scenario that passes it is at fault.
    """

    def __init__(self, pending_max: int = 4_000_000) -> None:
        self.now_ns = 0
        self.handled = 0
        self.pending = 0
        self._pending_max = pending_max
        # Bound: `pending_max`, checked in `at`.
        self._heap: list[int] = []
        self._queues: dict[int, deque[tuple[Handler, Any]]] = {}

    def at(self, time_ns: int, rank: Rank, handler: Handler, argument: Any = None) -> None:
        """Call `handler(argument)` at this time, which must not be in the past."""
        if time_ns < self.now_ns:
            raise InvariantError(f"scheduled at {time_ns} ns, but it is {self.now_ns} ns already")
        if self.pending >= self._pending_max:
            raise InvariantError(f"more than {self._pending_max} things are pending")
        key = (time_ns << RANK_BITS) | rank
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
            heapq.heappush(self._heap, key)
        queue.append((handler, argument))
        self.pending += 1

    @property
    def next_ns(self) -> int | None:
        """When the next thing happens; None when nothing is to come."""
        return self._heap[0] >> RANK_BITS if self._heap else None

    def advance(self, time_ns: int) -> None:
        """Move to the time and let everything happen that is due by then, what it causes included.

        Bound: `HANDLED_AT_ONCE_MAX` things at one instant, against handlers that cause each other
        forever.
        """
        heap, queues, handled = self._heap, self._queues, 0
        end_key = (time_ns + 1) << RANK_BITS
        while heap and heap[0] < end_key:
            key = heap[0]
            queue = queues[key]
            at_ns = key >> RANK_BITS
            if at_ns > self.now_ns:
                self.now_ns, handled = at_ns, 0
            # A handler may cause something that comes before the rest of this queue.
            while queue and heap[0] == key:
                handler, argument = queue.popleft()
                self.pending -= 1
                self.handled += 1
                handled += 1
                handler(argument)
            if not queue and heap[0] == key:
                heapq.heappop(heap)
                del queues[key]
            if handled > HANDLED_AT_ONCE_MAX:
                raise InvariantError(f"more than {HANDLED_AT_ONCE_MAX} things at {at_ns} ns")
        self.now_ns = max(self.now_ns, time_ns)


RANK_BITS = 3
HANDLED_AT_ONCE_MAX = 4_000_000
"""Bound: how much may happen at one instant; a batch of arrivals is far below it."""
