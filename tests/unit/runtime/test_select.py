"""`select`: one case, fairly, and nothing of the others."""

from __future__ import annotations

import socket
import weakref
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.runtime import (
    Cancelled,
    Channel,
    Closed,
    Deadlock,
    Event,
    Mutex,
    Semaphore,
    Ticker,
    Timer,
    go,
    now_ns,
    run,
    run_virtual,
    select,
    sleep,
    wait_readable,
    yield_now,
)


def test_the_case_that_is_ready_is_taken_and_named() -> None:
    async def main() -> None:
        full, empty = Channel[str](1), Channel[str](1)
        await full.send("there")
        assert await select(empty.receive(), full.receive()) == (1, "there")
        assert await select(empty.send("new"), full.receive()) == (0, None)
        assert await select(None, empty.receive(), None) == (1, "new")
        flag, mutex = Event(), Mutex()
        flag.set()
        assert await select(full.receive(), flag.wait()) == (1, None)
        assert await select(full.receive(), mutex.acquire()) == (1, None)
        assert mutex.locked()
        done = go(int, "7")
        await done
        assert await select(full.receive(), mutex.acquire(), done) == (2, 7)
        assert await select(full.receive(), sleep(0)) == (1, None)

    run(main())


def test_the_default_never_waits_and_only_comes_where_nothing_is_ready() -> None:
    async def main() -> None:
        channel = Channel[int]()
        assert await select(channel.receive(), channel.send(1), default=True) == (None, None)
        assert await select(default=True) == (None, None)
        assert await select(None, sleep(1), default=True) == (None, None)
        task = go(send(channel, 5))
        await yield_now()
        assert await select(channel.receive(), default=True) == (0, 5)
        await task

    async def send(channel: Channel[int], value: int) -> None:
        await channel.send(value)

    run(main())


@pytest.mark.parametrize("ready", [{0, 1, 2}, {0, 2}, {1, 2}])
def test_ready_cases_have_equal_chances(ready: set[int]) -> None:
    async def main() -> Counter[int | None]:
        channels = [Channel[int](None) for _ in range(3)]
        for which in ready:
            for _ in range(3_000):
                await channels[which].send(which)
        counts = Counter[int | None]()
        for _ in range(3_000):
            index, value = await select(*(channel.receive() for channel in channels))
            assert index == value
            counts[index] += 1
        return counts

    counts = run_virtual(main(), seed=5)
    assert set(counts) == ready
    share = 3_000 / len(ready)
    assert all(0.9 * share < count < 1.1 * share for count in counts.values())
    assert counts == run_virtual(main(), seed=5)
    assert counts != run_virtual(main(), seed=6)


