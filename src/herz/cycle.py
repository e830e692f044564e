"""READ FIRST. One pod through the steps, in order.

    arrive, queue, filter, score, reserve, prove, bind

`Cycle` is the machine that drivers drive: events in (`apply`), effects out (`step`). It does no
I/O and reads no clock; a decision is a function of what was applied before it. This file knows
the order of the steps and nothing else: each step is a package, and every failure is undone
here, beside the step that failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from herz import signals
from herz.commit import bind
from herz.commit.audit.chain import Chain
from herz.config import RuleTerms
from herz.intake.arrive import Arrivals, ProfiledArrivals
from herz.intake.order.ladder import checked_rung
from herz.intake.queue.backoff import earliest
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import State
from herz.intake.queue.scheduling import SchedulingQueue
from herz.model.effects import Effect, WakeAt
from herz.model.events import Event, ObjectApplied, ObjectDeleted, OrderLimited
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished, BindOutcome, PatchRefused, RemovalRefused
from herz.model.podinfo import PodInfo
from herz.model.record import Decided, Stage, Statement
from herz.model.volumes import NO_PLAN
from herz.ordering import Orders
from herz.place.advice import Advices
from herz.place.catalog import ASPECTS
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.gang import Gang, Gangs
from herz.place.outcome import Choice, NoFit
from herz.place.preemption.preemption import Preempted, Preemption
from herz.place.rulings import is_barred_by, is_unchecked_by
from herz.place.snapshot import SnapshotDigest
from herz.place.starvation import NEVER_KEPT, Starvation, StarvationTerms
from herz.place.volumes.binder import Outcome, VolumeBinder
from herz.plugin import Change, EventKind, Kind
from herz.ports import Watch
from herz.preempting import Preempting
from herz.promising import promised


@dataclass(frozen=True, slots=True)
class Parts:
    """What a cycle is made of; `herz.app` builds it."""

    arrivals: Arrivals | ProfiledArrivals
    queue: SchedulingQueue
    cluster: Cluster
    frameworks: tuple[Framework, ...]
    """By profile (`PodInfo.profile`)."""
    snapshot: SnapshotDigest
    chain: Chain
    schedulers: frozenset[str] | None
    """Values of `spec.schedulerName` that are ours; None: all."""
    preemptions: tuple[Preemption | None, ...] = (None,)
    """By profile, has room made for pods that fit nowhere; None: they wait."""
    own_rules: frozenset[str] = frozenset()
    """The rules that kube-scheduler does not have."""
    starvation: StarvationTerms = NEVER_KEPT
    """When room is kept for pods that wait for long."""
    terms: tuple[Mapping[str, RuleTerms], ...] = ({},)
    """By profile, when rules of ours give way, by name."""


class Cycle:
    """The scheduler as a state machine (`herz.ports.Machine`)."""

    def __init__(self, parts: Parts) -> None:
        self._arrivals, self._queue = parts.arrivals, parts.queue
        self._cluster, self._frameworks = parts.cluster, parts.frameworks
        self._snapshot, self._chain = parts.snapshot, parts.chain
        self._schedulers = parts.schedulers
        self._advice = Advices(
            *(parts.cluster, parts.frameworks, parts.snapshot),
            *(parts.terms, parts.own_rules, parts.preemptions),
        )
        self._gangs = Gangs(parts.cluster, parts.frameworks, self._advice)
        self._starvation = Starvation(parts.cluster, parts.frameworks, parts.starvation)
        parts.cluster.is_barred = is_barred_by(self._advice.lenient)
        parts.cluster.ledger.is_unchecked = is_unchecked_by(parts.frameworks)
        self._effects: list[Effect] = []
        self._wake_ns = -1
        # A pod that is deleted and made anew may come as one event, with another uid.
        self._uids: dict[str, str] = {}
        # Sequence of the record behind each bind that is under way, by uid.
        self._binds: dict[str, int] = {}
        self._volumes = VolumeBinder(parts.cluster.catalog, parts.cluster.nodes, parts.frameworks)
        self.counters: Counter[str] = Counter()
        self._batches = Orders(parts.queue.active, parts.chain, self.counters)
        self._order = self._batches.of_batch
        self.watch: Watch | None = None
        wired = (parts.preemptions, parts.queue, parts.cluster, self.counters, self._advice)
        self._preempting = Preempting(*wired)

    # ---- decisions ------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """Pods in the active queue."""
        return len(self._queue.active)

    @property
    def queue(self) -> SchedulingQueue:
        """The queue, for what is counted there."""
        return self._queue

    @property
    def evaluations(self) -> dict[tuple[str, str, str], int]:
        """How many decisions each rule had a say in, by name, extension point and profile."""
        each = zip(self._frameworks, self._chain.profiles, strict=True)
        return {
            (*key, profile): count
            for framework, profile in each
            for key, count in framework.evaluations.items()
        }

    @property
    def assumed(self) -> int:
        """How many pods hold room on a node that the API has not confirmed."""
        return sum(not placed.is_bound for placed in self._cluster.ledger.placed.values())

    @property
    def held(self) -> dict[str, str]:
        """Node by uid, of all pods that the ledger counts."""
        return self._cluster.ledger.nodes()

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """Decide at most `limit` pods; effects in the order in which they must be carried out."""
        assert limit >= 0, "a count"
        self._cluster.catalog.signals.advance(now_ns)
        for pod in self._starvation.advance(now_ns):
            self._preempting.end_nomination(pod, self._effects, now_ns)
        for uid in (*self._starvation.due(now_ns), *self._advice.due(now_ns)):
            # Woken whatever rejected it, as the API last showed it.
            if (queued := self._queue.get(uid)) is not None:
                self._queue.update(queued.item, now_ns)
        self._queue.advance(now_ns)
        self._settle(self._volumes.expire(now_ns), now_ns)
        # One snapshot digest a step: what later decisions of the step read besides is in the
        # records before theirs, which the chain holds.
        snapshot = ""
        for _ in range(limit):  # Bound: the driver's count.
            queued = self._queue.pop()
            if queued is None:
                break
            snapshot = snapshot or self._digest()
            if self.watch is not None:
                self.watch("filter", _info(queued))
            self._decide(queued, snapshot, now_ns)
        if self.watch is not None and snapshot:
            self.watch("prove", None)
        self._chain.seal()
        wake_ns = earliest(
            self._queue.next_wake_ns(),
            self._volumes.next_wake_ns(),
            self._starvation.next_wake_ns(),
            self._advice.next_wake_ns(),
        )
        if wake_ns is not None and wake_ns != self._wake_ns:
            self._wake_ns = wake_ns
            self._effects.append(WakeAt(time_ns=wake_ns))
        effects, self._effects = self._effects, []
        return effects

    def _decide(self, queued: QueuedPod, snapshot: str, now_ns: int) -> None:
        """Filter, score, reserve, prove, bind; or prove, and back to the queue."""
        pod = queued.item
        assert isinstance(pod, PodInfo), "the queue holds what arrive made"
        gang = self._gangs.judge(pod, now_ns) if pod.pod_group else None
        if gang is not None:
            self._decide_gang(queued, pod, gang, snapshot, now_ns)
            return
        framework = self._frameworks[pod.profile]
        found = framework.decide(pod, self.watch)
        if isinstance(found, NoFit):
            found = self._advice.again(pod, found, now_ns)
        if isinstance(found, Choice):
            if self.watch is not None:
                self.watch("reserve", pod)
            devices = framework.choose_devices(pod, found.row)
            if isinstance(devices, NoFit):
                found = devices
            elif self._cluster.reserve(pod, found.row, devices):
                self._place(queued, pod, found, devices, snapshot, now_ns)
                return
            else:
                self.counters[signals.RESERVATIONS_REFUSED] += 1
                found = framework.no_room(found)
        is_kept = bool(self._starvation.nodes_for(pod))
        room = self._preempting.seek(pod, found, self._effects, now_ns, is_kept=is_kept)
        if isinstance(room, Preempted):
            self._make_room(queued, pod, found, room, snapshot, now_ns)
        else:
            self._turn_down(queued, pod, room, snapshot, now_ns)

    def _decide_gang(
        self, queued: QueuedPod, pod: PodInfo, gang: Gang | NoFit, snapshot: str, now_ns: int
    ) -> None:
        """All of a gang's pods in one go: enough of them are placed, or none is."""
        if isinstance(gang, NoFit):
            self._turn_down(queued, pod, gang, snapshot, now_ns)
            return
        taken = [self._queue.take(uid) for uid in gang.members if uid != pod.uid]
        ready = [queued, *(one for one in taken if one is not None)]
        ready.sort(key=lambda one: (-one.item.priority, one.sequence))
        infos = [_info(one) for one in ready]
        together = self._gangs.place(gang, infos, now_ns)
        if together.refused and not together.placed:
            self._starvation.refused(infos, together.why(infos), now_ns)
        for one in ready:
            info = _info(one)
            if info.uid in together.placed:
                held = together.placed[info.uid]
                if held.nominated not in ("", held.choice.node):
                    self._tell_room(info, now_ns)
                self._place(one, info, held.choice, held.devices, snapshot, now_ns)
            else:
                self._turn_down(one, info, together.refused[info.uid], snapshot, now_ns)
        if self._gangs.timed_out(gang):
            note = f"part of the pod group is placed{gang.note}"
            self._effects += [
                bind.warning(_info(one), "GangTimeout", "Scheduling", note) for one in ready
            ]

    def _place(
        self,
        queued: QueuedPod,
        pod: PodInfo,
        choice: Choice,
        devices: tuple[int, ...],
        snapshot: str,
        now_ns: int,
    ) -> None:
        plan = self._frameworks[pod.profile].plan_volumes(pod, choice.row)
        if isinstance(plan, NoFit):
            self._tell(self._cluster.forget(pod.uid), now_ns)
            self._turn_down(queued, pod, plan, snapshot, now_ns)
            return
        self._queue.reserved(queued)
        nominations = self._cluster.nominations
        if pod.uid in nominations.known and nominations.drop(pod.uid) != choice.node:
            self._tell_room(pod, now_ns)
        self._starvation.ended(pod)
        said = Statement(
            devices=devices,
            levels=self._cluster.levels(choice.row),
            marks=(*choice.marks, *self._marks(pod)),
            node=choice.node,
            path=choice.path,
            plugins=choice.plugins,
            promises=choice.promises,
            tied=choice.tied,
            top=choice.top,
        )
        sequence, _ = self._chain.append(pod, Decided.PLACE, self._order(), snapshot, now_ns, said)
        for mark in choice.marks:
            self.counters[signals.GAVE_WAY.format(mark=mark)] += 1
        if choice.promises:
            self._effects += promised(pod, choice, self.counters)
        if plan != NO_PLAN:
            self._queue.waiting(queued)
            # No rule will reject it any more: what happens from here on wakes nothing in it.
            self._queue.events.end(queued)
            self._effects += self._volumes.reserve(pod, choice.node, plan, sequence, now_ns)
            return
        self._bind(queued, pod, choice.node, devices, sequence)

    def _bind(
        self, queued: QueuedPod, pod: PodInfo, node: str, devices: tuple[int, ...], decision: int
    ) -> None:
        self._queue.binding(queued)
        self._binds[pod.uid] = decision
        self._effects.append(bind.bind(pod, node, devices, decision))
        self.counters[signals.ATTEMPTS_SCHEDULED] += 1

    def _settle(self, outcomes: Iterable[Outcome], now_ns: int) -> None:
        """Bind the pods whose volumes are bound; the others give their room up and come again."""
        for uid, decision, problem, changes in outcomes:
            queued, placed = self._queue.get(uid), self._cluster.ledger.get(uid)
            assert queued is not None, "who waits for volumes is in the queue"
            assert placed is not None, "who waits for volumes holds room"
            if not problem and queued.state is State.WAITING:
                self._bind(queued, placed.pod, placed.node, placed.devices, decision)
            else:
                self.counters[signals.VOLUME_BINDS_FAILED] += 1
                self._take_back(queued, problem or "preempted while it waited", now_ns)
            for change in changes:
                self._tell(change, now_ns)

    def _take_back(self, queued: QueuedPod, message: str, now_ns: int) -> None:
        """The pod gives its room up and is retried after the error back-off."""
        change = self._cluster.forget(queued.item.uid)
        assert change is not None, "it held room"
        self._cluster.nominations.spare(queued.item.uid)
        self._queue.fail(queued, now_ns)
        self._tell(change, now_ns)
        self._effects += bind.failed(change.old, "SchedulerError", message)

    def _make_room(
        self,
        queued: QueuedPod,
        pod: PodInfo,
        found: NoFit,
        room: Preempted,
        snapshot: str,
        now_ns: int,
    ) -> None:
        """Nominate the pod and end its victims; it waits for their deletion and comes again."""
        count = found.path[0].into
        said = Statement(
            marks=self._marks(pod),
            message=found.message,
            node=room.node,
            path=(*found.path, Stage(into=count, out=room.candidates, stage="preempt")),
            rejections=found.rejections,
            tied=room.tied,
            victims=room.named,
            violations=room.violations,
        )
        self._chain.append(pod, Decided.PREEMPT, self._order(), snapshot, now_ns, said)
        self._preempting.nominate(pod, room, self._effects, now_ns)
        self._queue.reject(queued, found.rejected_by, now_ns, found.pending_by)
        limit = self._queue.parked_because(queued)
        message = f"{found.message} {limit}" if limit else found.message
        self._effects += bind.failed(pod, "Unschedulable", message)
        self.counters[signals.ATTEMPTS_UNSCHEDULABLE] += 1

    def _turn_down(
        self, queued: QueuedPod, pod: PodInfo, found: NoFit, snapshot: str, now_ns: int
    ) -> None:
        is_error = found.kind is Kind.ERROR
        if not pod.pod_group:
            self._starvation.refused((pod,), found, now_ns)
        decided = Decided.UNSCHEDULABLE
        if found.kind is Kind.WAIT:
            decided = Decided.WAIT
        elif is_error:
            decided = Decided.ERROR
        said = Statement(
            marks=self._marks(pod),
            message=found.message,
            path=found.path,
            rejections=found.rejections,
        )
        _, repeats = self._chain.append(pod, decided, self._order(), snapshot, now_ns, said)
        if self._advice.is_news(pod, found):
            self.counters[signals.REFUSED_BY_OWN_RULES] += 1
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
        self._effects += [event] if repeats and not limit else [condition, event]
        self.counters[signals.ATTEMPTS_ERROR if is_error else signals.ATTEMPTS_UNSCHEDULABLE] += 1

    def _digest(self) -> str:
        """The snapshot's digest; the ready pods' order counts through their sequence."""
        order = self._queue.digest.to_bytes(16, "big")
        return self._snapshot.digest(order + self._cluster.knowledge).hex()

    def _marks(self, pod: PodInfo) -> tuple[str, ...]:
        """What a reader of the record must know; tells it to people and meters too."""
        nodes = self._starvation.nodes_for(pod)
        kept = (f"reserved:{nodes}",) if nodes else ()
        if not pod.unlisted:
            return kept
        fields = ", ".join(pod.unlisted)
        note = f"placed without reading spec fields unknown to this release: {fields}"
        self._effects.append(bind.warning(pod, "UnlistedFields", "Scheduling", note))
        self.counters[signals.UNLISTED_FIELDS] += 1
        return (*kept, *(f"unlisted:{field}" for field in pod.unlisted))

    # ---- events ---------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Take one event in; decides nothing."""
        self.counters[signals.EVENTS] += 1
        match event:
            case BindFinished():
                self._bind_finished(event)
            case RemovalRefused():
                self._preempting.refused(event.uid, self._effects, event.time_ns)
            case PatchRefused():
                self._settle(self._volumes.refuse(event.effect, event.message), event.time_ns)
            case OrderLimited():
                self._queue.active.begin_on_rung(checked_rung(event.rung))
            case ObjectApplied(object=Pod() as pod):
                self._pod_applied(pod, event)
            case ObjectApplied(object=Node() as node):
                self._tell(self._cluster.apply_node(node), event.time_ns)
                self._settle(self._volumes.observe(node), event.time_ns)
            case ObjectDeleted(object=Pod() as pod):
                self._pod_gone(pod.metadata.uid, event.time_ns)
            case ObjectDeleted(object=Node() as node):
                self._tell(self._cluster.remove_node(node.name), event.time_ns)
                self._settle(self._volumes.observe(node), event.time_ns)
            case ObjectApplied(object=thing) if type(thing) in ASPECTS:
                self._tell(self._cluster.catalog.apply(thing, event.time_ns), event.time_ns)
                self._settle(self._volumes.observe(thing), event.time_ns)
            case ObjectDeleted(object=thing) if type(thing) in ASPECTS:
                self._tell(self._cluster.catalog.remove(thing), event.time_ns)
                self._settle(self._volumes.observe(thing), event.time_ns)
            case _:
                # PriorityClasses: the API server resolved them.
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
            known = None if (queued := self._queue.get(uid)) is None else _info(queued)
            self._pod_assigned(self._arrivals.read(pod, event.unlisted, known), event.time_ns)
        elif is_ours:
            self._uids[pod.key] = uid
            self._pod_waits(self._arrivals.read(pod, event.unlisted), event.time_ns)
        else:
            self.counters[signals.EVENTS_IGNORED] += 1

    def _pod_assigned(self, info: PodInfo, now_ns: int) -> None:
        if info.pod_group:
            self._gangs.see(info)
        queued = self._queue.get(info.uid)
        self._leaves_queue(queued)
        self._queue.adopt(info)
        nominated = self._cluster.nominations.settle(info.uid)
        self._starvation.ended(info)
        if info.uid in self._advice.pods:
            self._advice.ended(info)
        self._binds.pop(info.uid, None)
        for change in self._volumes.release(info.uid):
            self._tell(change, now_ns)
        devices = bind.devices_of(info.pod.metadata.annotations)
        node, placed = info.pod.spec.node_name, self._cluster.ledger.get(info.uid)
        # What it held elsewhere, decided or kept for it, is free: others may have put it here.
        is_moved = placed is not None and (placed.node, placed.devices) != (node, devices)
        self._tell(self._cluster.assign(info, node, devices), now_ns)
        if is_moved or nominated not in ("", node):
            self._tell_room(info, now_ns)
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
        nominations = self._cluster.nominations
        nominated = nominations.node_of(info.uid)
        nominations.see(info)
        if nominated and nominations.node_of(info.uid) != nominated:
            self._tell_room(info, now_ns)
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
            if change.old.pod_group != info.pod_group:
                self._gangs.forget(change.old)
            self._queue.update(info, now_ns, (change,))
        if info.pod_group and self._gangs.see(info):
            self._tell(Change(EventKind.UNSCHEDULED_POD_ADD, new=info), now_ns)
        self._snapshot.add("queue", info.digest)
        if info.gates != told:
            self._effects += bind.gated(info)

    def _pod_gone(self, uid: str, now_ns: int) -> None:
        queued = self._queue.get(uid)
        self._leaves_queue(queued)
        held = queued.item if queued is not None else None
        if isinstance(held, PodInfo):
            self._gangs.forget(held)
            self._starvation.ended(held)
            if uid in self._advice.pods:
                self._advice.ended(held)
        if isinstance(held, PodInfo) and self._uids.get(held.key) == uid:
            del self._uids[held.key]
        self._queue.delete(uid)
        self._binds.pop(uid, None)
        for change in self._volumes.release(uid):
            self._tell(change, now_ns)
        self._chain.forget(uid)
        nominations = self._cluster.nominations
        nominations.spare(uid)
        nominated, freed = nominations.settle(uid), self._cluster.forget(uid)
        self._tell(freed, now_ns)
        # A waiting pod of a gang took room whenever the gang was tried.
        is_in_the_way = bool(nominated) or (freed is None and _is_in_group(queued))
        if queued is not None and is_in_the_way:
            self._tell_room(_info(queued), now_ns)

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
                change = self._cluster.assign(placed.pod, placed.node, placed.devices)
                self._queue.bound(queued)
                self._tell(change, event.time_ns)
                self._effects.append(bind.scheduled(placed.pod, placed.node))
            case BindOutcome.UNKNOWN:
                self.counters[signals.BINDS_UNKNOWN] += 1
            case BindOutcome.REFUSED:
                self.counters[signals.BINDS_REFUSED] += 1
                self._take_back(queued, event.message, event.time_ns)

    def _leaves_queue(self, queued: QueuedPod | None) -> None:
        """The pod has a node now, or is gone. The queue's digest is over those without one."""
        if queued is None:
            return
        placed = self._cluster.ledger.get(queued.item.uid)
        if placed is None or not placed.is_bound:
            self._snapshot.remove("queue", _digest_of(queued))

    def _tell_room(self, pod: PodInfo, now_ns: int) -> None:
        """Room that was kept for the pod is free, as if the pod had been there."""
        self._tell(Change(EventKind.ASSIGNED_POD_DELETE, old=pod), now_ns)

    def _tell(self, change: Change | None, now_ns: int) -> None:
        """Wake the pods that the change may help."""
        if change is not None:
            self._queue.on_event(change, now_ns)


def _is_in_group(queued: QueuedPod | None) -> bool:
    return queued is not None and bool(_info(queued).pod_group)


def _info(queued: QueuedPod) -> PodInfo:
    assert isinstance(queued.item, PodInfo), "the queue holds what arrive made"
    return queued.item


def _digest_of(queued: QueuedPod) -> bytes:
    assert isinstance(queued.item, PodInfo), "the queue holds what arrive made"
    return queued.item.digest
