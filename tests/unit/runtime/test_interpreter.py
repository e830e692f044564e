"""What belongs to a thread of the interpreter, on every worker: hooks, tracing, stacks; cycles."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import pytest

from herz import runtime
from herz.runtime import Channel, Event, go, run, sleep, yield_now
from tests.support.program import play


class Worker:
    """Makes what is awaited inside run on a worker: the thread of `run` is inside a call."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    async def hold(self) -> None:
        os.read(self.reader, 1)

    async def __aenter__(self) -> None:
        self.held = go(self.hold(), pinned=True)
        while runtime.stats()["detached"] == 0:
            await sleep(0.000_1)
        assert threading.current_thread().name.startswith("herz-worker-")

    async def __aexit__(self, *error: object) -> None:
        os.write(self.writer, b"x")
        await self.held
        os.close(self.reader)
        os.close(self.writer)


async def numbers(ended: list[str], name: str) -> AsyncIterator[int]:
    try:
        for number in range(10):
            await yield_now()
            yield number
    finally:
        await sleep(0.000_1)  # what only a task can do
        ended.append(name)


def test_a_generator_that_was_dropped_is_closed_by_a_task() -> None:
    ended: list[str] = []

    async def begin(name: str) -> None:
        async for _ in numbers(ended, name):
            break

    async def main() -> None:
        await begin("on the thread of run")
        async with Worker():
            await begin("on a worker")
            while len(ended) < 2:
                await yield_now()

    run(main())
    assert sorted(ended) == ["on a worker", "on the thread of run"]


def test_generators_that_are_left_at_the_end_are_closed() -> None:
    ended: list[str] = []
    kept = []

    async def main() -> None:
        for name in ("one", "two"):
            generator = numbers(ended, name)
            kept.append(generator)
            assert await anext(generator) == 0

    before = sys.get_asyncgen_hooks()
    run(main())
    assert sorted(ended) == ["one", "two"]
    assert sys.get_asyncgen_hooks() == before


def test_coroutines_know_where_they_came_from_on_every_worker() -> None:
    async def nothing() -> None:
        pass

    def origin() -> Any:
        coroutine: Any = nothing()
        coroutine.close()
        return coroutine.cr_origin

    async def main() -> tuple[Any, Any]:
        own = await go(origin)
        async with Worker():
            return own, origin()

    assert run(main()) == (None, None)
    sys.set_coroutine_origin_tracking_depth(1)
    try:
        origins = run(main())
    finally:
        sys.set_coroutine_origin_tracking_depth(0)
    assert [origin[0][0] for origin in origins] == [__file__] * 2


@pytest.mark.parametrize("set_it", [threading.settrace, threading.setprofile])
def test_functions_on_workers_are_traced_and_profiled(
    set_it: Callable[[Any], None],
) -> None:
    seen = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        seen.add((frame.f_code.co_name, threading.current_thread().name[:11]))
        return trace

    def one() -> int:
        return 1

    async def main() -> tuple[object, ...]:
        assert await go(one) == 1
        async with Worker():
            one()
        return await go(tuple, (1, ()))

    set_it(trace)
    try:
        assert run(main()) == (1, ())
    finally:
        set_it(None)
    assert ("one", "herz-worker") in seen


def test_values_and_errors_pass_unchanged_between_traced_workers() -> None:
    values = [None, (), (1, 2), StopIteration(3), ValueError("a value"), 0]

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        return trace

    async def fail(error: BaseException) -> None:
        await yield_now()
        raise error

    async def main() -> list[object]:
        channel: Channel[object] = Channel()
        got: list[object] = []
        async with Worker():
            for value in values:
                task = go(send(channel, value))
                got.append(await channel.receive())
                await task
            error = KeyError("same")
            with pytest.raises(KeyError) as caught:
                await go(fail(error))
            assert caught.value is error
        return got

    async def send(channel: Channel[object], value: object) -> None:
        await channel.send(value)

    threading.settrace(trace)  # of the workers: the step that holds this thread must be detached
    try:
        got = run(main())
    finally:
        threading.settrace(None)
    assert len(got) == len(values)
    assert all(one is other for one, other in zip(got, values, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "at_least"), [("16384", 16 << 20), ("unlimited", 64 << 20)])
