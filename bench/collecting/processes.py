"""One process a setting, forked from one that has loaded the cluster: same memory, same addresses.

Only one of them works at a time, so that blocks of turns can be taken in turn.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from bench.collecting.turns import Took, Turns, resident
from herz.model.decode import decode_pod
from herz.model.events import ObjectApplied
from herz.world.collecting import Automatic, BetweenSteps, GarbageCollector
from herz.world.memory import keep_large_apart

ROOT = Path(__file__).parents[2]


class Off(Automatic):
    """No collections at all."""

    def begin(self) -> None:
        """See `GarbageCollector`."""
        gc.disable()


MODES: Mapping[str, Callable[[], GarbageCollector]] = {
    "default": Automatic,
    "between-steps": BetweenSteps,
    "off": Off,
}
OFF, POLICY = "off", "between-steps"


class Pause(NamedTuple):
    """A collection.

    Args:
        generation: the oldest that it looked at.
        took_ns: how long.
        found: objects in cycles that nothing referred to.
        is_deciding: whether it ran in the middle of a decision.
    """

    generation: int
    took_ns: int
    found: int
    is_deciding: bool


class Growth(NamedTuple):
    """The process' memory under the policy, in bytes.

    Args:
        loaded: when all was loaded.
        warm: decisions from then to the first of `found`.
        decisions: from the first to the last of `found`.
        found: before, now and then, and after.
    """

    loaded: int
    warm: int
    decisions: int
    found: list[int]

    @property
    def percent(self) -> float:
        """How much more there is after the run than before it."""
        return 100 * (self.found[-1] / self.found[0] - 1)

    @property
    def cold_percent(self) -> float:
        """The same from when all was loaded."""
        return 100 * (self.found[-1] / self.loaded - 1)


class Profile(NamedTuple):
    """What a decision allocates.

    Args:
        peak: bytes that a step had asked for at its height, mean.
        kept: bytes still there when it ended, its effects among them, mean.
        lines: (objects that the collector knows, bytes, file and line) a decision, by bytes.
        found: objects in cycles that nothing referred to, after all of them.
        decisions: how many.
    """

    peak: float
    kept: float
    lines: list[tuple[float, float, str]]
    found: int
    decisions: int


@contextmanager
def process(turns: Turns, mode: str) -> Iterator[Connection]:
    """A process that does what it is sent: (name of a method of `_Worker`, its arguments)."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=_serve, args=(there, turns, mode), daemon=True)
    worker.start()
    there.close()
    try:
        yield here
    finally:
        # One that has died is told of by who waited for its answer.
        with suppress(BrokenPipeError):
            here.send(None)
        worker.join()


def ask(worker: Connection, what: str, *arguments: int) -> Any:
    """Have it done; the answer."""
    worker.send((what, arguments))
    return worker.recv()


def _serve(connection: Connection, turns: Turns, mode: str) -> None:
    # A full collection writes to all objects: from here on no page is shared with the others.
    gc.collect()
    gc.enable()
    worker = _Worker(turns, MODES[mode]())
    while (asked := connection.recv()) is not None:
        what, arguments = asked
        connection.send(getattr(worker, what)(*arguments))


class _Worker:
    def __init__(self, turns: Turns, garbage: GarbageCollector) -> None:
        self._turns = turns
        self._pauses: list[Pause] = []
        self._began_ns = 0
        turns.garbage = garbage
        garbage.begin()
        self._loaded, self._decided = resident(), 0
        gc.callbacks.append(self._see)

    def _see(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = time.perf_counter_ns()
            return
        took_ns = time.perf_counter_ns() - self._began_ns
        is_deciding = self._turns.machine.is_deciding
        self._pauses.append(Pause(info["generation"], took_ns, info["collected"], is_deciding))

    def warm(self, count: int) -> None:
        self.block(count)
        self._pauses.clear()

    def block(self, count: int) -> Took:
        self._decided += count
        return self._turns.block(count)

    def pauses(self) -> list[Pause]:
        return self._pauses

    def grow(self, warm: int, count: int) -> Growth:
        self._turns.grow(max(warm - self._decided, 0), _tell)
        warm = max(warm, self._decided)
        return Growth(self._loaded, warm, count, self._turns.grow(count, _tell))

    def profile(self, count: int) -> Profile:
        """Steps by themselves, all that they make held until the end. For a process of its own."""
        machine, now_ns = self._turns.machine.inner, time.time_ns()
        for _ in range(count):
            pod, unlisted = decode_pod(self._turns.cluster.coming())
            machine.apply(ObjectApplied(time_ns=now_ns, object=pod, unlisted=unlisted))
        gc.disable()
        gc.collect()
        gc.freeze()
        tracemalloc.start()
        before, effects, peaks = tracemalloc.take_snapshot(), [], 0
        for _ in range(count):
            used = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            effects.append(machine.step(now_ns, 1))
            peaks += tracemalloc.get_traced_memory()[1] - used
        tracked = Counter(_where(thing) for thing in gc.get_objects())
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        sizes = {
            _short(one.traceback[0].filename, one.traceback[0].lineno): one.size_diff
            for one in after.compare_to(before, "lineno")
            if str(ROOT / "src") in one.traceback[0].filename
        }
        lines = [(tracked[at] / count, size / count, at) for at, size in sizes.items()]
        lines.sort(key=lambda line: -line[1])
        effects.clear()
        kept = sum(sizes.values()) / count
        return Profile(peaks / count, kept, lines, gc.collect(), count)


def _tell(decided: int, memory: int) -> None:
    print(f"{decided:,} decisions: {memory / 1e6:.1f} MB", file=sys.stderr, flush=True)


def _where(thing: object) -> str:
    traceback = tracemalloc.get_object_traceback(thing)
    return "" if traceback is None else _short(traceback[0].filename, traceback[0].lineno)


def _short(file: str, line: int) -> str:
    return f"{file.removeprefix(f'{ROOT}/')}:{line}"


@contextmanager
def loaded(nodes: int, pods: int) -> Iterator[Turns]:
    """The cluster, and nothing that a collection would find.

    Large memory is kept apart as in `herz run`, for all settings: they differ in collections alone.
    """
    gc.disable()
    keep_large_apart()
    turns = Turns(nodes, pods)
    gc.collect()
    print(f"loaded {nodes} nodes and {pods} pods", file=sys.stderr, flush=True)
    try:
        yield turns
    finally:
        turns.close()
