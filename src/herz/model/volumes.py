"""What of a pod's volumes decides where it can run, and what must happen before it may be bound.

Kinds of volumes that any node can mount (configMap, emptyDir, nfs, ...) give no mount.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from herz.model.pod import Pod
from herz.model.storage import PersistentVolume, PersistentVolumeClaim, PodVolume


class MountKind(StrEnum):
    """How a pod names what it mounts."""

    CLAIM = "claim"
    """A PersistentVolumeClaim; the id is its `namespace/name`."""
    EPHEMERAL = "ephemeral"
    """A claim made for the pod and owned by it; likewise."""
    GCE = "gce"
    AWS = "aws"
    AZURE = "azure"
    CINDER = "cinder"
    PORTWORX = "portworx"
    ISCSI = "iscsi"
    """The id is the IQN, as Kubernetes compares nothing else."""
    RBD = "rbd"
    """The id is `pool/image`."""


CLAIMS = (MountKind.CLAIM, MountKind.EPHEMERAL)


class Mount(NamedTuple):
    """One volume of a pod that is not the same on every node.

    Attributes:
        kind: how it is named.
        id: what it is; two mounts of one kind and id are of the same thing.
        read_only: whether the pod only reads it.
        monitors: of an RBD image: two images are the same only when they share one.
        owner: of an ephemeral claim: the uid of the pod that must own it.
    """

    kind: MountKind
    id: str
    read_only: bool = False
    monitors: tuple[str, ...] = ()
    owner: str = ""

    @property
    def key(self) -> str:
        """What mounts of the same thing share."""
        return mount_key(self.kind, self.id)

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.id.partition("/")[2]


class VolumePlan(NamedTuple):
    """What must happen before a pod whose claims are not bound may be bound to its node.

    Attributes:
        static: each claim with the volume that is to be bound to it.
        provisions: the claims for which a volume is to be made on the node.
    """

    static: tuple[tuple[PersistentVolumeClaim, PersistentVolume], ...] = ()
    provisions: tuple[PersistentVolumeClaim, ...] = ()


NO_PLAN = VolumePlan()
"""Nothing must happen: all claims are bound, or there are none."""


def mount_key(kind: MountKind, identity: str) -> str:
    """The key of what a kind and an id name. An ephemeral claim is a claim like any other."""
    return f"{MountKind.CLAIM if kind is MountKind.EPHEMERAL else kind}/{identity}"


def mounts_of(pod: Pod) -> tuple[Mount, ...]:
    """The pod's mounts, in the order of its volumes."""
    volumes = pod.spec.volumes
    if not volumes:
        return ()
    return tuple([made for one in volumes if (made := _mount(pod, one)) is not None])


def _mount(pod: Pod, volume: PodVolume) -> Mount | None:
    meta = pod.metadata
    if volume.persistent_volume_claim is not None:
        claim = volume.persistent_volume_claim
        return Mount(MountKind.CLAIM, f"{meta.namespace}/{claim.claim_name}")
    if volume.ephemeral is not None:
        name = f"{meta.namespace}/{meta.name}-{volume.name}"
        return Mount(MountKind.EPHEMERAL, name, owner=meta.uid)
    return _disk(volume)


def _disk(volume: PodVolume) -> Mount | None:
    if volume.gce_persistent_disk is not None:
        gce = volume.gce_persistent_disk
        return Mount(MountKind.GCE, gce.pd_name, gce.read_only)
    if volume.aws_elastic_block_store is not None:
        aws = volume.aws_elastic_block_store
        return Mount(MountKind.AWS, aws.volume_id, aws.read_only)
    if volume.azure_disk is not None:
        azure = volume.azure_disk
        return Mount(MountKind.AZURE, azure.disk_uri, azure.read_only)
    if volume.cinder is not None:
        return Mount(MountKind.CINDER, volume.cinder.volume_id, volume.cinder.read_only)
    if volume.portworx_volume is not None:
        portworx = volume.portworx_volume
        return Mount(MountKind.PORTWORX, portworx.volume_id, portworx.read_only)
    if volume.iscsi is not None:
        return Mount(MountKind.ISCSI, volume.iscsi.iqn, volume.iscsi.read_only)
    if volume.rbd is not None:
        rbd = volume.rbd
        return Mount(MountKind.RBD, f"{rbd.pool}/{rbd.image}", rbd.read_only, rbd.monitors)
    return None
