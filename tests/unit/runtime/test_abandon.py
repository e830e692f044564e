"""Calls that nobody waits for once their task was cancelled; and those that are waited for."""

from __future__ import annotations

import gc
import os
import threading

import pytest

from herz import runtime
from herz.runtime import Cancelled, TaskGroup, deadline, go, run, sleep, yield_now
from tests.support.program import play


class Call:
    """A call that blocks until somebody frees it, and notes that it ended."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.has_begun, self.has_ended = threading.Event(), threading.Event()

    def block(self) -> str:
        self.has_begun.set()
        os.read(self.reader, 1)
        self.has_ended.set()
        return "a result that nobody wants"

    async def step(self) -> str:
        return self.block()

    def free(self) -> None:
        os.write(self.writer, b"x")

    def end(self) -> None:
        self.free()
        assert self.has_ended.wait(20)
        os.close(self.reader)
        os.close(self.writer)


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await sleep(0.000_1)


def test_a_function_is_left_at_its_cancellation() -> None:
    call = Call()

    async def main() -> None:
        task = go(call.block, abandon=True)
        await until(call.has_begun)
        assert not task.done()
        task.cancel()
        with pytest.raises(Cancelled):
            await task
        assert not call.has_ended.is_set()

    run(main())
    assert not call.has_ended.is_set()
    call.end()


@pytest.mark.parametrize("is_detached_first", [True, False])
def test_a_detached_step_is_left_at_its_cancellation(is_detached_first: bool) -> None:
    call = Call()
    after = []

    async def step() -> None:
        try:
            call.block()
            await yield_now()
            after.append("went on")
        except Cancelled:
            after.append("cancelled")
            raise
        finally:
            after.append("tidied up")

    async def main() -> None:
        task = go(step(), abandon=True)
        if not is_detached_first:
            task.cancel()
            # Heard before its first await: by the hand-off that its step then needs.
        await until(call.has_begun)
        if is_detached_first:
            while runtime.stats()["detached"] == 0:
                await sleep(0.000_1)
            task.cancel()
        with pytest.raises(Cancelled):
            await task
        assert not call.has_ended.is_set()
        call.free()
        while runtime.stats()["detached"]:
            await sleep(0.000_1)
        assert after == ["cancelled", "tidied up"]

    run(main())
    call.end()


def test_a_function_that_no_thread_has_begun_is_left_at_once() -> None:
    call = Call()
    begun: list[int] = []

    def begin() -> None:
        begun.append(1)

    async def main() -> None:
        held = go(call.block)
        late = go(begin, abandon=True)
        late.cancel()
        with pytest.raises(Cancelled):
            await late
        call.free()
        await held

    run(main(), max_workers=2)
    assert begun == []
    call.end()


def test_a_group_waits_for_its_calls_or_leaves_them() -> None:
    calls = Call(), Call()

    async def main() -> str:
        try:
            async with TaskGroup() as group:
                group.go(calls[0].block)
                group.go(calls[1].block, abandon=True)
                await until(calls[0].has_begun)
                await until(calls[1].has_begun)
                go(free_later())
                raise LookupError("the block fails")
        except BaseExceptionGroup as errors:
            return repr(errors.exceptions)
        return ""

    async def free_later() -> None:
        await sleep(0.01)
        calls[0].free()

    assert "LookupError" in run(main())
    assert calls[0].has_ended.is_set()
    assert not calls[1].has_ended.is_set()
    for call in calls:
        call.end()


def test_a_deadline_is_kept_where_the_call_is_left() -> None:
    call = Call()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with deadline(0.01), TaskGroup() as group:
                group.go(call.block, abandon=True)

    run(main())
    assert not call.has_ended.is_set()
    call.end()


def test_a_call_on_the_thread_of_run_is_interrupted_when_nothing_else_is_left() -> None:
    call = Call()

    async def main() -> None:
        task = go(call.step(), abandon=True, pinned=True)
        await until(call.has_begun)
        task.cancel()
        with pytest.raises(Cancelled):
            await task

    run(main())
    assert not call.has_ended.is_set()
    os.close(call.reader)
    os.close(call.writer)


def test_what_ends_by_itself_is_awaited_like_any_task() -> None:
    async def child() -> int:
        await yield_now()
        return 5

    async def main() -> tuple[int, int]:
        return await go(child(), abandon=True), await go(int, "6", abandon=True)

    assert run(main()) == (5, 6)


def test_a_call_that_ends_while_it_is_left_ends_once() -> None:
    """A collection that runs inside `cancel` lets the call's own thread go first."""
    call = Call()
    is_armed = [False]

    def collected(phase: str, info: dict[str, int]) -> None:
        if is_armed[0]:
            is_armed[0] = False
            call.free()
            while not tasks[0].done():
                threading.Event().wait(0.001)

    tasks: list[runtime.Task[str]] = []
    thresholds = gc.get_threshold()

    async def main() -> str:
        tasks.append(go(call.block, abandon=True))
        await until(call.has_begun)
        is_armed[0] = True
        gc.set_threshold(1, 1, 1)
        tasks[0].cancel()
        gc.set_threshold(*thresholds)
        assert not is_armed[0]
        await yield_now()
        return await tasks[0]

    gc.callbacks.append(collected)
    try:
        # A task that ended twice would be counted twice, and end the run before main.
        assert run(main()).startswith("a result")
    finally:
        gc.callbacks.remove(collected)
        gc.set_threshold(*thresholds)
    call.end()


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", ["default_int_handler", "SIG_IGN", "SIG_DFL", "print"])
def test_a_run_ends_without_the_call_and_without_a_word(interrupt: str) -> None:
    """Whatever Ctrl-C does: a shell lets what it starts in the background ignore it."""
    done = play(
        f"""
        import signal
        signal.signal(signal.SIGINT, {"print" if interrupt == "print" else f"signal.{interrupt}"})
        reader, writer = os.pipe()
        async def step():
            os.read(reader, 1)
        async def main():
            go(os.read, reader, 1, abandon=True)
            go(step(), abandon=True)
            while stats()["detached"] == 0:
                await sleep(0.001)
        run(main(), grace_ns=60_000_000_000)
        sys.exit(7)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


@pytest.mark.slow
def test_out_of_band_data_stays_the_programs() -> None:
    """SIGURG tells of it, and also ends the call: neither takes the other for itself."""
    done = play(
        """
        import signal
        told = []
        signal.signal(signal.SIGURG, lambda number, _: told.append(number))
        reader, writer = os.pipe()
        async def step():
            os.read(reader, 1)
        async def main():
            os.kill(os.getpid(), signal.SIGURG)
            while not told:
                await sleep(0.001)
            go(step(), abandon=True)
            while stats()["detached"] == 0:
                await sleep(0.001)
        run(main(), grace_ns=1_000_000)
        os.kill(os.getpid(), signal.SIGURG)
        sys.exit(7 if told == [signal.SIGURG] * 2 else f"{told}")
        """
    )
    assert (done.returncode, done.stderr) == (7, "")
