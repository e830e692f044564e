"""Whether a pod that is preempted would fit on another node (kubernetes#141227).

Each pod by itself, on the cluster as it is: victims are not packed against each other, and the
room that they leave behind counts for none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import force_setattr, replace

from herz.model.podinfo import PodInfo
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.ledger import Placed
from herz.place.sheet import Sheet

_KEYS_MAX: Final = 4_096
"""Bound: questions of which it is remembered what they were answered from."""


class Elsewhere:
    """Asks the rules about victims, as if they came anew."""

    def __init__(self, cluster: Cluster, frameworks: Sequence[Framework]) -> None:
        self._nodes = cluster.nodes
        # A victim that comes again is decided by its own profile, not by the preemptor's.
        self._frameworks = frameworks
        self._seen: dict[object, int] = {}
        self._anew: dict[bytes, PodInfo] = {}

    def forget(self) -> None:
        """What was asked before counts for nothing."""
        self._seen.clear()
        self._anew.clear()

    def refresh(self, key: object) -> bool:
        """Whether anything changed since this question was last asked."""
        end = self._nodes.changes.end
        before = self._seen.get(key)
        if before == end:
            return False
        if len(self._seen) >= _KEYS_MAX:
            self._seen.clear()
        self._seen[key] = end
        return True

    def can_go(self, placed: Placed) -> bool:
        """Whether the pod fits on a node that is not its own."""
        pod = self._as_new(placed.pod)
        sheet = self._frameworks[pod.profile].sheet(pod)
        if not isinstance(sheet, Sheet):
            return False
        row = self._nodes.rows[placed.node]
        return sheet.table.fits > (sheet.code(row) == 0)

    def _as_new(self, pod: PodInfo) -> PodInfo:
        """The pod as it would come again: without its node."""
        known = self._anew.get(pod.digest)
        if known is None:
            if len(self._anew) >= _KEYS_MAX:
                self._anew.clear()
            spec = replace(pod.pod.spec, node_name="")
            known = self._anew[pod.digest] = replace(pod, pod=replace(pod.pod, spec=spec))
            force_setattr(known, "signature", self._frameworks[pod.profile].sign(known))
        return known
