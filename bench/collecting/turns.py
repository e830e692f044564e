"""A live scheduler on a cluster that stays as full as it is: pods come in bursts, and others go."""

from __future__ import annotations

import asyncio
import os
import selectors
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.collecting.cluster import KINDS, Cluster
from herz.app import build_machine, load_policy
from herz.model.effects import Bind, Effect
from herz.model.events import Event
from herz.ports import Machine
from herz.world.collecting import Automatic, GarbageCollector
from herz.world.kube.driver import Driver, Pace, Settings

BURST: Final = 500
"""Pods that come at once: a Deployment of that size is rolled out, or a batch of jobs begins."""
SAMPLE: Final = 100_000
"""Decisions from one look at the process' memory to the next."""


class Took(NamedTuple):
    """Nanoseconds by decision.

    Args:
        step: of the step that decides, as a clock on the wall has it.
        step_cpu: the same of the processor's time, which others' work does not lengthen.
        turn: from the end of the decision before, in the same burst, to the end of this one.
        turn_cpu: the same of the processor's time.
        bind: a number for what was decided: which pod, which node.
    """

    step: NDArray[np.int64]
    step_cpu: NDArray[np.int64]
    turn: NDArray[np.int64]
    turn_cpu: NDArray[np.int64]
    bind: NDArray[np.int64]


class Timed:
    """The machine; each step of one pod is timed while somebody wants to know."""

    def __init__(self, machine: Machine) -> None:
        self.inner = machine
        self.is_deciding = False
        self._took: Took | None = None
        self._at = 0
        self._ended = self._ended_cpu = 0

    def measure(self, count: int) -> Took:
        """Where the times of so many decisions will be, from now on."""
        self._took, self._at = Took(*np.zeros((5, count), np.int64)), 0
        return self._took

    def rest(self) -> None:
        """What was decided before is no part of the next turn."""
        self._ended, self._ended_cpu = time.perf_counter_ns(), time.thread_time_ns()

    @property
    def ready(self) -> int:
        """See `Machine`."""
        return self.inner.ready

    @property
    def held(self) -> Mapping[str, str]:
        """See `Machine`."""
        return self.inner.held

    def apply(self, event: Event) -> None:
        """See `Machine`."""
        self.inner.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        """See `Machine`."""
        took, at = self._took, self._at
        if took is None or at == len(took.step) or not self.inner.ready or not limit:
            return self.inner.step(now_ns, limit)
        assert limit == 1, "a step is a decision"
        wall, cpu = time.perf_counter_ns, time.thread_time_ns
        self.is_deciding = True
        began, began_cpu = wall(), cpu()
        effects = self.inner.step(now_ns, limit)
        ended_cpu, ended = cpu(), wall()
        self.is_deciding = False
        took.step[at], took.step_cpu[at] = ended - began, ended_cpu - began_cpu
        took.turn[at], took.turn_cpu[at] = ended - self._ended, ended_cpu - self._ended_cpu
        took.bind[at] = _number(effects)
        self._at = at + 1
        self.rest()
        return effects


class OneByOne(Pace):
    """Each step decides one pod."""

    def took(self, took_ns: int, decided: int) -> None:
        """See `Pace`."""
        super().took(took_ns, decided)
        self.limit = 1


class Turns:
    """The scheduler, loaded, and what it may do about garbage.

    Its loop waits for nothing outside the process, so that a fork may go on with it.
    """

    def __init__(self, nodes: int, pods: int) -> None:
        self.garbage: GarbageCollector = Automatic()
        self._loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self.cluster = Cluster(nodes, pods)
        self.machine = Timed(build_machine(load_policy("default"), 1, []))
        self._driver = Driver(
            self.machine, self.cluster, KINDS, Settings({"herz"}), garbage=_Told(self)
        )
        self._running = self._loop.create_task(self._driver.run())
        self._loop.run_until_complete(self._driver.synced.wait())

    def close(self) -> None:
        """End it."""
        self._driver.stop()
        self._loop.run_until_complete(self._running)
        self._loop.close()

    def block(self, count: int) -> Took:
        """So many decisions, timed, one a step."""
        self._driver.pace = OneByOne(limit=1)
        took = self.machine.measure(count)
        self._play(count)
        assert took.bind.all(), "each was a bind"
        return took

    def grow(self, count: int, told: Callable[[int, int], None]) -> list[int]:
        """So many decisions, as many a step as the driver chooses.

        Args:
            count: how many.
            told: told how many there were, and the process' memory in bytes.

        Returns:
            The process' memory in bytes: before, now and then, and after.
        """
        self._driver.pace = Pace()
        self.machine.measure(0)
        found = [resident()]
        for first in range(0, count, SAMPLE):
            some = min(SAMPLE, count - first)
            self._play(some)
            found.append(resident())
            told(first + some, found[-1])
        return found

    def _play(self, count: int) -> None:
        """So many pods come; what ends the driver ends the bench."""
        work = self._loop.create_task(self._bursts(count))
        both = asyncio.wait((work, self._running), return_when=asyncio.FIRST_COMPLETED)
        for task in self._loop.run_until_complete(both)[0]:
            task.result()

    async def _bursts(self, count: int) -> None:
        for first in range(0, count, BURST):
            self.machine.rest()
            await self.cluster.burst(min(BURST, count - first))
            await self._driver.writer.idle.wait()
            await self._driver.posting.idle.wait()


class _Told:
    """What the driver tells of garbage reaches whoever is chosen after the fork."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def begin(self) -> None:
        """Whoever is chosen begins by itself."""

    def between(self, *, is_idle: bool = False) -> None:
        """See `GarbageCollector`."""
        self._turns.garbage.between(is_idle=is_idle)

    def end(self) -> None:
        """Nobody goes on after the bench."""


def _number(effects: list[Effect]) -> int:
    for effect in effects:
        if isinstance(effect, Bind):
            return zlib.crc32(f"{effect.uid} {effect.node}".encode())
    return 0


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
