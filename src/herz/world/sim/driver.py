"""Drives a Machine through virtual time: due events in, step until nothing is ready, effects out.

The same machine will be driven against a live cluster. The only wall clock here measures the
calls of the machine (`Meter`), and nothing that is decided or digested reads it.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Sequence

from herz.errors import ConfigError, InvariantError
from herz.model.effects import Effect, WakeAt
from herz.model.events import ObjectApplied, ObjectDeleted, WorldEvent
from herz.model.objects import Pod, PodDisruptionBudget
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.ports import Machine, Progress
from herz.world.collecting import Automatic, GarbageCollector
from herz.world.sim.apiserver import ApiServer
from herz.world.sim.checkers import DecisionSink, History, Referee
from herz.world.sim.churn import Churn
from herz.world.sim.cluster import Cluster, Fate, PodState
from herz.world.sim.collect import Collector, VerdictSink, pod_counts
from herz.world.sim.controllers import Controllers
from herz.world.sim.disruptions import Disruptions
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice
from herz.world.sim.one_by_one import OneByOneChecker
from herz.world.sim.promises.monitor import Monitor
from herz.world.sim.promises.truth import Truth
from herz.world.sim.removals import Removals
from herz.world.sim.result import SECOND_NS, DigestSink
from herz.world.sim.scenario import PodArrival, Protocol, Scenario
from herz.world.sim.storage import Storage
from herz.world.sim.watch import Watch

_PROGRESS_EVERY = 64
_WAKES_MAX = 100_000
_VERBS: dict[type, str] = {
    ObjectApplied: "applied",
    ObjectDeleted: "deleted",
    BindFinished: "bind",
    PatchRefused: "refused",
    RemovalRefused: "refused",
}


class Meter:
    """Wall time spent in the machine. The simulator's only wall clock; shown, never digested."""

    def __init__(self) -> None:
        self.apply_seconds = 0.0
        self.step_seconds = 0.0
        self.steps = 0


