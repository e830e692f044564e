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

from bench.collecting.turns import Turns
from herz.world.collecting import Automatic, BetweenSteps, GarbageCollector

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
    """A collection: its generation, how long it took, what it found."""

    generation: int
    took_ns: int
    found: int


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
    """A process that does what it is sent: (name of a method of `_Worker`, its argument)."""
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


def ask(worker: Connection, what: str, argument: int) -> Any:
    """Have it done; the answer."""
    worker.send((what, argument))
    return worker.recv()


def _serve(connection: Connection, turns: Turns, mode: str) -> None:
    # A full collection writes to all objects: from here on no page is shared with the others.
    gc.collect()
    gc.enable()
    worker = _Worker(turns, MODES[mode]())
    while (asked := connection.recv()) is not None:
        what, argument = asked
        connection.send(getattr(worker, what)(argument))


class _Worker:
    def __init__(self, turns: Turns, garbage: GarbageCollector) -> None:
        self._turns, self._garbage = turns, garbage
        self._pauses: list[Pause] = []
        self._began_ns = 0
        garbage.begin()
        gc.callbacks.append(self._see)

    def _see(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = time.perf_counter_ns()
            return
        took_ns = time.perf_counter_ns() - self._began_ns
        self._pauses.append(Pause(info["generation"], took_ns, info["collected"]))

    def warm(self, count: int) -> None:
        self._turns.block(count, self._garbage)
        self._pauses.clear()

    def block(self, count: int) -> Any:
        return self._turns.block(count, self._garbage)

    def pauses(self, _: int) -> list[Pause]:
        return self._pauses

    def grow(self, count: int) -> tuple[int, int]:
        return self._turns.grow(count, self._garbage)

    def profile(self, count: int) -> Profile:
        """Steps by themselves, all that they make held until the end. For a process of its own."""
        turns = self._turns
        coming = [turns.come() for _ in range(count)]
        for pod in coming:
            turns.arrive(pod)
        gc.disable()
        gc.collect()
        gc.freeze()
        tracemalloc.start()
        before, effects, peaks = tracemalloc.take_snapshot(), [], 0
        for _ in range(count):
            used = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            effects.append(turns.decide())
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
        turns.carry_out(
            [one for some in effects for one in some], {one.metadata.uid: one for one in coming}
        )
        effects.clear()
        kept = sum(sizes.values()) / count
        return Profile(peaks / count, kept, lines, gc.collect(), count)


def _where(thing: object) -> str:
    traceback = tracemalloc.get_object_traceback(thing)
    return "" if traceback is None else _short(traceback[0].filename, traceback[0].lineno)


def _short(file: str, line: int) -> str:
    return f"{file.removeprefix(f'{ROOT}/')}:{line}"


def loaded(nodes: int, pods: int) -> Turns:
    """The cluster, and nothing that a collection would find."""
    gc.disable()
    turns = Turns(nodes, pods)
    gc.collect()
    print(f"loaded {nodes} nodes and {pods} pods", file=sys.stderr, flush=True)
    return turns
