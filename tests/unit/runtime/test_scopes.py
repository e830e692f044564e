"""`TaskGroup`, `deadline`, `shield`: what is cancelled, what is raised, what is left."""

from __future__ import annotations

import pytest

from herz import runtime
from herz.runtime import (
    Cancelled,
    Event,
    TaskGroup,
    current_task,
    deadline,
    go,
    run,
    shield,
    sleep,
    yield_now,
)


def test_a_group_waits_for_all_its_tasks() -> None:
    ended: list[int] = []

    async def work(number: int) -> int:
        await yield_now()
        ended.append(number)
        return number

    async def main() -> list[int]:
        async with TaskGroup() as group:
            tasks = [group.go(work, number) for number in range(5)]
            tasks.append(group.go(int, "5"))
        with pytest.raises(RuntimeError, match="ended"):
            group.go(work(9))
        return [task.result() for task in tasks]

    assert run(main()) == list(range(6))
    assert len(ended) == 5


def test_an_error_cancels_the_others_and_the_block_and_is_raised_in_a_group() -> None:
    log: list[str] = []

    async def fail() -> None:
        await yield_now()
        raise LookupError("first")

    async def linger() -> None:
        try:
            await sleep(3600)
        except Cancelled:
            log.append("cancelled")
            raise

    async def block() -> None:
        async with TaskGroup() as group:
            group.go(linger())
            group.go(fail())
            try:
                await sleep(3600)
            except Cancelled:
                log.append("block")
                raise

    async def main() -> str:
        with pytest.raises(BaseExceptionGroup) as caught:
            await block()
        assert [str(error) for error in caught.value.exceptions] == ["first"]
        await yield_now()  # this task itself is not cancelled
        return "on"

    assert run(main()) == "on"
    assert sorted(log) == ["block", "cancelled"]


def test_an_error_of_the_block_cancels_the_tasks() -> None:
    async def block() -> None:
        async with TaskGroup() as group:
            group.go(sleep_long())
            await yield_now()
            raise KeyError("block")

    async def main() -> int:
        with pytest.raises(BaseExceptionGroup) as caught:
            await block()
        assert isinstance(caught.value.exceptions[0], KeyError)
        return len(runtime.tasks())

    async def sleep_long() -> None:
        await sleep(3600)

    assert run(main()) == 1


def test_cancelling_the_host_cancels_its_group_and_goes_on_outwards() -> None:
    states: list[bool] = []

    async def sleep_long() -> None:
        await sleep(3600)

    async def host() -> None:
        async with TaskGroup() as group:
            task = group.go(sleep_long())
            try:
                await sleep(3600)
            finally:
                states.append(task.done())

    async def main() -> None:
        hosting = go(host())
        await yield_now()
        await yield_now()
        hosting.cancel()
        with pytest.raises(Cancelled):
            await hosting
        assert len(runtime.tasks()) == 1

    run(main())
    assert states == [False]


def test_a_deadline_cancels_the_block_and_becomes_a_timeout() -> None:
    async def main() -> str:
        with pytest.raises(TimeoutError):
            async with deadline(0.001):
                await sleep(3600)
        await yield_now()
        async with deadline(3600):
            await yield_now()
        await yield_now()
        return "on"

    assert run(main()) == "on"


def test_an_inner_deadline_does_not_hide_an_outer_one() -> None:
    async def main() -> str:
        with pytest.raises(TimeoutError):
            async with deadline(0.002), deadline(3600):
                await sleep(3600)
        return "on"

    assert run(main()) == "on"


def test_what_is_shielded_ends_before_it_is_cancelled() -> None:
    log: list[str] = []

    async def work(event: Event) -> None:
        with shield():
            await event.wait()
            log.append("shielded")
        await yield_now()
        log.append("never")

    async def main() -> None:
        event = Event()
        task = go(work(event))
        await yield_now()
        task.cancel()
        await yield_now()
        assert log == []
        event.set()
        with pytest.raises(Cancelled):
            await task

    run(main())
    assert log == ["shielded"]


def test_a_request_that_is_taken_back_is_not_heard() -> None:
    async def main() -> int:
        task = current_task()
        task.cancel()
        assert task.cancelling() == 1
        task.uncancel()
        await yield_now()
        return task.cancelling()

    assert run(main()) == 0
