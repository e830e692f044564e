"""Native processors: tasks in Rust beside goroutines, stealing, the global queue, relays.

All of it runs on the executor that every runtime has; `herz._native.measure_…` only loads it.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from bench.runtime.cases import GOSCHED
from bench.runtime.peers import Peers, go_run
from bench.runtime.threads import NAMES, goroutines
from herz import runtime
from herz._native import measure_crowd, measure_load, measure_switch, measure_switches
from herz.runtime import Connection, go, relay

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

TASKS = 1_000
STEPS = 2_000_000
LOADED = 200_000
WORK = 600
"""Rounds of arithmetic in a task: less than a microsecond."""
CROWDS = (1, 2, 4, 8, 16)
ROUNDS = 20
RELAYED = 64 << 20
PIECE = 65_536


def switch(_peers: Peers) -> dict[str, float]:
    """Nanoseconds a yield, with TASKS tasks on one processor."""
    values = {"herz: Rust task": measure_switch(TASKS, STEPS)}
    printed = go_run("gosched.go", TASKS, STEPS // TASKS)
    return values if printed is None else values | {GOSCHED: float(printed)}


def judge_switch(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """Half of Gosched's."""
    verdicts.beside(medians, GOSCHED)
    if GOSCHED in medians:
        verdicts.most(medians, "herz: Rust task", GOSCHED, 0.5)


# ---- stealing --------------------------------------------------------------------------------


