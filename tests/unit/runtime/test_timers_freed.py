"""What timers hold is freed, and none that is pending is work for the collector."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable

import pytest

from herz.runtime import Timer, run, run_virtual, sleep


def nothing() -> None:
    """A call that holds nothing."""


def test_a_pending_timer_is_no_work_for_the_collector() -> None:
    class Thing:
        """Something to point at weakly."""

    def holder(*held: object) -> Callable[[], object]:
        return lambda: held

    async def main() -> None:
        thing = Thing()
        timers: list[Timer] = []
        timers.append(Timer(3600, holder(thing, timers)))  # it holds itself
        leaf = Timer(3600, nothing)
        before = len(gc.get_objects())
        many = [Timer(3600, nothing) for _ in range(1_000)]
        assert len(gc.get_objects()) - before < 10
        assert not gc.is_tracked(timers[0])
        gc.collect()
        assert timers[0].is_pending
        timers[0].stop()
        leaf.stop()
        assert gc.is_tracked(timers[0])
        assert not gc.is_tracked(leaf)
        timers[0].reset(3600)
        assert not gc.is_tracked(timers[0])
        timers[0].stop()
        for timer in many:
            timer.stop()
        watch = weakref.ref(thing)
        del thing, timers, timer
        gc.collect()
        assert watch() is None

    run(main())


def test_timers_of_plain_functions_bring_no_collection_nearer() -> None:
    async def main() -> None:
        gc.collect()
        gc.disable()
        try:
            before = gc.get_count()[0]
            many = [Timer(3600, nothing, 1) for _ in range(1_000)]
            assert gc.get_count()[0] - before < 10
            others = [Timer(3600, nothing, [1]) for _ in range(1_000)]
            assert gc.get_count()[0] - before > 1_000
        finally:
            gc.enable()
        assert all(timer.stop() for timer in many + others)

    run(main())


def test_a_timer_that_holds_itself_is_freed_also_when_its_call_raised() -> None:
    class Thing:
        """Something to point at weakly."""

    async def main() -> weakref.ref[Thing]:
        def fail(*held: object) -> None:
            raise ZeroDivisionError

        thing = Thing()
        timers: list[Timer] = []
        timers.append(Timer(0.001, fail, thing, timers))
        await sleep(0.002)
        assert not timers[0].is_pending
        return weakref.ref(thing)

    told: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda error: told.append(error.exc_type))
        watch = run_virtual(main())
    assert told == [ZeroDivisionError]
    gc.collect()
    assert watch() is None


def test_what_a_fired_timer_held_is_freed() -> None:
    class Thing:
        """Something to point at weakly."""

    async def main() -> weakref.ref[Thing]:
        thing = Thing()
        kept = Timer(1, lambda held: None, thing)
        Timer(1, lambda held: None, [thing])
        watch = weakref.ref(thing)
        del thing
        await sleep(2)
        assert watch() is not None
        del kept
        return watch

    assert run_virtual(main())() is None


def test_after_the_run_what_a_timer_held_is_freed_with_it() -> None:
    held = ["text", *"s"], " ".join("plain")

    async def main() -> list[Timer]:
        return [Timer(3600, nothing, one) for one in held]

    before = [sys.getrefcount(one) for one in held]
    timers = run(main())
    assert [sys.getrefcount(one) for one in held] == [count + 1 for count in before]
    timers.clear()
    assert [sys.getrefcount(one) for one in held] == before
