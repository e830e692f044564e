"""The wheel and the shards against a sorted list: what is due, in which order, and when to wake."""

from __future__ import annotations

import bisect
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz._native import TimerShards, TimerWheel

TICK = 1_000_000
REACH = TICK << 32
"""The span of the wheel; later timers are in its far heap."""

Timer = tuple[int, int]


class Sorted:
    """Timers in a list, by deadline, then by insertion."""

    def __init__(self) -> None:
        self.timers: list[tuple[int, int]] = []

    def insert(self, deadline: int, payload: int) -> None:
        bisect.insort(self.timers, (deadline, payload))

    def cancel(self, payload: int) -> bool:
        kept = [timer for timer in self.timers if timer[1] != payload]
        is_found = len(kept) < len(self.timers)
        self.timers = kept
        return is_found

    def pop_due(self, now: int) -> list[Timer]:
        at = bisect.bisect_right(self.timers, (now, 1 << 62))
        due, self.timers = self.timers[:at], self.timers[at:]
        return due

    def first(self) -> int | None:
        return self.timers[0][0] if self.timers else None


# Around ticks, slots, rotations and the ends of levels, where the arithmetic turns.
EDGES = [0, 1, TICK, 2 * TICK, 3 * TICK, *(TICK << (8 * level) for level in range(1, 5))]
DELAYS = st.one_of(
    st.integers(0, 10 * TICK),
    st.integers(0, 1000 * TICK),
    st.integers(0, 3 * REACH),
    st.builds(lambda edge, times, more: edge * times + more,
              st.sampled_from(EDGES), st.integers(0, 3), st.integers(0, 2)),
)  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("insert"), DELAYS),
    st.tuples(st.just("cancel"), st.integers(0, 1 << 20)),
    st.tuples(st.just("advance"), DELAYS),
    st.tuples(st.just("wake"), st.just(0)),
)
HISTORIES = st.lists(STEPS, max_size=80)


def check_wake(wake: int | None, first: int | None) -> None:
    """Not after the first; shards may still name a cancelled one."""
    assert first is None or (wake is not None and wake <= first)


def due_of(wheel: TimerWheel, now: int) -> list[Timer]:
    due = []
    while (timer := wheel.pop_due(now)) is not None:
        due.append(timer)
    return due


@settings(max_examples=300)
@given(HISTORIES, st.integers(0, 1 << 50))
def test_wheel_equals_a_sorted_list(history: list[tuple[str, int]], origin: int) -> None:
    wheel, plain, now = TimerWheel(origin), Sorted(), origin
    handles: dict[int, int] = {}
    for number, (step, value) in enumerate(history):
        match step:
            case "insert":
                handles[number] = wheel.insert(now + value, number)
                plain.insert(now + value, number)
            case "cancel" if handles:
                chosen = sorted(handles)[value % len(handles)]
                got = wheel.cancel(handles[chosen])
                assert got == (chosen if plain.cancel(chosen) else None)
            case "advance" | "wake":
                wake = wheel.next_wake()
                now = now + value if step == "advance" else max(now, wake or 0)
                assert due_of(wheel, now) == plain.pop_due(now)
        assert len(wheel) == len(plain.timers)
        check_wake(wheel.next_wake(), plain.first())
        assert len(wheel) > 0 or wheel.next_wake() is None


@settings(max_examples=100)
@given(st.lists(DELAYS, max_size=60))
def test_wheel_wakes_a_bounded_number_of_times(delays: list[int]) -> None:
    wheel = TimerWheel(0)
    for payload, delay in enumerate(delays):
        wheel.insert(delay, payload)
    fired, wakes = [], 0
    while (wake := wheel.next_wake()) is not None:
        fired += due_of(wheel, wake)
        wakes += 1
    assert [deadline for deadline, _ in fired] == sorted(delays)
    assert wakes <= len(set(delays))


@settings(max_examples=150)
@given(HISTORIES, st.integers(1, 5))
def test_shards_fire_what_a_sorted_list_does(
    history: list[tuple[str, int]], processors: int
) -> None:
    shards, plain, now = TimerShards(processors, 0), Sorted(), 0
    for number, (step, value) in enumerate(history):
        match step:
            case "insert":
                before = shards.next_wake()
                is_new = shards.insert(number % processors, now + value, number)
                assert is_new or (before is not None and before <= now + value)
                plain.insert(now + value, number)
            case "cancel" if number:
                assert shards.cancel(value % number) == plain.cancel(value % number)
            case "advance" | "wake":
                now = now + value if step == "advance" else max(now, shards.next_wake() or 0)
                due = shards.poll(now, 1000)
                assert [timer[0] for timer in due] == sorted(timer[0] for timer in due)
                assert sorted(due) == plain.pop_due(now)
        assert len(shards) == len(plain.timers)
        check_wake(shards.next_wake(), plain.first())


def fill(count: int, insert: Callable[[int, int], object]) -> None:
    for payload in range(count):
        insert(30_000 * TICK + payload * 50_000, payload)


def test_shards_adapt_and_keep_every_timer() -> None:
    shards = TimerShards(2, 0)
    fill(12_000, lambda deadline, payload: shards.insert(payload % 2, deadline, payload))
    assert shards.active() == 2
    for now in range(200):
        assert shards.poll(now, 100) == []
    assert shards.active() == 64
    assert all(shards.cancel(payload) for payload in range(100, 12_000))
    for now in range(200, 400):
        assert shards.poll(now, 100) == []
    assert (shards.active(), len(shards)) == (2, 100)
    assert [payload for _, payload in shards.poll(40_000 * TICK, 1000)] == list(range(100))
    assert shards.next_wake() is None


def test_wheel_reuses_and_gives_back_its_memory() -> None:
    wheel = TimerWheel(0)
    handles: list[int] = []
    fill(20_000, lambda deadline, payload: handles.append(wheel.insert(deadline, payload)))
    full = wheel.bytes()
    for handle in handles[2_000:]:
        assert wheel.cancel(handle) is not None
    assert wheel.bytes() < full / 4
    fill(18_000, wheel.insert)
    assert wheel.bytes() < full * 1.05


def test_shards_refuse_a_payload_that_is_pending() -> None:
    shards = TimerShards(1, 0)
    assert shards.insert(0, 5, 7)
    with pytest.raises(ValueError, match="7 is pending"):
        shards.insert(0, 6, 7)
    with pytest.raises(IndexError):
        TimerShards(0, 0)
