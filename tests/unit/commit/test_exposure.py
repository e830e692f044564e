"""Exposure and the proof modes that bound it."""

from __future__ import annotations

import pytest

from herz.commit.audit.exposure import MODES, Exposure, Gap

S = 1_000_000_000


def test_a_gap_counts_entries_and_ages_from_its_first() -> None:
    exposure = Exposure(0, 0, 0, 0)
    assert exposure.unsigned(9 * S) == Gap(0, 0)
    exposure.appended(10, 1 * S)
    exposure.appended(30, 2 * S)
    assert exposure.unsigned(5 * S) == Gap(30, 4 * S)
    exposure.signed(10)
    assert exposure.unsigned(5 * S) == Gap(20, 3 * S)
    assert exposure.unwitnessed(5 * S) == Gap(30, 4 * S)
    exposure.signed(30)
    assert exposure.unsigned(5 * S) == Gap(0, 0)
    exposure.witnessed(29)
    assert exposure.unwitnessed(5 * S) == Gap(1, 3 * S)


def test_a_cover_never_shrinks_nor_reaches_beyond_the_log() -> None:
    exposure = Exposure(10, 10, 4, 0)
    exposure.signed(3)
    assert exposure.unsigned(S) == Gap(0, 0)
    exposure.signed(99)
    exposure.appended(12, S)
    assert exposure.unsigned(S) == Gap(2, 0)
    assert exposure.unwitnessed(2 * S) == Gap(8, 2 * S)


def test_a_long_gap_takes_few_marks() -> None:
    exposure = Exposure(0, 0, 0, 0)
    for at in range(10_000):
        exposure.appended(at + 1, at * 1_000_000)  # 10 s
    assert len(exposure._signed._marks) == 100
    assert exposure.unsigned(10 * S) == Gap(10_000, 10 * S)


@pytest.mark.parametrize(
    ("size", "now", "is_due"), [(0, 9 * S, False), (999, 0, False), (1000, 0, True), (1, S, True)]
)
def test_a_checkpoint_is_due_by_count_or_by_age(size: int, now: int, is_due: bool) -> None:
    exposure = Exposure(0, 0, 0, 0)
    exposure.appended(size, 0)
    assert exposure.is_checkpoint_due(now) is is_due


@pytest.mark.parametrize(
    ("mode", "signed", "has_witnesses", "last_allowed_s", "word"),
    [
        ("relaxed", False, False, 3600, "unsigned"),
        ("relaxed", True, True, 3600, "unwitnessed"),
        ("strict", False, False, 5, "unsigned"),
        ("strict", True, True, 3600, "unwitnessed"),
        ("witnessed", False, True, 5, "unsigned"),
        ("witnessed", True, True, 120, "unwitnessed"),
        ("witnessed", True, False, 120, "unwitnessed"),
    ],
)
def test_a_mode_refuses_beyond_its_bound_and_says_why(
    mode: str, signed: bool, has_witnesses: bool, last_allowed_s: int, word: str
) -> None:
    exposure = Exposure(0, 0, 0, 0)
    exposure.appended(5, 0)
    if signed:
        exposure.signed(5)
    asked = MODES[mode]
    assert asked.refusal(exposure, last_allowed_s * S, has_witnesses=has_witnesses) == ""
    said = asked.refusal(exposure, (last_allowed_s + 1) * S, has_witnesses=has_witnesses)
    assert said.startswith(f"proof mode {mode}: 5 entries {word} for {last_allowed_s + 1} s")
    exposure.signed(5)
    exposure.witnessed(5)
    assert asked.refusal(exposure, 9999 * S, has_witnesses=has_witnesses) == ""


def test_without_witnesses_only_the_mode_that_needs_them_asks() -> None:
    exposure = Exposure(0, 0, 0, 0)
    exposure.appended(5, 0)
    exposure.signed(5)
    for mode in ("relaxed", "strict"):
        assert MODES[mode].refusal(exposure, 99_999 * S, has_witnesses=False) == ""
