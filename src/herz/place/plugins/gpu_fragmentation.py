"""GpuFragmentation: fragmentation gradient descent, by the distribution of typical pods.

Source: "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
Descent", ATC'23, and hkust-adsl/kubernetes-scheduler-simulator (facts), in integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from herz._native import RequestMix
from herz.errors import ConfigError
from herz.model.mix import MixEdition, PodShape
from herz.model.podinfo import PodInfo
from herz.place.packing.kinds import NAMED_MAX, Kinds, free_cpu, fullest
from herz.place.packing.sigmoid import percent_thresholds
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import Int64s, Reads, ReasonBook, Reserve, Rows, Score, View

TYPICAL_PERCENT: Final = 95
"""The most frequent shapes that make up so much of the pods are the typical ones."""
TYPICAL_MAX: Final = 1024
COUNT_MAX: Final = 1 << 32
"""Bound: 64 devices of 1000 milli times the sum of counts stays far inside 63 bits."""

_DEVICE_UNIT: Final = 1000


class TypicalPod(Arguments, frozen=True):
    """A shape of pods and how many there are."""

    count: int
    cpu_milli: int = 0
    gpu_milli: int = 0
    gpu_count: int = 0
    models: tuple[str, ...] = ()


class FragmentationArguments(Arguments, frozen=True):
    """`typical`: the typical pods; without it, those of the mix seen so far."""

    typical: tuple[TypicalPod, ...] | None = None


class Typical:
    """Typical pods, prepared.

    Args:
        shapes: shapes and how many pods have each.
    """

    def __init__(self, shapes: Sequence[tuple[PodShape, int]]) -> None:
        self.kinds = Kinds((model, count) for shape, count in shapes for model in shape.models)
        requests = [
            (shape.cpu_milli, shape.gpu_milli, shape.gpu_count, self.kinds.bits(shape), count)
            for shape, count in shapes
        ]
        total = sum(count for _, count in shapes)
        self._requests = RequestMix(requests, self.kinds.count)
        self._thresholds = np.array(percent_thresholds(_DEVICE_UNIT * total), np.int64)

    def points(self, pod: tuple[int, int, int], view: View, rows: Rows) -> Int64s:
        """Points by row and device, 0 to 99; -1 where the pod cannot take the device.

        A pod of several devices, or of none, has its points at one of them.
        """
        cpu, count, milli = pod
        at = None if isinstance(rows, slice) else rows
        kinds = self.kinds.of_rows(view, rows)
        left = free_cpu(view, rows)
        drops = self._requests.drops(view.devices, left, kinds, (cpu, milli, count), at)
        points: Int64s = np.searchsorted(self._thresholds, drops, side="right").astype(np.int64)
        points[drops == np.iinfo(np.int64).min] = -1
        return points


class GpuFragmentation(Score, Reserve):
    """100 times the sigmoid of how much the placement lowers the fragmentation, in whole GPUs.

    A share is tried on each device. Ties between nodes must go by name (`ties: name`), as in
    the published runs: the points are coarse, and the hash would spread what they tie.
    """

    name: ClassVar[str] = "GpuFragmentation"
    reads: ClassVar[Reads] = Reads.DEVICES | Reads.REQUESTED | Reads.ALLOCATABLE | Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, FragmentationArguments).typical
        self._typical = None if given is None else Typical(_checked(given, self.name))

    def sign(self, pod: PodInfo) -> object:
        """Cpu, devices, share."""
        return _asked(pod)

    def prepare_score(self, pod: PodInfo, view: View) -> tuple[int, int, int]:
        """Cpu, devices, share of each."""
        return _asked(pod)

    def score(self, state: tuple[int, int, int], view: View, rows: Rows) -> Int64s:
        """By row, the points of the best device."""
        typical = self._read(view)
        if typical is None:
            return np.zeros(len(view.devices[rows]), np.int64)
        # Without the rules that see to room, a row may fit that has no cpu left.
        best: Int64s = np.maximum(typical.points(state, view, rows).max(axis=1), 0)
        return best

    def choose(self, pod: PodInfo, view: View, row: int) -> tuple[int, ...]:
        """The device with the most points, of several the fullest. Tie: lowest index."""
        asked, typical = _asked(pod), self._read(view)
        if asked[1] != 1 or typical is None:
            return fullest(view.devices[row].tolist(), pod.gpu.milli, pod.gpu.count)
        points = typical.points(asked, view, np.array([row]))[0]
        best = int(points.argmax())
        return (best,) if points[best] >= 0 else ()

    def _read(self, view: View) -> Typical | None:
        return self._typical


class OnlineGpuFragmentation(GpuFragmentation):
    """The rule without typical pods: those of the newest edition of the mix take their place."""

    reads_all: ClassVar[Reads] = Reads.MIX

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        super().__init__(args, reasons)
        self._edition: MixEdition | None = None

    def _read(self, view: View) -> Typical | None:
        edition = view.mix
        if edition is not self._edition:
            self._edition = edition
            self._typical = None if edition is None else Typical(typical_shapes(edition.shapes))
        return self._typical


def make_fragmentation(args: Mapping[str, Any], reasons: ReasonBook) -> GpuFragmentation:
    """The rule that the arguments ask for."""
    if args.get("typical") is None:
        return OnlineGpuFragmentation(args, reasons)
    return GpuFragmentation(args, reasons)


def typical_shapes(counts: Iterable[tuple[PodShape, int]]) -> list[tuple[PodShape, int]]:
    """The most frequent shapes that together make up TYPICAL_PERCENT of the pods.

    Tie: more cpu, larger shares, more devices, any model before named ones, later names.
    """

    def rank(item: tuple[PodShape, int]) -> tuple[object, ...]:
        shape, count = item
        bits = kinds.bits(shape) if shape.models else 1 << (NAMED_MAX + 1)
        return count, shape.cpu_milli, shape.gpu_milli, shape.gpu_count, bits, shape.models

    known = list(counts)
    kinds = Kinds((model, count) for shape, count in known for model in shape.models)
    total = sum(count for _, count in known)
    found: list[tuple[PodShape, int]] = []
    covered = 0
    for shape, count in sorted(known, key=rank, reverse=True)[:TYPICAL_MAX]:
        if covered * 100 >= TYPICAL_PERCENT * total:
            break
        covered += count
        found.append((shape, count))
    return found


def typical_arguments(counts: Iterable[tuple[PodShape, int]]) -> dict[str, Any]:
    """The rule's arguments for a workload of which the counts by shape are known."""
    return {
        "typical": [
            {
                "count": count,
                "cpuMilli": shape.cpu_milli,
                "gpuCount": shape.gpu_count,
                "gpuMilli": shape.gpu_milli,
                "models": list(shape.models),
            }
            for shape, count in typical_shapes(counts)
        ]
    }


