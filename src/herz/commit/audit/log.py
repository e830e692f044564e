"""The writer of the journal: entries are sealed, put into the tree, and kept with one append.

`commit` is what makes decisions durable: all entries of a step go to the disk together, and only
then may its effects leave. After a failure nothing is written any more, and nothing is bound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from herz._native import seal_entries
from herz.commit.audit.chain import NO_RECORD
from herz.commit.audit.checkpoint import Checkpoint, parse_signed
from herz.commit.audit.entry import Content, decode, encode, kind_of
from herz.commit.audit.tree import (
    HASH_BYTES,
    TILE_WIDTH,
    Tile,
    TileHashes,
    Tree,
    leaf_hash,
    peaks_of,
    root_of,
)
from herz.errors import AuditError, WorldError
from herz.model.journal import SALT_BYTES, VERSION, Batch, Kind
from herz.model.record import Record
from herz.ports import Store, Sync

PENDING_BYTES_MAX: Final = 8 << 20
"""Bound of what waits for the next commit; more is written, but not synced, before."""
CHECKPOINT_EVERY: Final = 1_000
"""Entries after which a checkpoint is signed at the latest."""
_LEAVES_AT_ONCE: Final = 4_096
_T = TypeVar("_T")

Salts = Callable[[int], bytes]
"""Gives so many random bytes."""
Notary = Callable[[Checkpoint], bytes]
"""Signs a checkpoint: the note."""


class SignerError(WorldError):
    """The signer cannot sign now; the journal itself is sound."""


class Log:
    """A journal that is being written.

    Args:
        store: where it is kept.
        salts: gives random bytes; no decision depends on them.
        origin: the log's name, in its checkpoints.
        notary: signs checkpoints; None: there are none.

    Raises:
        AuditError: the store's entries contradict its last checkpoint.
    """

    def __init__(
        self, store: Store, salts: Salts, origin: str, notary: Notary | None = None
    ) -> None:
        self.store = store
        self.origin = origin
        self._salts = salts
        self._notary = notary
        # What waits for the next commit: two lists, for a pair each would be garbage to look at.
        self._kinds = bytearray()
        self._payloads: list[bytes] = []
        # Bound: `PENDING_BYTES_MAX`, checked in `add`.
        self._pending_bytes = 0
        self._failed = ""
        # By level, the tree's hashes that are complete since the last append.
        self._tiles: dict[int, list[bytes]] = {}
        self._tree = Tree(on_tile_hash=self._note)
        self._signed = 0
        # The size at which signing was tried last.
        self._tried = 0
        self._resume()
        self._next = self._tree.size

    @property
    def size(self) -> int:
        """How many entries there are, those that wait for the next commit included."""
        return self._next

    @property
    def committed(self) -> int:
        """How many entries are committed."""
        return self._tree.size

    @property
    def signed(self) -> int:
        """How many entries, from the first, a checkpoint covers."""
        return self._signed

    @property
    def recovered(self) -> str:
        """What had to be mended before the run, in words; empty when nothing."""
        return self.store.recovered

    @property
    def root(self) -> bytes:
        """The root of the tree over the entries that are committed."""
        return self._tree.root()

    def last_record(self) -> tuple[int, str]:
        """Number and digest (hex) of the last record that is committed; 0 and zeros: none is.

        Cost: reads backwards, in growing parts, to the last record.

        Raises:
            AuditError: it is erased.
        """
        end, span = self._tree.size, 256
        while end > 0:  # Bound: the log's length.
            first = max(0, end - span)
            for _, entry in reversed(list(self.store.read(first, end))):
                if entry.leaf[1] == Kind.RECORD:
                    if entry.is_erased:
                        raise AuditError("the last record is erased: no chain can go on from it")
                    content = decode(Kind.RECORD, entry.payload)
                    assert isinstance(content, Record), "as its kind says"
                    return content.sequence, hashlib.sha3_384(entry.payload).hexdigest()
            end, span = first, span * 4
        return 0, NO_RECORD

    def write(self, content: Content) -> int:
        """Add an entry that says this; its index."""
        return self.add(kind_of(content), encode(content))

    def add(self, kind: Kind, payload: bytes) -> int:
        """Add an entry; its index. The next `commit` makes it durable.

        Raises:
            WorldError: the store has failed.
        """
        index = self._next
        self._next = index + 1
        self._kinds.append(kind)
        self._payloads.append(payload)
        self._pending_bytes += len(payload)
        if self._pending_bytes > PENDING_BYTES_MAX:
            self.begin(sync=False)
        return index

    def commit(self, *, sync: bool = True) -> None:
        """Keep what was added, with one append and, if asked, one sync.

        Raises:
            WorldError: the store has failed, or somebody else writes the journal now.
        """
        self._keep(lambda batch, size: self.store.append(batch, expected=size, sync=sync))

    def begin(self, *, sync: bool) -> Sync | None:
        """As `commit`, without waiting; see `herz.ports.Store.begin`."""
        return self._keep(lambda batch, size: self.store.begin(batch, expected=size, sync=sync))

    def _keep(self, act: Callable[[Batch, int], _T]) -> _T:
        if self._failed:
            raise WorldError(f"the journal is not written any more: {self._failed}")
        kinds, payloads = bytes(self._kinds), self._payloads
        self._kinds.clear()
        self._payloads, self._pending_bytes = [], 0
        salts = self._salts(SALT_BYTES * len(payloads))
        frames, hashes = seal_entries(VERSION, kinds, salts, payloads)
        try:
            found = act(Batch(len(payloads), frames), self._tree.size)
            self._grow(hashes)
            if self._tree.size - max(self._signed, self._tried) >= CHECKPOINT_EVERY:
                self.try_to_sign()
        except Exception as error:
            self._failed = str(error)
            raise
        return found

    def try_to_sign(self) -> str:
        """Sign a checkpoint, if the signer can now.

        Returns:
            Why it could not; empty where it could, or nothing is to be signed. How long a signer
            may be away is the proof mode's matter (`exposure`).

        Raises:
            WorldError: the store failed.
        """
        self._tried = self._tree.size
        try:
            self.sign()
        except SignerError as error:
            return str(error)
        return ""

    def sign(self) -> None:
        """Sign a checkpoint over what is committed, if there is anything new and a signer.

        Raises:
            SignerError: the signer failed.
            WorldError: the store failed.
        """
        size = self._tree.size
        if self._notary is None or size == self._signed:
            return
        if not self.store.is_for_certain:
            # What is signed must be there after a crash, or the log forks.
            self.store.append(Batch(0, b""), expected=size, sync=True)
        try:
            note = self._notary(Checkpoint(self.origin, size, self._tree.root()))
        except WorldError as error:
            raise SignerError(str(error), is_retryable=error.is_retryable) from error
        self.store.keep_note(note)
        self._signed = size

    # ---- the tree ---------------------------------------------------------------------------

    def _grow(self, leaves: bytes) -> None:
        if not leaves:
            return
        first = self._tree.size
        self._tree.extend(leaves)
        self.store.keep_hashes(0, first, leaves)
        for level, hashes in self._tiles.items():
            if hashes:
                begins = (self._tree.size >> 8 * level) - len(hashes)
                self.store.keep_hashes(level, begins, b"".join(hashes))
                hashes.clear()

    def _resume(self) -> None:
        """Make the tree over what the store has.

        The hashes that were kept count up to the last checkpoint, whose root they must give;
        they are made anew from there, or, if they do not, from the beginning.

        Raises:
            AuditError: the entries are fewer than the last checkpoint covers, or others.
        """
        notes = self.store.notes()
        if not notes:
            self._read(0, None)
            return
        # Cosigned checkpoints are kept again, when newer ones may be there.
        last = max((parse_signed(note)[0] for note in notes), key=lambda each: each.size)
        if last.size > self.store.size:
            raise AuditError(
                f"{self.store.size} entries are there, but a checkpoint covers {last.size}: "
                "entries that were acknowledged are missing"
            )
        kept = TileHashes(self._tile, last.size)
        try:
            is_sound = root_of(kept, last.size) == last.root
        except AuditError:
            is_sound = False  # Hashes are missing.
        if is_sound:
            self._tree = Tree(last.size, peaks_of(kept, last.size), on_tile_hash=self._note)
        else:
            self._read(0, last.size)
        if self._tree.root() != last.root:
            raise AuditError(f"the first {last.size} entries are not those of their checkpoint")
        self._signed = last.size
        self._read(last.size, None)

    def _read(self, first: int, end: int | None) -> None:
        leaves = bytearray()
        for _, entry in self.store.read(first, end):
            leaves += leaf_hash(entry.leaf)
            if len(leaves) == _LEAVES_AT_ONCE * HASH_BYTES:
                self._grow(bytes(leaves))
                leaves.clear()
        self._grow(bytes(leaves))

    def _note(self, level: int, found: bytes) -> None:
        self._tiles.setdefault(level, []).append(found)

    def _tile(self, tile: Tile) -> bytes:
        return self.store.read_hashes(tile.level, tile.index * TILE_WIDTH, tile.width)
