"""`run_virtual`: time that jumps, and an order of steps that a seed repeats byte for byte."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from herz.runtime import (
    Cancelled,
    Channel,
    Deadlock,
    Portal,
    TaskGroup,
    Timer,
    connect_tcp,
    deadline,
    go,
    go_map,
    listen_tcp,
    lock_thread,
    now_ns,
    run,
    run_virtual,
    select,
    shield,
    sleep,
    stats,
    wait_readable,
    yield_now,
)

SECOND = 1_000_000_000


def test_days_pass_at_once_and_to_the_nanosecond() -> None:
    async def main() -> list[int]:
        times = [now_ns()]
        for seconds in (0.001, 1, 3600, 86_400 * 100, 1e-9):
            await sleep(seconds)
            times.append(now_ns())
        return times

    began = time.monotonic()
    times = run_virtual(main())
    assert time.monotonic() - began < 10
    steps = [b - a for a, b in pairwise(times)]
    assert times[0] == 0
    assert steps == [1_000_000, SECOND, 3600 * SECOND, 8_640_000 * SECOND, 1]


def test_time_stands_still_while_anything_runs() -> None:
    async def main() -> None:
        fired: list[int] = []
        Timer(0.001, fired.append, 1)
        for _ in range(2_000):
            await yield_now()
        time.sleep(0.005)
        await go(time.sleep, 0.005)
        assert await go(now_ns) == 0
        assert (now_ns(), fired) == (0, [])
        await sleep(1)
        assert (now_ns(), fired) == (SECOND, [1])

    run_virtual(main())


def test_functions_run_on_the_calling_thread_as_one_step() -> None:
    async def main() -> None:
        thread = threading.get_ident()
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        def note() -> int:
            order.append("function")
            return threading.get_ident()

        function = go(note)
        go(other())
        assert await function == thread
        await yield_now()
        assert order == ["function", "other"]
        with pytest.raises(ZeroDivisionError):
            await go(lambda: 1 // 0)
        cancelled = go(order.append, "never")
        cancelled.cancel()
        with pytest.raises(Cancelled):
            await cancelled
        assert stats()["workers"] == 1

    run_virtual(main())
    assert run_virtual(now_ns) == 0


SCENE = """
import sys
from herz.runtime import *

log = []

async def worker(name, channel, done):
    for turn in range(4):
        index, value = await select(channel.receive(), channel.send((name, turn)), sleep(1.5))
        log.append(f"{now_ns()} {name} {turn} {index} {value}")
        await sleep(0.5) if turn % 2 else await yield_now()

async def fail():
    await sleep(2)
    raise ValueError("x")

async def main():
    channel, done = Channel(1), Event()
    Timer(1, lambda: log.append(f"{now_ns()} timer"))
    try:
        async with TaskGroup() as group:
            for name in "abcdefg":
                group.go(worker(name, channel, done))
            group.go(fail())
            group.go(lambda: log.append("function"))
    except* ValueError:
        log.append("failed")

