"""Which rows a pod must leave to pods that are nominated to them.

Kubernetes filters a node twice when pods of at least the same priority are nominated to it: with
them, and without. The second answer is the rules' own; this column has the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from herz._native import Codes
from herz.errors import InvariantError
from herz.model.podinfo import PodInfo
from herz.place.answers import Answers
from herz.place.columns import NodeTable
from herz.place.nominated import Nominations, devices_for
from herz.place.sheet import Asked
from herz.place.whatif import Scratch, first_code
from herz.plugin import Codes as Int16s
from herz.plugin import Int64s, Reads, ReasonBook


class Yielding(Answers):
    """Codes of the rows with the nominated pods on them; 0 where nobody is nominated.

    Args:
        nodes: the node table.
        nominations: who is nominated where.
        scratch: for the what-ifs.
        filters: the rules that have something to say to the pod.
        book: the codes' meaning.
        pod: one of the signature and priority that the column is for.
        rows: the rows that are asked about; None: all.
    """

    def __init__(
        self,
        nodes: NodeTable,
        nominations: Nominations,
        scratch: Scratch,
        filters: Sequence[Asked],
        book: ReasonBook,
        pod: PodInfo,
        rows: Int64s | None,
    ) -> None:
        super().__init__(None, nodes, rows)
        self._asked = tuple(filters)
        self._nominations, self._scratch, self._book = nominations, scratch, book
        self._priority = pod.priority
        self._exempt = pod.uid
        # Where the exempt pod was nominated to when the rows were last asked about.
        self._exempt_at = ""
        for asked in filters:
            self.reads_all |= int(asked.rule.reads_all)
            self.reads |= int(asked.rule.reads)
        self.reads |= int(Reads.PREEMPTION)
        self.wanted = self.reads | self.reads_all
        self.column = Codes(self.size)
        self.ask(None)

    def exempt(self, pod: PodInfo) -> Int64s:
        """Ask as this pod does, which need not leave room to itself; gives the rows that moved."""
        at = self._nominations.node_of(pod.uid)
        if (pod.uid, at) == (self._exempt, self._exempt_at) or not (at or self._exempt_at):
            self._exempt, self._exempt_at = pod.uid, at
            return np.zeros(0, np.int64)
        known = [self._nodes.rows.get(name) for name in (at, self._exempt_at)]
        # Not `np.unique`, whose first call imports a module: 35 ms in the middle of a decision.
        rows = np.array(sorted({row for row in known if row is not None}), np.int64)
        self._exempt, self._exempt_at = pod.uid, at
        self.ask(rows)
        return rows

    def ask(self, rows: Int64s | None) -> None:
        """Ask about the rows; None: all."""
        codes: Int16s
        # It may have been nominated since: the next pod must leave room to it there.
        self._exempt_at = self._nominations.node_of(self._exempt)
        if rows is not None:
            codes = np.array([self._code(row) for row in rows.tolist()], np.int16)
        else:
            whole = np.zeros(self._nodes.size, np.int16)
            for name in self._nominations.nodes():
                row = self._nodes.rows.get(name)
                if row is not None:
                    whole[row] = self._code(row)
            codes = whole[self._rows]
        if not self.column.set(rows, codes, len(self._book)):
            raise InvariantError("a rule gave a code that no reason has")

    def _code(self, row: int) -> int:
        name = self._nodes.names[row]
        pods = self._nominations.on(name, self._priority, self._exempt)
        if not pods:
            return 0
        at = np.array([row], np.int64)
        try:
            put_nominated(self._scratch, pods, row)
            return first_code(self._asked, self._scratch, at)
        finally:
            self._scratch.undo()


def put_nominated(scratch: Scratch, pods: Sequence[PodInfo], row: int) -> None:
    """Put the nominated pods on the row."""
    for pod in pods:
        scratch.put(pod, row, devices_for(pod, scratch.devices[row]))
