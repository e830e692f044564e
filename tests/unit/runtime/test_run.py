"""`run`, `go`, `yield_now`, `sleep`: order, results, errors, context, what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz import _native, runtime
from herz.runtime import go, run, sleep, yield_now

Handler = Callable[["sys.UnraisableHookArgs"], None]


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What reaches the hook for unraisable errors."""
    seen: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))
    return seen


def test_run_gives_what_main_returns() -> None:
    async def main() -> str:
        return "done"

    assert run(main()) == "done"
    assert run(main) == "done"
    assert run(lambda: 5) == 5


def test_run_raises_what_main_raises() -> None:
    async def main() -> None:
        await yield_now()
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        run(main())


def test_tasks_take_turns_in_the_order_in_which_they_were_started() -> None:
    log = []

    async def child(number: int) -> None:
        for turn in range(3):
            log.append((turn, number))
            await yield_now()

    async def main() -> None:
        for task in [go(child(number)) for number in range(4)]:
            await task

    run(main())
    assert log == sorted(log)


@given(st.lists(st.lists(st.sampled_from(["yield", "spawn", "join"]), max_size=6), max_size=8))
@settings(max_examples=60)
def test_every_task_runs_to_its_end_exactly_once(programs: list[list[str]]) -> None:
    ended = []

    async def leaf(name: tuple[int, int]) -> None:
        await yield_now()
        ended.append(name)

    async def play(number: int, program: list[str]) -> int:
        children = []
        for at, act in enumerate(program):
            if act == "yield":
                await yield_now()
            else:
                children.append(go(leaf((number, at))))
                if act == "join":
                    await children[-1]
        for child in children:
            await child
        return number

    async def main() -> list[int]:
        tasks = [go(play(number, program)) for number, program in enumerate(programs)]
        return [await task for task in tasks]

    assert run(main()) == list(range(len(programs)))
    wanted = [(n, at) for n, p in enumerate(programs) for at, act in enumerate(p) if act != "yield"]
    assert sorted(ended) == sorted(wanted)


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=20))
@settings(max_examples=15)
def test_sleep_is_never_early(delays_ns: list[int]) -> None:
    async def child(delay_ns: int) -> None:
        began_ns = time.monotonic_ns()
        await sleep(delay_ns / 1e9)
        assert time.monotonic_ns() >= began_ns + delay_ns

    async def main() -> None:
        for task in [go(child(delay)) for delay in delays_ns]:
            await task

    run(main(), hand_off=False)


@pytest.mark.parametrize("value", [None, (), (1, 2), ValueError("a value"), StopIteration(3), 0])
@pytest.mark.parametrize("traced", [False, True])
def test_awaited_values_arrive_unchanged(value: object, traced: bool) -> None:
    async def child() -> object:
        await yield_now()
        return value

    async def main() -> tuple[object, object]:
        task = go(child())
        return await task, await task

    before = sys.gettrace()
    if traced:
        sys.settrace(lambda frame, event, argument: None)
    try:
        first, second = run(main())
    finally:
        sys.settrace(before)
    assert first is value
    assert second is value


def test_awaited_errors_are_the_same_object() -> None:
    error = KeyError("x")

    async def child() -> None:
        raise error

    async def main() -> None:
        task = go(child())
        for _ in range(2):
            with pytest.raises(KeyError) as caught:
                await task
            assert caught.value is error

    run(main())


def test_an_error_that_nobody_awaited_is_reported_once(
    unraisable: list[BaseException | None],
) -> None:
    async def child() -> None:
        raise LookupError("lost")

    async def main() -> None:
        task = go(child())
        await yield_now()
        await yield_now()
        assert task.done()

    run(main())
    gc.collect()
    assert [str(error) for error in unraisable] == ["lost"]


def test_it_is_reported_also_while_another_error_is_on_its_way(
    unraisable: list[BaseException | None],
) -> None:
    async def child() -> None:
        raise LookupError("lost")

    async def other() -> type:
        await yield_now()
        await yield_now()
        raise ValueError("mine")

    async def main() -> None:
        # The task is held by nothing but the call that is being made.
        with pytest.raises(ValueError, match="mine"):
            isinstance(go(child()), await other())

    run(main())
    assert [str(error) for error in unraisable] == ["lost"]


def test_a_task_has_a_context_of_its_own() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def child(value: int) -> tuple[int, int]:
        inherited = variable.get()
        variable.set(value)
        for _ in range(5):
            await yield_now()
        return inherited, variable.get()

    async def main() -> None:
        variable.set(7)
        tasks = [go(child(number)) for number in range(10)]
        assert [await task for task in tasks] == [(7, number) for number in range(10)]
        assert variable.get() == 7
        assert await go(variable.get) == 7

    run(main())
    assert variable.get() == 0


