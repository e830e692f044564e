"""When Python's garbage collector runs: between steps of the machine, and in none.

Reference counts free what a decision makes; the collector is there for cycles, and stops all while
it looks for them. Left alone it does so in the middle of a decision, and now and then it looks at
all that was ever loaded (docs/reference/gc.md). A driver that has a `GarbageCollector` says when it
may. The machine knows nothing of it, so that no decision can depend on it.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from herz.world.memory import give_back

OLDEST: Final = 2

PAUSE_NS: Final = 1_000_000
"""What a collection between two steps should stay under: a fifth of what a step should."""
LOOKED_MIN: Final = 1_000
LOOKED_MAX: Final = 100_000
"""Bounds of how many objects a collection between steps looks at, about 10 MB of them."""
IDLE_PERCENT: Final = 5
FORCED_PERCENT: Final = 100
"""How much more memory may be in use than after the last full collection, before another one
is made where there is nothing to do, or whatever there is to do: it stops everything for 0.1 s and
more, finds next to nothing, and pods that come are memory, too."""
GIVEN_BACK_EVERY: Final = 32
"""Collections of those that survived one, from one time that free memory goes back to the next:
5,000 decisions and more. It takes 0.3 ms, and 1 ms where a table of 100,000 pods was freed."""
BUCKETS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
"""Upper bounds of `Pauses`, in seconds."""


class Full(NamedTuple):
    """A full collection.

    Args:
        why: `start`, `idle` or `growth`.
        took_ns: how long nothing else ran.
        found: objects in cycles that nothing referred to.
        percent: how much more memory was in use than after the one before it.
    """

    why: str
    took_ns: int
    found: int
    percent: int


class GarbageCollector(Protocol):
    """What a driver tells when a collection may run."""

    def begin(self) -> None:
        """All is loaded: steps follow."""
        ...

    def between(self, *, is_idle: bool = False) -> None:
        """A step has ended, and the next one has not begun; idle: nobody waits for it."""
        ...

    def end(self) -> None:
        """No more steps: Python's collector is as it was before `begin`."""
        ...


class Automatic:
    """Python's collector, left alone.

    Args:
        freezes: whether what is there at the beginning is never looked at again.
    """

    def __init__(self, *, freezes: bool = False) -> None:
        self._freezes = freezes

    def begin(self) -> None:
        """See `GarbageCollector`."""
        if self._freezes:
            gc.collect()
            gc.freeze()

    def between(self, *, is_idle: bool = False) -> None:
        """See `GarbageCollector`."""

    def end(self) -> None:
        """See `GarbageCollector`."""
        if self._freezes:
            gc.unfreeze()


class BetweenSteps:
    """Young objects are looked at between steps, within a budget; all of them seldom.

    What is there at the beginning is frozen, that is, looked at by full collections only. A young
    collection comes when enough objects were made that are still there, and how many are enough
    follows from what the last ones took; those who survive two of them are old. All are looked at
    where nothing is to be done and memory in use has grown by `IDLE_PERCENT`, or anyway once it
    has grown by `FORCED_PERCENT`; what is left is frozen again. Where nobody waits, free memory
    goes back to the system then, and otherwise at every `GIVEN_BACK_EVERY`-th collection of those
    that survived one.

    Args:
        is_loaded: whether what was loaded left garbage that must go first: costs a full collection.
        told: told of each full collection.
        clock: nanoseconds; only lengths are taken.
    """

    def __init__(
        self,
        *,
        is_loaded: bool = True,
        told: Callable[[Full], None] = lambda _: None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._is_loaded = is_loaded
        self._told = told
        self._clock = clock
        self._was_on = True
        self._survivors = 0
        self._olds = 0
        self._used = 1
        self._percent = 0
        self.looked_max = LOOKED_MAX // 10
        """How many objects a collection between steps may look at, just now."""

    def begin(self) -> None:
        """See `GarbageCollector`."""
        self._was_on = gc.isenabled()
        gc.disable()
        if self._is_loaded:
            self._collect_all("start")
        else:
            self._keep()

    def between(self, *, is_idle: bool = False) -> None:
        """See `GarbageCollector`.

        Cost: 0.1 us where there is nothing to do.
        """
        young = gc.get_count()[0]
        if young * 2 >= self.looked_max:
            self._collect_young(young)
        elif is_idle and self._percent >= IDLE_PERCENT:
            self._collect_all("idle")

    def end(self) -> None:
        """See `GarbageCollector`."""
        gc.unfreeze()
        if self._was_on:
            gc.enable()

    def _collect_young(self, young: int) -> None:
        """Those made since the last time; with its survivors where these would become too many."""
        began = self._clock()
        looked = young + self._survivors
        if looked < self.looked_max:
            self._survivors = looked - min(gc.collect(0), looked)
        else:
            gc.collect(1)
            self._survivors = 0
            self._percent = 100 * sys.getallocatedblocks() // self._used - 100
            self._olds += 1
        took = max(self._clock() - began, 1)
        if took > PAUSE_NS or looked >= self.looked_max:
            # The next one would look at as many as fit into the budget, but is not twice as large.
            fitting = min(looked * PAUSE_NS // took, self.looked_max * 2)
            self.looked_max = max(LOOKED_MIN, min(fitting, LOOKED_MAX))
        if self._olds == GIVEN_BACK_EVERY:
            # A table of all pods that is made anew can leave a hole of its size in the heap.
            self._olds = 0
            give_back()
        if self._percent >= FORCED_PERCENT:
            self._collect_all("growth")

    def _collect_all(self, why: str) -> None:
        began, percent = self._clock(), self._percent
        gc.unfreeze()
        found = gc.collect()
        self._keep()
        if why != "growth":
            give_back()
        self._told(Full(why, self._clock() - began, found, percent))

    def _keep(self) -> None:
        gc.freeze()
        self._survivors = self._percent = 0
        # CPython's count of small blocks, which is most of the memory that Python objects take.
        self._used = max(sys.getallocatedblocks(), 1)


class Pauses:
    """How long collections stopped everything, whoever asked for them, by generation."""

    def __init__(self) -> None:
        self.counts = tuple([0] * (len(BUCKETS) + 1) for _ in range(OLDEST + 1))
        """By generation, how many were at most as long as each of `BUCKETS`, or longer."""
        self.sum_ns = [0] * (OLDEST + 1)
        self.found = [0] * (OLDEST + 1)
        """Objects in cycles that nothing referred to."""
        self._began_ns = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count while this lasts."""
        gc.callbacks.append(self._see)
        try:
            yield
        finally:
            gc.callbacks.remove(self._see)

    def _see(self, phase: str, info: dict[str, int]) -> None:
        """Called by Python in whatever thread, between any two instructions: takes no lock."""
        if phase == "start":
            self._began_ns = time.perf_counter_ns()
            return
        took_ns = time.perf_counter_ns() - self._began_ns
        generation = info["generation"]
        self.sum_ns[generation] += took_ns
        self.found[generation] += info["collected"]
        self.counts[generation][_bucket(took_ns / 1e9, BUCKETS)] += 1


def _bucket(seconds: float, bounds: Sequence[float]) -> int:
    return next((at for at, bound in enumerate(bounds) if seconds <= bound), len(bounds))
