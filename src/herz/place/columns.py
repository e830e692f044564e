"""The node table: what the rules read of the nodes, as columns.

Steps filter and score read it; nodes come in through `apply` and `remove`, and the ledger moves
the columns of use. Rows are stable while a node lives and reused afterwards, lowest first. Each
change notes the row and its aspects in a log, so that readers look again at what changed only.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from herz._native import ChangeLog, demands
from herz.errors import ConfigError, InvariantError
from herz.model.objects import Node, ResourceMap, Taint
from herz.model.podinfo import PodInfo
from herz.model.resources import node_allocatable
from herz.place.intern import Interned
from herz.place.labels import LabelColumns
from herz.place.pods import PodIndex
from herz.place.usage import Demands, Usage
from herz.plugin import Int64s, Reads

BASE_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage", "pods", "")
"""Resources with fixed column numbers, in order; the last stands for those that no node has."""
CPU: Final = 0
MEMORY: Final = 1
NO_RESOURCE: Final = 4

GPU_COUNT: Final = "herz.dev/gpu-count"
AMOUNT_MAX: Final = 1 << 52
"""More of a resource counts as this: a hundred times as much still fits in an int64, and so do
the requests of two thousand pods that ask for all of it."""
DEVICES_MAX: Final = 64
"""Bound: a node that advertises more devices is refused."""

# Bound: a reader that is further behind looks at all rows, which then costs no more.
_LOG_CAPACITY: Final = 1 << 16
EVERY_ASPECT: Final = (
    Reads.LABELS
    | Reads.TAINTS
    | Reads.ALLOCATABLE
    | Reads.REQUESTED
    | Reads.PORTS
    | Reads.IMAGES
    | Reads.FEATURES
    | Reads.DEVICES
    | Reads.DISKS
    | Reads.ANNOTATIONS
    | Reads.NODES
    | Reads.SIGNALS
)


class NodeTable:
    """Nodes by row.

    Shapes: `allocatable` (resources, rows) int64; the others (rows,).
    """

    def __init__(self, capacity: int = 64) -> None:
        self.changes = ChangeLog(_LOG_CAPACITY)
        self.nodes: list[Node | None] = [None] * capacity
        self.names: list[str] = [""] * capacity
        """By row: the node's name; empty where there is no node."""
        self.rows: dict[str, int] = {}
        # Invariant: a heap of exactly the rows without a node.
        self._free: list[int] = list(range(capacity))
        self.resources: dict[str, int] = {name: i for i, name in enumerate(BASE_RESOURCES)}
        self.allocatable: Int64s = np.zeros((len(BASE_RESOURCES), capacity), np.int64)
        self.usage = Usage(len(BASE_RESOURCES), capacity)
        self.keys: npt.NDArray[np.uint64] = np.zeros(capacity, np.uint64)
        self.is_live: npt.NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.unschedulable: npt.NDArray[np.bool_] = np.zeros(capacity, np.bool_)
        self.taint_sets: npt.NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.feature_sets: npt.NDArray[np.int32] = np.zeros(capacity, np.int32)
        self.taints: Interned[tuple[Taint, ...]] = Interned(())
        self.features: Interned[frozenset[str]] = Interned(frozenset())
        self.labels = LabelColumns(capacity)
        self.pods = PodIndex(capacity)
        """Which pods are where; the ledger moves it."""
        self.taints_version = 0
        self._ranks: npt.NDArray[np.uint64] | None = None
        self.images: dict[str, dict[int, int]] = {}
        self.recount: Callable[[str], None] = _nothing_to_count
        """Told of each new column; the ledger counts what its pods ask of it."""

    @property
    def size(self) -> int:
        """Rows, with and without a node."""
        return len(self.nodes)

    @property
    def count(self) -> int:
        """Nodes."""
        return len(self.rows)

    def apply(self, node: Node) -> Reads:
        """Take a node in, or its new form.

        Returns:
            The aspects that changed; NOTHING for a change that no rule can see.

        Raises:
            ConfigError: a quantity does not parse, or there are too many devices; the table is
                unchanged.
        """
        allocatable = node_allocatable(node)
        _check_devices(node.name, allocatable.get(GPU_COUNT, 0))
        # Before the row is there: the pods of a node that comes are counted when it has come.
        for name in allocatable:
            self._know_resource(name)
        row = self.rows.get(node.name)
        if row is None:
            row = self._add(node.name)
            aspects = EVERY_ASPECT
        else:
            old = self.nodes[row]
            assert old is not None, "a live row has its node"
            aspects = difference(old, node)
            if aspects & Reads.IMAGES:
                self._drop_images(row, old)
        self.nodes[row] = node
        if aspects:
            self._write(row, node, allocatable, aspects)
            self.note(row, aspects)
        return aspects

    def remove(self, name: str) -> None:
        """Take a node out; its row may be reused. Its pods' use was given back before.

        Raises:
            InvariantError: there is no such node.
        """
        row = self.rows.pop(name, None)
        old = None if row is None else self.nodes[row]
        if row is None or old is None:
            raise InvariantError(f"node {name!r} is removed and was never added")
        self._drop_images(row, old)
        self._ranks = None
        self.nodes[row] = None
        self.names[row] = ""
        self.is_live[row] = False
        self.allocatable[:, row] = 0
        self.usage.clear(row)
        self.unschedulable[row] = False
        self.taint_sets[row] = 0
        self.taints_version += 1
        self.feature_sets[row] = 0
        self.keys[row] = 0
        self.labels.write(row, {})
        heapq.heappush(self._free, row)
        self.note(row, EVERY_ASPECT)

    def note(self, row: int, aspects: int) -> None:
        """Tell readers that the row changed in these aspects."""
        self.changes.append(row, aspects)

    def name(self, row: int) -> str:
        """The name of the node at a live row."""
        name = self.names[row]
        if not name:
            raise InvariantError(f"row {row} has no node")
        return name

    def resource(self, name: str) -> int:
        """The column of a resource; NO_RESOURCE, which is all zero, when no node ever had it."""
        return self.resources.get(name, NO_RESOURCE)

    def demands(self, pod: PodInfo) -> Demands:
        """What the pod asks, by column. What no node has is counted once a node has it."""
        return demands(self.resources, pod.requests)

    def name_ranks(self) -> npt.NDArray[np.uint64]:
        """By row: the rank of the node's name among all; for policies with ties by name."""
        if self._ranks is None:
            self._ranks = np.zeros(self.size, np.uint64)
            for rank, name in enumerate(sorted(self.rows)):
                self._ranks[self.rows[name]] = rank
        return self._ranks

    def label_column(self, key: str) -> npt.NDArray[np.int32]:
        """By row: interned value of the label; 0 where there is none."""
        column = self.labels.columns.get(key)
        return self.labels.add_column(key, self._labelled()) if column is None else column

    def _labelled(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        for row, node in enumerate(self.nodes):
            if node is not None:
                yield row, node.metadata.labels

    def _add(self, name: str) -> int:
        if not self._free:
            self._grow()
        row = heapq.heappop(self._free)
        self.rows[name] = row
        self.names[row] = name
        self._ranks = None
        self.is_live[row] = True
        self.keys[row] = tie_key(name)
        return row

    def _write(self, row: int, node: Node, allocatable: Mapping[str, int], aspects: Reads) -> None:
        if aspects & Reads.ALLOCATABLE:
            self.allocatable[:, row] = 0
            for name, amount in allocatable.items():
                self.allocatable[self.resources[name], row] = min(amount, AMOUNT_MAX)
            self.usage.set_devices(row, allocatable.get(GPU_COUNT, 0))
        if aspects & Reads.TAINTS:
            self.unschedulable[row] = node.spec.unschedulable
            self.taint_sets[row] = self.taints.number(node.spec.taints)
            self.taints_version += 1
        if aspects & Reads.FEATURES:
            features = frozenset(node.status.declared_features)
            self.feature_sets[row] = self.features.number(features)
        if aspects & Reads.LABELS:
            self.labels.write(row, node.metadata.labels)
        if aspects & Reads.IMAGES:
            for image in node.status.images:
                for name in image.names:
                    self.images.setdefault(name, {})[row] = image.size_bytes

    def _know_resource(self, name: str) -> None:
        """Columns are made by nodes only: what tenants ask for costs no memory here."""
        if name not in self.resources:
            self.resources[name] = len(self.resources)
            blank = np.zeros((1, self.size), np.int64)
            self.allocatable = np.concatenate((self.allocatable, blank))
            self.usage.add_resource()
            self.recount(name)

    def _drop_images(self, row: int, node: Node) -> None:
        for image in node.status.images:
            for name in image.names:
                rows = self.images.get(name, {})
                rows.pop(row, None)
                if not rows:
                    self.images.pop(name, None)

    def _grow(self) -> None:
        """A quarter more rows, so that at most a fifth of the work is on rows without a node."""
        old, new = self.size, max(self.size * 5 // 4, self.size + 64)
        self.nodes += [None] * (new - old)
        self.names += [""] * (new - old)
        self._free = list(range(old, new))
        allocatable = np.zeros((len(self.resources), new), np.int64)
        allocatable[:, :old] = self.allocatable
        self.allocatable = allocatable
        self.usage.grow(new)
        for name in ("keys", "is_live", "unschedulable", "taint_sets", "feature_sets"):
            grown = np.zeros(new, getattr(self, name).dtype)
            grown[:old] = getattr(self, name)
            setattr(self, name, grown)
        self.labels.grow(new)
        self.pods.grow(new)


def _nothing_to_count(_name: str) -> None:
    """The recount of a table without a ledger."""


def tie_key(name: str) -> int:
    """First 8 bytes of SHA3-256 of a uid or a node's name, as an unsigned integer."""
    return int.from_bytes(hashlib.sha3_256(name.encode()).digest()[:8], "big")


def _check_devices(name: str, count: int) -> None:
    if count > DEVICES_MAX:
        raise ConfigError(
            "too many shared accelerators on one node",
            where=f"node {name} status.allocatable[{GPU_COUNT}]",
            value=count,
            fix=f"advertise at most {DEVICES_MAX}",
        )


def offered(node: Node) -> ResourceMap:
    """What the node says that it has to give: its capacity where it reports no allocatable."""
    return node.status.allocatable or node.status.capacity


def difference(old: Node, new: Node) -> Reads:
    """The aspects in which two forms of a node differ."""
    aspects = Reads.NOTHING
    if old.metadata.labels != new.metadata.labels:
        aspects |= Reads.LABELS
    if old.metadata.annotations != new.metadata.annotations:
        aspects |= Reads.ANNOTATIONS
    if old.spec != new.spec:
        aspects |= Reads.TAINTS
    if offered(old) != offered(new):
        aspects |= Reads.ALLOCATABLE | Reads.DEVICES
    if old.status.images != new.status.images:
        aspects |= Reads.IMAGES
    if old.status.declared_features != new.status.declared_features:
        aspects |= Reads.FEATURES
    return aspects
