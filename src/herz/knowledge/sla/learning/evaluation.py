"""How good a model is: figures over outcomes that it has not seen.

Rows of a session hang together, so every interval is a bootstrap over sessions, and beside the
number of rows stands that of groups and sessions. Comparisons are paired: the same sessions are
drawn for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.calibration import CERTAIN
from herz.knowledge.sla.learning.dataset import Dataset, Floats, Objective, parse_objective
from herz.knowledge.sla.learning.peers import UNTRAINED, chances, ranks
from herz.knowledge.sla.learning.training import train
from herz.knowledge.sla.model import Model

DRAWS: Final = 2000
"""Of the bootstrap."""
SEED: Final = 20_221
"""Of the bootstrap: the same data gives the same interval."""
TAIL: Final = 2.5
"""Per cent that an interval leaves out at each end."""
BINS: Final = 10
RIVALS: Final = ("logistic", UNTRAINED)
"""The better one of these is what a model must beat."""

Flags = npt.NDArray[np.bool_]
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model and its peers said about rows that they had not seen.

    Args:
        chance: the probability by which each row is decided, 0 to 1.
        is_known: where the model did not abstain.
        peer_chance: by peer.
        peer_rank: by peer, the most promising highest.
    """

    chance: Floats
    is_known: Flags
    peer_chance: Mapping[str, Floats]
    peer_rank: Mapping[str, Floats]


def answers_of(model: Model, data: Dataset, objective: Objective) -> Answers:
    """The answers of one model.

    Raises:
        ConfigError: the data has other features.
    """
    if data.specs != model.features:
        fix = f"read the data with the features {model.feature_set}"
        raise ConfigError("other features", where="data", value=data.feature_set, fix=fix)
    ratio = model.ratio_of(objective.target_ns)
    found, is_known = model.decide(data.rows, ratio)
    peers = {peer.name: peer for peer in model.body.peers}
    return Answers(
        chance=found / CERTAIN,
        is_known=is_known,
        peer_chance={name: chances(peer, data) for name, peer in peers.items()},
        peer_rank={name: ranks(peer, data) for name, peer in peers.items()},
    )


def cross_validate(
    data: Dataset, objective: Objective, *, by: str, tell: Callable[[str], None] = lambda _: None
) -> Answers:
    """Out-of-fold answers: each unit's by a model that was trained, and tuned, without it.

    Args:
        data: the outcomes.
        objective: the promise.
        by: `session`, `family` or `campaign`.
        tell: is told of each unit as it begins.
    """
    units = data.split(by)
    whole: Answers | None = None
    for unit in np.unique(units):
        tell(str(unit))
        outside = units == unit
        model = train(data.only(~outside), objective, by=by)
        found = answers_of(model, data.only(outside), objective)
        whole = whole or _blank(len(data), tuple(found.peer_chance))
        whole.chance[outside] = found.chance
        whole.is_known[outside] = found.is_known
        for name in found.peer_chance:
            whole.peer_chance[name][outside] = found.peer_chance[name]
            whole.peer_rank[name][outside] = found.peer_rank[name]
    assert whole is not None, "data has at least one unit"
    return whole


def figures(data: Dataset, objective: Objective, answers: Answers) -> Report:
    """The figures of docs/reference/sla-model.md, ready for JSON; None where undefined.

    The reference of the Brier skill is the base rate of these very rows.
    """
    kept = data.kept(objective.target_ns)
    base = float(kept.mean())
    brier = float(((answers.chance - kept) ** 2).mean())
    climate = base * (1 - base)
    draws = _draws(data)
    against = _rival(kept, answers)
    paired = None
    if against is not None:
        rival = answers.peer_rank[against]
        ours, theirs = auc(kept, answers.chance), auc(kept, rival)
        both = _interval(draws, kept, answers.chance, rival)
        mean = None if ours is None or theirs is None else ours - theirs
        paired = {"against": against, "mean": mean, "low": both[0], "high": both[1]}
    return {
        "feature_set": data.feature_set,
        "objective": objective.text,
        "n": len(data),
        "groups": len(np.unique(data.group)),
        "sessions": len(np.unique(data.session)),
        "base_rate": base,
        "auc": auc(kept, answers.chance),
        "auc_interval": list(_interval(draws, kept, answers.chance, None)),
        "brier": brier,
        "brier_skill": 1 - brier / climate if climate else None,
        "paired_difference": paired,
        "baselines": _baselines(kept, answers),
        "reliability": reliability(data, kept, answers),
        "abstained": int((~answers.is_known).sum()),
        "groups_of_one_kind": _groups_of_one_kind(data, kept),
        "left_out": list(data.left_out),
    }


