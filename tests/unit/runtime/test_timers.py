"""`Timer` and `Ticker`: never early, never twice, stopped for good, and gone when they are over."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import heapq
import sys
import time
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.runtime import (
    Channel,
    Closed,
    Deadlock,
    Ticker,
    Timer,
    current_task,
    deadline,
    go,
    now_ns,
    run,
    run_virtual,
    select,
    sleep,
    stats,
    yield_now,
)

SECOND = 1_000_000_000
DAY = 86_400


def nothing() -> None:
    """A call that holds nothing."""


def test_a_timer_calls_once_with_its_arguments_and_is_never_early() -> None:
    async def main() -> None:
        calls: dict[int, tuple[object, ...]] = {}

        def at_least(ms: int) -> Callable[..., None]:
            due = time.monotonic_ns() + ms * 1_000_000

            def call(*args: object) -> None:
                assert time.monotonic_ns() >= due
                assert ms not in calls
                calls[ms] = args

            return call

        Timer(0.002, at_least(2))
        Timer(0.001, at_least(1), None)
        Timer(0.003, at_least(3), 1, "b", ())
        Timer(-5, at_least(0), [])
        while len(calls) < 4:
            await sleep(0.001)
        await sleep(0.005)
        assert calls == {0: ([],), 1: (None,), 2: (), 3: (1, "b", ())}

    run(main())


def test_stop_says_whether_it_kept_the_timer_from_firing() -> None:
    async def main() -> None:
        calls: list[int] = []
        timer = Timer(3600, calls.append, 1)
        assert timer.is_pending
        assert (timer.stop(), timer.stop(), timer.is_pending) == (True, False, False)
        assert (timer.reset(0.001), timer.reset(0.002)) == (False, True)
        await sleep(0.02)
        assert (calls, timer.stop(), timer.is_pending) == ([1], False, False)
        assert not timer.reset(0)
        await sleep(0.01)
        assert calls == [1, 1]
        assert stats()["timers"] == 0

    run(main())


def test_of_many_timers_those_that_are_stopped_are_gone_after_a_few_steps() -> None:
    class Thing:
        """Something to point at weakly."""

    async def main() -> None:
        things = [Thing() for _ in range(100)]
        seen = [weakref.ref(thing) for thing in things]
        calls: list[int] = []
        many = [Timer(3600, nothing) for _ in range(20_000)]
        chosen = [Timer(3600, lambda thing=thing: calls.append(id(thing))) for thing in things]
        del things
        assert [timer.stop() for timer in chosen[1:]] == [True] * 99
        assert [timer.stop() for timer in chosen[1:]] == [False] * 99
        assert not any(timer.is_pending for timer in chosen[1:])
        assert stats()["timers"] == len(many) + 1
        first, again = chosen[0], chosen[-1]
        assert (again.reset(3600), again.stop(), again.reset(3600)) == (False, True, False)
        chosen.clear()
        for _ in range(200):
            await yield_now()
        assert sum(ref() is not None for ref in seen) == 2
        assert first.reset(0.001)
        assert again.reset(0.001)
        await sleep(0.01)
        assert (len(calls), stats()["timers"]) == (2, len(many))

    run(main())


def test_a_timer_that_is_due_and_not_yet_called_can_still_be_stopped() -> None:
    async def main() -> list[str]:
        calls: list[str] = []
        timers = [Timer(1, calls.append, str(number)) for number in range(4)]

        def stop_others() -> None:
            calls.append("first")
            assert [timer.stop() for timer in timers[:2]] == [True, True]
            assert timers[2].reset(1)

        first = Timer(0.5, stop_others)
        first.reset(1)  # due with the others, after them
        timers[0].reset(1)
        timers[1].reset(1)
        timers[2].reset(1)
        await sleep(1.5)
        calls.append("later")
        await sleep(1)
        return calls

    assert run_virtual(main()) == ["3", "first", "later", "2"]


def test_a_call_may_make_reset_and_stop_timers_and_start_tasks() -> None:
    async def main() -> list[tuple[str, int]]:
        calls: list[tuple[str, int]] = []

        async def task(name: str) -> None:
            await sleep(1)
            calls.append((name, now_ns()))

        def again() -> None:
            calls.append(("again", now_ns()))
            if len(calls) < 3:
                timer.reset(2)
                Timer(0, lambda: calls.append(("at once", now_ns())))

        timer = Timer(1, again)
        Timer(5, task, "coroutine")
        Timer(5, lambda: go(task("started")))
        await sleep(10)
        return calls

    assert run_virtual(main()) == [
        ("again", 1 * SECOND),
        ("at once", 1 * SECOND),
        ("again", 3 * SECOND),
        ("coroutine", 6 * SECOND),
        ("started", 6 * SECOND),
    ]


def test_a_call_is_no_task_and_has_a_context_of_its_own() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def main() -> list[str]:
        variable.set("in the task")
        seen: list[str] = []

        def call() -> None:
            seen.append(variable.get())
            variable.set("in a call")
            with pytest.raises(RuntimeError, match="no herz task"):
                current_task()
            with pytest.raises(RuntimeError, match="await outside a task"):
                next(sleep(1).__await__())

        Timer(0, call)
        Timer(0, call)
        await sleep(1)
        return [*seen, variable.get()]

    assert run_virtual(main()) == ["outside", "in a call", "in the task"]
    assert variable.get() == "outside"


def test_what_a_call_raises_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, str | None]] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda hook: told.append((hook.exc_value, hook.err_msg))
    )

    async def main() -> int:
        Timer(1, lambda: 1 // 0)
        later: list[int] = []
        Timer(2, later.append, 7)
        await sleep(3)
        return later[0]

    assert run_virtual(main()) == 7
    assert [type(error) for error, _ in told] == [ZeroDivisionError]


def test_an_interrupt_in_a_call_ends_the_run() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        Timer(0.001, interrupt)
        await sleep(3600)

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_a_call_that_blocks_does_not_stop_the_others() -> None:
    async def main() -> None:
        ended: list[str] = []
        reader, writer = Channel[int](), Channel[int]()

        def block() -> None:
            time.sleep(0.3)
            ended.append("call")

        async def answer() -> None:
            for _ in range(20):
                await writer.send(await reader.receive())
            ended.append("tasks")

        Timer(0, block)
        task = go(answer())
        await sleep(0.02)
        for number in range(20):
            await reader.send(number)
            assert await writer.receive() == number
        await task
        while len(ended) < 2:
            await sleep(0.01)
        assert ended == ["tasks", "call"]

    run(main())


def test_the_end_of_main_forgets_timers() -> None:
    calls: list[int] = []

    async def main() -> Timer:
        Timer(3600, calls.append, 1)
        return Timer(3600, calls.append, 2)

    began = time.monotonic()
    timer = run(main())
    assert time.monotonic() - began < 60
    assert (timer.is_pending, timer.stop()) == (False, False)
    with pytest.raises(RuntimeError, match="has ended"):
        timer.reset(1)
    assert not calls


def test_a_stopped_timer_hides_no_deadlock() -> None:
    async def main() -> None:
        Timer(3600, nothing).stop()
        await Channel[int]().receive()

    with pytest.raises(Deadlock):
        run(main())


def test_a_timer_without_a_call_gives_its_time_once_and_nothing_stale() -> None:
    async def main() -> None:
        timer = Timer(1)
        assert await timer.receive() == 1 * SECOND
        assert not timer.stop()
        timer.reset(1)
        await sleep(2)  # it fired, and nobody received
        assert timer.reset(5)
        assert await timer.receive() == 8 * SECOND
        timer.reset(1)
        await sleep(2)
        assert timer.stop()
        assert await select(timer.receive(), default=True) == (None, None)
        assert await select(timer.receive(), sleep(9)) == (1, None)

    run_virtual(main())


def test_a_ticker_does_not_drift_and_drops_what_nobody_took() -> None:
    async def main() -> None:
        with Ticker(1) as ticker:
            assert [await ticker.receive() for _ in range(3)] == [SECOND, 2 * SECOND, 3 * SECOND]
            await sleep(0.3)
            assert await ticker.receive() == 4 * SECOND
            await sleep(3.5)  # those of 5 to 7 s: the first waits, the others are dropped
            assert (now_ns(), await ticker.receive()) == (7_500_000_000, 5 * SECOND)
            assert await ticker.receive() == 8 * SECOND
            ticker.reset(0.25)
            assert await ticker.receive() == 8_250_000_000
        with pytest.raises(Closed):
            await ticker.receive()
        ticker.reset(2)
        assert await ticker.receive() == 10_250_000_000
        ticker.stop()
        assert stats()["timers"] == 0

    run_virtual(main())


def test_a_late_tick_skips_those_that_are_over() -> None:
    async def main() -> None:
        ticker = Ticker(0.01)
        first = await ticker.receive()
        time.sleep(0.035)  # no other step runs: hand_off is off
        second, third = await ticker.receive(), await ticker.receive()
        assert second - first >= 30_000_000
        # The next is again a whole number of periods after the start.
        assert 0 <= third - first < 10 * SECOND
        assert third - second <= third - first - 30_000_000

    run(main(), hand_off=False)


def test_stop_ends_those_who_wait_for_ticks() -> None:
    async def main() -> int:
        ticker = Ticker(1)

        async def count() -> int:
            return len([tick async for tick in ticker])

        counting = go(count())
        await sleep(3.5)
        ticker.stop()
        return await counting

    assert run_virtual(main()) == 3


def test_bad_input_is_refused_by_name() -> None:
    async def main() -> None:
        wrong: list[tuple[type[Exception], str, Callable[[], object]]] = [
            (TypeError, "none were given", Timer),  # type: ignore[list-item]
            (TypeError, "keyword", lambda: Timer(1, callback=nothing)),  # type: ignore[call-arg]
            (TypeError, "not int", lambda: Timer(1, 5)),  # type: ignore[arg-type]
            (TypeError, "not NoneType", lambda: Timer(1, None, 5)),
            (TypeError, "real number", lambda: Timer("1", nothing)),  # type: ignore[arg-type]
            (ValueError, "Timer takes seconds, not NaN", lambda: Timer(float("nan"))),
            (ValueError, "more than zero", lambda: Ticker(0)),
            (ValueError, "more than zero", lambda: Ticker(-1)),
            (ValueError, "NaN", lambda: Ticker(float("nan"))),
            (TypeError, "nothing to receive", lambda: Timer(1, nothing).receive()),
        ]
        for kind, text, make in wrong:
            with pytest.raises(kind, match=text):
                make()
        ticker = Ticker(1)
        with pytest.raises(ValueError, match="more than zero"):
            ticker.reset(0)
        assert await ticker.receive() == now_ns()

    run_virtual(main())
    with pytest.raises(RuntimeError, match="no herz runtime"):
        Timer(1, nothing)


def test_the_class_is_made_by_calling_it_and_is_final() -> None:
    async def main() -> None:
        made = Timer.__new__(Timer, 1, nothing)
        assert type(made) is Timer is type(Timer(1, nothing, [1]))
        assert made.stop()
        refused: list[tuple[str, Callable[[], object]]] = [
            ("base type", lambda: type("Mine", (Timer,), {})),
            ("not safe", lambda: object.__new__(Timer)),
            ("keyword", lambda: Timer.__new__(Timer, 1, callback=nothing)),  # type: ignore[call-arg]
            ("pickle", lambda: copy.copy(made)),
            ("1 arguments were given", lambda: Timer.every(1)),  # type: ignore[call-arg]
            ("'Channel'", lambda: Timer.every(1, 2)),  # type: ignore[arg-type]
            ("real number", lambda: made.reset("1")),  # type: ignore[arg-type]
        ]
        for text, make in refused:
            with pytest.raises(TypeError, match=text):
                make()

    run_virtual(main())


def test_arms_are_calls_and_stops_also_across_threads() -> None:
    """Threads stop and reset what fires meanwhile: nothing fires twice, nothing gets lost."""

    async def main() -> None:
        called = [0] * 8
        arms = [1] * 8
        stops = [0] * 8

        def call(which: int) -> None:
            called[which] += 1

        timers = [Timer(0.001 * which, call, which) for which in range(8)]

        def hammer(first: int) -> None:
            for turn in range(3_000):
                which = (first + 2 * turn) % 8  # two threads, four timers each
                if turn % 3:
                    stops[which] += timers[which].reset((turn % 5) * 0.0003)
                    arms[which] += 1
                else:
                    stops[which] += timers[which].stop()

        for task in [go(hammer, first) for first in range(2)]:
            await task
        while any(timer.is_pending for timer in timers):
            await sleep(0.001)
        assert [a + b for a, b in zip(called, stops, strict=True)] == arms
        assert sum(called) > 0

    run(main())


Act = st.tuples(
    st.sampled_from(["timer", "timer", "stop", "reset", "wait"]),
    st.integers(0, 50),
    st.one_of(
        st.integers(0, 3_000_000), st.integers(0, 200 * DAY * 1_000_000), st.just(65_536_000_000)
    ),
)


@given(st.lists(Act, max_size=60))
@settings(max_examples=150)
def test_histories_over_days_equal_a_plain_heap(acts: list[tuple[str, int, int]]) -> None:
    """The whole machine, through all levels of the wheel, beside a heap: times are exact."""
    fired: list[tuple[int, int]] = []
    expected: list[tuple[int, int]] = []
    heap: list[tuple[int, int, int]] = []
    armed: dict[int, int] = {}  # by timer: which of its entries in the heap counts

    async def main() -> None:
        timers: list[Timer] = []

        def arm(which: int, delay_us: int, order: int) -> None:
            armed[which] = order
            # What the seconds are as a float: after months, nanoseconds off.
            heapq.heappush(heap, (now_ns() + round(delay_us / 1e6 * 1e9), order, which))

        def settle(until: int) -> None:
            while heap and heap[0][0] <= until:
                due, order, which = heapq.heappop(heap)
                if armed.get(which) == order:
                    del armed[which]
                    expected.append((due, which))

        for order, (act, which, delay_us) in enumerate(acts):
            match act:
                case "timer":
                    number = len(timers)
                    timers.append(
                        Timer(
                            delay_us / 1e6, lambda number=number: fired.append((now_ns(), number))
                        )
                    )
                    arm(number, delay_us, order)
                case "stop" if timers:
                    chosen = which % len(timers)
                    assert timers[chosen].stop() == (armed.pop(chosen, None) is not None)
                case "reset" if timers:
                    chosen = which % len(timers)
                    was = timers[chosen].reset(delay_us / 1e6)
                    assert was == (chosen in armed)
                    arm(chosen, delay_us, order)
                case _:
                    await sleep(delay_us / 1e6)
                    # A sleep is a timer after those of its time; one of no time is no timer.
                    if delay_us:
                        settle(now_ns())
                        assert fired == expected
        await sleep(400 * DAY)
        settle(now_ns())

    run_virtual(main())
    assert fired == expected


def test_a_deadline_costs_no_task() -> None:
    async def main() -> None:
        before = stats()["spawned"]
        async with deadline(3600):
            await yield_now()
        assert stats()["timers"] == 0
        with pytest.raises(TimeoutError):
            async with deadline(5):
                await sleep(3600)
        assert now_ns() == 5 * SECOND
        with contextlib.suppress(TimeoutError):
            async with deadline(0):
                await sleep(3600)
        assert now_ns() == 5 * SECOND
        assert stats()["spawned"] == before

    run_virtual(main())
