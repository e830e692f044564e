"""One row tried with fewer pods: which must go so that the pod fits there.

Source: kube-scheduler 1.36 `SelectVictimsOnNode`. All pods of lower priority leave; if the pod
then fits, they are spared one by one: first those whose preemption breaks a budget, then the
others, each from the most important one down. A pod "fits" when it does with the nominated pods
that it must leave room to, and also without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.columns import NodeTable
from herz.place.ledger import Ledger, Placed
from herz.place.nominated import Nominations
from herz.place.preemption.budgets import Budgets
from herz.place.preemption.importance import importance
from herz.place.sheet import Asked
from herz.place.whatif import Scratch, first_code
from herz.place.yielding import put_nominated
from herz.plugin import PreemptionTerms, Reads

_FIXED = int(
    Reads.LABELS
    | Reads.TAINTS
    | Reads.ALLOCATABLE
    | Reads.IMAGES
    | Reads.FEATURES
    | Reads.ANNOTATIONS
    | Reads.NODES
    | Reads.MIX
    | Reads.OWNERS
    | Reads.NAMESPACES
)
"""What no pod that leaves changes."""
_MOVED = int(Reads.REQUESTED | Reads.PORTS | Reads.DEVICES | Reads.DISKS | Reads.PODS)
"""What is known of each pod: whether it changes this when it comes or goes."""
_REQUESTED, _PORTS, _DEVICES = int(Reads.REQUESTED), int(Reads.PORTS), int(Reads.DEVICES)
_DISKS, _PODS = int(Reads.DISKS), int(Reads.PODS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row would cost.

    Args:
        victims: who must go, most important first; empty: the row is no candidate.
        violations: how many of them break a budget.
    """

    victims: tuple[Placed, ...] = ()
    violations: int = 0


NO_OUTCOME = Outcome()


def moving(asked: Asked) -> int:
    """The aspects through which pods that come or go move the rule's answer."""
    return (int(asked.rule.reads) | int(asked.rule.reads_all)) & ~_FIXED


