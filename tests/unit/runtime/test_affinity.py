"""Tasks that keep their thread: locked, pinned to that of `run`, or under a trace function."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytest

from herz import _native, runtime
from herz.runtime import Channel, Event, go, lock_thread, run, sleep, yield_now

ident = threading.get_ident


class Pipe:
    """A step that reads from it blocks until somebody frees it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def block(self) -> None:
        assert os.read(self.reader, 1)

    def free(self) -> None:
        os.write(self.writer, b"x")

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


async def blocked(pipe: Pipe) -> int:
    """A step that loses its processor; where it ran."""
    pipe.block()
    return ident()


async def turn(times: int) -> set[int]:
    """The threads of so many steps."""
    seen = set()
    for _ in range(times):
        seen.add(ident())
        await yield_now()
    return seen


def test_a_locked_task_keeps_its_thread_and_has_it_for_itself() -> None:
    others: set[int] = set()

    async def locked() -> set[int]:
        own = set()
        with lock_thread():
            other = go(turn(20))
            for _ in range(20):
                own.add(ident())
                await sleep(0.000_1)
            others.update(await other)
            own.add(ident())
        return own

    async def main() -> set[int]:
        await yield_now()  # a thread is in reserve
        return await go(locked())

    assert run(main()) == {ident()}
    assert others
    assert ident() not in others


def test_a_task_that_locks_a_worker_stays_there_when_the_first_thread_comes_back() -> None:
    pipe = Pipe()

    async def locked(is_locked: Event, ends: Event) -> set[int]:
        with lock_thread():
            is_locked.set()
            seen = await turn(30)
            await ends.wait()
            return seen | await turn(3)

    async def main() -> tuple[set[int], set[int]]:
        is_locked, ends = Event(), Event()
        held = go(blocked(pipe))  # on this thread: the others go on on a worker
        keeping = go(locked(is_locked, ends))
        await is_locked.wait()
        pipe.free()
        assert await held == first
        free = await go(turn(30))
        ends.set()
        return free, await keeping

    first = ident()
    free, kept = run(main())
    assert len(kept) == 1
    assert kept != {first}
    assert not kept & free
    pipe.close()


def test_locks_nest_and_end_with_their_task() -> None:
    async def locked() -> None:
        with lock_thread():
            with lock_thread():
                await yield_now()
            await yield_now()
            assert not {ident()} & await go(turn(3))

    async def forgotten() -> None:
        runtime.current_task().lock_thread(1)

    async def main() -> set[int]:
        await yield_now()
        await go(locked())
        await go(forgotten())
        with pytest.raises(LookupError), lock_thread():
            raise LookupError
        return await go(turn(3))

    assert run(main()) == {ident()}


@pytest.mark.parametrize("hand_off", [True, False])
def test_without_another_thread_a_lock_stops_nobody(hand_off: bool) -> None:
    async def main() -> set[int]:
        with lock_thread():
            return await go(turn(5))

    assert run(main(), max_workers=1, hand_off=hand_off) == {ident()}


def test_a_lock_gets_a_thread_for_the_others_also_without_hand_off() -> None:
    async def main() -> set[int]:
        with lock_thread():
            return await go(turn(5))

    assert ident() not in run(main(), hand_off=False)


def test_a_function_has_its_thread_anyway() -> None:
    def function() -> bool:
        with lock_thread():
            return ident() == first

    async def main() -> bool:
        return await go(function)

    first = ident()
    assert run(main()) is False


def test_pinned_tasks_run_on_the_thread_of_run() -> None:
    pipe = Pipe()
    number = signal.SIGUSR1

    async def elsewhere(channel: Channel[set[int]]) -> None:
        assert ident() != first
        pinned = go(turn(10), pinned=True)
        # Only the main thread may do this.
        handler = go(signal.signal, number, signal.SIG_IGN, pinned=True)
        await yield_now()
        assert not pinned.done()  # that thread is still inside its call
        pipe.free()
        assert await handler == signal.SIG_DFL
        assert await go(signal.signal, number, signal.SIG_DFL, pinned=True) == signal.SIG_IGN
        await channel.send(await pinned)

    async def main() -> set[int]:
        channel: Channel[set[int]] = Channel()
        go(blocked(pipe))
        go(elsewhere(channel))
        return await channel.receive()

    first = ident()
    assert run(main()) == {first}
    pipe.close()


def test_a_pinned_step_that_blocks_is_detached_like_any_other() -> None:
    pipe = Pipe()

    async def free() -> int:
        pipe.free()
        return ident()

    async def main() -> tuple[int, int]:
        held = go(blocked(pipe), pinned=True)
        freeing = go(free())
        return await held, await freeing

    held, freeing = run(main())
    assert held == ident() != freeing
    pipe.close()


def test_a_pinned_function_raises_and_is_cancelled_like_a_task() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await go(divmod, 1, 0, pinned=True)
        cancelled = go(os.getpid, pinned=True)
        cancelled.cancel()
        with pytest.raises(runtime.Cancelled):
            await cancelled

    run(main())


# ---- trace functions -----------------------------------------------------------------------------


def trace(frame: FrameType, event: str, argument: object) -> Any:
    return trace


def test_a_step_under_a_trace_function_keeps_the_processor() -> None:
    pipe = Pipe()
    order: list[str] = []

    def free(native: Any) -> None:
        while not native.stats()["stalls"]:
            threading.Event().wait(0.001)
        order.append("stalled")
        pipe.free()

    async def other() -> None:
        order.append("other")

    async def main() -> runtime.Stats:
        thread = threading.Thread(target=free, args=(_native.current_runtime(),))
        before = sys.gettrace()
        sys.settrace(trace)
        sys._getframe().f_trace = trace  # as a debugger does that is called from inside
        thread.start()
        task = go(other())
        pipe.block()
        sys.settrace(before)
        stats = runtime.stats()
        thread.join()
        await task
        return stats

    stats = run(main())
    assert order == ["stalled", "other"]
    assert stats["hand_offs"] == stats["detached"] == 0
    pipe.close()


def test_a_traced_task_stays_on_its_thread_until_the_trace_ends() -> None:
    pipe = Pipe()

    async def traced(began: Event, ends: Event) -> tuple[set[int], str]:
        before = sys.gettrace()
        sys.settrace(trace)
        await yield_now()
        began.set()
        await ends.wait()
        own = {ident()} | await turn(10)
        sys.settrace(before)
        await yield_now()
        return own, threading.current_thread().name

    async def main() -> set[int]:
        began, ends = Event(), Event()
        held = go(blocked(pipe))  # the first thread is busy: the next one traces
        task = go(traced(began, ends))
        await began.wait()
        pipe.free()
        await held
        await go(turn(3))
        ends.set()
        return (await task)[0]

    first = ident()
    own = run(main())
    assert len(own) == 1
    assert own != {first}
    pipe.close()
