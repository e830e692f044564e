"""At rest: nothing is held for pods that are gone, and nobody is lost."""

from __future__ import annotations

from collections.abc import Mapping

from herz.model.objects import Node, Pod
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.near import NearRules
from herz.world.sim.checkers.spread import SpreadRules
from herz.world.sim.cluster import ON_NODE, Cluster, Fate
from herz.world.sim.fit import static_refusal


class HeldChecker:
    """Compares what the machine holds with what it should."""

    def __init__(self, mirror: Mirror, history: History) -> None:
        self._mirror = mirror
        self._history = history

    def judge(self, held: Mapping[str, str]) -> None:
        """Check the machine's own account: node by uid."""
        known = self._mirror.held
        for uid, node in held.items():
            there = known.get(uid)
            if there is None or there.node != node:
                self._history.fail(f"leaked reservation: {uid} holds room on {node}")
        for uid, there in known.items():
            if uid not in held:
                self._history.fail(f"lost reservation: {uid} is on {there.node}, nothing is held")


class RestChecker:
    """Judges the truth of the API at the end, when the machine was told of everything."""

    def __init__(
        self, mirror: Mirror, near: NearRules, spread: SpreadRules, history: History
    ) -> None:
        self._mirror = mirror
        self._near = near
        self._spread = spread
        self._history = history

    def judge(self, cluster: Cluster, reasons: Mapping[str, str]) -> None:
        """Check that every pod is on a node, gone, or waits for a reason.

        Args:
            cluster: the truth.
            reasons: what each pod's last decision said, by uid.
        """
        self._check_told(cluster)
        for uid, state in cluster.pods.items():
            if state.fate is not Fate.PENDING or state.pod.is_gated:
                continue
            if not reasons.get(uid):
                self._history.fail(f"pod {state.pod.key} ({uid}) was lost: it waits for no reason")
            node = self._fitting(state.pod)
            if node is not None:
                why = f"{node.name} is free for it; told was: {reasons[uid]}"
                self._history.fail(f"pod {state.pod.key} ({uid}) was lost: {why}")

    def _check_told(self, cluster: Cluster) -> None:
        """The mirror is the truth: the watch has told of everything, and invented nothing."""
        there = {
            uid: state.pod.spec.node_name
            for uid, state in cluster.pods.items()
            if state.fate in ON_NODE
        }
        held = {uid: one.node for uid, one in self._mirror.held.items()}
        if there != held:
            differ = sorted(dict(there.items() ^ held.items()))[:5]
            self._history.fail(f"what was told is not what is there: {differ}")

    def _fitting(self, pod: Pod) -> Node | None:
        """A node that nothing known here forbids; None for pods with rules beyond."""
        spec, mirror = pod.spec, self._mirror
        if spec.volumes or spec.resource_claims or spec.scheduling_group is not None:
            return None
        near, spread, needs = self._near.look(pod), self._spread.look(pod), mirror.needs.of(pod)
        for node in mirror.nodes.values():
            room = mirror.rooms[node.name]
            devices = room.first_devices(needs)
            if devices is None or room.refusal(needs, devices) or static_refusal(pod, node):
                continue
            if not near.refusal(node) and not spread.refusal(node):
                return node
        return None