def test_functions_run_beside_the_tasks_with_their_arguments() -> None:
    here = threading.get_ident()

    async def main() -> None:
        assert await go(divmod, 7, 2) == (3, 1)
        assert await go(threading.get_ident) != here
        name = await go(lambda: threading.current_thread().name)
        assert name.startswith("herz-worker-")
        with pytest.raises(ZeroDivisionError):
            await go(divmod, 1, 0)

    run(main())


def test_two_functions_that_wait_for_each_other_both_end() -> None:
    async def main() -> None:
        meeting = threading.Barrier(2, timeout=20)
        first, second = go(meeting.wait), go(meeting.wait)
        assert {await first, await second} == {0, 1}

    run(main())


def test_functions_beyond_the_bound_wait_their_turn() -> None:
    async def main() -> int:
        tasks = [go(threading.get_ident) for _ in range(50)]
        return len({await task for task in tasks})

    assert run(main(), max_workers=3) <= 2


def test_function_of_async_def_is_a_coroutine_task() -> None:
    async def child(value: int) -> int:
        await yield_now()
        return value + 1

    async def main() -> int:
        return await go(child, 4)

    assert run(main()) == 5


def test_a_due_timer_waits_for_few_steps_also_when_steps_become_longer() -> None:
    async def main(short: int) -> int:
        steps: list[int] = []
        for _ in range(short):
            await yield_now()  # the worker learns to look at the clock after 61 steps
        go(take_long_steps(steps))
        await sleep(0.001)
        return len(steps)

    async def take_long_steps(steps: list[int]) -> None:
        while True:
            steps.append(1)
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass
            await yield_now()

    found = sorted(run(main(1_000 + 3 * number)) for number in range(20))
    # The monitor sees to it each millisecond; on a busy machine it is late, too.
    assert found[-4] < 20


def test_a_task_knows_its_name_and_state() -> None:
    async def child() -> None:
        await sleep(3600)

    async def main() -> None:
        task = go(child(), name="ticker")
        assert (task.name, task.state, task.done()) == ("ticker", "runnable", False)
        await yield_now()
        assert task.state.startswith("waits for a timer of ")
        assert task in runtime.tasks()
        assert runtime.current_task().name.startswith("task-")
        with pytest.raises(RuntimeError, match="goes on"):
            task.result()
        task.cancel()
        with pytest.raises(runtime.Cancelled):
            await task
        assert (task.state, task.done()) == ("done", True)

    run(main())


def test_when_main_ends_the_rest_is_cancelled_and_waited_for() -> None:
    log = []

    async def child() -> None:
        try:
            await sleep(3600)
        finally:
            log.append("tidied")
            with pytest.raises(runtime.Cancelled):
                await yield_now()  # at each later await again
            log.append("again")

    async def main() -> str:
        go(child())
        await yield_now()
        return "main"

    assert run(main()) == "main"
    assert log == ["tidied", "again"]


def test_a_cancelled_join_leaves_the_other_task_alone() -> None:
    async def worker() -> str:
        await sleep(0.001)
        return "worked"

    async def main() -> str:
        work = go(worker())

        async def wait() -> None:
            await work

        waiting = go(wait())
        await yield_now()
        waiting.cancel()
        with pytest.raises(runtime.Cancelled):
            await waiting
        return await work

    assert run(main()) == "worked"


def test_a_cancelled_sleep_leaves_no_timer() -> None:
    async def main() -> None:
        tasks = [go(sleep_long()) for _ in range(100)]
        await yield_now()
        assert runtime.stats()["timers"] == 100
        for task in tasks:
            task.cancel()
        for task in tasks:
            with pytest.raises(runtime.Cancelled):
                await task
        assert runtime.stats()["timers"] == 0

    async def sleep_long() -> None:
        await sleep(3600)

    run(main())


def test_a_deadlock_names_each_task_and_what_it_waits_for() -> None:
    async def main() -> None:
        tasks: list[runtime.Task[None]] = []

        async def wait_for(other: int) -> None:
            await yield_now()
            await tasks[other]

        tasks += [go(wait_for(1), name="hen"), go(wait_for(0), name="egg")]
        await tasks[0]

    with pytest.raises(runtime.Deadlock) as caught:
        run(main())
    text = str(caught.value)
    assert "hen waits for the task egg" in text
    assert "egg waits for the task hen" in text


def test_asyncio_objects_are_refused_by_name_and_run_asyncio_takes_them() -> None:
    async def naive() -> None:
        loop = asyncio.new_event_loop()
        try:
            await loop.create_future()
        finally:
            loop.close()

    async def theirs() -> str:
        await asyncio.sleep(0)
        return "theirs"

    async def main() -> str:
        with pytest.raises(TypeError, match=r"_asyncio\.Future.*run_asyncio"):
            await go(naive())
        return await runtime.run_asyncio(theirs())

    assert run(main()) == "theirs"


