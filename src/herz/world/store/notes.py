"""The file of a journal's signed checkpoints: one note after another, each with checksums.

The header has a checksum of its own, so that a flipped bit in a length is no append that a crash
cut off. Whoever appends holds the file's lock, and takes away what was cut off before.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path
from struct import Struct
from typing import Final

from herz.errors import AuditError, WorldError

_HEADER: Final = Struct(">III")
"""Length of the note, its CRC-32, and the CRC-32 of these eight bytes."""


class NoteFile:
    """The signed checkpoints of one journal.

    Args:
        path: the file; made at the first note.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Where the last note that this process knows ends; another process may have added some.
        self._end = -1

    def read(self) -> list[bytes]:
        """The notes in order; see `read_from`."""
        return [note for _, note in self.read_from(0)]

    def read_from(self, place: int) -> list[tuple[int, bytes]]:
        """The notes from a place on, each with its own; one that is cut off was not kept.

        Raises:
            AuditError: one is damaged.
            WorldError: the file cannot be read.
        """
        return notes_of(self._bytes(place), self._path, place)[0]

    def at(self, place: int) -> bytes | None:
        """The note at a place; None where none was kept.

        Raises:
            AuditError: it is damaged.
            WorldError: the file cannot be read.
        """
        head = self._bytes(place, _HEADER.size)
        length = int.from_bytes(head[:4], "big")
        found, _ = notes_of(self._bytes(place, len(head) + length), self._path, place)
        return found[0][1] if found else None

    def _bytes(self, place: int, most: int = -1) -> bytes:
        try:
            with open(self._path, "rb") as file:
                file.seek(place)
                return file.read(most)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise WorldError(f"cannot read {self._path}: {error.strerror}") from error

    def append(self, note: bytes) -> None:
        """Keep one more note; it is on the disk when this returns.

        Raises:
            AuditError: what is there is damaged.
            WorldError: the disk refused.
        """
        try:
            self._append(note)
        except OSError as error:
            self._end = -1
            raise WorldError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _append(self, note: bytes) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size != self._end:
                self._end = notes_of(file.readall(), self._path)[1]
                file.truncate(self._end)
            file.seek(self._end)
            data = framed(note)
            if file.write(data) != len(data):
                raise OSError(0, "the disk took only a part")
            os.fdatasync(descriptor)
            self._end += len(data)


def framed(note: bytes) -> bytes:
    """The note as it stands in the file."""
    head = _HEADER.pack(len(note), zlib.crc32(note), 0)[:8]
    return head + zlib.crc32(head).to_bytes(4, "big") + note


def notes_of(data: bytes, path: Path | str, place: int = 0) -> tuple[list[tuple[int, bytes]], int]:
    """The notes with their places, and where the last one ends.

    Args:
        data: of the file.
        path: names it in errors.
        place: where in the file the data begin.

    Raises:
        AuditError: one is damaged.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum, of_head = _HEADER.unpack_from(data, at)
        if zlib.crc32(data[at : at + 8]) != of_head:
            if not any(data[at:]):
                break  # A crash can leave the file longer than what reached it.
            raise AuditError(f"a checkpoint is damaged, at byte {place + at} of {path}")
        note = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(note) < length:
            break
        if zlib.crc32(note) != checksum:
            raise AuditError(f"a checkpoint is damaged, at byte {place + at} of {path}")
        found.append((place + at, note))
        at += _HEADER.size + length
    return found, place + at
