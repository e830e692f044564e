"""Where tasks are and what they wait for: states, reasons, stacks, dump, memory, histograms."""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from herz import runtime
from herz.runtime import (
    Cancelled,
    Channel,
    Event,
    Mutex,
    Semaphore,
    Task,
    Ticker,
    Timer,
    WaitGroup,
    go,
    run,
    run_virtual,
    select,
    sleep,
    wait_readable,
    yield_now,
)
from tests.support.net import unix_pair


def functions(task: Task[Any]) -> list[str]:
    """The names of the functions in a task's stack, outermost first."""
    return [frame.name for frame in runtime.stack(task)]


def burn_until(is_over: Callable[[], bool]) -> None:
    """Bytecode until something has come."""
    while not is_over():
        pass


def burn_for(ns: int) -> None:
    """Bytecode for so long."""
    until = time.monotonic_ns() + ns
    burn_until(lambda: time.monotonic_ns() >= until)


async def look_at(task: Task[Any]) -> str:
    """What the task waits for, once it does."""
    while task.waits_for is None:
        await yield_now()
    text = task.waits_for
    assert task.state == f"waits for {text}"
    return text


def test_each_wait_is_named_by_what_is_waited_for() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(0)
        wide: Channel[int] = Channel(3)
        event, group, semaphore = Event(), WaitGroup(), Semaphore(2)
        group.add(4)

        async def receive() -> None:
            await channel.receive()

        async def iterate() -> None:
            async for _ in wide:
                pass

        sent: Channel[int] = Channel(0)

        async def pause() -> None:
            await sleep(2.5)

        async def send() -> None:
            await sent.send(1)

        async def join() -> None:
            await paused

        async def acquire() -> None:
            await semaphore.acquire()

        async def wait(what: Event | WaitGroup) -> None:
            await what.wait()

        await semaphore.acquire()
        await semaphore.acquire()
        paused = go(pause(), name="the pause")
        expected = {
            go(receive()): r"a value of Channel\(0\) at 0x[0-9a-f]+",
            go(iterate()): r"a value of Channel\(3\) at 0x[0-9a-f]+",
            go(send()): r"a receiver of Channel\(0\) at 0x[0-9a-f]+",
            paused: r"a timer of 2\.5 s",
            go(join()): "the task the pause",
            go(acquire()): r"a permit of Semaphore at 0x[0-9a-f]+",
            go(wait(event)): r"an event or a wait group \(1 missing\)",
            go(wait(group)): r"an event or a wait group \(4 missing\)",
        }
        for task, pattern in expected.items():
            assert re.fullmatch(pattern, await look_at(task)), task
            task.cancel()

    run(main())


def test_waits_for_descriptors_and_timers_and_one_of_several_are_named() -> None:
    async def wait(what: Awaitable[object]) -> None:
        await what

    async def main() -> None:
        one, other = unix_pair()
        reader, writer = os.pipe()
        never: Channel[int] = Channel(0)
        several = select(never.receive(), sleep(60), never.send(1))
        async with one, other:
            expected = {
                go(wait(one.receive())): r"bytes of a connection \(descriptor \d+\)",
                go(wait(wait_readable(reader))): rf"a descriptor \({reader}, to be readable\)",
                go(wait(Timer(60).receive())): r"a tick of a timer \(Channel\(1\) at 0x[0-9a-f]+\)",
                go(
                    wait(Ticker(60).receive())
                ): r"a tick of a timer \(Channel\(1\) at 0x[0-9a-f]+\)",
                go(wait(several)): (
                    r"one of several: a value of Channel\(0\) at 0x[0-9a-f]+; "
                    r"or a timer of 60 s; or a receiver of Channel\(0\) at 0x[0-9a-f]+"
                ),
            }
            for task, pattern in expected.items():
                assert re.fullmatch(pattern, await look_at(task)), task.waits_for
                task.cancel()
                with pytest.raises(Cancelled):
                    await task
        os.close(reader)
        os.close(writer)

    run(main())


