"""In a replay, a clock that is read is an error, however it was imported; elsewhere it is not."""

from __future__ import annotations

import datetime
import gc
import threading
import time
from collections.abc import Callable
from datetime import date
from time import monotonic_ns
from typing import Any

import pytest

from herz.errors import InvariantError
from herz.world.store.clockless import CALENDARS, CLOCKS, clockless


@pytest.mark.parametrize("name", [*CLOCKS, *CALENDARS])
def test_every_clock_is_refused_and_then_there_again(name: str) -> None:
    real = getattr(time, name)
    arguments = (time.CLOCK_REALTIME,) if "gettime" in name else ()
    with clockless(), pytest.raises(InvariantError, match=f"time.{name} was asked"):
        getattr(time, name)(*arguments)
    assert getattr(time, name) is real
    assert real(*arguments)


def since() -> int:
    return monotonic_ns()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def today() -> date:
    return date.today()


@pytest.mark.parametrize("asked", [since, now, today])
def test_names_that_were_imported_are_refused_too(asked: Callable[[], Any]) -> None:
    with clockless(), pytest.raises(InvariantError):
        asked()
    assert asked()


def test_times_that_are_given_are_no_clock() -> None:
    with clockless():
        assert time.gmtime(0).tm_year == 1970
        assert datetime.datetime(2020, 1, 2).year == 2020


def test_other_threads_keep_their_clocks() -> None:
    found: list[float] = []
    with clockless():
        thread = threading.Thread(target=lambda: found.append(time.monotonic()))
        thread.start()
        thread.join()
    assert found


def test_who_looks_at_the_garbage_collector_is_left_out_and_comes_back() -> None:
    asked: list[float] = []

    def look(phase: str, info: dict[str, int]) -> None:
        asked.append(time.perf_counter())

    gc.callbacks.append(look)
    try:
        with clockless():
            # A collection may begin by itself just before and just after.
            before = len(asked)
            gc.collect()
            assert len(asked) == before
        gc.collect()
        assert len(asked) > before
    finally:
        gc.callbacks.remove(look)
