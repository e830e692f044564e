"""What is kept of storage objects so that a pod's own cost does not grow with all others'.

The catalog tells of every change; what is told here decides nothing by itself: each part answers
as reading all objects anew would.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol, TypeVar, cast

from herz.model.node import CSINode
from herz.model.objects import KubernetesObject
from herz.model.storage import (
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from herz.model.volumes import CLAIMS, MountKind, mount_key
from herz.place.columns import NodeTable
from herz.place.volumes.attaching import Attachments, allocatable
from herz.place.volumes.claims import claim_class, group_of
from herz.place.volumes.migration import in_tree, migrated_on
from herz.place.volumes.offers import SpaceOffer, VolumeOffer
from herz.plugin import Reads, View

_BY_CLASS: Final = (PersistentVolume, CSIStorageCapacity)

ThingT = TypeVar("ThingT", bound=KubernetesObject)


class Objects(Protocol):
    """Where the objects are."""

    def get(self, kind: type[ThingT], key: str) -> ThingT | None:
        """The object of this key."""
        ...

    def of(self, kind: type[ThingT], group: str) -> Iterator[ThingT]:
        """The objects of a group, by key."""
        ...


class Storage:
    """Versions, offers of classes, and attachments.

    Args:
        nodes: the rows.
        objects: where the objects are.
    """

    def __init__(self, nodes: NodeTable, objects: Objects) -> None:
        self.attachments = Attachments(nodes)
        self._nodes = nodes
        self._objects = objects
        self._changes = 0
        self._versions: dict[tuple[type, str], int] = {}
        self._group_versions: dict[tuple[type, str], int] = {}
        # By class, for those that somebody asked about.
        self._volumes: dict[str, VolumeOffer] = {}
        self._space: dict[str, SpaceOffer] = {}
        # Who names a volume: claims by key, and attachments with their nodes.
        self._claims_of: dict[str, dict[str, None]] = {}
        self._attached_as: dict[str, dict[str, str]] = {}

    def version(self, kind: type, key: str) -> int:
        """A number that the object never had before in another form; 0: there is none."""
        return self._versions.get((kind, key), 0)

    def group_version(self, kind: type, group: str) -> int:
        """Likewise of all volumes, or capacities, of a class."""
        return self._group_versions.get((kind, group), 0)

    def volumes(self, storage_class: str) -> VolumeOffer:
        """The volumes of a class."""
        offer = self._volumes.get(storage_class)
        if offer is None:
            offer = self._volumes[storage_class] = VolumeOffer(self._nodes)
            for volume in self._objects.of(PersistentVolume, storage_class):
                offer.change(volume.metadata.name, volume)
        return offer

    def space(self, storage_class: str) -> SpaceOffer:
        """The room to make volumes of a class."""
        offer = self._space.get(storage_class)
        if offer is None:
            offer = self._space[storage_class] = SpaceOffer(self._nodes)
            for capacity in self._objects.of(CSIStorageCapacity, storage_class):
                offer.change(capacity.metadata.key, capacity)
        return offer

    def change(self, key: str, old: KubernetesObject | None, new: KubernetesObject | None) -> None:
        """An object came, changed or went; the catalog holds the new one."""
        kind = type(old if new is None else new)
        self._changes += 1
        if new is None:
            self._versions.pop((kind, key), None)
        else:
            self._versions[kind, key] = self._changes
        if kind in _BY_CLASS:
            # Bound: the names of classes; other groups have far more names.
            for thing in (old, new):
                if thing is not None:
                    self._group_versions[kind, group_of(thing) or ""] = self._changes
        self._offer(key, old, new)
        for row in self._rows_moved(old, new):
            self._nodes.note(row, int(Reads.DISKS))
        self._refer(key, old, new)

    def _offer(self, key: str, old: KubernetesObject | None, new: KubernetesObject | None) -> None:
        for thing in (old, new):
            # The old one first: it may have been of another class.
            if isinstance(thing, PersistentVolume):
                volumes = self._volumes.get(group_of(thing) or "")
                if volumes is not None:
                    volumes.change(key, thing if thing is new else None)
            elif isinstance(thing, CSIStorageCapacity):
                space = self._space.get(group_of(thing) or "")
                if space is not None:
                    space.change(key, thing if thing is new else None)

    def _refer(self, key: str, old: KubernetesObject | None, new: KubernetesObject | None) -> None:
        """Keep who names which volume."""
        if isinstance(old, PersistentVolumeClaim):
            _drop(self._claims_of, old.spec.volume_name, key)
        if isinstance(new, PersistentVolumeClaim) and new.spec.volume_name:
            self._claims_of.setdefault(new.spec.volume_name, {})[key] = None
        if isinstance(old, VolumeAttachment):
            _drop(self._attached_as, old.spec.source.persistent_volume_name or "", key)
        if isinstance(new, VolumeAttachment) and new.spec.source.persistent_volume_name:
            named = self._attached_as.setdefault(new.spec.source.persistent_volume_name, {})
            named[key] = new.spec.node_name

    def _rows_moved(self, old: KubernetesObject | None, new: KubernetesObject | None) -> list[int]:
        """The rows on which something else may be attached now, or another limit hold."""
        if _attaching(old) == _attaching(new):
            return []
        thing = old if new is None else new
        names: list[str] = []
        rows: dict[int, None] = {}
        if isinstance(thing, PersistentVolumeClaim):
            rows.update(dict.fromkeys(self._rows_of(thing.metadata.key)))
        elif isinstance(thing, PersistentVolume):
            for claim in self._claims_of.get(thing.metadata.name, ()):
                rows.update(dict.fromkeys(self._rows_of(claim)))
            names += self._attached_as.get(thing.metadata.name, {}).values()
        elif isinstance(thing, CSINode):
            names.append(thing.metadata.name)
        elif isinstance(old, VolumeAttachment) or isinstance(new, VolumeAttachment):
            names += [one.spec.node_name for one in (old, new) if isinstance(one, VolumeAttachment)]
        elif isinstance(thing, StorageClass):
            # Any claim without a volume may be of the class: rare enough to look at all rows.
            rows.update(dict.fromkeys(self._nodes.usage.mounted.rows_mounting(CLAIMS)))
        found = (self._nodes.rows.get(name) for name in names)
        rows.update(dict.fromkeys(row for row in found if row is not None))
        return list(rows)

    def _rows_of(self, claim: str) -> list[int]:
        return list(self._nodes.usage.mounted.rows(mount_key(MountKind.CLAIM, claim)))


def storage_of(view: View) -> Storage:
    """What the cluster behind the view keeps."""
    return cast("Stored", view).storage


class Stored(Protocol):
    """What `place` adds to the views that rules get."""

    @property
    def storage(self) -> Storage:
        """What is kept of storage objects."""
        ...


def _attaching(thing: KubernetesObject | None) -> object:
    """What of the object tells what is attached where; None when nothing does."""
    if isinstance(thing, PersistentVolumeClaim):
        return thing.spec.volume_name, claim_class(thing), thing.metadata.owner_references
    if isinstance(thing, PersistentVolume):
        kind = in_tree(thing)
        # Of an in-tree volume labels tell the zone.
        return thing.spec.csi, kind, None if kind is None else (thing.spec, thing.metadata.labels)
    if isinstance(thing, VolumeAttachment):
        return thing.spec.attacher, thing.spec.node_name, thing.spec.source
    if isinstance(thing, StorageClass):
        return thing.provisioner
    if isinstance(thing, CSINode):
        return allocatable(thing), migrated_on(thing)
    return None


def _drop(
    table: dict[str, dict[str, None]] | dict[str, dict[str, str]], name: str, key: str
) -> None:
    held = table.get(name)
    if held is not None:
        held.pop(key, None)
        if not held:
            del table[name]
