"""SchedulingGates: a pod with gates stays out of the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from herz.model.podinfo import PodInfo
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import Kind, PreEnqueue, ReasonBook, Verdict


class SchedulingGates(PreEnqueue):
    """Gated until `spec.schedulingGates` is empty."""

    name: ClassVar[str] = "SchedulingGates"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)

    def admit(self, pod: PodInfo) -> Verdict | None:
        """None when there is no gate."""
        gates = tuple(gate.name for gate in pod.pod.spec.scheduling_gates)
        if not gates:
            return None
        return Verdict(Kind.WAIT, self.name, (f"waiting for scheduling gates: {list(gates)}",))
