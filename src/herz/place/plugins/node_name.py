"""NodeName: a pod that names its node goes there or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.plugins.single_reason import SingleReason
from herz.plugin import (
    SKIP,
    Codes,
    EventKind,
    Hint,
    Reads,
    Rows,
    View,
)


class NodeName(SingleReason):
    """The node's name must be the pod's `spec.nodeName`, if it has one."""

    name: ClassVar[str] = "NodeName"
    reads: ClassVar[Reads] = Reads.NODES
    reason: ClassVar[str] = "node(s) didn't match the requested node name"

    def sign(self, pod: PodInfo) -> object:
        """The name."""
        return pod.pod.spec.node_name

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The wanted name."""
        return pod.pod.spec.node_name or SKIP

    def filter(self, state: str, view: View, rows: Rows) -> Codes:
        """The code everywhere but at the named node."""
        codes = np.full(view.size, self.code, np.int16)
        row = view.row(state)
        if row is not None:
            codes[row] = 0
        return codes[rows]

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node of that name came, or the pod changed."""
        return {
            EventKind.NODE_ADD: lambda pod, change: change.new.name == pod.pod.spec.node_name,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }
