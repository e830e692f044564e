"""Where things are in a journal: a SQLite file that is made anew when it is gone. No evidence.

Whoever reads an entry through it checks the entry itself; an index that leads elsewhere is made
anew. It is caught up by readers and by a writer that ends.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final, TypeVar

import msgspec

from herz.errors import AuditError, WorldError
from herz.model.journal import Kind, Sealed, size_of
from herz.world.store.evidence import Evidence, Place
from herz.world.store.frames import FRAME_BYTES, Batch, DamageError, entries_of

_T = TypeVar("_T")

VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (first INTEGER PRIMARY KEY, segment INTEGER, start INTEGER, end INTEGER);
CREATE TABLE decisions (sequence INTEGER PRIMARY KEY, entry INTEGER, segment INTEGER,
                        offset INTEGER, name TEXT, namespace TEXT);
CREATE INDEX pods ON decisions (name, namespace);
CREATE TABLE outcomes (decision INTEGER, entry INTEGER, segment INTEGER, offset INTEGER);
CREATE INDEX answered ON outcomes (decision);
CREATE TABLE checkpoints (place INTEGER PRIMARY KEY, size INTEGER);
CREATE INDEX sizes ON checkpoints (size);
CREATE TABLE others (entry INTEGER PRIMARY KEY, kind INTEGER, segment INTEGER, offset INTEGER);
"""


class _Pod(msgspec.Struct):
    name: str
    namespace: str


class _Record(msgspec.Struct):
    sequence: int
    pod: _Pod


class _Effect(msgspec.Struct, frozen=True):
    decision: int = 0


class _Outcome(msgspec.Struct):
    decision: int = 0
    effect: _Effect = _Effect()


_record = msgspec.json.Decoder(_Record)
_outcome = msgspec.json.Decoder(_Outcome)
_PASSED: Final = frozenset({Kind.INPUT, Kind.STEP})


