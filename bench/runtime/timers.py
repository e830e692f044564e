"""A million timers: what one costs, what cancelling leaves behind, and how late they come."""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.runtime.cases import Judge, resident_bytes, zero
from bench.runtime.peers import Peers, apart, find_loops, go_run
from herz import runtime
from herz.runtime import Timer, sleep, stats, yield_now

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

COUNT = 1_000_000
CANCELLED = COUNT * 9 // 10
RATE = COUNT // 60
"""Timers that come due in a second."""
FIRST_S = 2.0
IDLE_S = 5.0
WAITS, WAIT_S = 2_000, 60e-6

GO = "Go AfterFunc"

Pause = Callable[[], Any]


Insert = Callable[..., Any]


def nothing(_due_ns: int) -> None:
    """What a timer calls that is never due."""


async def costs(name: str, insert: Insert, cancel: Callable[[Any], Any], pause: Pause) -> Any:
    """CPU time of an insertion and of a cancellation; what the loop and the memory feel.

    CPU time, since other programs' turns are no cost of a timer; what they do to the caches is.
    """
    draw = random.Random(1)
    delays = [30 + 60 * draw.random() for _ in range(COUNT)]
    order = list(range(COUNT))
    draw.shuffle(order)
    timers: list[Any] = [None] * COUNT
    chosen: list[Any] = [None] * CANCELLED
    base_bytes, base_blocks = resident_bytes(), sys.getallocatedblocks()
    began = time.thread_time_ns()
    for at, delay in enumerate(delays):
        timers[at] = insert(delay, nothing, 1)
    values = {f"{name}: insert, ns": (time.thread_time_ns() - began) / COUNT}
    full_bytes, full_blocks = resident_bytes(), sys.getallocatedblocks()
    for place, at in enumerate(order[:CANCELLED]):
        chosen[place] = timers[at]
    began = time.thread_time_ns()
    for timer in chosen:
        cancel(timer)
    values[f"{name}: cancel, ns"] = (time.thread_time_ns() - began) / CANCELLED
    del timer, chosen
    for at in order[:CANCELLED]:
        timers[at] = None
    live = (sys.getallocatedblocks() - base_blocks) / (full_blocks - base_blocks)
    if name == "herz":
        live = max(live, stats()["timers"] / COUNT)
    values[f"{name}: live after cancelling, %"] = 100 * live
    began = time.perf_counter_ns()
    await pause()
    values[f"{name}: next turn of the loop, ms"] = (time.perf_counter_ns() - began) / 1e6
    for at in order[:CANCELLED]:
        timers[at] = insert(delays[at], nothing, 1)
    grown = (resident_bytes() - full_bytes) / (full_bytes - base_bytes)
    values[f"{name}: growth by as many new ones, %"] = 100 * grown
    for timer in timers:
        cancel(timer)
    return values


def cost(peers: Peers) -> dict[str, float]:
    """The costs of all contenders."""
    values = apart(_own_cost)
    for name in peers.loops:
        values |= apart(_their_cost, name)
    return values


def _own_cost() -> dict[str, float]:
    values: dict[str, float] = runtime.run(costs("herz", Timer, Timer.stop, yield_now))
    return values


def _their_cost(name: str) -> dict[str, float]:
    values: dict[str, float] = {}

    async def theirs() -> float:
        loop = asyncio.get_running_loop()
        cancel = asyncio.TimerHandle.cancel if name == "asyncio" else _cancel
        values.update(await costs(name, loop.call_later, cancel, zero))
        return 0.0

    find_loops()[name](theirs())
    return values


def _cancel(handle: Any) -> None:
    handle.cancel()


