"""How a model is made: a line through the anchors, a forest that corrects it, a table.

The distribution of log(indicator / quiet indicator) is learned at several targets at once: each
outcome is asked of every target whether it keeps it, with the target as one more input in which
the odds may only rise. So one model answers for all targets, and never contradicts itself. Latency
and delay are learned so; a completion has one target, and the model is a plain classifier.

1. The line: logistic regression on the anchors and the target. It goes on beyond what was seen.
2. The forest: xgboost, from the line's answer on. How many rounds is chosen by the loss on inner
   folds that are cut as the model will be judged (by session, family or campaign).
3. The table: Platt's sigmoid through the inner folds' answers.

One thread, fixed seeds, integer inputs: the same rows give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from herz.errors import ConfigError
from herz.knowledge.sla.calibration import CERTAIN, Calibration, platt
from herz.knowledge.sla.features import MISSING, Column, FeatureSpec, log_of
from herz.knowledge.sla.forest import LEAF, MARGIN, Forest
from herz.knowledge.sla.learning.dataset import Dataset, Floats, Objective, Texts
from herz.knowledge.sla.learning.logistic import fit
from herz.knowledge.sla.learning.peers import train_peers
from herz.knowledge.sla.model import WEIGHT, Body, Line, Manifest, Model, Scope

if TYPE_CHECKING:
    import xgboost

ROUNDS: Final = (20, 40, 60, 80, 120)
"""How many trees may be chosen."""
FOLDS: Final = 5
"""Inner folds, where there are as many units."""
TARGETS: Final = tuple(range(-3, 4))
"""Targets that are learned: the objective's, times 2 to the power of a half of these."""
SETTINGS: Final = {
    "objective": "binary:logistic",
    "base_score": 0.5,
    "eta": 0.08,
    "max_depth": 4,
    "min_child_weight": 5.0,
    "reg_lambda": 3.0,
    "subsample": 0.5,
    "colsample_bytree": 0.4,
    "tree_method": "hist",
    "nthread": 1,
    "seed": 0,
    "verbosity": 0,
}
"""Of xgboost: shallow trees, many rows a leaf, and half of the rows a tree."""
QUIET_SHARE: Final = 0.1
"""The quiet indicator is this quantile of what was measured before the load."""
REACH_SHARE: Final = 0.95
"""A row is out of scope if it lies farther beyond what was seen than this share of the rows of
held-out units did."""
PLATT_RIDGE: Final = 1e-3
SLOPE_MIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Fitted:
    """Line and forest before they are judged: with xgboost's own, to be compared with."""

    line: Line
    booster: xgboost.Booster
    specs: tuple[FeatureSpec, ...]

    def margins(self, rows: Column, ratios: Column, rounds: int) -> Floats:
        """What xgboost itself answers: log-odds of each row at its ratio."""
        inputs = _matrix(rows, ratios, line_odds(self.line, rows, ratios))
        found: Floats = self.booster.predict(
            inputs, output_margin=True, iteration_range=(0, rounds)
        ).astype(np.float64)
        return found


def train(data: Dataset, objective: Objective, *, by: str = "session") -> Model:
    """The model of these outcomes.

    Args:
        data: at least two units of `by`, and outcomes of both kinds.
        objective: the promise.
        by: how inner folds are cut: `session`, `family` or `campaign`.

    Raises:
        ConfigError: there is too little to learn from, or xgboost is not installed.
    """
    quiet = quiet_of(data)
    targets = ratios_learned(objective, quiet)
    check_enough(data, objective)
    judged = _judged(data, targets, quiet, by)
    fitted = fit_parts(data, targets, quiet, judged.rounds)
    kept = data.kept(objective.target_ns)
    body = Body(
        kind=objective.kind,
        feature_set=data.feature_set,
        features=data.specs,
        scope=_scope(data, targets, judged.reach),
        line=fitted.line,
        forest=forest_of(fitted.booster, judged.rounds),
        calibration=judged.calibration,
        manifest=Manifest(
            objective=objective.text,
            quiet_ns=quiet,
            base_rate=round(float(kept.mean()) * CERTAIN),
            rows=len(data),
            groups=len(np.unique(data.group)),
            sessions=len(np.unique(data.session)),
            seen=tuple(sorted(set(data.digests.tolist()))),
            settings=_settings(judged.rounds, by),
            notes=data.left_out,
        ),
        peers=train_peers(data, objective, shares_of(data)),
    )
    return Model(body)