run_virtual(main(), seed=int(sys.argv[1]))
sys.stdout.write("\\n".join(log))
"""


def scene(seed: int, hash_seed: str) -> bytes:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", SCENE, str(seed)]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout


def test_a_seed_repeats_the_order_of_steps_byte_for_byte_in_any_process() -> None:
    first = scene(7, "0")
    assert len(first.splitlines()) > 10
    assert first == scene(7, "1") == scene(7, "random")
    assert scene(8, "0") != first


def test_seeds_explore_races() -> None:
    def outcome(seed: int | None) -> int:
        async def main() -> int:
            count = 0

            async def add() -> None:
                nonlocal count
                before = count
                await yield_now()
                count = before + 1

            for task in [go(add()) for _ in range(3)]:
                await task
            return count

        return run_virtual(main(), seed=seed)

    found = [outcome(seed) for seed in range(60)]
    assert {1, 2} <= set(found)
    assert found == [outcome(seed) for seed in range(60)]
    assert outcome(None) == 1


def test_without_a_seed_tasks_run_in_the_order_in_which_they_became_runnable() -> None:
    async def main() -> list[int]:
        order: list[int] = []

        async def note(number: int) -> None:
            order.append(number)

        tasks = [go(note(number)) for number in range(100)]
        for task in tasks:
            await task
        return order

    assert run_virtual(main()) == list(range(100))
    drawn = run_virtual(main(), seed=1)
    assert sorted(drawn) == list(range(100)) != drawn


def test_timers_of_one_time_come_in_the_order_in_which_they_were_made() -> None:
    async def main() -> list[int]:
        order: list[int] = []
        for number in range(1_000):
            Timer(5, order.append, number)
        await sleep(6)
        return order

    assert run_virtual(main()) == list(range(1_000))


def test_scopes_keep_virtual_time() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with deadline(3600):
                await Channel[int]().receive()
        assert now_ns() == 3600 * SECOND
        async with TaskGroup() as group:
            group.go(sleep_for(5))
            group.go(sleep_for(50))
        assert now_ns() == 3650 * SECOND

    async def sleep_for(seconds: float) -> None:
        await sleep(seconds)

    run_virtual(main())


def test_a_deadlock_is_found_and_the_grace_is_virtual() -> None:
    async def stuck() -> None:
        await Channel[int]().receive()

    with pytest.raises(Deadlock, match=r"a value of Channel\(0\)"):
        run_virtual(stuck())

    ticks: list[int] = []

    async def stubborn() -> None:
        with shield():
            while True:
                await sleep(1)
                ticks.append(now_ns())

    async def main() -> str:
        go(stubborn())
        await sleep(0.5)
        return "done"

    assert run_virtual(main(), grace_ns=10 * SECOND) == "done"
    assert len(ticks) == 10


def test_what_has_no_place_in_virtual_time_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="no portal"):
            Portal()
        with pytest.raises(RuntimeError, match="inside a runtime"):
            run_virtual(lambda: 1)

    run_virtual(main())
    run(main_in_run())


def test_virtual_time_has_no_network() -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="cannot say what comes when"):
            await listen_tcp("127.0.0.1", 0)
        with pytest.raises(OSError, match="cannot say what comes when"):
            await connect_tcp("127.0.0.1", 1)
        one, other = socket.socketpair()
        with one, other, pytest.raises(OSError, match="cannot say what comes when"):
            await wait_readable(one)

    run_virtual(main())


def test_batches_pinned_functions_and_locked_threads_share_the_only_thread() -> None:
    async def main() -> tuple[list[int], int, int]:
        with lock_thread():
            other = go(sleep_a_second())
            await other
        return await go_map(abs, [-1, 2]), await go(sum, [1, 2], pinned=True), now_ns()

    async def sleep_a_second() -> None:
        await sleep(1)

    assert run_virtual(main()) == ([1, 2], 3, SECOND)


async def main_in_run() -> None:
    with pytest.raises(RuntimeError, match="inside a runtime"):
        run_virtual(lambda: 1)


@pytest.mark.parametrize(
    ("seed", "kind", "text"),
    [
        (-1, ValueError, "from 0 to"),
        (2**64, ValueError, "from 0 to"),
        (True, TypeError, "not bool"),
        ("1", TypeError, "not str"),
        (1.0, TypeError, "not float"),
    ],
)
def test_bad_seeds_are_refused_and_main_is_closed(
    seed: object, kind: type[Exception], text: str
) -> None:
    async def main() -> None:
        await select(default=True)

    coroutine = main()
    with pytest.raises(kind, match=text):
        run_virtual(coroutine, seed=seed)  # type: ignore[call-overload]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_an_interrupt_ends_a_virtual_run(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(
        "import os, signal\n"
        "from herz.runtime import run_virtual, sleep\n"
        "async def main():\n"
        "    for turn in range(10**9):\n"
        "        await sleep(3600)\n"
        "        if turn == 1000:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "try:\n"
        "    run_virtual(main())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n",
        encoding="ascii",
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"interrupted\n"), ended.stderr
