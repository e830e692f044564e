"""What all tests share: Ctrl-C, and in CI the same examples of property tests on every run."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# No test is timed: a machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

if os.environ.get("CI"):
    # A red run of a change must be the change's doing. What a test sets itself stays as it is.
    settings.register_profile(
        "reproducible",
        settings.get_profile("untimed"),
        derandomize=True,
        database=None,
        print_blob=True,
    )
    settings.load_profile("reproducible")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what goes to the background so, and what tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def collections_stay_on() -> Iterator[None]:
    """Who switches garbage collection off switches it on again."""
    yield
    was_on = gc.isenabled()
    gc.enable()
    assert was_on, "garbage collection was left switched off"
