"""Which input of the corpus is changed next."""

from __future__ import annotations

import random
from typing import Final

_READ: Final = 0.6
"""Share of inputs that were refused in whose stead one that was read is changed."""
_READ_MAX: Final = 1 << 17
"""Bound: of inputs that are known to have been read."""


class Bases:
    """Gives inputs that were read a larger share.

    Of those that are kept for an edge most were refused, each for a reason of its own, and what
    comes of them is refused as well.
    """

    def __init__(self) -> None:
        self._read: set[int] = set()
        self._chosen: set[int] = set()
        self._bases: list[bytes] = []

    def was_read(self, data: bytes) -> None:
        """This input was not refused."""
        if len(self._read) >= _READ_MAX:
            self._read.clear()
        self._read.add(hash(data))

    def instead_of(self, data: bytes, dice: random.Random) -> bytes:
        """The input itself, which is of the corpus; for a refused one, maybe one that was read."""
        key = hash(data)
        if key in self._chosen:
            return data
        if key in self._read:
            self._chosen.add(key)
            self._bases.append(data)
        elif self._bases and dice.random() < _READ:
            return dice.choice(self._bases)
        return data

    def is_read(self, data: bytes) -> bool:
        """Whether this input, which was given here, was not refused."""
        return hash(data) in self._chosen
