"""Switching, starting and parking tasks; functions on threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.runtime.peers import Peers, apart, go_run
from herz import runtime
from herz.runtime import Channel, go, sleep, yield_now

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

TASKS, TURNS = 1_000, 200
MANY, MANY_TURNS = 100_000, 20
GOSCHED = "Go Gosched"
STARTED = 50_000
PARKED = 1_000_000
CALLS = 500
HOPS = 10_000
PAGE = 4_096

Judge = Callable[["Verdicts", dict[str, float]], None]


async def turns(pause: Callable[[], Awaitable[Any]], count: int) -> None:
    """A task that only lets others run."""
    for _ in range(count):
        await pause()


async def timed_join(tasks: list[Any], per: int) -> float:
    """Nanoseconds that waiting for all takes, divided by `per`."""
    began = time.perf_counter_ns()
    for task in tasks:
        await task
    return (time.perf_counter_ns() - began) / per


def switch(peers: Peers) -> dict[str, float]:
    """Nanoseconds a yield, with TASKS coroutines that take turns."""
    return _switches(peers, TASKS, TURNS)


def many(peers: Peers) -> dict[str, float]:
    """The same with so many that no cache holds them, beside goroutines."""
    values = _switches(peers, MANY, MANY_TURNS)
    printed = go_run("gosched.go", MANY, MANY_TURNS)
    return values if printed is None else values | {GOSCHED: float(printed)}


def _switches(peers: Peers, count: int, each: int) -> dict[str, float]:
    values = {}
    if peers.floor is not None:
        coroutines = [turns(peers.floor.pause, each) for _ in range(count)]
        contexts = [contextvars.copy_context() for _ in range(count)]
        began = time.perf_counter_ns()
        steps = peers.floor.drive(coroutines, contexts)
        values["floor in C"] = (time.perf_counter_ns() - began) / steps

    async def own() -> float:
        tasks = [go(turns(yield_now, each)) for _ in range(count)]
        return await timed_join(tasks, count * each)

    values["herz"] = runtime.run(own())

    async def theirs() -> float:
        tasks = [asyncio.create_task(turns(zero, each // 5)) for _ in range(count)]
        return await timed_join(tasks, count * each // 5)

    for name, run in peers.loops.items():
        values[name] = run(theirs())
    return values


def zero() -> Awaitable[None]:
    """What lets others run in asyncio."""
    return asyncio.sleep(0)


def judge_switch(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """1.7 times the floor, a 4.5th of uvloop's, a 12th of asyncio's."""
    verdicts.most(medians, "herz", "floor in C", 1.7)
    verdicts.most(medians, "herz", "uvloop", 1 / 4.5)
    verdicts.most(medians, "herz", "asyncio", 1 / 12)


def judge_many(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """No more than Go's."""
    verdicts.beside(medians, GOSCHED)
    if GOSCHED in medians:
        verdicts.most(medians, "herz", GOSCHED, 1.0)


async def nothing() -> None:
    """A task that ends at once."""


def start(peers: Peers) -> dict[str, float]:
    """Nanoseconds to start, run and await a task."""

    async def own() -> float:
        began = time.perf_counter_ns()
        tasks = [go(nothing()) for _ in range(STARTED)]
        for task in tasks:
            await task
        return (time.perf_counter_ns() - began) / STARTED

    async def theirs() -> float:
        began = time.perf_counter_ns()
        tasks = [asyncio.create_task(nothing()) for _ in range(STARTED)]
        for task in tasks:
            await task
        return (time.perf_counter_ns() - began) / STARTED

    values = {"herz": runtime.run(own())}
    return values | {name: run(theirs()) for name, run in peers.loops.items()}


