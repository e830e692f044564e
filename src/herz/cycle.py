"""READ FIRST. One pod through the steps, in order.

    arrive, queue, filter, score, reserve, prove, bind

`Cycle` is the machine that drivers drive: events in (`apply`), effects out (`step`). It does no
I/O and reads no clock; a decision is a function of what was applied before it. This file knows
the order of the steps and nothing else: each step is a package, and every failure is undone
here, beside the step that failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from herz import signals
from herz.commit import bind
from herz.commit.audit.chain import Chain
from herz.intake.arrive import Arrivals
from herz.intake.order.ladder import EdgeReference
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.scheduling import SchedulingQueue
from herz.model.effects import Effect, WakeAt
from herz.model.events import (
    BindFinished,
    BindOutcome,
    Event,
    ObjectApplied,
    ObjectDeleted,
    OrderLimited,
)
from herz.model.objects import Node, Pod
from herz.model.podinfo import PodInfo
from herz.model.record import Decided, Order
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.outcome import Choice, NoFit
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Change, EventKind, Kind

_UNSORTED: Final = Order(batch=0, rung=1)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a cycle is made of; `herz.app` builds it."""

    arrivals: Arrivals
    queue: SchedulingQueue
    cluster: Cluster
    framework: Framework
    snapshot: SnapshotDigest
    chain: Chain
    schedulers: frozenset[str] | None
    """Values of `spec.schedulerName` that are ours; None: all."""


