"""NodeVolumeLimits: how many volumes of a CSI driver a node can hold.

Source: nodevolumelimits/csi.go, with the gate VolumeLimitScaling off, as by default.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np

from herz.model.node import CSINode
from herz.model.podinfo import PodInfo
from herz.model.storage import PersistentVolumeClaim, VolumeAttachment
from herz.model.volumes import CLAIMS, Mount, MountKind, mounts_of
from herz.place.plugins.single_reason import SingleReason
from herz.place.volumes.attached import Attached, attached_by
from herz.place.volumes.attaching import allocatable, attachments_of, moved_rows
from herz.place.volumes.claims import is_of_pod
from herz.place.volumes.hinting import is_claim_added
from herz.place.volumes.migration import PLUGINS, inline_handle
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
    ReasonBook,
    Rows,
    Verdict,
    View,
    row_count,
)

REASON_CLAIM: Final = "looking up PVC: persistentvolumeclaim not found"
"""Without the claim's name, which Kubernetes adds: reasons that filters give are interned."""

_COUNTED: Final = (*CLAIMS, *PLUGINS)


Wanted: TypeAlias = tuple[tuple[str, tuple[Attached, ...]], ...]
"""What a pod would attach, each volume once, by driver; only drivers that are limited anywhere."""


class NodeVolumeLimits(SingleReason, Based):
    """Attached and new volumes of a driver, each counted once, stay within the node's limit."""

    name: ClassVar[str] = "NodeVolumeLimits"
    reads: ClassVar[Reads] = Reads.DISKS
    reads_prepare: ClassVar[Reads] = Reads.VOLUMES
    kind: ClassVar[Kind] = Kind.UNFIT
    reason: ClassVar[str] = "node(s) exceed max volume count"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        super().__init__(args, reasons)
        self._claim_code = reasons.code(Kind.NEVER_FITS, self.name, (REASON_CLAIM,))

    def sign(self, pod: PodInfo) -> object:
        """What may be attached."""
        return _relevant(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The volumes that are counted; None when a claim cannot be used."""
        mounts = _relevant(pod)
        if not mounts:
            return SKIP
        for mount in mounts:
            if mount.kind not in CLAIMS and inline_handle(mount) is None:
                text = f"{mount.id} is no {mount.kind} volume"
                return Verdict(Kind.ERROR, self.name, (text,))
        if not all(_is_usable(mount, view) for mount in mounts):
            # No rejection yet: Kubernetes looks node by node, when others have said it better.
            return None
        attachments = attachments_of(view)
        by_driver: dict[str, dict[Attached, None]] = {}
        for mount in mounts:
            volume = attached_by(mount, view)
            if volume is not None and attachments.is_limited(volume.driver, view):
                by_driver.setdefault(volume.driver, {})[volume] = None
        found: Wanted = tuple((driver, tuple(volumes)) for driver, volumes in by_driver.items())
        return found or SKIP_NOW

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """What it comes to: what is attached already is told by row."""
        found: Hashable = self.prepare(pod, view)
        return found

    def filter(self, state: Wanted | None, view: View, rows: Rows) -> Codes:
        """The code at rows whose limit would be passed."""
        if state is None:
            return np.full(row_count(view, rows), self._claim_code, np.int16)
        attachments = attachments_of(view)
        is_over = np.zeros(view.size, np.bool_)
        for driver, volumes in state:
            new = np.full(view.size, len(volumes), np.int64)
            for volume in volumes:
                for row in attachments.rows(volume, view):
                    new[row] -= 1
            held = attachments.counts(driver, view)
            is_over |= (new > 0) & (held + new > attachments.limits(driver, view))
        for row in moved_rows(view):
            is_over[row] = _is_over(state, row, view)
        return np.where(is_over[rows], self.code, 0).astype(np.int16)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node or its drivers came, a limit rose, a pod or an attachment went, a claim came.

        Kubernetes does not look at nodes: one whose CSINode came first would help nobody. Nor at
        pods that come: where one holds the claim already, it is nothing new to the node.
        """
        return {
            EventKind.NODE_ADD: None,
            EventKind.ASSIGNED_POD_ADD: _shares,
            EventKind.ASSIGNED_POD_DELETE: _detaches,
            EventKind.OBJECT_ADD: _brings,
            EventKind.OBJECT_UPDATE: _raises_limit,
            EventKind.OBJECT_DELETE: _ends,
        }


def _is_usable(mount: Mount, view: View) -> bool:
    claim = view.object(PersistentVolumeClaim, mount.id) if mount.kind in CLAIMS else None
    if mount.kind is MountKind.EPHEMERAL:
        return claim is not None and is_of_pod(claim, mount.owner)
    return claim is not None or mount.kind is not MountKind.CLAIM


def _relevant(pod: PodInfo) -> tuple[Mount, ...]:
    return tuple([mount for mount in mounts_of(pod.pod) if mount.kind in _COUNTED])


def _is_over(state: Wanted, row: int, view: View) -> bool:
    """Likewise for a row that a what-if moved."""
    attachments = attachments_of(view)
    held = attachments.held_on(row, view)
    for driver, volumes in state:
        now = sum(one.driver == driver for one in held)
        new = sum(one not in held for one in volumes)
        if new and now + new > int(attachments.limits(driver, view)[row]):
            return True
    return False


def _detaches(_pod: PodInfo, change: Change) -> bool:
    return bool(_relevant(change.old))


def _shares(pod: PodInfo, change: Change) -> bool:
    here = {(mount.kind, mount.id) for mount in _relevant(change.new)}
    return any((mount.kind, mount.id) in here for mount in _relevant(pod))


def _brings(pod: PodInfo, change: Change) -> bool:
    return isinstance(change.new, CSINode) or is_claim_added(pod, change)


def _raises_limit(_pod: PodInfo, change: Change) -> bool:
    if not isinstance(change.new, CSINode):
        return False
    before, after = allocatable(change.old), allocatable(change.new)
    is_raised = any(limit > before.get(name, 0) for name, limit in after.items())
    # Kubernetes forgets that a driver which is gone, or says no limit any more, has none.
    return is_raised or any(name not in after for name in before)


def _ends(pod: PodInfo, change: Change) -> bool:
    """Likewise for a node whose drivers are all gone."""
    return isinstance(change.old, CSINode) or _ends_attachment(pod, change)


def _ends_attachment(pod: PodInfo, change: Change) -> bool:
    """Kubernetes passes ephemeral claims over; they are attached like any other."""
    attachment = change.old
    return isinstance(attachment, VolumeAttachment) and any(
        mount.kind in CLAIMS or PLUGINS[mount.kind].driver == attachment.spec.attacher
        for mount in _relevant(pod)
    )
