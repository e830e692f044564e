"""Drift: told when more than chance lies outside, with the features, and not before."""

from __future__ import annotations

import random

from herz.feedback.adjust.drift import PLACEMENTS_MIN, WINDOW, DriftWatch


def watched(outside_percent: int, count: int = WINDOW, seed: int = 0) -> DriftWatch:
    chance, watch = random.Random(seed), DriftWatch()
    for number in range(count):
        is_out = chance.randrange(100) < outside_percent
        watch.add(("expected_cpu", *(("io",) if number % 3 == 0 else ())) if is_out else ())
    return watch


def test_what_held_out_units_do_is_no_drift() -> None:
    told = sum(watched(5, seed=seed).drifted is not None for seed in range(200))
    assert told <= 3, "3 sigmas"


def test_more_outside_than_chance_explains_is_told_with_the_features() -> None:
    found = watched(15).drifted
    assert found is not None
    assert 0.1 < found.share < 0.2
    assert found.placements == WINDOW
    assert found.features == ("expected_cpu", "io")


def test_little_tells_nothing_and_another_model_begins_anew() -> None:
    assert watched(100, PLACEMENTS_MIN - 1).drifted is None
    watch = watched(100, PLACEMENTS_MIN)
    assert watch.drifted is not None
    watch.clear()
    assert watch.drifted is None


def test_drift_ends_when_the_last_placements_are_as_they_were() -> None:
    watch = watched(100)
    for _ in range(WINDOW):
        watch.add(())
    assert watch.drifted is None
