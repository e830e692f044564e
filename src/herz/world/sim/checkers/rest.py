"""At rest: nothing is held for pods that are gone, and nobody is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from herz.model.objects import Node, Pod
from herz.world.sim.checkers.groups import GroupChecker, group_of
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror, avoided
from herz.world.sim.checkers.near import NearRules, NearView, wanted
from herz.world.sim.checkers.spread import SpreadRules, SpreadView
from herz.world.sim.checkers.volumes import VolumeChecker
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


@dataclass(frozen=True, slots=True)
class RestRules:
    """What forbids nodes, and who must be placed together."""

    near: NearRules
    spread: SpreadRules
    volumes: VolumeChecker
    groups: GroupChecker


class RestChecker:
    """Judges the truth of the API at the end, when the machine was told of everything."""

    def __init__(self, mirror: Mirror, rules: RestRules, history: History) -> None:
        self._mirror = mirror
        self._rules = rules
        self._history = history

    def judge(self, cluster: Cluster, reasons: Mapping[str, str]) -> None:
        """Check that every pod is on a node, gone, or waits for a reason.

        Args:
            cluster: the truth.
            reasons: what each pod's last decision said, by uid.
        """
        self._check_told(cluster)
        together: dict[str, list[Pod]] = {}
        for uid, state in cluster.pods.items():
            if state.fate is not Fate.PENDING or state.pod.is_gated:
                continue
            if not reasons.get(uid):
                self._history.fail(f"pod {state.pod.key} ({uid}) was lost: it waits for no reason")
            group = group_of(state.pod)
            if group:
                together.setdefault(group, []).append(state.pod)
            else:
                self._check_alone(state.pod, reasons[uid])
        for group, pods in together.items():
            self._check_group(group, pods, reasons)

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

    def _check_alone(self, pod: Pod, told: str) -> None:
        found = self._rooms(pod, 1)
        if found:
            why = f"{found[0]} is free for it; told was: {told}"
            self._history.fail(f"pod {pod.key} ({pod.metadata.uid}) was lost: {why}")

    def _check_group(self, group: str, pods: list[Pod], reasons: Mapping[str, str]) -> None:
        """A group waits while there are too few of it, or too few of them fit together.

        Several fit together for certain where they are of one kind and no rule counts them against
        each other; where one does, another order might not have found what this would find.
        """
        minimum, mirror = self._rules.groups.minimum(group), self._mirror
        if minimum is None:
            return
        placed = sum(group_of(held.pod) == group for held in mirror.held.values())
        known = sum(group_of(pod) == group for pod in mirror.pods.values())
        needed = minimum - placed
        if known < minimum or len(pods) < needed:
            return
        if needed <= 1:
            for pod in pods:
                self._check_alone(pod, reasons[pod.metadata.uid])
        elif _is_plain(pods):
            found = self._rooms(pods[0], needed)
            if len(found) >= needed:
                told = reasons[pods[0].metadata.uid]
                why = f"{found} are free for the {needed} that it needs; told was: {told}"
                self._history.fail(f"pod group {group} was lost: {why}")

    def _rooms(self, pod: Pod, most: int) -> list[str]:
        """Nodes that nothing known here forbids, each as often as such pods find room there.

        For pods whose volumes are yet to be found, or with rules beyond, there are none.
        """
        rules, mirror = self._rules, self._mirror
        if pod.spec.resource_claims or rules.volumes.has_unbound(pod):
            return []
        near, spread = rules.near.look(pod), rules.spread.look(pod)
        found: list[str] = []
        for node in mirror.nodes.values():
            if len(found) >= most:
                break
            if not static_refusal(pod, node) and not self._rule_refusal(pod, node, near, spread):
                found += [node.name] * self._count(pod, node, most - len(found))
        return found

    def _rule_refusal(self, pod: Pod, node: Node, near: NearView, spread: SpreadView) -> str:
        volumes = self._rules.volumes
        return (
            near.refusal(node) or spread.refusal(node) or volumes.refusal(pod, node, may_wait=False)
        )

    def _count(self, pod: Pod, node: Node, most: int) -> int:
        """How many such pods the node has room for, up to so many; all is given back."""
        room, needs = self._mirror.rooms[node.name], self._mirror.needs.of(pod)
        taken: list[str] = []
        while len(taken) < most:
            devices = room.first_devices(needs)
            if devices is None or room.refusal(needs, devices):
                break
            taken.append(f"{pod.metadata.uid} {len(taken)}")
            room.take(taken[-1], needs, devices)
        for uid in taken:
            room.give(uid)
        return len(taken)


def _is_plain(pods: list[Pod]) -> bool:
    """Whether the pods are of one kind, and are not counted against each other but for room."""
    first = pods[0]
    counted = (first.spec.volumes, avoided(first), wanted(first))
    is_one_kind = all(
        pod.spec == first.spec and pod.metadata.labels == first.metadata.labels for pod in pods
    )
    return is_one_kind and not any(counted) and not first.spec.topology_spread_constraints
