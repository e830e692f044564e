"""What a record says of the order in which its pod's batch was decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from herz import signals
from herz.commit.audit.chain import Chain
from herz.intake.order.ladder import EdgeReference
from herz.intake.queue.active import ActiveQueue
from herz.model.record import Order

_UNSORTED: Final = Order(batch=0, rung=1)


class Orders:
    """Tells each batch's order once, and counts what it had to give up."""

    def __init__(self, active: ActiveQueue, chain: Chain, counters: Counter[str]) -> None:
        self._active, self._chain, self._counters = active, chain, counters
        self._last: tuple[object, Order] = (None, _UNSORTED)

    def of_batch(self) -> Order:
        """How the popped pod's batch was ordered; the details only in the batch's first record."""
        result = self._active.result
        if result is None:
            # Straight from the buckets: nothing in the batch depends on anything.
            return _UNSORTED
        last, order = self._last
        if result is last:
            return order
        batch = self._active.batch_count
        self._last = (result, Order(batch=batch, rung=result.rung))
        for descent in result.descents:
            self._counters[signals.ORDER_DESCENTS.format(rung=descent.rung)] += 1
        if result.fault is not None:
            self._counters[signals.COMPARATOR_FAULTS] += 1
            self._chain.retire()
        return Order(
            batch=batch,
            broken=_pairs(result.broken),
            cycles=result.cycles,
            descents=tuple((descent.rung, descent.reason) for descent in result.descents),
            dropped=_pairs(result.dropped),
            fault="" if result.fault is None else str(result.fault.error),
            overruled=_pairs(result.overruled),
            rung=result.rung,
        )


def _pairs(edges: Iterable[EdgeReference]) -> tuple[tuple[str, str], ...]:
    return tuple((edge.before, edge.after) for edge in edges)
