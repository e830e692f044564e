"""A learned model of a promise: how likely one service keeps its target on each node.

In: rows of declared integers (`herz.knowledge.sla.features`) and the logarithm of target over
quiet indicator. Out: probabilities in basis points, all by integer arithmetic. The log-odds are a
straight line through a few anchors plus a forest; a table makes them probabilities. They never
fall as the target rises. Where the row lies outside what was learned, the model abstains.

A model is one canonical JSON document without floats, named by the SHA-256 of its body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from herz._native import IntegerForest
from herz.errors import ConfigError
from herz.knowledge.sla.calibration import CERTAIN, Calibration
from herz.knowledge.sla.features import LIMIT, MISSING, NAT, Column, FeatureSpec, ratio_of
from herz.knowledge.sla.forest import Forest, Wide

FORMAT: Final = "herz-sla-model"
VERSION: Final = 1
ABSTAINS: Final = -1
"""What `predict` answers where it does not know."""
WEIGHT: Final = 1 << 16
"""Parts of a margin's quantum in the weights of the line."""
FAR: Final = 1 << 40
"""Bound of a value in the measure of how far it lies beyond."""
ANCHORS_MAX: Final = 8
"""Bound of the line's features: with the bounds of its numbers, no sum leaves 63 bits."""
BYTES_MAX: Final = 64 << 20
"""Bound of a model's file."""
_FIX = "train it again with herz sla train, or name another file"