def test_a_mutex_that_a_select_took_names_its_holder() -> None:
    async def main() -> None:
        mutex, end = Mutex(), Event()

        async def hold() -> None:
            index, _ = await select(mutex.acquire(), sleep(60))
            assert index == 0
            await end.wait()
            mutex.release()

        async def want() -> None:
            async with mutex:
                pass

        # The first finds it free, the second is handed it.
        holding = [go(hold(), name="first"), go(hold(), name="second")]
        for task in holding:
            await look_at(task)
        wanting = go(want())
        assert (await look_at(wanting)).endswith("held by first")
        mutex.release()
        assert str(wanting.waits_for).endswith("held by second")
        holding[0].cancel()
        end.set()
        await holding[1]
        await wanting

    run(main())


def test_ages_are_of_the_runtime_s_own_clock() -> None:
    async def main() -> tuple[int, int | None]:
        await sleep(5)
        waiting = go(sleep_for(3600))
        await sleep(60)
        ages = waiting.age_ns, waiting.waited_ns
        waiting.cancel()
        return ages

    async def sleep_for(seconds: float) -> None:
        await sleep(seconds)

    assert run_virtual(main()) == (60_000_000_000, 60_000_000_000)


def test_a_wait_for_a_mutex_names_its_holder_and_the_next_one() -> None:
    async def main() -> None:
        mutex = Mutex()
        ends = {"first": Event(), "second": Event()}

        async def hold(name: str) -> None:
            async with mutex:
                await ends[name].wait()

        async def want() -> None:
            async with mutex:
                pass

        first = go(hold("first"), name="first")
        await look_at(first)
        second = go(hold("second"), name="second")
        wanting = go(want())
        for task in (second, wanting):
            assert (await look_at(task)).endswith("held by first")
        ends["first"].set()
        await first
        while "event" not in str(second.waits_for):
            await yield_now()
        assert str(wanting.waits_for).endswith("held by second")
        ends["second"].set()
        await second
        await wanting
        assert wanting.waits_for is None

    run(main())


def test_the_stack_of_a_suspended_task_is_its_await_chain() -> None:
    async def main() -> None:
        async def numbers() -> AsyncIterator[int]:
            yield 1
            await innermost()

        async def innermost() -> None:
            await sleep(3600)

        async def middle() -> None:
            async for _ in numbers():
                pass

        class Through:
            def __await__(self) -> Any:
                return (yield from middle().__await__())

        async def around() -> None:
            await Through()

        chained = go(around())
        await look_at(chained)
        expected = ["around", "__await__", "middle", "numbers", "innermost"]
        assert functions(chained) == expected
        assert chained.waits_for == "a timer of 3600 s"
        chained.cancel()

    run(main())


def test_the_stack_of_a_task_that_asks_for_its_own() -> None:
    async def main() -> list[str]:
        async def inner() -> list[str]:
            return functions(runtime.current_task())

        return await inner()

    assert run(main()) == ["main", "inner", "functions"]


def test_a_detached_step_and_a_function_are_seen_where_they_are() -> None:
    reader, writer = os.pipe()

    def read() -> bytes:
        return os.read(reader, 1)

    async def blocked() -> bytes:
        return read()

    async def main() -> None:
        step = go(blocked())
        function = go(read)
        await yield_now()
        while functions(function) != ["read"] or step.state != "detached":
            await yield_now()
        assert functions(step) == ["blocked", "read"]
        assert function.state == "runs a function"
        assert step.waits_for is None
        assert step.waited_ns is None
        text = runtime.dump()
        assert re.search(r"task-2 \S*blocked \[detached; started", text)
        assert "return os.read(reader, 1)" in text
        os.write(writer, b"xy")
        await step
        await function
        assert functions(step) == []
        assert functions(function) == []

    run(main())
    os.close(reader)
    os.close(writer)


def test_a_step_that_burns_is_seen_in_the_frame_in_which_it_burns() -> None:
    async def main() -> None:
        over: list[int] = []

        async def burn() -> None:
            burn_until(lambda: bool(over))

        burning = go(burn())
        await yield_now()
        assert functions(burning)[:2] == ["burn", "burn_until"]
        over.append(1)
        await burning

    run(main())


def test_the_dump_has_every_task_once_and_counts_the_rest() -> None:
    async def main() -> None:
        tasks = [go(sleep_long(), name=f"sleeper {number}") for number in range(20)]
        await look_at(tasks[-1])
        text = runtime.dump()
        for task in tasks:
            assert text.count(f"task-{task.id} {task.name} ") == 1
        assert text.index("main [running") < text.index("sleeper 0")
        assert "and 15 more tasks" in runtime.dump(most=6)
        for task in tasks:
            task.cancel()

    run(main())