class Cycle:
    """The scheduler as a state machine (`herz.ports.Machine`)."""

    def __init__(self, parts: Parts) -> None:
        self._arrivals = parts.arrivals
        self._queue = parts.queue
        self._cluster = parts.cluster
        self._framework = parts.framework
        self._snapshot = parts.snapshot
        self._chain = parts.chain
        self._schedulers = parts.schedulers
        parts.cluster.ledger.is_unchecked = parts.framework.is_unchecked
        self._effects: list[Effect] = []
        self._orders: tuple[object, Order] = (None, _UNSORTED)
        self._wake_ns = -1
        # A pod that is deleted and made anew may come as one event, with another uid.
        self._uids: dict[str, str] = {}
        # Sequence of the record behind each bind that is under way, by uid.
        self._binds: dict[str, int] = {}
        self.counters: Counter[str] = Counter()

    # ---- decisions ------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """Pods in the active queue."""
        return self._queue.counts().active

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide at most `limit` pods; effects in the order in which they must be carried out."""
        assert limit >= 1, "a step decides at least one pod"
        self._queue.advance(now_ns)
        # One snapshot digest a step: what later decisions of the step read besides is in the
        # records before theirs, which the chain holds.
        snapshot = ""
        for _ in range(limit):  # Bound: the driver's count.
            queued = self._queue.pop()
            if queued is None:
                break
            snapshot = snapshot or self._digest()
            self._decide(queued, snapshot, now_ns)
        wake_ns = self._queue.next_wake_ns()
        if wake_ns is not None and wake_ns != self._wake_ns:
            self._wake_ns = wake_ns
            self._effects.append(WakeAt(time_ns=wake_ns))
        effects, self._effects = self._effects, []
        return effects

    def _decide(self, queued: QueuedPod, snapshot: str, now_ns: int) -> None:
        """Filter, score, reserve, prove, bind; or prove, and back to the queue."""
        pod = queued.item
        assert isinstance(pod, PodInfo), "the queue holds what arrive made"
        found = self._framework.decide(pod)
        if isinstance(found, Choice):
            devices = self._framework.choose_devices(pod, found.row)
            if isinstance(devices, NoFit):
                found = devices
            elif self._cluster.reserve(pod, found.row, devices):
                self._place(queued, pod, found, devices, snapshot, now_ns)
                return
            else:
                self.counters[signals.RESERVATIONS_REFUSED] += 1
                found = self._framework.no_room(found)
        self._turn_down(queued, pod, found, snapshot, now_ns)

    def _place(
        self,
        queued: QueuedPod,
        pod: PodInfo,
        choice: Choice,
        devices: tuple[int, ...],
        snapshot: str,
        now_ns: int,
    ) -> None:
        self._queue.reserved(queued)
        record = self._chain.append(
            pod,
            Decided.PLACE,
            self._order(),
            snapshot,
            now_ns,
            devices=devices,
            levels=self._cluster.levels(choice.row),
            marks=self._marks(pod),
            node=choice.node,
            path=choice.path,
            plugins=choice.plugins,
            tied=choice.tied,
            top=choice.top,
        )
        self._queue.binding(queued)
        self._binds[pod.uid] = record.sequence
        self._effects.append(bind.bind(pod, choice.node, devices, record.sequence))
        self.counters[signals.ATTEMPTS_SCHEDULED] += 1

    def _turn_down(
        self, queued: QueuedPod, pod: PodInfo, found: NoFit, snapshot: str, now_ns: int
    ) -> None:
        is_error = found.kind is Kind.ERROR
        decided = Decided.UNSCHEDULABLE
        if found.kind is Kind.WAIT:
            decided = Decided.WAIT
        elif is_error:
            decided = Decided.ERROR
        record = self._chain.append(
            pod,
            decided,
            self._order(),
            snapshot,
            now_ns,
            marks=self._marks(pod),
            message=found.message,
            path=found.path,
            rejections=found.rejections,
        )
        if is_error:
            self._queue.fail(queued, now_ns)
        else:
            self._queue.reject(queued, found.rejected_by, now_ns, found.pending_by)
        limit = self._queue.parked_because(queued)
        message = f"{found.message} {limit}" if limit else found.message
        condition, event = bind.failed(
            pod, "SchedulerError" if is_error else "Unschedulable", message
        )
        # The condition is written when it changes, the event each time, as Kubernetes does.
        self._effects += [event] if record.repeats and not limit else [condition, event]
        self.counters[signals.ATTEMPTS_ERROR if is_error else signals.ATTEMPTS_UNSCHEDULABLE] += 1

    def _digest(self) -> str:
        """The snapshot's digest; the ready pods' order counts through their sequence."""
        order = self._queue.digest.to_bytes(16, "big")
        return self._snapshot.digest(order + self._cluster.knowledge).hex()

    def _order(self) -> Order:
        """How the pod's batch was ordered; the details only in the batch's first record."""
        active = self._queue.active
        result = active.result
        if result is None:
            # Straight from the buckets: nothing in the batch depends on anything.
            return _UNSORTED
        last, order = self._orders
        if result is last:
            return order
        batch = active.batch_count
        self._orders = (result, Order(batch=batch, rung=result.rung))
        for descent in result.descents:
            self.counters[signals.ORDER_DESCENTS.format(rung=descent.rung)] += 1
        if result.fault is not None:
            self.counters[signals.COMPARATOR_FAULTS] += 1
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

    def _marks(self, pod: PodInfo) -> tuple[str, ...]:
        """What a reader of the record must know; tells it to people and meters too."""
        if not pod.unlisted:
            return ()
        fields = ", ".join(pod.unlisted)
        note = f"placed without reading spec fields unknown to this release: {fields}"
        self._effects.append(bind.warning(pod, "UnlistedFields", "Scheduling", note))
        self.counters[signals.UNLISTED_FIELDS] += 1
        return tuple(f"unlisted:{field}" for field in pod.unlisted)

    # ---- events ---------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take one event in; decides nothing."""
        self.counters[signals.EVENTS] += 1
        match event:
            case BindFinished():
                self._bind_finished(event)
            case OrderLimited():
                self._queue.active.begin_on_rung(event.rung)
            case ObjectApplied(object=Pod() as pod):
                self._pod_applied(pod, event)
            case ObjectApplied(object=Node() as node):
                self._tell(self._cluster.apply_node(node), event.time_ns)
            case ObjectDeleted(object=Pod() as pod):
                self._pod_gone(pod.metadata.uid, event.time_ns)
            case ObjectDeleted(object=Node() as node):
                self._cluster.remove_node(node.name)
            case _:
                # Kinds that no rule of this release reads; each rule that comes reads its own.
                self.counters[signals.EVENTS_IGNORED] += 1

    def _pod_applied(self, pod: Pod, event: ObjectApplied) -> None:
        uid = pod.metadata.uid
        before = self._uids.get(pod.key, uid)
        if before != uid:
            self._pod_gone(before, event.time_ns)
        is_ours = self._schedulers is None or pod.spec.scheduler_name in self._schedulers
        if pod.is_terminal or (pod.is_terminating and not pod.is_assigned):
            self._pod_gone(uid, event.time_ns)
        elif pod.is_assigned:
            self._uids[pod.key] = uid
            self._pod_assigned(self._arrivals.read(pod, event.unlisted), event.time_ns)
        elif is_ours:
            self._uids[pod.key] = uid
            self._pod_waits(self._arrivals.read(pod, event.unlisted), event.time_ns)
        else:
            self.counters[signals.EVENTS_IGNORED] += 1

    def _pod_assigned(self, info: PodInfo, now_ns: int) -> None:
        queued = self._queue.get(info.uid)
        self._leaves_queue(queued)
        self._queue.adopt(info)
        self._binds.pop(info.uid, None)
        devices = bind.devices_of(info.pod.metadata.annotations)
        self._tell(self._cluster.assign(info, info.pod.spec.node_name, devices), now_ns)
        self._chain.forget(info.uid)

    def _pod_waits(self, info: PodInfo, now_ns: int) -> None:
        known = self._queue.get(info.uid)
        placed = self._cluster.ledger.get(info.uid)
        if placed is not None and placed.is_bound:
            # A late copy of what the API held before the bind; a bound pod never loses its node.
            self.counters[signals.EVENTS_IGNORED] += 1
            return
        if known is not None and placed is not None:
            # Decided, and its bind is under way: what changed counts if the bind is refused.
            self._snapshot.remove("queue", _digest_of(known))
            self._snapshot.add("queue", info.digest)
            self._queue.update(info, now_ns, ())
            return
        told = () if known is None else known.item.gates
        if known is None:
            self._queue.add(info, now_ns)
            self._cluster.see(info)
        else:
            old = _digest_of(known)
            if old == info.digest and told == info.gates:
                return
            self._snapshot.remove("queue", old)
            change = Change(EventKind.UNSCHEDULED_POD_UPDATE, old=known.item, new=info)
            self._queue.update(info, now_ns, (change,))
        self._snapshot.add("queue", info.digest)
        if info.gates and info.gates != told:
            message = "; ".join(info.gates)
            self._effects += bind.failed(info, "SchedulingGated", message)

    def _pod_gone(self, uid: str, now_ns: int) -> None:
        queued = self._queue.get(uid)
        self._leaves_queue(queued)
        held = queued.item if queued is not None else None
        if isinstance(held, PodInfo) and self._uids.get(held.key) == uid:
            del self._uids[held.key]
        self._queue.delete(uid)
        self._binds.pop(uid, None)
        self._chain.forget(uid)
        self._tell(self._cluster.forget(uid), now_ns)

    def _bind_finished(self, event: BindFinished) -> None:
        placed = self._cluster.ledger.get(event.uid)
        queued = self._queue.get(event.uid)
        if placed is None or queued is None or self._binds.get(event.uid) != event.decision:
            self.counters[signals.LATE_ANSWERS] += 1
            return
        if event.outcome is not BindOutcome.UNKNOWN:
            del self._binds[event.uid]
        match event.outcome:
            case BindOutcome.BOUND:
                self._leaves_queue(queued)
                self._cluster.assign(placed.pod, placed.node, placed.devices)
                self._queue.bound(queued)
                self._effects.append(bind.scheduled(placed.pod, placed.node))
            case BindOutcome.UNKNOWN:
                self.counters[signals.BINDS_UNKNOWN] += 1
            case BindOutcome.REFUSED:
                self.counters[signals.BINDS_REFUSED] += 1
                change = self._cluster.forget(event.uid)
                self._queue.fail(queued, event.time_ns)
                self._tell(change, event.time_ns)
                self._effects += bind.failed(placed.pod, "SchedulerError", event.message)

    def _leaves_queue(self, queued: QueuedPod | None) -> None:
        """The pod has a node now, or is gone. The queue's digest is over those without one."""
        if queued is None:
            return
        placed = self._cluster.ledger.get(queued.item.uid)
        if placed is None or not placed.is_bound:
            self._snapshot.remove("queue", _digest_of(queued))

    def _tell(self, change: Change | None, now_ns: int) -> None:
        """Wake the pods that the change may help."""
        if change is not None:
            self._queue.on_event(change, now_ns)


def _pairs(edges: Iterable[EdgeReference]) -> tuple[tuple[str, str], ...]:
    return tuple((edge.before, edge.after) for edge in edges)


def _digest_of(queued: QueuedPod) -> bytes:
    assert isinstance(queued.item, PodInfo), "the queue holds what arrive made"
    return queued.item.digest
