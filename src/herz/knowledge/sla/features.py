"""Features as declared integers: how a measured value becomes the number that a model reads.

Values are quantised before a model is trained, so that every threshold of the model is exact, and
the same value gives the same answer on every machine. What is missing stays marked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.model.logarithm import LN_BITS, ln

Column = npt.NDArray[np.int64]

MISSING: Final = -(2**63)
"""Marks a value that is not there, in every column of features."""

LIMIT: Final = 2**24 - 1
"""Bound of a quantised value: what a 32-bit float, which xgboost trains with, holds exactly."""

COUNT_MAX: Final = 2**62
"""Bound of what a logarithm is taken of."""

NAT: Final = 1024
"""Quanta of one natural logarithm, in features of scale `log` and in ratios."""


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature.

    Args:
        name: what the model and its explanations call it.
        unit: of the measured value.
        source: where the value comes from, in words.
        per_unit: how many quanta one unit has; at least 1.
        scale: `linear` counts quanta; `log` is the natural logarithm of that count, in 1/1024.
        monotone: -1 where more of it can only lower the chance that the promise is kept, 1 where
            it can only raise it, 0 where physics says neither.
        is_given: the pod brings the value, such as its load: it has no noise, and a model answers
            for no value beyond those that it has seen.
    """

    name: str
    unit: str
    source: str
    per_unit: int = 1
    scale: Literal["linear", "log"] = "linear"
    monotone: Literal[-1, 0, 1] = 0
    is_given: bool = False

    def quantised(self, value: float | None) -> int:
        """The value as a declared integer.

        Rounded half to even, then put into the bounds; a logarithm counts at least one quantum.

        Returns:
            `MISSING` for None, NaN and infinities: they are not measurements.
        """
        if value is None or not math.isfinite(value):
            return MISSING
        # A product of doubles, bounded and rounded: the same on every machine.
        scaled = value * self.per_unit
        if self.scale == "log":
            return log_of(round(max(1.0, min(scaled, COUNT_MAX))))
        return round(max(-LIMIT, min(scaled, LIMIT)))


def log_of(count: int) -> int:
    """The natural logarithm of a positive integer in 1/1024, rounded to the nearest."""
    shift = LN_BITS - NAT.bit_length() + 1
    return (ln(count) + (1 << (shift - 1))) >> shift


def ratio_of(target_ns: int, quiet_ns: int) -> int:
    """log(target / quiet) in 1/1024: how much room a target leaves above the quiet service.

    Args:
        target_ns: the objective's bound.
        quiet_ns: the same indicator of the service when it is alone.

    Raises:
        ConfigError: one of them is not positive.
    """
    for name, value in (("target", target_ns), ("quiet", quiet_ns)):
        if value <= 0:
            raise ConfigError("not a positive time", where=name, value=value, fix="give ns above 0")
    return log_of(target_ns) - log_of(quiet_ns)


def quantise(specs: Sequence[FeatureSpec], values: Sequence[Mapping[str, float | None]]) -> Column:
    """Measured values as rows of declared integers, (n, k).

    A name that a row lacks is missing; a name that no feature has is not read.
    """
    rows = [[spec.quantised(row.get(spec.name)) for spec in specs] for row in values]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(specs))
