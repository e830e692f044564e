"""`Semaphore`, `Mutex`, `Event`, `WaitGroup`: who is let in, and what a cancellation leaves."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.runtime import (
    Cancelled,
    Event,
    Mutex,
    Portal,
    Semaphore,
    Task,
    WaitGroup,
    go,
    run,
    yield_now,
)


@given(st.integers(1, 3), st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 11))
@settings(max_examples=60)
def test_a_semaphore_lets_no_more_in_and_loses_no_permit(
    permits: int, turns: list[int], cancelled: int
) -> None:
    inside: list[int] = []
    most: list[int] = [0]

    async def enter(semaphore: Semaphore, number: int, stay: int) -> None:
        async with semaphore:
            inside.append(number)
            most[0] = max(most[0], len(inside))
            try:
                for _ in range(stay):
                    await yield_now()
            finally:
                inside.remove(number)

    async def main() -> None:
        semaphore = Semaphore(permits)
        tasks = [go(enter(semaphore, number, stay)) for number, stay in enumerate(turns)]
        await yield_now()
        tasks[cancelled % len(tasks)].cancel()
        for task in tasks:
            with contextlib.suppress(Cancelled):
                await task
        for _ in range(permits):  # all permits are back
            assert not semaphore.locked()
            await semaphore.acquire()
        assert semaphore.locked()

    run(main(), hand_off=False)
    assert most[0] <= permits


def test_a_mutex_is_given_in_the_order_in_which_it_was_wanted() -> None:
    order: list[int] = []

    async def take(mutex: Mutex, number: int) -> None:
        async with mutex:
            order.append(number)
            await yield_now()

    async def main() -> None:
        mutex = Mutex()
        for task in [go(take(mutex, number)) for number in range(5)]:
            await task
        with pytest.raises(RuntimeError, match="more often"):
            mutex.release()

    run(main())
    assert order == list(range(5))


def test_an_event_wakes_all_and_stays_set() -> None:
    async def main() -> None:
        event = Event()
        woken: list[int] = []

        async def wait(number: int) -> None:
            await event.wait()
            woken.append(number)

        tasks = [go(wait(number)) for number in range(3)]
        await yield_now()
        assert woken == []
        event.set()
        event.set()
        for task in tasks:
            await task
        await event.wait()
        assert (sorted(woken), event.is_set()) == ([0, 1, 2], True)
        event.clear()
        assert not event.is_set()

    run(main())


def test_a_wait_group_ends_at_zero_and_refuses_less() -> None:
    async def main() -> int:
        group, done = WaitGroup(), []

        async def work(number: int) -> None:
            await yield_now()
            done.append(number)
            group.done()

        await group.wait()
        for number in range(4):
            group.add()
            go(work(number))
        await group.wait()
        with pytest.raises(ValueError, match="below zero"):
            group.done()
        return len(done)

    assert run(main()) == 4


def test_an_event_may_be_set_by_another_thread_while_a_portal_is_open() -> None:
    async def main() -> bool:
        event = Event()
        with Portal():
            thread = threading.Thread(target=event.set)
            thread.start()
            await event.wait()
        thread.join()
        return event.is_set()

    assert run(main())


def test_a_portal_starts_tasks_for_other_threads() -> None:
    async def double(value: int) -> int:
        await yield_now()
        return 2 * value

    async def fail() -> None:
        raise LookupError("here")

    def outside(portal: Portal) -> int:
        with pytest.raises(LookupError):
            portal.call(fail).result(20)
        futures = [portal.call(double, number) for number in range(10)]
        return sum(future.result(20) for future in futures)

    async def main() -> int:
        with Portal() as portal:
            result = await go(outside, portal)
        with pytest.raises(RuntimeError, match="closed"):
            portal.call(double, 1)
        return result

    assert run(main()) == 90


def test_a_semaphore_without_permits_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Semaphore(0)


def test_a_permit_handed_to_a_task_that_is_cancelled_goes_to_the_next() -> None:
    async def main() -> list[str]:
        mutex, log = Mutex(), []
        tasks: list[Task[None]] = []

        async def take(name: str) -> None:
            async with mutex:
                log.append(name)

        await mutex.acquire()
        tasks += [go(take("first")), go(take("second"))]
        await yield_now()
        tasks[0].cancel()
        mutex.release()
        for task in tasks:
            try:
                await task
            except Cancelled:
                log.append("cancelled")
        assert not mutex.locked()
        return log

    assert run(main()) == ["second", "cancelled"]