def _asked(pod: PodInfo) -> tuple[int, int, int]:
    return pod.requests.get("cpu", 0), pod.gpu.count, pod.gpu.milli


def _checked(given: tuple[TypicalPod, ...], rule: str) -> list[tuple[PodShape, int]]:
    where = f"pluginConfig[{rule}].args.typical"
    names = {model for pod in given for model in pod.models}
    if not 1 <= len(given) <= TYPICAL_MAX or len(names) > NAMED_MAX:
        fix = f"give 1 to {TYPICAL_MAX} shapes that name at most {NAMED_MAX} models"
        raise ConfigError("no or too many typical pods", where=where, fix=fix)
    found = []
    for index, pod in enumerate(given):
        share = 1 <= pod.gpu_milli <= 1000 if pod.gpu_count else pod.gpu_milli == 0
        is_right = 1 <= pod.count <= COUNT_MAX and 0 <= pod.gpu_count <= 64 and pod.cpu_milli >= 0
        if not (share and is_right):
            raise ConfigError(
                "not a typical pod",
                where=f"{where}[{index}]",
                value=repr(pod),
                fix="count from 1, cpuMilli from 0, gpuCount 0 to 64, gpuMilli 1 to 1000 or, "
                "without devices, 0",
            )
        models = tuple(sorted(pod.models))
        found.append((PodShape(pod.cpu_milli, pod.gpu_count, pod.gpu_milli, models), pod.count))
    return found
