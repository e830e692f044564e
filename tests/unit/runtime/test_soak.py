"""Short versions of `make soak`."""

from __future__ import annotations

import pytest

from tests.soak.exits import exits
from tests.soak.mix import KINDS, Ledger, Round, soak


@pytest.mark.slow
def test_no_unit_of_work_is_lost_or_done_twice() -> None:
    ended = soak(seed=20, seconds=10)
    assert set(ended) == {"done", "cancelled"}
    assert ended["done"] > 500


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_processes_exit_as_they_should_at_any_instant() -> None:
    exits(seed=5, count=20)


def test_the_ledger_sees_what_is_lost_done_twice_or_cancelled_unasked() -> None:
    ledger = Ledger()
    unit = ledger.enter()
    with pytest.raises(AssertionError, match="lost"):
        ledger.close()
    ledger.move(unit, "due", "begun")
    with pytest.raises(AssertionError, match="became begun when it was begun"):
        ledger.move(unit, "due", "begun")
    ledger.move(unit, "begun", "cancelled")
    with pytest.raises(AssertionError, match="unasked"):
        ledger.close()


def test_every_kind_of_job_is_there() -> None:
    assert all(callable(getattr(Round, kind)) for kind in KINDS)
