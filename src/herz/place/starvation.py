"""Starvation: room is kept for the pod, or gang, that was refused for capacity for too long.

Small pods that come and go can keep a large one waiting for ever: whatever becomes free is taken
before enough of it is. The pod that waited longest of its priority is therefore nominated to the
node, its gang to the fewest nodes, where it would fit without pods of equal and lower priority;
pods of such priority then leave it the room (`herz.place.yielding`), and nobody is preempted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from herz._native import mix64
from herz.model.podinfo import PodInfo
from herz.place.answers import RuleError
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.ledger import Placed
from herz.place.outcome import NoFit
from herz.place.sheet import Sheet
from herz.place.whatif import Scratch, first_code
from herz.plugin import Kind

CAPACITY_RULE: Final = "NodeResourcesFit"
"""Whose refusals count."""
TRIES_MAX: Final = 200
"""Bound: nodes that are tried for one reservation."""


@dataclass(frozen=True, slots=True)
class StarvationTerms:
    """When room is kept, and for how long.

    Args:
        after_ns: how long a pod is refused before; 0: never.
        ends_after_ns: how long room is kept.
        nodes_percent: of how many of the nodes at most, but for at least one.
    """

    after_ns: int
    ends_after_ns: int
    nodes_percent: int


NEVER_KEPT: Final = StarvationTerms(after_ns=0, ends_after_ns=0, nodes_percent=0)


@dataclass(slots=True)
class Kept:
    """A reservation.

    Args:
        holder: the pod's uid, or its gang's key.
        pods: who is nominated for it, by uid.
        until_ns: when it ends.
    """

    holder: str
    pods: dict[str, PodInfo]
    until_ns: int


class Starvation:
    """Who was refused since when, and for whom room is kept: one holder a priority.

    Bound: the pods that wait; reservations of a share of the nodes.
    """

    def __init__(
        self, cluster: Cluster, frameworks: Sequence[Framework], terms: StarvationTerms
    ) -> None:
        self._cluster, self._frameworks, self._terms = cluster, frameworks, terms
        self._scratch = Scratch(cluster.view)
        # Since when, and one of its pods, by priority and holder; the longest waiting first.
        self._since: dict[int, dict[str, tuple[int, PodInfo]]] = {}
        self._woken: set[str] = set()
        self._kept: dict[int, Kept] = {}

    def refused(self, pods: Sequence[PodInfo], found: NoFit, now_ns: int) -> str:
        """Pods, one or a gang's, were refused once more; the nodes that are kept for them.

        Returns:
            The nodes' names, sorted and comma-separated; empty when none is.
        """
        if not self._terms.after_ns:
            return ""
        holder, priority = _holder(pods[0]), pods[0].priority
        since = self._since.setdefault(priority, {})
        if found.kind is not Kind.UNFIT or CAPACITY_RULE not in found.rejected_by:
            since.pop(holder, None)
            return self.nodes_for(pods[0])
        first_ns, _ = since.setdefault(holder, (now_ns, pods[0]))
        is_due = now_ns - first_ns >= self._terms.after_ns
        if is_due and priority not in self._kept and holder == next(iter(since)):
            self._keep(pods, priority, holder, now_ns)
        return self.nodes_for(pods[0])

    def ended(self, pod: PodInfo) -> None:
        """The pod has a node now, or is gone."""
        kept = self._kept.get(pod.priority) if self._kept else None
        if kept is not None and kept.pods.pop(pod.uid, None) is not None and not kept.pods:
            del self._kept[pod.priority]
        since = self._since.get(pod.priority)
        if since is None:
            return
        since.pop(_holder(pod), None)
        self._woken.discard(_holder(pod))
        if not since:
            del self._since[pod.priority]

    def advance(self, now_ns: int) -> list[PodInfo]:
        """Let time pass: the pods whose reservations end now. They wait anew."""
        over: list[PodInfo] = []
        if not self._kept:
            return over
        for priority in [p for p, kept in self._kept.items() if kept.until_ns <= now_ns]:
            kept = self._kept.pop(priority)
            self._since.get(priority, {}).pop(kept.holder, None)
            self._woken.discard(kept.holder)
            over += kept.pods.values()
        return over

    def due(self, now_ns: int) -> list[str]:
        """Uids of pods whose time has come to be refused once more, so that room is kept."""
        if not self._since:
            return []
        found = [pod for at_ns, pod in self._next() if at_ns <= now_ns]
        self._woken.update(_holder(pod) for pod in found)
        return [pod.uid for pod in found]

    def _next(self) -> Iterator[tuple[int, PodInfo]]:
        for priority, since in self._since.items():
            if since and priority not in self._kept:
                holder, (first_ns, pod) = next(iter(since.items()))
                if holder not in self._woken:
                    yield first_ns + self._terms.after_ns, pod

    def next_wake_ns(self) -> int | None:
        """When a reservation next ends, or somebody has waited for long enough."""
        if not self._since and not self._kept:
            return None
        ends = (kept.until_ns for kept in self._kept.values())
        return min((*ends, *(at_ns for at_ns, _ in self._next())), default=None)

    def nodes_for(self, pod: PodInfo) -> str:
        """Names of the nodes that are kept for the pod or its gang; empty when none is."""
        kept = self._kept.get(pod.priority) if self._kept else None
        if kept is None or kept.holder != _holder(pod):
            return ""
        nominated = {self._cluster.nominations.node_of(uid) for uid in kept.pods}
        return ",".join(sorted(nominated - {""}))

    def _keep(self, pods: Sequence[PodInfo], priority: int, holder: str, now_ns: int) -> None:
        nominations = self._cluster.nominations
        most = max(self._cluster.nodes.count * self._terms.nodes_percent // 100, 1)
        held = (uid for kept in self._kept.values() for uid in kept.pods)
        taken = {nominations.node_of(uid) for uid in held} - {""}
        nodes = self._nodes_for(pods, most - len(taken), taken)
        chosen = {pod.uid: pod for pod in pods if pod.uid in nodes}
        if not chosen:
            return
        self._kept[priority] = Kept(holder, chosen, now_ns + self._terms.ends_after_ns)
        for uid, pod in chosen.items():
            if not nominations.node_of(uid):
                nominations.put(pod, nodes[uid], is_kept=True)

    def _nodes_for(
        self, pods: Sequence[PodInfo], nodes_max: int, taken: set[str]
    ) -> dict[str, str]:
        """By uid, the nodes on which the pods fit without others of their priority or below."""
        found: dict[str, str] = {}
        open_rows: list[int] = []
        try:
            for pod in pods:
                sheet = self._frameworks[pod.profile].sheet(pod)
                if not isinstance(sheet, Sheet) or sheet.rows is not None:
                    return {}
                row = self._row_for(pod, sheet, open_rows, taken)
                if row is None:
                    return {}
                if row not in open_rows:
                    open_rows.append(row)
                if len(open_rows) > nodes_max:
                    return {}
                found[pod.uid] = self._cluster.nodes.name(row)
                self._scratch.put(pod, row)
        except RuleError:
            return {}
        finally:
            self._scratch.undo()
        return found

    def _row_for(
        self, pod: PodInfo, sheet: Sheet, open_rows: list[int], taken: set[str]
    ) -> int | None:
        """The first row that would do: one that is kept already, else a new one."""
        for row in open_rows:
            if self._fits(sheet, row):
                return row
        tried = 0
        for row in self._candidates(pod, sheet):
            if row in open_rows or self._cluster.nodes.names[row] in taken:
                continue
            tried += 1
            if tried > TRIES_MAX:
                break
            mark = self._scratch.mark
            for placed in self._leaving(pod, row):
                self._scratch.leave_out(placed)
            if self._fits(sheet, row):
                return row
            self._scratch.undo(mark)
        return None

    def _candidates(self, pod: PodInfo, sheet: Sheet) -> list[int]:
        """Rows without room for the pod that its going pods may make, soonest first."""
        framework = self._frameworks[pod.profile]
        nodes, book = self._cluster.nodes, framework.book
        first = sheet.table.first()
        rows = [
            row
            for row in range(nodes.size)
            if first[row] > 0 and book.verdict(int(first[row])).plugin == CAPACITY_RULE
        ]
        # Tie: by the keyed hash of pod and node, then by name.
        salt = pod.tie_key ^ (framework.salt or 0)
        key = nodes.keys
        return sorted(
            rows,
            key=lambda row: (
                len(list(self._leaving(pod, row))),
                mix64(int(key[row]) ^ salt),
                nodes.names[row],
            ),
        )

    def _leaving(self, pod: PodInfo, row: int) -> list[Placed]:
        on_row = self._cluster.ledger.on(self._cluster.nodes.names[row])
        return [placed for placed in on_row if placed.pod.priority <= pod.priority]

    def _fits(self, sheet: Sheet, row: int) -> bool:
        at = np.array([row], np.int64)
        return first_code(sheet.filters, self._scratch, at) == 0


def _holder(pod: PodInfo) -> str:
    return pod.pod_group or pod.uid
