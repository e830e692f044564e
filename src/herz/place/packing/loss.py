"""Expected lost capacity: what of a device and of a node will never be used, given the mix.

Table T values one device: with r milli free, how much of it will be left when the mix has filled
it, in competition with the other devices that could serve the same pods. Table E values a node:
how much more is lost because only so much cpu is free. Both are pure functions of an edition.

Source: docs/reference/gpu-sharing.md, section herz-pack; measured there too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import gcd
from typing import Final

import numpy as np

from herz._native import expected_rest
from herz.model.mix import MixEdition
from herz.place.packing.kinds import Kinds
from herz.place.usage import DEVICE_MILLI
from herz.plugin import Int64s, Rows, View

SCALE: Final = 1024
"""Losses are in milli of a device times this."""
STOP: Final = 4096
"""The weight with which a device stays as it is, in table T."""
RATE_MAX: Final = 1 << 30
GPU_BIN: Final = 50
CPU_BIN: Final = 1000
"""Table E has a row for so many milli of devices, a column for so many milli of cpu."""
CPU_BINS_MAX: Final = 513
"""Bound: cpu beyond 512 cores counts as 512."""
TYPES_MAX: Final = 256
"""Bound: the types of a kind that come most often make its tables; rarer ones are left out."""
LOSS_MAX: Final = 1 << 28
"""Bound: T over 64 devices is at most 2^26, and so is E."""
IMPOSSIBLE: Final = -(1 << 40)

Step = tuple[int, int, int]


class LossTables:
    """Tables T and E of an edition.

    Shapes: T (kinds, 1001): loss of a device by free milli. E (tables, bins of GPU, bins of
    cpu): kinds whose pods are alike share a table.
    """

    def __init__(self, edition: MixEdition) -> None:
        self.kinds = Kinds((model, devices) for model, _, devices in edition.free)
        self._device = _device_tables(edition, self.kinds)
        self._node, self._table_of = _node_tables(edition, self.kinds)
        # Bound: a gain table a share, 1 to 1000 milli.
        self._gains: dict[int, Int64s] = {}

    def gains(self, milli: int) -> Int64s:
        """By kind and free milli: how much a pod of `milli` lowers the loss of the device.

        IMPOSSIBLE where it does not fit.
        """
        found = self._gains.get(milli)
        if found is None:
            found = np.full_like(self._device, IMPOSSIBLE)
            found[:, milli:] = self._device[:, milli:] - self._device[:, : DEVICE_MILLI + 1 - milli]
            self._gains[milli] = found
        return found

    def node_loss(self, kinds: Int64s, free: Int64s, cpu: Int64s) -> Int64s:
        """E by row: linear between bins of GPU, down to whole bins of cpu."""
        table = self._table_of[kinds]
        _, rows, columns = self._node.shape
        low, rest = np.divmod(free, GPU_BIN)
        low = np.minimum(low, rows - 1)
        high = np.minimum(low + 1, rows - 1)
        column = np.minimum(cpu // CPU_BIN, columns - 1)
        at_low, at_high = self._node[table, low, column], self._node[table, high, column]
        loss: Int64s = (at_low * (GPU_BIN - rest) + at_high * rest) // GPU_BIN
        return loss

    def of_rows(self, view: View, rows: Rows) -> Int64s:
        """By row: its kind."""
        return self.kinds.of_rows(view, rows)


def _device_tables(edition: MixEdition, kinds: Kinds) -> Int64s:
    """T: what stays unused of a device with r milli free, expected over the pods to come."""
    tables = np.zeros((kinds.count, DEVICE_MILLI + 1), np.int64)
    grid, types = _device_types(edition, kinds)
    if not types:
        return tables
    milli = np.arange(DEVICE_MILLI + 1)
    made: dict[tuple[Step, ...], Int64s] = {}
    for kind in range(kinds.count):
        allowed = ((share // grid, 0, rate) for (share, bits), rate in types if bits >> kind & 1)
        steps = _most_frequent(allowed)
        if steps not in made:
            height = DEVICE_MILLI // grid + 1
            values = expected_rest(height, 1, STOP, grid * SCALE, list(steps))[:, 0]
            # What is off the grid of all shares seen can hold none of them.
            made[steps] = values[milli // grid] + milli % grid * SCALE
        tables[kind] = made[steps]
    return tables


def _device_types(
    edition: MixEdition, kinds: Kinds
) -> tuple[int, list[tuple[tuple[int, int], int]]]:
    """The grid of all shares, and by (share, kinds) the expected pods a competing device.

    Expected are as many as fill the cluster once more, in the mix's proportions. Whole devices
    are no competitors for shares: a started one is filled first.
    """
    grid, asked = DEVICE_MILLI, 0
    weights: Counter[tuple[int, int]] = Counter()
    for shape, count in edition.shapes:
        if shape.gpu_count:
            grid = gcd(grid, shape.gpu_milli)
            asked += count * shape.gpu_count * shape.gpu_milli
            weights[shape.gpu_milli, kinds.bits(shape)] += count * shape.gpu_count
    capacity = DEVICE_MILLI * sum(devices for _, _, devices in edition.free)
    free = [(1 << kinds.number(model), milli, count) for model, milli, count in edition.free]
    types = []
    for (share, bits), weight in sorted(weights.items()):
        below = DEVICE_MILLI + 1 if share == DEVICE_MILLI else DEVICE_MILLI
        rivals = sum(n for bit, milli, n in free if bit & bits and share <= milli < below)
        rate = STOP * weight * capacity // (max(1, rivals) * asked)
        types.append(((share, bits), min(RATE_MAX, rate)))
    return grid, types


def _node_tables(edition: MixEdition, kinds: Kinds) -> tuple[Int64s, Int64s]:
    """E: what is lost more than with unlimited cpu; and which table each kind has."""
    height = edition.devices_max * DEVICE_MILLI // GPU_BIN + 1
    width = min(edition.cpu_milli_max // CPU_BIN + 1, CPU_BINS_MAX)
    total = sum(count for shape, count in edition.shapes if shape.gpu_count)
    made: dict[tuple[Step, ...], int] = {}
    tables: list[Int64s] = []
    table_of = np.zeros(kinds.count, np.int64)
    # The mix goes on a little longer than it was seen: one chance in twenty to end.
    stop = max(1, total * 16 // 20)
    for kind in range(kinds.count):
        steps = _most_frequent(_node_steps(edition, kinds, kind))
        if steps not in made:
            made[steps] = len(tables)
            worth = GPU_BIN * SCALE
            bound = expected_rest(height, width, stop, worth, list(steps))
            free = expected_rest(height, 1, stop, worth, [(d, 0, w) for d, _, w in steps])
            tables.append(np.maximum(0, bound - free))
        table_of[kind] = made[steps]
    return np.stack(tables), table_of


def _node_steps(edition: MixEdition, kinds: Kinds, kind: int) -> Iterable[Step]:
    for shape, count in edition.shapes:
        if shape.gpu_count and kinds.bits(shape) >> kind & 1:
            asked = shape.gpu_milli * shape.gpu_count
            bins = max(1, (asked + GPU_BIN // 2) // GPU_BIN)
            yield bins, -(-shape.cpu_milli // CPU_BIN), 16 * count


def _most_frequent(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Equal steps together, the most frequent TYPES_MAX of them, sorted."""
    weights: Counter[tuple[int, int]] = Counter()
    for down, across, weight in steps:
        weights[down, across] += weight
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:TYPES_MAX]
    return tuple(sorted((down, across, weight) for (down, across), weight in ranked))
