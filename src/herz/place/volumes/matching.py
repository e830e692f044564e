"""Volumes for claims that have none yet: one that is there, or one that can be made on the node.

Source: component-helpers `storage/volume/pv_helpers.go` (`FindMatchingVolume`) and
volumebinding/binder.go (`FindPodVolumes`, `findMatchingVolumes`, `checkVolumeProvisions`,
`hasEnoughCapacity`). All of a pod's claims are answered for all rows at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher, compile_selector
from herz.model.meta import LabelSelector, LabelSelectorRequirement
from herz.model.quantity import parse_quantity
from herz.model.storage import (
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from herz.place.selecting import Mask, rows_matching_labels
from herz.place.volumes import claims
from herz.place.volumes.affinity import Lookup, Reach, plain_reach
from herz.plugin import Int64s, Rows, View, row_count

NONE = -1
"""No volume: one has to be made."""


class Candidate(NamedTuple):
    """A volume that would do for a claim."""

    volume: PersistentVolume
    reach: Reach


class Provision(NamedTuple):
    """Where a volume for a claim can be made.

    Attributes:
        is_supported: whether the class makes volumes at all.
        topologies: the node must match one; None: every node does.
        segments: the parts of the cluster with room for it; None: nobody keeps count.
    """

    is_supported: bool
    topologies: tuple[LabelMatcher, ...] | None = None
    segments: tuple[LabelMatcher, ...] | None = None


class Unbound(NamedTuple):
    """A claim that waits for its first consumer.

    Attributes:
        claim: the claim.
        node: the node that was selected before; empty when none was.
        candidates: volumes that are there, best first; the one bound ahead alone when there is.
        provision: what is needed where none of them can be mounted.
    """

    claim: PersistentVolumeClaim
    node: str
    candidates: tuple[Candidate, ...]
    provision: Provision


class Found(NamedTuple):
    """The answer, by row.

    Attributes:
        is_unmatched: no volume is there and none can be made.
        is_short: there is not enough free storage to make one.
        chosen: by claim in the order of `unbound`: the candidate's number, or NONE.
    """

    is_unmatched: Mask
    is_short: Mask
    chosen: tuple[npt.NDArray[np.int32], ...]


def look_up(claim: PersistentVolumeClaim, view: View) -> Unbound:
    """All that is to know about a claim, whatever the node.

    Raises:
        ConfigError: its selector or a quantity is malformed.
    """
    node = claim.metadata.annotations.get(claims.SELECTED_NODE)
    candidates = () if node is not None else _candidates(claim, view)
    # An annotation without a name is one nonetheless, and names no node.
    selected = "" if node is None else node or "\0"
    return Unbound(claim, selected, candidates, _provision(claim, view))


def in_order(unbound: list[Unbound]) -> tuple[Unbound, ...]:
    """The order in which Kubernetes serves them: selected ones as they are, then by size."""
    selected = [one for one in unbound if one.node]
    others = [one for one in unbound if not one.node]
    return (*selected, *sorted(others, key=lambda one: claims.size_asked(one.claim).nano))


def find(unbound: tuple[Unbound, ...], view: View, rows: Rows) -> Found:
    """What becomes of the claims, on each row."""
    count = row_count(view, rows)
    is_open = np.ones(count, np.bool_)
    for one in unbound:
        if one.node:
            is_open &= _is_row(one.node, view, rows)
    is_unmatched, is_short = ~is_open, np.zeros(count, np.bool_)
    taken: dict[str, Int64s] = {}
    lookup = Lookup(view, rows)
    chosen = tuple([_choose(one, taken, lookup) for one in unbound])
    for one, choice in zip(unbound, chosen, strict=True):
        needed = is_open & (choice == NONE)
        if not needed.any():
            continue
        refused = needed & ~_is_allowed(one.provision, view, rows)
        is_unmatched |= refused
        is_open &= ~refused
        if one.provision.segments is not None:
            short = needed & is_open & ~_any(one.provision.segments, view, rows)
            is_short |= short
            is_open &= ~short
    return Found(is_unmatched, is_short, chosen)


def _choose(one: Unbound, taken: dict[str, Int64s], lookup: Lookup) -> npt.NDArray[np.int32]:
    """The first candidate in reach that no other claim of the pod has, by row."""
    choice = np.full(lookup.count, NONE, np.int32)
    looking = lookup.count
    for number, candidate in enumerate(one.candidates):
        at = lookup.positions(candidate.reach)
        at = at[choice[at] == NONE]
        name = candidate.volume.metadata.name
        if name in taken:
            at = at[~np.isin(at, taken[name])]
        if not len(at):
            continue
        choice[at] = number
        taken[name] = np.concatenate((taken[name], at)) if name in taken else at
        looking -= len(at)
        if not looking:
            break
    return choice


def _candidates(claim: PersistentVolumeClaim, view: View) -> tuple[Candidate, ...]:
    selector = None if claim.spec.selector is None else compile_selector(claim.spec.selector)
    asked = claims.size_asked(claim)
    known = view.objects_of(PersistentVolume, claims.claim_class(claim))
    would_do = [one for one in known if _would_do(one, claim) and claims.size_of(one) >= asked]
    ahead = [one for one in would_do if claims.is_bound_to(one, claim)]
    if ahead:
        # Kubernetes takes whichever it meets first.
        return (Candidate(ahead[0], plain_reach(ahead[0])),)
    free = [
        one
        for one in would_do
        if one.status.phase == "Available"
        and (selector is None or selector.matches(one.metadata.labels))
        and set(claim.spec.access_modes) <= set(one.spec.access_modes)
    ]
    free.sort(key=lambda one: (claims.size_of(one).nano, one.metadata.name))
    return tuple(Candidate(one, plain_reach(one)) for one in free)


def _would_do(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """What is asked of a volume that is bound ahead, too; its size apart."""
    mine, its = claim.spec, volume.spec
    return (
        (its.claim_ref is None or claims.is_bound_to(volume, claim))
        and (mine.volume_mode or "Filesystem") == (its.volume_mode or "Filesystem")
        and (mine.volume_attributes_class_name or "") == (its.volume_attributes_class_name or "")
        and volume.metadata.deletion_timestamp is None
    )


def _provision(claim: PersistentVolumeClaim, view: View) -> Provision:
    name = claims.claim_class(claim)
    found = view.object(StorageClass, name)
    if found is None or found.provisioner in ("", claims.NO_PROVISIONER):
        return Provision(is_supported=False)
    topologies = None
    if found.allowed_topologies:
        terms = (
            LabelSelector(
                match_expressions=tuple(
                    LabelSelectorRequirement(key=item.key, operator="In", values=item.values)
                    for item in term.match_label_expressions
                )
            )
            for term in found.allowed_topologies
            if term.match_label_expressions
        )
        topologies = tuple(_sound(terms))
    return Provision(True, topologies, _segments(claim, found, view))


def _segments(
    claim: PersistentVolumeClaim, storage_class: StorageClass, view: View
) -> tuple[LabelMatcher, ...] | None:
    driver = view.object(CSIDriver, storage_class.provisioner)
    if driver is None or not driver.spec.storage_capacity:
        return None
    if claims.STORAGE not in claim.spec.resources.requests:
        return None
    asked = claims.size_asked(claim).value()
    roomy = []
    for capacity in view.objects_of(CSIStorageCapacity, storage_class.metadata.name):
        limit = volume_limit(capacity)
        if limit is not None and limit >= asked and capacity.node_topology is not None:
            roomy.append(capacity.node_topology)
    return tuple(_sound(roomy))


def volume_limit(capacity: CSIStorageCapacity) -> int | None:
    """The largest volume that fits there; None when nobody says."""
    size = capacity.maximum_volume_size
    size = capacity.capacity if size is None else size
    return None if size is None else parse_quantity(size).value()


def _sound(selectors: Iterable[LabelSelector]) -> list[LabelMatcher]:
    """The selectors that are well-formed; the others match nothing."""
    made = []
    for selector in selectors:
        try:
            made.append(compile_selector(selector))
        except ConfigError:
            continue
    return made


def _is_allowed(provision: Provision, view: View, rows: Rows) -> Mask:
    if provision.is_supported and provision.topologies is None:
        return np.ones(row_count(view, rows), np.bool_)
    return _any(provision.topologies or (), view, rows)


def _any(matchers: tuple[LabelMatcher, ...], view: View, rows: Rows) -> Mask:
    mask = np.zeros(row_count(view, rows), np.bool_)
    for matcher in matchers:
        mask |= rows_matching_labels(matcher, view, rows)
    return mask


def _is_row(name: str, view: View, rows: Rows) -> Mask:
    mask = np.zeros(view.size, np.bool_)
    row = view.row(name)
    if row is not None:
        mask[row] = True
    return mask[rows]
