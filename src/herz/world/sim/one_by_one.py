"""The checker of `Protocol.ONE_BY_ONE` (openb): each pod is decided before the next is told of.

A pod that fits somewhere is placed at once, one that fits nowhere is not placed at all; nothing is
evicted or moved, and nobody is told of a pod before its turn. Whether a pod fits is worked out here
from columns of its own, in one pass over all nodes.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from herz.model.effects import Bind, Effect, EmitEvent, PatchPodStatus, WakeAt
from herz.model.objects import Node, Pod
from herz.world.sim.checkers import History
from herz.world.sim.fit import DEVICE_MILLI, NeedsCache, Room, devices_in, static_refusal

_HARMLESS = (Bind, PatchPodStatus, EmitEvent, WakeAt)


class OneByOneChecker:
    """Holds the machine to the protocol.

    Args:
        nodes: all nodes; they don't change.
        history: for the message.
    """

    def __init__(self, nodes: tuple[Node, ...], history: History) -> None:
        self._nodes = nodes
        self._history = history
        self._rows = {node.name: row for row, node in enumerate(nodes)}
        self._needs = NeedsCache()
        rooms = [Room.of(node) for node in nodes]
        resources = sorted({name for room in rooms for name in room.capacity})
        self._free: dict[str, NDArray[np.int64]] = {
            name: np.array([room.capacity.get(name, 0) for room in rooms], dtype=np.int64)
            for name in resources
        }
        self._pods_free = np.array([room.pods_max for room in rooms], dtype=np.int64)
        width = max((len(room.devices_free) for room in rooms), default=0)
        self._devices = np.zeros((len(rooms), max(width, 1)), dtype=np.int64)
        for row, room in enumerate(rooms):
            self._devices[row, : len(room.devices_free)] = DEVICE_MILLI
        # Invariant: the room on each node's freest device, the row's maximum of `_devices`.
        self._freest: NDArray[np.int64] = self._devices.max(axis=1)
        # Bound: one for each different set of static rules among the pods.
        self._allowed: dict[bytes, NDArray[np.bool_]] = {}
        self._turn: Pod | None = None
        self._fits = np.zeros(len(nodes), dtype=np.bool_)
        self._placed = ""

    def told(self, pod: Pod) -> None:
        """The machine is told of this pod: it is its turn."""
        if self._turn is not None:
            self._history.fail(f"{pod.key} was told of before {self._turn.key} was decided")
        self._turn = pod
        self._placed = ""
        self._fits = self._fitting(pod)

    def judge(self, effect: Effect) -> None:
        """Check an effect before it is carried out."""
        if not isinstance(effect, _HARMLESS):
            self._history.fail(f"the protocol knows no {type(effect).__name__}")
        if not isinstance(effect, Bind):
            return
        turn = self._turn
        if turn is None or effect.uid != turn.metadata.uid:
            self._history.fail(f"{effect.name} is placed, but it is not its turn")
        row = self._rows.get(effect.node)
        if row is None or self._placed or not self._fits[row]:
            self._history.fail(f"{effect.name} does not fit on {effect.node}")
        self._take(turn, row, devices_in(effect.annotations))
        self._placed = effect.node

    def settle(self) -> bool:
        """The turn is over; whether the pod was placed."""
        turn, self._turn = self._turn, None
        count = int(np.count_nonzero(self._fits))
        if turn is not None and not self._placed and count:
            self._history.fail(f"{turn.key} was not placed at once, though it fits {count} nodes")
        return self._placed != ""

    def _fitting(self, pod: Pod) -> NDArray[np.bool_]:
        """Which nodes the pod fits, by row."""
        needs = self._needs.of(pod)
        fits = self._allowed_rows(pod) & (self._pods_free > 0)
        for resource, amount in needs.amounts:
            if amount:
                free = self._free.get(resource)
                fits = fits & (free >= amount) if free is not None else np.zeros_like(fits)
        if needs.gpu_milli and needs.gpu_count == 1:
            fits = fits & (self._freest >= needs.gpu_milli)
        elif needs.gpu_milli:
            enough = np.count_nonzero(self._devices >= needs.gpu_milli, axis=1)
            fits = fits & (enough >= needs.gpu_count)
        return fits

    def _allowed_rows(self, pod: Pod) -> NDArray[np.bool_]:
        spec = pod.spec
        rules = (spec.node_selector, spec.affinity, spec.tolerations)
        key = msgspec.json.encode(rules, order="deterministic")
        rows = self._allowed.get(key)
        if rows is None:
            allowed = [not static_refusal(pod, node) for node in self._nodes]
            rows = self._allowed[key] = np.array(allowed, dtype=np.bool_)
        return rows

    def _take(self, pod: Pod, row: int, devices: tuple[int, ...]) -> None:
        needs = self._needs.of(pod)
        self._pods_free[row] -= 1
        for resource, amount in needs.amounts:
            if amount:
                self._free[resource][row] -= amount
        for device in devices:
            self._devices[row, device] -= needs.gpu_milli
        self._freest[row] = self._devices[row].max()
        assert self._devices[row].min() >= 0, f"device over-committed on row {row}"
