"""What was measured on nodes, as columns by row: the newest sample of each signal, while it stands.

A sample comes as a `NodeSignals` object, which says how old it is and for how long it stands. When
that time has passed without another, all of the node's signals are missing: nothing is invented,
and nothing old is taken for new. Time is that of events and steps, so that replay has the same.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from herz.model.service_levels import NodeSignals
from herz.place.columns import NodeTable
from herz.plugin import Int64s, Reads
from herz.plugin.view import MISSING

SIGNALS_MAX: Final = 64
"""Bound: names of signals that have a column; those that come later are not read."""

FAR_NS: Final = 1 << 62
"""No sample is there that could end."""
_MILLISECOND_NS: Final = 1_000_000


class Signals:
    """Signals by row.

    Args:
        nodes: the node table.
    """

    def __init__(self, nodes: NodeTable) -> None:
        self._nodes = nodes
        # Columns and which of them: made anew from the objects.
        self._columns: dict[str, Int64s] = {}
        self._latest: dict[str, NodeSignals] = {}
        # Until when each node's sample stands. Bound: the NodeSignals objects.
        self._until: dict[str, int] = {}
        # No sample ends before this: it follows from the others, and may be too early.
        self._first_end_ns = 0
        self._stale: set[str] = set()

    @property
    def digest(self) -> bytes:
        """What decisions read besides the objects: whose samples are too old; empty: nobody's."""
        if not self._stale:
            return b""
        return hashlib.sha3_256("\0".join(sorted(self._stale)).encode()).digest()

    def see(self, thing: NodeSignals, time_ns: int) -> None:
        """A sample came, even if it is the same as the one before."""
        name, status = thing.metadata.name, thing.status
        fresh_ms = status.valid_milliseconds - status.age_milliseconds
        self._until[name] = time_ns + fresh_ms * _MILLISECOND_NS
        self._first_end_ns = min(self._first_end_ns, self._until[name])
        if name in self._stale and fresh_ms > 0:
            self._stale.discard(name)
            self._put(name)

    def write(self, name: str, thing: NodeSignals | None) -> None:
        """The node's signals are these now; None: it has none any more."""
        if thing is None:
            self._latest.pop(name, None)
            self._until.pop(name, None)
            self._stale.discard(name)
        else:
            self._latest[name] = thing
            for signal in sorted(thing.status.signals):
                if signal not in self._columns and len(self._columns) < SIGNALS_MAX:
                    self._columns[signal] = np.full(self._nodes.size, MISSING, np.int64)
        self._put(name)

    def advance(self, now_ns: int) -> None:
        """Samples that no longer stand are missing from now on."""
        if self._first_end_ns > now_ns:
            return
        # Bound: the nodes with signals, once each time that a sample may have ended.
        for name in sorted(name for name, until_ns in self._until.items() if until_ns <= now_ns):
            del self._until[name]
            if name not in self._stale:
                self._stale.add(name)
                self._put(name)
        self._first_end_ns = min(self._until.values(), default=FAR_NS)

    def node_came(self, name: str) -> None:
        """A node has a row now."""
        self._put(name, is_told=False)

    def node_goes(self, row: int) -> None:
        """The node of the row is about to go."""
        for column in self._columns.values():
            if row < len(column):
                column[row] = MISSING

    def settle(self) -> None:
        """Write all columns anew, after what is remembered was replaced."""
        self._first_end_ns = 0
        for name in self._latest:
            self._put(name)

    def column(self, signal: str) -> Int64s:
        """By row: the signal's value; MISSING where it was not measured, or is too old."""
        known = self._columns.get(signal)
        if known is None:
            return np.full(self._nodes.size, MISSING, np.int64)
        return self._sized(signal, known)

    def _put(self, name: str, *, is_told: bool = True) -> None:
        row = self._nodes.rows.get(name)
        if row is None:
            return
        thing = None if name in self._stale else self._latest.get(name)
        signals = {} if thing is None else thing.status.signals
        for signal, column in self._columns.items():
            self._sized(signal, column)[row] = signals.get(signal, MISSING)
        if is_told:
            self._nodes.note(row, Reads.SIGNALS)

    def _sized(self, signal: str, column: Int64s) -> Int64s:
        size = self._nodes.size
        if len(column) < size:
            grown: npt.NDArray[np.int64] = np.full(size, MISSING, np.int64)
            grown[: len(column)] = column
            column = self._columns[signal] = grown
        return column
