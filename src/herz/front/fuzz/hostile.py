"""Values outside the declared domain: what happens is told as robustness, it is no fault."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from herz.intake.fuzz import Asked, Domain, Finding, Flaw, Refuted, Source

NOTES_MAX: Final = 12


class Unordered:
    """Compares with nothing."""

    def __repr__(self) -> str:
        return "Unordered()"


class Spiteful(str):
    """A text whose comparisons raise."""

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        raise ValueError("compared")

    def __eq__(self, other: object) -> bool:
        raise ValueError("compared")

    __hash__ = str.__hash__


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    return deep


VALUES: Final[tuple[tuple[str, Callable[[], Any]], ...]] = (
    ("None", lambda: None),
    ("NaN", lambda: math.nan),
    ("an integer of 5,000 digits", lambda: 10**5000),
    ("a text", lambda: "a"),
    ("a number", lambda: 7),
    ("bytes", lambda: b"a"),
    ("an empty list", list),
    ("a list in a list, 50,000 deep", _deep),
    ("an object without an order", Unordered),
    ("a text whose comparisons raise", lambda: Spiteful("a")),
    ("a complex number", lambda: 1j),
    ("a boolean", lambda: True),
)


def robustness(
    less: Asked, domain: Domain, source: Source, is_time: Callable[[], bool]
) -> list[dict[str, str]]:
    """What the comparator does with such values beside one of its domain."""
    source.begin()
    inside = domain.draw(source, ())
    notes: list[dict[str, str]] = []
    for name, make in VALUES:
        if not is_time() or len(notes) >= NOTES_MAX:
            break
        outside = make()
        for pair in ((outside, inside), (inside, outside), (outside, outside)):
            try:
                less(*pair)
            except Refuted as refuted:
                found: Finding = refuted.finding
                said = found.says[0] if found.flaw is not Flaw.HANG else "does not answer in time"
                notes.append({"value": name, "flaw": found.flaw.value, "says": said[:200]})
                break
    return notes
