"""VolumeBinding: bound volumes must be in reach, and unbound claims must find one on the node.

Source: volumebinding/volume_binding.go and binder.go, with the gate StorageCapacityScoring off,
as by default: there is no score. What follows the choice of a node: `place/volumes/binder.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from herz.errors import ConfigError
from herz.model.node import CSINode
from herz.model.podinfo import PodInfo
from herz.model.storage import (
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from herz.model.volumes import CLAIMS, NO_PLAN, Mount, MountKind, VolumePlan, mounts_of
from herz.place.plugins.arguments import Arguments, read_arguments
from herz.place.selecting import Mask
from herz.place.volumes import claims, matching
from herz.place.volumes.affinity import EVERYWHERE, Reach, reach
from herz.place.volumes.hinting import is_claim_of
from herz.place.volumes.matching import Unbound
from herz.place.volumes.migration import MIGRATED_ANNOTATION, PLUGINS, in_tree
from herz.place.volumes.offers import volume_limit
from herz.place.volumes.storage import storage_of
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
    PreBind,
    Reads,
    ReasonBook,
    Rows,
    Verdict,
    View,
    row_count,
)

REASON_NODE: Final = "node(s) didn't match PersistentVolume's node affinity"
REASON_UNMATCHED: Final = "node(s) didn't find available persistent volumes to bind"
REASON_SPACE: Final = "node(s) did not have enough free storage"
REASON_NO_VOLUME: Final = (
    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
)
REASON_IMMEDIATE: Final = "pod has unbound immediate PersistentVolumeClaims"
REASON_TAKEN: Final = "a volume of the pod was taken by another pod"

SECOND_NS: Final = 1_000_000_000


class VolumeBindingArguments(Arguments, frozen=True):
    """`bindTimeoutSeconds`: how long a pod waits on its node for its volumes."""

    bind_timeout_seconds: int = 600


class Claims(NamedTuple):
    """A pod's claims.

    Attributes:
        bound: where the volume of each bound claim can be mounted; None: it is not there.
        unbound: those that wait for their first consumer, in the order in which they are served.
    """

    bound: tuple[Reach | None, ...]
    unbound: tuple[Unbound, ...]


class VolumeBinding(Filter, Based, PreBind, Hints):
    """Says where all of a pod's claims have, or can get, a volume, and which one."""

    name: ClassVar[str] = "VolumeBinding"
    reads: ClassVar[Reads] = Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING
    reads_prepare: ClassVar[Reads] = Reads.VOLUMES

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        given = read_arguments(self.name, args, VolumeBindingArguments).bind_timeout_seconds
        if given < 0:
            raise ConfigError(
                "time-out below zero",
                where=f"pluginConfig[{self.name}].args.bindTimeoutSeconds",
                value=given,
                fix="give seconds, 0 or more; 600 is the default",
            )
        self.bind_timeout_ns = given * SECOND_NS
        words = (REASON_NODE, REASON_UNMATCHED, REASON_SPACE, REASON_NO_VOLUME)
        # By bit: which of the words hold. 0 is "fits".
        self._codes = np.zeros(16, np.int16)
        for bits in range(1, 16):
            told = tuple(word for at, word in enumerate(words) if bits >> at & 1)
            self._codes[bits] = reasons.code(Kind.NEVER_FITS, self.name, told)

    def sign(self, pod: PodInfo) -> object:
        """Its claims."""
        return _mounts(pod)

    def prepare(self, pod: PodInfo, view: View) -> Any:
        """The claims, bound and unbound; a rejection when one cannot be used."""
        mounts = _mounts(pod)
        if not mounts:
            return SKIP
        found = self._read(mounts, pod, view)
        # Most volumes are in reach of all nodes, or can be made on all.
        return SKIP_NOW if isinstance(found, Claims) and _is_anywhere(found) else found

    def basis(self, pod: PodInfo, view: View) -> Hashable:
        """Versions: of its claims, and of what each is bound to, or may be."""
        return tuple([_basis(mount, view) for mount in _mounts(pod)])

    def filter(self, state: Claims, view: View, rows: Rows) -> Codes:
        """Codes where a volume is out of reach, or a claim finds none."""
        is_away, is_lost = _check_bound(state.bound, view, rows)
        found = matching.find(state.unbound, view, rows)
        bits = is_away | found.is_unmatched * 2 | found.is_short * 4 | is_lost * 8
        codes: Codes = self._codes[bits]
        return codes

    def plan(self, pod: PodInfo, view: View, row: int) -> VolumePlan | Verdict:
        """The volume that each unbound claim gets on the node, or that one is to be made.

        A pod that was decided in the same go may have taken a volume meanwhile.
        """
        mounts = _mounts(pod)
        state = self._read(mounts, pod, view) if mounts else None
        if not isinstance(state, Claims):
            return state or NO_PLAN
        if not state.unbound:
            return NO_PLAN
        found = matching.find(state.unbound, view, np.array([row], np.int64))
        if found.is_unmatched[0] or found.is_short[0]:
            return Verdict(Kind.ERROR, self.name, (REASON_TAKEN,))
        static, provisions = [], []
        for one, choice in zip(state.unbound, found.chosen, strict=True):
            if choice[0] == matching.NONE:
                provisions.append(one.claim)
            else:
                static.append((one.claim, one.volume(int(choice[0]))))
        return VolumePlan(tuple(static), tuple(provisions))

    def reaches(self, volume: PersistentVolume, view: View, row: int) -> bool:
        """Whether the node at the row can mount the volume."""
        return bool(reach(volume).rows(view, np.array([row], np.int64))[0])

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """Claims, volumes, classes, capacities and nodes that came or changed for the better."""
        return {
            EventKind.NODE_ADD: None,
            EventKind.NODE_UPDATE: _moves_node,
            EventKind.OBJECT_ADD: _brings,
            EventKind.OBJECT_UPDATE: _betters,
            EventKind.OBJECT_DELETE: _ends_check,
        }

    def _read(self, mounts: tuple[Mount, ...], pod: PodInfo, view: View) -> Claims | Verdict:
        problem = _first_problem(mounts, pod, view)
        if problem:
            return Verdict(Kind.NEVER_FITS, self.name, (problem,))
        bound: list[Reach | None] = []
        unbound: list[Unbound] = []
        is_waiting = False
        for mount in mounts:
            claim = view.object(PersistentVolumeClaim, mount.id)
            assert claim is not None, "claims that are not there are a problem"
            if claims.is_fully_bound(claim):
                volume = view.object(PersistentVolume, claim.spec.volume_name)
                bound.append(None if volume is None else reach(volume))
                continue
            is_delayed = claims.is_delayed(claim, view)
            if is_delayed is None:
                name = claims.claim_class(claim)
                text = f'VolumeBindingMode not set for StorageClass "{name}"'
                return Verdict(Kind.ERROR, self.name, (text,))
            if is_delayed and not claim.spec.volume_name:
                unbound.append(matching.look_up(claim, view))
            else:
                is_waiting = True
        if is_waiting:
            return Verdict(Kind.NEVER_FITS, self.name, (REASON_IMMEDIATE,))
        return Claims(tuple(bound), matching.in_order(unbound))


