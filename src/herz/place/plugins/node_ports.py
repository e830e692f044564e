"""NodePorts: host ports that the pod asks for must be free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.resources import HostPort
from herz.place.plugins.single_reason import SingleReason
from herz.plugin import (
    SKIP,
    Change,
    Codes,
    EventKind,
    Hint,
    Kind,
    Reads,
    Rows,
    View,
)

ANY_ADDRESS: Final = "0.0.0.0"


class NodePorts(SingleReason):
    """Port, protocol and address must not be taken; 0.0.0.0 takes, and wants, all addresses."""

    name: ClassVar[str] = "NodePorts"
    reads: ClassVar[Reads] = Reads.PORTS
    kind: ClassVar[Kind] = Kind.UNFIT
    reason: ClassVar[str] = "node(s) didn't have free ports for the requested pod ports"

    def sign(self, pod: PodInfo) -> object:
        """The ports."""
        return pod.ports

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The ports."""
        return pod.ports or SKIP

    def filter(self, state: tuple[HostPort, ...], view: View, rows: Rows) -> Codes:
        """The code at rows where a port is taken."""
        codes = np.zeros(view.size, np.int16)
        for wanted in state:
            for row, addresses in view.port_rows(wanted.protocol, wanted.port).items():
                if _clashes(wanted.ip, addresses):
                    codes[row] = self.code
        return codes[rows]

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A pod that held a wanted port left, a node came, or the pod changed."""
        return {
            EventKind.ASSIGNED_POD_DELETE: _frees_port,
            EventKind.NODE_ADD: None,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def _clashes(wanted: str, addresses: Iterable[str]) -> bool:
    return any(ANY_ADDRESS in (wanted, address) or wanted == address for address in addresses)


def _frees_port(pod: PodInfo, change: Change) -> bool:
    return any(
        (held.protocol, held.port) == (wanted.protocol, wanted.port)
        and _clashes(wanted.ip, (held.ip,))
        for held in change.old.ports
        for wanted in pod.ports
    )
