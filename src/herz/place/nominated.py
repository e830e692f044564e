"""Nominations: which waiting pods have room made, or being made, for them on which node.

Step reserve, ahead of time: a nomination holds nothing. Pods of lower priority leave the room to
the nominated pod when they are filtered; a pod of higher priority may take it. Nominations come
from preemption, and from `status.nominatedNodeName` as the API shows it: a restart loses none.
"""

from __future__ import annotations

from typing import Final

from herz.model.podinfo import PodInfo
from herz.place.columns import NodeTable
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Int64s, Reads

_PART: Final = "nominations"
_PREEMPTION: Final = int(Reads.PREEMPTION)


class Nominations:
    """Nominated pods by node, and the victims whose deletion was asked for.

    Args:
        nodes: the node table, whose readers are told which rows changed.
        snapshot: the digest that follows every change.
    """

    def __init__(self, nodes: NodeTable, snapshot: SnapshotDigest) -> None:
        self._nodes = nodes
        self._snapshot = snapshot
        self.known: dict[str, tuple[PodInfo, str]] = {}
        """Nominated pods and their nodes, by uid; written here alone."""
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        # Those that keep room for pods that wait for long: nobody was preempted for them.
        # Invariant: of nominated pods only.
        self._kept: set[str] = set()
        # Bound: one for each priority that a nominated pod has.
        self._priorities: dict[int, int] = {}
        # What the API last showed of a pod that waits. Invariant: never an empty name.
        self._shown: dict[str, str] = {}
        # Victim to preemptor, from the decision until the victim is gone or spared.
        self._victims: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.known)

    def node_of(self, uid: str) -> str:
        """The node that the pod is nominated to; empty when it is not."""
        known = self.known.get(uid)
        return "" if known is None else known[1]

    def concern(self, pod: PodInfo) -> bool:
        """Whether another pod is nominated to which this one must leave room somewhere."""
        if not self.known:
            return False
        count = sum(n for priority, n in self._priorities.items() if priority >= pod.priority)
        own = self.known.get(pod.uid)
        return count > (own is not None and own[0].priority >= pod.priority)

    def is_kept(self, uid: str) -> bool:
        """Whether the pod is nominated because it waits for long, with nobody preempted for it."""
        return uid in self._kept

    def keeps_from(self, pod: PodInfo) -> bool:
        """Whether room is kept, for a pod that waits for long, from this one."""
        if not self._kept:
            return False
        return any(
            known.priority >= pod.priority and uid != pod.uid
            for uid, (known, _) in self.known.items()
            if uid in self._kept
        )

    def is_any(self, node: str) -> bool:
        """Whether a pod is nominated to the node."""
        return node in self._by_node

    def on(self, node: str, priority: int, exempt: str = "") -> list[PodInfo]:
        """Pods nominated to the node, of at least this priority, but for one uid."""
        known = self._by_node.get(node)
        if known is None:
            return []
        found = [p for uid, p in known.items() if p.priority >= priority and uid != exempt]
        # Tie: by uid. In which order they were nominated decides nothing.
        return sorted(found, key=lambda pod: (-pod.priority, pod.uid))

    def below(self, node: str, priority: int) -> list[PodInfo]:
        """Pods nominated to the node that have a lower priority, by uid."""
        known = self._by_node.get(node, {})
        return sorted((p for p in known.values() if p.priority < priority), key=lambda p: p.uid)

    def nodes(self) -> list[str]:
        """The nodes that pods are nominated to."""
        return list(self._by_node)

    def see(self, pod: PodInfo) -> None:
        """The API shows the pod, which has no node.

        What Herz has decided since stands until the API shows something else than before.
        """
        shown = pod.pod.status.nominated_node_name
        before = self._shown.get(pod.uid, "")
        known = self.known.get(pod.uid)
        if shown != before:
            if shown:
                self._shown[pod.uid] = shown
                self.put(pod, shown)
            else:
                del self._shown[pod.uid]
                self.drop(pod.uid)
        elif known is not None and known[0].digest != pod.digest:
            self.put(pod, known[1], is_kept=pod.uid in self._kept)

    def put(self, pod: PodInfo, node: str, *, is_kept: bool = False) -> None:
        """Nominate the pod to the node, and to no other.

        Args:
            pod: the pod.
            node: the node.
            is_kept: because it waits for long.
        """
        self.drop(pod.uid)
        if is_kept:
            self._kept.add(pod.uid)
        self.known[pod.uid] = (pod, node)
        self._by_node.setdefault(node, {})[pod.uid] = pod
        self._priorities[pod.priority] = self._priorities.get(pod.priority, 0) + 1
        self._snapshot.add(_PART, _nomination(pod.uid, node, is_kept=is_kept))
        self._note(node)

    def drop(self, uid: str) -> str:
        """End the pod's nomination; the node that it was for, empty when there was none."""
        known = self.known.pop(uid, None)
        if known is None:
            return ""
        pod, node = known
        on_node = self._by_node[node]
        del on_node[uid]
        if not on_node:
            del self._by_node[node]
        left = self._priorities[pod.priority] - 1
        if left:
            self._priorities[pod.priority] = left
        else:
            del self._priorities[pod.priority]
        self._snapshot.remove(_PART, _nomination(uid, node, is_kept=uid in self._kept))
        self._kept.discard(uid)
        self._note(node)
        return node

    def settle(self, uid: str) -> str:
        """The pod has a node, or is gone; the node that it was nominated to, or empty."""
        self._shown.pop(uid, None)
        return self.drop(uid)

    # ---- victims --------------------------------------------------------------------------

    def sentence(self, victim: str, preemptor: str) -> None:
        """The victim's deletion was asked for, to make room for the preemptor."""
        self.spare(victim)
        self._victims[victim] = preemptor
        self._snapshot.add(_PART, _element(victim, "", preemptor))

    def spare(self, victim: str) -> str:
        """The victim stays, or is gone; the preemptor's uid, empty when it was no victim."""
        preemptor = self._victims.pop(victim, "")
        if preemptor:
            self._snapshot.remove(_PART, _element(victim, "", preemptor))
        return preemptor

    def is_victim(self, uid: str) -> bool:
        """Whether the pod's deletion was asked for."""
        return uid in self._victims

    def _note(self, node: str) -> None:
        row = self._nodes.rows.get(node)
        if row is not None:
            self._nodes.note(row, _PREEMPTION)


