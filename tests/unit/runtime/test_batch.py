"""`go_map`: order, errors, cancellation, and how many threads share the items."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz import runtime
from herz.runtime import Cancelled, go_map, run, sleep


@given(st.lists(st.integers(), max_size=50), st.integers(1, 5))
@settings(max_examples=25)
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int) -> None:
    async def main() -> list[str]:
        return await go_map(str, items, workers=workers)

    assert run(main()) == [str(item) for item in items]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_ends_a_batch_or_takes_its_place(workers: int) -> None:
    called = []

    def invert(item: int) -> float:
        called.append(item)
        return 1 / item

    async def main() -> list[float | Exception]:
        with pytest.raises(ZeroDivisionError):
            await go_map(invert, [1, 0, *range(1, 1_000)], workers=workers)
        assert len(called) < 1_000
        return await go_map(invert, [2, 0, 4], workers=workers, return_exceptions=True)

    first, second, third = run(main())
    assert (first, third) == (0.5, 0.25)
    assert isinstance(second, ZeroDivisionError)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancelled_batch_ends_after_the_calls_that_are_under_way(workers: int) -> None:
    began = threading.Semaphore(0)
    gate = threading.Semaphore(0)
    called = []

    def call(item: int) -> None:
        called.append(item)
        began.release()
        gate.acquire()

    async def main() -> None:
        batch = go_map(call, range(1_000), workers=workers)
        for _ in range(workers):
            while not began.acquire(blocking=False):
                await sleep(0.000_1)
        batch.cancel()
        await sleep(0.001)
        gate.release(workers)
        with pytest.raises(Cancelled):
            await batch

    run(main())
    assert sorted(called) == list(range(workers))


def test_threads_share_the_items_within_the_bound() -> None:
    together = threading.Barrier(3)

    def meet(_: int) -> str:
        together.wait(20)
        return threading.current_thread().name

    async def main() -> list[str]:
        return await go_map(meet, range(3), workers=3)

    assert len(set(run(main(), hand_off=False))) == 3


def test_more_threads_than_the_bound_allows_take_turns() -> None:
    async def main() -> list[int]:
        return await go_map(abs, range(10), workers=8)

    assert run(main(), max_workers=2) == list(range(10))


def test_items_are_listed_at_once_and_by_the_caller() -> None:
    threads = []

    def items() -> Iterator[int]:
        threads.append(threading.get_ident())
        yield 1

    async def main() -> None:
        batch = go_map(abs, items(), name="some numbers")
        assert threads == [threading.get_ident()]
        assert batch.name == "some numbers"
        await batch

    run(main())


def test_no_thread_is_no_number_of_threads() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="at least 1, not 0"):
            go_map(abs, [1], workers=0)

    run(main())
    with pytest.raises(RuntimeError, match="no herz runtime runs"):
        runtime.go_map(abs, [1])
