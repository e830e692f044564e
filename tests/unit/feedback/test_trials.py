"""Trials of models: what is promoted, how seldom wrongly, and what is taken back."""

from __future__ import annotations

import random
from statistics import NormalDist

import pytest

from herz.feedback.adjust import trials
from herz.feedback.adjust.trials import ERROR, OUTCOMES_MIN, Trial, Watch, student
from herz.feedback.observe.promises import Placement, PlacementOutcome

POLICY = "@sha256:both"


def outcome(
    number: int,
    ours: int,
    theirs: int,
    *,
    is_kept: bool,
    policy: str = POLICY,
    propensity: int = -1,
) -> PlacementOutcome:
    """An outcome of one of 200 pods, 25 in a window."""
    placed = Placement(number, "n0", policy, ours, "", propensity, theirs)
    return PlacementOutcome(placed, f"pod-{number % 200}", number // 25, is_kept)


def fed(judge: Trial | Watch, edge: int, seed: int, count: int = 2_000) -> trials.Verdict:
    """Outcomes that are kept 8 in 10 times on average; who knows more by `edge` is on trial."""
    chance = random.Random(seed)
    for number in range(count):
        truth = chance.choice([4_000, 8_000, 9_500, 9_900])
        blurred = truth + (8_000 - truth) * abs(edge) // 100
        ours, theirs = (blurred, truth) if edge >= 0 else (truth, blurred)
        judge.add(outcome(number, ours, theirs, is_kept=chance.randrange(10_000) < truth))
    return judge.verdict


def test_better_candidate_is_promoted_and_a_worse_or_equal_one_is_not() -> None:
    found = fed(Trial(POLICY, 1), 80, seed=1)
    assert found.says == "promote"
    assert (found.outcomes, found.low is not None and found.low > 0) == (OUTCOMES_MIN, True)
    assert fed(Trial(POLICY, 1), -80, seed=1).says == "keep"
    assert fed(Trial(POLICY, 1), 0, seed=1).says == "keep"


def test_no_better_candidates_are_promoted_less_often_than_is_said() -> None:
    # Both say the same with noise of their own: neither knows more.
    wrong, runs = 0, 200
    for seed in range(runs):
        chance, trial = random.Random(seed), Trial(POLICY, 1)
        while trial.verdict.says == "wait":
            number = trial.verdict.outcomes
            ours, theirs = (8_000 + chance.randint(-1_500, 1_500) for _ in range(2))
            trial.add(outcome(number, ours, theirs, is_kept=chance.random() < 0.8))
        wrong += trial.verdict.says == "promote"
    # 2.5 % of 200 is 5; more than 12 would come once in 400 such tests.
    assert wrong <= 12


def test_errors_of_all_candidates_together_are_bounded() -> None:
    spent = [Trial(POLICY, number).error for number in range(1, 10_000)]
    assert spent[0] == pytest.approx(0.025), "the first one's is the 95 % interval"
    assert sorted(spent, reverse=True) == spent
    assert 0.99 * ERROR < sum(spent) < ERROR


def test_trial_is_judged_once() -> None:
    trial = Trial(POLICY, 1)
    first = fed(trial, -80, seed=2, count=OUTCOMES_MIN)
    assert first.says == "keep"
    assert fed(trial, 80, seed=3, count=5_000) == first


def test_too_few_violations_are_waited_for() -> None:
    trial = Trial(POLICY, 1)
    for number in range(3 * OUTCOMES_MIN):
        trial.add(outcome(number, 9_000, 9_900, is_kept=number % 61 != 0))
    assert trial.verdict.violations == 50
    assert trial.verdict.outcomes == 49 * 61 + 1
    assert trial.verdict.says == "promote"


def test_trial_without_violations_ends_without_a_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "OUTCOMES_MAX", 1_500)
    trial = Trial(POLICY, 1)
    for number in range(2_000):
        trial.add(outcome(number, 9_000, 9_900, is_kept=True))
    assert (trial.verdict.says, trial.verdict.outcomes) == ("keep", 1_500)


