"""The engines behind `herz fuzz comparator`, one by one."""

from __future__ import annotations

import random

import pytest

from herz.front.fuzz.engines import with_hypothesis
from herz.intake.fuzz import Asked, Refuted, Source
from herz.intake.fuzz.domains import Whole
from herz.intake.fuzz.words import Words


@pytest.mark.parametrize("is_sound", [True, False])
@pytest.mark.parametrize("calls", [1, 3, 40, 400, 4_000])
def test_time_that_runs_out_in_the_middle_of_a_pool_accuses_nobody(
    calls: int, is_sound: bool
) -> None:
    """The watch over the time says so between any two calls, also while a fault is shrunk."""
    asked = Asked((lambda a, b: a < b) if is_sound else (lambda a, b: a <= b))

    def count(one: object, two: object) -> None:
        asked.is_late = asked.is_late or asked.count >= calls

    asked.before_call = count
    source = Source(random.Random(1), Words())
    try:
        with_hypothesis(asked, Whole(), source, 1, lambda: not asked.is_late)
    except Refuted:
        assert not is_sound
