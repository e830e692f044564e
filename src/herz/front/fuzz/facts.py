"""What a comparator said of some values, kept so that it can be asked again elsewhere."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from herz.intake.fuzz import Asked, Finding, Flaw, Pool, Refuted

KEPT_MAX: Final = 24
VALUES_MAX: Final = 12
"""Bounds: pools that are kept, and values of each."""


@dataclass(slots=True)
class Fact:
    """A pool and its answers: the values that were asked about, and as bytes."""

    live: list[Any]
    frozen: list[bytes]
    rows: list[int]

    def thawed(self) -> list[Any]:
        """The values as new objects."""
        return [pickle.loads(one) for one in self.frozen]

    def pairs(self) -> Iterator[tuple[int, int, bool]]:
        """Each ordered pair of places, and what was said of it."""
        for one, row in enumerate(self.rows):
            for two in range(len(self.rows)):
                yield one, two, bool(row >> two & 1)


class Watching:
    """Watches the pools of a search: are the arguments changed? And keeps some as facts."""

    def __init__(self, less: Asked) -> None:
        self._less = less
        self._frozen: list[bytes] | None = None
        self._seen = 0
        self.facts: list[Fact] = []

    def before(self, values: list[Any]) -> None:
        """Remember the values."""
        self._seen += 1
        is_looked_at = self._seen <= 40 or self._seen % 4 == 0
        self._frozen = frozen(values) if is_looked_at else None

    def after(self, values: list[Any]) -> None:
        """Compare them.

        Raises:
            Refuted: the comparator changed one.
        """
        if self._frozen is None:
            return
        if frozen(values) != self._frozen:
            for one in self._frozen:
                for two in self._frozen:
                    found = changes(self._less, pickle.loads(one), pickle.loads(two))
                    if found is not None:
                        raise Refuted(found)
        if len(self.facts) < KEPT_MAX and 3 <= len(values) <= 13:
            few = self._frozen[:VALUES_MAX]
            live = [pickle.loads(one) for one in few]
            self.facts.append(Fact(live, few, Pool(live, self._less).rows))


def frozen(values: list[Any]) -> list[bytes]:
    """Each value as bytes."""
    return [pickle.dumps(value) for value in values]


def copied(value: Any) -> Any:
    """An equal value that is another object, where its type allows that."""
    return pickle.loads(pickle.dumps(value))


def changes(less: Asked, one: Any, two: Any) -> Finding | None:
    """The finding when a comparison changes an argument; it sees copies."""
    kept = (copied(one), copied(two))
    before = (repr(one), repr(two))
    # An exception is another fault; what it left behind is this one.
    with contextlib.suppress(Refuted):
        less(one, two)
    after = (repr(one), repr(two))
    if before == after:
        return None
    which = "a" if before[0] != after[0] else "b"
    at = "ab".index(which)
    said = f"less(a, b) makes {which} = {before[at][:80]} into {after[at][:80]}"
    return Finding(Flaw.MUTATION, kept, (said,))
