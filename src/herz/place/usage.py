"""The columns of use: what the pods on each row take. The node table owns one, overlays copy it.

`take` and `give` are each other's inverse, to the bit.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from herz._native import shift_row
from herz.model.podinfo import PodInfo
from herz.model.volumes import mounts_of
from herz.place.volumes.mounted import Mounted
from herz.plugin import Int64s, Reads

DEVICE_MILLI: Final = 1000
"""A whole shared accelerator, in milli."""
NO_DEVICE: Final = -(1 << 40)
"""Free milli where there is no device; far below what any over-commitment leaves of one."""


# Plain ints: IntFlag's operators cost a microsecond each, several times a decision.
_REQUESTED: Final = int(Reads.REQUESTED)
_PORTS: Final = int(Reads.PORTS)
_DEVICES: Final = int(Reads.DEVICES)
_DISKS: Final = int(Reads.DISKS)


Demands: TypeAlias = list[tuple[int, int]]
"""(column, amount) of what a pod asks, without what no node has."""


class Usage:
    """Requested resources, host ports, device shares and mounts by row.

    Shapes: `requested` (resources, rows), `nonzero` (2, rows), `devices` (rows, devices): free
    milli, negative where a device is over-committed, NO_DEVICE where there is none.
    """

    def __init__(self, resources: int, capacity: int) -> None:
        self.requested: Int64s = np.zeros((resources, capacity), np.int64)
        self.nonzero: Int64s = np.zeros((2, capacity), np.int64)
        self.devices: Int64s = np.full((capacity, 0), NO_DEVICE, np.int64)
        # (protocol, port) -> row -> addresses, sorted, one entry for each pod that takes it.
        self.ports: dict[tuple[str, int], dict[int, tuple[str, ...]]] = {}
        self.mounted = Mounted()

    def copy(self) -> Usage:
        """An independent copy, for what-if questions. Cost: O(rows)."""
        other = Usage.__new__(Usage)
        other.requested = self.requested.copy()
        other.nonzero = self.nonzero.copy()
        other.devices = self.devices.copy()
        other.ports = {key: dict(rows) for key, rows in self.ports.items()}
        other.mounted = self.mounted.copy()
        return other

    def take(self, pod: PodInfo, row: int, demands: Demands, devices: tuple[int, ...]) -> int:
        """Put the pod's needs on the row; gives the aspects that changed."""
        shift_row(self.requested, demands, self.nonzero, pod.nonzero, row, 1)
        aspects = _REQUESTED
        for port in pod.ports:
            rows = self.ports.setdefault((port.protocol, port.port), {})
            rows[row] = tuple(sorted((*rows.get(row, ()), port.ip)))
            aspects |= _PORTS
        if devices:
            self._shift_devices(row, devices, -pod.gpu.milli)
            aspects |= _DEVICES
        if pod.pod.spec.volumes and (mounts := mounts_of(pod.pod)):
            self.mounted.take(mounts, row)
            aspects |= _DISKS
        return aspects

    def give(self, pod: PodInfo, row: int, demands: Demands, devices: tuple[int, ...]) -> int:
        """Take the pod's needs off the row; gives the aspects that changed."""
        shift_row(self.requested, demands, self.nonzero, pod.nonzero, row, -1)
        aspects = _REQUESTED
        for port in pod.ports:
            rows = self.ports[(port.protocol, port.port)]
            addresses = list(rows[row])
            addresses.remove(port.ip)
            if addresses:
                rows[row] = tuple(addresses)
            else:
                del rows[row]
            if not rows:
                del self.ports[(port.protocol, port.port)]
            aspects |= _PORTS
        if devices:
            self._shift_devices(row, devices, pod.gpu.milli)
            aspects |= _DEVICES
        if pod.pod.spec.volumes and (mounts := mounts_of(pod.pod)):
            self.mounted.give(mounts, row)
            aspects |= _DISKS
        return aspects

    def clear(self, row: int) -> None:
        """The row has no node any more. Its pods' ports and mounts were given back before."""
        self.requested[:, row] = 0
        self.nonzero[:, row] = 0
        self.devices[row, :] = NO_DEVICE

    def add_resource(self) -> None:
        """One more resource column, all zero."""
        blank = np.zeros((1, self.requested.shape[1]), np.int64)
        self.requested = np.concatenate((self.requested, blank))

    def set_devices(self, row: int, count: int) -> None:
        """The row has `count` devices; new ones come empty, lost ones go with their shares."""
        rows, width = self.devices.shape
        if count > width:
            wider = np.full((rows, count), NO_DEVICE, np.int64)
            wider[:, :width] = self.devices
            self.devices = wider
        free = self.devices[row]
        free[count:] = NO_DEVICE
        head = free[:count]
        head[head == NO_DEVICE] = DEVICE_MILLI

    def grow(self, capacity: int) -> None:
        """Make room for rows up to `capacity`."""
        old = self.requested.shape[1]
        for name in ("requested", "nonzero"):
            grown = np.zeros((getattr(self, name).shape[0], capacity), np.int64)
            grown[:, :old] = getattr(self, name)
            setattr(self, name, grown)
        devices = np.full((capacity, self.devices.shape[1]), NO_DEVICE, np.int64)
        devices[:old] = self.devices
        self.devices = devices

    def _shift_devices(self, row: int, devices: tuple[int, ...], milli: int) -> None:
        free = self.devices[row]
        for device in devices:
            # A device that the node no longer has holds no share.
            if device < len(free) and free[device] != NO_DEVICE:
                free[device] += milli
