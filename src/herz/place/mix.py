"""The mix of pods seen so far: knowledge that packing rules learn from, online.

Counts the shapes of the pods that arrived, whether they were placed or not, and freezes an
edition of the counts now and then. Rules read editions only: between two of them nothing that a
decision reads changes, and the edition's digest is the digest of what it read. Nothing here looks
ahead: a pod counts from its arrival on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import msgspec
import numpy as np

from herz.model.mix import GPU_MODEL, MixEdition, PodShape
from herz.model.podinfo import PodInfo
from herz.place.columns import CPU, NodeTable
from herz.place.usage import DEVICE_MILLI

SHAPES_MAX: Final = 4096
"""Bound: when one more shape than this comes, all counts are halved and what reaches 0 goes."""
TOTAL_MAX: Final = 1 << 24
"""Bound: all counts are halved before their sum passes this; sums over them then fit in 63 bits."""
PERIOD_MIN: Final = 16
PERIOD_MAX: Final = 256
"""An edition is frozen after a quarter more pods, but at least and at most so many."""

_encoder = msgspec.json.Encoder()


class PodMix:
    """Counts by shape, and the newest edition of them."""

    def __init__(self) -> None:
        self._counts: dict[PodShape, int] = {}
        self._total = 0
        self._seen = 0
        self._due = PERIOD_MIN
        self.edition: MixEdition | None = None
        """None until enough pods were seen."""

    @property
    def digest(self) -> bytes:
        """The digest of what rules can read of the mix."""
        return b"" if self.edition is None else self.edition.digest

    @property
    def is_due(self) -> bool:
        """Whether the next edition should be frozen."""
        return self._seen >= self._due

    def see(self, pod: PodInfo) -> None:
        """A pod arrived for the first time. Cost: O(1) amortised."""
        shape = PodShape.of(pod)
        # Bound: 24 rounds; a count of TOTAL_MAX is halved to 0 by then.
        while self._total >= TOTAL_MAX or (
            len(self._counts) >= SHAPES_MAX and shape not in self._counts
        ):
            self._halve()
        self._counts[shape] = self._counts.get(shape, 0) + 1
        self._total += 1
        self._seen += 1

    def freeze(self, nodes: NodeTable) -> None:
        """Make an edition of the counts and of what is free now. Cost: O(rows + shapes)."""
        self._due = self._seen + max(PERIOD_MIN, min(self._seen // 4, PERIOD_MAX))
        number = 1 if self.edition is None else self.edition.number + 1
        shapes = tuple(sorted(self._counts.items()))
        free, devices_max, cpu_milli_max = _free(nodes)
        read = _encoder.encode((number, shapes, free, devices_max, cpu_milli_max))
        digest = hashlib.sha3_384(b"herz-mix\0" + read).digest()
        self.edition = MixEdition(number, shapes, free, devices_max, cpu_milli_max, digest)

    def _halve(self) -> None:
        halves = ((shape, count // 2) for shape, count in self._counts.items())
        self._counts = {shape: count for shape, count in halves if count}
        self._total = sum(self._counts.values())


def _free(nodes: NodeTable) -> tuple[tuple[tuple[str, int, int], ...], int, int]:
    """Devices by model and free milli; the most devices, and the most cpu beside devices."""
    devices = nodes.usage.devices
    exists = devices >= 0
    on_row = np.count_nonzero(exists, axis=1)
    if not on_row.any():
        return (), 0, 0
    models = nodes.label_column(GPU_MODEL).astype(np.int64)
    keys = (models[:, None] * (DEVICE_MILLI + 1) + devices)[exists]
    # One device of each (model, free milli) stands for all of them.
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    free: Counter[tuple[str, int]] = Counter()
    for row, column, count in zip(*(at[first] for at in exists.nonzero()), counts, strict=True):
        node = nodes.nodes[row]
        assert node is not None, "a row with devices has its node"
        free[node.metadata.labels.get(GPU_MODEL, ""), int(devices[row, column])] += int(count)
    found = tuple(sorted((model, milli, count) for (model, milli), count in free.items()))
    return found, int(on_row.max()), int(nodes.allocatable[CPU, on_row > 0].max())