async def sleep_long() -> None:
    await sleep(3600)


def test_ages_grow_while_a_task_waits() -> None:
    async def main() -> None:
        task = go(sleep_long())
        await look_at(task)
        before, waited = task.age_ns, task.waited_ns
        await sleep(0.02)
        assert waited is not None
        assert task.waited_ns is not None
        # An age is kept in milliseconds, the start of a wait as of the last look at the clock.
        assert task.age_ns - before >= 19_000_000
        assert task.waited_ns - waited >= 19_000_000
        assert task.age_ns < 60_000_000_000
        task.cancel()

    run(main())


def test_the_memory_of_a_task_grows_with_the_depth_of_its_await_chain() -> None:
    async def nest(depth: int) -> None:
        if depth:
            await nest(depth - 1)
        else:
            await sleep(3600)

    async def main() -> None:
        tasks = [go(nest(depth)) for depth in (0, 10)]
        for task in tasks:
            await look_at(task)
        flat, deep = (runtime.memory(task) for task in tasks)
        assert flat[0].function == "(task)"
        assert len(deep) == len(flat) + 10
        sizes = {link.bytes for link in deep if link.function.endswith("nest")}
        assert len(sizes) == 1, "each level has the same frame"
        assert deep[-1].total_bytes - flat[-1].total_bytes == 10 * sizes.pop()
        assert deep[-1].total_bytes == sum(link.bytes for link in deep)
        for task in tasks:
            task.cancel()

    run(main())


def test_looking_keeps_no_task_and_no_frame_alive() -> None:
    class Witness:
        pass

    async def main() -> None:
        gone = threading.Event()

        async def hold() -> None:
            witness = Witness()
            weakref_finalize(witness, gone.set)
            await sleep(3600)

        task = go(hold())
        await look_at(task)
        assert functions(task) == ["hold"]
        runtime.dump()
        task.cancel()
        del task
        while not gone.is_set():
            await yield_now()
            gc.collect()

    from weakref import finalize as weakref_finalize

    run(main())


# ---- histograms --------------------------------------------------------------------------------


def test_histograms_count_timers_looks_and_about_one_step_of_64() -> None:
    async def main() -> runtime.Stats:
        async def turns() -> None:
            for _ in range(400):
                await yield_now()

        for task in [go(turns()) for _ in range(50)]:
            await task
        for _ in range(30):
            await sleep(0.000_1)
        return runtime.stats()

    # On a busy machine a step may seem to be blocked, and the hand-off would be seen, too.
    stats = run(main(), hand_off=False)
    histograms = stats["histograms"]
    assert histograms["lateness"]["count"] == stats["timers_fired"] == 30
    # After a wait for the kernel only the clock is left to be looked at.
    looks = stats["polls"] + stats["parks"]
    assert histograms["poll"]["count"] == histograms["queued"]["count"] == looks
    assert histograms["attach"]["count"] <= stats["parks"]
    sampled = histograms["step"]["count"]
    assert stats["steps"] / 64 * 0.6 < sampled < stats["steps"] / 64 * 1.6
    assert abs(histograms["switch"]["count"] - sampled) <= 40
    assert 0 < histograms["queued"]["max"] <= 51
    for summary in histograms.values():
        assert summary["p50"] <= summary["p90"] <= summary["p99"] <= summary["p999"]
        assert summary["p999"] <= summary["max"] <= summary["sum"]
    assert "hand_off" not in histograms, "nothing was handed off"


def test_a_step_s_length_is_in_its_histogram() -> None:
    async def main() -> runtime.Stats:
        for _ in range(400):
            burn_for(200_000)
            await yield_now()
        return runtime.stats()

    step = run(main(), hand_off=False)["histograms"]["step"]
    assert step["p50"] >= 200_000 * 0.93
    assert step["sum"] >= step["count"] * 200_000


def test_a_hand_off_is_in_its_histogram() -> None:
    async def main() -> runtime.Stats:
        over: list[int] = []

        async def burn() -> None:
            burn_until(lambda: bool(over))

        burning = go(burn())
        await yield_now()
        over.append(1)
        await burning
        return runtime.stats()

    stats = run(main())
    assert stats["histograms"]["hand_off"]["count"] == stats["hand_offs"] == 1
