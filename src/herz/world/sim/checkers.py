"""Checkers: what must hold in every run whatever the policy, judged apart from the machine.

They see exactly what the machine sees (events before it does, effects before they are carried
out), so a bind is judged by what the machine could know. A violated rule raises InvariantError
with the seed and the last events.
"""

from __future__ import annotations

from collections import deque
from typing import NoReturn

import msgspec

from herz.errors import InvariantError
from herz.model.effects import Bind
from herz.model.events import BindFinished, BindOutcome, ObjectApplied, WorldEvent
from herz.model.objects import Node, Pod
from herz.world.sim.cluster import ON_NODE, Cluster, Fate
from herz.world.sim.fit import (
    Needs,
    NeedsCache,
    Room,
    devices_in,
    is_fully_judged,
    static_refusal,
)
from herz.world.sim.result import PodCounts

_FINAL = ("Succeeded", "Failed")


class Flight(msgspec.Struct):
    """A bind whose end the machine does not know; `is_unknown` after a lost answer."""

    node: str
    is_unknown: bool = False


class History:
    """The last things that happened, for the message of a violated checker.

    Args:
        scenario: its name.
        seed: of the run.
        entries_max: how many are kept.
    """

    def __init__(self, scenario: str, seed: int, entries_max: int) -> None:
        self._title = f"scenario {scenario}, seed {seed}"
        # Bound: `entries_max`.
        self._entries: deque[tuple[int, object]] = deque(maxlen=entries_max)

    def add(self, time_ns: int, thing: object) -> None:
        """Keep an event or an effect; it is written out only when something is wrong."""
        self._entries.append((time_ns, thing))

    def fail(self, what: str) -> NoReturn:
        """Raise the error that shows what is wrong, and what came before."""
        lines = [f"  {time_ns} {_brief(thing)}" for time_ns, thing in self._entries]
        text = "\n".join(lines) or "  (nothing)"
        raise InvariantError(f"{what} ({self._title}); the last events:\n{text}")


