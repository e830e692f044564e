"""A cluster that stays as full as it is: each turn a pod comes, is bound, and another one goes."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from bench import worlds
from herz.app import build_machine, load_policy
from herz.model.effects import Bind, Effect
from herz.model.events import BindFinished, BindOutcome, ObjectApplied, ObjectDeleted
from herz.model.objects import Pod
from herz.world.collecting import GarbageCollector

SIGNATURES = 20
SHAPE = 24
"""16 cores and 96 GiB: 20 pods a node leave room everywhere."""
BATCH = 64
"""Pods a step under load, as the live driver's most."""


class Took(NamedTuple):
    """Nanoseconds by turn.

    Args:
        step: of the step that decides, as a clock on the wall has it.
        step_cpu: the same of the processor's time, which others' work does not lengthen.
        turn: of arrival, step, bind, deletion, and what is collected after them.
        turn_cpu: the same of the processor's time.
    """

    step: NDArray[np.int64]
    step_cpu: NDArray[np.int64]
    turn: NDArray[np.int64]
    turn_cpu: NDArray[np.int64]


class Turns:
    """The machine, and the pods that are on its nodes."""

    def __init__(self, nodes: int, pods: int) -> None:
        self._machine = build_machine(load_policy("default"), 1, [])
        for number in range(nodes):
            node = worlds.node(number, shape=SHAPE)
            self._machine.apply(ObjectApplied(time_ns=0, object=node))
        self._number = pods
        self._now_ns = 0
        self._live: deque[Pod] = deque()
        for number in range(pods):
            self._bound(self._pod(number), f"node-{number % nodes:05d}")

    def _pod(self, number: int) -> Pod:
        return worlds.pod(number, signature=number % SIGNATURES)

    def _bound(self, pod: Pod, node: str) -> None:
        """The watch shows the pod on its node."""
        there = replace(pod, spec=replace(pod.spec, node_name=node))
        self._machine.apply(ObjectApplied(time_ns=self._now_ns, object=there))
        self._live.append(there)

    def come(self) -> Pod:
        """The next pod, not yet told of."""
        self._number += 1
        self._now_ns += 1_000_000
        return self._pod(self._number)

    def arrive(self, pod: Pod) -> None:
        """The watch shows the pod."""
        self._machine.apply(ObjectApplied(time_ns=self._now_ns, object=pod))

    def decide(self, limit: int = 1) -> list[Effect]:
        """One step."""
        return self._machine.step(self._now_ns, limit)

    def carry_out(self, effects: list[Effect], pods: dict[str, Pod]) -> None:
        """The binds land, and as many of the oldest pods go."""
        for effect in effects:
            if isinstance(effect, Bind):
                bound = BindOutcome.BOUND
                self._machine.apply(
                    BindFinished(
                        time_ns=self._now_ns,
                        uid=effect.uid,
                        decision=effect.decision,
                        outcome=bound,
                    )
                )
                self._bound(pods.pop(effect.uid), effect.node)
                gone = self._live.popleft()
                self._machine.apply(ObjectDeleted(time_ns=self._now_ns, object=gone))
        assert not pods, "the cluster has room"

    def block(self, count: int, garbage: GarbageCollector) -> Took:
        """So many turns, timed."""
        wall, cpu = time.perf_counter_ns, time.thread_time_ns
        took = Took(*np.zeros((4, count), np.int64))
        for at in range(count):
            pod = self.come()
            pods = {pod.metadata.uid: pod}
            began, began_cpu = wall(), cpu()
            self.arrive(pod)
            before, before_cpu = wall(), cpu()
            effects = self.decide()
            took.step_cpu[at], took.step[at] = cpu() - before_cpu, wall() - before
            self.carry_out(effects, pods)
            garbage.between()
            took.turn_cpu[at], took.turn[at] = cpu() - began_cpu, wall() - began
        return took

    def grow(self, count: int, garbage: GarbageCollector) -> tuple[int, int]:
        """So many decisions in steps of `BATCH`: the process' memory before and after, in bytes.

        Each pod that was there is replaced before: one that was decided keeps more than one that
        was loaded on its node.
        """
        self._batches(len(self._live) // BATCH + 1, garbage)
        before = resident()
        self._batches(count // BATCH, garbage)
        return before, resident()

    def _batches(self, count: int, garbage: GarbageCollector) -> None:
        for _ in range(count):
            pods = {pod.metadata.uid: pod for pod in (self.come() for _ in range(BATCH))}
            for pod in pods.values():
                self.arrive(pod)
            self.carry_out(self.decide(BATCH), pods)
            garbage.between()


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
