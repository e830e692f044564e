"""The simulated API's objects and what the nodes hold: the truth of a run.

Changes come in through verbs (create, bind, delete, …); each is checked as the real API checks it
and goes out on the watch. Nothing here decides when: `apiserver`, `kubelet` and `churn` do.
"""

from __future__ import annotations

import time
from enum import StrEnum

from msgspec.structs import replace

from herz.errors import InvariantError
from herz.model.effects import Bind
from herz.model.objects import Condition, Node, Pod, PodStatus
from herz.world.sim.engine import Engine
from herz.world.sim.fit import (
    DEVICE_MILLI,
    ZONE,
    Needs,
    NeedsCache,
    Room,
    devices_in,
)
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import PodArrival
from herz.world.sim.watch import Watch

EPOCH_SECONDS = 1_767_225_600
"""Virtual time 0 is 2026-01-01T00:00:00Z."""
PENDING = PodStatus(phase="Pending")
SCHEDULED = PodStatus(phase="Pending", conditions=(Condition(type="PodScheduled", status="True"),))
_STAMPS_MAX = 100_000


class Fate(StrEnum):
    """What a pod is, or how it ended; names the fields of `PodCounts`."""

    PENDING = "pending"
    RUNNING = "running"
    TERMINATING = "terminating"
    COMPLETED = "completed"
    FAILED = "failed"
    DELETED = "deleted"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    DROPPED = "dropped"


ON_NODE = (Fate.RUNNING, Fate.TERMINATING)


class PodState:
    """One pod of the API, from its creation on; kept after its end for the counts.

    `queued_ns` is when it could first be decided: its arrival, or the removal of its last gate.
    `refusal` is why its node had no room in truth when its bind landed; `was_refused` whether the
    machine ever said that it has no place for it.
    """

    __slots__ = (
        "arrival",
        "arrived_ns",
        "bound_ns",
        "ending",
        "fate",
        "is_gone",
        "needs",
        "pod",
        "queued_ns",
        "refusal",
        "was_refused",
    )

    def __init__(self, arrival: PodArrival, pod: Pod, needs: Needs, arrived_ns: int) -> None:
        self.arrival = arrival
        self.pod = pod
        self.needs = needs
        self.arrived_ns = arrived_ns
        self.queued_ns = arrived_ns
        self.bound_ns = -1
        self.fate = Fate.PENDING
        self.ending = Fate.DELETED
        self.is_gone = False
        self.was_refused = False
        self.refusal = ""


class NodeState:
    """One node: the object, its room, and the most that its room held."""

    __slots__ = ("is_up", "node", "peak", "pods_peak", "room")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.room = Room.of(node)
        self.peak: dict[str, int] = {}
        self.pods_peak = 0
        self.is_up = True

    @property
    def zone(self) -> str:
        """The node's zone, or empty."""
        return self.node.metadata.labels.get(ZONE, "")


