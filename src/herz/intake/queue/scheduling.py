"""The scheduling queue: the one door to every pod that waits for a decision.

Steps: arrive, queue. In come pods, events and the times they carry; out come pods, one after
another, in a deterministic order. The cycle pops a pod, tells what became of it (`reserved`,
`waiting`, `binding`, `bound`, or back: `reject`, `fail`), and each call is whole before the next:
nothing here calls back, sleeps, or reads a clock. Every pod is in exactly one place, and what
is known about it goes when it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from herz.errors import InvariantError
from herz.intake.order.comparator import Comparator
from herz.intake.queue.active import ActiveQueue
from herz.intake.queue.backoff import earliest
from herz.intake.queue.counters import QueueCounters, QueueCounts
from herz.intake.queue.hints import (
    WILDCARD,
    HintRule,
    Hints,
    InFlightEvents,
    Outcome,
    QueueEvent,
)
from herz.intake.queue.item import QueuedPod, QueueItem
from herz.intake.queue.lifecycle import State, Verb
from herz.intake.queue.rooms import POD_CAME, Rooms
from herz.intake.queue.settings import QueueSettings

# Plain ints and module names: looking a member up on an Enum costs 40 ns, six times a pod.
_ARRIVE: Final = int(Verb.ARRIVE)
_POP: Final = int(Verb.POP)
_RESERVE: Final = int(Verb.RESERVE)
_WAIT: Final = int(Verb.WAIT)
_BIND: Final = int(Verb.BIND)
_CONFIRM: Final = int(Verb.CONFIRM)
_GONE: Final = State.GONE
_BOUND: Final = State.BOUND

_IN_ROOM: Final = frozenset(
    (State.QUEUED, State.BACKING_OFF, State.UNSCHEDULABLE, State.GATED, State.PARKED)
)
_TAKEABLE: Final = frozenset((State.QUEUED, State.BACKING_OFF, State.UNSCHEDULABLE))
_SEEN_BOUND: Final = (Verb.CONFIRM, Verb.ADOPT)


class _AnyChange:
    """The event of a pod's own change when nobody says what changed."""

    kind: Final = WILDCARD


_ANY_CHANGE: Final = (_AnyChange(),)


