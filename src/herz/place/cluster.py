"""The cluster as place holds it: nodes, their pods, and the digest of both, kept in step.

Each method is one whole change; what it returns is the event that hints are asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from herz._native import levels
from herz.model.objects import Node
from herz.model.podinfo import PodInfo
from herz.place.catalog import Catalog
from herz.place.columns import CPU, MEMORY, NodeTable
from herz.place.ledger import Ledger, Placed
from herz.place.mix import PodMix
from herz.place.nominated import Nominations
from herz.place.preemption.refusals import Refusals
from herz.place.snapshot import SnapshotDigest, node_element, placement_element
from herz.place.view import ClusterView
from herz.plugin import Change, EventKind, Reads

LEVEL_MAX: Final = (1 << 53) - 1
"""The largest integer that a record holds as a number."""
_LEVELS: Final = [("cpu", CPU), ("memory", MEMORY)]


class Cluster:
    """Nodes and pods on them.

    Args:
        snapshot: the digest that follows every change.
        mix: counts the pods that come; None when no rule reads it.
    """

    def __init__(self, snapshot: SnapshotDigest, mix: PodMix | None = None) -> None:
        self.nodes = NodeTable()
        self.ledger = Ledger(self.nodes)
        self.catalog = Catalog(self.nodes, snapshot)
        self.nominations = Nominations(self.nodes, snapshot)
        self.refusals = Refusals(self.nodes, snapshot)
        self.view = ClusterView(self.nodes, self.ledger, self.catalog, mix)
        self._mix = mix
        self._snapshot = snapshot
        self.is_barred: Callable[[PodInfo, int], bool] | None = None
        """Whether rules keep the pod from the row for good; None: nobody knows."""

    @property
    def knowledge(self) -> bytes:
        """The digest of what rules read besides nodes and pods; empty when they read nothing."""
        mix = b"" if self._mix is None else self._mix.digest
        return mix + self.catalog.signals.digest

    def see(self, pod: PodInfo) -> None:
        """A pod of ours came for the first time; it is not placed yet."""
        if self._mix is None:
            return
        self._mix.see(pod)
        if self._mix.is_due:
            self._mix.freeze(self.nodes)
            # The row stands for all: rules declare Reads.MIX in `reads_all` only.
            self.nodes.note(0, Reads.MIX)

    def apply_node(self, node: Node) -> Change | None:
        """A node came or changed; None when nothing that a rule reads did.

        Raises:
            ConfigError: the node is refused; what was known of it stays.
        """
        row = self.nodes.rows.get(node.name)
        old = None if row is None else self.nodes.nodes[row]
        aspects = self.nodes.apply(node)
        if not aspects:
            return None
        if old is None:
            self.ledger.node_came(node.name)
            self.catalog.signals.node_came(node.name)
        else:
            self._snapshot.remove("nodes", node_element(old))
            if aspects & Reads.DEVICES:
                self.ledger.settle_devices(node.name)
        self._snapshot.add("nodes", node_element(node))
        kind = EventKind.NODE_ADD if old is None else EventKind.NODE_UPDATE
        return Change(kind, aspects, old, node)

    def remove_node(self, name: str) -> Change | None:
        """A node is gone; its pods stay known until they go. None: it was not known."""
        row = self.nodes.rows.get(name)
        old = None if row is None else self.nodes.nodes[row]
        if old is None:
            return None
        self.ledger.node_goes(name)
        assert row is not None, "a known node has a row"
        self.catalog.signals.node_goes(row)
        self.nodes.remove(name)
        self._snapshot.remove("nodes", node_element(old))
        return Change(EventKind.NODE_DELETE, old=old)

    def reserve(self, pod: PodInfo, row: int, devices: tuple[int, ...]) -> bool:
        """Hold the row for the pod; False when it has no room."""
        is_new = pod.uid not in self.ledger.placed
        if not self.ledger.reserve(pod, row, devices):
            return False
        if is_new:
            element = placement_element(pod, self.nodes.names[row], devices)
            self._snapshot.add("reservations", element)
        return True

    def assign(self, pod: PodInfo, node: str, devices: tuple[int, ...]) -> Change | None:
        """The API holds the pod on the node; the change, None when it was known to be so."""
        held = self.ledger.get(pod.uid)
        before = None if held is None else (_part(held), _element(held), held.pod)
        self.ledger.assign(pod, node, devices)
        now = self.ledger.get(pod.uid)
        assert now is not None, "an assigned pod is held"
        if before is None or before[:2] != ("pods", _element(now)):
            if before is not None:
                self._snapshot.remove(before[0], before[1])
            self._snapshot.add("pods", _element(now))
        if before is None or before[0] != "pods":
            return Change(EventKind.ASSIGNED_POD_ADD, new=pod)
        if before[2].digest == pod.digest:
            return None
        return Change(EventKind.ASSIGNED_POD_UPDATE, old=before[2], new=pod)

    def levels(self, row: int) -> tuple[tuple[str, int], ...]:
        """The row's use of cpu and memory in basis points of allocatable, rounded down."""
        nodes = self.nodes
        # Bound: others may have put any number of pods on a tiny node.
        return levels(nodes.allocatable, nodes.usage.requested, _LEVELS, row, LEVEL_MAX)

    def forget(self, uid: str) -> Change | None:
        """The pod holds nothing any more; the event, None when it held nothing."""
        placed = self.ledger.release(uid)
        if placed is None:
            return None
        self.refusals.forget(uid)
        self._snapshot.remove(_part(placed), _element(placed))
        may_hold = Room(self, placed.node)
        return Change(EventKind.ASSIGNED_POD_DELETE, old=placed.pod, may_hold=may_hold)

    def has_room(self, pod: PodInfo, row: int) -> bool:
        """Whether the row has what the pod asks for, if pods of lower priority left."""
        is_unchecked = self.ledger.is_unchecked
        asked = {
            name: amount
            for name, amount in pod.requests.items()
            if is_unchecked is None or not is_unchecked(pod, name)
        }
        free = {
            name: int(self.nodes.allocatable[column, row] - self.nodes.usage.requested[column, row])
            for name, column in ((name, self.nodes.resource(name)) for name in asked)
        }
        lacks = {name: n - free[name] for name, n in asked.items() if n > free[name]}
        if not lacks:
            return True
        on_row = self.ledger.on(self.nodes.names[row])
        below = [one.pod for one in on_row if one.pod.priority < pod.priority]
        return all(sum(one.requests.get(n, 0) for one in below) >= a for n, a in lacks.items())


class Room:
    """Whether a node on which room was given back may hold a pod now (`Change.may_hold`).

    Asked later than the event, it is of that moment: what fits then fitted after some event.

    Args:
        cluster: the cluster.
        node: the node.
    """

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster, self._node = cluster, node
        # Pods that the rules cannot tell apart get one answer.
        self._known: dict[tuple[int, bytes, int], bool] = {}

    def __call__(self, pod: PodInfo) -> bool:
        """Whether it may."""
        key = (pod.profile, pod.signature, pod.priority)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._ask(pod)
        return found

    def _ask(self, pod: PodInfo) -> bool:
        cluster = self._cluster
        row = cluster.nodes.rows.get(self._node)
        if row is None or not cluster.has_room(pod, row):
            return False
        return cluster.is_barred is None or not cluster.is_barred(pod, row)


def _part(placed: Placed) -> str:
    return "pods" if placed.is_bound else "reservations"


def _element(placed: Placed) -> bytes:
    return placement_element(placed.pod, placed.node, placed.devices)
