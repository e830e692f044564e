"""`Channel`: every value to exactly one receiver, in order, whatever is cancelled meanwhile."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.runtime import Cancelled, Channel, Closed, Task, go, run, yield_now

CAPACITIES = [0, 1, 3, None]


@pytest.mark.parametrize("capacity", CAPACITIES)
@pytest.mark.parametrize("traced", [False, True])
def test_values_arrive_in_order_and_unchanged(capacity: int | None, traced: bool) -> None:
    sent: list[object] = [None, (), (1, 2), ValueError("x"), StopIteration(1), 5]

    async def produce(channel: Channel[object]) -> None:
        for value in sent:
            await channel.send(value)
        channel.close()

    async def main() -> list[object]:
        channel: Channel[object] = Channel(capacity)
        go(produce(channel))
        return [value async for value in channel]

    before = sys.gettrace()
    if traced:
        sys.settrace(lambda frame, event, argument: None)
    try:
        received = run(main())
    finally:
        sys.settrace(before)
    assert all(a is b for a, b in zip(received, sent, strict=True))


def test_a_rendezvous_waits_for_its_receiver_and_a_buffer_for_room() -> None:
    async def send(channel: Channel[int], count: int, log: list[int]) -> None:
        for number in range(count):
            await channel.send(number)
            log.append(number)

    async def main() -> None:
        for capacity, done in ((0, 0), (2, 2), (None, 4)):
            channel: Channel[int] = Channel(capacity)
            log: list[int] = []
            sender = go(send(channel, 4, log))
            await yield_now()
            assert len(log) == done
            assert [await channel.receive() for _ in range(4)] == list(range(4))
            await sender

    run(main())


def test_closing_wakes_receivers_and_senders_and_keeps_what_was_sent() -> None:
    async def main() -> None:
        channel: Channel[int] = Channel(1)
        await channel.send(1)
        blocked = go(send(channel))
        await yield_now()
        channel.close()
        with pytest.raises(Closed):
            await blocked
        with pytest.raises(Closed):
            await channel.send(3)
        assert (channel.is_closed, len(channel)) == (True, 1)
        assert await channel.receive() == 1
        with pytest.raises(Closed):
            await channel.receive()

        empty: Channel[int] = Channel()
        waiting = go(receive(empty))
        await yield_now()
        empty.close()
        empty.close()
        with pytest.raises(Closed):
            await waiting

    async def send(channel: Channel[int]) -> None:
        await channel.send(2)

    async def receive(channel: Channel[int]) -> int:
        return await channel.receive()

    run(main())


Act = st.tuples(st.sampled_from(["send", "receive", "cancel", "turn"]), st.integers(0, 30))


@given(st.sampled_from(CAPACITIES), st.lists(Act, max_size=40))
@settings(max_examples=150)
def test_no_value_is_lost_or_given_twice_when_tasks_are_cancelled(
    capacity: int | None, acts: list[tuple[str, int]]
) -> None:
    accepted: list[int] = []
    received: list[int] = []

    async def send(channel: Channel[int], value: int) -> None:
        await channel.send(value)
        accepted.append(value)

    async def receive(channel: Channel[int]) -> None:
        received.append(await channel.receive())

    async def main() -> None:
        channel: Channel[int] = Channel(capacity)
        tasks: list[Task[None]] = []
        for number, (act, which) in enumerate(acts):
            match act:
                case "send":
                    tasks.append(go(send(channel, number)))
                case "receive":
                    tasks.append(go(receive(channel)))
                case "cancel" if tasks:
                    tasks[which % len(tasks)].cancel()
                case _:
                    await yield_now()
        for _ in range(5):
            await yield_now()
        for task in tasks:
            task.cancel()
        for _ in range(5):
            await yield_now()
        left = deque[int]()
        channel.close()
        async for value in channel:
            left.append(value)
        for task in tasks:
            with contextlib.suppress(Cancelled):
                await task
        # A receiver may have been cancelled after the value came: then it got it first.
        assert sorted([*received, *left]) == sorted(accepted)

    run(main(), hand_off=False)


def test_a_loop_that_never_waits_lets_others_run() -> None:
    async def main() -> int:
        channel: Channel[int] = Channel(None)
        seen: list[int] = []

        async def other() -> None:
            seen.append(len(channel))

        go(other())
        for number in range(1_000):
            await channel.send(number)
        return seen[0]

    assert run(main()) == 128


def test_what_a_dropped_channel_held_is_freed() -> None:
    class Thing:
        """Something to point at weakly."""

    def fill() -> weakref.ref[Thing]:
        channel: Channel[object] = Channel(None)
        thing = Thing()

        async def main() -> None:
            await channel.send(channel)  # it holds itself
            await channel.send(thing)

        run(main())
        return weakref.ref(thing)

    thing = fill()
    gc.collect()
    assert thing() is None


def test_a_negative_capacity_and_another_runtime_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Channel(-1)
    shared: Channel[int] = Channel(5)

    async def main() -> None:
        await shared.send(1)
        await go(elsewhere)

    def elsewhere() -> None:
        import threading

        caught: list[BaseException] = []

        def use() -> None:
            async def receive() -> None:
                await shared.receive()

            try:
                run(receive())
            except RuntimeError as error:
                caught.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert "another herz runtime" in str(caught[0])

    run(main())
