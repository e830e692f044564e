"""HerzPack: the node and device on which the pod costs the least capacity that others could use.

Learns from the mix of pods seen so far and from nothing else; see docs/reference/gpu-sharing.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.mix import MixEdition
from herz.model.podinfo import PodInfo
from herz.place.packing.kinds import free_cpu, fullest
from herz.place.packing.loss import IMPOSSIBLE, LOSS_MAX, LossTables
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import Int64s, Reads, ReasonBook, Reserve, Rows, Score, View

ZERO: Final = LOSS_MAX
"""The points of a placement that neither saves nor costs anything."""


class HerzPack(Score, Reserve):
    """Expected loss before minus expected loss after, plus ZERO.

    The gain of a device is read from table T; that of the node's cpu from table E, which is the
    same whichever device is taken. Several devices are the best ones, each by itself.
    """

    name: ClassVar[str] = "HerzPack"
    reads: ClassVar[Reads] = Reads.DEVICES | Reads.REQUESTED | Reads.ALLOCATABLE | Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.MIX
    points_max: ClassVar[int] = 2 * ZERO

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self._edition: MixEdition | None = None
        self._tables: LossTables | None = None

    def sign(self, pod: PodInfo) -> object:
        """Cpu, devices, share."""
        return self.prepare_score(pod, None)

    def prepare_score(self, pod: PodInfo, view: View | None) -> tuple[int, int, int]:
        """Cpu, devices, share of each."""
        return pod.requests.get("cpu", 0), pod.gpu.count, pod.gpu.milli

    def score(self, state: tuple[int, int, int], view: View, rows: Rows) -> Int64s:
        """By row; all alike until the mix has an edition."""
        cpu, count, milli = state
        devices = view.devices[rows]
        points = np.full(len(devices), ZERO, np.int64)
        tables = self._read(view)
        if tables is None:
            return points
        kinds = tables.of_rows(view, rows)
        free, left = np.maximum(devices, 0), free_cpu(view, rows)
        total = free.sum(axis=1)
        points += tables.node_loss(kinds, total, left)
        after = np.maximum(total - count * milli, 0)
        points -= tables.node_loss(kinds, after, np.maximum(left - cpu, 0))
        if 0 < count <= devices.shape[1]:
            gains = tables.gains(milli)[kinds[:, None], free]
            if count == 1:
                points += gains.max(axis=1)
            else:
                points += np.sort(gains, axis=1)[:, -count:].sum(axis=1)
        return points

    def choose(self, pod: PodInfo, view: View, row: int) -> tuple[int, ...]:
        """The devices with the highest gain. Tie: lowest index."""
        _, count, milli = self.prepare_score(pod, view)
        free = np.maximum(view.devices[row], 0)
        tables = self._read(view)
        if tables is None:
            return fullest(free.tolist(), milli, count)
        kind = int(tables.of_rows(view, np.array([row]))[0])
        gains = tables.gains(milli)[kind, free]
        best = np.argsort(-gains, kind="stable")[:count]
        if len(best) < count or (gains[best] == IMPOSSIBLE).any():
            return ()
        return tuple(sorted(best.tolist()))

    def _read(self, view: View) -> LossTables | None:
        """The tables of the view's edition: a pure function of it, kept for the newest."""
        edition = view.mix
        if edition is not self._edition:
            self._edition = edition
            self._tables = None if edition is None else LossTables(edition)
        return self._tables
