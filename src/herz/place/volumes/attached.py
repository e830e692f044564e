"""Which CSI volume a mount is, for attach limits.

Source: nodevolumelimits/csi.go (`filterAttachableVolumes`, `getCSIDriverInfo`,
`getCSIDriverInfoFromSC`, `getNodeVolumeAttachmentInfo`).
"""

from __future__ import annotations

from typing import NamedTuple

from herz.model.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from herz.model.volumes import CLAIMS, Mount, MountKind
from herz.place.volumes.claims import claim_class, is_of_pod
from herz.place.volumes.migration import (
    DRIVERS,
    NOT_MIGRATED,
    PLUGINS,
    in_tree,
    inline_handle,
    volume_handle,
)
from herz.plugin import View


class Attached(NamedTuple):
    """A volume as its driver names it: the same one, however many pods mount it."""

    driver: str
    handle: str


def attached_by(mount: Mount, view: View) -> Attached | None:
    """The volume that a pod's mount attaches, or will; None when no limit counts it."""
    if mount.kind not in CLAIMS:
        plugin = PLUGINS.get(mount.kind)
        handle = None if plugin is None else inline_handle(mount)
        return None if plugin is None or handle is None else Attached(plugin.driver, handle)
    claim = view.object(PersistentVolumeClaim, mount.id)
    if claim is None or (mount.kind is MountKind.EPHEMERAL and not is_of_pod(claim, mount.owner)):
        return None
    volume = view.object(PersistentVolume, claim.spec.volume_name)
    return _unbound(claim, view) if volume is None else _bound(volume)


def attached_to(node: str, view: View) -> set[Attached]:
    """The CSI volumes that are attached to the node, or being attached, whoever uses them."""
    found = set()
    for attachment in view.objects_of(VolumeAttachment, node):
        name = attachment.spec.source.persistent_volume_name
        volume = None if name is None else view.object(PersistentVolume, name)
        if attachment.spec.attacher and volume is not None and volume.spec.csi is not None:
            found.add(Attached(attachment.spec.attacher, volume.spec.csi.volume_handle))
    return found


def _bound(volume: PersistentVolume) -> Attached | None:
    source = volume.spec.csi
    if source is not None:
        is_named = source.driver and source.volume_handle
        return Attached(source.driver, source.volume_handle) if is_named else None
    kind = in_tree(volume)
    handle = None if kind is None else volume_handle(volume)
    return None if kind is None or not handle else Attached(PLUGINS[kind].driver, handle)


def _unbound(claim: PersistentVolumeClaim, view: View) -> Attached | None:
    """The volume that its class will make for the claim."""
    name = claim_class(claim)
    found = view.object(StorageClass, name) if name else None
    if found is None or not found.provisioner or found.provisioner in NOT_MIGRATED:
        return None
    # No driver's handle begins so: Kubernetes takes a random prefix to the same end.
    driver = DRIVERS.get(found.provisioner, found.provisioner)
    return Attached(driver, f"\0{claim.metadata.key}")
