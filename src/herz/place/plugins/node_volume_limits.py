"""NodeVolumeLimits: how many volumes of a CSI driver a node can hold.

Source: nodevolumelimits/csi.go, with the gate VolumeLimitScaling off, as by default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np

from herz.model.node import CSINode
from herz.model.podinfo import PodInfo
from herz.model.storage import PersistentVolumeClaim, VolumeAttachment
from herz.model.volumes import CLAIMS, Mount, MountKind, mounts_of
from herz.place.plugins.single_reason import SingleReason
from herz.place.volumes.attached import Attached, attached_by, attached_to
from herz.place.volumes.claims import is_of_pod
from herz.place.volumes.hinting import is_claim_added
from herz.place.volumes.migration import PLUGINS, inline_handle
from herz.plugin import (
    SKIP,
    SKIP_NOW,
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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod would attach.

    Args:
        volumes: the volumes, each once.
        limits: by node: how many volumes of each of their drivers it can hold.
        known: what mounts attach, as far as it was asked; it lives as long as this is true.
    """

    volumes: frozenset[Attached]
    limits: Mapping[str, Mapping[str, int]]
    known: dict[Mount, Attached | None] = field(default_factory=dict)


class NodeVolumeLimits(SingleReason):
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
        """The volumes and the limits of their drivers; None when a claim cannot be used."""
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
        found = (attached_by(mount, view) for mount in mounts)
        volumes = frozenset(volume for volume in found if volume is not None)
        limits = _limits({volume.driver for volume in volumes}, view)
        return Wanted(volumes, limits) if limits else SKIP_NOW

    def filter(self, state: Wanted | None, view: View, rows: Rows) -> Codes:
        """The code at rows whose limit would be passed."""
        if state is None:
            return np.full(row_count(view, rows), self._claim_code, np.int16)
        codes = np.zeros(row_count(view, rows), np.int16)
        if isinstance(rows, slice):
            # Positions of a slice of all rows are the rows themselves.
            found = (view.row(name) for name in state.limits)
            places = [(row, row) for row in found if row is not None]
        else:
            live = view.is_live
            places = [(at, row) for at, row in enumerate(rows.tolist()) if live[row]]
        for at, row in places:
            if _is_passed(state, view.node_name(row), row, view):
                codes[at] = self.code
        return codes

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """A node or its drivers came, a limit rose, a pod or an attachment went, a claim came.

        Kubernetes does not look at nodes: one whose CSINode came first would help nobody.
        """
        return {
            EventKind.NODE_ADD: None,
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


def _limits(drivers: set[str], view: View) -> dict[str, dict[str, int]]:
    """By node: the limits of these drivers; nodes without one are left out."""
    if not drivers:
        return {}
    made = {}
    for node in view.objects(CSINode):
        limits = {name: n for name, n in _allocatable(node).items() if name in drivers}
        if limits:
            made[node.metadata.name] = limits
    return made


def _allocatable(node: CSINode) -> dict[str, int]:
    return {
        driver.name: driver.allocatable.count
        for driver in node.spec.drivers
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def _is_passed(state: Wanted, node: str, row: int, view: View) -> bool:
    limits = state.limits.get(node)
    if limits is None:
        return False
    mounts = view.mounts(row)
    attached = attached_to(node, view)
    if len(mounts) + len(attached) + len(state.volumes) <= min(limits.values()):
        # Even if all were of one driver and none was counted twice.
        return False
    known = state.known
    for mount in mounts:
        if mount not in known:
            known[mount] = attached_by(mount, view)
    held = {volume for mount in mounts if (volume := known[mount]) is not None}
    new = Counter(volume.driver for volume in state.volumes - held)
    now = Counter(volume.driver for volume in held | attached)
    return any(now[name] + new[name] > limit for name, limit in limits.items() if new[name])


def _detaches(_pod: PodInfo, change: Change) -> bool:
    return bool(_relevant(change.old))


def _brings(pod: PodInfo, change: Change) -> bool:
    return isinstance(change.new, CSINode) or is_claim_added(pod, change)


def _raises_limit(_pod: PodInfo, change: Change) -> bool:
    if not isinstance(change.new, CSINode):
        return False
    before, after = _allocatable(change.old), _allocatable(change.new)
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
