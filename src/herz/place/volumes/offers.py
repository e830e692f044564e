"""What a storage class has to offer: its volumes that are there, and room to make others.

Both are brought up to date when somebody asks, at the cost of what changed since, and not of what
is there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.model.labels import NodeMatcher, NodeTermMatcher, compile_selector
from herz.model.quantity import parse_quantity
from herz.model.storage import CSIStorageCapacity, PersistentVolume, PersistentVolumeClaim
from herz.place.columns import NodeTable
from herz.place.intern import Interned
from herz.place.volumes import claims
from herz.place.volumes.affinity import NO_NODES, Reach, plain_reach
from herz.place.volumes.reaching import Reaches
from herz.plugin import Int64s

_AT_ONCE_MAX: Final = 64
"""More changes than that between two questions, and everything is read anew."""

Key: TypeAlias = tuple[int, str]
"""Size in billionths and name: smaller volumes come first."""


class _Kind(NamedTuple):
    """What of a volume a claim compares with its own wishes, besides size and labels."""

    mode: str
    attributes_class: str
    access: frozenset[str]


class VolumeOffer:
    """The volumes of one class: the free ones smallest first, then by name."""

    def __init__(self, nodes: NodeTable) -> None:
        self.reaches = Reaches(nodes)
        self._keys: list[Key] = []
        self._volumes: list[PersistentVolume] = []
        self._key_of: dict[str, Key] = {}
        self._kind: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._label: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._kinds: Interned[_Kind | None] = Interned(None)
        self._labels: Interned[tuple[tuple[str, str], ...]] = Interned(())
        # The volumes that are bound, or bound ahead; and their names by the claim's key.
        self._taken: dict[str, PersistentVolume] = {}
        self._ahead: dict[str, set[str]] = {}
        # Volumes whose size does not read, by name: they are no guess of ours.
        self._malformed: dict[str, ConfigError] = {}
        self._changed: dict[str, PersistentVolume | None] = {}

    def change(self, name: str, volume: PersistentVolume | None) -> None:
        """A volume came or changed; None: it is gone, or of another class now."""
        self._changed[name] = volume

    def volume(self, at: int) -> PersistentVolume:
        """The volume at a position."""
        return self._volumes[at]

    def ahead(self, claim: PersistentVolumeClaim) -> PersistentVolume | None:
        """The volume that already names the claim, and would do for it.

        Raises:
            ConfigError: a quantity is malformed.
        """
        self._settle()
        asked = claims.size_asked(claim).nano
        # Tie: Kubernetes takes whichever it meets first.
        for name in sorted(self._ahead.get(claim.metadata.key, ())):
            volume = self._taken[name]
            is_like = _kind_of(volume)[:2] == _wanted(claim)[:2]
            is_kept = volume.metadata.deletion_timestamp is None
            is_large = claims.size_of(volume).nano >= asked
            if is_like and is_kept and is_large and claims.is_bound_to(volume, claim):
                return volume
        return None

    def suitable(self, claim: PersistentVolumeClaim) -> Int64s:
        """The positions of the free volumes that would do for the claim.

        Raises:
            ConfigError: its selector or a quantity is malformed.
        """
        self._settle()
        for name in sorted(self._malformed):
            raise self._malformed[name]
        start = bisect_left(self._keys, (claims.size_asked(claim).nano, ""))
        if start == len(self._keys):
            return np.zeros(0, np.int64)
        wanted = _wanted(claim)
        do = [
            kind is not None and kind[:2] == wanted[:2] and wanted.access <= kind.access
            for kind in self._kinds.things
        ]
        is_good = np.array(do, np.bool_)[self._kind[start:]]
        if claim.spec.selector is not None:
            selector = compile_selector(claim.spec.selector)
            match = [selector.matches(dict(labels)) for labels in self._labels.things]
            is_good &= np.array(match, np.bool_)[self._label[start:]]
        return np.flatnonzero(is_good) + start

    def _settle(self) -> None:
        """Take in what changed."""
        changed = self._changed
        if not changed:
            return
        self._changed = {}
        if len(changed) > _AT_ONCE_MAX or self.reaches.is_overgrown or self._is_overgrown():
            held = {volume.metadata.name: volume for volume in self._volumes} | self._taken
            for name, volume in changed.items():
                held.pop(name, None)
                self._malformed.pop(name, None)
                if volume is not None:
                    held[name] = volume
            self._read(held.values())
            return
        for name, volume in changed.items():
            self._put(name, volume)

    def _is_overgrown(self) -> bool:
        known = max(len(self._kinds.things), len(self._labels.things))
        return known > 2 * len(self._keys) + _AT_ONCE_MAX

    def _read(self, volumes: Iterable[PersistentVolume]) -> None:
        self._ahead, self._taken = {}, {}
        sized = [(key, one) for one in volumes if (key := self._take(one)) is not None]
        sized.sort(key=lambda one: one[0])
        self._kinds, self._labels = Interned(None), Interned(())
        self._keys = [key for key, _ in sized]
        self._volumes = [volume for _, volume in sized]
        self._key_of = {key[1]: key for key in self._keys}
        self._kind = np.array([self._kind_number(one) for one in self._volumes], np.int32)
        self._label = np.array([self._label_number(one) for one in self._volumes], np.int32)
        self.reaches.put_all([plain_reach(one) for one in self._volumes])

    def _put(self, name: str, volume: PersistentVolume | None) -> None:
        self._malformed.pop(name, None)
        if name in self._taken:
            self._give_back(self._taken.pop(name))
        key = None if volume is None else self._take(volume)
        old = self._key_of.get(name)
        if old is not None and old != key:
            self._delete(self._at(old))
        if key is None or volume is None:
            return
        at = self._at(key)
        if old != key:
            self._keys.insert(at, key)
            self._volumes.insert(at, volume)
            self._key_of[name] = key
            self._kind = np.insert(self._kind, at, 0)
            self._label = np.insert(self._label, at, 0)
            self.reaches.insert(at, plain_reach(volume))
        else:
            self._volumes[at] = volume
            self.reaches.replace(at, plain_reach(volume))
        self._kind[at] = self._kind_number(volume)
        self._label[at] = self._label_number(volume)

    def _delete(self, at: int) -> None:
        del self._key_of[self._keys[at][1]], self._keys[at], self._volumes[at]
        self._kind = np.delete(self._kind, at)
        self._label = np.delete(self._label, at)
        self.reaches.delete(at)

    def _at(self, key: Key) -> int:
        return bisect_left(self._keys, key)

    def _take(self, volume: PersistentVolume) -> Key | None:
        """Where a free volume belongs; None when it is not free, and kept elsewhere or not."""
        name, reference = volume.metadata.name, volume.spec.claim_ref
        try:
            key = claims.size_of(volume).nano, name
        except ConfigError as error:
            self._malformed[name] = error
            return None
        if reference is not None:
            self._taken[name] = volume
            claim = f"{reference.namespace}/{reference.name}"
            self._ahead.setdefault(claim, set()).add(name)
        return key if _is_free(volume) else None

    def _kind_number(self, volume: PersistentVolume) -> int:
        return self._kinds.number(_kind_of(volume))

    def _label_number(self, volume: PersistentVolume) -> int:
        return self._labels.number(tuple(sorted(volume.metadata.labels.items())))

    def _give_back(self, volume: PersistentVolume) -> None:
        reference = volume.spec.claim_ref
        assert reference is not None, "it was taken"
        claim = f"{reference.namespace}/{reference.name}"
        names = self._ahead[claim]
        names.discard(volume.metadata.name)
        if not names:
            del self._ahead[claim]


class SpaceOffer:
    """In which parts of the cluster drivers have how much room for a class."""

    def __init__(self, nodes: NodeTable) -> None:
        self.reaches = Reaches(nodes)
        self._names: list[str] = []
        self._at: dict[str, int] = {}
        self._largest: Int64s = np.zeros(0, np.int64)
        self._known: dict[str, CSIStorageCapacity] = {}
        self._malformed: dict[str, ConfigError] = {}
        self._changed: dict[str, CSIStorageCapacity | None] = {}

    def change(self, name: str, capacity: CSIStorageCapacity | None) -> None:
        """A capacity came or changed; None: it is gone, or of another class now."""
        self._changed[name] = capacity

    def roomy(self, asked: int) -> Int64s:
        """The positions at which a volume of that size fits.

        Raises:
            ConfigError: a quantity is malformed.
        """
        self._settle()
        for name in sorted(self._malformed):
            raise self._malformed[name]
        return np.flatnonzero(self._largest >= max(asked, 0))

    def _settle(self) -> None:
        changed, self._changed = self._changed, {}
        is_new = False
        for name, capacity in changed.items():
            is_new |= (name in self._known) != (capacity is not None)
            if capacity is None:
                self._known.pop(name, None)
                self._malformed.pop(name, None)
            else:
                self._known[name] = capacity
        if is_new or self.reaches.is_overgrown or len(changed) > _AT_ONCE_MAX:
            self._read()
            return
        for name, capacity in changed.items():
            if capacity is not None:
                at = self._at[name]
                self._largest[at] = self._limit(name, capacity)
                self.reaches.replace(at, _where(capacity))

    def _read(self) -> None:
        self._at = {name: at for at, name in enumerate(self._known)}
        limits = [self._limit(name, one) for name, one in self._known.items()]
        self._largest = np.array(limits, np.int64)
        self.reaches.put_all([_where(one) for one in self._known.values()])

    def _limit(self, name: str, capacity: CSIStorageCapacity) -> int:
        """Below any size that is asked for where nobody says how much, or where."""
        self._malformed.pop(name, None)
        try:
            limit = None if capacity.node_topology is None else volume_limit(capacity)
        except ConfigError as error:
            self._malformed[name] = error
            limit = None
        return -1 if limit is None else limit


def volume_limit(capacity: CSIStorageCapacity) -> int | None:
    """The largest volume that fits there; None when nobody says."""
    size = capacity.maximum_volume_size
    size = capacity.capacity if size is None else size
    return None if size is None else parse_quantity(size).value()


def _where(capacity: CSIStorageCapacity) -> Reach:
    try:
        matcher = compile_selector(capacity.node_topology)
    except ConfigError:
        # A malformed selector matches nothing.
        return NO_NODES
    return Reach(NodeMatcher((NodeTermMatcher(matcher),)))


def _is_free(volume: PersistentVolume) -> bool:
    return (
        volume.spec.claim_ref is None
        and volume.status.phase == "Available"
        and volume.metadata.deletion_timestamp is None
    )


def _kind_of(volume: PersistentVolume) -> _Kind:
    spec = volume.spec
    attributes = spec.volume_attributes_class_name or ""
    return _Kind(spec.volume_mode or "Filesystem", attributes, frozenset(spec.access_modes))


def _wanted(claim: PersistentVolumeClaim) -> _Kind:
    spec = claim.spec
    attributes = spec.volume_attributes_class_name or ""
    return _Kind(spec.volume_mode or "Filesystem", attributes, frozenset(spec.access_modes))
