"""What changing threads costs: batches of functions, and the context-switch table beside Go."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from bench.runtime.peers import Peers, go_run
from herz import runtime
from herz.runtime import Event, Portal, go, go_map, sleep, yield_now

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

ITEMS = 20_000
ROUNDS = 40
HELD_S = 0.012


def batch(_peers: Peers) -> dict[str, float]:
    """Microseconds an item: a function that does next to nothing, for many items."""

    async def own(workers: int) -> float:
        await go_map(abs, [1])
        began = time.perf_counter_ns()
        await go_map(abs, range(ITEMS), workers=workers)
        return (time.perf_counter_ns() - began) / ITEMS / 1_000

    async def singly() -> float:
        await go(abs, 1)
        began = time.perf_counter_ns()
        for task in [go(abs, number) for number in range(ITEMS // 10)]:
            await task
        return (time.perf_counter_ns() - began) / (ITEMS // 10) / 1_000

    def pool() -> float:
        with ThreadPoolExecutor(1) as executor:
            executor.submit(abs, 1).result()
            began = time.perf_counter_ns()
            list(executor.map(abs, range(ITEMS // 10)))
            return (time.perf_counter_ns() - began) / (ITEMS // 10) / 1_000

    return {
        "herz go_map": runtime.run(own(1)),
        "herz go_map, 2 threads": runtime.run(own(2)),
        "herz go, all at once": runtime.run(singly()),
        "ThreadPoolExecutor.map": pool(),
    }


def judge_batch(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """2 microseconds an item."""
    verdicts.below(medians, "herz go_map", 2)


# ---- the context-switch table ------------------------------------------------------------------


async def free() -> float:
    """A task waits, and the processor is parked; another thread wakes it."""
    event = Event()
    freed = []

    def wake() -> None:
        freed.append(time.perf_counter_ns())
        event.set()

    timer = threading.Timer(0.002, wake)
    with Portal():
        timer.start()
        await event.wait()
    late_ns = time.perf_counter_ns() - freed[0]
    timer.join()
    return late_ns / 1_000


async def taken() -> float:
    """A task comes back from a call during which its processor was taken, to its next step."""
    reader, writer = os.pipe()

    async def block() -> int:
        os.read(reader, 1)
        await yield_now()
        return time.perf_counter_ns()

    held = go(block())
    await sleep(HELD_S)
    freed_ns = time.perf_counter_ns()
    os.write(writer, b"x")
    late_ns = await held - freed_ns
    os.close(reader)
    os.close(writer)
    return late_ns / 1_000


async def blocked() -> float:
    """A task blocks; how long until the next one runs: `stall_ns` (5 ms), and a thread woken."""
    reader, writer = os.pipe()

    async def block() -> int:
        began_ns = time.perf_counter_ns()
        os.read(reader, 1)
        return began_ns

    async def after() -> int:
        now_ns = time.perf_counter_ns()
        os.write(writer, b"x")
        return now_ns

    held, other = go(block()), go(after())
    late_ns = -await held + await other
    os.close(reader)
    os.close(writer)
    return late_ns / 1_000


ROWS: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
    "free": free,
    "taken": taken,
    "blocked": blocked,
}
NAMES = {
    "free": "processor free",
    "taken": "taken, bound again",
    "blocked": "blocked, thread woken",
}


def table(_peers: Peers) -> dict[str, float]:
    """Microseconds, the median of ROUNDS."""
    values = {}
    for key, name in NAMES.items():

        async def own(key: str = key) -> float:
            await yield_now()
            return statistics.median([await ROWS[key]() for _ in range(ROUNDS)])

        values[f"herz: {name}"] = runtime.run(own())
    for key, value in goroutines().items():
        values[f"Go: {NAMES[key]}"] = value
    return values


def goroutines() -> dict[str, float]:
    """The same in Go; nothing where Go is not installed."""
    measured: dict[str, float] = json.loads(go_run("switches.go") or "{}")
    return measured


def judge_table(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """The stall's length and two milliseconds until the next task runs; the rest is a table."""
    verdicts.below(medians, "herz: blocked, thread woken", 5_000 + 2_000)


CASES = (
    ("many small functions in one round trip, an item", "µs", batch, judge_batch),
    ("a step on another thread", "µs", table, judge_table),
)
