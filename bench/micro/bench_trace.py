"""What seeing inside costs: each step's probe, and a yield with and without a trace.

Run from the repository's root, on an idle machine:

    PYTHONPATH=src:. python -m bench.micro.bench_trace

Figures are medians of ROUNDS rounds, and in brackets the lowest and the highest; the rivals of a
table take turns in each round.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench.micro.table import machine, spread
from herz._native import measure_trace
from herz.runtime import go, profile, run, trace, yield_now

ROUNDS = 7
STEPS = 3_000_000
TASKS, TURNS = 1_000, 100


def probes() -> None:
    """The core alone, without Python."""
    rows = ("reading the clock", "the system's clock", "probe, nobody traces", "probe, traced")
    runs = [measure_trace(STEPS) for _ in range(ROUNDS)]
    kind = "the processor's counter" if runs[0][4] else "the system's"
    print(f"\nns a call; the clock is {kind}")
    for place, name in enumerate(rows):
        print(f"  {name:24}{spread([float(each[place]) for each in runs], 1):>22}")


async def turns() -> None:
    """A task that only lets others run."""
    for _ in range(TURNS):
        await yield_now()


async def timed(block: AbstractContextManager[None]) -> float:
    """Nanoseconds a yield, inside the block."""
    with block:
        tasks = [go(turns()) for _ in range(TASKS)]
        began = time.perf_counter_ns()
        for task in tasks:
            await task
        return (time.perf_counter_ns() - began) / (TASKS * TURNS)


def yields() -> None:
    """A thousand coroutines that take turns."""
    with tempfile.TemporaryDirectory() as folder:
        blocks: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "nobody looks": contextlib.nullcontext,
            "inside trace(…)": lambda: trace(Path(folder, "trace.json"), events=1_000),
            "inside profile(…)": lambda: profile(Path(folder, "folded.txt")),
        }
        found: dict[str, list[float]] = {name: [] for name in blocks}
        for _ in range(ROUNDS):
            for name, block in blocks.items():
                found[name].append(run(timed(block())))
    print(f"\nns a yield, {TASKS:,} coroutines")
    for name, each in found.items():
        print(f"  {name:24}{spread(each):>22}")


if __name__ == "__main__":
    print(machine())
    probes()
    yields()
