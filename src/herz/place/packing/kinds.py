"""Kinds of rows by accelerator model, as small numbers and bits, for tables and kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from herz.model.mix import GPU_MODEL, PodShape
from herz.plugin import Int64s, Rows, View

NAMED_MAX: Final = 63
"""Bound: so many models are told apart; all others are one kind, which pods that name one of
them count as theirs."""


class Kinds:
    """Kind 0 is every model without a kind of its own, and rows without a model.

    Args:
        models: by model, how often it counts; the most frequent get kinds, then by name.
    """

    def __init__(self, models: Iterable[tuple[str, int]]) -> None:
        weights: Counter[str] = Counter()
        for model, weight in models:
            if model:
                weights[model] += weight
        ranked = sorted(weights, key=lambda model: (-weights[model], model))
        self.names: tuple[str, ...] = tuple(sorted(ranked[:NAMED_MAX]))
        self._numbers = {name: number for number, name in enumerate(self.names, start=1)}
        self._folded = frozenset(ranked[NAMED_MAX:])
        self.count = len(self.names) + 1

    def number(self, model: str) -> int:
        """The kind of a model."""
        return self._numbers.get(model, 0)

    def bits(self, shape: PodShape) -> int:
        """The kinds that pods of the shape may use, a bit each."""
        if not shape.models:
            return (1 << self.count) - 1
        bits = 0
        for model in shape.models:
            if model in self._numbers:
                bits |= 1 << self._numbers[model]
            elif model in self._folded:
                bits |= 1
        return bits

    def of_rows(self, view: View, rows: Rows) -> Int64s:
        """By row: its kind."""
        column = view.labels(GPU_MODEL)[rows]
        ids = [view.label_id(name) for name in self.names]
        numbers = np.zeros(max(int(column.max(initial=0)), *ids, 0) + 1, np.int64)
        numbers[ids] = np.arange(1, self.count)
        return numbers[column]


def free_cpu(view: View, rows: Rows) -> Int64s:
    """By row: allocatable cpu that no pod asked for, in milli; not below 0."""
    left: Int64s = np.maximum(view.allocatable[0, rows] - view.requested[0, rows], 0)
    return left


def fullest(free: Sequence[int], milli: int, count: int) -> tuple[int, ...]:
    """The `count` devices with the least free that have `milli`, ascending by index.

    Tie: lowest index. Empty when there are not enough.
    """
    enough = sorted((left, device) for device, left in enumerate(free) if left >= milli)
    if len(enough) < count:
        return ()
    return tuple(sorted(device for _, device in enough[:count]))