def auc(kept: Flags, rank: Floats) -> float | None:
    """The chance that a kept promise ranks above a broken one; ties count half.

    None where there are not both.
    """
    good = int(kept.sum())
    bad = len(kept) - good
    if not good or not bad:
        return None
    values, place, counts = np.unique(rank, return_inverse=True, return_counts=True)
    del values
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2
    return float((middle[place][kept].sum() - good * (good + 1) / 2) / (good * bad))


def reliability(data: Dataset, kept: Flags, answers: Answers) -> list[Report]:
    """How often a promise was kept where a probability was said, in ten steps; empty ones not."""
    found = []
    step = np.minimum((answers.chance * BINS).astype(np.int64), BINS - 1)
    for at in range(BINS):
        inside = step == at
        if inside.any():
            found.append(
                {
                    "low": at / BINS,
                    "high": (at + 1) / BINS,
                    "n": int(inside.sum()),
                    "groups": len(np.unique(data.group[inside])),
                    "predicted": float(answers.chance[inside].mean()),
                    "observed": float(kept[inside].mean()),
                }
            )
    return found


def seen_rows(model: Model, data: Dataset) -> int:
    """How many rows the model was trained on."""
    return int(np.isin(data.digests, np.array(model.body.manifest.seen, np.str_)).sum())


def objective_of(model: Model) -> Objective:
    """The promise that the model was trained for."""
    return parse_objective(model.body.manifest.objective)


def extrapolated(model: Model, data: Dataset) -> list[str]:
    """Services and machine types of the data that the model has not seen."""
    scope = model.body.scope
    services = [name for name in np.unique(data.service) if name not in scope.services]
    machines = [name for name in np.unique(data.machine) if name not in scope.machines]
    return [
        *(f"service {name}" for name in services),
        *(f"machine {name or 'that is not named'}" for name in machines),
    ]


def _rival(kept: Flags, answers: Answers) -> str | None:
    """The better of the rivals that are there."""
    found = {
        name: auc(kept, answers.peer_rank[name]) for name in RIVALS if name in answers.peer_rank
    }
    known = {name: value for name, value in found.items() if value is not None}
    return max(known, key=lambda name: known[name]) if known else None


def _baselines(kept: Flags, answers: Answers) -> Report:
    return {
        name: {
            "auc": auc(kept, answers.peer_rank[name]),
            "brier": float(((chance - kept) ** 2).mean()),
        }
        for name, chance in answers.peer_chance.items()
    }


def _draws(data: Dataset) -> list[npt.NDArray[np.int64]]:
    """Rows of sessions drawn with replacement; none where there is one session only."""
    sessions = np.unique(data.session)
    if len(sessions) < 2:
        return []
    rows = [np.flatnonzero(data.session == session) for session in sessions]
    chance = np.random.Generator(np.random.PCG64(SEED))
    picks = chance.integers(0, len(rows), (DRAWS, len(rows)))
    return [np.concatenate([rows[at] for at in pick]) for pick in picks]


def _interval(
    draws: list[npt.NDArray[np.int64]], kept: Flags, rank: Floats, other: Floats | None
) -> tuple[float | None, float | None]:
    """The middle 95 % of the AUC, or of its difference to another's, over the draws."""
    found = []
    for rows in draws:
        value = auc(kept[rows], rank[rows])
        less = 0.0 if other is None else auc(kept[rows], other[rows])
        if value is not None and less is not None:
            found.append(value - less)
    if not found:
        return None, None
    low, high = np.percentile(found, [TAIL, 100 - TAIL])
    return float(low), float(high)


def _groups_of_one_kind(data: Dataset, kept: Flags) -> Report:
    """Groups whose outcomes are all alike: within them there is nothing to rank."""
    groups = np.unique(data.group)
    shares = {str(group): float(kept[data.group == group].mean()) for group in groups}
    return {
        "kept": sorted(group for group, share in shares.items() if share == 1),
        "broken": sorted(group for group, share in shares.items() if share == 0),
    }


def _blank(size: int, peers: tuple[str, ...]) -> Answers:
    return Answers(
        np.zeros(size),
        np.zeros(size, np.bool_),
        {name: np.zeros(size) for name in peers},
        {name: np.zeros(size) for name in peers},
    )