class Index:
    """The index of a journal, brought up to its end.

    Args:
        reader: the journal.

    Raises:
        WorldError: the file cannot be written.
    """

    def __init__(self, reader: Evidence) -> None:
        self._reader = reader
        self._path = reader.beside / "index.sqlite"
        self._base = self._opened()
        self._with_retry(self._catch_up)

    def close(self) -> None:
        """Let the file go."""
        self._base.close()

    @property
    def size(self) -> int:
        """Entries that are indexed; a last append that is damaged or cut off is not."""
        return self._mark("size")

    @property
    def decisions(self) -> int:
        """How many records there are."""
        return int(self._one("SELECT count(*) FROM decisions", ()) or 0)

    def decision(self, sequence: int) -> Place | None:
        """Where a record is."""
        rows = self._places("decisions WHERE sequence = ?", (sequence,))
        return rows[0] if rows else None

    def of_pod(self, name: str, namespace: str | None, most: int) -> list[tuple[str, Place]]:
        """The namespaces and places of the records about a pod, in order; `most` at most."""
        where, arguments = "name = ?", [name]
        if namespace is not None:
            where, arguments = "name = ? AND namespace = ?", [name, namespace]
        sql = (
            f"SELECT namespace, entry, segment, offset FROM decisions WHERE {where} "
            "ORDER BY sequence DESC LIMIT ?"
        )
        rows = self._base.execute(sql, (*arguments, most)).fetchall()
        return [(row[0], Place(*row[1:])) for row in reversed(rows)]

    def some_pods(self, most: int) -> list[str]:
        """A few pods that there are, as namespace/name."""
        sql = "SELECT namespace, name FROM decisions ORDER BY sequence LIMIT ?"
        rows = self._base.execute(sql, (most * 8,)).fetchall()
        return list(dict.fromkeys("/".join(row) for row in rows))[:most]

    def outcomes(self, decision: int) -> list[Place]:
        """Where the answers to what a decision asked for are."""
        return self._places("outcomes WHERE decision = ? ORDER BY entry", (decision,))

    def others(self, kind: Kind, before: int | None = None) -> list[Place]:
        """Where the entries of a kind are, other than inputs, steps, records and outcomes."""
        end = self.size if before is None else before
        where = "others WHERE kind = ? AND entry < ? ORDER BY entry"
        return self._places(where, (int(kind), end))

    def covering(self, entry: int) -> Iterator[bytes]:
        """The signed checkpoints that cover an entry, smallest first; there is one each second.

        Raises:
            AuditError: one is damaged, or names no size.
        """
        return self._noted(entry, covers=True)

    def before(self, entry: int) -> Iterator[bytes]:
        """The signed checkpoints without an entry, largest first; errors are `covering`'s."""
        return self._noted(entry, covers=False)

    def _noted(self, entry: int, *, covers: bool) -> Iterator[bytes]:
        sign, order = (">", "") if covers else ("<=", "DESC")
        wanted = f"WHERE size {sign} ? ORDER BY size {order}, place {order}"
        for is_again in (False, True):
            try:
                self._read_notes(anew=is_again)
            except sqlite3.Error:
                # Nobody may write here, or somebody else does: all of them are looked at.
                notes = self._reader.notes_from(0)
                found = sorted((size_of(note), place, note) for place, note in notes)
                chosen = (note for size, _, note in found if (size > entry) is covers)
                yield from chosen if covers else reversed([*chosen])
                return
            for place, size in self._base.execute(
                f"SELECT place, size FROM checkpoints {wanted}", (entry,)
            ):
                note = self._reader.note_at(place)
                if note is None or size_of(note) != size:
                    break  # Not what was read here before.
                yield note
            else:
                return
        raise AuditError("the checkpoints change while they are read")

    def entry(self, place: Place) -> Sealed:
        """The entry at a place; its checksum is right.

        Raises:
            AuditError: it is damaged, or not there.
        """
        data = self._reader.bytes_at(place.segment, place.offset, _ENOUGH)
        size = FRAME_BYTES + int.from_bytes(data[4:8], "big")
        if size > len(data):
            data = self._reader.bytes_at(place.segment, place.offset, size)
        batch = Batch(1, place.entry, 0, 0, min(size, len(data)))
        return next(entries_of(data, batch, is_part=True))[1]

    def at(self, index: int) -> Sealed:
        """Any entry.

        Raises:
            AuditError: there is none, or it is damaged.
        """
        sql = "SELECT first, segment, start, end FROM batches WHERE first <= ?"
        row = self._base.execute(f"{sql} ORDER BY first DESC LIMIT 1", (index,)).fetchone()
        if row is None or index >= self.size:
            raise AuditError(f"there is no entry {index}")
        first, segment, start, end = row
        data = self._reader.bytes_at(segment, start, end - start)
        batch = Batch(index - first + 1, first, 0, 0, end - start)
        for found, (_, entry) in enumerate(entries_of(data, batch, is_part=True), first):
            if found == index:
                return entry
        raise AuditError(f"there is no entry {index}")

    # ---- how it is made ---------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        try:
            base = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        except sqlite3.Error as error:
            raise WorldError(f"cannot open {self._path}: {error}") from error
        with suppress(sqlite3.Error):
            if base.execute("PRAGMA user_version").fetchone() == (VERSION,):
                return base
        base.close()
        return self._anew()

    def _anew(self) -> sqlite3.Connection:
        try:
            beside = self._path.with_suffix(f".{os.getpid()}.tmp")
            beside.unlink(missing_ok=True)
            with closing(sqlite3.connect(beside)) as base:
                base.executescript(f"{_SCHEMA} PRAGMA user_version = {VERSION};")
            os.replace(beside, self._path)
            return sqlite3.connect(self._path, timeout=10, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise WorldError(f"cannot make {self._path}: {error}") from error

    def _with_retry(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except (sqlite3.DatabaseError, AuditError):
            # Its file is damaged, or of another journal: it is made anew, once.
            self._base.close()
            self._base = self._anew()
            return act()

    def _catch_up(self) -> None:
        base = self._base
        if self._is_at_end():
            return
        with self._writing():
            rows = _Rows()
            with suppress(DamageError):
                # Damage is for `verify` to tell; an append may be under way, too.
                for segment, data, batch in self._batches(self._mark("size")):
                    rows.take(segment, data, batch)
                    if len(rows.decisions) > _ROWS_AT_ONCE:
                        rows.write(base)
            rows.write(base)

    def _read_notes(self, *, anew: bool = False) -> None:
        """Know the checkpoints that were kept since the last time; all, where others are there."""
        last = None
        if not anew:
            sql = "SELECT place, size FROM checkpoints ORDER BY place DESC LIMIT 1"
            last = self._base.execute(sql).fetchone()
        try:
            found = self._reader.notes_from(0 if last is None else last[0])
            rows = [(place, size_of(note)) for place, note in found]
        except AuditError:
            if last is None:
                raise
            rows = []
        if last is not None and rows[:1] != [last]:
            return self._read_notes(anew=True)
        if anew or rows[1:] or (last is None and rows):
            with self._writing():
                if anew:
                    self._base.execute("DELETE FROM checkpoints")
                many = "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)"
                self._base.executemany(many, rows)
        return None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        base = self._base
        base.execute("PRAGMA synchronous = OFF")
        base.execute("BEGIN IMMEDIATE")
        try:
            yield
            base.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                base.execute("ROLLBACK")
            raise

    def _is_at_end(self) -> bool:
        """Whether the last segment ends where the last batch does that is indexed."""
        sql = "SELECT segment, end FROM batches ORDER BY first DESC LIMIT 1"
        row = self._base.execute(sql).fetchone()
        return row is not None and self._reader.end() == row

    def _batches(self, size: int) -> Iterator[tuple[int, bytes, Batch]]:
        for data, batch in self._reader.batches(size):
            if batch.first < size:
                raise AuditError("the index is of another journal")
            yield self._reader.segment_of(batch), data, batch

    def _mark(self, name: str) -> int:
        return int(self._one("SELECT value FROM marks WHERE name = ?", (name,)) or 0)

    def _one(self, sql: str, arguments: tuple[object, ...]) -> int | None:
        row = self._base.execute(sql, arguments).fetchone()
        return None if row is None else row[0]

    def _places(self, where: str, arguments: tuple[object, ...]) -> list[Place]:
        sql = f"SELECT entry, segment, offset FROM {where}"
        return [Place(*row) for row in self._base.execute(sql, arguments)]


_ENOUGH: Final = 4_096
_ROWS_AT_ONCE: Final = 50_000


class _Rows:
    """Rows that are to be written."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.decisions: list[tuple[int | str, ...]] = []
        self.outcomes: list[tuple[int, ...]] = []
        self.others: list[tuple[int, ...]] = []
        self.size = 0

    def take(self, segment: int, data: bytes, batch: Batch) -> None:
        """Note what is in a batch; all of it, or nothing."""
        found = list(entries_of(data, batch))
        self.batches.append((batch.first, segment, batch.start, batch.end))
        for index, (offset, entry) in enumerate(found, batch.first):
            kind = entry.leaf[1]
            if kind in _PASSED or entry.is_erased:
                continue
            place = (index, segment, offset)
            with suppress(msgspec.MsgspecError):
                if kind == Kind.RECORD:
                    record = _record.decode(entry.payload)
                    pod = record.pod
                    self.decisions.append((record.sequence, *place, pod.name, pod.namespace))
                elif kind == Kind.OUTCOME:
                    answer = _outcome.decode(entry.payload)
                    if decision := answer.decision or answer.effect.decision:
                        self.outcomes.append((decision, *place))
                else:
                    self.others.append((index, kind, segment, offset))
        self.size = batch.first + batch.entries

    def write(self, base: sqlite3.Connection) -> None:
        """Write the rows, and forget them."""
        base.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?)", self.batches)
        many = "INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?)"
        base.executemany(many, self.decisions)
        base.executemany("INSERT INTO outcomes VALUES (?, ?, ?, ?)", self.outcomes)
        base.executemany("INSERT OR REPLACE INTO others VALUES (?, ?, ?, ?)", self.others)
        if self.size:
            base.execute("INSERT OR REPLACE INTO marks VALUES ('size', ?)", (self.size,))
        for rows in (self.batches, self.decisions, self.outcomes, self.others):
            rows.clear()
