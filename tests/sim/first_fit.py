"""A second binding of the Machine contract: first fit by node name, without rules beyond fit.

It exists to test the simulator: small enough to be right by reading, and it makes true records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from herz.model.effects import Bind, Effect, PatchPodStatus, WakeAt
from herz.model.events import Event, ObjectApplied, ObjectDeleted
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Decided, Order, PodReference, PolicyReference, Record, Rejection
from herz.ports import RecordSink
from herz.world.sim.fit import NeedsCache, Room, devices_in, static_refusal

POLICY = PolicyReference(digest="@sha256:" + "0" * 64, name="first-fit", version="1")
RETRY_NS = 10_000_000_000
_ENCODER = msgspec.json.Encoder(order="deterministic")


class FirstFitMachine:
    """Places each pod on the first node, by name, that has room."""

    def __init__(self, seed: int, sinks: Sequence[RecordSink]) -> None:
        self._seed = seed
        self._sinks = sinks
        self._needs = NeedsCache()
        self._nodes: dict[str, Node] = {}
        self._rooms: dict[str, Room] = {}
        self._pods: dict[str, Pod] = {}
        self._uids: dict[str, str] = {}
        self._on: dict[str, str] = {}
        self._unknown: set[str] = set()
        self._queue: dict[str, None] = {}
        self._parked: dict[str, None] = {}
        self._sequence = 0
        self._previous = "0" * 96
        self._batch = 0

    @property
    def ready(self) -> int:
        return len(self._queue)

    @property
    def held(self) -> dict[str, str]:
        return dict(self._on)

    def apply(self, event: Event) -> None:
        if isinstance(event, BindFinished):
            self._answer(event)
        elif isinstance(event, ObjectApplied):
            if isinstance(event.object, Pod):
                self._pod(event.object)
            elif isinstance(event.object, Node):
                self._node(event.object)
        elif isinstance(event, ObjectDeleted):
            if isinstance(event.object, Pod):
                self._forget(event.object.metadata.uid)
            elif isinstance(event.object, Node):
                self._nodes.pop(event.object.metadata.name, None)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        effects: list[Effect] = []
        self._batch += 1
        for uid in list(self._queue)[:limit]:
            del self._queue[uid]
            effects.extend(self._decide(uid, now_ns))
        return effects

    def _decide(self, uid: str, now_ns: int) -> list[Effect]:
        pod = self._pods[uid]
        needs = self._needs.of(pod)
        for name in self._candidates():
            room = self._rooms[name]
            devices = room.first_devices(needs)
            if devices is None or room.refusal(needs, devices):
                continue
            if static_refusal(pod, self._nodes[name]):
                continue
            self._record(pod, now_ns, name)
            room.take(uid, needs, devices)
            self._on[uid] = name
            text = ",".join(map(str, devices))
            return [
                Bind(
                    namespace=pod.metadata.namespace,
                    name=pod.metadata.name,
                    uid=uid,
                    node=name,
                    decision=self._sequence,
                    annotations=(("herz.dev/gpu-devices", text),) if devices else (),
                )
            ]
        self._record(pod, now_ns, "")
        self._parked[uid] = None
        return [
            PatchPodStatus(
                namespace=pod.metadata.namespace,
                name=pod.metadata.name,
                uid=uid,
                reason="Unschedulable",
                message=f"0/{len(self._nodes)} nodes are available",
            ),
            WakeAt(time_ns=now_ns + RETRY_NS),
        ]

    def _candidates(self) -> list[str]:
        return sorted(self._nodes)

    def _record(self, pod: Pod, now_ns: int, node: str) -> None:
        self._sequence += 1
        rejection = Rejection(
            count=len(self._nodes), nodes=(), plugin="NodeResourcesFit", reason="no room"
        )
        record = Record(
            decided=Decided.PLACE if node else Decided.UNSCHEDULABLE,
            engine="first-fit",
            node=node,
            order=Order(batch=self._batch, rung=1),
            pod=PodReference(
                digest="",
                name=pod.metadata.name,
                namespace=pod.metadata.namespace,
                uid=pod.metadata.uid,
            ),
            policy=POLICY,
            previous=self._previous,
            rejections=() if node else (rejection,),
            sequence=self._sequence,
            snapshot=str(self._seed),
            term=0,
            time_ns=str(now_ns),
        )
        canonical = _ENCODER.encode(record)
        digest = hashlib.sha3_384(canonical).digest()
        self._previous = digest.hex()
        for sink in self._sinks:
            sink.append(record, canonical, digest)

    def _pod(self, pod: Pod) -> None:
        uid, key = pod.metadata.uid, pod.metadata.key
        before = self._uids.get(key)
        if before is not None and before != uid:
            self._forget(before)
        if pod.is_terminal or (pod.is_terminating and not pod.is_assigned):
            self._forget(uid)
            return
        self._uids[key] = uid
        self._pods[uid] = pod
        if pod.is_assigned:
            self._assign(uid, pod)
        elif uid in self._on:
            if uid in self._unknown:
                self._unknown.discard(uid)
                self._release(uid)
                self._enqueue(uid, pod)
        elif uid not in self._parked:
            self._enqueue(uid, pod)

    def _assign(self, uid: str, pod: Pod) -> None:
        self._queue.pop(uid, None)
        self._parked.pop(uid, None)
        self._unknown.discard(uid)
        name = pod.spec.node_name
        if self._on.get(uid) == name:
            return
        self._release(uid)
        if name not in self._rooms:
            self._rooms[name] = Room(capacity={}, pods_max=0, devices_free=[])
        devices = devices_in(pod.metadata.annotations.items())
        self._rooms[name].take(uid, self._needs.of(pod), devices)
        self._on[uid] = name

    def _enqueue(self, uid: str, pod: Pod) -> None:
        if not pod.is_gated:
            self._queue[uid] = None

    def _node(self, node: Node) -> None:
        name = node.metadata.name
        if name in self._rooms:
            self._rooms[name].resize(node)
        else:
            self._rooms[name] = Room.of(node)
        self._nodes[name] = node
        self._flush()

    def _answer(self, answer: BindFinished) -> None:
        uid = answer.uid
        pod = self._pods.get(uid)
        if pod is None or uid not in self._on or pod.is_assigned:
            return
        if answer.outcome is BindOutcome.REFUSED:
            self._release(uid)
            self._enqueue(uid, pod)
        elif answer.outcome is BindOutcome.UNKNOWN:
            self._unknown.add(uid)
        else:
            spec = replace(pod.spec, node_name=self._on[uid])
            self._pods[uid] = replace(pod, spec=spec)

    def _forget(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod is not None and self._uids.get(pod.metadata.key) == uid:
            del self._uids[pod.metadata.key]
        self._queue.pop(uid, None)
        self._parked.pop(uid, None)
        self._unknown.discard(uid)
        if self._release(uid):
            self._flush()

    def _release(self, uid: str) -> bool:
        name = self._on.pop(uid, None)
        return name is not None and self._rooms[name].give(uid) is not None

    def _flush(self) -> None:
        """Room came free, or a node changed: all that wait try again."""
        for uid in self._parked:
            self._enqueue(uid, self._pods[uid])
        self._parked.clear()


def first_fit_factory(seed: int, sinks: Sequence[RecordSink]) -> FirstFitMachine:
    return FirstFitMachine(seed, sinks)
