"""What the volume rules' hints ask of a change: does it concern a claim of this pod?"""

from __future__ import annotations

from herz.model.podinfo import PodInfo
from herz.model.storage import PersistentVolumeClaim
from herz.model.volumes import CLAIMS, MountKind, mounts_of
from herz.plugin import Change, EventKind


def is_claim_of(pod: PodInfo, change: Change, kinds: tuple[MountKind, ...] = CLAIMS) -> bool:
    """Whether a claim that the pod mounts came or changed."""
    claim = change.new
    return isinstance(claim, PersistentVolumeClaim) and any(
        mount.kind in kinds and mount.id == claim.metadata.key for mount in mounts_of(pod.pod)
    )


def is_claim_added(pod: PodInfo, change: Change, kinds: tuple[MountKind, ...] = CLAIMS) -> bool:
    """Whether a claim that the pod mounts came."""
    return change.kind is EventKind.OBJECT_ADD and is_claim_of(pod, change, kinds)
