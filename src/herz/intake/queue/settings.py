"""The queue's settings: bounds, back-off, and the order's bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from herz.errors import ConfigError
from herz.intake.order.ladder import OrderBounds
from herz.intake.queue.backoff import BackoffPolicy

BATCH_LIMIT: Final = 65_536

SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How the queue behaves; part of the policy, since decisions depend on it.

    Attributes:
        batch_max: ready pods that are ordered at once, 1 to 65,536.
        active_max: ready pods in the buckets; those beyond are held first come, first served.
        events_max: events kept for pods in cycle; a pod older than the oldest one kept is
            retried after its back-off, as if a lost event had woken it.
        flush_after_ns: how long a pod stays unschedulable without any event.
        flush_window_ns: the flush looks at multiples of this.
        has_early_pop: an empty active queue takes from the back-off queue (PopFromBackoffQ).
        backoff: durations and limits.
        order: the bounds of the ladder.
    """

    batch_max: int = 1024
    active_max: int = 1_000_000
    events_max: int = 65_536
    flush_after_ns: int = 300 * SECOND_NS
    flush_window_ns: int = 30 * SECOND_NS
    has_early_pop: bool = True
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)
    order: OrderBounds = field(default_factory=OrderBounds)

    def __post_init__(self) -> None:
        """Refuses values out of range.

        Raises:
            ConfigError: names the setting, its value and its range.
        """
        _within("queue.batch_max", self.batch_max, 1, BATCH_LIMIT)
        _within("queue.active_max", self.active_max, 1, 1 << 40)
        _within("queue.events_max", self.events_max, 1, 1 << 24)
        _within("queue.flush_after_ns", self.flush_after_ns, 1, 1 << 62)
        _within("queue.flush_window_ns", self.flush_window_ns, 1, 1 << 62)


def _within(where: str, value: int, low: int, high: int) -> None:
    """Raises ConfigError unless low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError("out of range", where=where, value=value, fix=f"use {low} to {high}")
