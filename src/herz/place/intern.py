"""Small numbers for hashable things, so that columns can hold them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

ThingT = TypeVar("ThingT", bound=Hashable)


class Interned(Generic[ThingT]):
    """Numbers from 1 in the order of first sight; 0 stands for the empty thing.

    Numbers are process-local and never reach a record. They are not given back: what is
    interned (label values, sets of taints) has far fewer values than nodes have lives.
    """

    def __init__(self, empty: ThingT) -> None:
        self.things: list[ThingT] = [empty]
        self._numbers: dict[ThingT, int] = {empty: 0}

    def number(self, thing: ThingT) -> int:
        """The thing's number, made on first sight."""
        number = self._numbers.setdefault(thing, len(self.things))
        if number == len(self.things):
            self.things.append(thing)
        return number

    def find(self, thing: ThingT) -> int:
        """The thing's number; -1 when it was never seen."""
        return self._numbers.get(thing, -1)
