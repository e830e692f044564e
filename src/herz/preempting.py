"""Preemption as the cycle acts it: nominations, victims, and what the API refuses.

Between the steps filter and reserve: a pod that fits nowhere is nominated to the node where room
is made for it. Each method is one whole act; its effects go to the end of the given list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from herz import signals
from herz.commit import preempt
from herz.intake.queue.scheduling import SchedulingQueue
from herz.model.effects import Effect
from herz.model.podinfo import PodInfo
from herz.place.advice import Advices
from herz.place.cluster import Cluster
from herz.place.explain import NO_NODES
from herz.place.outcome import NoFit
from herz.place.preemption.preemption import NotPreempted, Preempted, Preemption
from herz.plugin import Change, EventKind, Kind


class Preempting:
    """Asks for room, makes it, and takes nominations back.

    Args:
        preemptions: by profile, what finds the room; None: its policy does not preempt.
        queue: where victims and preemptors are kept.
        cluster: where they are, and the nominations.
        counters: what happened so far.
        advice: knows which rules give way to a pod.
    """

    def __init__(
        self,
        preemptions: Sequence[Preemption | None],
        queue: SchedulingQueue,
        cluster: Cluster,
        counters: Counter[str],
        advice: Advices,
    ) -> None:
        self._advice = advice
        self._preemptions = preemptions
        self._queue = queue
        self._cluster = cluster
        self._counters = counters

    def seek(
        self, pod: PodInfo, found: NoFit, effects: list[Effect], now_ns: int, *, is_kept: bool
    ) -> Preempted | NoFit:
        """Where room can be made for the pod; otherwise why not, after the filters' words.

        Args:
            pod: whom the filters refused everywhere.
            found: what they said.
            effects: where the effects go.
            now_ns: the step's time.
            is_kept: whether room is kept for it for another reason: its nomination stands.
        """
        is_refused = found.kind in (Kind.UNFIT, Kind.NEVER_FITS)
        preemption = self._preemptions[pod.profile]
        if preemption is None or not is_refused or found.rejected_by == (NO_NODES,):
            return found
        if found.is_patient:
            # Kubernetes would place it: nobody has to go for a rule that will give way.
            return found
        self._counters[signals.PREEMPTION_ATTEMPTS] += 1
        self._cluster.refusals.advance(now_ns)
        room = preemption.run(pod)
        if isinstance(room, NotPreempted) and room.is_hopeless:
            relaxed = self._advice.preemption(pod, now_ns)
            room = room if relaxed is None else relaxed.run(pod)
        if isinstance(room, Preempted):
            return room
        if room.is_hopeless and not is_kept:
            self.end_nomination(pod, effects, now_ns)
        by = found.rejected_by
        if preemption.terms.is_budget_hard and room.is_hopeless:
            # A budget that relaxes may help; no other rule wants to hear of it.
            by = tuple(sorted((*by, preemption.name)))
        return replace(found, message=f"{found.message} {room.message}", rejected_by=by)

    def nominate(self, pod: PodInfo, room: Preempted, effects: list[Effect], now_ns: int) -> None:
        """The pod gets the node; pods of lower priority that were to get it look elsewhere."""
        nominations = self._cluster.nominations
        for other in nominations.below(room.node, pod.priority):
            self.end_nomination(other, effects, now_ns)
            self._queue.update(other, now_ns)
        left = nominations.node_of(pod.uid)
        nominations.put(pod, room.node)
        if left not in ("", room.node):
            self._tell_room(pod, now_ns)
        effects.append(preempt.nominate(pod, room.node))
        self._end_victims(pod, room, effects)

    def _end_victims(self, pod: PodInfo, room: Preempted, effects: list[Effect]) -> None:
        preemption = self._preemptions[pod.profile]
        assert preemption is not None, "somebody chose the victims"
        is_evicted = preemption.terms.is_budget_hard
        nominations = self._cluster.nominations
        for placed in room.victims:
            victim = placed.pod
            if victim.pod.is_terminating or nominations.is_victim(victim.uid):
                continue
            # A victim whose bind is under way is deleted all the same: the bind has left.
            nominations.sentence(victim.uid, pod.uid)
            self._queue.preempt(victim.uid)
            effects += preempt.remove(victim, pod, room.node, is_evicted=is_evicted)
            self._counters[signals.PREEMPTION_VICTIMS] += 1

    def refused(self, uid: str, effects: list[Effect], now_ns: int) -> None:
        """The API did not remove the victim: it stays, and its preemptor looks for room anew."""
        nominations = self._cluster.nominations
        preemptor = nominations.spare(uid)
        if not preemptor:
            self._counters[signals.LATE_ANSWERS] += 1
            return
        self._counters[signals.REMOVALS_REFUSED] += 1
        placed = self._cluster.ledger.get(uid)
        if placed is not None and placed.is_bound:
            self._queue.spare(uid)
            for preemption in self._preemptions:
                if preemption is not None and preemption.terms.is_budget_hard:
                    told = preemption.circumstances(placed.pod)
                    self._cluster.refusals.add(uid, placed.node, told, now_ns)
                    break
        waiting = self._queue.get(preemptor)
        if waiting is not None and nominations.node_of(preemptor):
            assert isinstance(waiting.item, PodInfo), "the queue holds what arrive made"
            self.end_nomination(waiting.item, effects, now_ns)
            self._queue.update(waiting.item, now_ns)

    def end_nomination(self, pod: PodInfo, effects: list[Effect], now_ns: int) -> None:
        """The pod's nomination, if it has one, is void: others may have the room."""
        if self._cluster.nominations.drop(pod.uid):
            effects.append(preempt.nominate(pod, ""))
            self._tell_room(pod, now_ns)

    def _tell_room(self, pod: PodInfo, now_ns: int) -> None:
        """Those that wait hear of it; whom the cycle is about knows, and must not wake itself."""
        change = Change(EventKind.ASSIGNED_POD_DELETE, old=pod)
        self._queue.rooms.wake_by(change, now_ns)
