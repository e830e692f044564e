"""Durations as Go writes them ("15s", "1m30s", "1.5h"), as whole nanoseconds.

Source: Go, time.ParseDuration and Duration.String (facts).
"""

from __future__ import annotations

import re
from typing import Final

from herz.errors import ConfigError

_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART: Final = r"(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
_WHOLE: Final = re.compile(rf"([-+]?)((?:{_PART})+)")
_INT64_MAX: Final = (1 << 63) - 1
_TEXT_MAX: Final = 100
"""Bound: longer texts are refused; no int64 of nanoseconds needs so many characters."""


def duration_ns(text: str) -> int:
    """The nanoseconds of a Go duration.

    Raises:
        ConfigError: it is none, or no int64 holds it.
    """
    fix = "give a duration such as 15s, 1m30s or 500ms"
    if text in ("0", "+0", "-0"):
        return 0
    found = _WHOLE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if found is None:
        raise ConfigError("not a duration", value=text, fix=fix)
    total = 0
    for whole, fraction, bare, unit in re.findall(_PART, found[2]):
        digits = fraction or bare
        # In whole numbers: what is finer than a nanosecond is cut off, as Go does.
        total += int(whole or 0) * _UNITS[unit] + int(digits or 0) * _UNITS[unit] // 10 ** len(
            digits
        )
    if total > _INT64_MAX:
        raise ConfigError("duration out of range", value=text, fix=fix)
    return -total if found[1] == "-" else total


def duration_text(duration: int) -> str:
    """The shortest text of a duration of at least 0 nanoseconds, as Go writes it."""
    if duration == 0:
        return "0s"
    for unit in ("ns", "\u00b5s", "ms"):
        if duration < 1_000 * _UNITS[unit]:
            return _decimal(duration, _UNITS[unit]) + unit
    minutes, rest = divmod(duration, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{text}{_decimal(rest, _UNITS['s'])}s"


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)
