"""Axes and numbers for people: where the ticks go and how a value is written.

Pure functions of their arguments: the same value gives the same text on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS_TIME_S = (
    (1, "s"), (2, "s"), (5, "s"), (10, "s"), (15, "s"), (30, "s"),
    (60, "min"), (120, "min"), (300, "min"), (600, "min"), (900, "min"), (1800, "min"),
    (3600, "h"), (7200, "h"), (10800, "h"), (14400, "h"), (21600, "h"), (43200, "h"),
    (86400, "d"), (172800, "d"), (432000, "d"), (864000, "d"), (2592000, "d"), (8640000, "d"),
)  # fmt: skip
"""Steps at which a clock's face is cut, with the unit that their labels use."""

UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
UNIT_NAME = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Tick:
    """One mark of an axis.

    Args:
        at: its place on the axis, 0 (start) to 1 (end).
        label: its text.
    """

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from `low` to `high`, titled with its unit."""

    title: str
    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        """Where the value lies, 0 to 1; values beyond an end are put on it."""
        span = self.high - self.low
        assert span > 0, "an axis has a length"
        return min(1.0, max(0.0, (value - self.low) / span))


def value_axis(
    title: str, low: float, high: float, *, count: int = 5, is_tight: bool = False
) -> Axis:
    """An axis with about `count` round steps.

    Args:
        title: what it measures, and the unit.
        low: least value.
        high: greatest value.
        count: about how many steps.
        is_tight: it ends at the values themselves, and not at the round numbers around them.
    """
    if high <= low:
        high = low + 1.0
    step = _round_step((high - low) / max(1, count))
    first, last = _floor(low / step), -_floor(-high / step)
    start, end = first * step, last * step
    if is_tight:
        first, last, start, end = -_floor(-low / step), _floor(high / step), low, high
    ticks = tuple(
        Tick(at=(number * step - start) / (end - start), label=number_text(number * step))
        for number in range(first, last + 1)
    )
    return Axis(title=title, low=start, high=end, ticks=ticks)


def time_axis(title: str, low_s: float, high_s: float, *, count: int = 8) -> Axis:
    """An axis of virtual time whose ticks are seconds, minutes, hours or days.

    Args:
        title: what the time counts from; the unit is added.
        low_s: its start in seconds.
        high_s: its end in seconds.
        count: about how many ticks at most.
    """
    if high_s <= low_s:
        high_s = low_s + 1.0
    wanted = (high_s - low_s) / count
    step, unit = next((pair for pair in STEPS_TIME_S if pair[0] >= wanted), STEPS_TIME_S[-1])
    first, last = -_floor(-low_s / step), _floor(high_s / step)
    ticks = tuple(
        Tick(
            at=(number * step - low_s) / (high_s - low_s),
            label=number_text(number * step / UNIT_S[unit]),
        )
        for number in range(first, last + 1)
    )
    return Axis(title=f"{title}, {UNIT_NAME[unit]}", low=low_s, high=high_s, ticks=ticks)


def number_text(value: float, digits: int = 2) -> str:
    """A number with commas and at most `digits` decimals, without trailing zeros."""
    text = f"{value:,.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def duration_text(seconds: float) -> str:
    """A duration in the unit that people would use: `0 s`, `35 ms`, `4.2 s`, `12 min`, `3.5 h`."""
    if seconds <= 0:
        return "0 s"
    if seconds < 1:
        return f"{number_text(seconds * 1000, 1 if seconds < 0.01 else 0)} ms"
    for limit, unit in ((120, "s"), (7200, "min"), (172800, "h")):
        if seconds < limit:
            return f"{number_text(seconds / UNIT_S[unit], 1)} {unit}"
    return f"{number_text(seconds / 86400, 1)} d"


def clock_text(seconds: float) -> str:
    """A point of virtual time: `1 d 03:20`, `03:20:05`."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    clock = f"{hours:02d}:{minutes:02d}:{left:02d}"
    return f"{days} d {clock}" if days else clock


def _round_step(wanted: float) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^n that is at least `wanted`."""
    power = 1.0
    while power > wanted:
        power /= 10
    while power * 10 <= wanted:
        power *= 10
    return next((power * unit for unit in (1, 2, 2.5, 5) if power * unit >= wanted), power * 10)


def _floor(value: float) -> int:
    """Floor that forgives the last bits: 2.9999999999 is 3."""
    nearest = round(value)
    if abs(value - nearest) < 1e-9 * max(1.0, abs(value)):
        return nearest
    whole = int(value)
    return whole - 1 if value < whole else whole
