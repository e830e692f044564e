"""Step 5, reserve, and its undo, release: which pod is on which node, and what that takes.

The ledger counts pods that the API holds on a node (whoever put them there) and pods that Herz
has decided to put there. It never lets a reservation exceed what the node has left: that holds
whatever the rules answered. Reserve and release are idempotent and each other's inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from herz._native import has_room
from herz.errors import InvariantError
from herz.model.podinfo import PodInfo
from herz.place.columns import NodeTable
from herz.place.usage import DEVICE_MILLI, NO_DEVICE, Demands
from herz.plugin import Reads

# A plain int: IntFlag's operators cost a microsecond.
_PODS: Final = int(Reads.PODS)
_PREEMPTION: Final = int(Reads.PREEMPTION)


class Placed(msgspec.Struct, eq=False, gc=False):
    """A pod on a node.

    Attributes:
        pod: the pod.
        node: the node's name; the node itself may be gone, its pods count until they are.
        devices: its shared accelerators, by index.
        is_bound: whether the API holds it there; otherwise it is Herz' reservation.
    """

    pod: PodInfo
    node: str
    devices: tuple[int, ...]
    is_bound: bool


class Ledger:
    """Pods by node. It writes the table's columns of use, and is alone in that.

    Attributes:
        is_unchecked: says of a resource that the pod's policy ignores it (NodeResourcesFit's
            `ignoredResources`); None: all are checked.
    """

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self.is_unchecked: Callable[[PodInfo, str], bool] | None = None
        self.placed: dict[str, Placed] = {}
        """By uid: where each pod is; written here alone."""
        self._by_node: dict[str, dict[str, Placed]] = {}
        table.recount = self._recount

    def __len__(self) -> int:
        return len(self.placed)

    def get(self, uid: str) -> Placed | None:
        """Where the pod is; None when it is nowhere."""
        return self.placed.get(uid)

    def nodes(self) -> dict[str, str]:
        """The node of each pod that is counted, by uid."""
        return {uid: placed.node for uid, placed in self.placed.items()}

    def on(self, node: str) -> Iterator[Placed]:
        """The pods on a node, in the order in which they came."""
        return iter(self._by_node.get(node, {}).values())

    def reserve(self, pod: PodInfo, row: int, devices: tuple[int, ...]) -> bool:
        """Hold the row's resources for the pod.

        Returns:
            False when the row has not enough left: nothing was changed.

        Raises:
            InvariantError: the pod is already on another node; nothing was changed.
        """
        node = self._table.name(row)
        held = self.placed.get(pod.uid)
        if held is not None:
            if held.node == node and held.devices == devices:
                return True
            raise InvariantError(f"{pod.key} is on {held.node} and cannot be reserved on {node}")
        demands = self._table.demands(pod)
        if not self._has_room(pod, row, demands, devices):
            return False
        self._put(Placed(pod, node, devices, is_bound=False), row, demands)
        return True

    def release(self, uid: str) -> Placed | None:
        """Give back what the pod holds, reserved or bound; None when it holds nothing."""
        placed = self.placed.pop(uid, None)
        if placed is None:
            return None
        on_node = self._by_node[placed.node]
        del on_node[uid]
        if not on_node:
            del self._by_node[placed.node]
        row = self._table.rows.get(placed.node)
        if row is not None:
            self._table.note(row, self._give(placed, row))
        return placed

    def assign(self, pod: PodInfo, node: str, devices: tuple[int, ...]) -> Placed | None:
        """The API holds the pod on the node. What it says is counted, even beyond the node.

        Returns:
            What was counted for the pod before; None when it is new.
        """
        before = self.placed.get(pod.uid)
        if before is not None and _is_same(before, pod, node, devices):
            before.is_bound = True
            self._renew(before, pod)
            return before
        if before is not None:
            self.release(pod.uid)
        placed = Placed(pod, node, devices, is_bound=True)
        self._put(placed, self._table.rows.get(node), self._table.demands(pod))
        return before

    def _renew(self, placed: Placed, pod: PodInfo) -> None:
        """Keep the pod's newest form: preemption reads of its status what no other rule does."""
        old, placed.pod = placed.pod, pod
        row = self._table.rows.get(placed.node)
        if row is not None and old.pod.status.start_time != pod.pod.status.start_time:
            self._table.note(row, _PREEMPTION)

    def node_came(self, node: str) -> None:
        """A node (re)appeared: count the pods that are on it."""
        row = self._table.rows[node]
        for placed in self.on(node):
            self._take(placed, row, self._table.demands(placed.pod))

    def node_goes(self, node: str) -> None:
        """A node is about to be removed: take its pods off its row. They stay known."""
        row = self._table.rows[node]
        for placed in self.on(node):
            self._give(placed, row)

    def settle_devices(self, node: str) -> None:
        """The node's devices changed: write their pods' shares anew."""
        row = self._table.rows[node]
        free = self._table.usage.devices[row]
        free[free != NO_DEVICE] = DEVICE_MILLI
        for placed in self.on(node):
            for device in placed.devices:
                if device < len(free) and free[device] != NO_DEVICE:
                    free[device] -= placed.pod.gpu.milli
        self._table.note(row, Reads.DEVICES)

    def _has_room(self, pod: PodInfo, row: int, demands: Demands, devices: tuple[int, ...]) -> bool:
        """Whether the row has enough of everything left for the pod."""
        table = self._table
        asked = demands
        if self.is_unchecked is not None or len(demands) < len(pod.requests):
            asked = self._checked(pod)
        if not has_room(table.allocatable, table.usage.requested, asked, row):
            return False
        if not pod.gpu.count:
            return not devices
        free = table.usage.devices[row]
        milli = pod.gpu.milli
        return len(devices) == pod.gpu.count and all(
            device < len(free) and free[device] >= milli for device in devices
        )

    def _checked(self, pod: PodInfo) -> Demands:
        """What must fit, by column; what no node has fits nowhere."""
        is_unchecked, column = self.is_unchecked, self._table.resource
        return [
            (column(name), amount)
            for name, amount in pod.requests.items()
            if is_unchecked is None or not is_unchecked(pod, name)
        ]

    def _put(self, placed: Placed, row: int | None, demands: Demands) -> None:
        self.placed[placed.pod.uid] = placed
        on_node = self._by_node.get(placed.node)
        if on_node is None:
            on_node = self._by_node[placed.node] = {}
        on_node[placed.pod.uid] = placed
        if row is not None:
            self._table.changes.append(row, self._take(placed, row, demands))

    def _take(self, placed: Placed, row: int, demands: Demands) -> int:
        """Count the pod on the row; gives the aspects that changed."""
        aspects = self._table.usage.take(placed.pod, row, demands, placed.devices)
        return aspects | _PODS if self._table.pods.shift(placed.pod, row, 1) else aspects

    def _give(self, placed: Placed, row: int) -> int:
        """The inverse of `_take`."""
        demands = self._table.demands(placed.pod)
        aspects = self._table.usage.give(placed.pod, row, demands, placed.devices)
        return aspects | _PODS if self._table.pods.shift(placed.pod, row, -1) else aspects

    def _recount(self, resource: str) -> None:
        """A node has a resource that none had: count what is asked of it. Cost: O(pods)."""
        column = self._table.resources[resource]
        requested = self._table.usage.requested
        for placed in self.placed.values():
            row = self._table.rows.get(placed.node)
            if row is not None:
                requested[column, row] += placed.pod.requests.get(resource, 0)


def _is_same(held: Placed, pod: PodInfo, node: str, devices: tuple[int, ...]) -> bool:
    return (held.node, held.devices, held.pod.digest) == (node, devices, pod.digest)
