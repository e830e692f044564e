"""What-if on one row at a time: an overlay that is used again and again and copies nothing.

Pods are left out and put in on the columns of use themselves, and taken back before anybody else
looks: `Scratch` is for one question, asked and answered without a change of the cluster between.
"""

from __future__ import annotations

from collections.abc import Sequence

from herz.model.podinfo import PodInfo
from herz.place.answers import RuleError, call
from herz.place.ledger import Placed
from herz.place.sheet import Asked
from herz.place.view import ClusterView, Overlay
from herz.plugin import Int64s, View


class Scratch(Overlay):
    """The cluster with some pods left out or put in, until `undo`."""

    def __init__(self, base: ClusterView) -> None:
        ClusterView.__init__(self, base._table, base._ledger, base._catalog, base._mix)
        # Not a copy. Invariant: between questions nothing is moved.
        self.usage = base._usage
        self._undo: list[tuple[PodInfo, int, tuple[int, ...], int]] = []

    def leave_out(self, placed: Placed) -> None:
        """The pod is not there."""
        row = self._table.rows[placed.node]
        super().leave_out(placed)
        self._undo.append((placed.pod, row, placed.devices, -1))

    def put(self, pod: PodInfo, row: int, devices: tuple[int, ...] = ()) -> None:
        """The pod is there."""
        super().put(pod, row, devices)
        self._undo.append((pod, row, devices, 1))

    def put_back(self, placed: Placed) -> None:
        """A pod that was left out is there again."""
        for at, (pod, _, _, sign) in enumerate(self._undo):
            if pod is placed.pod and sign < 0:
                self._take_back(at)
                return
        raise AssertionError(f"{placed.pod.key} was not left out")

    @property
    def mark(self) -> int:
        """How many pods are moved; for `undo`."""
        return len(self._undo)

    def undo(self, mark: int = 0) -> None:
        """Take everything back that was moved since the mark."""
        while len(self._undo) > mark:
            self._take_back(len(self._undo) - 1)

    def _take_back(self, at: int) -> None:
        pod, row, devices, sign = self._undo.pop(at)
        move = self.usage.give if sign > 0 else self.usage.take
        move(pod, row, self._table.demands(pod), devices)
        del self._moved[at]


def first_code(filters: Sequence[Asked], view: View, at: Int64s) -> int:
    """The first code that is not 0 of one row; 0 when the pod fits.

    Raises:
        RuleError: a rule failed.
    """
    for asked in filters:
        codes = call(asked.rule, asked.rule.filter, asked.state, view, at)
        try:
            code = int(codes[0])
        except (TypeError, IndexError, ValueError) as error:
            raise RuleError(asked.rule.name, f"answers with what is no column: {error}") from error
        if code:
            return code
    return 0
