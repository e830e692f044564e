"""Preemption on a full cluster: each preemptor is decided, its victims go, and it is bound."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from bench import worlds
from herz.cycle import Cycle
from herz.model.effects import Bind, DeletePod, Effect
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, BindOutcome

SECOND_NS = 1_000_000_000
START = "2026-01-01T00:{minute:02d}:{second:02d}Z"


def fill(machine: Cycle, nodes: int, pods_a_node: int) -> dict[str, Pod]:
    """Pods of low priorities on all nodes, which leave no room; by uid."""
    known = {}
    for number in range(nodes * pods_a_node):
        at = number % nodes
        filler = worlds.pod(number)
        spec = replace(
            filler.spec, node_name=f"node-{at:05d}", priority=number * 7919 % 10, containers=()
        )
        asked = {"cpu": f"{4_000 // pods_a_node}m", "memory": "500Mi"}
        resources = replace(filler.spec.containers[0].resources, requests=asked)
        container = replace(filler.spec.containers[0], resources=resources)
        started = START.format(minute=number % 60, second=number // 60 % 60)
        known[filler.metadata.uid] = replace(
            filler,
            spec=replace(spec, containers=(container,)),
            status=replace(filler.status, phase="Running", start_time=started),
        )
        machine.apply(ObjectApplied(time_ns=0, object=known[filler.metadata.uid]))
    return known


def preemptor(number: int) -> Pod:
    """A pod of high priority that fits nowhere on the full cluster."""
    pod = worlds.pod(1_000_000 + number)
    asked = {"cpu": "1", "memory": "1Gi"}
    resources = replace(pod.spec.containers[0].resources, requests=asked)
    container = replace(pod.spec.containers[0], resources=resources)
    return replace(pod, spec=replace(pod.spec, priority=1_000, containers=(container,)))


class Turns:
    """Decides preemptors and plays the API."""

    def __init__(self, machine: Cycle, known: dict[str, Pod]) -> None:
        self._machine, self._known = machine, known
        self._now_ns = 0
        self.deciding = 0.0
        self.bound = self.victims = 0

    def run(self, pod: Pod) -> None:
        """One pod: it arrives, preempts, its victims go, and it is bound."""
        self._now_ns += 20 * SECOND_NS
        self._machine.apply(ObjectApplied(time_ns=self._now_ns, object=pod))
        self._carry_out(self._step())
        self._now_ns += 20 * SECOND_NS
        self._carry_out(self._step())

    def _step(self) -> list[Effect]:
        before = time.perf_counter()
        effects = self._machine.step(self._now_ns, 16)
        self.deciding += time.perf_counter() - before
        return effects

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, DeletePod):
                self.victims += 1
                gone = self._known.pop(effect.uid)
                self._timed(ObjectDeleted(time_ns=self._now_ns, object=gone))
            elif isinstance(effect, Bind):
                self.bound += 1
                self._timed(
                    BindFinished(
                        time_ns=self._now_ns,
                        uid=effect.uid,
                        decision=effect.decision,
                        outcome=BindOutcome.BOUND,
                    )
                )

    def _timed(self, event: ObjectDeleted | BindFinished) -> None:
        before = time.perf_counter()
        self._machine.apply(event)
        self.deciding += time.perf_counter() - before


def run(
    make: Callable[[int], Cycle], nodes: int, pods_a_node: int, preemptors: int
) -> dict[str, float]:
    """The case: figures over all preemptors, their first (which works all nodes) included."""
    machine = make(nodes)
    turns = Turns(machine, fill(machine, nodes, pods_a_node))
    turns.run(preemptor(0))
    first = turns.deciding
    for number in range(1, preemptors):
        turns.run(preemptor(number))
    assert turns.bound == preemptors, f"{turns.bound} of {preemptors} preemptors were bound"
    return {
        "decisions": float(preemptors),
        "decisions_a_second": preemptors / turns.deciding,
        "microseconds_a_decision": turns.deciding / preemptors * 1e6,
        "first_milliseconds": first * 1e3,
        "following_microseconds": (turns.deciding - first) / (preemptors - 1) * 1e6,
        "victims": float(turns.victims),
    }