class SchedulingQueue:
    """All the pods that Herz has to decide about, and those it decided.

    Attributes:
        active: the ready pods, the current batch and what the ladder said of it.
        rooms: the pods that wait for something.
        events: the events kept for pods in cycle.
        hints: the plugins' hints, and how often one failed.
        counters: what happened so far.

    Bound: the pods of the cluster. The ready ones have a bound of their own, see `ActiveQueue`.
    Invariant: a pod is in the one place that its state names; see `verify`.
    """

    __slots__ = ("_bound", "_pods", "_settings", "active", "counters", "events", "hints", "rooms")

    def __init__(
        self,
        settings: QueueSettings | None = None,
        *,
        hints: Iterable[HintRule] = (),
        comparator: Comparator | None = None,
    ) -> None:
        """An empty queue.

        Args:
            settings: None for Kubernetes' values.
            hints: what the plugins want to hear of.
            comparator: a configured QueueSort; None for (priority, dependencies, sequence).
        """
        self._settings = settings or QueueSettings()
        self._pods: dict[str, QueuedPod] = {}
        self._bound = 0
        self.active = ActiveQueue(self._settings, comparator)
        self.events = InFlightEvents(self._settings.events_max)
        self.hints = Hints(hints)
        self.counters = QueueCounters()
        self.rooms = Rooms(self._settings, self.active, self.hints, self.events, self.counters)

    # ---- arrivals -------------------------------------------------------------------------

    def add(self, item: QueueItem, now_ns: int) -> QueuedPod:
        """A pod without a node was seen. One that is known already is updated. Cost: O(1)."""
        uid = item.uid
        if uid in self._pods:
            return self.update(item, now_ns)
        pod = self._pods[uid] = QueuedPod(item)
        self.counters.arrived += 1
        self.rooms.cause = POD_CAME
        if item.gates:
            self.rooms.gate(pod)
        else:
            self.rooms.make_ready(pod, _ARRIVE, now_ns)
        return pod

    def adopt(self, item: QueueItem) -> State | None:
        """A pod was seen with a node: bound by us with an unknown answer, or by somebody else.

        It leaves whatever place it was in. A victim stays a victim.

        Returns:
            The state it was in, so that the caller settles what it held; None when unknown.
        """
        pod = self._pods.get(item.uid)
        before: State | None = None
        if pod is None:
            pod = self._pods[item.uid] = QueuedPod(item)
        else:
            before = pod.state
            self._take_out(pod)
            pod.item = _same_pod(pod, item)
        pod.move(Verb.ADOPT)
        self._bound += pod.state is _BOUND
        return before

    def update(
        self, item: QueueItem, now_ns: int, changes: Sequence[QueueEvent] | None = None
    ) -> QueuedPod:
        """A pod was seen changed. One that is unknown is added.

        Args:
            item: the pod as it is now.
            now_ns: when.
            changes: what changed, as events that the hints understand; None when nobody knows,
                which wakes the pod whatever rejected it; () when nothing that rules read.
        """
        pod = self._pods.get(item.uid)
        if pod is None:
            return self.add(item, now_ns)
        assert pod.state.moves[Verb.UPDATE] is not None, "a living pod may change"
        item = _same_pod(pod, item)
        changes = _ANY_CHANGE if changes is None else changes
        if pod.state in _IN_ROOM:
            self.rooms.update(pod, item, now_ns, changes)
            return pod
        pod.item = item
        if pod.is_in_flight:
            for event in changes:
                self.events.record(event, item.uid)
        return pod

    def delete(self, uid: str) -> State | None:
        """A pod is no more: its entry goes from every place.

        Returns:
            The state it was in, so that the caller releases what it held (reserved, waiting,
            binding, preempting); None when it was not known. Late calls for it are counted and
            change nothing.
        """
        pod = self._pods.pop(uid, None)
        if pod is None:
            return None
        state = pod.state
        self._take_out(pod)
        pod.move(Verb.DELETE)
        return state

    def preempt(self, uid: str) -> State | None:
        """A pod is to give its room up to another.

        Returns:
            The state it is in now: `preempting` when it held room (the caller releases it and
            then calls `reject`, or waits for `delete`), else where it was; None when unknown.
        """
        pod = self._pods.get(uid)
        if pod is None:
            return None
        move = pod.state.moves[Verb.PREEMPT]
        if move is not None and move.target is pod.state:
            return pod.state
        self._bound -= pod.state is _BOUND
        pod.move(Verb.PREEMPT)
        return pod.state

    def spare(self, uid: str) -> bool:
        """The eviction of a bound pod was refused: it stays bound. False when unknown.

        Raises:
            InvariantError: the pod is no victim, or was never seen bound.
        """
        pod = self._pods.get(uid)
        if pod is None:
            return False
        if not any(m.source is _BOUND or m.verb in _SEEN_BOUND for m in pod.moves):
            raise InvariantError(f"pod {pod.reference} was never bound and cannot be spared")
        pod.move(Verb.SPARE)
        self._bound += 1
        return True

    # ---- the cycle ------------------------------------------------------------------------

    def pop(self) -> QueuedPod | None:
        """The next pod to decide; None when nothing is ready.

        An empty active queue takes the rejected pod that would be ready first from the back-off
        queue. Events from here on are kept for the pod until `binding` or its return.
        """
        pod = self.active.pop()
        if pod is None:
            pod = self._pop_early()
            if pod is None:
                return None
        pod.move(_POP)
        pod.attempts += 1
        self.events.begin(pod)
        return pod

    def take(self, uid: str) -> QueuedPod | None:
        """A pod out of its turn, to be decided with another of its gang.

        Returns:
            The pod, in its cycle like one that was popped; None when it is unknown, gated,
            parked, in its cycle already, or past it.
        """
        pod = self._pods.get(uid)
        if pod is None or pod.state not in _TAKEABLE:
            return None
        self.rooms.take_out(pod)
        if pod.state is State.UNSCHEDULABLE:
            pod.move(Verb.BACK_OFF)
        if pod.state is not State.QUEUED:
            self.active.skip_ahead(pod)
        pod.move(_POP)
        pod.attempts += 1
        self.events.begin(pod)
        return pod

    def reserved(self, pod: QueuedPod) -> bool:
        """Room is held for the pod. False when it is gone: the caller releases the room."""
        if pod.state is _GONE:
            return self._late()
        pod.move(_RESERVE)
        return True

    def waiting(self, pod: QueuedPod) -> bool:
        """The pod waits for Permit or PreBind. False when it is gone."""
        if pod.state is _GONE:
            return self._late()
        pod.move(_WAIT)
        return True

    def binding(self, pod: QueuedPod) -> bool:
        """The binding goes out; events are no longer kept. False when the pod is gone."""
        if pod.state is _GONE:
            return self._late()
        pod.move(_BIND)
        self.events.end(pod)
        return True

    def bound(self, pod: QueuedPod) -> bool:
        """The API confirmed the binding. False when the pod is gone.

        A victim stays `preempting`. A pod that `adopt` saw bound already stays as it is.
        """
        state = pod.state
        if state is _GONE:
            return self._late()
        if state is _BOUND:
            return True
        pod.move(_CONFIRM)
        if pod.state is _BOUND:
            self._bound += 1
        if pod.is_flushed:
            # Only the flush brought it back, and then it fitted: some hint is missing.
            pod.is_flushed = False
            self.counters.missed_hints += 1
        return True

    def reject(
        self,
        pod: QueuedPod,
        rejected_by: tuple[str, ...],
        now_ns: int,
        pending_by: tuple[str, ...] = (),
    ) -> State:
        """Rules found no place for the pod: it goes back.

        Args:
            pod: from `pop`; what it held is released by the caller first.
            rejected_by: the plugins that said no; an event that they wait for wakes it after
                its back-off.
            pending_by: the plugins that asked to wait; their event wakes it at once.
            now_ns: when; the back-off counts from here.

        Returns:
            Where it went: `unschedulable`; `backing_off` or `queued` when an event of its cycle
            may help; `parked` when it met a limit (`parked_because` has the words); `gated`;
            `gone` when it was deleted meanwhile.
        """
        assert rejected_by or pending_by, "a rejection names its plugins; an error is `fail`"
        if pod.state is _GONE:
            self._late()
            return _GONE
        _check_returns(pod)
        pod.rejected_by = rejected_by
        pod.pending_by = pending_by
        outcome = self.rooms.replayed(pod)
        pod.unschedulable_count += 1
        pod.error_count = 0
        self.events.end(pod)
        self.rooms.send_back(pod, outcome, now_ns)
        return pod.state

    def fail(self, pod: QueuedPod, now_ns: int) -> State:
        """An error ended the attempt: the pod goes back and is retried after the error back-off.

        Returns:
            Where it went: `backing_off`, `parked`, `gated`; `gone` or `bound` when it was deleted
            or seen bound meanwhile, and the error is no longer of interest.
        """
        if pod.state is _GONE or pod.state is _BOUND:
            self._late()
            return pod.state
        _check_returns(pod)
        pod.rejected_by = ()
        pod.pending_by = ()
        pod.error_count += 1
        self.events.end(pod)
        self.rooms.send_back(pod, Outcome.AFTER_BACKOFF, now_ns)
        return pod.state

    # ---- events and time ------------------------------------------------------------------

    def on_event(self, event: QueueEvent, now_ns: int) -> int:
        """Something happened in the cluster: wakes the pods that it may help.

        Returns:
            How many pods left the unschedulable ones. Parked and gated pods are not concerned.
        """
        self.events.record(event)
        return self.rooms.wake_by(event, now_ns)

    def advance(self, now_ns: int) -> int:
        """Lets time pass: ends the back-offs that are over and flushes old unschedulable pods.

        Returns:
            How many pods became ready.
        """
        return self.rooms.end_backoffs(now_ns) + self.rooms.flush(now_ns)

    def next_wake_ns(self) -> int | None:
        """When `advance` next has something to do; None when time alone changes nothing."""
        return earliest(self.rooms.backoff.next_ns(), self.rooms.unschedulable.next_ns())

    # ---- looking --------------------------------------------------------------------------

    def get(self, uid: str) -> QueuedPod | None:
        """What is known about a pod; None when it is unknown or gone."""
        return self._pods.get(uid)

    def parked_because(self, pod: QueuedPod) -> str | None:
        """The limit that parked the pod, in words for its condition; None when it met none."""
        return self._settings.backoff.parked_because(pod)

    @property
    def digest(self) -> int:
        """The permutation digest of the ready pods."""
        return self.active.digest

    def counts(self) -> QueueCounts:
        """How many pods are where. Cost: O(1)."""
        rooms = self.rooms
        return QueueCounts(
            active=len(rooms.active),
            backoff=len(rooms.backoff),
            unschedulable=len(rooms.unschedulable),
            gated=len(rooms.gated),
            parked=len(rooms.parked),
            in_cycle=len(self._pods) - len(rooms) - self._bound,
            bound=self._bound,
        )

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[QueuedPod]:
        """Every pod known, in the order of arrival, as of now."""
        return iter(tuple(self._pods.values()))

    def verify(self) -> None:
        """Checks that every pod is in exactly the place that its state names. Cost: O(pods).

        Raises:
            InvariantError: names the first pod that is not.
        """
        held = self.rooms.verify()
        for pod in held.values():
            if self._pods.get(pod.item.uid) is not pod or pod.is_in_flight:
                raise InvariantError(f"{pod!r} is kept though it is gone, or in flight")
        others = [pod for pod in self if pod.item.uid not in held]
        for pod in others:
            if pod.state in _IN_ROOM or pod.state is _GONE:
                raise InvariantError(f"{pod!r} is in no place")
        if sum(pod.is_in_flight for pod in others) != self.events.in_flight:
            raise InvariantError("the pods in flight are not those in cycle")
        if sum(pod.state is _BOUND for pod in others) != self._bound:
            raise InvariantError("the count of bound pods is wrong")

    # ---- helpers --------------------------------------------------------------------------

    def _late(self) -> bool:
        """Counts a report about a pod that is gone."""
        self.counters.late_reports += 1
        return False

    def _pop_early(self) -> QueuedPod | None:
        """A rejected pod whose back-off is not over, for an empty active queue."""
        if not self._settings.has_early_pop:
            return None
        pod = self.rooms.backoff.pop_early()
        if pod is not None:
            self.counters.popped_early += 1
            self.active.skip_ahead(pod)
        return pod

    def _take_out(self, pod: QueuedPod) -> None:
        """Takes a pod out of its room, its cycle, or the count of the bound."""
        self.rooms.take_out(pod)
        self.events.end(pod)
        self._bound -= pod.state is _BOUND


def _check_returns(pod: QueuedPod) -> None:
    """A pod may come back from its cycle only; refuses before anything is changed."""
    if pod.state.moves[Verb.BACK_OFF] is None or pod.state in _IN_ROOM:
        pod.move(Verb.PARK)  # Illegal in these states: raises with the pod's history.


def _same_pod(pod: QueuedPod, item: QueueItem) -> QueueItem:
    """The new item, after the check that it is the same pod with the same key."""
    old = pod.item
    assert item.uid == old.uid, "an update is of the same pod"
    assert item.order_key == old.order_key, "the key is a function of the uid"
    return item