def test_few_pods_tell_nothing_however_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "OUTCOMES_MAX", 1_900)
    trial = Trial(POLICY, 1)
    for number in range(2_000):
        placed = Placement(1, "n0", POLICY, 5_000, "", -1, 9_900 if number % 10 else 100)
        trial.add(PlacementOutcome(placed, f"pod-{number % 5}", number, bool(number % 10)))
    assert (trial.verdict.says, trial.verdict.outcomes) == ("keep", 1_900)
    assert trial.verdict.mean > 0.2


def test_only_what_came_after_the_cut_and_was_said_by_both_counts() -> None:
    trial = Trial(POLICY, 1, cut_window=3)
    trial.add(outcome(99, 9_000, 9_000, is_kept=True))
    trial.add(outcome(100, 9_000, 9_000, is_kept=True, policy="@sha256:other"))
    trial.add(outcome(100, -1, 9_000, is_kept=True))
    trial.add(outcome(100, 9_000, -1, is_kept=True))
    assert trial.verdict.outcomes == 0
    trial.add(outcome(100, 9_000, 9_000, is_kept=True))
    assert trial.verdict.outcomes == 1


def test_explored_placements_weigh_by_how_seldom_they_are() -> None:
    # The candidate is right on the one placement in ten that is explored, and wrong on the others.
    trial = Trial(POLICY, 1)
    for number in range(1_100):
        is_explored = number % 11 == 0
        kept = bool(number % 2)
        right = 9_900 if kept else 100
        ours, theirs = (5_000, right) if is_explored else (5_000, 10_000 - right)
        share = 2_000 if is_explored else 998_000
        trial.add(outcome(number, ours, theirs, is_kept=kept, propensity=share))
    # 100 explored ones stand for 500 each, 1,000 others for one each.
    assert trial.verdict.mean == pytest.approx(
        0.2499 * (50_000 / 51_002) - 0.7301 * 0.0196, abs=2e-3
    )


def test_promotion_is_taken_back_where_the_model_before_was_better() -> None:
    assert fed(Watch(POLICY), 80, seed=1).says == "roll-back"
    settled = fed(Watch(POLICY), -80, seed=1)
    assert (settled.says, settled.clusters) == ("settled", 60)


def test_promotion_of_a_class_with_many_pods_is_taken_back_too() -> None:
    """A thousand outcomes come in one window there: they tell one thing."""
    for pods in (40, 3_000):
        chance, watch = random.Random(pods), Watch(POLICY)
        for number in range(pods * 30):
            truth = chance.choice([4_000, 9_500])
            placed = Placement(number, "n0", POLICY, 8_000, "", -1, truth)
            kept = chance.randrange(10_000) < truth
            uid, window = f"pod-{number % pods}", number // pods
            watch.add(PlacementOutcome(placed, uid, window, kept))
            assert watch.verdict.says == "wait" or window == 29
        assert watch.verdict.says == "roll-back"
        assert watch.verdict.outcomes <= 30 * trials.WINDOW_MAX


def test_equal_models_are_seldom_rolled_back() -> None:
    wrong = 0
    for seed in range(100):
        chance, watch = random.Random(seed), Watch(POLICY)
        for number in range(1_500):
            ours, theirs = (8_000 + chance.randint(-1_500, 1_500) for _ in range(2))
            watch.add(outcome(number, ours, theirs, is_kept=chance.random() < 0.8))
        assert watch.verdict.says != "wait"
        wrong += watch.verdict.says == "roll-back"
    assert wrong <= 12


@pytest.mark.parametrize(
    ("freedom", "share", "quantile"),
    # Tables of Student's distribution.
    [(29, 0.975, 2.0452), (29, 0.995, 2.7564), (60, 0.975, 2.0003), (29, 0.9995, 3.6594)],
)
def test_student_is_that_of_the_tables(freedom: int, share: float, quantile: float) -> None:
    assert student(share, freedom) == pytest.approx(quantile, rel=2e-3)
    assert student(share, freedom) > NormalDist().inv_cdf(share)