def quiet_of(data: Dataset) -> int:
    """The service's indicator when it is alone, in ns.

    What the data says; else the lowest tenth of what was measured before the load.
    """
    said = data.quiet_ns[data.quiet_ns > 0]
    measured = said if len(said) else data.probe_ns[data.probe_ns > 0]
    if not len(measured):
        fix = "give quiet_ns, or an indicator measured before the load"
        raise ConfigError("no quiet indicator", where="data", fix=fix)
    ordered = np.sort(measured)
    return int(ordered[int((len(ordered) - 1) * (0.5 if len(said) else QUIET_SHARE))])


def check_enough(data: Dataset, objective: Objective) -> None:
    """See that there is something to learn.

    Raises:
        ConfigError: all outcomes are of one kind, or there is only one session.
    """
    kept = data.kept(objective.target_ns)
    if kept.all() or not kept.any():
        what = "every promise was kept" if kept.all() else "no promise was kept"
        fix = "give outcomes of both kinds, or another objective"
        raise ConfigError(what, where="data", value=objective.text, fix=fix)


def fit_parts(data: Dataset, targets: Sequence[int], quiet: int, rounds: int) -> Fitted:
    """Line and forest over all rows and targets."""
    xgb = xgboost_module()
    rows, ratios, labels, shares = stacked(data, targets, quiet)
    line = _fit_line(data, rows, ratios, labels, shares)
    inputs = _matrix(rows, ratios, line_odds(line, rows, ratios), labels, shares)
    signs = ",".join(str(spec.monotone) for spec in data.specs)
    settings = {**SETTINGS, "monotone_constraints": f"({signs},1)"}
    return Fitted(line, xgb.train(settings, inputs, rounds), data.specs)


def stacked(
    data: Dataset, targets: Sequence[int], quiet: int
) -> tuple[Column, Column, Floats, Floats]:
    """Each outcome at every target: rows, ratios, whether it is kept, and its weight.

    A group weighs as much as another: its rows share one state, so they tell one thing.
    """
    reached = np.array([log_of(int(value)) for value in data.latency_ns], np.int64)
    quiets = np.where(data.quiet_ns > 0, data.quiet_ns, quiet)
    reached -= np.array([log_of(int(value)) for value in quiets], np.int64)
    count = len(targets)
    ratios = np.tile(np.array(targets, np.int64), len(data))
    labels = (np.repeat(reached, count) <= ratios).astype(np.float64)
    return np.repeat(data.rows, count, axis=0), ratios, labels, np.repeat(shares_of(data), count)


def shares_of(data: Dataset) -> Floats:
    """The weight of each row: one over its group's size, 1 on average."""
    _, place, sizes = np.unique(data.group, return_inverse=True, return_counts=True)
    shares = 1.0 / sizes[place]
    found: Floats = shares / shares.mean()
    return found