Flags = npt.NDArray[np.bool_]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The straight part of the log-odds, in 1/2^36: it goes on where trees know no more.

    Args:
        bias: at all features 0.
        ratio: for each quantum of the logarithm of target over quiet indicator; not negative.
        weights: (column, for each quantum of that feature).
    """

    bias: int
    ratio: int
    weights: tuple[tuple[int, int], ...]

    def margins(self, anchors: Sequence[Column], ratio: int) -> Wide:
        """The line's part of each row's log-odds, in 1/2^20, rounded down.

        Args:
            anchors: the columns of `weights`, in their order.
            ratio: logarithm of target over quiet indicator.
        """
        total: Wide = np.array([self.bias + self.ratio * ratio], np.int64)
        for values, (_, weight) in zip(anchors, self.weights, strict=True):
            total = total + weight * values
        return total // WEIGHT


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model may be asked about.

    Args:
        services: whose outcomes it has seen; other services are extrapolated.
        machines: the machine types that it has seen; an empty name is that of machines that the
            data does not name, and of nodes that tell none.
        ratio_low: least logarithm of target over quiet indicator that it was taught.
        ratio_high: the greatest.
        lows: by feature the least value seen.
        highs: by feature the greatest.
        reach: how far beyond the ranges it still answers: the sum over all features of the way
            beyond, each in 1/1024 of its range.
        required: columns without which it does not answer.
        given: columns whose ranges are strict.
    """

    services: tuple[str, ...]
    machines: tuple[str, ...]
    ratio_low: int
    ratio_high: int
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    reach: int
    required: tuple[int, ...]
    given: tuple[int, ...]

    def beyond(self, rows: Column) -> Wide:
        """How far each row lies beyond the ranges, as `reach` counts; what is missing does not."""
        lows, highs = np.array(self.lows, np.int64), np.array(self.highs, np.int64)
        # Bounded, so that no sum overflows.
        seen = np.where(rows == MISSING, lows, np.clip(rows, -FAR, FAR))
        way = np.maximum(lows - seen, 0) + np.maximum(seen - highs, 0)
        # Rounded up: a step beyond counts.
        total: Wide = -(way * -1024 // np.maximum(highs - lows, 1)).sum(axis=1)
        return total

    def clipped(self, rows: Column) -> Column:
        """The nearest rows within the ranges; what is missing stays so."""
        near = np.clip(rows, self.lows, self.highs)
        kept: Column = np.where(rows == MISSING, MISSING, near)
        for column in self.required:
            lost = kept[:, column] == MISSING
            kept[lost, column] = (self.lows[column] + self.highs[column]) // 2
        return kept


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model was made of.

    Args:
        objective: the promise that it was judged by, such as `p99_ms<=1`.
        quiet_ns: the indicator of the service when it is alone, as learned from these rows.
        base_rate: share of promises kept, in basis points.
        rows: how many outcomes.
        groups: how many groups of outcomes that share one state.
        sessions: how many sessions.
        seen: first 16 hex digits of the digest of each row, ascending.
        settings: what was chosen in training, as (name, value).
        notes: sentences for the card.
    """

    objective: str
    quiet_ns: int
    base_rate: int
    rows: int
    groups: int
    sessions: int
    seen: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A simple predictor trained on the same rows, to be compared with; decides nothing.

    Args:
        name: of docs/reference/sla-model.md.
        inputs: names of what it reads.
        means: by input, in 1/10^6.
        spreads: by input, in 1/10^6; above 0.
        weights: bias first, then by input in spreads, in 1/10^6.
    """

    name: str
    inputs: tuple[str, ...]
    means: tuple[int, ...]
    spreads: tuple[int, ...]
    weights: tuple[int, ...]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a model that its digest covers; `kind` is that of the objective it answers for."""

    kind: Literal["latency", "delay", "completion"]
    feature_set: str
    features: tuple[FeatureSpec, ...]
    scope: Scope
    line: Line
    forest: Forest
    calibration: Calibration
    manifest: Manifest
    peers: tuple[Peer, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    digest: str
    body: Body


class _Head(msgspec.Struct, frozen=True):
    format: str = ""
    version: int = 0


class Model:
    """A model, ready to answer.

    Args:
        body: what it consists of.

    Raises:
        ConfigError: the parts do not fit each other.
    """

    def __init__(self, body: Body) -> None:
        _check(body)
        self.body: Final = body

    @property
    def kind(self) -> str:
        """What it is about: `latency`, `delay` or `completion`, as of a class's objective."""
        return self.body.kind

    @property
    def feature_set(self) -> str:
        """Name of the features that it reads."""
        return self.body.feature_set

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """What the columns of a row are, in order."""
        return self.body.features

    @property
    def targets(self) -> tuple[int, int]:
        """Least and greatest ratio that it answers for (`features.ratio_of`)."""
        return self.body.scope.ratio_low, self.body.scope.ratio_high

    @cached_property
    def digest(self) -> str:
        """The model's name: `sha256:` and the digest of its body in hex."""
        return _digest(self.body)

    def predict(self, rows: Column, ratio_quantised: int) -> Wide:
        """How likely each row keeps the promise, in basis points; -1 where the model abstains.

        Args:
            rows: quantised features, (n, k).
            ratio_quantised: logarithm of target over quiet indicator (`features.ratio_of`).
        """
        probability, is_known = self.decide(rows, ratio_quantised)
        answer: Wide = np.where(is_known, probability, ABSTAINS)
        return answer

    def decide(self, rows: Column, ratio_quantised: int) -> tuple[Wide, Flags]:
        """The probability that each row is decided by, and where the model knows.

        Where it does not know, the row is judged as the nearest one that it knows, and never
        better than the average of all that it learned from.
        """
        rows, ratio = self._asked(rows, ratio_quantised)
        probability, is_known = self._forest.share(rows, ratio)
        if not self.answers_for(ratio_quantised):
            is_known = np.zeros_like(is_known)
        careful = np.minimum(probability, self.body.manifest.base_rate)
        answer: Wide = np.where(is_known, probability, careful)
        return answer, is_known

    def answers_for(self, ratio_quantised: int) -> bool:
        """Whether a target so far above the quiet indicator was among those learned."""
        low, high = self.targets
        return low <= ratio_quantised <= high

    def margins(self, rows: Column, ratio_quantised: int) -> Wide:
        """Log-odds before calibration, in 1/2^20, of the nearest rows and target within scope."""
        rows, ratio = self._asked(rows, ratio_quantised)
        sums, _ = self._forest.answer(rows, ratio)
        margins: Wide = sums + self.body.line.margins(self._anchors(rows), ratio)
        return margins

    def _asked(self, rows: Column, ratio_quantised: int) -> tuple[Column, int]:
        """Rows as the native module reads them, and the nearest ratio within scope."""
        low, high = self.targets
        ratio = min(max(ratio_quantised, low), high)
        return np.ascontiguousarray(self._checked(rows)), ratio

    def beyond(self, row: Column) -> tuple[str, ...]:
        """The features of one row whose values lie outside the ranges of training."""
        scope = self.body.scope
        checked = self._checked(row.reshape(1, -1))[0]
        is_out = (checked != MISSING) & ((checked < scope.lows) | (checked > scope.highs))
        return tuple(self.features[at].name for at in np.flatnonzero(is_out))

    def _anchors(self, rows: Column) -> list[Column]:
        """The line's columns, within the ranges."""
        scope = self.body.scope
        found = []
        for column, _ in self.body.line.weights:
            low, high = scope.lows[column], scope.highs[column]
            values = rows[:, column]
            near = np.minimum(np.maximum(values, low), high)
            found.append(np.where(values == MISSING, (low + high) // 2, near))
        return found

    @cached_property
    def _forest(self) -> IntegerForest:
        forest, scope = self.body.forest, self.body.scope
        nodes = zip(
            forest.feature,
            forest.threshold,
            forest.left,
            forest.right,
            map(bool, forest.missing_left),
            forest.value,
            strict=True,
        )
        ranges = [
            (low, high, at in scope.given, at in scope.required)
            for at, (low, high) in enumerate(zip(scope.lows, scope.highs, strict=True))
        ]
        line = (self.body.line.bias, self.body.line.ratio, self.body.line.weights)
        table = (self.body.calibration.first, self.body.calibration.knots)
        return IntegerForest(forest.roots, list(nodes), ranges, scope.reach, line, table)

    def contributions(self, row: Column, ratio_quantised: int) -> dict[str, int]:
        """What moved one row's log-odds, by feature, in 1/2^20.

        The line counts from the middle of each feature's range; the forest by the change of the
        nodes' values along the path. `ratio` is the target's part and `base` what no feature
        moved: all together are the row's margin, but for the line's rounding down.
        """
        body = self.body
        low, high = self.targets
        ratio = min(max(ratio_quantised, low), high)
        near = body.scope.clipped(self._checked(row.reshape(1, -1)))[0]
        names = [*(spec.name for spec in self.features), "ratio"]
        parts = [0] * len(names)
        middle = body.line.bias + body.line.ratio * ((low + high) // 2)
        parts[-1] = body.line.ratio * (ratio - (low + high) // 2) // WEIGHT
        for column, weight in body.line.weights:
            centre = (body.scope.lows[column] + body.scope.highs[column]) // 2
            middle += weight * centre
            parts[column] += weight * (int(near[column]) - centre) // WEIGHT
        for column, change in body.forest.path(np.append(near, ratio)):
            parts[column] += change
        base = middle // WEIGHT + body.forest.expected
        return {**dict(zip(names, parts, strict=True)), "base": base}

    def ratio_of(self, target_ns: int, quiet_ns: int | None = None) -> int:
        """The ratio of a target, by default above the quiet indicator that was learned."""
        return ratio_of(target_ns, quiet_ns or self.body.manifest.quiet_ns)

    def dump(self) -> bytes:
        """The model as bytes: the same model gives the same bytes."""
        file = _File(FORMAT, VERSION, self.digest, self.body)
        return msgspec.json.encode(file) + b"\n"

    def _checked(self, rows: Column) -> Column:
        if rows.ndim != 2 or rows.shape[1] != len(self.features) or rows.dtype != np.int64:
            raise ConfigError(
                "rows of other features",
                where=f"model {self.feature_set}",
                value=f"{rows.dtype} {rows.shape}",
                fix=f"give int64 rows of {len(self.features)} columns, in the model's order",
            )
        return rows


def load(data: bytes) -> Model:
    """The model of a file.

    Raises:
        ConfigError: it is no model, one of another version, or it was changed after it was
            written: floats (and so NaN), unknown keys and a digest that does not fit are refused.
    """
    where = "model file"
    if len(data) > BYTES_MAX:
        raise ConfigError("too large", where=where, value=len(data), fix=_FIX)
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", where=where, fix=_FIX) from error
    if head.format != FORMAT:
        raise ConfigError("not a model of a promise", where=where, value=head.format, fix=_FIX)
    if head.version != VERSION:
        fix = f"this release reads version {VERSION}: {_FIX}"
        raise ConfigError("another version", where=where, value=head.version, fix=fix)
    try:
        file = msgspec.json.decode(data, type=_File)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"corrupt: {error}", where=where, fix=_FIX) from error
    if _digest(file.body) != file.digest or msgspec.json.encode(file) != data.rstrip(b"\n"):
        raise ConfigError("changed after it was written", where=where, value=file.digest, fix=_FIX)
    return Model(file.body)


def strongest(contributions: dict[str, int], count: int = 3) -> Sequence[tuple[str, int]]:
    """The features that moved an answer most, strongest first; equal ones by name."""
    moved = [(name, part) for name, part in contributions.items() if name != "base" and part]
    return sorted(moved, key=lambda pair: (-abs(pair[1]), pair[0]))[:count]


def _digest(body: Body) -> str:
    return "sha256:" + hashlib.sha256(msgspec.json.encode(body)).hexdigest()


def _check(body: Body) -> None:
    """The parts of a model fit each other, and no number leaves the bounds of its arithmetic.

    Raises:
        ConfigError: they do not.
    """
    count, scope = len(body.features), body.scope
    body.forest.check(count + 1, rising=count)
    body.calibration.check()
    columns = [*scope.required, *scope.given, *(column for column, _ in body.line.weights)]
    bounds = [*scope.lows, *scope.highs, scope.ratio_low, scope.ratio_high]
    sizes = [body.line.bias, body.line.ratio, *(weight for _, weight in body.line.weights)]
    problems = {
        "a column that is no feature": not all(0 <= column < count for column in columns),
        "an anchor that is not required": not all(
            column in scope.required for column, _ in body.line.weights
        ),
        "a feature without a range": not len(scope.lows) == len(scope.highs) == count,
        "a reach below zero": scope.reach < 0,
        "a range that ends before it starts": any(
            low > high for low, high in zip(scope.lows, scope.highs, strict=False)
        )
        or scope.ratio_low > scope.ratio_high,
        "a number out of range": any(abs(bound) > 2 * LIMIT for bound in bounds)
        or any(abs(size) > 1 << 34 for size in sizes[1:])
        or abs(sizes[0]) > 1 << 60
        or len(body.line.weights) > ANCHORS_MAX,
        "odds that fall as the target rises": body.line.ratio < 0,
        "no base rate": not 0 <= body.manifest.base_rate <= CERTAIN,
        "no quiet indicator": body.manifest.quiet_ns <= 0,
        "a completion with several targets": body.kind == "completion"
        and (scope.ratio_low, scope.ratio_high) != (0, 0),
        "two features of one name": len({spec.name for spec in body.features}) != count,
        "a feature without quanta": any(spec.per_unit < 1 for spec in body.features),
    }
    for problem, is_there in problems.items():
        if is_there:
            raise ConfigError(problem, where="model file", fix=_FIX)


assert NAT & (NAT - 1) == 0, "ratios are shifted, not divided"
