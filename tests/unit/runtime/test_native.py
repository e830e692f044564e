"""Tasks on native processors: relays between connections, their ends, and what is counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from herz import _native, runtime
from herz.runtime import (
    Cancelled,
    Closed,
    Connection,
    Deadlock,
    Event,
    Task,
    connect_tcp,
    deadline,
    dump,
    go,
    listen_tcp,
    relay,
    run,
    select,
    serve,
    sleep,
    trace,
    yield_now,
)
from tests.support.net import HOST, echo, no_descriptor_leaks, tcp_pair, unix_pair, until
from tests.support.program import play

_nothing_leaks = pytest.fixture(autouse=True)(no_descriptor_leaks)


async def joined(**limits: float) -> tuple[Connection, Connection, Task[tuple[int, int]]]:
    """The outer ends of two connections, and the task that relays between the inner ones."""
    outer, inner = unix_pair()
    other_outer, other_inner = unix_pair()

    async def relayed() -> tuple[int, int]:
        return await relay(inner, other_inner, **limits)

    task = go(relayed(), name="relay")
    await until(lambda: inner.is_closed)
    return outer, other_outer, task


# ---- bytes ----------------------------------------------------------------------------------


def test_a_proxy_passes_everything_on_and_counts_it() -> None:
    async def client(address: tuple[str, int], number: int) -> None:
        async with await connect_tcp(*address) as connection:
            for turn in range(10):
                sent = b"%d.%d|" % (number, turn) * 700
                await connection.send_all(sent)
                assert await connection.receive_exactly(len(sent)) == sent
            connection.close_write()
            assert await connection.receive() == b""

    async def main() -> runtime.Stats:
        sums = [0, 0]

        async with await listen_tcp(HOST, 0) as target, await listen_tcp(HOST, 0) as proxy:

            async def pass_on(connection: Connection) -> None:
                there, back = await relay(connection, await connect_tcp(*target.local_address))
                sums[0] += there
                sums[1] += back

            serving = [go(serve(target, echo)), go(serve(proxy, pass_on))]
            clients = [go(client(proxy.local_address, number)) for number in range(40)]
            for task in clients:
                await task
            await until(lambda: runtime.stats()["native"]["tasks"] == 0)
        for task in serving:
            await task
        sent = sum(
            len(b"%d.%d|" % (number, turn)) * 700 for number in range(40) for turn in range(10)
        )
        assert sums == [sent, sent]
        return runtime.stats()

    native = run(main(), processors=2)["native"]
    assert native["processors"] == 2
    assert native["spawned"] == 80
    assert native["steps"] > 80
    assert native["descriptors"] == native["timers"] == 0


def test_what_a_receive_had_gathered_goes_first_and_a_half_close_is_passed_on() -> None:
    async def main() -> None:
        outer, inner = unix_pair()
        other_outer, other_inner = unix_pair()
        await outer.send_all(b"abc")
        with pytest.raises(TimeoutError):
            async with deadline(0.01):
                await inner.receive_exactly(9)

        async def relayed() -> tuple[int, int]:
            return await relay(inner, other_inner)

        task = go(relayed())
        await outer.send_all(b"def")
        outer.close_write()
        assert await other_outer.receive_exactly(6) == b"abcdef"
        assert await other_outer.receive() == b""
        await other_outer.send_all(b"answer")
        assert await outer.receive_exactly(6) == b"answer"
        other_outer.close()
        assert await task == (6, 6)
        assert inner.is_closed
        assert other_inner.is_closed
        outer.close()

    run(main())


def test_relays_go_on_while_a_step_blocks_or_the_interpreter_is_kept() -> None:
    """The other ends are threads of this process that need the interpreter only to begin."""
    code = """
import ctypes, os, socket
from herz.runtime import Connection, go, relay, run, yield_now

async def main():
    pairs = [socket.socketpair(), socket.socketpair()]
    ends = [Connection.from_socket(pair[1]) for pair in pairs]
    async def relayed():
        return await relay(*ends)
    task = go(relayed())
    while not ends[0].is_closed:
        await yield_now()
    first, second = (pair[0] for pair in pairs)
    # Calls into C that keep the interpreter's lock: nobody else runs Python meanwhile.
    library = ctypes.PyDLL(None)
    library.write(first.fileno(), b"x" * 1000, 1000)
    room = ctypes.create_string_buffer(2000)
    seen = 0
    while seen < 1000:
        seen += library.read(second.fileno(), room, 2000)
    first.close(), second.close()
    assert await task == (1000, 0)

run(main(), hand_off=False)
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


# ---- ends -----------------------------------------------------------------------------------