def _mounts(pod: PodInfo) -> tuple[Mount, ...]:
    return tuple([mount for mount in mounts_of(pod.pod) if mount.kind in CLAIMS])


def _is_anywhere(found: Claims) -> bool:
    """Whether no node is kept from the pod, whichever volumes there are."""
    return all(one == EVERYWHERE for one in found.bound) and all(
        not one.node and one.provision.is_anywhere for one in found.unbound
    )


def _basis(mount: Mount, view: View) -> Hashable:
    storage = storage_of(view)
    own = storage.version(PersistentVolumeClaim, mount.id)
    claim = view.object(PersistentVolumeClaim, mount.id)
    if claim is None:
        return own
    name = claim.spec.volume_name
    volume = view.object(PersistentVolume, name) if name else None
    if volume is not None:
        kind = in_tree(volume)
        plugin = "" if kind is None else PLUGINS[kind].name
        handed = storage.attachments.handing_version(plugin, view) if plugin else 0
        return own, storage.version(PersistentVolume, name), handed
    name = claims.claim_class(claim)
    found = view.object(StorageClass, name)
    driver = "" if found is None else found.provisioner
    return (
        own,
        storage.version(StorageClass, name),
        storage.group_version(PersistentVolume, name),
        storage.version(CSIDriver, driver),
        storage.group_version(CSIStorageCapacity, name),
    )


def _first_problem(mounts: tuple[Mount, ...], pod: PodInfo, view: View) -> str:
    for mount in mounts:
        claim = view.object(PersistentVolumeClaim, mount.id)
        problem = claims.claim_problem(mount, claim)
        if problem:
            return problem
        is_owned = mount.kind is MountKind.CLAIM or (
            claim is not None and claims.is_of_pod(claim, mount.owner)
        )
        if not is_owned:
            return claims.not_owned(mount, pod.key)
    return ""


def _check_bound(bound: tuple[Reach | None, ...], view: View, rows: Rows) -> tuple[Mask, Mask]:
    """By row: whether a volume is out of reach; or, if not before that, is not there at all."""
    count = row_count(view, rows)
    is_away, is_lost = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for one in bound:
        if one is None:
            is_lost |= ~is_away
            break
        is_away |= ~one.rows(view, rows)
    return is_away, is_lost


def _moves_node(_pod: PodInfo, change: Change) -> bool:
    return bool(change.aspects & Reads.LABELS)


def _brings(pod: PodInfo, change: Change) -> bool:
    is_any = isinstance(change.new, StorageClass | PersistentVolume | CSINode | CSIStorageCapacity)
    return is_any or is_claim_of(pod, change)


def _ends_check(_pod: PodInfo, change: Change) -> bool:
    """Kubernetes does not look: without its driver's word, a class has capacity everywhere."""
    return isinstance(change.old, CSIDriver) and bool(change.old.spec.storage_capacity)


def _betters(pod: PodInfo, change: Change) -> bool:
    old, new = change.old, change.new
    if isinstance(new, StorageClass):
        return bool(new.allowed_topologies != old.allowed_topologies)
    if isinstance(new, CSINode):
        annotations = new.metadata.annotations
        before = old.metadata.annotations.get(MIGRATED_ANNOTATION)
        return bool(annotations.get(MIGRATED_ANNOTATION) != before)
    if isinstance(new, CSIStorageCapacity):
        limit, before_limit = volume_limit(new), volume_limit(old)
        return limit is not None and (before_limit is None or limit > before_limit)
    if isinstance(new, CSIDriver):
        # Kubernetes asks this of inline CSI volumes alone, which have no capacity to check.
        return bool(old.spec.storage_capacity and not new.spec.storage_capacity)
    return isinstance(new, PersistentVolume) or is_claim_of(pod, change)
