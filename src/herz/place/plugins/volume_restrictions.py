"""VolumeRestrictions: disks that two pods may not share, and claims that one pod only may use.

Source: volumerestrictions/volume_restrictions.go.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from herz.model.podinfo import PodInfo
from herz.model.storage import PersistentVolumeClaim
from herz.model.volumes import Mount, MountKind, mounts_of
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.place.volumes.claims import READ_WRITE_ONCE_POD, not_found
from herz.place.volumes.hinting import is_claim_added, is_claim_of
from herz.plugin import (
    SKIP,
    SKIP_NOW,
    Based,
    Change,
    Codes,
    EventKind,
    Filter,
    Hint,
    Hints,
    Kind,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    Versioned,
    View,
)

REASON_DISK: Final = "node(s) had no available disk"
REASON_ONCE: Final = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already"
    " in-use by another pod"
)

_CONFLICTING: Final = (MountKind.GCE, MountKind.AWS, MountKind.ISCSI, MountKind.RBD)
_CLAIM: Final = (MountKind.CLAIM,)


class Restricted(NamedTuple):
    """What of a pod is restricted.

    Attributes:
        disks: its mounts that may conflict with others on the node.
        once: keys of its claims that one pod only may use, wherever it is.
    """

    disks: tuple[Mount, ...]
    once: tuple[str, ...]


class VolumeRestrictions(Filter, Versioned, Based, Hints):
    """Two pods on a node share a disk only to read it; ReadWriteOncePod is for one pod."""

    name: ClassVar[str] = "VolumeRestrictions"
    reads: ClassVar[Reads] = Reads.DISKS
    reads_all: ClassVar[Reads] = Reads.DISKS
    reads_prepare: ClassVar[Reads] = Reads.VOLUMES

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)
        self._disk_code = reasons.code(Kind.UNFIT, self.name, (REASON_DISK,))
        self._once_code = reasons.code(Kind.UNFIT, self.name, (REASON_ONCE,))

    def sign(self, pod: PodInfo) -> object:
        """Its disks and claims."""
        return _relevant(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """What is restricted; a rejection when a claim is not there."""
        mounts = _relevant(pod)
        if not mounts:
            return SKIP
        once: list[str] = []
        for mount in mounts:
            if mount.kind is not MountKind.CLAIM:
                continue
            claim = view.object(PersistentVolumeClaim, mount.id)
            if claim is None:
                text = not_found("persistentvolumeclaim", mount.name)
                return Verdict(Kind.NEVER_FITS, self.name, (text,))
            if READ_WRITE_ONCE_POD in claim.spec.access_modes:
                once.append(mount.key)
        disks = tuple(mount for mount in mounts if mount.kind is not MountKind.CLAIM)
        return Restricted(disks, tuple(once)) if disks or once else SKIP_NOW

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """What it comes to: it is read fast."""
        found: Hashable = self.prepare(pod, view)
        return found

    def version(self, state: Restricted, view: View) -> object:
        """Whether another pod uses a claim that is for one only: it keeps all nodes closed."""
        return _is_in_use(state, view)

    def filter(self, state: Restricted, view: View, rows: Rows) -> Codes:
        """A code at rows where a disk conflicts, or else at all rows when a claim is in use."""
        used = self._once_code if _is_in_use(state, view) else 0
        codes = np.full(view.size, used, np.int16)
        for mount in state.disks:
            for row, others in view.mount_rows(mount.key).items():
                if any(_conflict(mount, other) for other in others):
                    codes[row] = self._disk_code
        return codes[rows]

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A pod that held the same left, alone or with its node; a node or a claim came."""
        return {
            EventKind.ASSIGNED_POD_DELETE: _frees,
            EventKind.NODE_ADD: None,
            EventKind.NODE_DELETE: _has_claims,
            EventKind.OBJECT_ADD: _brings_claim,
            EventKind.OBJECT_UPDATE: _opens_claim,
        }


def _relevant(pod: PodInfo) -> tuple[Mount, ...]:
    return tuple([one for one in mounts_of(pod.pod) if one.kind in (*_CLAIM, *_CONFLICTING)])


def _is_in_use(state: Restricted, view: View) -> bool:
    """Only plain claims count: nobody but its pod can name an ephemeral one."""
    return any(
        mount.kind is MountKind.CLAIM
        for key in state.once
        for mounts in view.mount_rows(key).values()
        for mount in mounts
    )


def _conflict(mine: Mount, other: Mount) -> bool:
    """Whether two mounts of one disk may not be on one node; AWS' never may."""
    if mine.kind is MountKind.AWS:
        return True
    if mine.kind is MountKind.RBD and not set(mine.monitors) & set(other.monitors):
        return False
    return not (mine.read_only and other.read_only)


def _frees(pod: PodInfo, change: Change) -> bool:
    """Kubernetes looks at pods of the namespace only; a disk may be held from any."""
    left = {mount.key: mount for mount in _relevant(change.old)}
    return any(
        mount.key in left and (mount.kind is MountKind.CLAIM or _conflict(mount, left[mount.key]))
        for mount in _relevant(pod)
    )


def _has_claims(pod: PodInfo, _change: Change) -> bool:
    """Pods of a node that is gone use no claim any more."""
    return any(mount.kind is MountKind.CLAIM for mount in _relevant(pod))


def _opens_claim(pod: PodInfo, change: Change) -> bool:
    """A claim that was deleted and made anew may come as one change."""
    return (
        is_claim_of(pod, change, _CLAIM)
        and READ_WRITE_ONCE_POD in change.old.spec.access_modes
        and READ_WRITE_ONCE_POD not in change.new.spec.access_modes
    )


def _brings_claim(pod: PodInfo, change: Change) -> bool:
    return is_claim_added(pod, change, _CLAIM)
