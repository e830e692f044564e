"""Figures: that they are what they are called, on rows whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from herz.errors import ConfigError
from herz.knowledge.sla.learning import evaluation
from herz.knowledge.sla.learning.evaluation import Answers, auc, cross_validate, figures
from herz.knowledge.sla.learning.logistic import fit, sigmoid
from herz.knowledge.sla.learning.training import FOLDS, folds_of, train
from tests.support.promises import OBJECTIVE, dataset

pytest.importorskip("xgboost", reason="the extra `sla` is not installed")


def by_pairs(kept: list[bool], rank: list[float]) -> float:
    """The AUC by its definition."""
    good = [value for value, k in zip(rank, kept, strict=True) if k]
    bad = [value for value, k in zip(rank, kept, strict=True) if not k]
    wins = sum((a > b) + (a == b) / 2 for a in good for b in bad)
    return wins / (len(good) * len(bad))


def test_auc_counts_pairs_and_halves_ties() -> None:
    chance = np.random.Generator(np.random.PCG64(1))
    kept = chance.random(60) < 0.6
    rank = np.round(chance.random(60), 1)
    assert auc(kept, rank) == pytest.approx(by_pairs(kept.tolist(), rank.tolist()))
    assert auc(np.ones(3, np.bool_), np.zeros(3)) is None


def answers(chance: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Answers:
    """A model that says this, and a rival that says nothing."""
    nothing = np.full(len(chance), 0.5)
    return Answers(
        chance, np.ones(len(chance), np.bool_), {"logistic": nothing}, {"logistic": nothing}
    )


def test_figures_of_a_perfect_and_of_a_blind_model() -> None:
    data = dataset()
    kept = data.kept(OBJECTIVE.target_ns)
    best = figures(data, OBJECTIVE, answers(kept.astype(np.float64)))
    assert best["auc"] == 1
    assert best["brier"] == 0
    assert best["brier_skill"] == 1
    assert best["paired_difference"]["low"] == 0.5
    blind = figures(data, OBJECTIVE, answers(np.full(len(data), kept.mean())))
    assert blind["auc"] == 0.5
    assert blind["brier_skill"] == pytest.approx(0)
    assert blind["paired_difference"]["mean"] == 0


def test_interval_is_by_sessions_not_by_rows() -> None:
    data = dataset()
    kept = data.kept(OBJECTIVE.target_ns)
    # Right in all sessions but one, wrong there: only a draw of sessions shows how wide that is.
    wrong = data.session == data.session[0]
    chance = np.where(wrong, ~kept, kept).astype(np.float64)
    found = figures(data, OBJECTIVE, answers(chance))
    low, high = found["auc_interval"]
    assert high == 1
    assert low < found["auc"] - 0.1


def test_one_session_has_no_interval() -> None:
    data = dataset()
    one = data.only(data.session == data.session[0])
    kept = one.kept(OBJECTIVE.target_ns)
    found = figures(one, OBJECTIVE, answers(kept.astype(np.float64)))
    assert found["auc_interval"] == [None, None]


def test_out_of_fold_answers_come_from_models_without_the_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = []

    def noting(data: object, objective: object, *, by: str) -> object:
        trained.append(set(data.session))  # type: ignore[attr-defined]
        return train(data, objective, by=by)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "train", noting)
    data = dataset()
    found = cross_validate(data, OBJECTIVE, by="session")
    sessions = sorted(set(data.session))
    assert trained == [set(sessions) - {session} for session in sessions]
    assert figures(data, OBJECTIVE, found)["auc"] > 0.8


def test_folds_keep_units_whole_and_are_alike() -> None:
    units = np.array([f"u{at % 13}" for at in range(130)])
    folds = folds_of(units)
    assert sorted(unit for fold in folds for unit in fold) == sorted(set(units))
    assert {len(fold) for fold in folds} == {2, 3}
    assert len(folds) == FOLDS
    with pytest.raises(ConfigError, match="one unit only"):
        folds_of(np.array(["a", "a"]))


def test_regression_finds_the_weights_that_made_the_labels() -> None:
    chance = np.random.Generator(np.random.PCG64(2))
    inputs = chance.normal(3, 2, (20_000, 2))
    odds = 0.5 + 1.5 * (inputs[:, 0] - 3) - 0.7 * (inputs[:, 1] - 3)
    labels = (chance.random(len(odds)) < sigmoid(odds)).astype(np.float64)
    found = fit(inputs, labels, np.ones(len(labels)), ridge=1e-3)
    slopes = found.weights[1:] / found.spreads
    assert slopes == pytest.approx([1.5, -0.7], abs=0.06)
    # At the found weights the likelihood is level: Newton has arrived.
    design = np.column_stack([np.ones(len(inputs)), (inputs - found.means) / found.spreads])
    slope = design.T @ (sigmoid(found.odds(inputs)) - labels)
    assert np.abs(slope).max() < 0.01
