"""What is attached to each node, and may be: kept by row, and worked anew where something changed.

A row's answer is read from the mounts of the pods there, their claims, volumes and classes, and
the node's VolumeAttachments and CSINode. Whoever changes one of them notes the row (DISKS).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from herz.model.node import CSINode
from herz.place.columns import NodeTable
from herz.place.volumes.attached import Attached, attached_by, attached_to
from herz.place.volumes.migration import migrated_on
from herz.plugin import Int64s, Reads, View

NO_LIMIT: Final = 1 << 40
"""More than any node holds."""
_DISKS: Final = int(Reads.DISKS)
_NOTHING: Final[Mapping[int, None]] = MappingProxyType({})


class Attachments:
    """Volumes and limits by row.

    Args:
        nodes: the rows, and the log of what changed on them.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._seen = 0
        # Rows to work anew; a dict, as sets have no order.
        self._open: dict[int, None] = {}
        # By row: what was counted there.
        self._held: dict[int, frozenset[Attached]] = {}
        self._said: dict[int, tuple[dict[str, int], frozenset[str]]] = {}
        # The rows of a volume, and by driver or plugin and row what they come to.
        self._rows: dict[Attached, dict[int, None]] = {}
        self._counts: dict[str, Int64s] = {}
        self._limits: dict[str, Int64s] = {}
        self._limited: Counter[str] = Counter()
        self._handed_over: dict[str, Int64s] = {}
        self._versions: defaultdict[str, int] = defaultdict(int)

    def is_limited(self, driver: str, view: View) -> bool:
        """Whether any node says how many volumes of the driver it can hold."""
        self._settle(view)
        return self._limited[driver] > 0

    def limits(self, driver: str, view: View) -> Int64s:
        """By row: how many volumes of the driver it can hold; NO_LIMIT where none is said."""
        self._settle(view)
        return _column(self._limits, driver, self._nodes.size, NO_LIMIT)

    def counts(self, driver: str, view: View) -> Int64s:
        """By row: how many volumes of the driver are attached, each once."""
        self._settle(view)
        return _column(self._counts, driver, self._nodes.size, 0)

    def rows(self, volume: Attached, view: View) -> Collection[int]:
        """The rows to which the volume is attached."""
        self._settle(view)
        return self._rows.get(volume, _NOTHING)

    def handed_over(self, plugin: str, view: View) -> npt.NDArray[np.bool_]:
        """By row: whether the node has handed an in-tree plugin over to a CSI driver."""
        self._settle(view)
        return _column(self._handed_over, plugin, self._nodes.size, 0) > 0

    def handing_version(self, plugin: str, view: View) -> int:
        """Moves when `handed_over` does."""
        self._settle(view)
        return self._versions[plugin]

    def held_on(self, row: int, view: View) -> frozenset[Attached]:
        """What is attached to the row as this view sees it, worked from the ground."""
        mounts = (attached_by(mount, view) for mount in view.mounts(row))
        held = {volume for volume in mounts if volume is not None}
        return frozenset(held | attached_to(view.node_name(row), view))

    def _settle(self, view: View) -> None:
        """Work the rows anew on which something changed, but for those that a what-if moved."""
        changes = self._nodes.changes
        end = changes.end
        if end != self._seen:
            rows: Iterable[int] = range(self._nodes.size)
            if changes.mask_since(self._seen) is not None:
                rows = changes.rows_since(self._seen, _DISKS).tolist()
            self._open.update(dict.fromkeys(rows))
            self._seen = end
        if not self._open:
            return
        moved = frozenset(cast("Keeping", view).moved_rows)
        for row in [row for row in self._open if row not in moved]:
            del self._open[row]
            self._work(row, view)

    def _work(self, row: int, view: View) -> None:
        is_live = bool(self._nodes.is_live[row])
        held = self.held_on(row, view) if is_live else frozenset()
        before = self._held.pop(row, frozenset())
        if held:
            self._held[row] = held
        for volume in sorted(before - held):
            rows = self._rows[volume]
            del rows[row]
            if not rows:
                del self._rows[volume]
            _column(self._counts, volume.driver, self._nodes.size, 0)[row] -= 1
        for volume in sorted(held - before):
            self._rows.setdefault(volume, {})[row] = None
            _column(self._counts, volume.driver, self._nodes.size, 0)[row] += 1
        self._hear(row, view.object(CSINode, self._nodes.names[row]) if is_live else None)

    def _hear(self, row: int, node: CSINode | None) -> None:
        """What the node's drivers say."""
        limits = {} if node is None else allocatable(node)
        plugins = frozenset() if node is None else migrated_on(node)
        old_limits, old_plugins = self._said.pop(row, ({}, frozenset[str]()))
        if limits or plugins:
            self._said[row] = limits, plugins
        if limits != old_limits:
            for driver in old_limits:
                _column(self._limits, driver, self._nodes.size, NO_LIMIT)[row] = NO_LIMIT
            for driver, limit in limits.items():
                _column(self._limits, driver, self._nodes.size, NO_LIMIT)[row] = limit
            self._limited.subtract(old_limits.keys())
            self._limited.update(limits.keys())
        for plugin in sorted(plugins ^ old_plugins):
            _column(self._handed_over, plugin, self._nodes.size, 0)[row] = plugin in plugins
            self._versions[plugin] += 1


class Keeping(Protocol):
    """What `place` adds to the views that rules get."""

    @property
    def attachments(self) -> Attachments:
        """What is attached to each row."""
        ...

    @property
    def moved_rows(self) -> Collection[int]:
        """The rows on which this what-if put pods, or left pods out; none in the cluster's view."""
        ...


def attachments_of(view: View) -> Attachments:
    """What is attached to each row."""
    return cast("Keeping", view).attachments


def moved_rows(view: View) -> Collection[int]:
    """The rows that differ from what `attachments_of` says."""
    return cast("Keeping", view).moved_rows


def allocatable(node: CSINode) -> dict[str, int]:
    """How many volumes of each driver the node can hold, as far as drivers say."""
    return {
        driver.name: driver.allocatable.count
        for driver in node.spec.drivers
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def _column(columns: dict[str, Int64s], name: str, size: int, blank: int) -> Int64s:
    """The column of that name, as long as there are rows."""
    found = columns.get(name)
    if found is None or len(found) < size:
        grown: Int64s = np.full(size, blank, np.int64)
        if found is not None:
            grown[: len(found)] = found
        found = columns[name] = grown
    return found
