"""What must hold when a run is over: fates add up, rooms are counted rightly, no pod is lost."""

from __future__ import annotations

import msgspec

from herz.model.objects import Pod
from herz.world.sim.checkers.history import History
from herz.world.sim.cluster import ON_NODE, Cluster, Fate
from herz.world.sim.fit import Needs, NeedsCache, Room, devices_in, is_fully_judged, static_refusal
from herz.world.sim.result import PodCounts


class EndChecker:
    """What must hold when a run is over.

    Args:
        cluster: the truth.
        history: for the message.
    """

    def __init__(self, cluster: Cluster, history: History) -> None:
        self._cluster = cluster
        self._history = history

    def check(self, counts: PodCounts, *, is_lost_checked: bool) -> None:
        """Check that fates add up, that no node is over-committed, and that no pod was lost."""
        if counts.ended != counts.arrived:
            fates = msgspec.structs.asdict(counts)
            self._history.fail(f"a pod is in no end state, or in two: {fates}")
        self._check_rooms()
        if is_lost_checked:
            self._check_lost()

    def _check_rooms(self) -> None:
        """Count every node again from its pods."""
        needs = NeedsCache()
        on_node: dict[str, list[str]] = {}
        for uid, state in self._cluster.pods.items():
            if state.fate in ON_NODE:
                on_node.setdefault(state.pod.spec.node_name, []).append(uid)
        for name, node in self._cluster.nodes.items():
            again = Room.of(node.node)
            for uid in on_node.get(name, []):
                pod, first = self._cluster.pods[uid].pod, self._cluster.pods[uid].arrival.pod
                again.take(uid, needs.of(first), devices_in(pod.metadata.annotations.items()))
            if {k: v for k, v in again.used.items() if v} != {
                k: v for k, v in node.room.used.items() if v
            }:
                self._history.fail(f"node {name} holds {again.used}, counted {node.room.used}")
            if again.devices_free != node.room.devices_free:
                self._history.fail(f"node {name}: devices were counted wrongly")

    def _check_lost(self) -> None:
        """A pod that waits though it would fit, after all retries are over, was lost."""
        for state in self._cluster.pods.values():
            pod = state.pod
            if state.fate is not Fate.PENDING or pod.is_gated or not is_fully_judged(pod):
                continue
            node = self._fitting(pod, state.needs)
            if node is not None:
                self._history.fail(f"pod {pod.key} was lost: it waits, though it fits on {node}")

    def _fitting(self, pod: Pod, needs: Needs) -> str | None:
        for name, state in self._cluster.nodes.items():
            devices = state.room.first_devices(needs)
            if not state.is_up or devices is None or state.room.refusal(needs, devices):
                continue
            if not static_refusal(pod, state.node):
                return name
        return None