def _loads() -> list[tuple[str, int, int]]:
    """Names, processors and the share of spawns on the first one, in per cent."""
    counts = [count for count in (2, 4, 8) if count <= (os.cpu_count() or 1)] or [2]
    even = [(f"{count} processors, even", count, 100 // count) for count in counts]
    return even + [(f"{count} processors, 80 % on one", count, 80) for count in counts]


def steal(_peers: Peers) -> dict[str, float]:
    """A look at a victim, in nanoseconds, and steps from the own queue, per cent."""
    values = {}
    for seed, (name, processors, share) in enumerate(_loads()):
        figures, _ = measure_load(processors, LOADED, WORK, share, seed)
        values[f"{name}: probe, ns"] = figures["probe_ns"]
        values[f"{name}: local, %"] = 100 * figures["local_hits"]
    return values


def judge_steal(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """217 ns; more than 85 %."""
    for name, _, _ in _loads():
        verdicts.below(medians, f"{name}: probe, ns", 217)
        verdicts.least(medians, f"{name}: local, %", 85)


# ---- a crowd at the global queue -------------------------------------------------------------


def quantile_ns(arrivals_s: float, hold_ns: float, places: int, share: float) -> float:
    """That share of visits is shorter, in M/M/1/K: one server, Poisson arrivals, at most K inside.

    An accepted visit that finds n others takes n + 1 exponential holds (Erlang). Source: Kleinrock,
    Queueing Systems, vol. 1, 3.6.
    """
    load = arrivals_s * hold_ns / 1e9
    found = [load**n for n in range(places)]
    chances = [weight / sum(found) for weight in found]

    def is_longer(ns: float) -> float:
        holds = ns / hold_ns
        terms = [math.exp(-holds) * holds**n / math.factorial(n) for n in range(places)]
        return sum(chance * sum(terms[: n + 1]) for n, chance in enumerate(chances))

    low, high = 0.0, hold_ns * (places + 10) * 10
    while high - low > hold_ns / 1_000:
        middle = (low + high) / 2
        if is_longer(middle) > 1 - share:
            low = middle
        else:
            high = middle
    return high


def crowd(_peers: Peers) -> dict[str, float]:
    """Nanoseconds that the 99th percentile of visits has beyond one that meets nobody."""
    values: dict[str, float] = {}
    alone_ns = 0.0
    for workers in CROWDS:
        seen = measure_crowd(workers, LOADED // 4, WORK, workers)
        alone_ns = alone_ns or seen["p50_ns"]
        arrivals_s = (seen["visits"] + seen["pushes"]) / seen["seconds"]
        # Inside at once: the workers, and the thread that starts the tasks.
        predicted = quantile_ns(arrivals_s, seen["hold_ns"], workers + 1, 0.99)
        values[f"{workers} workers: P99 added"] = seen["p99_ns"] - alone_ns
        values[f"{workers} workers: M/M/1/{workers + 1}"] = predicted - seen["hold_ns"]
    return values


def judge_crowd(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """A table."""
    verdicts.beside(medians, *(f"{workers} workers: P99 added" for workers in CROWDS))


# ---- switches of threads ---------------------------------------------------------------------


def threads(_peers: Peers) -> dict[str, float]:
    """Microseconds; Go's are in the table of Python tasks, too."""
    names = ("processor free", "taken, bound again", "blocked, thread woken")
    values = {
        f"herz: {name}": value for name, value in zip(names, measure_switches(ROUNDS), strict=True)
    }
    return values | {f"Go: {NAMES[key]}": value for key, value in goroutines().items()}


def judge_threads(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """The monitor looks each millisecond, and acts when it has seen a step three times."""
    verdicts.below(medians, "herz: blocked, thread woken", 5_000)


# ---- relays ----------------------------------------------------------------------------------


def _pump(source: socket.socket, sink: socket.socket) -> float:
    """Sends RELAYED bytes into one and reads them from the other; MB a second."""

    def send() -> None:
        piece = bytes(PIECE)
        for _ in range(RELAYED // PIECE):
            source.sendall(piece)
        source.shutdown(socket.SHUT_WR)

    room = bytearray(PIECE)
    began = time.perf_counter_ns()
    sender = threading.Thread(target=send)
    sender.start()
    seen = 0
    while count := sink.recv_into(room):
        seen += count
    sender.join()
    assert seen == RELAYED
    for one in (source, sink):
        one.close()
    return seen / ((time.perf_counter_ns() - began) / 1e9) / 1e6


def _pairs() -> tuple[list[socket.socket], list[socket.socket]]:
    first, second = socket.socketpair(), socket.socketpair()
    return [first[0], second[0]], [first[1], second[1]]


def relays(peers: Peers) -> dict[str, float]:
    """MB a second through a relay between two connections, and the process's CPU a MB."""

    async def own() -> float:
        outer, inner = _pairs()
        pumping = go(_pump, *outer)
        await relay(*map(Connection.from_socket, inner))
        return await pumping

    async def in_python() -> float:
        outer, inner = _pairs()
        pumping = go(_pump, *outer)
        one, other = map(Connection.from_socket, inner)

        async def pass_on(source: Connection, target: Connection) -> None:
            while piece := await source.receive():
                await target.send_all(piece)
            target.close_write()

        flows = [go(pass_on(one, other)), go(pass_on(other, one))]
        for flow in flows:
            await flow
        one.close()
        other.close()
        return await pumping

    async def theirs() -> float:
        outer, inner = _pairs()
        pumping = asyncio.create_task(asyncio.to_thread(_pump, *outer))
        ends = [await asyncio.open_unix_connection(sock=one) for one in inner]

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while piece := await source.read(PIECE):
                target.write(piece)
                await target.drain()
            target.write_eof()

        await asyncio.gather(
            pass_on(ends[0][0], ends[1][1]),
            pass_on(ends[1][0], ends[0][1]),
        )
        for _, writer in ends:
            writer.close()
        return await pumping

    values = {"herz relay": runtime.run(own()), "herz, in Python": runtime.run(in_python())}
    return values | {f"{name} streams": run(theirs()) for name, run in peers.loops.items()}


def judge_relays(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """More than asyncio's streams, which peers are named by."""
    verdicts.least(medians, "herz relay", medians["asyncio streams"])


CASES = (
    (f"Rust task switch, {TASKS} tasks", "ns", switch, judge_switch),
    ("stealing, up to as many processors as CPUs", "as named", steal, judge_steal),
    ("more workers at the global queue", "ns", crowd, judge_crowd),
    ("a native step on another thread", "µs", threads, judge_threads),
    ("two connections joined", "MB/s", relays, judge_relays),
)