class Driver:
    """One run.

    Args:
        scenario: what happens.
        seed: of all of the world's randomness.
        machine: the scheduler.
        sinks: the digest, the verdicts and the decisions, which the machine's records go to.
        progress: told how far the run is; may be None.
        garbage: told when garbage may be collected; None: Python decides.
    """

    make_truth: Callable[..., Truth] = Truth
    """Makes the truth of the seed's constants; set before `run`."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        machine: Machine,
        sinks: tuple[DigestSink, VerdictSink, DecisionSink],
        progress: Progress | None = None,
        garbage: GarbageCollector | None = None,
    ) -> None:
        # One seed, three generators: what comes must not depend on how often faults were drawn.
        master = random.Random(seed)
        self.content = scenario.open(random.Random(master.getrandbits(64)))
        dice = Dice(scenario.faults, random.Random(master.getrandbits(64)))
        churn_dice = Dice(scenario.faults, random.Random(master.getrandbits(64)))
        timing = scenario.timing
        self.scenario = scenario
        self.engine = Engine()
        self.dice = (dice, churn_dice)
        watch = Watch(self.engine, dice, timing.watch_ns, timing.stall_ns, self._deliver)
        self.cluster = Cluster(self.engine, watch)
        self._controllers = Controllers(self.engine, self.cluster, dice, timing)
        self._disruptions = Disruptions(self.engine, watch)
        removals = Removals(
            self.engine,
            self.cluster,
            dice,
            timing,
            self._controllers,
            self._disruptions,
            self._deliver,
        )
        self._storage = Storage(self.engine, self.cluster, watch, dice, self._deliver)
        self.api = ApiServer(
            self.engine,
            self.cluster,
            dice,
            timing,
            self._controllers,
            removals,
            self._storage,
            self._deliver,
        )
        self._churn = Churn(self.engine, self.cluster, self._controllers, churn_dice, timing)
        self.collector = Collector(self.cluster, scenario.limits.samples_max)
        self.meter = Meter()
        self.refused_events = 0
        self._events: dict[tuple[type, object], int] = {}
        self._machine = machine
        self._sinks = sinks
        self._progress = progress
        self._garbage = garbage or Automatic()
        self._history = History(scenario.name, seed, scenario.limits.history_max)
        self._decisions = sinks[2]
        self._referee = Referee(
            self._history,
            is_strict=scenario.is_strict,
            is_budget_hard=scenario.is_budget_hard,
        )
        self._one_by_one: OneByOneChecker | None = None
        self._turn: PodState | None = None
        # Bound: `_WAKES_MAX`; a time is kept once.
        self._wakes: list[int] = []
        self._wakes_known: set[int] = set()
        self._arrived = 0
        self.monitor: Monitor | None = None
        self.is_collecting = False
        """Whether the monitor keeps training rows; set before `run`."""
        self._master = master
        is_single = scenario.protocol is not Protocol.ORDINARY
        self._step_limit = 1 if is_single else scenario.limits.step_limit

    def run(self) -> str:
        """Run to the end; why it ended ("drained" or "time").

        Raises:
            InvariantError: a checker was violated, or a bound of `Limits` was met that a sound
                machine never meets.
        """
        self._open()
        self._garbage.begin()
        try:
            stopped = self._drive()
            self._close(stopped)
        finally:
            self._garbage.end()
        return stopped

    def _drive(self) -> str:
        """From one instant to the next; why it ended."""
        engine, limits = self.engine, self.scenario.limits
        stopped, rounds = "", 0
        # Bound: `steps_max` and `time_ns_max`, checked in `_step` and here.
        while not stopped:
            self._settle_instant()
            rounds += 1
            if rounds % _PROGRESS_EVERY == 0:
                self._report()
            next_ns = self._next_ns()
            if next_ns is None:
                stopped = "drained"
            elif next_ns > limits.time_ns_max:
                stopped = "time"
                self._pass_time(limits.time_ns_max)
            else:
                self._pass_time(next_ns)
                engine.advance(next_ns)
        return stopped

    def event_counts(self) -> dict[str, int]:
        """How many events the machine was given, by kind."""
        counts: dict[str, int] = {}
        for (shape, kind), count in self._events.items():
            verb = _VERBS[shape]
            name = kind.__name__ if isinstance(kind, type) else str(kind)
            counts[f"{verb} {name}"] = count
        if self.refused_events:
            counts["refused"] = self.refused_events
        return dict(sorted(counts.items()))

    def _open(self) -> None:
        content, scenario = self.content, self.scenario
        for thing in content.objects:
            if isinstance(thing, PodDisruptionBudget):
                self._disruptions.add(thing)
            self._deliver(ObjectApplied(time_ns=0, object=self._storage.add(thing)))
        self._storage.open()
        for node in content.nodes:
            self._churn.add(node)
        # The machine knows the nodes before the first pod comes, as after a first list.
        self.engine.advance(scenario.timing.watch_ns)
        for action in sorted(content.actions, key=lambda action: action.time_ns):
            self._churn.plan(action)
        self._churn.plan_random(scenario.limits.time_ns_max)
        if scenario.protocol is Protocol.ONE_BY_ONE:
            self._one_by_one = OneByOneChecker(content.nodes, self._history)
        self._watch_promises()
        self._plan_arrival(None)

    def _watch_promises(self) -> None:
        """Let agents measure and promises be judged, where the scenario has a truth."""
        setup = self.scenario.truth
        if setup is None:
            return
        # Drawn last: what comes must not depend on whether anybody watches.
        constants = random.Random(self._master.getrandbits(64))
        cores = tuple(
            node.room.capacity.get("cpu", 0) / 1000 for node in self.cluster.nodes.values()
        )
        self.monitor = Monitor(
            self.engine,
            self.cluster,
            self._deliver,
            self.make_truth(setup.table, setup.services, cores, constants),
            setup.table,
            constants,
            self.scenario.limits.time_ns_max,
            is_collecting=self.is_collecting,
        )

    def _close(self, stopped: str) -> None:
        for sink in self._sinks:
            sink.flush()
        now_ns = self.engine.now_ns
        capacity = self.content.gpu_arrivals_capacity
        self.collector.finish(now_ns, self._machine.ready, capacity)
        is_lost_checked = stopped == "drained" and self.scenario.is_every_fit_expected
        self._referee.close(
            self._machine, self.cluster, pod_counts(self.cluster), is_at_rest=is_lost_checked
        )
        self._report()

    def _plan_arrival(self, _: None) -> None:
        """Take the next arrival from the scenario: one is known ahead, no more."""
        arrival = next(self.content.arrivals, None)
        if arrival is not None:
            at_ns = max(arrival.time_ns, self.engine.now_ns)
            self.engine.at(at_ns, Rank.ARRIVAL, self._arrive, arrival)

    def _arrive(self, arrival: PodArrival) -> None:
        self._arrived += 1
        state = self._controllers.arrive(arrival)
        if self._one_by_one is not None:
            if self._turn is not None:
                raise InvariantError("two pods arrive at one time, but are to be decided singly")
            self._turn = state
        self._plan_arrival(None)

    def _deliver(self, event: WorldEvent) -> None:
        """Give the machine an event; checkers see it first."""
        kind: object = RemovalRefused
        if isinstance(event, BindFinished):
            kind = event.outcome
        elif not isinstance(event, PatchRefused | RemovalRefused):
            kind = type(event.object)
        counted = (type(event), kind)
        self._events[counted] = self._events.get(counted, 0) + 1
        self._history.add(event.time_ns, event)
        self._referee.see(event)
        self._disruptions.see(event)
        if self._one_by_one is not None and counted == (ObjectApplied, Pod):
            turn = self._turn
            if turn is not None and turn.fate is Fate.PENDING:
                self._one_by_one.told(turn.pod)
        started = time.perf_counter()
        try:
            self._machine.apply(event)
        except ConfigError:
            # The machine refuses the object, as its contract allows; its state is unchanged.
            self.refused_events += 1
        finally:
            self.meter.apply_seconds += time.perf_counter() - started

    def _settle_instant(self) -> None:
        """Step and carry out until nothing is ready and nothing more is due now."""
        engine, machine = self.engine, self._machine
        now_ns = engine.now_ns
        self._drop_wakes(now_ns)
        is_changed_between = self.scenario.protocol is Protocol.CHANGE_BETWEEN
        limit = self.scenario.limits.steps_at_once_max
        for _ in range(limit):
            if is_changed_between and machine.ready:
                self._churn.change_something()
                engine.advance(now_ns)
            effects = self._step(now_ns)
            for effect in effects:
                self._carry_out(effect)
            self._garbage.between()
            next_ns = engine.next_ns
            if next_ns is not None and next_ns <= now_ns:
                engine.advance(now_ns)
            elif machine.ready == 0:
                break
        else:
            self._history.fail(f"more than steps_at_once_max = {limit} steps at {now_ns} ns")
        if self._turn is not None:
            self._end_turn()

    def _step(self, now_ns: int) -> Sequence[Effect]:
        meter, limits = self.meter, self.scenario.limits
        meter.steps += 1
        if meter.steps > limits.steps_max:
            self._history.fail(f"more than steps_max = {limits.steps_max} steps")
        started = time.perf_counter()
        effects = self._machine.step(now_ns, self._step_limit)
        meter.step_seconds += time.perf_counter() - started
        for effect in effects:
            self._history.add(now_ns, effect)
        self._referee.judge(effects, self._decisions.taken())
        self._referee.account(self._machine)
        for sink in self._sinks:
            sink.flush()
        return effects

    def _carry_out(self, effect: Effect) -> None:
        if self._one_by_one is not None:
            self._one_by_one.judge(effect)
        if isinstance(effect, WakeAt):
            self._keep_wake(max(effect.time_ns, self.engine.now_ns + 1))
        self.api.carry_out(effect)

    def _end_turn(self) -> None:
        """The pod was placed, or is dropped: there is no second try."""
        state, self._turn = self._turn, None
        assert state is not None
        assert self._one_by_one is not None
        is_placed = self._one_by_one.settle()
        if is_placed != (state.bound_ns >= 0):
            self._history.fail(f"{state.pod.key} was placed, but its bind did not land at once")
        if not is_placed:
            self.cluster.remove(state, Fate.DROPPED)
            self.engine.advance(self.engine.now_ns)
        if self.content.gpu_arrivals_capacity:
            self.collector.load(self.content.gpu_arrivals_capacity)

    def _keep_wake(self, time_ns: int) -> None:
        if time_ns in self._wakes_known:
            return
        if len(self._wakes) >= _WAKES_MAX:
            self._history.fail(f"more than {_WAKES_MAX} wake-ups are pending")
        self._wakes_known.add(time_ns)
        heapq.heappush(self._wakes, time_ns)

    def _drop_wakes(self, now_ns: int) -> None:
        while self._wakes and self._wakes[0] <= now_ns:
            self._wakes_known.discard(heapq.heappop(self._wakes))

    def _next_ns(self) -> int | None:
        """The next time at which something happens; None when the world has come to rest."""
        next_ns = self.engine.next_ns
        wake_ns = self._wakes[0] if self._wakes else None
        if next_ns is not None:
            return next_ns if wake_ns is None else min(next_ns, wake_ns)
        # Bound: nothing will ever change any more; the machine's retries end after the idle time.
        if wake_ns is None or self.cluster.pending == 0:
            return None
        if wake_ns > self.cluster.changed_ns + self.scenario.limits.idle_ns:
            return None
        return wake_ns

    def _pass_time(self, next_ns: int) -> None:
        now_ns = self.engine.now_ns
        self.collector.pass_time(now_ns, max(next_ns, now_ns), self._machine.ready)

    def _report(self) -> None:
        if self._progress is None:
            return
        expected = self.content.pods_expected
        second = self.engine.now_ns // SECOND_NS
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        note = f"{clock}, {self.cluster.running} running, {self.cluster.pending} waiting"
        settled = self._arrived - min(self.cluster.pending, self._arrived)
        self._progress.advance(settled, max(expected, settled), note)
