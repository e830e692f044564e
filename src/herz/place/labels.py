"""The selector index: node labels as columns of interned values, one column a key.

A column is made when a selector first asks for its key, and kept up to date from then on: keys
that nobody selects by cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from herz.model.labels import parse_int64
from herz.place.intern import Interned


class LabelColumns:
    """Label values by key and row."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: Interned[str | None] = Interned(None)
        self.columns: dict[str, npt.NDArray[np.int32]] = {}
        """By key and row: the interned value; 0 where there is none."""
        self.versions: Counter[str | None] = Counter()
        """How often a value changed, by key; under None, how often any label may have."""
        self._integers: list[int] = [0]
        self._are_integers: list[bool] = [False]

    def grow(self, capacity: int) -> None:
        """Make room for rows up to `capacity`."""
        for key, column in self.columns.items():
            grown = np.zeros(capacity, np.int32)
            grown[: len(column)] = column
            self.columns[key] = grown
        self._capacity = capacity

    def write(self, row: int, labels: Mapping[str, str]) -> None:
        """The row's node has exactly these labels now."""
        self.versions[None] += 1
        for key, column in self.columns.items():
            value = labels.get(key)
            number = 0 if value is None else self._values.number(value)
            if column[row] != number:
                column[row] = number
                self.versions[key] += 1

    def add_column(
        self, key: str, nodes: Iterable[tuple[int, Mapping[str, str]]]
    ) -> npt.NDArray[np.int32]:
        """Make the column of a key that nobody asked for before.

        Args:
            key: the label's key.
            nodes: (row, labels) of every node.
        """
        assert key not in self.columns, f"label {key} has its column"
        column = self.columns[key] = np.zeros(self._capacity, np.int32)
        for row, labels in nodes:
            value = labels.get(key)
            if value is not None:
                column[row] = self._values.number(value)
        return column

    def value_id(self, value: str) -> int:
        """The interned id of a value, made on first sight, so that it stays right later."""
        return self._values.number(value)

    def integers(
        self, column: npt.NDArray[np.int32]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """By row: the value as int64, and whether it is one (Gt and Lt compare these)."""
        for value in self._values.things[len(self._integers) :]:
            assert value is not None, "only number 0 stands for no value"
            number = parse_int64(value)
            self._integers.append(number or 0)
            self._are_integers.append(number is not None)
        integers = np.asarray(self._integers, np.int64)
        return integers[column], np.asarray(self._are_integers, np.bool_)[column]
