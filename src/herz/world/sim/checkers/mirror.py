"""The mirror: what the machine was told of, and what it decided itself, kept again.

It is fed by the very events that the driver gives to the machine, before the machine sees them, and
by the binds that the machine asks for. All rules are judged against it: that a bind lands later,
in a world that has changed meanwhile, is nobody's fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from herz.model.effects import Bind
from herz.model.events import ObjectApplied, WorldEvent
from herz.model.objects import Namespace, Node, Pod, PodAffinityTerm, PodDisruptionBudget
from herz.model.outcomes import BindFinished, BindOutcome, PatchRefused, RemovalRefused
from herz.world.sim.fit import Needs, NeedsCache, Room, devices_in

_FINAL = ("Succeeded", "Failed")


class Held(msgspec.Struct):
    """A pod on a node, or on its way there.

    `pod` is the form that counts for others: while its bind is under way that in which it was
    decided, from the first sight of it on its node on the last one seen. `avoids` is its required
    anti-affinity.
    """

    pod: Pod
    node: str
    avoids: tuple[PodAffinityTerm, ...] = ()


class Mirror:
    """Nodes, pods, who holds what where, and binds under way.

    Attributes:
        nodes: known nodes by name.
        pods: known pods by uid; ended ones are left out.
        rooms: what is taken of each node that ever was, by name.
        held: pods on nodes and on their way there, by uid.
        avoiders: those of them with required anti-affinity.
        budgets: disruption budgets by key.
        promised: pods that were given a node before their volumes are bound: uid and node by the
            number of the decision. Kept to the end, as the bind may leave when the pod is gone.
    """

    def __init__(self) -> None:
        self.needs = NeedsCache()
        self.nodes: dict[str, Node] = {}
        self.rooms: dict[str, Room] = {}
        self.pods: dict[str, Pod] = {}
        self.held: dict[str, Held] = {}
        self.avoiders: dict[str, Held] = {}
        self.budgets: dict[str, PodDisruptionBudget] = {}
        self.promised: dict[int, tuple[str, str]] = {}
        self._namespaces: dict[str, Mapping[str, str]] = {}
        self._uids: dict[str, str] = {}
        # Bound: one for each Bind without an answer.
        self._flights: set[str] = set()
        # Decision by uid, of the promised ones that hold room and whose binds have not left.
        self._waiting: dict[str, int] = {}
        self._answered: set[str] = set()
        self._settled: set[str] = set()

    def see(self, event: WorldEvent) -> None:
        """Take an event in, as the machine is about to."""
        if isinstance(event, BindFinished):
            self._see_answer(event)
        elif isinstance(event, PatchRefused | RemovalRefused):
            return
        elif isinstance(event, ObjectApplied):
            self._see_object(event.object)
        else:
            self._see_end(event.object)

    def is_on_its_way(self, uid: str) -> bool:
        """Whether a bind of the pod has left and is not answered."""
        return uid in self._flights

    def is_placed(self, uid: str) -> bool:
        """Whether the API holds the pod on a node, for all that the machine was told."""
        return uid in self._answered or uid in self._settled

    def namespace(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; none while it is unknown."""
        return self._namespaces.get(name, {})

    def on(self, node: str) -> Iterator[Held]:
        """Whoever is on the node, or on its way there."""
        room = self.rooms.get(node)
        if room is not None:
            for uid in room.holders:
                yield self.held[uid]

    def bind(self, bind: Bind) -> None:
        """Count the pod on its node from now on: the machine has decided it."""
        self._flights.add(bind.uid)
        self._hold(self.pods[bind.uid], bind.node, devices_in(bind.annotations))

    def promise(self, bind: Bind) -> None:
        """Count the pod on its node from now on; its bind leaves when its volumes are bound."""
        self.promised[bind.decision] = bind.uid, bind.node
        self._waiting[bind.uid] = bind.decision
        self._hold(self.pods[bind.uid], bind.node, devices_in(bind.annotations))

    def waits_for_volumes(self, uid: str, decision: int) -> bool:
        """Whether the pod holds room by this decision, and waits for its volumes."""
        return self._waiting.get(uid) == decision

    def keep_promise(self, bind: Bind) -> bool:
        """The bind of a pod that waited has left; whether it waited by this decision till now."""
        if not self.waits_for_volumes(bind.uid, bind.decision):
            return False
        del self._waiting[bind.uid]
        self._flights.add(bind.uid)
        return True

    def break_promise(self, uid: str) -> None:
        """The machine says that the pod failed: if it waited for volumes, it holds no room."""
        if self._waiting.pop(uid, None) is not None:
            self._release(uid)

    def _see_object(self, thing: object) -> None:
        if isinstance(thing, Pod):
            self._see_pod(thing)
        elif isinstance(thing, Node):
            self._see_node(thing)
        elif isinstance(thing, Namespace):
            self._namespaces[thing.metadata.name] = thing.metadata.labels
        elif isinstance(thing, PodDisruptionBudget):
            self.budgets[thing.metadata.key] = thing

    def _see_end(self, thing: object) -> None:
        if isinstance(thing, Pod):
            self._forget(thing.metadata.uid)
        elif isinstance(thing, Node):
            self.nodes.pop(thing.name, None)
        elif isinstance(thing, Namespace):
            self._namespaces.pop(thing.metadata.name, None)
        elif isinstance(thing, PodDisruptionBudget):
            self.budgets.pop(thing.metadata.key, None)

    def _see_answer(self, answer: BindFinished) -> None:
        if answer.uid not in self._flights or answer.outcome is BindOutcome.UNKNOWN:
            return
        self._flights.remove(answer.uid)
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
            # Its place is known and never changes; a late copy without one is older.
            self.pods[uid] = pod
            if pod.spec.node_name:
                self.held[uid].pod = pod
            return
        if pod.spec.node_name:
            self._settle(pod)
        elif uid in self._answered:
            # An older form, overtaken by the answer to the bind: what is known is newer.
            return
        # A pod without a node says nothing of a bind whose answer got lost: it may be older.
        self._uids[key] = uid
        self.pods[uid] = pod

    def _settle(self, pod: Pod) -> None:
        """The pod is seen on its node for the first time."""
        uid = pod.metadata.uid
        self._flights.discard(uid)
        self._waiting.pop(uid, None)
        self._settled.add(uid)
        held = self.held.get(uid)
        if held is not None and held.node == pod.spec.node_name:
            held.pod = pod
            return
        self._release(uid)
        self._hold(pod, pod.spec.node_name, devices_in(pod.metadata.annotations.items()))

    def _see_node(self, node: Node) -> None:
        name = node.name
        room = self.rooms.get(name)
        if room is None:
            self.rooms[name] = Room.of(node)
        elif name not in self.nodes or self.nodes[name].status is not node.status:
            room.resize(node)
        self.nodes[name] = node

    def _forget(self, uid: str) -> None:
        pod = self.pods.pop(uid, None)
        self._flights.discard(uid)
        self._waiting.pop(uid, None)
        self._settled.discard(uid)
        self._answered.discard(uid)
        self._release(uid)
        if pod is not None and self._uids.get(pod.metadata.key) == uid:
            del self._uids[pod.metadata.key]

    def _hold(self, pod: Pod, name: str, devices: tuple[int, ...]) -> None:
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(capacity={}, pods_max=0, devices_free=[])
        needs: Needs = self.needs.of(pod)
        room.take(pod.metadata.uid, needs, devices)
        held = self.held[pod.metadata.uid] = Held(pod, name, avoided(pod))
        if held.avoids:
            self.avoiders[pod.metadata.uid] = held

    def _release(self, uid: str) -> None:
        held = self.held.pop(uid, None)
        self.avoiders.pop(uid, None)
        if held is not None:
            self.rooms[held.node].give(uid)


def avoided(pod: Pod) -> tuple[PodAffinityTerm, ...]:
    """The pod's required anti-affinity."""
    affinity = pod.spec.affinity
    if affinity is None or affinity.pod_anti_affinity is None:
        return ()
    return affinity.pod_anti_affinity.required
