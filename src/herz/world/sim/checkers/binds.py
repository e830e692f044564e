"""Binds: known pod, known node, bound once, and room on a node that allows the pod."""

from __future__ import annotations

from typing import NoReturn

from herz.model.effects import Bind
from herz.model.objects import Node, Pod
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.fit import devices_in, static_refusal


class BindChecker:
    """Judges each Bind against the mirror, before it is carried out.

    Rules: the pod and the node are known; the pod is not bound, on its way, ended, being deleted or
    gated; the node has room (resources, devices, ports, pods), and its taints, labels and the pod's
    node selectors allow it.
    """

    def __init__(self, mirror: Mirror, history: History) -> None:
        self._mirror = mirror
        self._history = history

    def judge(self, bind: Bind) -> tuple[Pod, Node]:
        """Check it; the pod and the node."""
        mirror = self._mirror
        pod, node = mirror.pods.get(bind.uid), mirror.nodes.get(bind.node)
        if pod is None:
            self.fail(bind, "the machine was not told of the pod, or told that it is gone")
        if node is None:
            self.fail(bind, "the machine was not told of the node, or told that it is gone")
        if pod.metadata.key != f"{bind.namespace}/{bind.name}":
            self.fail(bind, f"the uid belongs to {pod.metadata.key}")
        if mirror.is_on_its_way(bind.uid):
            self.fail(bind, "its bind is under way already: bound twice")
        is_placed = mirror.is_placed(bind.uid) or pod.is_assigned
        if is_placed or pod.is_terminal or pod.is_terminating or pod.is_gated:
            self.fail(bind, "it is assigned, ended, being deleted or gated")
        room, devices = mirror.rooms[bind.node], devices_in(bind.annotations)
        reason = static_refusal(pod, node) or room.refusal(mirror.needs.of(pod), devices)
        if reason:
            self.fail(bind, f"{reason}: the node would be over-committed, or refuses the pod")
        return pod, node

    def fail(self, bind: Bind, why: str) -> NoReturn:
        """The bind is wrong."""
        where = f"pod {bind.namespace}/{bind.name} ({bind.uid}) to node {bind.node}"
        self._history.fail(f"wrong bind of {where}: {why}")
