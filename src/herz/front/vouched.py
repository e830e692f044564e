"""What trust files, checkpoints and a journal's own tree say of its entries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from herz.commit.audit.checkpoint import Checkpoint, parse_checkpoint, parse_signed
from herz.commit.audit.tree import (
    TILE_WIDTH,
    HashReader,
    Nodes,
    Tile,
    TileHashes,
    leaf_hash,
    root_of,
)
from herz.commit.audit.trust import Bracket, Trust, bracket, parse_trust
from herz.errors import AuditError, ConfigError

if TYPE_CHECKING:
    from herz.world.store.evidence import Evidence
    from herz.world.store.index import Index

FILE_BYTES_MAX: Final = 16 << 20
"""Bound of a proof, a checkpoint or a trust file that is read."""


def read_file(path: str, *, option: str) -> bytes:
    """The bytes of a file that somebody names.

    Raises:
        ConfigError: it cannot be read, or is too long.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot be read: {reason}", where=option, value=path, fix="name a file that is there"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError("too long", where=option, value=path, fix="name the right file")
    return data


def read_trust(path: str) -> Trust:
    """The trust file.

    Raises:
        ConfigError: it is not one.
    """
    return parse_trust(read_file(path, option="--trust"), where=path)


def read_checkpoint(path: str) -> Checkpoint:
    """A checkpoint that somebody remembered: signed, or its text alone.

    Raises:
        ConfigError: it is none.
    """
    data = read_file(path, option="--since")
    try:
        return parse_signed(data)[0] if b"\n\n" in data else parse_checkpoint(data)
    except AuditError as error:
        raise ConfigError(
            f"not a checkpoint: {error}",
            where="--since",
            value=path,
            fix="give a file with a checkpoint, as herz audit sign prints one",
        ) from error


def logged(index: Index, entry: int, trust: Trust) -> Bracket:
    """Between which times an entry was logged, by the clocks of witnesses."""
    return bracket(index.before(entry), index.covering(entry), trust)


def logged_text(times: Bracket) -> str:
    """The same in words."""
    after, before = (_utc(time_s) for time_s in (times.after_s, times.before_s))
    return f"logged after {after} and before {before}, by witnesses' clocks"


def _utc(time_s: int) -> str:
    if not time_s:
        return "an unknown time"
    try:
        return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{time_s} s since 1970"


def checkpoint_of(note: bytes) -> Checkpoint:
    """The checkpoint of a note that was kept."""
    return parse_signed(note)[0]


def hashes_of(reader: Evidence, size: int, root: bytes | None) -> HashReader:
    """The tree over the first entries: from the hashes that are kept, if they give that root.

    Raises:
        AuditError: entries are missing or damaged, or the tree has another root.
    """
    kept = TileHashes(lambda tile: _tile(reader, tile), size)
    try:
        if root is not None and root_of(kept, size) == root:
            return kept
    except AuditError:
        pass  # Hashes are missing: they follow from the entries.
    nodes = Nodes(leaf_hash(entry.leaf) for _, entry in reader.read(0, size))
    if len(nodes) != size:
        raise AuditError(f"a checkpoint covers {size} entries, but {len(nodes)} are there")
    if root is not None and root_of(nodes, size) != root:
        raise AuditError(f"the first {size} entries are not those of their checkpoint")
    return nodes


def _tile(reader: Evidence, tile: Tile) -> bytes:
    return reader.read_hashes(tile.level, tile.index * TILE_WIDTH, tile.width)