class Cluster:
    """All nodes and pods.

    Args:
        engine: virtual time.
        watch: where changes go out.
    """

    def __init__(self, engine: Engine, watch: Watch) -> None:
        self._engine = engine
        self._watch = watch
        self._needs = NeedsCache()
        self._version = 0
        self._stamps: dict[int, str] = {}
        self.nodes: dict[str, NodeState] = {}
        self.pods: dict[str, PodState] = {}
        self.by_key: dict[str, PodState] = {}
        self.capacity: dict[str, int] = {"pods": 0}
        self.used: dict[str, int] = {"pods": 0}
        self.requested: dict[str, int] = {"pods": 0}
        self.pending = 0
        self.running = 0
        self.nodes_up = 0
        self.changed_ns = 0

    def put_node(self, node: Node) -> NodeState:
        """Add the node, or give it this form."""
        name = node.name
        node = replace(node, metadata=replace(node.metadata, resource_version=self._next_version()))
        state = self.nodes.get(name)
        if state is None:
            state = self.nodes[name] = NodeState(node)
        elif state.is_up:
            self._count_capacity(state, -1)
            if node.status is not state.node.status:
                state.room.resize(node)
        else:
            state.room.resize(node)
        state.node, state.is_up = node, True
        self._count_capacity(state, 1)
        self._changed()
        self._watch.applied(node)
        return state

    def remove_node(self, name: str) -> None:
        """Take the node out of the API; its pods must be gone or be lost by the caller."""
        state = self.nodes[name]
        if not state.is_up:
            return
        self._count_capacity(state, -1)
        state.is_up = False
        self._changed()
        self._watch.deleted(state.node)

    def create(self, arrival: PodArrival) -> PodState:
        """Accept a new pod."""
        pod = arrival.pod
        uid, now_ns = pod.metadata.uid, self._engine.now_ns
        if uid in self.pods or not uid:
            raise InvariantError(f"pod {pod.key} has no uid, or one that was there before: {uid!r}")
        if pod.key in self.by_key:
            raise InvariantError(f"there is a pod {pod.key} already")
        meta = replace(
            pod.metadata,
            creation_timestamp=self.stamp(now_ns),
            resource_version=self._next_version(),
        )
        pod = replace(pod, metadata=meta, status=pod.status if pod.status.phase else PENDING)
        state = PodState(arrival, pod, self._needs.of(pod), now_ns)
        self.pods[uid] = state
        self.by_key[pod.key] = state
        self._count(self.requested, state.needs, 1)
        if pod.is_assigned:
            self._settle(state, pod.spec.node_name, devices_in(pod.metadata.annotations.items()))
            state.pod = replace(pod, status=self._running_status())
        else:
            self.pending += 1
        self._changed()
        if arrival.unlisted:
            self._watch.unlisted[uid] = arrival.unlisted
        self._watch.applied(state.pod)
        return state

    def bind(self, request: Bind) -> str:
        """Carry out a bind; why it is refused (409 or 404), or empty when it landed."""
        state = self.by_key.get(f"{request.namespace}/{request.name}")
        refusal = _bind_refusal(state, request)
        if refusal:
            return refusal
        assert state is not None
        state.bound_ns = self._engine.now_ns
        self.pending -= 1
        annotations = dict(request.annotations)
        self._settle(state, request.node, devices_in(request.annotations))
        pod = state.pod
        meta = replace(
            pod.metadata,
            annotations={**pod.metadata.annotations, **annotations},
            resource_version=self._next_version(),
        )
        spec = replace(pod.spec, node_name=request.node)
        state.pod = replace(pod, metadata=meta, spec=spec, status=SCHEDULED)
        self._changed()
        self._watch.applied(state.pod)
        return ""

    def update(self, state: PodState, pod: Pod, *, is_echo: bool = False) -> None:
        """Give the pod this form; who it is, and where, stays.

        An echo of the machine's own patch is no change that keeps a run going.
        """
        assert pod.metadata.uid == state.pod.metadata.uid, pod.key
        assert pod.spec.node_name == state.pod.spec.node_name, pod.key
        meta = replace(pod.metadata, resource_version=self._next_version())
        state.pod = replace(pod, metadata=meta)
        if not is_echo:
            self._changed()
        self._watch.applied(state.pod)

    def start(self, state: PodState) -> None:
        """The pod runs on its node."""
        self.update(state, replace(state.pod, status=self._running_status()))

    def finish(self, state: PodState, phase: str) -> None:
        """The pod ended on its node: Succeeded or Failed. It stays in the API, and holds nothing.

        The end is reported as what was under way: a pod that ends while it is being deleted counts
        as deleted.
        """
        is_ending = state.fate is Fate.TERMINATING
        self._vacate(state)
        normal = Fate.COMPLETED if phase == "Succeeded" else Fate.FAILED
        state.fate = state.ending if is_ending else normal
        self.update(state, replace(state.pod, status=replace(state.pod.status, phase=phase)))

    def mark_deleted(self, state: PodState, ending: Fate) -> None:
        """Set the deletion time of a pod on a node; `remove` ends it."""
        assert state.fate is Fate.RUNNING, state.fate
        state.fate, state.ending = Fate.TERMINATING, ending
        stamp = self.stamp(self._engine.now_ns)
        meta = replace(state.pod.metadata, deletion_timestamp=stamp)
        self.update(state, replace(state.pod, metadata=meta))

    def remove(self, state: PodState, ending: Fate) -> None:
        """Take the pod out of the API, with what it holds."""
        if state.is_gone:
            return
        if state.fate in ON_NODE:
            fate = state.ending if state.fate is Fate.TERMINATING else ending
            self._vacate(state)
            state.fate = fate
        elif state.fate is Fate.PENDING:
            self.pending -= 1
            state.fate = ending
        state.is_gone = True
        del self.by_key[state.pod.key]
        self._changed()
        self._watch.deleted(state.pod)

    def tell(self, uid: str) -> None:
        """Show once more what the API holds of a pod, changed or not."""
        state = self.pods[uid]
        if state.is_gone:
            self._watch.deleted(state.pod)
        else:
            self._watch.applied(state.pod)

    def stamp(self, time_ns: int) -> str:
        """A virtual time as the API writes it, to the second."""
        second = time_ns // SECOND_NS
        text = self._stamps.get(second)
        if text is None:
            if len(self._stamps) >= _STAMPS_MAX:
                self._stamps.clear()
            moment = time.gmtime(EPOCH_SECONDS + second)
            text = self._stamps[second] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
        return text

    def _running_status(self) -> PodStatus:
        stamp = self.stamp(self._engine.now_ns)
        return PodStatus(phase="Running", conditions=SCHEDULED.conditions, start_time=stamp)

    def _settle(self, state: PodState, name: str, devices: tuple[int, ...]) -> None:
        """Count the pod on its node, which may be gone: then its kubelet will never take it."""
        state.fate = Fate.RUNNING
        self.running += 1
        needs = state.needs
        node = self.nodes.get(name)
        if node is None:
            return
        state.refusal = node.room.refusal(needs, devices)
        node.room.take(state.pod.metadata.uid, needs, devices)
        self._count(self.used, needs, 1)
        peak, used = node.peak, node.room.used
        for resource, _ in needs.amounts:
            peak[resource] = max(peak.get(resource, 0), used[resource])
        if needs.gpu_milli:
            taken = DEVICE_MILLI * len(node.room.devices_free) - sum(node.room.devices_free)
            peak["gpu"] = max(peak.get("gpu", 0), taken)
        node.pods_peak = max(node.pods_peak, len(node.room.holders))

    def _vacate(self, state: PodState) -> None:
        self.running -= 1
        node = self.nodes.get(state.pod.spec.node_name)
        if node is not None and node.room.give(state.pod.metadata.uid) is not None:
            self._count(self.used, state.needs, -1)

    def _count(self, total: dict[str, int], needs: Needs, sign: int) -> None:
        total["pods"] += sign
        for resource, amount in needs.amounts:
            total[resource] = total.get(resource, 0) + sign * amount
        if needs.gpu_milli:
            milli = sign * needs.gpu_milli * needs.gpu_count
            total["gpu"] = total.get("gpu", 0) + milli

    def _count_capacity(self, state: NodeState, sign: int) -> None:
        room, total = state.room, self.capacity
        self.nodes_up += sign
        total["pods"] += sign * room.pods_max
        for resource, amount in room.capacity.items():
            total[resource] = total.get(resource, 0) + sign * amount
        if room.devices_free:
            milli = sign * DEVICE_MILLI * len(room.devices_free)
            total["gpu"] = total.get("gpu", 0) + milli

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _changed(self) -> None:
        self.changed_ns = self._engine.now_ns


def _bind_refusal(state: PodState | None, request: Bind) -> str:
    """The API's own checks of the binding subresource."""
    if state is None:
        return f'pods "{request.name}" not found'
    pod = state.pod
    conflict = f'Operation cannot be fulfilled on pods/binding "{request.name}": '
    if pod.metadata.uid != request.uid:
        return f"{conflict}the UID in the precondition ({request.uid}) does not match"
    if pod.is_terminating:
        return f"{conflict}pod {request.name} is being deleted, cannot be assigned to a host"
    if pod.is_assigned:
        return f"{conflict}pod {request.name} is already assigned to node {pod.spec.node_name!r}"
    if pod.is_gated:
        return f"{conflict}pod {request.name} has non-empty .spec.schedulingGates"
    return ""