def judge_cost(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """430 and 350 ns where asyncio takes 4,800 and 1,000; nothing to clean up; memory is reused."""
    verdicts.below(medians, "herz: insert, ns", 430)
    verdicts.below(medians, "herz: cancel, ns", 350)
    verdicts.most(medians, "herz: insert, ns", "asyncio: insert, ns", 430 / 4_800)
    verdicts.most(medians, "herz: cancel, ns", "asyncio: cancel, ns", 350 / 1_000)
    verdicts.below(medians, "herz: next turn of the loop, ms", 1)
    verdicts.below(medians, "herz: live after cancelling, %", 10.5)
    verdicts.below(medians, "herz: growth by as many new ones, %", 5)


SHARES = {"P50": 0.5, "P99": 0.99, "P999": 0.999, "max": 1.0, "earliest": 0.0}


def percentiles(late: list[int]) -> list[int]:
    """The lateness at each of SHARES, in nanoseconds."""
    late.sort()
    return [late[min(len(late) - 1, int(len(late) * share))] for share in SHARES.values()]


def report(name: str, late_ns: list[int], cpu_ns: float) -> dict[str, float]:
    """What is shown of one contender."""
    rows = {f"{name}: {share}, ms": ns / 1e6 for share, ns in zip(SHARES, late_ns, strict=True)}
    return rows | {f"{name}: CPU a timer, µs": cpu_ns / 1e3}


async def late(name: str, insert: Insert, pause: Callable[[float], Any], seconds: float) -> Any:
    """Lateness of timers spread evenly over that time; each calls a Python function."""
    draw = random.Random(1)
    count = int(RATE * seconds)
    delays = [FIRST_S + seconds * draw.random() for _ in range(count)]
    lateness: list[int] = []

    def note(due_ns: int) -> None:
        lateness.append(time.monotonic_ns() - due_ns)

    cpu_ns = time.process_time_ns()
    for delay in delays:
        insert(delay, note, time.monotonic_ns() + round(delay * 1e9))
    await pause(FIRST_S + seconds + 1)
    while len(lateness) < count:
        await pause(0.1)
    cpu_ns = time.process_time_ns() - cpu_ns
    return report(name, percentiles(lateness), cpu_ns / count)


def lateness(peers: Peers, seconds: float) -> dict[str, float]:
    """The lateness of all contenders, and what a timed wait costs here at all."""
    cpu_ns = time.process_time_ns()
    waited_ns = time.monotonic_ns()
    for _ in range(WAITS):
        time.sleep(WAIT_S)
    values = {
        "floor: CPU a timed wait, µs": (time.process_time_ns() - cpu_ns) / WAITS / 1e3,
        "floor: lateness of a wait, ms": (time.monotonic_ns() - waited_ns) / WAITS / 1e6
        - WAIT_S * 1e3,
    }
    values |= apart(_own_lateness, seconds)
    for name in peers.loops:
        values |= apart(_their_lateness, name, seconds)
    printed = go_run("timers.go", int(RATE * seconds), FIRST_S, seconds)
    if printed is not None:
        *late_ns, cpu_ns = map(int, printed.split())
        values |= report(GO, late_ns, cpu_ns)
    return values


def _own_lateness(seconds: float) -> dict[str, float]:
    values: dict[str, float] = runtime.run(late("herz", Timer, sleep, seconds))
    return values


def _their_lateness(name: str, seconds: float) -> dict[str, float]:
    values: dict[str, float] = {}

    async def theirs() -> float:
        loop = asyncio.get_running_loop()
        values.update(await late(name, loop.call_later, asyncio.sleep, seconds))
        return 0.0

    find_loops()[name](theirs())
    return values


def judge_lateness(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """0.10, 1.0 and 3 ms; never early; 4 µs."""
    verdicts.beside(medians, f"{GO}: CPU a timer, µs")
    verdicts.below(medians, "herz: P50, ms", 0.10)
    verdicts.below(medians, "herz: P99, ms", 1.0)
    verdicts.below(medians, "herz: P999, ms", 3.0)
    verdicts.least(medians, "herz: earliest, ms", 0.0)
    verdicts.below(medians, "herz: CPU a timer, µs", 4.0)


def idle(_peers: Peers) -> dict[str, float]:
    """What a runtime does with one timer that is far away: parts of a CPU, wake-ups a second."""

    async def own() -> dict[str, float]:
        Timer(3_600, nothing, 0)
        await sleep(0.5)  # the monitor falls asleep, too
        before = resource.getrusage(resource.RUSAGE_SELF)
        await sleep(IDLE_S)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "herz: CPU, %": 100 * cpu_s / IDLE_S,
            "herz: wake-ups a second": (after.ru_nvcsw - before.ru_nvcsw) / IDLE_S,
        }

    return runtime.run(own())


def judge_idle(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """Below 0.1 % of a CPU, and 20 wake-ups a second."""
    verdicts.below(medians, "herz: CPU, %", 0.1)
    verdicts.below(medians, "herz: wake-ups a second", 20)


Case = tuple[str, str, Callable[[Peers], dict[str, float]], Judge]


def cases(seconds: float) -> tuple[Case, ...]:
    """The tables; the timers of the second come due over so many seconds."""
    title = f"{int(RATE * seconds):,} timers over {seconds:.0f} s, calls of Python functions"
    return (
        (f"{COUNT:,} timers", "as named", cost, judge_cost),
        (title, "as named", partial(lateness, seconds=seconds), judge_lateness),
        ("idle with one far timer", "as named", idle, judge_idle),
    )
