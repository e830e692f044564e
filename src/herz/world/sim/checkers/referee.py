"""The referee: all checkers of a run, in the order in which things happen.

Events first go to the mirror, then to the machine; a step's records and effects are judged before
the first effect is carried out by the world.
"""

from __future__ import annotations

from collections.abc import Sequence

from herz.model.effects import (
    Bind,
    Effect,
    Nominate,
    PatchClaim,
    PatchPodStatus,
    PatchVolume,
)
from herz.model.events import WorldEvent
from herz.model.objects import Pod
from herz.model.record import Decided, Record
from herz.ports import Machine
from herz.world.sim.checkers.binds import BindChecker
from herz.world.sim.checkers.end import EndChecker
from herz.world.sim.checkers.groups import GroupChecker
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.near import NearRules
from herz.world.sim.checkers.order import OrderChecker
from herz.world.sim.checkers.rest import HeldChecker, RestChecker, RestRules
from herz.world.sim.checkers.selecting import Matches
from herz.world.sim.checkers.spread import SpreadRules
from herz.world.sim.checkers.victims import VictimChecker
from herz.world.sim.checkers.volumes import VolumeChecker
from herz.world.sim.cluster import Cluster
from herz.world.sim.fit import GPU_DEVICES
from herz.world.sim.result import PodCounts

_FAILED = "SchedulerError"
"""The reason of a pod that gives its room up, and that of decisions that failed."""
_HELD_EVERY = 128
"""In how many steps what the machine holds is compared once: it costs as many look-ups as pods."""


class DecisionSink:
    """Keeps the records of the step that is under way, as one of the machine's sinks."""

    def __init__(self) -> None:
        # Bound: the driver takes them after each step.
        self._held: list[Record] = []

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take one record; see `herz.ports.RecordSink`."""
        del canonical, digest
        self._held.append(record)

    def flush(self) -> None:
        """Forget what nobody took."""
        self._held.clear()

    def taken(self) -> list[Record]:
        """The records since the last call."""
        records, self._held = self._held, []
        return records


class Referee:
    """Judges one run.

    Args:
        history: for the messages.
        is_strict: hold the machine to every default rule of Kubernetes, to priority order and to
            its own account of what it holds; else only what every policy must keep.
        is_budget_hard: whether preemption must hold to disruption budgets.
    """

    def __init__(self, history: History, *, is_strict: bool, is_budget_hard: bool) -> None:
        self._history = history
        self._is_strict = is_strict
        self._mirror = Mirror()
        matches = Matches()
        self._near = NearRules(self._mirror, matches)
        self._spread = SpreadRules(self._mirror, matches)
        self._binds = BindChecker(self._mirror, history)
        self._order = OrderChecker(self._mirror, history)
        self._victims = VictimChecker(self._mirror, history, is_budget_hard=is_budget_hard)
        self._groups = GroupChecker(self._mirror, history)
        self._volumes = VolumeChecker(self._mirror, history)
        self._holding = HeldChecker(self._mirror, history)
        self._steps = 0
        self._reasons: dict[str, str] = {}

    def see(self, event: WorldEvent) -> None:
        """Take an event in, as the machine is about to."""
        self._mirror.see(event)
        if self._is_strict:
            self._order.see(event)
            self._groups.see(event)
            self._volumes.see(event)

    def judge(self, effects: Sequence[Effect], records: Sequence[Record]) -> None:
        """Check what a step decided, before anything of it is carried out."""
        if self._is_strict:
            self._order.judge(records)
            for record in records:
                is_placed = record.decided is Decided.PLACE
                self._reasons[record.pod.uid] = "" if is_placed else _reason_of(record)
        self._victims.begin()
        step = _Step(effects, records)
        for effect in effects:
            # Decisions that leave nothing to carry out yet hold room all the same, in their turn.
            self._promise(step, step.until(effect))
            if isinstance(effect, Bind):
                self._judge_bind(effect, step)
            elif isinstance(effect, PatchClaim | PatchVolume):
                if self._is_strict:
                    self._volumes.judge(effect)
            elif isinstance(effect, PatchPodStatus):
                if effect.reason == _FAILED:
                    self._mirror.break_promise(effect.uid)
            else:
                self._victims.judge(effect)
        self._promise(step, len(records))
        if self._is_strict:
            self._groups.judge(step.placed)

    def account(self, machine: Machine) -> None:
        """After a step: nobody was left out; now and then, what the machine holds is right."""
        if not self._is_strict:
            return
        if self._order.is_anybody_ready and machine.ready == 0:
            self._order.check_idle()
        self._steps += 1
        if self._steps % _HELD_EVERY == 0:
            self._holding.judge(machine.held)

    def close(
        self, machine: Machine, cluster: Cluster, counts: PodCounts, *, is_at_rest: bool
    ) -> None:
        """Check what must hold at the end.

        Args:
            machine: the scheduler.
            cluster: the truth.
            counts: fates.
            is_at_rest: nothing will change any more, all retries are over, and a pod that waits
                though it fits counts as lost.
        """
        EndChecker(cluster, self._history).check(counts, is_lost_checked=is_at_rest)
        if self._is_strict:
            self._holding.judge(machine.held)
            if is_at_rest:
                rules = RestRules(self._near, self._spread, self._volumes, self._groups)
                RestChecker(self._mirror, rules, self._history).judge(cluster, self._reasons)

    def _promise(self, step: _Step, end: int) -> None:
        """Judge the decisions up to there whose pods wait for their volumes before the bind."""
        while step.at < end:
            record = step.records[step.at]
            step.at += 1
            if record.decided is Decided.PLACE and record.sequence not in step.bound:
                bind = _as_bind(record)
                pod = self._judge_place(bind, may_wait=True)
                if self._is_strict:
                    self._volumes.promise(pod, bind.decision)
                self._mirror.promise(bind)
                step.placed.append(bind.uid)

    def _judge_bind(self, bind: Bind, step: _Step) -> None:
        mirror = self._mirror
        if mirror.promised.get(bind.decision) == (bind.uid, bind.node):
            self._judge_late(bind)
            return
        self._judge_place(bind, may_wait=False)
        mirror.bind(bind)
        step.placed.append(bind.uid)

    def _judge_late(self, bind: Bind) -> None:
        """A pod that waited is bound: its place was judged when it was decided."""
        if bind.uid not in self._mirror.pods:
            # It went in the same moment in which its bind left: the API will refuse it.
            return
        if not self._mirror.keep_promise(bind):
            self._binds.fail(bind, "it does not wait for that bind any more: bound twice, or late")
        if self._is_strict:
            reason = self._volumes.late_refusal(bind.decision, self._mirror.nodes.get(bind.node))
            if reason:
                self._binds.fail(bind, reason)

    def _judge_place(self, bind: Bind, *, may_wait: bool) -> Pod:
        pod, node = self._binds.judge(bind)
        if self._is_strict:
            reason = (
                self._near.look(pod).refusal(node)
                or self._spread.look(pod).refusal(node)
                or self._volumes.refusal(pod, node, may_wait=may_wait)
            )
            if reason:
                self._binds.fail(bind, reason)
        return pod


class _Step:
    """What a step decided and asked for.

    Attributes:
        records: its decisions, in order.
        at: how many of them are judged.
        bound: numbers of those whose binds left at once.
        placed: uids of the pods that were given a node.
    """

    def __init__(self, effects: Sequence[Effect], records: Sequence[Record]) -> None:
        self.records = records
        self.at = 0
        self.bound = {effect.decision for effect in effects if isinstance(effect, Bind)}
        self.placed: list[str] = []
        self._places = {record.sequence: at for at, record in enumerate(records)}
        self._preempting = {
            record.pod.uid: at
            for at, record in enumerate(records)
            if record.decided is Decided.PREEMPT
        }

    def until(self, effect: Effect) -> int:
        """How many decisions were made when the effect was asked for, as far as it tells."""
        if isinstance(effect, Bind | PatchClaim | PatchVolume):
            return self._places.get(effect.decision, -1) + 1
        if isinstance(effect, Nominate) and effect.node:
            return self._preempting.get(effect.uid, -1) + 1
        return 0


def _as_bind(record: Record) -> Bind:
    """The bind that a decision leads to, when the pod's volumes are there."""
    devices = ",".join(map(str, record.devices))
    return Bind(
        namespace=record.pod.namespace,
        name=record.pod.name,
        uid=record.pod.uid,
        node=record.node,
        decision=record.sequence,
        annotations=((GPU_DEVICES, devices),) if devices else (),
    )


def _reason_of(record: Record) -> str:
    """What the record says; a short one names the decision that it repeats."""
    if record.message:
        return record.message
    return f"the same as in record {record.repeats}" if record.repeats else ""
