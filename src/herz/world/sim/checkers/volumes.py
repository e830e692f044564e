"""Volumes: who may use which claim where, and what becomes of volumes, worked out again.

Judged are decisions, by the claims, volumes and limits that the machine was told of. Shares no code
with `herz.place.volumes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

from herz.model.effects import PatchClaim, PatchVolume
from herz.model.events import ObjectApplied, WorldEvent
from herz.model.node import CSINode
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.model.quantity import quantity_value
from herz.model.storage import (
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror
from herz.world.sim.checkers.selecting import is_selected
from herz.world.sim.fit import ZONE, is_one_of

_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
_SELECTED: Final = "volume.kubernetes.io/selected-node"
_SOLE: Final = "ReadWriteOncePod"
_WAITS: Final = "WaitForFirstConsumer"
_NONE_MADE: Final = ("", "kubernetes.io/no-provisioner")
_STORAGE: Final = (
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    CSINode,
    CSIDriver,
    CSIStorageCapacity,
)

ThingT = TypeVar("ThingT")


class _Ahead(NamedTuple):
    """A volume that the machine gave to a claim, and for whom: valid while that pod waits."""

    claim: str
    pod: str
    decision: int


class VolumeChecker:
    """Judges pods that name claims, and what is asked for claims and volumes.

    Rules: a pod is bound only when each of its claims is bound to a volume that is the claim's own
    and in reach of the node, by its node affinity and its zone label. A node holds no more volumes
    of a driver than its CSINode says. A ReadWriteOncePod claim has one user. A volume is given to
    one claim, of its class and no larger than it, and on a node that reaches it; one is made only
    by a class that makes any, and where the driver has so much left.

    Args:
        mirror: what the machine knows of pods and nodes.
        history: for the message.
    """

    def __init__(self, mirror: Mirror, history: History) -> None:
        self._mirror = mirror
        self._history = history
        self._claims: dict[str, PersistentVolumeClaim] = {}
        self._volumes: dict[str, PersistentVolume] = {}
        self._classes: dict[str, StorageClass] = {}
        self._nodes: dict[str, CSINode] = {}
        self._drivers: dict[str, CSIDriver] = {}
        self._left: dict[str, CSIStorageCapacity] = {}
        self._owners: dict[str, str] = {}
        self._ahead: dict[str, _Ahead] = {}
        # The claims that were unbound at a decision whose pod waits for them.
        self._awaited: dict[int, tuple[str, ...]] = {}

    def see(self, event: WorldEvent) -> None:
        """Take an event in."""
        if isinstance(event, BindFinished | PatchRefused | RemovalRefused):
            return
        thing = event.object
        if not isinstance(thing, _STORAGE):
            return
        is_there, meta = isinstance(event, ObjectApplied), thing.metadata
        if isinstance(thing, PersistentVolumeClaim):
            _put(self._claims, meta.key, thing, is_there=is_there)
            self._see_owner(thing)
        elif isinstance(thing, PersistentVolume):
            _put(self._volumes, meta.name, thing, is_there=is_there)
        elif isinstance(thing, StorageClass):
            _put(self._classes, meta.name, thing, is_there=is_there)
        elif isinstance(thing, CSINode):
            _put(self._nodes, meta.name, thing, is_there=is_there)
        elif isinstance(thing, CSIDriver):
            _put(self._drivers, meta.name, thing, is_there=is_there)
        else:
            _put(self._left, meta.key, thing, is_there=is_there)

    def refusal(self, pod: Pod, node: Node, *, may_wait: bool) -> str:
        """Why the pod may not be placed there for its volumes; empty when it may.

        Args:
            pod: the pod.
            node: the node.
            may_wait: whether it waits there for claims that are not bound yet.
        """
        for key in _claims_of(pod):
            claim = self._claims.get(key)
            if claim is None:
                return f"volume: there is no claim {key}"
            if _is_bound(claim):
                reason = self._bound_refusal(claim, node)
            else:
                reason = self._unbound_refusal(claim, node, may_wait=may_wait)
            if reason:
                return reason
            if _SOLE in claim.spec.access_modes and (user := self._user_of(key, pod)):
                return f"volume: claim {key} is for one pod, and used by {user}"
        return self._limit_refusal(pod, node)

    def has_unbound(self, pod: Pod) -> bool:
        """Whether a claim of the pod is not bound, or not there."""
        return any(True for _ in self._unbound(pod))

    def promise(self, pod: Pod, decision: int) -> None:
        """The pod waits by this decision."""
        self._awaited[decision] = tuple(self._unbound(pod))
        if not self._awaited[decision]:
            self._history.fail(f"pod {pod.key} is placed, not bound, and waits for no volume")

    def late_refusal(self, decision: int, node: Node | None) -> str:
        """Why the claims that a pod waited for do not allow its bind; empty when they do."""
        for key in self._awaited[decision]:
            claim = self._claims.get(key)
            if claim is None or not _is_bound(claim):
                return f"volume: claim {key} is not bound"
            if node is not None and (reason := self._bound_refusal(claim, node)):
                return reason
        return ""

    def judge(self, effect: PatchClaim | PatchVolume) -> None:
        """Check what is asked for a claim or a volume, after its pod's decision was judged."""
        held = self._mirror.held.get(effect.pod)
        if held is None or not self._mirror.waits_for_volumes(effect.pod, effect.decision):
            self._history.fail(f"wrong patch: pod {effect.pod} does not wait for volumes: {effect}")
        node = self._mirror.nodes[held.node]
        if isinstance(effect, PatchClaim):
            reason = self._made_refusal(effect, node)
        else:
            reason = self._given_refusal(effect, node)
        if reason:
            self._history.fail(f"wrong patch for {held.pod.key} on {node.name}: {reason}")

    def _bound_refusal(self, claim: PersistentVolumeClaim, node: Node) -> str:
        key, name = claim.metadata.key, claim.spec.volume_name
        volume = self._volumes.get(name)
        if volume is None:
            return f"volume: claim {key} is bound to {name}, which is not there"
        reference = volume.spec.claim_ref
        if reference is None or f"{reference.namespace}/{reference.name}" != key:
            return f"volume: {name} is not of claim {key}"
        if not _is_in_reach(volume, node):
            return f"volume: {name} of claim {key} is out of reach"
        return ""

    def _unbound_refusal(self, claim: PersistentVolumeClaim, node: Node, *, may_wait: bool) -> str:
        """What volume the claim will get is judged when that is asked for."""
        key, found = claim.metadata.key, self._class_of(claim)
        if not may_wait:
            return f"volume: claim {key} is not bound"
        if found is None or found.volume_binding_mode != _WAITS:
            return f"volume: claim {key} is bound before any pod uses it, and is not bound yet"
        if claim.metadata.annotations.get(_SELECTED, node.name) != node.name:
            return f"volume: the volume of claim {key} is to be made elsewhere"
        return ""

    def _made_refusal(self, effect: PatchClaim, node: Node) -> str:
        key = f"{effect.namespace}/{effect.name}"
        claim = self._claims.get(key)
        if claim is None or claim.spec.volume_name:
            return f"claim {key} is not there, or has a volume"
        if dict(effect.annotations).get(_SELECTED) != node.name:
            return f"a volume is to be made for claim {key}, but elsewhere"
        found = self._class_of(claim)
        if found is None or found.provisioner in _NONE_MADE:
            return f"no volume is ever made for claim {key}"
        if not self._has_left(claim, found, node):
            return f"too little storage is left for claim {key}"
        return ""

    def _given_refusal(self, effect: PatchVolume, node: Node) -> str:
        key, name = f"{effect.claim_namespace}/{effect.claim_name}", effect.name
        claim, volume = self._claims.get(key), self._volumes.get(name)
        if claim is None or volume is None:
            return f"there is no claim {key}, or no volume {name}"
        reference = volume.spec.claim_ref
        if reference is not None and f"{reference.namespace}/{reference.name}" != key:
            return f"one volume for two claims: {name} is of {reference.name}, given to {key}"
        before = self._ahead.get(name)
        is_given = before is not None and self._mirror.waits_for_volumes(
            before.pod, before.decision
        )
        if before is not None and is_given and before.claim != key:
            return f"one volume for two claims: {name} was given to {before.claim} and {key}"
        self._ahead[name] = _Ahead(key, effect.pod, effect.decision)
        if not _is_in_reach(volume, node):
            return f"volume {name} is out of reach"
        if volume.spec.storage_class_name != (claim.spec.storage_class_name or ""):
            return f"volume {name} is of another class than claim {key}"
        if _size(volume.spec.capacity) < _size(claim.spec.resources.requests):
            return f"volume {name} is too small for claim {key}"
        return ""

    def _is_valid(self, ahead: _Ahead) -> bool:
        return self._mirror.waits_for_volumes(ahead.pod, ahead.decision)

    def _see_owner(self, claim: PersistentVolumeClaim) -> None:
        """The API itself never shows one volume with two claims."""
        if claim.spec.volume_name:
            key = claim.metadata.key
            owner = self._owners.setdefault(claim.spec.volume_name, key)
            if owner != key:
                name = claim.spec.volume_name
                self._history.fail(f"one volume for two claims: {name} of {owner} and {key}")

    def _user_of(self, key: str, pod: Pod) -> str:
        """Another pod that holds room and names the claim; empty when none does.

        Pods of a node that is gone use nothing any more, as for kube-scheduler, whose snapshot
        has the claims in use of the nodes that are there (backend/cache/snapshot.go).
        """
        for uid, held in self._mirror.held.items():
            if held.node not in self._mirror.nodes:
                continue
            if uid != pod.metadata.uid and key in _claims_of(held.pod):
                return held.pod.key
        return ""

    def _limit_refusal(self, pod: Pod, node: Node) -> str:
        """A volume counts once a node, and only a pod that brings a new one is refused."""
        limits = self._nodes.get(node.name)
        if limits is None:
            return ""
        there = {one for held in self._mirror.on(node.name) for one in self._attached(held.pod)}
        brought = [one for one in dict.fromkeys(self._attached(pod)) if one not in there]
        for driver in limits.spec.drivers:
            if driver.allocatable is None or driver.allocatable.count is None:
                continue
            new = sum(one[0] == driver.name for one in brought)
            total = new + sum(one[0] == driver.name for one in there)
            if new and total > driver.allocatable.count:
                most = driver.allocatable.count
                return f"volume: {total} volumes of {driver.name}, the node holds {most}"
        return ""

    def _attached(self, pod: Pod) -> Iterator[tuple[str, str]]:
        """Driver and handle of each of the pod's volumes; of those to be made, the claim."""
        for key in _claims_of(pod):
            claim = self._claims.get(key)
            if claim is None:
                continue
            volume = self._volumes.get(claim.spec.volume_name)
            if volume is None:
                found = self._class_of(claim)
                if found is not None and found.provisioner not in _NONE_MADE:
                    yield found.provisioner, f"claim {key}"
            elif volume.spec.csi is not None:
                yield volume.spec.csi.driver, volume.spec.csi.volume_handle

    def _has_left(self, claim: PersistentVolumeClaim, found: StorageClass, node: Node) -> bool:
        """Whether the driver, if it tells, has enough where the node is."""
        driver = self._drivers.get(found.provisioner)
        if driver is None or not driver.spec.storage_capacity:
            return True
        asked = _size(claim.spec.resources.requests)
        return any(
            one.storage_class_name == found.metadata.name
            and one.node_topology is not None
            and is_selected(one.node_topology, node.metadata.labels)
            and quantity_value(one.capacity or 0) >= asked
            for one in self._left.values()
        )

    def _unbound(self, pod: Pod) -> Iterator[str]:
        for key in _claims_of(pod):
            claim = self._claims.get(key)
            if claim is None or not _is_bound(claim):
                yield key

    def _class_of(self, claim: PersistentVolumeClaim) -> StorageClass | None:
        return self._classes.get(claim.spec.storage_class_name or "")


def _put(table: dict[str, ThingT], key: str, thing: ThingT, *, is_there: bool) -> None:
    if is_there:
        table[key] = thing
    else:
        table.pop(key, None)


def _claims_of(pod: Pod) -> list[str]:
    namespace = pod.metadata.namespace
    named = (volume.persistent_volume_claim for volume in pod.spec.volumes)
    return [f"{namespace}/{source.claim_name}" for source in named if source is not None]


def _is_bound(claim: PersistentVolumeClaim) -> bool:
    return bool(claim.spec.volume_name) and _COMPLETED in claim.metadata.annotations


def _is_in_reach(volume: PersistentVolume, node: Node) -> bool:
    """By its node affinity, and by its zone where the node says in which one it is."""
    affinity = volume.spec.node_affinity
    if affinity is not None and not is_one_of(affinity.required, node):
        return False
    zone = volume.metadata.labels.get(ZONE)
    return zone is None or node.metadata.labels.get(ZONE, zone) == zone


def _size(amounts: dict[str, str | int]) -> int:
    return quantity_value(amounts.get("storage", 0))