class ViewChecker:
    """What the machine knows, kept again; each Bind is judged against it.

    Rules: the pod and the node are known; the pod is not bound, on its way, ended, being deleted or
    gated; the node has room (resources, devices, ports, pods), and its taints, labels and the pod's
    node selectors allow it.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._needs = NeedsCache()
        self._nodes: dict[str, Node] = {}
        self._rooms: dict[str, Room] = {}
        self._pods: dict[str, Pod] = {}
        self._uids: dict[str, str] = {}
        self._held: dict[str, tuple[str, Needs]] = {}
        # Bound: one for each Bind without an answer.
        self._flights: dict[str, Flight] = {}
        self._answered: set[str] = set()
        self._settled: set[str] = set()

    def see(self, event: WorldEvent) -> None:
        """Take an event in, as the machine is about to."""
        if isinstance(event, BindFinished):
            self._see_answer(event)
        elif isinstance(event, ObjectApplied):
            thing = event.object
            if isinstance(thing, Pod):
                self._see_pod(thing)
            elif isinstance(thing, Node):
                self._see_node(thing)
        elif isinstance(event.object, Pod):
            self._forget(event.object.metadata.uid)
        elif isinstance(event.object, Node):
            self._nodes.pop(event.object.name, None)

    def judge(self, bind: Bind) -> None:
        """Check a Bind before it is carried out, and count it on its node."""
        pod = self._pods.get(bind.uid)
        node = self._nodes.get(bind.node)
        where = f"pod {bind.namespace}/{bind.name} ({bind.uid}) to node {bind.node}"
        if pod is None:
            self._fail(where, "the machine was not told of the pod, or told that it is gone")
        if node is None:
            self._fail(where, "the machine was not told of the node, or told that it is gone")
        if pod.metadata.key != f"{bind.namespace}/{bind.name}":
            self._fail(where, f"the uid belongs to {pod.metadata.key}")
        if bind.uid in self._flights:
            self._fail(where, "its bind is under way already: bound twice")
        is_placed = bind.uid in self._answered or pod.is_assigned
        if is_placed or pod.is_terminal or pod.is_terminating or pod.is_gated:
            self._fail(where, "it is assigned, ended, being deleted or gated")
        needs = self._needs.of(pod)
        devices = devices_in(bind.annotations)
        reason = static_refusal(pod, node) or self._rooms[bind.node].refusal(needs, devices)
        if reason:
            self._fail(where, f"{reason}: the node would be over-committed, or refuses the pod")
        self._flights[bind.uid] = Flight(bind.node)
        self._hold(bind.uid, bind.node, needs, devices)

    def _fail(self, where: str, why: str) -> NoReturn:
        self._history.fail(f"wrong bind of {where}: {why}")

    def _see_answer(self, answer: BindFinished) -> None:
        flight = self._flights.get(answer.uid)
        if flight is None:
            return
        if answer.outcome is BindOutcome.UNKNOWN:
            flight.is_unknown = True
            return
        del self._flights[answer.uid]
        if answer.outcome is BindOutcome.REFUSED:
            self._release(answer.uid)
        else:
            self._answered.add(answer.uid)

    def _see_pod(self, pod: Pod) -> None:
        uid, key = pod.metadata.uid, pod.metadata.key
        before = self._uids.get(key)
        if before is not None and before != uid:
            self._forget(before)
        if pod.status.phase in _FINAL:
            self._forget(uid)
            return
        if uid in self._settled:
            # Its place is known and never changes; only its end matters from here on.
            self._pods[uid] = pod
            return
        if pod.spec.node_name:
            self._flights.pop(uid, None)
            self._settled.add(uid)
            held = self._held.get(uid)
            if held is None or held[0] != pod.spec.node_name:
                self._release(uid)
                devices = devices_in(pod.metadata.annotations.items())
                self._hold(uid, pod.spec.node_name, self._needs.of(pod), devices)
        elif uid in self._answered:
            # An older form, overtaken by the answer to the bind: what is known is newer.
            return
        elif (flight := self._flights.get(uid)) is not None and flight.is_unknown:
            del self._flights[uid]
            self._release(uid)
        self._uids[key] = uid
        self._pods[uid] = pod

    def _see_node(self, node: Node) -> None:
        name = node.name
        room = self._rooms.get(name)
        if room is None:
            self._rooms[name] = Room.of(node)
        elif name not in self._nodes or self._nodes[name].status is not node.status:
            room.resize(node)
        self._nodes[name] = node

    def _forget(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        self._flights.pop(uid, None)
        self._settled.discard(uid)
        self._answered.discard(uid)
        self._release(uid)
        if pod is not None and self._uids.get(pod.metadata.key) == uid:
            del self._uids[pod.metadata.key]

    def _hold(self, uid: str, name: str, needs: Needs, devices: tuple[int, ...]) -> None:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(capacity={}, pods_max=0, devices_free=[])
        room.take(uid, needs, devices)
        self._held[uid] = (name, needs)

    def _release(self, uid: str) -> None:
        held = self._held.pop(uid, None)
        if held is not None:
            self._rooms[held[0]].give(uid)


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


def _brief(thing: object) -> str:
    """One line on an event or effect."""
    if isinstance(thing, BindFinished | Bind):
        return str(thing)
    subject = getattr(thing, "object", None)
    if isinstance(subject, Pod):
        place = subject.spec.node_name or "no node"
        phase = f"{subject.status.phase}{' deleting' if subject.is_terminating else ''}"
        meta = subject.metadata
        return f"{type(thing).__name__} pod {meta.key} {meta.uid}, {place}, {phase}"
    if isinstance(subject, Node):
        return f"{type(thing).__name__} node {subject.name} v{subject.metadata.resource_version}"
    return str(thing)
