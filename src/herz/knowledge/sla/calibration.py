"""From log-odds to probability, as a table of integers.

The table is Platt's sigmoid at knots 1/64 apart; between them it is a straight line, which is
within 1/20 of a basis point of the curve. It never falls.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.forest import MARGIN, Wide

CERTAIN: Final = 10_000
"""A probability of 1, in basis points."""
FINE: Final = 10_000
"""Parts of a basis point in the table."""
STEP: Final = MARGIN // 64
KNOTS_MAX: Final = 1 << 14


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A table of probabilities.

    Args:
        first: the margin of the first knot; each knot is `STEP` above the one before.
        knots: probability at each knot, in 1/10,000 of a basis point; never falling.
    """

    first: int
    knots: tuple[int, ...]

    def check(self) -> None:
        """See that the table is one.

        Raises:
            ConfigError: it falls, is too short or long, or leaves 0 to 1.
        """
        pairs = zip(self.knots, self.knots[1:], strict=False)
        is_rising = all(low <= high for low, high in pairs)
        inside = all(0 <= knot <= CERTAIN * FINE for knot in self.knots)
        if not (2 <= len(self.knots) <= KNOTS_MAX and is_rising and inside):
            fix = "the file was not written by herz sla train: train the model again"
            raise ConfigError("no table of probabilities", where="calibration", fix=fix)

    def probabilities(self, margins: Wide) -> Wide:
        """Basis points, rounded half up; beyond the table they are those of its ends."""
        fine = self.fine(margins)
        return (fine + FINE // 2) // FINE

    def fine(self, margins: Wide) -> Wide:
        """The same before the last rounding, in 1/10,000 of a basis point, rounded down."""
        knots = self._table
        last = (len(knots) - 1) * STEP
        place = np.clip(margins - self.first, 0, last)
        index = np.minimum(place // STEP, len(knots) - 2)
        rest = place - index * STEP
        low, high = knots[index], knots[index + 1]
        answer: Wide = low + (high - low) * rest // STEP
        return answer

    @cached_property
    def _table(self) -> Wide:
        return np.array(self.knots, np.int64)


def platt(slope: float, offset: float) -> Calibration:
    """The table of the sigmoid of `slope` times log-odds plus `offset`."""
    assert slope > 0, "more log-odds are never less probable"
    # Beyond ±10 the sigmoid is within half a basis point of its end.
    low = int(np.floor((-10 - offset) / slope * 64))
    high = int(np.ceil((10 - offset) / slope * 64))
    middle = (low + high) // 2
    half = min((high - low) // 2 + 1, KNOTS_MAX // 2 - 1)
    at: npt.NDArray[np.float64] = np.arange(middle - half, middle + half + 1) / 64
    curve = 1 / (1 + np.exp(-(slope * at + offset)))
    knots = np.maximum.accumulate(np.rint(curve * CERTAIN * FINE)).astype(np.int64)
    return Calibration(first=(middle - half) * STEP, knots=tuple(knots.tolist()))