class Trial:
    """The question of one pod, asked of row after row.

    Args:
        nodes: the node table.
        ledger: who is where.
        nominations: who is nominated where.
        scratch: for the what-ifs.
        filters: the rules that have something to say to the pod.
        pod: the pod.
        budgets: as they are now.
        terms: what preemption may do.
        can_go: whether a pod may be a victim; None: all may.
    """

    def __init__(
        self,
        nodes: NodeTable,
        ledger: Ledger,
        nominations: Nominations,
        scratch: Scratch,
        *,
        filters: Sequence[Asked],
        pod: PodInfo,
        budgets: Budgets,
        terms: PreemptionTerms,
        can_go: Callable[[Placed], bool] | None = None,
    ) -> None:
        self._nodes, self._ledger, self._scratch = nodes, ledger, scratch
        self._nominations, self._budgets, self._terms = nominations, budgets, terms
        self._pod, self._can_go = pod, can_go
        self._filters = filters
        self._sums: dict[str, int] = {}
        self.others: list[Asked] = []
        """The rules that must be asked once more when pods leave."""
        for asked in filters:
            if not moving(asked):
                continue
            if hasattr(asked.rule, "asks"):
                for name, amount in asked.rule.asks(asked.state).items():
                    self._sums[name] = max(amount, self._sums.get(name, 0))
            else:
                self.others.append(asked)
        self._reads = [moving(asked) for asked in self.others]

    def lower(self, row: int) -> list[Placed]:
        """The pods of lower priority on the row, in no order."""
        priority = self._pod.priority
        on_row = self._ledger.on(self._nodes.names[row])
        return [placed for placed in on_row if placed.pod.priority < priority]

    def victims(self, row: int) -> list[Placed]:
        """The pods on the row that may be preempted at all, most important first."""
        lower, can_go = self.lower(row), self._can_go
        if can_go is not None:
            lower = [placed for placed in lower if can_go(placed)]
        lower.sort(key=_importance)
        return self._budgets.evictable(lower) if self._terms.is_budget_hard else lower

    def run(self, row: int, refusing: Sequence[bool] = ()) -> Outcome:
        """Who must leave the row.

        Args:
            row: the row, which the other rules let through.
            refusing: by rule of `others`, whether it refuses the row as it is; () for none.

        Raises:
            RuleError: a rule failed.
        """
        lower = self.victims(row)
        if not lower:
            return NO_OUTCOME
        nominated = self._nominated(row)
        room = _Room(self._nodes, row, self._sums, lower, nominated)
        if room.is_short:
            return NO_OUTCOME
        moved = self._moved([placed.pod for placed in lower] + nominated)
        asked = []
        for at, rule in enumerate(self.others):
            if self._reads[at] & (moved | ~_MOVED):
                asked.append(rule)
            elif refusing and refusing[at]:
                return NO_OUTCOME
        try:
            return self._spare(row, lower, nominated, room, asked)
        finally:
            self._scratch.undo()

    def _moved(self, pods: Sequence[PodInfo]) -> int:
        """What changes when pods such as these come or go."""
        if not self.others:
            return 0
        index = self._nodes.pods
        moved = _REQUESTED
        for pod in pods:
            if pod.ports:
                moved |= _PORTS
            if pod.gpu.count:
                moved |= _DEVICES
            if pod.pod.spec.volumes:
                moved |= _DISKS
            if not moved & _PODS and index.moves(pod):
                moved |= _PODS
        return moved

    def code(self, row: int) -> int:
        """Why the pod does not fit on the row without all that may be preempted; 0: it would.

        Raises:
            RuleError: a rule failed.
        """
        try:
            for placed in self.victims(row):
                self._scratch.leave_out(placed)
            return self._code(row, self._filters, self._nominated(row))
        finally:
            self._scratch.undo()

    def _nominated(self, row: int) -> list[PodInfo]:
        pod = self._pod
        return self._nominations.on(self._nodes.names[row], pod.priority, pod.uid)

    def _spare(
        self,
        row: int,
        lower: list[Placed],
        nominated: list[PodInfo],
        room: _Room,
        asked: Sequence[Asked],
    ) -> Outcome:
        if asked:
            for placed in lower:
                self._scratch.leave_out(placed)
            if self._code(row, asked, nominated):
                return NO_OUTCOME
        breaking: list[Placed] = []
        others = lower
        if not self._terms.is_budget_hard:
            breaking, others = self._budgets.split(lower)
        victims = []
        violations = 0
        for group in (breaking, others):
            for placed in group:
                if room.take(placed.pod):
                    if not asked:
                        continue
                    self._scratch.put_back(placed)
                    if not self._code(row, asked, nominated):
                        continue
                    self._scratch.leave_out(placed)
                    room.give(placed.pod)
                victims.append(placed)
                violations += group is breaking
        if breaking and others:
            victims.sort(key=_importance)
        return Outcome(tuple(victims), violations)

    def _code(self, row: int, filters: Sequence[Asked], nominated: Sequence[PodInfo]) -> int:
        """The first code with the nominated pods, then without them."""
        at = np.array([row], np.int64)
        if nominated:
            mark = self._scratch.mark
            put_nominated(self._scratch, nominated, row)
            code = first_code(filters, self._scratch, at)
            self._scratch.undo(mark)
            if code:
                return code
        return first_code(filters, self._scratch, at)


class _Room:
    """What a row has left of what is asked, once the pod and those it yields to are there."""

    def __init__(
        self,
        nodes: NodeTable,
        row: int,
        sums: Mapping[str, int],
        lower: Sequence[Placed],
        nominated: Sequence[PodInfo],
    ) -> None:
        self._names = tuple(sums)
        offered, used = nodes.allocatable, nodes.usage.requested
        left = []
        for name, amount in sums.items():
            column = nodes.resource(name)
            free = offered.item(column, row) - used.item(column, row) - amount
            for placed in lower:
                free += placed.pod.requests.get(name, 0)
            for pod in nominated:
                free -= pod.requests.get(name, 0)
            left.append(free)
        self._left = left

    @property
    def is_short(self) -> bool:
        """Whether the pod does not fit."""
        return any(free < 0 for free in self._left)

    def take(self, pod: PodInfo) -> bool:
        """Put the pod back on the row; False, and nothing is changed, when there is no room."""
        requests = pod.requests
        taken = [requests.get(name, 0) for name in self._names]
        for free, amount in zip(self._left, taken, strict=True):
            if amount > free:
                return False
        self._left = [free - amount for free, amount in zip(self._left, taken, strict=True)]
        return True

    def give(self, pod: PodInfo) -> None:
        """The inverse of `take`."""
        requests = pod.requests
        self._left = [
            free + requests.get(name, 0) for name, free in zip(self._names, self._left, strict=True)
        ]


def _importance(placed: Placed) -> tuple[int, int, str]:
    return importance(placed.pod)
