"""The log's Merkle tree: plain RFC 6962 over SHA-256, in the tile layout of C2SP tlog-tiles.

Pure functions over hashes. Who has them gives a `HashReader`: memory, tiles in files, or tiles
behind a URL. Entries are hashed here and never kept.

A node is named by its level and its index: level 0 holds the leaves' hashes, and node
(level, index) is the root of the complete subtree over entries `index << level` up to
`(index + 1) << level`.

Source: RFC 6962 section 2.1; RFC 9162 sections 2.1.3.2 and 2.1.4.2 (verification);
c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from herz._native import grow_tree, sha256
from herz.errors import AuditError
from herz.model.journal import SIZE_MAX

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"")
"""The root of the tree without entries."""

PROOF_HASHES_MAX: Final = 63
"""Bound: hashes in a proof (c2sp.org/tlog-witness); a tree of 2^62 entries needs no more."""

HashReader = Callable[[int, int], bytes]
"""Gives the hash of the complete node (level, index).

Raises AuditError, or the outside's own error, where it has none.
"""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return sha256(b"\x01" + left + right)


class Tree:
    """A tree that only grows, kept as the roots of its complete subtrees.

    Args:
        size: how many entries there are already.
        peaks: `peaks` of a tree of that size.
        on_tile_hash: is given each hash of a tile level above 0 when it is complete, as (tile
            level, hash), in the order in which that level's tiles hold them.

    Raises:
        AuditError: as many peaks as `size` has set bits are needed, 32 bytes each.

    Cost: `append` hashes once, amortised; `root` once a set bit of the size
    (`python -m bench.micro.bench_audit_trust`).
    """

    __slots__ = ("_on_tile_hash", "_peaks", "_size")

    def __init__(
        self,
        size: int = 0,
        peaks: Sequence[bytes] = (),
        *,
        on_tile_hash: Callable[[int, bytes], None] | None = None,
    ) -> None:
        is_whole = len(peaks) == size.bit_count() and all(len(p) == HASH_BYTES for p in peaks)
        if not 0 <= size <= SIZE_MAX or not is_whole:
            raise AuditError(f"a tree of {size} entries does not have these {len(peaks)} peaks")
        self._size = size
        # Invariant: one hash for each set bit of the size, largest subtree first.
        self._peaks = list(peaks)
        self._on_tile_hash = on_tile_hash

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._size

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, largest first: all that is needed to go on."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one entry by its `leaf_hash`."""
        peaks, index, level = self._peaks, self._size, 0
        while index & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf)
            index >>= 1
            level += 1
            if level & 7 == 0 and self._on_tile_hash is not None:
                self._on_tile_hash(level >> 3, leaf)
        peaks.append(leaf)
        self._size += 1

    def extend(self, leaves: bytes) -> None:
        """Add entries by their `leaf_hash`es, end to end: as many times `append`."""
        self._peaks, complete = grow_tree(self._size, self._peaks, leaves)
        self._size += len(leaves) // HASH_BYTES
        if self._on_tile_hash is not None:
            for level, found in complete:
                self._on_tile_hash(level, found)

    def root(self) -> bytes:
        """The root over all entries."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            root = sha256(b"\x01" + peak + root)
        return root


class Nodes:
    """All complete nodes of a tree in memory: a `HashReader` for what fits there."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add one entry by its `leaf_hash`."""
        self._levels[0].append(leaf)
        level = 0
        while len(self._levels[level]) % 2 == 0:
            nodes = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append([])
            level += 1
            self._levels[level].append(node_hash(nodes[-2], nodes[-1]))

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete node.

        Raises:
            AuditError: there is no such node, or it is not complete.
        """
        if not 0 <= level < len(self._levels) or not 0 <= index < len(self._levels[level]):
            raise AuditError(f"the tree of {len(self)} entries has no node {index} at {level}")
        return self._levels[level][index]


# ---- roots and proofs -----------------------------------------------------------------------


def root_of(read: HashReader, size: int) -> bytes:
    """The root of the tree over the first `size` entries."""
    return _range_root(read, 0, size) if size else EMPTY_ROOT


def peaks_of(read: HashReader, size: int) -> tuple[bytes, ...]:
    """What `Tree` needs to go on from that size."""
    return tuple(read(level, index) for level, index in _complete(0, size))


def inclusion_proof(read: HashReader, index: int, size: int) -> list[bytes]:
    """The hashes by which entry `index` is shown to be in the tree of `size`; sibling first.

    Raises:
        AuditError: there is no such entry.
    """
    if not 0 <= index < size:
        raise AuditError(f"a tree of {size} entries has no entry {index}")
    low, high, path = 0, size, []
    while high - low > 1:  # Bound: the tree's height.
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_root(read, middle, high))
            high = middle
        else:
            path.append(_range_root(read, low, middle))
            low = middle
    return path[::-1]


def consistency_proof(read: HashReader, old: int, new: int) -> list[bytes]:
    """The hashes by which the tree of `old` is shown to be the beginning of the tree of `new`.

    Returns:
        Empty where nothing needs to be shown: `old` is 0, or the sizes are the same.

    Raises:
        AuditError: `old` is larger than `new`.
    """
    if not 0 <= old <= new:
        raise AuditError(f"a tree of {new} entries does not begin with {old} entries")
    if old in (0, new):
        return []
    low, high, path = 0, new, []
    while old != high:  # Bound: the tree's height.
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range_root(read, middle, high))
            high = middle
        else:
            path.append(_range_root(read, low, middle))
            low = middle
    if low:  # The verifier knows the old tree's root, but no part of it.
        path.append(_range_root(read, low, high))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below the count, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _complete(low: int, high: int) -> Iterator[tuple[int, int]]:
    """The complete nodes that cover entries `low` to `high`, where `low` begins a subtree."""
    while low < high:
        level = (high - low).bit_length() - 1
        yield level, low >> level
        low += 1 << level


def _range_root(read: HashReader, low: int, high: int) -> bytes:
    """The root over some entries; `low` is where RFC 6962 splits, so that nodes are complete."""
    hashes = [read(level, index) for level, index in _complete(low, high)]
    root = hashes.pop()
    while hashes:
        root = node_hash(hashes.pop(), root)
    return root


# ---- verification ---------------------------------------------------------------------------


def check_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that the entry with this `leaf_hash` is entry `index` of the tree of `size`.

    Raises:
        AuditError: it is not shown to be.
    """
    _check_hashes((leaf, root), proof)
    if not 0 <= index < size <= SIZE_MAX:
        raise AuditError(f"a tree of {size} entries has no entry {index}")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise AuditError("the inclusion proof has too many hashes")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise AuditError("the inclusion proof has too few hashes")
    if found != root:
        raise AuditError(f"entry {index} is not in the tree of {size} entries with this root")


