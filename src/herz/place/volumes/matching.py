"""Volumes for claims that have none yet: one that is there, or one that can be made on the node.

Source: component-helpers `storage/volume/pv_helpers.go` (`FindMatchingVolume`) and
volumebinding/binder.go (`FindPodVolumes`, `findMatchingVolumes`, `checkVolumeProvisions`,
`hasEnoughCapacity`). All of a pod's claims are answered for all rows at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np

from herz.errors import ConfigError
from herz.model.labels import LabelMatcher, compile_selector
from herz.model.meta import LabelSelector, LabelSelectorRequirement
from herz.model.storage import (
    CSIDriver,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from herz.place.selecting import Mask, rows_matching_labels
from herz.place.volumes import claims
from herz.place.volumes.affinity import plain_reach
from herz.place.volumes.offers import SpaceOffer, VolumeOffer
from herz.place.volumes.reaching import NOWHERE
from herz.place.volumes.storage import storage_of
from herz.plugin import Int64s, Rows, View, row_count

NONE = -1
"""No volume: one has to be made."""


class Provision(NamedTuple):
    """Where a volume for a claim can be made.

    Attributes:
        is_supported: whether the class makes volumes at all.
        topologies: the node must match one; None: every node does.
        space: the class's room, with where there is enough of it; None: nobody keeps count.
    """

    is_supported: bool
    topologies: tuple[LabelMatcher, ...] | None = None
    space: tuple[SpaceOffer, Int64s] | None = None

    @property
    def is_anywhere(self) -> bool:
        """Whether one can be made on every node."""
        return self.is_supported and self.topologies is None and self.space is None


class Unbound(NamedTuple):
    """A claim that waits for its first consumer.

    Attributes:
        claim: the claim.
        node: the node that was selected before; empty when none was.
        ahead: the volume that is bound ahead to the claim: it gets that one or none.
        offer: the class's volumes, with the positions of those that would do; None: none is sought.
        provision: what is needed where none of them can be mounted.

    Positions are of the moment: they stand as long as the class's volumes do (`Based`).
    """

    claim: PersistentVolumeClaim
    node: str
    ahead: PersistentVolume | None
    offer: tuple[VolumeOffer, Int64s] | None
    provision: Provision

    def volume(self, choice: int) -> PersistentVolume:
        """The volume that a choice stands for."""
        if self.ahead is not None:
            return self.ahead
        assert self.offer is not None, "a volume was chosen"
        return self.offer[0].volume(choice)


class Found(NamedTuple):
    """The answer, by row.

    Attributes:
        is_unmatched: no volume is there and none can be made.
        is_short: there is not enough free storage to make one.
        chosen: by claim in the order of `unbound`: for `Unbound.volume`, or NONE.
    """

    is_unmatched: Mask
    is_short: Mask
    chosen: tuple[Int64s, ...]


def look_up(claim: PersistentVolumeClaim, view: View) -> Unbound:
    """All that is to know about a claim, whatever the node.

    Raises:
        ConfigError: its selector or a quantity is malformed.
    """
    node = claim.metadata.annotations.get(claims.SELECTED_NODE)
    # An annotation without a name is one nonetheless, and names no node.
    selected = "" if node is None else node or "\0"
    provision = _provision(claim, view)
    if selected:
        return Unbound(claim, selected, None, None, provision)
    offer = storage_of(view).volumes(claims.claim_class(claim))
    ahead = offer.ahead(claim)
    if ahead is not None:
        return Unbound(claim, selected, ahead, None, provision)
    suitable = offer.suitable(claim)
    return Unbound(claim, selected, None, (offer, suitable) if len(suitable) else None, provision)


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
    taken: dict[Hashable, list[Int64s]] = {}
    chosen = tuple([_choose(one, taken, view, rows) for one in unbound])
    for one, choice in zip(unbound, chosen, strict=True):
        needed = is_open & (choice == NONE)
        if not needed.any():
            continue
        refused = needed & ~_is_allowed(one.provision, view, rows)
        is_unmatched |= refused
        is_open &= ~refused
        if one.provision.space is not None:
            space, roomy = one.provision.space
            is_roomy = space.reaches.first(roomy, view, rows) != NOWHERE
            short = needed & is_open & ~is_roomy
            is_short |= short
            is_open &= ~short
    return Found(is_unmatched, is_short, chosen)


def _choose(one: Unbound, taken: dict[Hashable, list[Int64s]], view: View, rows: Rows) -> Int64s:
    """The first volume in reach that no other claim of the pod has, by row.

    Args:
        one: the claim.
        taken: what the claims before it chose, by what they chose from; this one's is added.
        view: the nodes.
        rows: which of them.
    """
    if one.ahead is not None:
        before = taken.setdefault(one.ahead.metadata.name, [])
        is_there = plain_reach(one.ahead).rows(view, rows)
        for other in before:
            is_there &= other == NONE
        choice = np.where(is_there, 0, NONE)
    elif one.offer is not None:
        offer, suitable = one.offer
        before = taken.setdefault(offer, [])
        first = offer.reaches.first(suitable, view, rows, before)
        choice = np.where(first == NOWHERE, NONE, first)
    else:
        return np.full(row_count(view, rows), NONE, np.int64)
    before.append(choice)
    return choice


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
    return Provision(True, topologies, _space(claim, found, view))


def _space(
    claim: PersistentVolumeClaim, storage_class: StorageClass, view: View
) -> tuple[SpaceOffer, Int64s] | None:
    driver = view.object(CSIDriver, storage_class.provisioner)
    if driver is None or not driver.spec.storage_capacity:
        return None
    if claims.STORAGE not in claim.spec.resources.requests:
        return None
    space = storage_of(view).space(storage_class.metadata.name)
    return space, space.roomy(claims.size_asked(claim).value())


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