def test_a_waiting_select_gets_what_comes_first() -> None:
    async def main() -> list[object]:
        first, second = Channel[str](), Channel[str]()
        flag, timer = Event(), Timer(40)
        got: list[object] = []

        async def choose() -> None:
            for _ in range(7):
                cases = (
                    first.receive(),
                    second.send("given"),
                    flag.wait(),
                    timer.receive(),
                    sleep(100),
                    sleep(50),
                    None,
                )
                got.append((*await select(*cases), now_ns() // 10**9))
                flag.clear()

        choosing = go(choose())
        await sleep(1)
        await first.send("one")
        await sleep(1)
        assert await second.receive() == "given"
        await sleep(1)
        flag.set()
        await sleep(60)
        await sleep(200)
        await choosing
        return got

    assert run_virtual(main()) == [
        (0, "one", 1),
        (1, None, 2),
        (2, None, 3),
        (3, 40 * 10**9, 40),
        (5, None, 90),
        (5, None, 140),
        (5, None, 190),
    ]


def test_a_closed_channel_is_ready_and_the_error_names_its_case() -> None:
    async def main() -> None:
        open_one, closed = Channel[int](), Channel[int](1)
        await closed.send(1)
        closed.close()
        assert await select(open_one.receive(), closed.receive()) == (1, 1)
        for case in (closed.receive(), closed.send(1), closed.__anext__()):
            with pytest.raises(Closed) as caught:
                await select(None, open_one.receive(), case)
            assert caught.value.index == 2

        async def close() -> None:
            open_one.close()

        go(close())
        with pytest.raises(Closed) as caught:
            await select(open_one.receive(), sleep(3600))
        assert caught.value.index == 0

    run(main())


def test_what_a_task_raised_is_raised() -> None:
    async def fail(seconds: float) -> None:
        await sleep(seconds)
        raise LookupError("mine")

    async def main() -> None:
        with pytest.raises(LookupError, match="mine"):
            await select(Channel[int]().receive(), go(fail(1)))
        failed = go(fail(0))
        await sleep(1)
        with pytest.raises(LookupError, match="mine"):
            await select(Channel[int]().receive(), failed)

    run_virtual(main())


def test_the_cases_that_lost_are_withdrawn() -> None:
    class Thing:
        """Something to point at weakly."""

    async def main() -> None:
        quiet, busy = Channel[object](), Channel[int](1)
        permits, flag = Semaphore(1), Event()
        await permits.acquire()
        offered = weakref.WeakSet[Thing]()
        other = go(sleep_long())
        for number in range(100):
            thing = Thing()
            offered.add(thing)
            task = go(choose(quiet, busy, thing, permits, flag, other))
            del thing
            await yield_now()
            await busy.send(number)
            assert await task == (5, number)
            del task
        # Nobody is left in a line: the offers are gone, and what comes now finds no taker.
        assert not offered
        assert await select(quiet.receive(), quiet.send(1), default=True) == (None, None)
        permits.release()
        assert not permits.locked()
        other.cancel()

    async def choose(
        quiet: Channel[object],
        busy: Channel[int],
        thing: Thing,
        permits: Semaphore,
        flag: Event,
        other: Any,
    ) -> tuple[int, object]:
        return await select(
            quiet.receive(),
            quiet.send(thing),
            permits.acquire(),
            flag.wait(),
            other,
            busy.receive(),
            sleep(3600),
        )

    async def sleep_long() -> None:
        await sleep(7200)

    run(main())


def test_two_selects_meet_and_one_does_not_meet_itself() -> None:
    async def main() -> None:
        channel = Channel[str]()

        async def either(name: str) -> tuple[int, object]:
            return await select(channel.send(name), channel.receive())

        first, second = go(either("a")), go(either("b"))
        results = [await first, await second]
        assert sorted(index for index, _ in results) == [0, 1]
        assert {value for _, value in results} in ({None, "a"}, {None, "b"})
        alone = go(either("c"))
        await yield_now()
        assert not alone.done()
        alone.cancel()
        with pytest.raises(Cancelled):
            await alone

    for seed in range(10):
        run_virtual(main(), seed=seed)


def test_a_select_without_a_case_that_can_come_is_a_deadlock() -> None:
    async def main() -> None:
        await select(None, None)

    with pytest.raises(Deadlock, match="one of several"):
        run(main())


def test_bad_cases_are_refused_by_number() -> None:
    async def coroutine() -> None:
        """Never awaited: it is refused."""

    async def main() -> None:
        given = coroutine()
        with pytest.raises(TypeError, match=r"case 1 of select is coroutine.*go"):
            select(sleep(1), given)
        given.close()
        with pytest.raises(TypeError, match="case 0 of select is int"):
            select(5)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="case 0 of select is a select"):
            select(select(sleep(1)))
        one, other = socket.socketpair()
        with one, other, pytest.raises(TypeError, match="case 1 of select waits for a descriptor"):
            select(sleep(1), wait_readable(one))

    run(main())


def test_a_polling_loop_lets_others_run() -> None:
    async def main() -> int:
        channel = Channel[int]()
        polls = 0

        async def answer() -> None:
            await channel.send(1)

        go(answer())
        while (await select(channel.receive(), default=True))[0] is None:
            polls += 1
        return polls

    assert run(main()) == 128


def test_a_select_can_be_awaited_again_and_by_several() -> None:
    async def main() -> None:
        channel = Channel[int](None)
        one = select(channel.receive(), sleep(1))

        async def take() -> tuple[int, object]:
            return await one

        tasks = [go(take()) for _ in range(3)]
        await yield_now()
        await channel.send(5)
        await channel.send(6)
        assert sorted([await task for task in tasks], key=str) == [(0, 5), (0, 6), (1, None)]

    run_virtual(main())


def test_a_tick_is_a_case() -> None:
    async def main() -> list[str]:
        ticker, work = Ticker(1), Channel[str]()
        seen: list[str] = []

        async def produce() -> None:
            for number in range(3):
                await sleep(1.5)
                await work.send(f"work {number}")
            work.close()

        go(produce())
        while True:
            try:
                index, value = await select(ticker.receive(), work.receive())
            except Closed:
                ticker.stop()
                return seen
            seen.append(f"tick {now_ns() // 10**9}" if index == 0 else str(value))

    assert run_virtual(main()) == [
        "tick 1",
        "work 0",
        "tick 2",
        "work 1",  # its timer was made first
        "tick 3",
        "tick 4",
        "work 2",
    ]


# ---- many selects, over many channels, cancelled in between ------------------------------------

CHANNELS = 3
Offer = st.tuples(
    st.sampled_from(["send", "receive", "time", "none"]), st.integers(0, CHANNELS - 1)
)
Plan = st.lists(Offer, min_size=1, max_size=4)
Program = st.lists(
    st.one_of(Plan, st.integers(0, 30), st.sampled_from(["yield", "sleep", "close"])), max_size=25
)


class Ledger:
    """What each completed select says it did, checked at the end."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []
        self.received: list[tuple[int, int]] = []
        self.not_sent: list[tuple[int, int]] = []


@given(Program, st.sampled_from([0, 1, 2, None]), st.integers(0, 2**64 - 1))
@settings(max_examples=300)
def test_no_value_is_lost_given_twice_or_sent_by_a_case_that_lost(
    program: list[list[tuple[str, int]] | int | str], capacity: int | None, seed: int
) -> None:
    ledger = Ledger()

    async def choose(
        number: int, plan: list[tuple[str, int]], channels: list[Channel[int]]
    ) -> None:
        values = [number * 10 + at for at in range(len(plan))]
        cases: list[Awaitable[Any] | None] = []
        for (kind, which), value in zip(plan, values, strict=True):
            match kind:
                case "send":
                    cases.append(channels[which].send(value))
                case "receive":
                    cases.append(channels[which].receive())
                case "time":
                    cases.append(sleep(which + 1))
                case _:
                    cases.append(None)
        offers = {at: (plan[at][1], values[at]) for at in range(len(plan)) if plan[at][0] == "send"}
        won: int | None = None
        try:
            won, value = await select(*cases, default=number % 5 == 0)
            if won is not None and plan[won][0] == "receive":
                ledger.received.append((plan[won][1], value))
            elif won in offers:
                ledger.sent.append(offers[won])
        except Closed:
            pass  # none of the offers was taken
        finally:
            ledger.not_sent += [offer for at, offer in offers.items() if at != won]

    async def main() -> None:
        channels = [Channel[int](capacity) for _ in range(CHANNELS)]
        tasks = []
        for number, act in enumerate(program):
            match act:
                case list():
                    tasks.append(go(choose(number, act, channels)))
                case int() if tasks:
                    tasks[act % len(tasks)].cancel()
                case "sleep":
                    await sleep(1)
                case "close":
                    channels[number % CHANNELS].close()
                case _:
                    await yield_now()
        await sleep(10)
        for task in tasks:
            task.cancel()
        await sleep(1)
        assert all(task.done() for task in tasks)
        for which, channel in enumerate(channels):
            channel.close()
            ledger.received += [(which, value) async for value in channel]

    run_virtual(main(), seed=seed)
    assert sorted(ledger.received) == sorted(ledger.sent)
    assert len(set(ledger.received)) == len(ledger.received)
    assert not set(ledger.received) & set(ledger.not_sent)


def test_one_sender_to_one_receiver_keeps_its_order_through_selects() -> None:
    async def main() -> None:
        channel, other = Channel[int](2), Channel[int]()
        got: list[int] = []

        async def send() -> None:
            for number in range(200):
                assert await select(other.receive(), channel.send(number)) == (1, None)
            channel.close()

        async def receive() -> None:
            while True:
                try:
                    _, value = await select(other.receive(), channel.receive())
                except Closed as closed:
                    got.append(-(closed.index or 0))
                    return
                got.append(value)

        tasks = [go(send()), go(receive())]
        for task in tasks:
            await task
        assert got == [*range(200), -1]

    for seed in range(20):
        run_virtual(main(), seed=seed)


def test_selects_lose_nothing_while_steps_are_detached() -> None:
    """The same with hand-off and threads that release permits meanwhile."""

    async def main() -> None:
        channels = [Channel[int](1) for _ in range(3)]
        flag = Event()
        got: list[int] = []

        async def send(first: int) -> None:
            for number in range(first, 900, 3):
                index, _ = await select(*(channel.send(number) for channel in channels))
                assert index in (0, 1, 2)

        async def receive() -> None:
            while True:
                index, value = await select(*(one.receive() for one in channels), flag.wait())
                if index == 3:
                    return
                got.append(value)

        receivers = [go(receive()) for _ in range(4)]
        for sender in [go(send(first)) for first in range(3)]:
            await sender
        while any(len(channel) for channel in channels):
            await yield_now()
        await go(flag.set)
        for receiver in receivers:
            await receiver
        assert sorted(got) == list(range(900))

    run(main())