def judge_start(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """A quarter of asyncio's."""
    verdicts.most(medians, "herz", "asyncio", 1 / 4)


def hop(peers: Peers) -> dict[str, float]:
    """Microseconds for a value from one task to another, and the turn of the receiver."""

    async def own() -> float:
        there: Channel[int] = Channel()
        back: Channel[int] = Channel()

        async def echo() -> None:
            async for value in there:
                await back.send(value)

        go(echo())
        began = time.perf_counter_ns()
        for number in range(HOPS):
            await there.send(number)
            await back.receive()
        there.close()
        return (time.perf_counter_ns() - began) / (2 * HOPS) / 1_000

    async def theirs() -> float:
        there: asyncio.Queue[int] = asyncio.Queue(1)
        back: asyncio.Queue[int] = asyncio.Queue(1)

        async def echo() -> None:
            while True:
                await back.put(await there.get())

        task = asyncio.create_task(echo())
        began = time.perf_counter_ns()
        for number in range(HOPS):
            await there.put(number)
            await back.get()
        task.cancel()
        return (time.perf_counter_ns() - began) / (2 * HOPS) / 1_000

    values = {"herz Channel": runtime.run(own())}
    return values | {f"{name} Queue(1)": run(theirs()) for name, run in peers.loops.items()}


def judge_hop(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """0.6 microseconds where asyncio takes 5 at least: an eighth."""
    verdicts.most(medians, "herz Channel", "asyncio Queue(1)", 0.6 / 5)


def resident_bytes() -> int:
    """Memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


async def settled(tasks: list[Any], pause: Callable[[], Awaitable[Any]], base: int) -> list[float]:
    """Bytes of a task that waits, and the milliseconds of a full collection beside all of them."""
    await pause()
    grown = (resident_bytes() - base) / len(tasks)
    began = time.perf_counter_ns()
    gc.collect()
    collection_ms = (time.perf_counter_ns() - began) / 1e6
    for task in tasks:
        task.cancel()
    return [grown, collection_ms]


def parked(_peers: Peers) -> dict[str, float]:
    """Coroutines that sleep, all in all."""
    values: dict[str, float] = {}
    for name, measure in (("herz", _own_parked), ("asyncio", _their_parked)):
        grown, collection_ms = apart(measure)
        values |= {f"{name}: bytes": grown, f"{name}: full collection, ms": collection_ms}
    return values


async def _long(pause: Callable[[float], Awaitable[Any]]) -> None:
    await pause(3_600)


def _own_parked() -> list[float]:
    async def own() -> list[float]:
        base = resident_bytes()
        return await settled([go(_long(sleep)) for _ in range(PARKED)], yield_now, base)

    found: list[float] = runtime.run(own())
    return found


def _their_parked() -> list[float]:
    async def theirs() -> list[float]:
        base = resident_bytes()
        tasks = [asyncio.create_task(_long(asyncio.sleep)) for _ in range(PARKED)]
        return await settled(tasks, zero, base)

    return asyncio.run(theirs())


def judge_parked(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """600 bytes; a collection no longer than beside asyncio's."""
    verdicts.below(medians, "herz: bytes", 600)
    verdicts.most(medians, "herz: full collection, ms", "asyncio: full collection, ms", 1.0)


def off_load(peers: Peers) -> dict[str, float]:
    """Microseconds from the call of a function on a thread to its result, one at a time."""

    async def own() -> float:
        await go(int)
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            await go(int)
        return (time.perf_counter_ns() - began) / CALLS / 1_000

    async def theirs() -> float:
        await asyncio.to_thread(int)
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            await asyncio.to_thread(int)
        return (time.perf_counter_ns() - began) / CALLS / 1_000

    values = {"herz": runtime.run(own())}
    return values | {f"{name} to_thread": run(theirs()) for name, run in peers.loops.items()}


def judge_off_load(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """30 microseconds."""
    verdicts.below(medians, "herz", 30)


CASES: tuple[tuple[str, str, Callable[[Peers], dict[str, float]], Judge], ...] = (
    (f"yield, {TASKS:,} coroutines", "ns", switch, judge_switch),
    (f"yield, {MANY:,} coroutines", "ns", many, judge_many),
    ("start, run, await a task", "ns", start, judge_start),
    ("a value to another task, one way", "µs", hop, judge_hop),
    (f"{PARKED:,} parked tasks", "as named", parked, judge_parked),
    ("a function on a thread, round trip", "µs", off_load, judge_off_load),
)