def check_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check that the tree of `old` with its root is the beginning of the tree of `new`.

    Raises:
        AuditError: it is not shown to be: entries were changed, removed or reordered.
    """
    _check_hashes((old_root, new_root), proof)
    if not 0 <= old <= new <= SIZE_MAX:
        raise AuditError(f"a tree of {new} entries does not begin with {old} entries")
    if old in (0, new):
        expected = EMPTY_ROOT if old == 0 else new_root
        if proof or old_root != expected or (new == 0 and new_root != EMPTY_ROOT):
            raise AuditError(f"the trees of {old} and {new} entries contradict each other")
        return
    if _roots_of_consistency(old, new, list(proof), old_root) != (old_root, new_root):
        raise AuditError(f"the tree of {old} entries is not the beginning of the tree of {new}")


def _roots_of_consistency(
    old: int, new: int, hashes: list[bytes], old_root: bytes
) -> tuple[bytes, bytes]:
    """The two roots that follow from the proof, for 0 < old < new."""
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    if at == 0:  # The old tree is one complete subtree: its root is what the path begins with.
        hashes.insert(0, old_root)
    if not hashes:
        raise AuditError("the consistency proof has too few hashes")
    old_found = new_found = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise AuditError("the consistency proof has too many hashes")
        if at & 1 or at == last:
            old_found, new_found = node_hash(sibling, old_found), node_hash(sibling, new_found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new_found = node_hash(new_found, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise AuditError("the consistency proof has too few hashes")
    return old_found, new_found


def _check_hashes(given: Sequence[bytes], proof: Sequence[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in (*given, *proof)):
        raise AuditError(f"a hash of the tree has {HASH_BYTES} bytes")
    if len(proof) > PROOF_HASHES_MAX:
        raise AuditError(f"a proof has at most {PROOF_HASHES_MAX} hashes")


# ---- tiles ----------------------------------------------------------------------------------

TILE_WIDTH: Final = 256
"""Hashes of a full tile: a subtree of height 8."""


class Tile(msgspec.Struct, frozen=True, order=True):
    """One tile by its name.

    Args:
        level: 0 for the leaves' hashes; each level stands for 8 levels of the tree.
        index: which one of its level, from 0.
        width: hashes in it, 1 to 256; below 256 it is partial, the last one of its level.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's prefix, such as `tile/0/x001/x234/067.p/112`."""
        return f"tile/{self.level}/{self._tail}"

    @property
    def entries_path(self) -> str:
        """The path of the entry bundle of a tile of level 0."""
        assert self.level == 0
        return f"tile/entries/{self._tail}"

    @property
    def _tail(self) -> str:
        digits = f"{self.index:03d}"
        digits = digits.rjust((len(digits) + 2) // 3 * 3, "0")
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        named = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        return named if self.width == TILE_WIDTH else f"{named}.p/{self.width}"


def tiles_between(old: int, new: int) -> Iterator[Tile]:
    """The tiles to write when a log grows, lower levels first: new ones, and partial ones anew.

    Args:
        old: the size for which all tiles are there.
        new: the size for which they shall be.
    """
    level = 0
    while new >> (8 * level):  # Bound: 8 levels, for 2^62 entries.
        before, after = old >> (8 * level), new >> (8 * level)
        if before < after:
            for index in range(before // TILE_WIDTH, -(-after // TILE_WIDTH)):
                yield Tile(level, index, min(TILE_WIDTH, after - index * TILE_WIDTH))
        level += 1


class TileHashes:
    """A `HashReader` over tiles.

    Args:
        fetch: gives a tile's bytes.
        size: the log's size; tiles of exactly this size are asked for.
    """

    TILES_KEPT: Final = 64
    """Bound: tiles kept in memory, 8 KiB each."""

    def __init__(self, fetch: Callable[[Tile], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._kept: dict[Tile, bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """The hash of a complete node.

        Raises:
            AuditError: there is no such node, or the tile has not as many bytes as it must.
        """
        tile_level, height = level >> 3, level & 7
        first = index << height
        has = self._size >> (8 * tile_level)
        if not 0 <= first < first + (1 << height) <= has:
            raise AuditError(f"the tree of {self._size} entries has no node {index} at {level}")
        number, offset = divmod(first, TILE_WIDTH)
        data = self._tile(Tile(tile_level, number, min(TILE_WIDTH, has - number * TILE_WIDTH)))
        start = offset * HASH_BYTES
        return subtree_root(data[start : start + (HASH_BYTES << height)])

    def _tile(self, tile: Tile) -> bytes:
        data = self._kept.get(tile)
        if data is None:
            data = self._fetch(tile)
            if len(data) != tile.width * HASH_BYTES:
                raise AuditError(f"{tile.path} has {len(data)} bytes, not {tile.width} hashes")
            if len(self._kept) >= self.TILES_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[tile] = data
        return data


def subtree_root(hashes: bytes) -> bytes:
    """The root over concatenated hashes, whose number is a power of two."""
    count = len(hashes) // HASH_BYTES
    assert count.bit_count() == 1
    assert count * HASH_BYTES == len(hashes)
    while len(hashes) > HASH_BYTES:
        pair = 2 * HASH_BYTES
        hashes = b"".join(
            sha256(b"\x01" + hashes[at : at + pair]) for at in range(0, len(hashes), pair)
        )
    return hashes