def test_workers_have_the_stack_of_the_main_thread(limit: str, at_least: int) -> None:
    done = play(
        """
        import ctypes, resource
        def size():
            # The mapping that holds a local of this thread's C stack.
            here = ctypes.c_void_p()
            library = ctypes.CDLL(None)
            attributes = ctypes.create_string_buffer(64)
            library.pthread_self.restype = ctypes.c_void_p
            library.pthread_getattr_np(ctypes.c_void_p(library.pthread_self()), attributes)
            bytes_ = ctypes.c_size_t()
            library.pthread_attr_getstacksize(attributes, ctypes.byref(bytes_))
            return bytes_.value
        async def main():
            return await go(size)
        text = sys.argv[1]
        soft = resource.RLIM_INFINITY if text == "unlimited" else int(text) * 1024
        resource.setrlimit(resource.RLIMIT_STACK, (soft, resource.RLIM_INFINITY))
        print(run(main()))
        threading.stack_size(1 << 20)  # what the program asks for is kept
        print(run(main()), threading.stack_size())
        """,
        limit,
    )
    assert done.returncode == 0, done.stderr
    first, second, kept = map(int, done.stdout.split())
    assert first >= at_least
    assert (second, kept) == (1 << 20, 1 << 20)


def test_a_million_cycles_of_tasks_and_frames_are_freed() -> None:
    class Thing:
        """Counts its own."""

        alive = made = 0

        def __init__(self) -> None:
            Thing.alive += 1
            Thing.made += 1

        def __del__(self) -> None:
            Thing.alive -= 1

    async def child(thing: Thing) -> None:
        task = runtime.current_task()
        await yield_now()
        assert task is runtime.current_task()  # the frame and the task hold each other

    async def fail(thing: Thing) -> None:
        task = runtime.current_task()
        try:
            raise LookupError(task)  # and so do the task, its error and the error's traceback
        finally:
            await yield_now()

    async def main() -> None:
        for _ in range(10_000):
            tasks = [go((child if number % 10 else fail)(Thing())) for number in range(100)]
            for number, task in enumerate(tasks):
                if number % 10 == 0:
                    with pytest.raises(LookupError):
                        await task
                else:
                    await task

    run(main())
    gc.collect()
    assert (Thing.made, Thing.alive) == (1_000_000, 0)
    assert not any(isinstance(each, runtime.Task) for each in gc.get_objects())


def test_finalizers_on_every_worker_may_call_back_into_the_runtime() -> None:
    calls: list[runtime.Task[int]] = []
    names: set[str] = set()

    def called() -> None:
        names.add(threading.current_thread().name[:11])
        calls.append(go(os.getpid))

    class Caller:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            called()

    def collected(phase: str, info: dict[str, int]) -> None:
        called()

    async def child(held: Caller) -> None:
        await yield_now()

    def function() -> None:
        watched.append(weakref.ref(Caller(), lambda _: called()))
        gc.collect()

    watched: list[weakref.ref[Caller]] = []

    async def main() -> None:
        gc.callbacks.append(collected)
        try:
            await go(function)
            await go(child(Caller()))
            async with Worker():
                await go(child(Caller()))
                gc.collect()
        finally:
            gc.callbacks.remove(collected)
        for call in list(calls):
            assert await call == os.getpid()

    run(main())
    assert "herz-worker" in names
    assert [ref() for ref in watched] == [None]


def test_what_c_keeps_for_a_thread_stays_for_a_whole_step() -> None:
    """Errno is a thread's: a step that is detached keeps it."""
    library = ctypes.CDLL(None, use_errno=True)

    async def step(event: Event) -> int:
        library.close(-1)
        event.set()
        os.read(reader, 1)
        return ctypes.get_errno()

    async def main() -> int:
        event = Event()
        task = go(step(event))
        await event.wait()
        library.getppid()
        os.write(writer, b"x")
        return await task

    reader, writer = os.pipe()
    assert run(main()) == 9
    os.close(reader)
    os.close(writer)
