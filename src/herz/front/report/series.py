"""Long series made short enough to draw, without losing the peaks.

A day's run has tens of thousands of samples and a screen has some hundred columns: each column
keeps the least, the greatest and the mean of its samples, so that a spike of one sample stays
visible as the edge of the band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

POINTS_MAX = 600
"""Bound: points of one drawn line."""


@dataclass(frozen=True, slots=True)
class Point:
    """One column of the drawing: `x` in axis units, and what its samples were."""

    x: float
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """A named, drawable series."""

    name: str
    points: tuple[Point, ...]

    @property
    def high(self) -> float:
        """The greatest value; 0 where there is none."""
        return max((point.high for point in self.points), default=0.0)


def downsample(
    name: str, xs: Sequence[float], ys: Sequence[float], *, limit: int = POINTS_MAX
) -> Line:
    """The series with at most `limit` points.

    Args:
        name: how the legend calls it.
        xs: places, ascending.
        ys: one value for each.
        limit: the bound; a shorter series is kept sample by sample.

    Returns:
        A line whose points are buckets of equal width in x; empty buckets are left out.
    """
    assert len(xs) == len(ys), f"{name}: {len(xs)} places for {len(ys)} values"
    assert limit >= 1
    if len(xs) <= limit:
        return Line(name, tuple(Point(x, y, y, y) for x, y in zip(xs, ys, strict=True)))
    start, span = xs[0], xs[-1] - xs[0]
    buckets: list[list[int]] = [[] for _ in range(limit)]
    for index, x in enumerate(xs):
        # All samples at one place (span 0) are one bucket.
        place = int((x - start) / span * limit) if span > 0 else 0
        buckets[min(limit - 1, max(0, place))].append(index)
    return Line(name, tuple(_point(bucket, xs, ys) for bucket in buckets if bucket))


def _point(bucket: Sequence[int], xs: Sequence[float], ys: Sequence[float]) -> Point:
    """One bucket as a point at the mean of its places."""
    values = [ys[index] for index in bucket]
    return Point(
        x=sum(xs[index] for index in bucket) / len(bucket),
        low=min(values),
        mean=sum(values) / len(values),
        high=max(values),
    )
