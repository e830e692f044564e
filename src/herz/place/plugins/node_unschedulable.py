"""NodeUnschedulable: a cordoned node takes only pods that tolerate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.taints import UNSCHEDULABLE_TAINT, find_untolerated
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Reads,
    ReasonBook,
    Rows,
    View,
)

REASON: Final = "node(s) were unschedulable"


class NodeUnschedulable(Filter, Hints):
    """`spec.unschedulable` keeps pods away that do not tolerate its taint."""

    name: ClassVar[str] = "NodeUnschedulable"
    reads: ClassVar[Reads] = Reads.TAINTS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self._code = reasons.code(Kind.NEVER_FITS, self.name, (REASON,))

    def sign(self, pod: PodInfo) -> object:
        """Whether the pod tolerates it."""
        return _tolerates(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """Nothing to look at for pods that tolerate it."""
        return SKIP if _tolerates(pod) else None

    def filter(self, state: None, view: View, rows: Rows) -> Codes:
        """The code at cordoned nodes."""
        return np.where(view.unschedulable[rows], self._code, 0).astype(np.int16)

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