def line_odds(line: Line, rows: Column, ratios: Column) -> Floats:
    """The line's log-odds by the very integers that decide."""
    total = line.bias + line.ratio * ratios
    for column, weight in line.weights:
        values = rows[:, column]
        # A row without an anchor is out of scope: any answer will do, and it must be finite.
        total = total + weight * np.where(values == MISSING, 0, values)
    found: Floats = (total // WEIGHT) / MARGIN
    return found


def forest_of(booster: xgboost.Booster, rounds: int) -> Forest:
    """The trees of xgboost as integers.

    A threshold is the least integer that does not go left. A leaf is rounded to the nearest
    1/2^20, half to even; another node is the mean of its children by the weight of the rows that
    reached them, rounded down.
    """
    text = bytes(booster[:rounds].save_raw("json")).decode()
    trees = json.loads(text)["learner"]["gradient_booster"]["model"]["trees"]
    nodes = _Nodes()
    for tree in trees:
        nodes.add(tree)
    return Forest(*(tuple(each) for each in nodes.lists))


class _Nodes:
    """The lists of a forest while it grows."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.feature: list[int] = []
        self.threshold: list[int] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.missing_left: list[int] = []
        self.value: list[int] = []

    @property
    def lists(self) -> tuple[list[int], ...]:
        """In the order of `Forest`."""
        first = (self.roots, self.feature, self.threshold, self.left, self.right)
        return (*first, self.missing_left, self.value)

    def add(self, tree: dict[str, Any]) -> None:
        """One tree of xgboost's JSON; children get numbers behind their parent's."""
        start = len(self.feature)
        self.roots.append(start)
        weights: list[float] = []
        order = [0]
        for theirs in order:
            left, right = tree["left_children"][theirs], tree["right_children"][theirs]
            here = len(self.feature)
            condition = tree["split_conditions"][theirs]
            weights.append(tree["sum_hessian"][theirs])
            if left == -1:
                self._append(LEAF, 0, here, here, 0, round(condition * MARGIN))
                continue
            first = start + len(order)
            order += [left, right]
            is_left = int(bool(tree["default_left"][theirs]))
            threshold = int(np.ceil(condition))
            self._append(tree["split_indices"][theirs], threshold, first, first + 1, is_left, 0)
        for node in reversed(range(start, len(self.feature))):
            if self.feature[node] != LEAF:
                self._mean(node, weights, start)

    def _append(self, *node: int) -> None:
        for each, part in zip(self.lists[1:], node, strict=True):
            each.append(part)

    def _mean(self, node: int, weights: list[float], start: int) -> None:
        pair = (self.left[node], self.right[node])
        # Weights as integers: the mean is then exact before it is rounded.
        shares = [max(1, round(weights[child - start] * 1000)) for child in pair]
        total = sum(share * self.value[child] for share, child in zip(shares, pair, strict=True))
        self.value[node] = total // sum(shares)


def xgboost_module() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import xgboost  # noqa: PLC0415  # Only training needs it.
    except ImportError as error:
        fix = "install it: pip install 'herz[sla]'"
        raise ConfigError("xgboost is not installed", where="herz sla train", fix=fix) from error
    return xgboost


def _matrix(
    rows: Column,
    ratios: Column,
    margins: Floats,
    labels: Floats | None = None,
    shares: Floats | None = None,
) -> xgboost.DMatrix:
    inputs = np.column_stack([rows, ratios]).astype(np.float32)
    inputs[:, :-1][rows == MISSING] = np.nan
    made: xgboost.DMatrix = xgboost_module().DMatrix(
        inputs, label=labels, weight=shares, base_margin=margins.astype(np.float32), nthread=1
    )
    return made


def _fit_line(data: Dataset, rows: Column, ratios: Column, labels: Floats, shares: Floats) -> Line:
    """Logistic regression on anchors and target, its weights as integers."""
    names = [spec.name for spec in data.specs]
    columns = [names.index(name) for name in data.anchors]
    values = np.where(rows[:, columns] == MISSING, np.nan, rows[:, columns].astype(np.float64))
    inputs = np.column_stack([values, ratios.astype(np.float64)])
    # The targets of one outcome tell one thing: together they weigh as much as one.
    found = fit(inputs, labels, shares / (len(ratios) / len(data)))
    slopes = found.weights[1:] / found.spreads
    slopes[-1] = max(0.0, slopes[-1])
    bias = found.weights[0] - float(slopes @ found.means)
    scale = WEIGHT * MARGIN
    pairs = zip(columns, slopes[:-1], strict=True)
    return Line(
        bias=round(bias * scale),
        ratio=round(slopes[-1] * scale),
        weights=tuple((column, round(slope * scale)) for column, slope in pairs),
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the inner folds say: rounds, table, and how far beyond what was seen others lay."""

    rounds: int
    calibration: Calibration
    reach: int


def _judged(data: Dataset, targets: Sequence[int], quiet: int, by: str) -> _Judged:
    """Each row is answered by a model that has not seen its unit."""
    rows, ratios, labels, shares = stacked(data, targets, quiet)
    odds = {rounds: np.zeros(len(labels)) for rounds in ROUNDS}
    beyond = np.zeros(len(data), np.int64)
    units = data.split(by)
    for fold in folds_of(units):
        outside = np.isin(units, fold)
        rest = data.only(~outside)
        beyond[outside] = _scope(rest, targets, 0).beyond(data.rows[outside])
        fitted = fit_parts(rest, targets, quiet, max(ROUNDS))
        wide = np.repeat(outside, len(targets))
        for rounds in ROUNDS:
            odds[rounds][wide] = fitted.margins(rows[wide], ratios[wide], rounds)
    losses = {rounds: _loss(labels, odds[rounds], shares) for rounds in ROUNDS}
    rounds = min(ROUNDS, key=lambda each: (losses[each], each))
    reach = int(np.sort(beyond)[int((len(beyond) - 1) * REACH_SHARE)])
    return _Judged(rounds, _table(odds[rounds], labels, shares), reach)


def folds_of(units: Texts) -> list[list[str]]:
    """The units in at most `FOLDS` folds of about the same number of rows.

    Raises:
        ConfigError: there is only one unit.
    """
    names, counts = np.unique(units, return_counts=True)
    if len(names) < 2:
        fix = "give data of at least two, or cut it another way"
        raise ConfigError("one unit only: nothing to hold out", where="data", fix=fix)
    folds: list[list[str]] = [[] for _ in range(min(FOLDS, len(names)))]
    sizes = [0] * len(folds)
    # Tie: by name, and then the first of the lightest folds.
    for at in sorted(range(len(names)), key=lambda at: (-counts[at], names[at])):
        lightest = sizes.index(min(sizes))
        folds[lightest].append(str(names[at]))
        sizes[lightest] += int(counts[at])
    return folds


def _table(odds: Floats, labels: Floats, shares: Floats) -> Calibration:
    """Platt's sigmoid through the answers; never falling."""
    found = fit(odds[:, None], labels, shares, ridge=PLATT_RIDGE)
    slope = max(SLOPE_MIN, float(found.weights[1] / found.spreads[0]))
    return platt(slope, float(found.weights[0] - slope * found.means[0]))


def _loss(labels: Floats, odds: Floats, shares: Floats) -> float:
    """The mean surprise, in nats."""
    signed = np.where(labels > 0, odds, -odds)
    return float((shares * np.logaddexp(0.0, -signed)).mean())


def ratios_learned(objective: Objective, quiet: int) -> list[int]:
    """The targets, as ratios: around the objective's, half a doubling apart.

    A pod completes or does not: of a completion there is one target, at ratio 0.
    """
    if objective.kind == "completion":
        return [0]
    middle = log_of(objective.target_ns) - log_of(quiet)
    return [middle + step * log_of(2) // 2 for step in TARGETS]


def _scope(data: Dataset, targets: Sequence[int], reach: int) -> Scope:
    """The ranges of what was seen."""
    names = [spec.name for spec in data.specs]
    lows, highs = [], []
    for column in data.rows.T:
        there = column[column != MISSING]
        low, high = (int(there.min()), int(there.max())) if len(there) else (0, 0)
        lows.append(low)
        highs.append(high)
    return Scope(
        services=tuple(np.unique(data.service).tolist()),
        machines=tuple(np.unique(data.machine).tolist()),
        ratio_low=min(targets),
        ratio_high=max(targets),
        lows=tuple(lows),
        highs=tuple(highs),
        reach=reach,
        required=tuple(sorted(names.index(name) for name in data.anchors)),
        given=tuple(at for at, spec in enumerate(data.specs) if spec.is_given),
    )


def _settings(rounds: int, by: str) -> tuple[tuple[str, str], ...]:
    chosen = {**SETTINGS, "rounds": rounds, "inner folds": f"by {by}"}
    return (
        *((name, str(value)) for name, value in sorted(chosen.items())),
        ("xgboost", str(xgboost_module().__version__)),
    )
