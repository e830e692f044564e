"""A forest of decision trees over integers: what it answers, and which feature moved the answer.

Here is what a forest is, and one row's way through it; all rows at once are the native module's.
Leaves hold log-odds in 1/2^20. A row goes left where its value is below the threshold; where the
value is missing it goes the way that training chose for the node.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.features import MISSING, Column

MARGIN: Final = 1 << 20
"""Quanta of one unit of log-odds."""
DEPTH_MAX: Final = 16
NODES_MAX: Final = 1 << 20
"""Bounds of a forest that is read from a file."""
LEAF: Final = -1

Wide = npt.NDArray[np.int64]


class Forest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trees, one node after the other; a child stands behind its parent.

    Args:
        roots: the first node of each tree.
        feature: the column that the node asks; -1 in a leaf.
        threshold: rows below it go left; 0 in a leaf.
        left: the node for them; the node itself in a leaf.
        right: the node for the others; the node itself in a leaf.
        missing_left: 1 where rows without the value go left.
        value: log-odds in 1/2^20: of a leaf its answer, elsewhere the mean of the rows trained.
    """

    roots: tuple[int, ...]
    feature: tuple[int, ...]
    threshold: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    missing_left: tuple[int, ...]
    value: tuple[int, ...]

    def check(self, columns: int, rising: int) -> None:
        """See that every path of a forest over so many columns ends in a leaf.

        Raises:
            ConfigError: it does not, the forest is beyond its bounds, or its answer falls where
                column `rising` rises.
        """
        count = len(self.feature)
        lists = (self.threshold, self.left, self.right, self.missing_left, self.value)
        if count > NODES_MAX or any(len(each) != count for each in lists):
            raise ConfigError("a forest whose lists differ in length", where="forest", fix=_FIX)
        if any(abs(value) > 1 << 30 for value in (*self.threshold, *self.value)):
            raise ConfigError("a number out of range", where="forest", fix=_FIX)
        depth = [0] * count
        for node in range(count):
            children = (self.left[node], self.right[node])
            if self.feature[node] == LEAF and children == (node, node):
                continue
            inside = all(node < child < count for child in children)
            is_split = 0 <= self.feature[node] < columns and self.missing_left[node] in (0, 1)
            if not (inside and is_split and depth[node] < DEPTH_MAX):
                raise ConfigError("no node of a tree", where=f"forest node {node}", fix=_FIX)
            for child in children:
                depth[child] = max(depth[child], depth[node] + 1)
        if not all(0 <= root < count for root in self.roots):
            raise ConfigError("a root that is no node", where="forest", fix=_FIX)
        self._check_rising(rising)

    def _check_rising(self, column: int) -> None:
        """Every leaf left of a question about the column is at most every leaf right of it."""
        low, high = list(self.value), list(self.value)
        for node in reversed(range(len(self.feature))):
            if self.feature[node] == LEAF:
                continue
            left, right = self.left[node], self.right[node]
            if self.feature[node] == column and high[left] > low[right]:
                raise ConfigError(
                    "odds that fall as the target rises", where=f"forest node {node}", fix=_FIX
                )
            low[node] = min(low[left], low[right])
            high[node] = max(high[left], high[right])

    def path(self, row: Column) -> list[tuple[int, int]]:
        """What moved one row's answer: (column, change of the node's value) step by step."""
        steps = []
        for root in self.roots:
            node = root
            while self.feature[node] != LEAF:
                column = self.feature[node]
                seen = int(row[column])
                is_left = (
                    self.missing_left[node] if seen == MISSING else seen < self.threshold[node]
                )
                child = self.left[node] if is_left else self.right[node]
                steps.append((column, self.value[child] - self.value[node]))
                node = child
        return steps

    @property
    def expected(self) -> int:
        """The sum of the roots' values: the answer before anything is known of a row."""
        return sum(self.value[root] for root in self.roots)


_FIX = "the file was not written by herz sla train: train the model again"
