"""The search for broken laws: what it has found is not lost when its time ends meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from herz.intake.fuzz import Asked, Flaw, OutOfTime, Refuted, Source, Words, search
from herz.intake.fuzz.domains import Whole

LESS = Asked(lambda a, b: a <= b)


class Late:
    """Finds its time over when it looks at a pool that was asked about."""

    def before(self, values: list[Any]) -> None:
        """Nothing is looked at yet."""

    def after(self, values: list[Any]) -> None:
        """As a comparator that is asked once more."""
        raise OutOfTime


def test_a_fault_is_told_though_no_time_is_left_to_look_on() -> None:
    source = Source(random.Random(1), Words())
    with pytest.raises(Refuted) as caught:
        search(LESS, Whole(), source, lambda: True, watch=Late())
    assert caught.value.finding.flaw is Flaw.IRREFLEXIVE


def test_the_end_of_the_time_ends_the_search() -> None:
    sound = Asked(lambda a, b: a < b)
    done = search(sound, Whole(), Source(random.Random(1), Words()), lambda: True, watch=Late())
    assert done.pools == 0