def test_silence_ends_a_relay() -> None:
    async def main() -> None:
        outer, other, task = await joined(idle_seconds=0.02)
        began = runtime.now_ns()
        await outer.send_all(b"x")
        with pytest.raises(TimeoutError, match="after 1 and 0 bytes"):
            await task
        assert runtime.now_ns() >= began + 20_000_000
        assert await other.receive() == b"x"
        assert await other.receive() == b""
        assert runtime.stats()["histograms"]["native_lateness"]["count"] >= 1
        outer.close()
        other.close()

    run(main())


def test_a_reset_ends_both_sides_and_is_raised() -> None:
    async def main() -> None:
        outer, inner = await tcp_pair()
        other_outer, other_inner = await tcp_pair()

        async def relayed() -> tuple[int, int]:
            return await relay(inner, other_inner)

        task = go(relayed())
        await until(lambda: inner.is_closed)
        lent = socket.socket(fileno=os.dup(outer.fileno()))
        lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        outer.close()
        lent.close()
        with pytest.raises(ConnectionResetError, match="relay"):
            await task
        assert await other_outer.receive() == b""
        other_outer.close()

    run(main())


def test_a_cancelled_relay_closes_both_connections() -> None:
    async def main() -> None:
        for limits in ({}, {"idle_seconds": 3600.0}):
            outer, other, task = await joined(**limits)
            assert task.waits_for == "the end of a relay"
            assert "the end of a relay" in dump()
            task.cancel()
            with pytest.raises(Cancelled):
                await task
            assert await outer.receive() == b""
            assert await other.receive() == b""
            await until(lambda: runtime.stats()["native"]["tasks"] == 0)
            outer.close()
            other.close()

    run(main())


def test_an_awaitable_that_is_dropped_before_it_is_awaited_takes_nothing_over() -> None:
    async def main() -> None:
        outer, inner = unix_pair()
        other_outer, other_inner = unix_pair()
        relay(inner, other_inner)
        await outer.send_all(b"x")
        assert await inner.receive() == b"x"
        for connection in (outer, inner, other_outer, other_inner):
            connection.close()

    run(main())


def test_the_end_of_main_ends_relays_and_their_threads() -> None:
    async def main() -> None:
        outer, other, _ = await joined(idle_seconds=3600.0)
        assert runtime.stats()["native"]["workers"] > 0
        outer.close()
        kept.append(other)

    kept: list[Connection] = []
    run(main())
    assert not any(name.startswith("herz-native-") for name in threads())
    kept.pop().close()