def test_a_bare_yield_is_refused_and_does_not_hang() -> None:
    class Odd:
        def __await__(self) -> Generator[object, None, None]:
            yield "odd"

    async def main() -> None:
        with pytest.raises(TypeError, match="str"):
            await Odd()
        await yield_now()

    run(main())


def test_run_inside_a_runtime_and_calls_outside_one_are_refused() -> None:
    async def main() -> None:
        inner = main()
        with pytest.raises(RuntimeError, match="inside a runtime"):
            run(inner)

    run(main())
    for call in (lambda: go(print), runtime.current_task, runtime.stats, runtime.tasks):
        with pytest.raises(RuntimeError, match="no herz"):
            call()


@pytest.mark.parametrize(
    "arguments",
    [
        {"processors": 0},
        {"processors": 1025},
        {"stall_ns": 1},
        {"max_workers": 0},
        {"max_workers": 5000},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        run(lambda: None, **arguments)


def test_what_is_no_coroutine_or_function_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="int"):
            go(5)  # type: ignore[call-overload]
        coroutine = child()
        with pytest.raises(TypeError, match="no arguments"):
            go(coroutine, 5)  # type: ignore[call-overload]
        coroutine.close()
        with pytest.raises(ValueError, match="NaN"):
            sleep(float("nan"))

    async def child() -> None: ...

    run(main())


def test_objects_of_another_runtime_are_refused() -> None:
    async def main() -> None:
        lent: list[runtime.Task[Any]] = []
        thread = threading.Thread(target=lambda: lent.append(run(lend())))
        thread.start()
        thread.join()
        (stranger,) = lent
        with pytest.raises(RuntimeError, match="another herz runtime"):
            await stranger

    async def lend() -> runtime.Task[Any]:
        return runtime.current_task()

    run(main())


def test_each_thread_may_have_its_runtime() -> None:
    results: list[int] = []

    async def main(number: int) -> int:
        for _ in range(20):
            await yield_now()
        return await go(lambda: number)

    def thread(number: int) -> None:
        results.append(run(main(number)))

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [0, 1, 2, 3]


def test_no_thread_and_no_descriptor_is_left_behind() -> None:
    async def main() -> None:
        await go(os.getpid)

    run(main())
    # Other tests of this process may have threads that live for all of them.
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        run(main())
    assert set(threading.enumerate()) <= threads
    assert [t.name for t in threading.enumerate() if t.name.startswith("herz-worker")] == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1


def test_a_run_that_nobody_keeps_is_freed_without_the_collector() -> None:
    async def main() -> None:
        await go(os.getpid)

    def runtimes() -> int:
        return sum(isinstance(thing, _native.Runtime) for thing in gc.get_objects())

    run(main())
    gc.collect()
    before = runtimes()
    gc.disable()
    try:
        run(main())
        assert runtimes() == before
    finally:
        gc.enable()


def test_ended_tasks_and_their_frames_are_freed() -> None:
    class Thing:
        """Something to point at weakly."""

    things = []

    async def child(thing: Thing) -> None:
        task = runtime.current_task()
        await yield_now()
        assert task is runtime.current_task()  # the frame and the task hold each other

    async def main() -> None:
        for _ in range(100):
            thing = Thing()
            things.append(weakref.ref(thing))
            await go(child(thing))

    run(main())
    gc.collect()
    assert [thing() for thing in things] == [None] * 100


def test_finalizers_may_call_back_into_the_runtime() -> None:
    calls = []

    class Caller:
        def __del__(self) -> None:
            calls.append(go(os.getpid))

    async def child(held: Caller) -> None:
        await yield_now()

    def collected(phase: str, info: dict[str, int]) -> None:
        calls.append(go(os.getpid))

    async def main() -> None:
        watched = Caller()
        ref = weakref.ref(watched, lambda _: calls.append(go(os.getpid)))
        await go(child(watched))
        del watched
        gc.callbacks.append(collected)
        gc.collect()
        gc.callbacks.remove(collected)
        assert ref() is None
        for call in calls:
            assert await call == os.getpid()

    run(main())
    assert len(calls) >= 4


def test_an_exit_in_a_task_ends_the_run() -> None:
    async def child() -> None:
        raise SystemExit(3)

    async def main() -> None:
        go(child())
        await sleep(3600)

    with pytest.raises(SystemExit):
        run(main())


def test_awaitables_can_be_awaited_again() -> None:
    async def main() -> int:
        pause = sleep(0.000_1)
        await pause
        await pause
        turn = yield_now()
        await turn
        await turn
        return 1

    assert run(main()) == 1


def test_an_await_outside_a_task_is_refused() -> None:
    async def naive() -> None:
        await yield_now()

    coroutine: Coroutine[Any, Any, None] = naive()
    with pytest.raises(RuntimeError, match="outside a task"):
        coroutine.send(None)
