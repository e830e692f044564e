"""A journal that is read, wherever it is kept: appends of framed bytes, and what is read of them.

Every store keeps the same bytes (`herz.world.store.frames`); how it finds them is its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from herz.errors import WorldError
from herz.model.journal import Sealed
from herz.world.store.frames import Batch, entries_of

HASH_BYTES: Final = 32
_entry = itemgetter(1)


class StaleWriterError(WorldError):
    """Another leader writes the journal now."""


class BusyWriterError(WorldError):
    """Another process writes the journal, under the same term."""

    def __init__(self, name: str, term: int) -> None:
        super().__init__(
            f"another process writes {name}, under term {term}: stop it first",
            is_retryable=True,
        )


class Place(NamedTuple):
    """Where an entry is.

    Args:
        entry: its index.
        segment: the first entry of the file or row that it is in.
        offset: where it begins in there.
    """

    entry: int
    segment: int
    offset: int


class Evidence(ABC):
    """A journal (`herz.ports.Journal`), read only; it may grow meanwhile."""

    cut = ""
    """Where reading found the last append cut off, in words."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What a person calls it; no secret is in it."""

    @property
    @abstractmethod
    def beside(self) -> Path:
        """A folder on this machine for what is no evidence, such as the index."""

    @abstractmethod
    def batches(self, first: int = 0) -> Iterator[tuple[bytes, Batch]]:
        """The appends, with the bytes that they stand in, from the one that holds entry `first`.

        They end before an append that was cut off (`cut`). A gap between two is an error.

        Raises:
            DamageError: at the first entry that cannot be read.
        """

    @abstractmethod
    def segment_of(self, batch: Batch) -> int:
        """The first entry of what a batch of `batches` stands in: where its offsets count."""

    @abstractmethod
    def bytes_at(self, segment: int, offset: int, count: int) -> bytes:
        """Bytes of a segment; fewer where it ends.

        Raises:
            WorldError: it cannot be read.
        """

    @abstractmethod
    def end(self) -> tuple[int, int] | None:
        """The last segment, and where it ends; None: nothing was appended yet."""

    @abstractmethod
    def count(self) -> int:
        """How many entries there are; the last appends may be under way still.

        Raises:
            DamageError: what tells it is damaged.
        """

    def read(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, Sealed]]:
        """See `herz.ports.Journal.read`."""
        for data, batch in self.batches(first):
            if end is not None and batch.first >= end:
                return
            found = zip(count(batch.first), map(_entry, entries_of(data, batch)), strict=False)
            if first <= batch.first and (end is None or batch.first + batch.entries <= end):
                yield from found  # All of it.
                continue
            for index, entry in found:
                if end is not None and index >= end:
                    return
                if index >= first:
                    yield index, entry

    @abstractmethod
    def read_hashes(self, level: int, first: int, count: int) -> bytes:
        """See `herz.ports.Journal.read_hashes`."""

    def notes(self) -> list[bytes]:
        """See `herz.ports.Journal.notes`."""
        return [note for _, note in self.notes_from(0)]

    @abstractmethod
    def notes_from(self, place: int) -> list[tuple[int, bytes]]:
        """The notes that were kept at a place or behind it, each with its place; 0: all.

        Raises:
            AuditError: one is damaged.
        """

    @abstractmethod
    def note_at(self, place: int) -> bytes | None:
        """The note of a place; None where there is none.

        Raises:
            AuditError: it is damaged.
        """

    @abstractmethod
    def get(self, digest: str) -> bytes:
        """See `herz.ports.Journal.get`."""

    @abstractmethod
    def blobs(self) -> Sequence[str]:
        """The digests of all blobs, sorted."""

    @abstractmethod
    def leader_term(self) -> int:
        """The leader's term; 0 where none was noted.

        Raises:
            AuditError: it is damaged.
        """

    @abstractmethod
    def make_certain(self) -> None:
        """Put on the disk what others have appended, so that it may be signed for.

        Raises:
            WorldError: the disk refused.
        """

    @abstractmethod
    def keep_note(self, note: bytes) -> None:
        """See `herz.ports.Store.keep_note`."""
