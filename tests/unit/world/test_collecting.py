"""Garbage collection between steps: when, for how long, and that nothing depends on it."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from herz import app
from herz.world import collecting
from herz.world.collecting import (
    BUCKETS,
    LOOKED_MAX,
    LOOKED_MIN,
    PAUSE_NS,
    Automatic,
    BetweenSteps,
    Full,
    GarbageCollector,
    Pauses,
)


class Knot:
    """Refers to itself: only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


class Clock:
    """Each look at it takes a while."""

    def __init__(self, step_ns: int) -> None:
        self.step_ns, self.now_ns = step_ns, 0

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


@contextmanager
def running(collector: BetweenSteps) -> Iterator[BetweenSteps]:
    collector.begin()
    try:
        yield collector
    finally:
        collector.end()


def test_python_collects_nothing_by_itself_between_begin_and_end() -> None:
    pauses = Pauses()
    with running(BetweenSteps()), pauses.watched():
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 1_000
        knots = [Knot() for _ in range(100_000)]
        assert len(knots) == 100_000
        assert sum(map(sum, pauses.counts)) == 0
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with running(BetweenSteps(is_loaded=False)):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_cycles_go_between_steps_once_there_are_enough_young_objects() -> None:
    with running(BetweenSteps()) as collector:
        gone = weakref.ref(Knot())
        collector.between()
        assert gone() is not None
        _ = [Knot() for _ in range(collector.looked_max)]
        del _
        assert gone() is not None
        collector.between()
        assert gone() is None


def test_survivors_of_two_collections_are_looked_at_by_full_ones_only() -> None:
    pauses = Pauses()
    with running(BetweenSteps(clock=Clock(1))) as collector, pauses.watched():
        collector.looked_max = 10_000
        kept = []
        for _ in range(4):
            kept.append([Knot() for _ in range(4_000)])
            collector.between()
        assert [sum(counts) for counts in pauses.counts] == [1, 1, 0]
        gone = weakref.ref(kept[0][0])
        kept.clear()
        _ = [Knot() for _ in range(20_000)]
        collector.between()
        assert gone() is not None


@pytest.mark.parametrize(("step_ns", "expected"), [(PAUSE_NS * 4, -1), (1, 1)])
def test_how_many_objects_are_looked_at_follows_from_what_the_last_pause_took(
    step_ns: int, expected: int
) -> None:
    with running(BetweenSteps(clock=Clock(step_ns))) as collector:
        before = collector.looked_max
        kept = [Knot() for _ in range(before + 100)]
        collector.between()
        assert kept
        assert (collector.looked_max - before) * expected > 0
        for _ in range(10):
            kept += [Knot() for _ in range(collector.looked_max + 100)]
            collector.between()
        assert collector.looked_max == (LOOKED_MIN if expected < 0 else LOOKED_MAX)


def grown(told: list[Full], percent: int, *, is_idle: bool) -> None:
    """Memory in use grows by so many percent, and a step ends."""
    with running(BetweenSteps(told=told.append)) as collector:
        kept = [[] for _ in range(sys.getallocatedblocks() * percent // 100)]  # type: ignore[var-annotated]
        assert kept
        collector.between(is_idle=is_idle)
        collector.between(is_idle=is_idle)


@pytest.mark.parametrize(
    ("percent", "is_idle", "why"),
    [
        (12, False, []),
        (12, True, ["idle"]),
        (40, False, []),
        (120, False, ["growth"]),
        (1, True, []),
    ],
)
def test_all_is_looked_at_when_idle_or_when_memory_has_grown(
    percent: int, is_idle: bool, why: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Full] = []
    given_back: list[int] = []
    monkeypatch.setattr(collecting, "give_back", lambda: given_back.append(len(told)))
    grown(told, percent, is_idle=is_idle)
    # Free memory goes back where nobody waits for a decision.
    assert given_back == [0, 1][: 1 + why.count("idle")]
    assert [full.why for full in told] == ["start", *why]
    assert all(full.took_ns > 0 for full in told)
    assert all(full.percent >= 5 for full in told[1:])


def test_free_memory_goes_back_now_and_then_though_there_is_always_something_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_back: list[int] = []
    at = 0
    monkeypatch.setattr(collecting, "give_back", lambda: given_back.append(at))
    with running(BetweenSteps(is_loaded=False, clock=Clock(1))) as collector:
        for at in range(collecting.GIVEN_BACK_EVERY * 4):  # noqa: B007
            # As many at once as make survivors be looked at, too.
            kept = [Knot() for _ in range(collector.looked_max)]
            assert kept
            collector.between()
    assert given_back == [collecting.GIVEN_BACK_EVERY * times - 1 for times in range(1, 5)]


def test_a_full_collection_finds_what_was_frozen() -> None:
    knot = Knot()
    gone = weakref.ref(knot)
    told: list[Full] = []
    with running(BetweenSteps(told=told.append)) as collector:
        del knot
        kept = [[] for _ in range(sys.getallocatedblocks() * 6 // 5)]  # type: ignore[var-annotated]
        assert gone() is not None
        collector.between()
        assert kept
        assert gone() is None
    assert [full.why for full in told] == ["start", "growth"]
    assert told[-1].found >= 1


def test_pauses_are_counted_by_generation_whoever_asked_for_them() -> None:
    pauses = Pauses()
    with pauses.watched():
        for generation in (0, 1, 1, 2):
            _ = Knot()
            gc.collect(generation)
    gc.collect()
    assert [sum(counts) for counts in pauses.counts] == [1, 2, 1]
    assert all(took > 0 for took in pauses.sum_ns)
    assert sum(pauses.found) >= 3
    assert len(pauses.counts[0]) == len(BUCKETS) + 1


class Counting:
    """No collections at all; at the end it is counted what they would have found."""

    def __init__(self) -> None:
        self.steps = 0
        self.found = -1

    def begin(self) -> None:
        """See `GarbageCollector`."""
        gc.collect()
        gc.disable()

    def between(self, *, is_idle: bool = False) -> None:
        """See `GarbageCollector`."""
        del is_idle
        self.steps += 1

    def end(self) -> None:
        """See `GarbageCollector`."""
        self.found = gc.collect()
        gc.enable()


class Eager(BetweenSteps):
    """Collects after each step."""

    def between(self, *, is_idle: bool = False) -> None:
        """See `GarbageCollector`."""
        self.looked_max = 0
        super().between(is_idle=is_idle)


def chaos(garbage: GarbageCollector) -> tuple[int, str]:
    """The simulator's chaos: preemption, gangs, volumes, faults; its decisions and their digest."""
    found = app.run_simulation(
        scenario="chaos",
        policy="default",
        seed=2,
        runs=1,
        data=None,
        list_name=None,
        load=None,
        progress=None,
        garbage=lambda: garbage,
    )
    (run,) = found.runs
    return run.decisions, run.decisions_digest


def test_decisions_make_no_cyclic_garbage_and_know_nothing_of_collections() -> None:
    counting, pauses = Counting(), Pauses()
    without = chaos(counting)
    assert without[0] > 2_000
    assert counting.steps > 500
    assert counting.found == 0
    with pauses.watched():
        assert chaos(Eager()) == without
    assert sum(map(sum, pauses.counts)) > 500


def test_pythons_own_collector_is_left_on() -> None:
    automatic = Automatic(freezes=True)
    automatic.begin()
    try:
        automatic.between()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        automatic.end()
    assert gc.get_freeze_count() == 0
