"""Rows of a file as the outcomes that a trial takes: what both models say of them, and what came.

A row's group stands for the pod and its session for the window: what hangs together is then held
together, and the trial's variance is the larger one between groups and between sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from herz.errors import ConfigError
from herz.feedback.observe.promises import Placement, PlacementOutcome
from herz.knowledge.sla.features import Column
from herz.knowledge.sla.learning.dataset import Dataset, Objective
from herz.knowledge.sla.model import Model

POLICY: Final = "file"
"""Stands for the policy of all rows."""


def outcomes_of(
    incumbent: Model, candidate: Model, data: Dataset, objective: Objective
) -> Iterator[PlacementOutcome]:
    """The rows in their order.

    Args:
        incumbent: the model in force.
        candidate: the one on trial.
        data: rows that neither has seen.
        objective: the promise.

    Raises:
        ConfigError: a model is of another kind of promise, or reads other features.
    """
    ours, theirs = (_said(model, data, objective) for model in (incumbent, candidate))
    kept = data.kept(objective.target_ns)
    windows = np.unique(data.session, return_inverse=True)[1]
    for at in range(len(data)):
        placement = Placement(
            sequence=at,
            node=str(data.machine[at]),
            policy=POLICY,
            probability=int(ours[at]),
            abstained="",
            shadow=int(theirs[at]),
        )
        uid, window = str(data.group[at]), int(windows[at])
        yield PlacementOutcome(placement, uid, window, bool(kept[at]))


def _said(model: Model, data: Dataset, objective: Objective) -> Column:
    """The probability by which the model decides each row, in basis points."""
    if model.kind != objective.kind:
        fix = f"judge models of {objective.kind} by this objective, or name another one"
        raise ConfigError("another kind of promise", where="model", value=model.kind, fix=fix)
    if data.specs != model.features:
        fix = f"read the data with the features {model.feature_set}"
        raise ConfigError("other features", where="data", value=data.feature_set, fix=fix)
    found = np.zeros(len(data), np.int64)
    for quiet in np.unique(data.quiet_ns).tolist():
        rows = data.quiet_ns == quiet
        ratio = model.ratio_of(objective.target_ns, quiet or None)
        found[rows] = model.decide(np.ascontiguousarray(data.rows[rows]), ratio)[0]
    return found
