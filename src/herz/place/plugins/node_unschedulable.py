"""NodeUnschedulable: a cordoned node takes only pods that tolerate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.taints import UNSCHEDULABLE_TAINT, find_untolerated
from herz.place.plugins.single_reason import SingleReason
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Hint,
    Reads,
    Rows,
    View,
)


class NodeUnschedulable(SingleReason):
    """`spec.unschedulable` keeps pods away that do not tolerate its taint."""

    name: ClassVar[str] = "NodeUnschedulable"
    reads: ClassVar[Reads] = Reads.TAINTS
    reason: ClassVar[str] = "node(s) were unschedulable"

    def sign(self, pod: PodInfo) -> object:
        """Whether the pod tolerates it."""
        return _tolerates(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """Nothing to look at for pods that tolerate it."""
        return SKIP if _tolerates(pod) else None

    def filter(self, state: None, view: View, rows: Rows) -> Codes:
        """The code at cordoned nodes."""
        return np.where(view.unschedulable[rows], self.code, 0).astype(np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node that is not cordoned came, one was uncordoned, or the pod changed."""
        return {
            EventKind.NODE_ADD: _is_open,
            EventKind.NODE_UPDATE: _is_open,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _is_open(_pod: PodInfo, change: Change) -> bool:
    was_closed = change.old is None or change.old.spec.unschedulable
    return was_closed and not change.new.spec.unschedulable


def _tolerates(pod: PodInfo) -> bool:
    return find_untolerated((UNSCHEDULABLE_TAINT,), pod.pod.spec.tolerations) is None