class Genuine(Nominations):
    """The nominations that preemption or the API made: without the room that is only kept.

    Args:
        base: all nominations; they are looked at, never changed.
    """

    def __init__(self, base: Nominations) -> None:
        self._base = base
        self.known = base.known

    def node_of(self, uid: str) -> str:
        """The node that the pod is nominated to, for whatever reason; empty when it is not."""
        return self._base.node_of(uid)

    def concern(self, pod: PodInfo) -> bool:
        """Whether another pod is nominated to which this one must leave room somewhere."""
        base = self._base
        return any(
            known.priority >= pod.priority and uid != pod.uid
            for uid, (known, _) in base.known.items()
            if not base.is_kept(uid)
        )

    def on(self, node: str, priority: int, exempt: str = "") -> list[PodInfo]:
        """Pods nominated to the node, of at least this priority, but for one uid."""
        found = self._base.on(node, priority, exempt)
        return [pod for pod in found if not self._base.is_kept(pod.uid)]

    def nodes(self) -> list[str]:
        """The nodes that pods are nominated to."""
        return self._base.nodes()


def devices_for(pod: PodInfo, free: Int64s) -> tuple[int, ...]:
    """The shared accelerators that a nominated pod is counted on: those with most left.

    Args:
        pod: the pod; it may ask for more than is left as long as its victims are there.
        free: milli left by device of its row, negative where there is no device.
    """
    if not pod.gpu.count:
        return ()
    order = sorted((-int(left), device) for device, left in enumerate(free) if left > -(1 << 39))
    return tuple(sorted(device for _, device in order[: pod.gpu.count]))


def _element(*names: str) -> bytes:
    return "\0".join(names).encode()


def _nomination(uid: str, node: str, *, is_kept: bool) -> bytes:
    return _element(uid, node, "", "kept") if is_kept else _element(uid, node)