def threads() -> list[str]:
    """The names of this process's threads, as the kernel knows them."""
    names = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            names.append((thread / "comm").read_text(encoding="ascii").strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return names


def test_a_relay_is_no_deadlock_and_what_follows_its_end_is() -> None:
    async def main() -> None:
        outer, other, task = await joined()
        stuck = go(never())
        outer.close()
        other.close()
        await task
        await stuck

    async def never() -> None:
        await Event().wait()

    with pytest.raises(Deadlock):
        run(main())


def test_several_runtimes_relay_beside_each_other() -> None:
    def one() -> None:
        async def main() -> None:
            for _ in range(20):
                outer, other, task = await joined()
                await outer.send_all(b"x" * 100)
                assert await other.receive_exactly(100) == b"x" * 100
                outer.close()
                other.close()
                assert await task == (100, 0)

        run(main(), processors=2)
        done.append(True)

    done: list[bool] = []
    workers = [threading.Thread(target=one) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert done == [True] * 3


FORKS = """
import gc, socket

def pair():
    return map(Connection.from_socket, socket.socketpair())

async def relayed():
    (outer, one), (other_outer, other) = pair(), pair()
    async def both():
        return await relay(one, other, idle_seconds=60)
    task = go(both())
    while not one.is_closed:
        await yield_now()
    return outer, other_outer, task

async def passes(outer, other):
    await outer.send_all(b"x")
    assert await other.receive() == b"x"

async def main(must_fork):
    outer, other, task = await relayed()
    await passes(outer, other)
    if must_fork:
        global child
        child = os.fork()
        if child == 0:
            return
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    await passes(outer, other)
    outer.close(), other.close()
    assert await task == (2, 0)

child = None
try:
    run(main(True))
except RuntimeError as error:
    assert child == 0 and "forked" in str(error), error
    gc.collect()
    run(main(False))
    sys.exit(5)
print("done")
"""


def test_the_child_of_a_fork_leaves_relays_alone_and_may_have_its_own() -> None:
    done = play(FORKS)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


# ---- bad input ------------------------------------------------------------------------------


def test_what_cannot_be_joined_is_refused() -> None:
    async def main() -> None:
        outer, inner = unix_pair()
        other_outer, other_inner = unix_pair()
        with pytest.raises(ValueError, match="the same one"):
            relay(inner, inner)
        for seconds in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match="idle_seconds"):
                relay(inner, other_inner, idle_seconds=seconds)
        with pytest.raises(TypeError):
            relay(inner, 5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="descriptor"):
            select(relay(inner, other_inner))

        async def receive() -> bytes:
            return await inner.receive()

        receiving = go(receive())
        await yield_now()
        with pytest.raises(RuntimeError, match="another task uses this connection"):
            await relay(inner, other_inner)
        await outer.send_all(b"x")
        assert await receiving == b"x"
        other_inner.close()
        with pytest.raises(Closed):
            await relay(inner, other_inner)
        assert not inner.is_closed, "one that cannot be joined is left as it was"
        for connection in (outer, inner, other_outer):
            connection.close()

    run(main())


def test_connections_of_another_runtime_are_refused() -> None:
    kept: list[Connection] = []
    done: list[None] = []

    async def first() -> None:
        kept.extend(unix_pair())

        async def inner() -> None:
            with pytest.raises(RuntimeError, match="another herz runtime"):
                await relay(*kept)

        def elsewhere() -> None:
            thread = threading.Thread(target=lambda: done.append(run(inner())))
            thread.start()
            thread.join()

        await go(elsewhere)
        while kept:
            kept.pop().close()

    run(first())
    assert done == [None]


# ---- seeing inside --------------------------------------------------------------------------


def test_without_native_tasks_there_are_no_threads_for_them() -> None:
    async def main() -> runtime.Stats:
        await sleep(0.001)
        assert not any(name.startswith("herz-native-") for name in threads())
        return runtime.stats()

    cpus = len(os.sched_getaffinity(0))
    stats = run(main())
    assert 1 <= stats["native"]["processors"] <= cpus
    assert stats["native"]["workers"] == 0


def test_schedtrace_shows_each_processor() -> None:
    code = """
from herz.runtime import Connection, go, relay, run, sleep
import socket

async def main():
    pairs = [socket.socketpair(), socket.socketpair()]
    ends = [Connection.from_socket(pair[1]) for pair in pairs]
    outer = [Connection.from_socket(pair[0]) for pair in pairs]
    async def relayed():
        return await relay(*ends)
    task = go(relayed())
    for _ in range(20):
        await sleep(0.01)
        await outer[0].send_all(b"x")
        await outer[1].receive()
    outer[0].close(), outer[1].close()
    await task

run(main(), processors=3, schedtrace_ms=20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    form = (
        r"SCHED \d+ms: gomaxprocs=4 idleprocs=(\d) threads=\d+ spinningthreads=\d needspinning=0 "
        r"idlethreads=\d+ runqueue=\d+ \[ (?:\d+ ){4}\] schedticks=\[ (\d+) (\d+) (\d+) (\d+) \]"
    )
    lines = [re.fullmatch(form, line) for line in done.stderr.splitlines()]
    assert lines
    assert all(lines)
    last = lines[-1]
    assert last is not None
    assert int(last[1]) <= 4
    assert sum(int(ticks) for ticks in last.groups()[2:]) > 0


def test_a_trace_shows_native_steps_on_tracks_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        outer, other, task = await joined()
        with trace(tmp_path / "trace.json"):
            for _ in range(200):
                await outer.send_all(b"x")
                await other.receive()
        outer.close()
        other.close()
        await task
        histograms = runtime.stats()["histograms"]
        assert histograms["native_step"]["count"] > 0

    run(main(), processors=2)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    steps = [e for e in events if e["name"] == "native task"]
    assert steps
    assert {names[step["tid"]].rsplit(" ", 1)[0] for step in steps} == {"native worker"}


def test_asyncio_beside_it_is_left_alone() -> None:
    async def main() -> None:
        outer, other, task = await joined()
        await outer.send_all(b"x")
        assert await runtime.run_asyncio(asyncio.sleep(0, 5)) == 5
        assert await other.receive() == b"x"
        outer.close()
        other.close()
        await task

    run(main())


def test_what_loads_native_processors_counts_all_that_it_started() -> None:
    figures, steps = _native.measure_load(2, 5_000, 10, 80, 1)
    # The tasks, and the steps of those that start them: 50 each.
    assert sum(steps) == 5_000 + 4_000 // 50 + 1_000 // 50
    assert 0 < figures["local_hits"] <= 1
    crowd = _native.measure_crowd(2, 2_000, 10, 1)
    assert crowd["pushes"] == 2_000
    assert 0 < crowd["p50_ns"] <= crowd["p99_ns"]
    assert all(value > 0 for value in _native.measure_switches(1))
    for call in (
        lambda: _native.measure_load(0, 1, 1, 50, 1),
        lambda: _native.measure_load(1, 1, 1, 101, 1),
        lambda: _native.measure_crowd(0, 1, 1, 1),
        lambda: _native.measure_switches(0),
        lambda: _native.measure_switch(0, 1),
    ):
        with pytest.raises(ValueError, match=r"processor|share|round|step"):
            call()
