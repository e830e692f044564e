"""One pod in the queue: what the queue asks of a pod, and what it knows about it."""

from __future__ import annotations

from typing import Final, Protocol

from herz.intake.order.candidate import Candidate, Orderable
from herz.intake.queue.lifecycle import NO_HISTORY, History, Move, State
from herz.intake.queue.ring import Ring

NOT_IN_FLIGHT: Final = -1

# Looking a member up on the Enum class costs more than the rest of `__init__`'s lines.
_NEW: Final = State.NEW


class QueueItem(Orderable, Protocol):
    """The attributes of a pod that the queue reads. The object must be immutable."""

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the scheduling gates; not empty means that the pod is gated."""
        ...


class QueuedPod:
    """What the queue knows about one living pod.

    The cycle holds it from `pop` on and hands it back; only the queue writes to it.

    Attributes:
        item: the pod as last seen; replaced as a whole by an update.
        state: where the pod is.
        history: its last moves, shared with the pods that made the same; see `moves`.
        sequence: logical number, new at each return to the active queue; 0 before the first.
        attempts: how often the pod was popped.
        unschedulable_count: rejections by rules since it came (or was last unparked).
        error_count: errors in a row; a rejection by a rule sets it to 0.
        retry_count: returns from the cycle, of both kinds, since it came or was last unparked.
        backoff_ns: back-off imposed so far, in all, for the back-off limit.
        ready_at_ns: end of the current or last back-off, aligned to a window.
        flush_at_ns: when an unschedulable pod is retried without any event.
        first_ready_ns: when it first entered the active queue; -1 before. Gating is thereby not
            part of the scheduling latency, as in Kubernetes.
        rejected_by: plugins that rejected the last attempt.
        pending_by: plugins that asked the last attempt to wait for an event.
        event_mark: the number of the first event of its cycle; NOT_IN_FLIGHT outside.
        is_flushed: whether the current attempt is owed to the flush and to no event.
        ring: the ring that holds it, for removal in O(1); None in no ring.
        place: its number in that ring.
    """

    __slots__ = (
        "attempts",
        "backoff_ns",
        "error_count",
        "event_mark",
        "first_ready_ns",
        "flush_at_ns",
        "history",
        "is_flushed",
        "item",
        "pending_by",
        "place",
        "ready_at_ns",
        "rejected_by",
        "retry_count",
        "ring",
        "sequence",
        "state",
        "unschedulable_count",
    )

    def __init__(self, item: QueueItem) -> None:
        self.item = item
        self.state = _NEW
        self.history: History = NO_HISTORY
        self.sequence = 0
        self.attempts = 0
        self.unschedulable_count = 0
        self.error_count = 0
        self.retry_count = 0
        self.backoff_ns = 0
        self.ready_at_ns = 0
        self.flush_at_ns = 0
        self.first_ready_ns = -1
        self.rejected_by: tuple[str, ...] = ()
        self.pending_by: tuple[str, ...] = ()
        self.event_mark = NOT_IN_FLIGHT
        self.is_flushed = False
        self.ring: Ring[QueuedPod] | None = None
        self.place = 0

    def move(self, verb: int) -> None:
        """Takes one transition of the lifecycle table.

        Raises:
            InvariantError: the table does not have it; the pod is unchanged.

        Cost: O(1), about 0.06 us.
        """
        history = self.history.following[verb]
        if history is None:
            history = self.history.extend(verb, self.reference)
        self.history = history
        self.state = history.state

    @property
    def moves(self) -> tuple[Move, ...]:
        """The last moves, oldest first; at most 12."""
        return self.history.moves

    @property
    def is_in_flight(self) -> bool:
        """Whether events are kept for it: popped, and neither binding nor back."""
        return self.event_mark != NOT_IN_FLIGHT

    @property
    def reference(self) -> str:
        """`namespace/name (uid)`, for errors."""
        return f"{self.item.namespace}/{self.item.name} ({self.item.uid})"

    @property
    def candidate(self) -> Candidate:
        """The snapshot of it that an order sees."""
        return Candidate(self.item, self.sequence, self.attempts)

    def __repr__(self) -> str:
        return f"QueuedPod({self.reference}, {self.state.value}, sequence={self.sequence})"
