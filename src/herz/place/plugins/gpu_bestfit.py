"""GpuBestFit: the node that has the least cpu and accelerators left with the pod on it.

Source: policy BestFit of "Beware of Fragmentation", ATC'23, in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.packing.kinds import free_cpu
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import Int64s, Reads, ReasonBook, Rows, Score, View

ZERO: Final = 1 << 29
"""The points of a score of 0: larger nodes than the paper's have scores below it."""


class GpuBestFit(Score):
    """100 * (1 - left cpu / 128 cores / 2 - left GPUs / 8 / 2), rounded down, plus ZERO."""

    name: ClassVar[str] = "GpuBestFit"
    reads: ClassVar[Reads] = Reads.DEVICES | Reads.REQUESTED | Reads.ALLOCATABLE
    reads_all: ClassVar[Reads] = Reads.NOTHING
    points_max: ClassVar[int] = 2 * ZERO

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)

    def sign(self, pod: PodInfo) -> object:
        """Cpu, devices, share."""
        return pod.requests.get("cpu", 0), pod.gpu.count, pod.gpu.milli

    def prepare_score(self, pod: PodInfo, view: View) -> tuple[int, int]:
        """Cpu, and milli of all devices together."""
        return pod.requests.get("cpu", 0), pod.gpu.count * pod.gpu.milli

    def score(self, state: tuple[int, int], view: View, rows: Rows) -> Int64s:
        """By row, at least 0: nodes with over a billion cores left are all alike."""
        cpu, gpu = state
        devices = np.maximum(view.devices[rows], 0).sum(axis=1)
        left = free_cpu(view, rows) - cpu + 16 * (devices - gpu)
        points: Int64s = np.maximum(ZERO + (256_000 - left) // 2560, 0)
        return points
