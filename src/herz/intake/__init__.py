"""Steps 1 and 2, arrive and queue: which pod is decided next.

`SchedulingQueue` is the door for the cycle; `herz.intake.order` puts a batch in order. Nothing here
reads a clock, a random source or the network: times come with the events.
"""

from herz.intake.order import AFTER_ANNOTATION, Comparator, OrderBounds, OrderResult, parse_after
from herz.intake.queue import (
    BackoffPolicy,
    HintRule,
    QueuedPod,
    QueueEvent,
    QueueItem,
    QueueSettings,
    SchedulingQueue,
    State,
)

__all__ = [
    "AFTER_ANNOTATION",
    "BackoffPolicy",
    "Comparator",
    "HintRule",
    "OrderBounds",
    "OrderResult",
    "QueueEvent",
    "QueueItem",
    "QueueSettings",
    "QueuedPod",
    "SchedulingQueue",
    "State",
    "parse_after",
]
