"""Logistic regression with a ridge, by Newton's method: the line of a model, and its peers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from herz.knowledge.sla.learning.dataset import Floats

STEPS_MAX: Final = 100
STEP_MAX: Final = 4.0
"""Bounds of Newton's method: how often, and how far a weight moves at once."""
TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Logistic:
    """A fitted regression over standardised inputs.

    Args:
        means: by input.
        spreads: by input, above 0.
        weights: bias, then by input in spreads.
    """

    means: Floats
    spreads: Floats
    weights: Floats

    def odds(self, inputs: Floats) -> Floats:
        """Log-odds of each row; a missing input counts as its mean."""
        found: Floats = _design(inputs, self.means, self.spreads) @ self.weights
        return found


def fit(inputs: Floats, labels: Floats, shares: Floats, *, ridge: float = 1.0) -> Logistic:
    """The regression that makes the labels most likely.

    Args:
        inputs: (n, k); NaN is missing.
        labels: 0 or 1, (n,).
        shares: weight of each row, (n,).
        ridge: how much a weight of one spread costs; above 0, so that there is one answer.
    """
    assert ridge > 0
    means = np.nan_to_num(np.nanmean(inputs, axis=0)) if len(inputs) else np.zeros(inputs.shape[1])
    spreads = np.nan_to_num(np.nanstd(inputs, axis=0))
    spreads = np.where(spreads > 1e-9, spreads, 1.0)
    design = _design(inputs, means, spreads)
    weights = np.zeros(design.shape[1])
    costs = np.full(design.shape[1], ridge)
    costs[0] = 1e-6  # The bias is all but free.
    for _ in range(STEPS_MAX):
        chance = sigmoid(design @ weights)
        slope = design.T @ (shares * (chance - labels)) + costs * weights
        bend = (design * (shares * chance * (1 - chance))[:, None]).T @ design + np.diag(costs)
        step = np.linalg.solve(bend, slope)
        longest = float(np.abs(step).max())
        weights = weights - step * min(1.0, STEP_MAX / max(longest, TOLERANCE))
        if longest < TOLERANCE:
            break
    return Logistic(means, spreads, weights)


def sigmoid(odds: Floats) -> Floats:
    """The probability of log-odds, without overflow."""
    found: Floats = np.where(
        odds >= 0,
        1 / (1 + np.exp(-np.abs(odds))),
        np.exp(-np.abs(odds)) / (1 + np.exp(-np.abs(odds))),
    )
    return found


def _design(inputs: Floats, means: Floats, spreads: Floats) -> Floats:
    scaled = np.where(np.isnan(inputs), 0.0, (inputs - means) / spreads)
    return np.column_stack([np.ones(len(inputs)), scaled])
