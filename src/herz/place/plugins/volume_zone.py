"""VolumeZone: the zone and region labels of bound volumes must be those of the node.

Source: volumezone/volume_zone.go.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from herz.model.volumes import Mount, MountKind, mounts_of
from herz.place.plugins.single_reason import SingleReason
from herz.place.volumes.claims import WAIT_FOR_FIRST_CONSUMER, claim_class, not_found
from herz.place.volumes.hinting import is_claim_of
from herz.place.volumes.migration import BETA_REGION, BETA_ZONE, REGION, ZONE, ZONES_APART
from herz.plugin import (
    SKIP,
    SKIP_NOW,
    Based,
    Change,
    Codes,
    EventKind,
    Hint,
    Kind,
    Reads,
    Rows,
    Verdict,
    View,
    row_count,
)

TODAYS: Final = {BETA_ZONE: ZONE, BETA_REGION: REGION, ZONE: ZONE, REGION: REGION}
"""The labels that tell where a volume is, each with the one that is used today."""

Topology: TypeAlias = tuple[str, tuple[str, ...]]
"""A label and the values of which the node must have one."""


class VolumeZone(SingleReason, Based):
    """On nodes that say where they are, each bound volume must be there too."""

    name: ClassVar[str] = "VolumeZone"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_prepare: ClassVar[Reads] = Reads.VOLUMES
    kind: ClassVar[Kind] = Kind.NEVER_FITS
    reason: ClassVar[str] = "node(s) had no available volume zone"

    def sign(self, pod: PodInfo) -> object:
        """Its claims."""
        return _claims(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """Where the volumes are; a rejection when a claim should have one and has not."""
        mounts = _claims(pod)
        if not mounts:
            return SKIP
        found: list[Topology] = []
        for mount in mounts:
            volume = self._volume(mount, view)
            if isinstance(volume, Verdict):
                return volume
            if volume is not None:
                found += topologies(volume)
        return tuple(found) or SKIP_NOW

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """What it comes to: it is read fast."""
        found: Hashable = self.prepare(pod, view)
        return found

    def filter(self, state: tuple[Topology, ...], view: View, rows: Rows) -> Codes:
        """The code at rows that say where they are, and are elsewhere."""
        count = row_count(view, rows)
        is_somewhere, is_there = np.zeros(count, np.bool_), np.ones(count, np.bool_)
        for key in TODAYS:
            is_somewhere |= view.labels(key)[rows] != 0
        for key, values in state:
            column = view.labels(key)[rows]
            column = np.where(column == 0, view.labels(TODAYS[key])[rows], column)
            is_there &= np.isin(column, [view.label_id(value) for value in values])
        return np.where(is_somewhere & ~is_there, self.code, 0).astype(np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node came or changed its labels; a claim, a volume's place or a class came."""
        return {
            EventKind.NODE_ADD: None,
            EventKind.NODE_UPDATE: _moves_node,
            EventKind.OBJECT_ADD: _brings,
            EventKind.OBJECT_UPDATE: _moves_volume,
        }

    def _volume(self, mount: Mount, view: View) -> PersistentVolume | Verdict | None:
        """The claim's volume; None when it waits for its first consumer."""
        claim = view.object(PersistentVolumeClaim, mount.id)
        if not mount.name:
            return self._never("PersistentVolumeClaim had no name")
        if claim is None:
            return self._never(not_found("persistentvolumeclaim", mount.name))
        name = claim.spec.volume_name
        if not name:
            return self._unbound(claim, view)
        volume = view.object(PersistentVolume, name)
        return self._never(not_found("persistentvolume", name)) if volume is None else volume

    def _unbound(self, claim: PersistentVolumeClaim, view: View) -> Verdict | None:
        name = claim_class(claim)
        if not name:
            return self._never("PersistentVolumeClaim had no pv name and storageClass name")
        found = view.object(StorageClass, name)
        if found is None:
            return self._never(not_found("storageclass.storage.k8s.io", name))
        if found.volume_binding_mode is None:
            return self._never(f'VolumeBindingMode not set for StorageClass "{name}"')
        if found.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER:
            return None
        return self._never("PersistentVolume had no name")

    def _never(self, reason: str) -> Verdict:
        return Verdict(Kind.NEVER_FITS, self.name, (reason,))


def topologies(volume: PersistentVolume) -> list[Topology]:
    """Where the volume's labels say that it is; a malformed label says nothing."""
    found = []
    for key in TODAYS:
        label = volume.metadata.labels.get(key)
        zones = [] if label is None else [zone.strip() for zone in label.split(ZONES_APART)]
        if zones and all(zones):
            found.append((key, tuple(sorted(set(zones)))))
    return found


def _claims(pod: PodInfo) -> tuple[Mount, ...]:
    return tuple([mount for mount in mounts_of(pod.pod) if mount.kind is MountKind.CLAIM])


def _moves_node(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.LABELS)


def _brings(pod: PodInfo, change: Change) -> bool:
    new = change.new
    if isinstance(new, StorageClass):
        return new.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
    return isinstance(new, PersistentVolume) or is_claim_of(pod, change, (MountKind.CLAIM,))


def _moves_volume(pod: PodInfo, change: Change) -> bool:
    if isinstance(change.new, PersistentVolume):
        return topologies(change.old) != topologies(change.new)
    return is_claim_of(pod, change, (MountKind.CLAIM,))
