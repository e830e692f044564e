"""Steps that last too long: the processor moves, and the step ends beside the other tasks."""

from __future__ import annotations

import os
import signal
import sys
import threading

from herz import runtime
from herz._native import Runtime, current_runtime
from herz.runtime import Cancelled, go, run, sleep, yield_now


def test_a_task_blocked_in_a_read_is_freed_by_another_task() -> None:
    reader, writer = os.pipe()

    async def block() -> bytes:
        return os.read(reader, 1)

    async def free() -> None:
        os.write(writer, b"x")

    async def main() -> bytes:
        blocked = go(block())
        go(free())
        return await blocked

    assert run(main()) == b"x"
    os.close(reader)
    os.close(writer)


def test_a_task_that_spins_on_a_flag_is_freed_by_another_task() -> None:
    flag: list[int] = []

    async def spin() -> int:
        turns = 0
        while not flag:
            turns += 1
        return turns

    async def free() -> None:
        flag.append(1)

    async def main() -> int:
        spinning = go(spin())
        go(free())
        return await spinning

    before = sys.getswitchinterval()
    assert run(main()) > 0
    assert sys.getswitchinterval() == before


def test_main_may_end_in_a_detached_step_while_the_first_thread_has_the_processor() -> None:
    gates = [threading.Event() for _ in range(2)]
    mains: list[runtime.Task[str]] = []

    async def block() -> None:
        gates[0].wait()

    async def free() -> None:
        while mains[0].state != "detached":
            await sleep(0.000_1)
        # The thread of `run` is back and has the processor; it will wait when this task has ended.
        while threading.current_thread() is not threading.main_thread():
            await sleep(0.000_1)
        gates[1].set()

    async def main() -> str:
        mains.append(runtime.current_task())
        go(block())
        await yield_now()
        while threading.current_thread() is threading.main_thread():
            await sleep(0.000_1)
        go(free())
        gates[0].set()
        gates[1].wait()
        return "ended"

    assert run(main()) == "ended"


def test_many_blocked_tasks_each_lose_the_processor() -> None:
    pairs = [os.pipe() for _ in range(20)]

    async def block(reader: int) -> bytes:
        return os.read(reader, 1)

    async def free() -> None:
        for _, writer in pairs:
            os.write(writer, b"x")

    async def main() -> tuple[int, int]:
        blocked = [go(block(reader)) for reader, _ in pairs]
        go(free())
        for task in blocked:
            assert await task == b"x"
        while runtime.stats()["detached"]:
            # The last one's task has ended; its thread is on the way out of the step.
            await sleep(0.000_1)
        stats = runtime.stats()
        return stats["hand_offs"], stats["detached"]

    hand_offs, detached = run(main())
    assert hand_offs >= len(pairs)
    assert detached == 0
    for pair in pairs:
        os.close(pair[0])
        os.close(pair[1])


def test_a_lock_held_by_a_detached_task_costs_workers_and_nothing_else() -> None:
    lock = threading.Lock()
    reader, writer = os.pipe()
    order: list[int] = []

    async def hold() -> None:
        with lock:
            os.read(reader, 1)

    async def take(number: int) -> None:
        with lock:
            order.append(number)

    async def free() -> None:
        os.write(writer, b"x")

    async def main() -> None:
        tasks = [go(hold())] + [go(take(number)) for number in range(5)]
        go(free())
        for task in tasks:
            await task

    run(main())
    assert sorted(order) == list(range(5))
    os.close(reader)
    os.close(writer)


def test_a_detached_step_may_use_the_runtime() -> None:
    reader, writer = os.pipe()

    async def block() -> int:
        os.read(reader, 1)
        # Detached: these go through the global queue.
        tasks = [go(child(number)) for number in range(3)]
        total = sum([await task for task in tasks])
        await sleep(0.000_1)
        return total + await go(int, "4")

    async def child(number: int) -> int:
        await yield_now()
        return number

    async def main() -> int:
        blocked = go(block())
        go(free())
        return await blocked

    async def free() -> None:
        os.write(writer, b"x")

    assert run(main()) == 7
    os.close(reader)
    os.close(writer)


def test_without_hand_off_a_long_step_is_only_counted() -> None:
    async def main() -> runtime.Stats:
        go(child())
        threading.Event().wait(0.02)
        return runtime.stats()

    async def child() -> None:
        await yield_now()

    stats = run(main(), hand_off=False)
    assert stats["hand_offs"] == 0
    assert stats["stalls"] == 1


def test_a_step_with_nothing_waiting_keeps_the_processor() -> None:
    async def main() -> runtime.Stats:
        threading.Event().wait(0.02)
        return runtime.stats()

    stats = run(main())
    assert (stats["hand_offs"], stats["stalls"]) == (0, 0)


def test_timers_that_are_due_count_as_work() -> None:
    reader, writer = os.pipe()

    async def free() -> None:
        await sleep(0.003)
        os.write(writer, b"x")

    async def main() -> bytes:
        go(free())
        await yield_now()
        return os.read(reader, 1)

    assert run(main()) == b"x"
    os.close(reader)
    os.close(writer)


def test_each_thread_of_the_runtime_has_its_name_and_no_signals() -> None:
    reader, writer = os.pipe()
    seen: list[tuple[str, bool]] = []

    async def block() -> None:
        os.read(reader, 1)

    async def look() -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        seen.append((threading.current_thread().name, signal.SIGINT in blocked))
        os.write(writer, b"x")

    async def main() -> None:
        blocked = go(block())
        go(look())
        await blocked

    run(main())
    assert len(seen) == 1
    assert seen[0][0].startswith("herz-worker-")
    assert seen[0][1]
    os.close(reader)
    os.close(writer)


def test_a_context_that_a_detached_step_is_in_gives_a_clear_error() -> None:
    reader, writer = os.pipe()

    async def main() -> None:
        import contextvars

        def block() -> None:
            os.read(reader, 1)

        context = contextvars.copy_context()

        async def hold() -> None:
            context.run(block)

        async def enter() -> str:
            try:
                context.run(block)
            except RuntimeError as error:
                return str(error)
            finally:
                os.write(writer, b"x")
            return ""

        held = go(hold())
        other = go(enter())
        assert "already entered" in await other
        await held

    run(main())
    os.close(reader)
    os.close(writer)


def test_cancelled_is_no_exception_that_is_caught_by_accident() -> None:
    assert not issubclass(Cancelled, Exception)


def test_main_may_end_detached_while_the_first_worker_rests() -> None:
    first, second = os.pipe(), os.pipe()

    async def block(reader: int) -> None:
        os.read(reader, 1)

    def free(native: Runtime, parks: int) -> None:
        # The first worker has the processor again, has nothing to do, and waits.
        while not (native.stats()["detached"] and native.stats()["parks"] > parks):
            os.sched_yield()
        os.write(second[1], b"x")

    async def main() -> str:
        go(block(first[0]))
        await yield_now()
        native = current_runtime()
        # From here on a second worker runs main, which the first one takes the processor from.
        os.write(first[1], b"x")
        thread = threading.Thread(target=free, args=(native, native.stats()["parks"]))
        thread.start()
        os.read(second[0], 1)
        return "done"

    assert run(main()) == "done"
    for each in (*first, *second):
        os.close(each)
