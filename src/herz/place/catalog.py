"""The cluster's objects besides nodes and pods, as rules read them: by kind and key.

`apply` and `remove` keep them, their digest in the snapshot, and the log of changes in step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import msgspec

from herz.model.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    KubernetesObject,
    Namespace,
    NodeSignals,
    PersistentVolume,
    PersistentVolumeClaim,
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    ServiceProfile,
    SLAClass,
    StatefulSet,
    StorageClass,
    VolumeAttachment,
)
from herz.model.workload import group_key
from herz.place.columns import NodeTable
from herz.place.signals import Signals
from herz.place.snapshot import SnapshotDigest
from herz.place.volumes.claims import group_of
from herz.place.volumes.storage import Storage
from herz.plugin import Change, EventKind, Reads

ObjectT = TypeVar("ObjectT")

ASPECTS: Final[Mapping[type, Reads]] = {
    Namespace: Reads.NAMESPACES,
    Service: Reads.OWNERS,
    ReplicationController: Reads.OWNERS,
    ReplicaSet: Reads.OWNERS,
    StatefulSet: Reads.OWNERS,
    PersistentVolume: Reads.VOLUMES,
    PersistentVolumeClaim: Reads.VOLUMES,
    StorageClass: Reads.VOLUMES,
    CSINode: Reads.VOLUMES,
    CSIDriver: Reads.VOLUMES,
    CSIStorageCapacity: Reads.VOLUMES,
    VolumeAttachment: Reads.VOLUMES,
    PodGroup: Reads.GROUPS,
    PodDisruptionBudget: Reads.BUDGETS,
    SLAClass: Reads.PROMISES,
    ServiceProfile: Reads.PROMISES,
    NodeSignals: Reads.SIGNALS,
}
"""The kinds that are kept, and the aspect that changes with them."""

Assumption: TypeAlias = Callable[[Any], KubernetesObject]
"""The object as it will be, given how the API shows it."""

_encoder = msgspec.json.Encoder(order="sorted")


class Catalog:
    """Objects by kind and key (`namespace/name`, or the name alone)."""

    def __init__(self, nodes: NodeTable, snapshot: SnapshotDigest) -> None:
        self._nodes = nodes
        self._snapshot = snapshot
        self._objects: dict[type, dict[str, KubernetesObject]] = {kind: {} for kind in ASPECTS}
        # Keys by kind and group; sets, because a reader sorts them.
        self._groups: dict[tuple[type, str], set[str]] = {}
        self._assumed: dict[tuple[type, str], Assumption] = {}
        # What the API holds of the objects of which something is assumed.
        self._shown: dict[tuple[type, str], KubernetesObject] = {}
        self.storage = Storage(nodes, self)
        """What is kept of claims, volumes and what goes with them."""
        self.signals = Signals(nodes)
        """What was measured on nodes, as columns."""

    def get(self, kind: type[ObjectT], key: str) -> ObjectT | None:
        """The object of this key; None when there is none."""
        return cast("ObjectT | None", self._objects[kind].get(key))

    def all(self, kind: type[ObjectT]) -> Iterator[ObjectT]:
        """All objects of the kind, by key: in which order they came decides nothing."""
        known = self._objects[kind]
        return iter(cast("list[ObjectT]", [known[key] for key in sorted(known)]))

    def of(self, kind: type[ObjectT], group: str) -> Iterator[ObjectT]:
        """The objects of a group (`volumes.claims.group_of`), by key."""
        known = self._objects[kind]
        keys = sorted(self._groups.get((kind, group), ()))
        return iter(cast("list[ObjectT]", [known[key] for key in keys]))

    def shown(self, kind: type[ObjectT], key: str) -> ObjectT | None:
        """The object as the API last showed it, without what is assumed of it."""
        found = self._shown.get((kind, key), self._objects[kind].get(key))
        return cast("ObjectT | None", found)

    def assume(self, kind: type, key: str, assumption: Assumption) -> Change | None:
        """Show the object as it will be, until `restore`: a patch of ours is on its way.

        What the API shows of it meanwhile is shown with the same assumption.
        """
        assert (kind, key) not in self._assumed, f"{key} is assumed once"
        thing = self._objects[kind][key]
        self._assumed[kind, key] = assumption
        self._shown[kind, key] = thing
        return self._show(assumption(thing))

    def restore(self, kind: type, key: str) -> Change | None:
        """Nothing is assumed of the object any more; a change when that made a difference."""
        self._assumed.pop((kind, key), None)
        thing = self._shown.pop((kind, key), None)
        return None if thing is None else self._show(thing)

    def apply(self, thing: KubernetesObject, time_ns: int = 0) -> Change | None:
        """An object came or changed; None when it is as it was.

        Args:
            thing: the object.
            time_ns: when it was told: the age of what it says counts from then.
        """
        if isinstance(thing, NodeSignals):
            self.signals.see(thing, time_ns)
        place = type(thing), _key(thing)
        if place in self._assumed:
            self._shown[place] = thing
            thing = self._assumed[place](thing)
        return self._show(thing)

    def _show(self, thing: KubernetesObject) -> Change | None:
        key, known = _key(thing), self._objects[type(thing)]
        old = known.get(key)
        if old is not None and _read(old) == _read(thing):
            known[key] = thing
            return None
        if old is not None:
            self._snapshot.remove("objects", _element(old))
            self._ungroup(old, key)
        known[key] = thing
        group = group_of(thing)
        if group is not None:
            self._groups.setdefault((type(thing), group), set()).add(key)
        self._snapshot.add("objects", _element(thing))
        return self._change(
            EventKind.OBJECT_ADD if old is None else EventKind.OBJECT_UPDATE, key, old, thing
        )

    def remove(self, thing: KubernetesObject) -> Change | None:
        """An object is gone; None when it was not known."""
        key = _key(thing)
        self._assumed.pop((type(thing), key), None)
        self._shown.pop((type(thing), key), None)
        old = self._objects[type(thing)].pop(key, None)
        if old is None:
            return None
        self._ungroup(old, key)
        self._snapshot.remove("objects", _element(old))
        return self._change(EventKind.OBJECT_DELETE, key, old, None)

    def _ungroup(self, thing: KubernetesObject, key: str) -> None:
        place = type(thing), group_of(thing) or ""
        keys = self._groups.get(place, set())
        keys.discard(key)
        if not keys:
            self._groups.pop(place, None)

    def _change(
        self,
        kind: EventKind,
        key: str,
        old: KubernetesObject | None,
        new: KubernetesObject | None,
    ) -> Change:
        aspects = ASPECTS[type(old or new)]
        if aspects is Reads.VOLUMES:
            self.storage.change(key, old, new)
        if aspects is Reads.SIGNALS:
            self.signals.write(key, new if isinstance(new, NodeSignals) else None)
        else:
            # The row stands for all: rules declare these aspects in `reads_all` or
            # `reads_prepare`.
            self._nodes.note(0, int(aspects))
        return Change(kind, aspects, old, new)


def _key(thing: KubernetesObject) -> str:
    meta = thing.metadata
    if isinstance(thing, PodGroup):
        return group_key(meta.namespace, meta.name, is_coscheduling=thing.is_coscheduling)
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def _read(thing: KubernetesObject) -> bytes:
    """What counts of the object: all that is decoded, but for what every write moves."""
    meta = msgspec.structs.replace(thing.metadata, resource_version="", generation=0)
    return _encoder.encode(msgspec.structs.replace(thing, metadata=meta))


def _element(thing: KubernetesObject) -> bytes:
    head = f"{type(thing).__name__}\0{_key(thing)}\0".encode()
    return head + hashlib.sha3_384(_read(thing)).digest()
