"""GpuShare: enough free shares of accelerators on the node, and which devices the pod takes.

Contract: docs/reference/gpu-sharing.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import numpy as np

from herz._native import mix64
from herz.model.podinfo import PodInfo
from herz.model.resources import node_allocatable
from herz.place.columns import GPU_COUNT, tie_key
from herz.place.packing.kinds import fullest
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Mode,
    Reads,
    ReasonBook,
    Reserve,
    Rows,
    View,
)

GPU_MILLI: Final = "herz.dev/gpu-milli"


class ShareArguments(Arguments, frozen=True):
    """`devices`: which of several devices a share goes to, the fullest that has room, or any."""

    devices: Literal["fullest", "hashed"] = "fullest"


class GpuShare(Filter, Reserve, Hints):
    """As many devices as the pod asks for must each have the share free."""

    name: ClassVar[str] = "GpuShare"
    reads: ClassVar[Reads] = Reads.DEVICES | Reads.ALLOCATABLE
    reads_all: ClassVar[Reads] = Reads.NOTHING
    # A device cannot be given away twice.
    modes: ClassVar[tuple[Mode, ...]] = (Mode.REFUSE,)

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._is_hashed = read_arguments(self.name, args, ShareArguments).devices == "hashed"
        count, milli = f"Insufficient {GPU_COUNT}", f"Insufficient {GPU_MILLI}"
        self._never = reasons.code(Kind.NEVER_FITS, self.name, (count,))
        self._lacking = reasons.code(Kind.UNFIT, self.name, (milli,))

    def sign(self, pod: PodInfo) -> object:
        """The devices and the share of each."""
        return pod.gpu.count, pod.gpu.milli

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """(devices, share of each, column of the devices that a node advertises)."""
        gpu = pod.gpu
        return (gpu.count, gpu.milli, view.resource(GPU_COUNT)) if gpu.count else SKIP

    def filter(self, state: tuple[int, int, int], view: View, rows: Rows) -> Codes:
        """NEVER_FITS where the node has too few devices, UNFIT where too few are free enough."""
        count, milli, column = state
        free = np.count_nonzero(view.devices[rows] >= milli, axis=1)
        codes = np.where(free < count, self._lacking, 0).astype(np.int16)
        codes[view.allocatable[column, rows] < count] = self._never
        return codes

    def choose(self, pod: PodInfo, view: View, row: int) -> tuple[int, ...]:
        """The fullest devices that have room; or, for one share, one by the keyed hash."""
        free = view.devices[row].tolist()
        count, milli = pod.gpu.count, pod.gpu.milli
        if self._is_hashed and count == 1:
            enough = [device for device, left in enumerate(free) if left >= milli]
            key = mix64(pod.tie_key ^ tie_key(view.node_name(row)))
            return (enough[mix64(key) % len(enough)],) if enough else ()
        return fullest(free, milli, count)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A share became free, a node with devices came, or the pod changed."""
        return {
            EventKind.ASSIGNED_POD_DELETE: _held_devices,
            EventKind.ASSIGNED_POD_UPDATE: _held_devices,
            EventKind.NODE_ADD: _has_devices,
            EventKind.NODE_UPDATE: _devices_changed,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _held_devices(_pod: PodInfo, change: Change) -> bool:
    return isinstance(change.old, PodInfo) and change.old.gpu.count > 0


def _has_devices(pod: PodInfo, change: Change) -> bool:
    return node_allocatable(change.new).get(GPU_COUNT, 0) >= pod.gpu.count


def _devices_changed(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & (Reads.DEVICES | Reads.ALLOCATABLE))
