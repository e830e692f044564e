"""Pods with volumes: each has a claim of its own; the volume controller answers after each step.

What is timed is the machine: its steps, and, apart from them, the events of claims, volumes and
binds that it takes in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace

from bench import worlds
from herz.cycle import Cycle
from herz.model.decode import convert
from herz.model.effects import Bind, Effect, PatchClaim, PatchVolume
from herz.model.events import Event, ObjectApplied
from herz.model.node import CSINode
from herz.model.objects import KubernetesObject, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.storage import (
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)

DRIVER: Final = "csi.example.com"
MADE, THERE, BOUND = "made", "there", "bound"
"""Kinds of claims: a volume is made once the pod has a node; a local volume is there on each node;
the claim is bound to its volume before the pod comes."""
BATCH: Final = 16
"""Decisions a step, between which the volume controller answers."""

_COMPLETED: Final = {"pv.kubernetes.io/bind-completed": "yes"}
_SIZE: Final = {"storage": "1Gi"}


def run(make: Callable[[int], Cycle], kind: str, nodes: int, pods: int) -> dict[str, float]:
    """The case: figures over all pods."""
    controller = Controller(make(nodes))
    for thing in cluster(kind, nodes):
        controller.show(thing)
    controller.applying = 0.0
    for number in range(pods):
        for thing in arriving(kind, number):
            controller.show(thing)
    arrived, controller.applying = controller.applying, 0.0
    while controller.bound < pods:  # Bound: each turn decides a batch.
        before = controller.decided
        controller.turn()
        assert controller.decided > before, f"{controller.bound} of {pods} pods were bound"
    return {
        "decisions": float(pods),
        "decisions_a_second": pods / controller.deciding,
        "microseconds_a_decision": controller.deciding / pods * 1e6,
        "answers_microseconds_a_pod": controller.applying / pods * 1e6,
        "arrival_microseconds_a_pod": arrived / pods * 1e6,
    }


class Controller:
    """Decides pods and plays the API: what is asked is shown, and volumes are bound and made."""

    def __init__(self, machine: Cycle) -> None:
        self._machine = machine
        self._claims: dict[str, PersistentVolumeClaim] = {}
        self._volumes: dict[str, PersistentVolume] = {}
        self.deciding = self.applying = 0.0
        self.decided = self.bound = 0

    def show(self, thing: KubernetesObject) -> None:
        """The API shows the object."""
        if isinstance(thing, PersistentVolumeClaim):
            self._claims[thing.metadata.key] = thing
        elif isinstance(thing, PersistentVolume):
            self._volumes[thing.metadata.name] = thing
        self._take(ObjectApplied(time_ns=0, object=thing))

    def turn(self) -> None:
        """One step, and the answers to what it asked."""
        effects = self._step()
        for effect in effects:
            if isinstance(effect, PatchClaim | PatchVolume):
                self.decided += 1
                self._answer(effect)
        # Pods whose volumes are bound now; the step decides others, too.
        self._bind(effects)

    def _step(self) -> list[Effect]:
        before = time.perf_counter()
        effects = self._machine.step(1, BATCH)
        self.deciding += time.perf_counter() - before
        return effects

    def _bind(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Bind):
                self.decided += 1
                self.bound += 1
                done = BindFinished(
                    time_ns=1, uid=effect.uid, decision=effect.decision, outcome=BindOutcome.BOUND
                )
                self._take(done)

    def _answer(self, effect: PatchClaim | PatchVolume) -> None:
        if isinstance(effect, PatchClaim):
            claim = self._claims[f"{effect.namespace}/{effect.name}"]
            claim = _noted(claim, dict(effect.annotations))
            self.show(claim)
            self.show(volume(f"made-{claim.metadata.name}", claim=claim))
            name = f"made-{claim.metadata.name}"
        else:
            name = effect.name
            held = self._volumes[name]
            key = effect.pod.removeprefix("uid-")
            claim = self._claims[f"bench/{key}"]
            spec = replace(held.spec, claim_ref=_reference(claim))
            self.show(replace(held, spec=spec))
        bound = replace(claim, spec=replace(claim.spec, volume_name=name))
        self.show(_noted(bound, _COMPLETED))

    def _take(self, event: Event) -> None:
        before = time.perf_counter()
        self._machine.apply(event)
        self.applying += time.perf_counter() - before


def cluster(kind: str, nodes: int) -> Iterator[KubernetesObject]:
    """What is there before the pods: a class, what drivers say, and local volumes."""
    waits = kind != BOUND
    content = {
        "metadata": {"name": kind},
        "provisioner": "kubernetes.io/no-provisioner" if kind == THERE else DRIVER,
        "volumeBindingMode": "WaitForFirstConsumer" if waits else "Immediate",
    }
    yield convert(StorageClass, content)
    for number in range(nodes):
        name = f"node-{number:05d}"
        drivers = [{"name": DRIVER, "nodeID": name, "allocatable": {"count": 39}}]
        yield convert(CSINode, {"metadata": {"name": name}, "spec": {"drivers": drivers}})
        if kind == THERE:
            yield volume(f"there-{number:05d}", host=name)


def arriving(kind: str, number: int) -> Iterator[KubernetesObject]:
    """A pod and its claim; and its volume, where that is bound already."""
    name = f"{kind}-{number}"
    claim = convert(
        PersistentVolumeClaim,
        {
            "metadata": {"name": name, "namespace": "bench", "uid": f"uid-{name}"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": _SIZE},
                "storageClassName": kind,
            },
        },
    )
    if kind == BOUND:
        yield volume(f"bound-{number}", claim=claim)
        spec = replace(claim.spec, volume_name=f"bound-{number}")
        claim = _noted(replace(claim, spec=spec), _COMPLETED)
    yield claim
    yield pod(name)


def pod(claim: str) -> Pod:
    """A pod of kube-scheduler's benchmark that mounts the claim; its name is the claim's."""
    source = {"claimName": claim}
    resources = {"requests": {"cpu": "10m", "memory": "50Mi"}}
    content = {
        "kind": "Pod",
        "metadata": {"name": claim, "namespace": "bench", "uid": f"uid-{claim}"},
        "spec": {
            "containers": [{"name": "c", "image": "pause", "resources": resources}],
            "volumes": [{"name": "v", "persistentVolumeClaim": source}],
        },
    }
    return convert(Pod, content)


def volume(
    name: str, *, host: str = "", claim: PersistentVolumeClaim | None = None
) -> PersistentVolume:
    """A volume: on one host, or bound to a claim and in reach of all nodes."""
    wanted = [{"key": worlds.HOSTNAME, "operator": "In", "values": [host]}]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    content = {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": _SIZE,
            "storageClassName": THERE if claim is None else claim.spec.storage_class_name,
            "nodeAffinity": affinity if host else None,
            "local" if host else "csi": {"driver": DRIVER, "volumeHandle": name},
        },
        "status": {"phase": "Available" if claim is None else "Bound"},
    }
    made = convert(PersistentVolume, content)
    if claim is None:
        return made
    return replace(made, spec=replace(made.spec, claim_ref=_reference(claim)))


def _reference(claim: PersistentVolumeClaim) -> ObjectReference:
    meta = claim.metadata
    return ObjectReference(
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
    )


def _noted(claim: PersistentVolumeClaim, notes: dict[str, str]) -> PersistentVolumeClaim:
    meta = claim.metadata
    return replace(claim, metadata=replace(meta, annotations={**meta.annotations, **notes}))
