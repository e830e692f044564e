"""Segment files as bytes: a header, then batches of entries, each covered by checksums.

    segment   "HERZSEG1"  first u64  zeros 12  crc32              of the 28 bytes before it
    batch     "HZBT"  count u32  first u64  term u64  length u32  crc32
    entry     crc32  length u32  state u8  leaf 50  salt 32  payload   crc32 of what follows it

Numbers are big-endian. A batch is what one append wrote. In an erased entry (state 1) salt and
payload are zeros. Every byte of a file is under a checksum, so that damage has a place; who
changes a byte and its checksum is found by the tree (`herz.commit.audit`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from struct import Struct
from typing import Final, NamedTuple

from herz._native import open_entries
from herz.errors import AuditError
from herz.model import journal
from herz.model.journal import LEAF_BYTES, SALT_BYTES, Sealed

SEGMENT: Final = Struct(">8sQ12xI")
BATCH: Final = Struct(">4sIQQII")
SEGMENT_MAGIC: Final = b"HERZSEG1"
BATCH_MAGIC: Final = b"HZBT"
FRAME_BYTES: Final = 9 + LEAF_BYTES + SALT_BYTES
"""Of an entry without its payload."""
PAYLOAD_BYTES_MAX: Final = 64 << 20
"""Bound of one entry; an object of the API has at most 1.5 MiB."""

_KEPT: Final = b"\0"
_ERASED: Final = b"\1"
_crc = zlib.crc32
_sealed = partial(tuple.__new__, Sealed)
"""What `Sealed._make` does, without a Python function for each entry."""


class DamageError(AuditError):
    """Bytes of a segment are not what was written.

    Args:
        what: what is wrong.
        index: the first entry that cannot be read.
        offset: where in the file its batch, or the entry, begins.
    """

    def __init__(self, what: str, index: int, offset: int) -> None:
        self.index = index
        self.offset = offset
        super().__init__(f"entry {index}: {what}, at byte {offset}")


class CutOffError(DamageError):
    """The file ends inside a batch: its append was cut off, or the file was."""


class Batch(NamedTuple):
    """The header of a batch, and where its entries begin and end in the file."""

    entries: int
    first: int
    term: int
    start: int
    end: int


def segment_header(first: int) -> bytes:
    """The header of the segment that begins with this entry."""
    head = SEGMENT.pack(SEGMENT_MAGIC, first, 0)[:-4]
    return head + _crc(head).to_bytes(4, "big")


def framed(entries: Sequence[Sealed]) -> journal.Batch:
    """Entries in their frames; what `herz._native.seal_entries` does as it seals them."""
    parts: list[bytes] = []
    for leaf, salt, payload in entries:
        rest = b"".join((len(payload).to_bytes(4, "big"), _KEPT, leaf, salt, payload))
        parts += (_crc(rest).to_bytes(4, "big"), rest)
    return journal.Batch(len(entries), b"".join(parts))


def batch_header(batch: journal.Batch, first: int, term: int) -> bytes:
    """What stands before the frames of a batch that begins with that entry."""
    head = BATCH.pack(BATCH_MAGIC, batch.entries, first, term, len(batch.frames), 0)[:-4]
    return head + _crc(head).to_bytes(4, "big")


def check_segment(data: bytes, first: int) -> None:
    """Check a segment's header.

    Raises:
        DamageError: it is not the header of the segment that begins with that entry.
    """
    if bytes(data[: SEGMENT.size]) != segment_header(first):
        raise DamageError("the segment's header is damaged", first, 0)


def read_batch(data: bytes, offset: int, first: int) -> Batch:
    """The header of the batch at an offset; `first` is the entry that it must begin with.

    Raises:
        DamageError: it is none, or is cut off.
    """
    head = bytes(data[offset : offset + BATCH.size])
    if len(head) < BATCH.size:
        raise CutOffError("the file ends inside a batch's header", first, offset)
    magic, count, begins, term, length, crc = BATCH.unpack(head)
    if magic != BATCH_MAGIC or crc != _crc(head[:-4]):
        raise DamageError("a batch's header is damaged", first, offset)
    if begins != first:
        what = f"the batch begins with entry {begins}: entries were removed, inserted or reordered"
        raise DamageError(what, first, offset)
    start = offset + BATCH.size
    if start + length > len(data):
        raise CutOffError("the file ends inside the batch", first, offset)
    return Batch(count, begins, term, start, start + length)


def entries_of(data: bytes, batch: Batch, *, is_part: bool = False) -> Iterator[tuple[int, Sealed]]:
    """Where each entry of a batch begins, and the entry.

    Args:
        data: what the batch's `start` and `end` are places in.
        batch: the batch.
        is_part: whether entries may follow that are not asked for.

    Raises:
        DamageError: at the first that is damaged or cut off.
    """
    offset, index = batch.start, batch.first
    for parts, end in open_entries(data, batch.start, batch.entries):
        if end > batch.end:
            raise DamageError("its length is beyond the batch's", index, offset)
        yield offset, _sealed(parts)
        offset = end
        index += 1
    if index < batch.first + batch.entries:
        beyond = offset + FRAME_BYTES + _payload_bytes(data, offset) > min(batch.end, len(data))
        what = "its length is wrong, or the file ends" if beyond else "its checksum is wrong"
        raise DamageError(what, index, offset)
    if offset != batch.end and not is_part:
        raise DamageError("the batch is longer than its entries", index, offset)


def frames_of(data: bytes, batch: Batch) -> Iterator[tuple[int, int]]:
    """Where each entry of a batch begins and ends, in the order of the entries.

    Raises:
        DamageError: at the first that is damaged.
    """
    for offset, _ in entries_of(data, batch):
        yield offset, offset + FRAME_BYTES + _payload_bytes(data, offset)


def _payload_bytes(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset + 4 : offset + 8], "big")


def erased(frame: bytes) -> bytes:
    """An entry's bytes in the file, as they are once salt and payload are gone."""
    size = len(frame) - FRAME_BYTES
    leaf = frame[9 : 9 + LEAF_BYTES]
    rest = b"".join((frame[4:8], _ERASED, leaf, bytes(SALT_BYTES + size)))
    return _crc(rest).to_bytes(4, "big") + rest


def later_batch(data: bytes, offset: int, first: int) -> int | None:
    """The first entry of a sound batch header beyond an offset, which begins later; None: none."""
    whole = bytes(data[offset + 1 :])
    at = whole.find(BATCH_MAGIC)
    while at >= 0:
        head = whole[at : at + BATCH.size]
        if len(head) == BATCH.size:
            _, _, begins, _, _, crc = BATCH.unpack(head)
            if crc == _crc(head[:-4]) and begins > first:
                return int(begins)
        at = whole.find(BATCH_MAGIC, at + 1)
    return None
