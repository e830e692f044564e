"""Checkpoints (C2SP tlog-checkpoint): the tree's size and root under the log's name.

The text of a checkpoint is signed as a note (`herz.commit.audit.note`).

Source: c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from herz.commit.audit.note import Note, from_base64, parse_note, to_base64
from herz.commit.audit.tree import EMPTY_ROOT, HASH_BYTES
from herz.errors import AuditError
from herz.model.journal import SIZE_MAX, size_of

SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
"""A size as text: decimal, without leading zeroes."""


class Checkpoint(msgspec.Struct, frozen=True):
    """What a log promises never to contradict.

    Args:
        origin: the log's name, one line.
        size: entries.
        root: of the tree over them, 32 bytes.
        extensions: opaque further lines. Herz writes none.

    Raises:
        AuditError: it cannot be one.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all((self.origin, *self.extensions)):
            raise AuditError("a checkpoint has no empty line")
        if any("\n" in line for line in (self.origin, *self.extensions)):
            raise AuditError("a checkpoint's origin is one line")
        if not 0 <= self.size <= SIZE_MAX or len(self.root) != HASH_BYTES:
            raise AuditError(f"a checkpoint of {self.size} entries with {len(self.root)} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise AuditError("a checkpoint of no entries has another root than the empty tree's")

    @property
    def text(self) -> bytes:
        """What is signed."""
        lines = (self.origin, str(self.size), to_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read a checkpoint's text; strict.

    Raises:
        AuditError: it is none.
    """
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise AuditError(f"a checkpoint is UTF-8: {error}") from error
    if len(lines) < 4 or lines.pop():
        raise AuditError("a checkpoint is at least three lines, each with its newline")
    origin, size, root, *extensions = lines
    if SIZE.fullmatch(size) is None:
        raise AuditError(f"not a tree size: {size[:40]!r}")
    return Checkpoint(origin, int(size), from_base64(root), tuple(extensions))


def parse_signed(data: bytes) -> tuple[Checkpoint, Note]:
    """Read a signed checkpoint; no signature is checked.

    Raises:
        AuditError: it is none.
    """
    note = parse_note(data)
    return parse_checkpoint(note.text), note


def by_size(notes: Iterable[bytes]) -> list[tuple[int, int, bytes]]:
    """Signed checkpoints as (size, place among the given ones, note), smallest first.

    There is one each second: who looks for one that deserves trust must not check them all.

    Raises:
        AuditError: one names no size.
    """
    return sorted((size_of(note), number, note) for number, note in enumerate(notes))


def largest_first(notes: Iterable[bytes]) -> list[bytes]:
    """Signed checkpoints by size; of one size, those that were kept later first.

    Raises:
        AuditError: one names no size.
    """
    return [note for _, _, note in reversed(by_size(notes))]
