"""The log's tiles, for whoever watches it.

Tiles are C2SP tlog-tiles: hashes, and bundles of leaves, which only commit to what they stand for.
A folder of them, served as it is, is a log that any client of that specification can follow.

Source: c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from herz.commit.audit.checkpoint import by_size, parse_signed
from herz.commit.audit.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    Tile,
    Tree,
    leaf_hash,
    subtree_root,
)
from herz.errors import AuditError, ConfigError, WorldError
from herz.model.journal import Sealed
from herz.world.store.copying import placed
from herz.world.store.evidence import Evidence

_CHECKPOINT: Final = "checkpoint"


def published(source: Evidence, folder: Path, *, with_payloads: bool = False) -> int:
    """Write the tiles of a log as far as its last signed checkpoint, which is written last.

    Tiles that are there stay: full ones never change. `tile/payloads/…` holds salt and payload of
    each entry behind their length, 4 bytes, big-endian; a length of 0 is an erased entry.

    Args:
        source: the journal.
        folder: of this log's tiles, or a new one.
        with_payloads: whether what the leaves commit to is published, too.

    Returns:
        How many entries the checkpoint covers.

    Raises:
        AuditError: an entry is damaged, or entries and checkpoint contradict each other; or the
            tiles that are there are another log's.
        ConfigError: there is no checkpoint.
        WorldError: the disk refused.
    """
    notes = by_size(source.notes())
    if not notes:
        fix = "sign the journal first: herz audit sign"
        raise ConfigError("no checkpoint", where="--journal", value=source.name, fix=fix)
    size, _, note = notes[-1]
    checkpoint, _ = parse_signed(note)
    tree = Tree()
    for group in _groups(source, size):
        tree.extend(b"".join(leaf_hash(entry.leaf) for entry in group))
    if (tree.size, tree.root()) != (size, checkpoint.root):
        raise AuditError(f"the entries are not those of the checkpoint of {size}")
    try:
        _publish(source, folder, size, with_payloads=with_payloads)
        placed(folder / _CHECKPOINT, note)
    except OSError as error:
        raise WorldError(f"cannot write {folder}: {error.strerror or error}") from error
    return size


def _publish(source: Evidence, folder: Path, size: int, *, with_payloads: bool) -> None:
    # Bound: eight levels, one tile each.
    open_tiles = [bytearray()]
    counts = [0]
    for index, group in enumerate(_groups(source, size)):
        tile = Tile(0, index, len(group))
        leaves = b"".join(len(one.leaf).to_bytes(2, "big") + one.leaf for one in group)
        _keep(folder / tile.entries_path, leaves, tile)
        if with_payloads:
            told = b"".join(_payload(one) for one in group)
            path = tile.entries_path.replace("tile/entries", "tile/payloads")
            # Not compared: an erasure takes away what was published before.
            placed(folder / path, told)
        open_tiles[0] += b"".join(leaf_hash(one.leaf) for one in group)
        level = 0
        while len(open_tiles[level]) == TILE_WIDTH * HASH_BYTES:
            full = bytes(open_tiles[level])
            _keep(folder / Tile(level, counts[level]).path, full, Tile(level, counts[level]))
            open_tiles[level].clear()
            counts[level] += 1
            level += 1
            if level == len(open_tiles):
                open_tiles.append(bytearray())
                counts.append(0)
            open_tiles[level] += subtree_root(full)
    for level, part in enumerate(open_tiles):
        if part:
            tile = Tile(level, counts[level], len(part) // HASH_BYTES)
            _keep(folder / tile.path, bytes(part), tile)


def _groups(source: Evidence, size: int) -> Iterator[tuple[Sealed, ...]]:
    entries = (entry for _, entry in source.read(0, size))
    while group := tuple(islice(entries, TILE_WIDTH)):  # Bound: the checkpoint's size.
        yield group


def _payload(entry: Sealed) -> bytes:
    told = b"" if entry.is_erased else entry.salt + entry.payload
    return len(told).to_bytes(4, "big") + told


def _keep(path: Path, data: bytes, tile: Tile) -> None:
    if path.exists():
        if path.read_bytes() != data:
            raise AuditError(f"{path} is another log's: {tile.width} entries differ from ours")
        return
    placed(path, data)
