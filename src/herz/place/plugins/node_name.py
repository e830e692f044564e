"""NodeName: a pod that names its node goes there or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import (
    SKIP,
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

REASON: Final = "node(s) didn't match the requested node name"


class NodeName(Filter, Hints):
    """The node's name must be the pod's `spec.nodeName`, if it has one."""

    name: ClassVar[str] = "NodeName"
    reads: ClassVar[Reads] = Reads.NODES
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self._code = reasons.code(Kind.NEVER_FITS, self.name, (REASON,))

    def sign(self, pod: PodInfo) -> object:
        """The name."""
        return pod.pod.spec.node_name

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The wanted name."""
        return pod.pod.spec.node_name or SKIP

    def filter(self, state: str, view: View, rows: Rows) -> Codes:
        """The code everywhere but at the named node."""
        codes = np.full(view.size, self._code, np.int16)
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
