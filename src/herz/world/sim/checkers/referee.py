"""The referee: all checkers of a run, in the order in which things happen.

Events first go to the mirror, then to the machine; a step's records and effects are judged before
the first effect is carried out by the world.
"""

from __future__ import annotations

from collections.abc import Sequence

from herz.model.effects import Bind, Effect
from herz.model.events import WorldEvent
from herz.model.record import Decided, Record
from herz.ports import Machine
from herz.world.sim.checkers.binds import BindChecker
from herz.world.sim.checkers.end import EndChecker
from herz.world.sim.checkers.groups import GroupChecker
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.near import NearRules
from herz.world.sim.checkers.order import OrderChecker
from herz.world.sim.checkers.rest import HeldChecker, RestChecker
from herz.world.sim.checkers.selecting import Matches
from herz.world.sim.checkers.spread import SpreadRules
from herz.world.sim.checkers.victims import VictimChecker
from herz.world.sim.cluster import Cluster
from herz.world.sim.result import PodCounts

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
        self._holding = HeldChecker(self._mirror, history)
        self._steps = 0
        self._reasons: dict[str, str] = {}

    def see(self, event: WorldEvent) -> None:
        """Take an event in, as the machine is about to."""
        self._mirror.see(event)
        if self._is_strict:
            self._order.see(event)
            self._groups.see(event)

    def judge(self, effects: Sequence[Effect], records: Sequence[Record]) -> None:
        """Check what a step decided, before anything of it is carried out."""
        if self._is_strict:
            self._order.judge(records)
            for record in records:
                is_placed = record.decided is Decided.PLACE
                self._reasons[record.pod.uid] = "" if is_placed else _reason_of(record)
        self._victims.begin()
        for effect in effects:
            if isinstance(effect, Bind):
                self._judge_bind(effect)
            else:
                self._victims.judge(effect)
        if self._is_strict:
            self._groups.judge(effects)

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
                rest = RestChecker(self._mirror, self._near, self._spread, self._history)
                rest.judge(cluster, self._reasons)

    def _judge_bind(self, bind: Bind) -> None:
        pod, node = self._binds.judge(bind)
        if self._is_strict:
            reason = self._near.look(pod).refusal(node) or self._spread.look(pod).refusal(node)
            if reason:
                self._binds.fail(bind, reason)
        self._mirror.bind(bind)


def _reason_of(record: Record) -> str:
    """What the record says; a short one names the decision that it repeats."""
    if record.message:
        return record.message
    return f"the same as in record {record.repeats}" if record.repeats else ""
