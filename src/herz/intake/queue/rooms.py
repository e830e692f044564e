"""Where pods wait that are not ready, and the ways between those places.

Step: queue. `Rooms` holds the pods that back off, are unschedulable, gated or parked, and moves
them to and from the active queue. `SchedulingQueue` is its only caller. Each method leaves every
pod in the one place that its state names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from herz.errors import InvariantError
from herz.intake.queue.active import ActiveQueue
from herz.intake.queue.backoff import BackoffQueue
from herz.intake.queue.counters import QueueCounters
from herz.intake.queue.hints import Hints, InFlightEvents, Outcome, QueueEvent
from herz.intake.queue.item import QueuedPod, QueueItem
from herz.intake.queue.lifecycle import State, Verb
from herz.intake.queue.settings import QueueSettings
from herz.intake.queue.unschedulable import UnschedulablePods

POD_CAME: Final = "UnscheduledPodAdd"
POD_CHANGED: Final = "UnscheduledPodUpdate"
ATTEMPT_FAILED: Final = "ScheduleAttemptFailure"


class Rooms:
    """All the places of pods that are neither in a cycle nor bound.

    Attributes:
        active: the ready pods.
        backoff: pods that back off.
        unschedulable: pods that wait for an event.
        gated: pods with gates, by uid, in the order in which they came.
        parked: pods that met a limit, by uid.
        cause: what moves pods now, by kube-scheduler's name of the event.
        incoming: pods that came into Kubernetes' queues, by queue and event, in this process.

    Bound: the pods known to the queue; the active queue has a bound of its own.
    """

    __slots__ = (
        "_counters",
        "_events",
        "_hints",
        "_settings",
        "active",
        "backoff",
        "cause",
        "gated",
        "incoming",
        "parked",
        "unschedulable",
    )

    def __init__(
        self,
        settings: QueueSettings,
        active: ActiveQueue,
        hints: Hints,
        events: InFlightEvents,
        counters: QueueCounters,
    ) -> None:
        """Empty rooms around an active queue; the rest is shared with the facade."""
        self._settings = settings
        self._hints = hints
        self._events = events
        self._counters = counters
        self.active = active
        self.cause = ""
        self.incoming: Counter[tuple[str, str]] = Counter()
        self.backoff = BackoffQueue()
        self.unschedulable = UnschedulablePods()
        self.gated: dict[str, QueuedPod] = {}
        self.parked: dict[str, QueuedPod] = {}

    def __len__(self) -> int:
        held = len(self.active) + len(self.backoff) + len(self.unschedulable)
        return held + len(self.gated) + len(self.parked)

    def make_ready(self, pod: QueuedPod, verb: int, now_ns: int) -> None:
        """The pod enters the active queue, with a new sequence."""
        pod.move(verb)
        if pod.first_ready_ns < 0:
            pod.first_ready_ns = now_ns
        self.incoming["active", self.cause] += 1
        self.active.enter(pod)

    def gate(self, pod: QueuedPod) -> None:
        """The pod waits for its gates to go."""
        pod.move(Verb.GATE)
        self.incoming["gated", self.cause] += 1
        self.gated[pod.item.uid] = pod

    def take_out(self, pod: QueuedPod) -> None:
        """Takes a pod out of the room of its state; one in no room stays as it is."""
        state = pod.state
        if state is State.QUEUED:
            self.active.leave(pod)
        elif state is State.BACKING_OFF:
            self.backoff.remove(pod)
        elif state is State.UNSCHEDULABLE:
            self.unschedulable.remove(pod)
        elif state is State.GATED:
            del self.gated[pod.item.uid]
        elif state is State.PARKED:
            del self.parked[pod.item.uid]

    def send_back(self, pod: QueuedPod, outcome: Outcome, now_ns: int) -> None:
        """Puts a pod that comes back from its cycle where it belongs.

        Args:
            pod: in no room; its counters and rejecting plugins are up to date.
            outcome: what the events of its cycle mean for it.
            now_ns: when the attempt ended; the back-off and the flush count from here.
        """
        self.cause = ATTEMPT_FAILED
        pod.is_flushed = False
        pod.retry_count += 1
        self._settings.backoff.impose(pod, now_ns)
        if pod.item.gates:
            self.gate(pod)
        elif self._settings.backoff.parked_because(pod) is not None:
            pod.move(Verb.PARK)
            self.parked[pod.item.uid] = pod
            self.incoming["unschedulable", self.cause] += 1
            self._counters.parked += 1
        elif outcome is Outcome.STAY:
            self._set_aside(pod, now_ns)
        elif outcome is Outcome.AT_ONCE:
            self.make_ready(pod, Verb.WAKE, now_ns)
        else:
            self._back_off(pod)

    def replayed(self, pod: QueuedPod) -> Outcome:
        """What the events of the pod's cycle mean for it, now that its rejecters are known."""
        if not pod.is_in_flight or self._events.missed(pod):
            # Nobody knows what it missed, so it is retried rather than forgotten.
            return Outcome.AFTER_BACKOFF
        return self._strongest(pod, self._events.of(pod))

    def wake_by(self, event: QueueEvent, now_ns: int) -> int:
        """Wakes the unschedulable pods that the event may help; returns how many."""
        if not self.unschedulable.count:
            return 0
        self.cause = str(event.kind)
        woken = self.unschedulable.woken_by(event, self._hints)
        for pod, outcome in woken:
            self.unschedulable.remove(pod)
            self._wake(pod, outcome, now_ns)
        self._counters.woken += len(woken)
        return len(woken)

    def end_backoffs(self, now_ns: int) -> int:
        """Makes the pods ready whose back-off is over; returns how many."""
        self.cause = "BackoffComplete"
        count = 0
        while (pod := self.backoff.pop_due(now_ns)) is not None:  # Bound: the pods backing off
            self.make_ready(pod, Verb.WAKE, now_ns)
            count += 1
        return count

    def flush(self, now_ns: int) -> int:
        """Wakes the pods that no event woke for too long; returns how many are ready."""
        self.cause = "UnschedulableTimeout"
        count = 0
        for pod in self.unschedulable.due(now_ns):
            self.unschedulable.remove(pod)
            pod.is_flushed = True
            self._counters.flushed += 1
            self._wake(pod, Outcome.AFTER_BACKOFF, now_ns)
            count += pod.state is State.QUEUED
        return count

    def update(
        self, pod: QueuedPod, item: QueueItem, now_ns: int, changes: Sequence[QueueEvent]
    ) -> None:
        """Gives a pod in a room its new item, and moves it where that belongs.

        A ready or backing-off pod stays what it is unless gates came; a gated one leaves when
        its gates went; an unschedulable one is woken where a change may help it; a parked one
        that its owner changed begins anew with fresh limits.
        """
        self.cause = POD_CHANGED
        state = pod.state
        if state is State.QUEUED and not item.gates:
            self.active.replace(pod, item)
            return
        self.take_out(pod)
        pod.item = item
        if item.gates:
            if state is State.GATED:
                self.gated[item.uid] = pod
            else:
                self.gate(pod)
        elif state is State.GATED:
            self.make_ready(pod, Verb.UNGATE, now_ns)
        elif state is State.BACKING_OFF:
            self.backoff.add(pod)
        elif state is State.PARKED:
            self._update_parked(pod, now_ns, changes)
        else:
            outcome = self._strongest(pod, changes)
            if outcome is Outcome.STAY:
                self.unschedulable.add(pod)
            else:
                self._wake(pod, outcome, now_ns)

    def _update_parked(self, pod: QueuedPod, now_ns: int, changes: Sequence[QueueEvent]) -> None:
        """Unparks a pod that was changed in anything that rules read."""
        if not changes:
            self.parked[pod.item.uid] = pod
            return
        pod.retry_count = pod.unschedulable_count = pod.error_count = pod.backoff_ns = 0
        self.make_ready(pod, Verb.WAKE, now_ns)

    def _set_aside(self, pod: QueuedPod, now_ns: int) -> None:
        """The pod waits for an event, or for its flush at a whole window after 5 minutes."""
        window = self._settings.flush_window_ns
        due = now_ns + self._settings.flush_after_ns
        pod.flush_at_ns = -(-due // window) * window
        pod.move(Verb.SET_ASIDE)
        self.incoming["unschedulable", self.cause] += 1
        self.unschedulable.add(pod)

    def _wake(self, pod: QueuedPod, outcome: Outcome, now_ns: int) -> None:
        """A pod that was unschedulable is to be retried; it is in no room here."""
        if outcome is Outcome.AFTER_BACKOFF and now_ns < pod.ready_at_ns:
            self._back_off(pod)
        else:
            self.make_ready(pod, Verb.WAKE, now_ns)

    def _back_off(self, pod: QueuedPod) -> None:
        pod.move(Verb.BACK_OFF)
        self.incoming["backoff", self.cause] += 1
        self.backoff.add(pod)

    def _strongest(self, pod: QueuedPod, events: Iterable[QueueEvent]) -> Outcome:
        """What several events mean for a pod: the outcome that wakes it soonest."""
        found = Outcome.STAY
        for event in events:
            outcome = self._hints.outcome(pod, event)
            if outcome is Outcome.AT_ONCE:
                return outcome
            if outcome is Outcome.AFTER_BACKOFF:
                found = outcome
        return found

    def verify(self) -> dict[str, QueuedPod]:
        """Checks that the pods in the rooms are there by their state, each once; returns them.

        Raises:
            InvariantError: names a pod that is in a wrong place or in two.
        """
        self.active.verify()
        seen: dict[str, QueuedPod] = {}
        rooms: tuple[tuple[State, Iterable[QueuedPod]], ...] = (
            (State.QUEUED, self.active),
            (State.BACKING_OFF, self.backoff),
            (State.UNSCHEDULABLE, self.unschedulable),
            (State.GATED, self.gated.values()),
            (State.PARKED, self.parked.values()),
        )
        for state, pods in rooms:
            for pod in pods:
                if pod.state is not state or pod.item.uid in seen:
                    raise InvariantError(f"{pod!r} is in the place of {state.value} pods")
                seen[pod.item.uid] = pod
        if len(seen) != len(self):
            raise InvariantError("a room's count does not match its pods")
        return seen
