"""The journal in PostgreSQL: each append is one row with the bytes that a segment file would have.

One statement appends: it compares the leader's term and the size with what the writer knows, and
does nothing where they differ, so a leader that was replaced while it was away cannot append. The
server's log is in the order of the commits: what a crash takes of those that nobody waited for is
the end. After an error nothing more is appended: what the server holds is then known only by
reading it again (`PostgresStore.open`).

A thread of the writer's makes its writes, in the order in which they were begun: who decides does
not wait for the network, but whoever lets effects leave does.
"""

from __future__ import annotations

import hashlib
import os
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final, LiteralString

from herz.errors import AuditError, ConfigError, WorldError
from herz.model import journal
from herz.world.store.database import Database, connected, told
from herz.world.store.evidence import HASH_BYTES, BusyWriterError, Evidence, StaleWriterError
from herz.world.store.frames import (
    Batch,
    DamageError,
    batch_header,
    entries_of,
    erased,
    frames_of,
    read_batch,
)
from herz.world.store.notes import framed, notes_of

if TYPE_CHECKING:
    import psycopg

    from herz.ports import Sync

FORMAT: Final = 1
"""Of the tables; docs/reference/journal.md."""
_SCHEMA: Final[LiteralString] = """
CREATE TABLE herz_journal (
    id uuid PRIMARY KEY, format integer NOT NULL, term bigint NOT NULL, size bigint NOT NULL,
    is_one boolean NOT NULL DEFAULT true UNIQUE CHECK (is_one)) WITH (fillfactor = 10);
CREATE TABLE herz_batches (
    first bigint PRIMARY KEY, entries integer NOT NULL, term bigint NOT NULL, data bytea NOT NULL);
ALTER TABLE herz_batches ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE herz_notes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note bytea NOT NULL);
CREATE TABLE herz_blobs (digest text PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE herz_hashes (
    level integer, number bigint, hash bytea NOT NULL, PRIMARY KEY (level, number));
"""
_PAGE: Final[LiteralString] = """
SELECT first, data FROM (
    SELECT first, data, sum(bytes) OVER (ORDER BY first) - bytes AS before FROM (
        SELECT first, data, octet_length(data) AS bytes FROM herz_batches
        WHERE first >= %s ORDER BY first LIMIT 4096) AS page) AS summed
WHERE before < %s ORDER BY first
"""
"""The next appends, up to as many bytes and one append more."""
PAGE_BYTES_MAX: Final = 8 << 20
_APPEND: Final[LiteralString] = """
WITH turn AS (
    UPDATE herz_journal SET size = size + %(entries)s::integer
    WHERE term = %(term)s::bigint AND size = %(first)s::bigint RETURNING 1)
INSERT INTO herz_batches (first, entries, term, data)
SELECT %(first)s::bigint, %(entries)s::integer, %(term)s::bigint, %(data)b FROM turn
"""
_MARK: Final[LiteralString] = "SELECT pg_logical_emit_message(true, 'herz', '')"
"""A transaction of its own whose commit waits for the disk, and so for all commits before it."""

QUEUED_MAX: Final = 8
"""Bound: of writes that are begun and not done; who begins one more waits. An append has 8 MiB at
most and one entry more, a blob is a state."""


class PostgresReader(Evidence):
    """The rows of a journal, read only; they may grow meanwhile.

    Args:
        where: the database.

    Raises:
        ConfigError: there is no journal, or a newer Herz made it.
        WorldError: the server is away, or refuses.
    """

    def __init__(self, where: Database) -> None:
        self.where = where
        self._base: psycopg.Connection[tuple[Any, ...]] = connected(where)
        # Whoever reads a journal in a folder has nothing to close.
        self._closing = weakref.finalize(self, self._base.close)
        row = None
        if self._one("SELECT to_regclass('herz_journal')::text", ())[0] is not None:
            row = self._row("SELECT id::text, format FROM herz_journal", ())
        if row is None:
            fix = "name a database that --journal wrote"
            raise ConfigError("no journal", where="--journal", value=str(where), fix=fix)
        self.id: str = row[0]
        made: int = row[1]
        if made != FORMAT:
            fix = "use the Herz that wrote it"
            raise ConfigError("another form of tables", where=str(where), value=made, fix=fix)

    @property
    def name(self) -> str:
        """See `Evidence.name`."""
        return str(self.where)

    @property
    def beside(self) -> Path:
        """See `Evidence.beside`."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        folder = base / "herz" / "journals" / self.id
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorldError(f"cannot make {folder}: {error.strerror or error}") from error
        return folder

    def batches(self, first: int = 0) -> Iterator[tuple[bytes, Batch]]:
        """See `Evidence.batches`."""
        size = self.count()
        begin = "SELECT coalesce(max(first), 0) FROM herz_batches WHERE first <= %s"
        expected = self._one(begin, (first,))[0]
        while page := self._rows(_PAGE, (expected, PAGE_BYTES_MAX)):  # Bound: the journal's length.
            for _, data in page:
                batch = read_batch(data, 0, expected)
                if batch.end != len(data):
                    raise DamageError("the row is longer than its batch", expected, batch.end)
                if first < expected + batch.entries:
                    yield data, batch
                expected += batch.entries
        if expected < size:
            raise DamageError(f"{size} entries were kept, and no more are there", expected, 0)

    def segment_of(self, batch: Batch) -> int:
        """See `Evidence.segment_of`: each append has a row of its own."""
        return batch.first

    def bytes_at(self, segment: int, offset: int, count: int) -> bytes:
        """See `Evidence.bytes_at`."""
        sql = "SELECT substring(data FROM %s FOR %s) FROM herz_batches WHERE first = %s"
        row = self._row(sql, (offset + 1, count, segment))
        return b"" if row is None else bytes(row[0])

    def end(self) -> tuple[int, int] | None:
        """See `Evidence.end`."""
        sql = "SELECT first, octet_length(data) FROM herz_batches ORDER BY first DESC LIMIT 1"
        row = self._row(sql, ())
        return None if row is None else (row[0], row[1])

    def count(self) -> int:
        """See `Evidence.count`."""
        return int(self._one("SELECT size FROM herz_journal", ())[0])

    def read_hashes(self, level: int, first: int, count: int) -> bytes:
        """See `herz.ports.Journal.read_hashes`. Those of leaves follow from the rows."""
        if level == 0:
            there = self.read(first, first + count)
            return b"".join(hashlib.sha256(b"\0" + entry.leaf).digest() for _, entry in there)
        sql = "SELECT number, hash FROM herz_hashes WHERE level = %s AND number >= %s"
        rows = self._rows(f"{sql} AND number < %s ORDER BY number", (level, first, first + count))
        sound = [found for at, (number, found) in enumerate(rows, first) if at == number]
        return b"".join(sound)

    def notes_from(self, place: int) -> list[tuple[int, bytes]]:
        """See `Evidence.notes_from`."""
        sql = "SELECT number, note FROM herz_notes WHERE number >= %s ORDER BY number"
        return [(number, self._note(number, data)) for number, data in self._rows(sql, (place,))]

    def note_at(self, place: int) -> bytes | None:
        """See `Evidence.note_at`."""
        row = self._row("SELECT note FROM herz_notes WHERE number = %s", (place,))
        return None if row is None else self._note(place, row[0])

    def _note(self, number: int, data: bytes) -> bytes:
        where = f"row {number} of herz_notes of {self.where}"
        found, end = notes_of(data, where)
        if len(found) != 1 or end != len(data):
            raise AuditError(f"a checkpoint is damaged: {where}")
        return found[0][1]

    def get(self, digest: str) -> bytes:
        """See `herz.ports.Journal.get`."""
        row = self._row("SELECT data FROM herz_blobs WHERE digest = %s", (digest,))
        if row is None:
            raise AuditError(f"blob {digest}: there is none in {self.where}")
        if hashlib.sha3_384(row[0]).hexdigest() != digest:
            raise AuditError(f"blob {digest}: its bytes have another digest")
        return bytes(row[0])

    def blobs(self) -> list[str]:
        """See `Evidence.blobs`."""
        rows = self._rows('SELECT digest FROM herz_blobs ORDER BY digest COLLATE "C"', ())
        return [row[0] for row in rows]

    def leader_term(self) -> int:
        """See `Evidence.leader_term`."""
        return int(self._one("SELECT term FROM herz_journal", ())[0])

    def make_certain(self) -> None:
        """See `Evidence.make_certain`."""
        self._do(_MARK, ())

    def keep_note(self, note: bytes) -> None:
        """See `herz.ports.Store.keep_note`."""
        self._do("INSERT INTO herz_notes (note) VALUES (%b)", (framed(note),))

    # ---- statements -------------------------------------------------------------------------

    def _rows(self, sql: LiteralString, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        with told(self.where, "read"):
            return self._base.execute(sql, arguments, binary=True).fetchall()

    def _row(self, sql: LiteralString, arguments: Sequence[object]) -> tuple[Any, ...] | None:
        rows = self._rows(sql, arguments)
        return rows[0] if rows else None

    def _one(self, sql: LiteralString, arguments: Sequence[object]) -> tuple[Any, ...]:
        row = self._row(sql, arguments)
        if row is None:
            raise AuditError(f"the row of herz_journal is missing in {self.where}")
        return row

    def _do(self, sql: LiteralString, arguments: Sequence[object]) -> None:
        with told(self.where, "write"):
            self._base.execute(sql, arguments)


class PostgresStore(PostgresReader):
    """The writer of a journal (`herz.ports.Store`); made by `open`.

    Args:
        where: the database.
        term: the leader's term.
    """

    recovered = ""
    """Nothing is ever to be mended: the server takes an append whole, or not at all."""

    def __init__(self, where: Database, term: int) -> None:
        # What the writer's thread was given last.
        self._queued: Future[None] | None = None
        super().__init__(where)
        self.term = term
        # Entries that are begun to be kept; of them those that the disk has for certain.
        self._size, self._certain = 0, -1
        self._failed = ""
        self._writer = ThreadPoolExecutor(1, "herz-journal")
        self._room = BoundedSemaphore(QUEUED_MAX)
        # For appends that nobody waits for: they must not wait for a sync in another thread.
        self._quick = connected(where)
        self._quick_closing = weakref.finalize(self, self._quick.close)
        with told(where, "open"):
            self._quick.execute("SET synchronous_commit = off")

    @classmethod
    def open(cls, where: Database, term: int = 0) -> PostgresStore:
        """The journal in the database, made where there is none.

        Args:
            where: the database.
            term: the leader's term; not below the last writer's.

        Raises:
            AuditError: the journal is damaged.
            ConfigError: the server does not keep what it acknowledges; a newer Herz made it.
            WorldError: the server is away or refuses, or a later leader has written.
        """
        _make(where)
        store = cls(where, term)
        try:
            store._check_durability()
            store._take_turn()
            store._recover()
        except BaseException:
            store._let_go()
            raise
        return store

    @property
    def size(self) -> int:
        """See `herz.ports.Store.size`."""
        return self._size

    @property
    def is_for_certain(self) -> bool:
        """See `herz.ports.Store.is_for_certain`."""
        return self._certain == self._size

    @property
    def is_behind(self) -> bool:
        """See `herz.ports.Store.is_behind`."""
        return self._queued is not None and not self._queued.done()

    def append(self, batch: journal.Batch, *, expected: int, sync: bool) -> None:
        """See `herz.ports.Store.append`."""
        self.begin(batch, expected=expected, sync=sync)()

    def begin(self, batch: journal.Batch, *, expected: int, sync: bool) -> Sync:
        """See `herz.ports.Store.begin`."""
        known = self._size
        self._size += batch.entries
        return self._begin(lambda: self._append(batch, expected, known, is_synced=sync)).result

    def put(self, data: bytes) -> str:
        """See `herz.ports.Store.put`."""
        digest = hashlib.sha3_384(data).hexdigest()
        sql: LiteralString = "INSERT INTO herz_blobs (digest, data) VALUES (%s, %b)"
        self._begin(lambda: self._write(f"{sql} ON CONFLICT DO NOTHING", (digest, data)))
        return digest

    def keep_hashes(self, level: int, first: int, hashes: bytes) -> None:
        """See `herz.ports.Store.keep_hashes`. Those of leaves follow from the rows."""
        if level == 0:
            return
        found = [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
        sql: LiteralString = (
            "INSERT INTO herz_hashes (level, number, hash) VALUES (%s, %s, %b) "
            "ON CONFLICT (level, number) DO UPDATE SET hash = excluded.hash"
        )
        rows = [(level, first + at, each) for at, each in enumerate(found)]

        def keep() -> None:
            with told(self.where, "write"), self._quick.cursor() as cursor:
                cursor.executemany(sql, rows)

        self._begin(keep)

    def erase(self, entries: Sequence[int], blobs: Sequence[str]) -> None:
        """See `herz.ports.Store.erase`. The index, which has names, goes, too."""
        wanted, at = list(entries), 0
        self._drain()
        with told(self.where, "erase in"), self._base.transaction():
            self._check_turn(self._size, self._size)
            for data, batch in self.batches(wanted[0] if wanted else 0):
                if at == len(wanted):
                    break
                frames, held = list(frames_of(data, batch)), bytearray(data)
                while at < len(wanted) and wanted[at] < batch.first + batch.entries:
                    start, end = frames[wanted[at] - batch.first]
                    held[start:end] = erased(data[start:end])
                    at += 1
                sql: LiteralString = "UPDATE herz_batches SET data = %b WHERE first = %s"
                self._do(sql, (bytes(held), batch.first))
            self._do("DELETE FROM herz_blobs WHERE digest = ANY(%s)", (list(blobs),))
        assert at == len(wanted), "what is erased is there"
        # What the server keeps of old rows goes now, not when it finds the time.
        self._do("VACUUM herz_batches, herz_blobs", ())
        (self.beside / "index.sqlite").unlink(missing_ok=True)

    def close(self) -> None:
        """Sync what was appended, and let the server go."""
        if self._failed == "it is closed":
            return
        try:
            self._drain()
            if not self._failed and not self.is_for_certain:
                self._write(_MARK, ())
                self._certain = self._size
        finally:
            self._let_go()
            self._failed = self._failed or "it is closed"

    def _let_go(self) -> None:
        self._writer.shutdown()
        self._closing()
        self._quick_closing()

    # ---- the writer's thread ----------------------------------------------------------------

    def _begin(self, act: Callable[[], None]) -> Future[None]:
        """Have the thread write something; what fails ends all that comes after it.

        Raises:
            WorldError: something has failed before.
        """
        if self._failed:
            raise WorldError(f"the journal {self.where} takes nothing more: {self._failed}")

        def write() -> None:
            try:
                if self._failed:
                    raise WorldError(f"the journal {self.where} takes nothing more: {self._failed}")
                act()
            except Exception as error:
                # Whatever it was: what comes after it would stand behind a gap.
                self._failed = self._failed or str(error)
                raise
            finally:
                self._room.release()

        self._room.acquire()
        self._queued = self._writer.submit(write)
        return self._queued

    def _drain(self) -> None:
        """Wait for what was begun; whether it failed is known by `_failed`."""
        if self._queued is not None:
            self._queued.exception()

    def _rows(self, sql: LiteralString, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        self._drain()
        return super()._rows(sql, arguments)

    def _do(self, sql: LiteralString, arguments: Sequence[object]) -> None:
        self._drain()
        self._write(sql, arguments)

    def _write(self, sql: LiteralString, arguments: Sequence[object]) -> None:
        super()._do(sql, arguments)

    # ---- whose turn it is -------------------------------------------------------------------

    def _take_turn(self) -> None:
        if (leader := self.leader_term()) > self.term:
            raise StaleWriterError(f"term {self.term} is over: the leader's is {leader}")
        # The lock goes with the session: a writer that was killed holds none.
        name = hashlib.sha256(f"herz {self.id} {self.term}".encode()).digest()
        number = int.from_bytes(name[:8], "big", signed=True)
        if not self._one("SELECT pg_try_advisory_lock(%s)", (number,))[0]:
            raise BusyWriterError(self.name, self.term)
        sql = "UPDATE herz_journal SET term = %s WHERE term <= %s RETURNING term"
        if self._row(sql, (self.term, self.term)) is None:
            raise StaleWriterError(f"term {self.term} is over: another leader came in between")

    def _append(self, batch: journal.Batch, expected: int, known: int, *, is_synced: bool) -> None:
        """Append, or sync alone; by the writer's thread.

        Args:
            batch: the entries.
            expected: how many the log believes to be there.
            known: how many this store knows of.
            is_synced: whether the disk is waited for.
        """
        if batch.entries and expected == known:
            data = batch_header(batch, expected, self.term) + batch.frames
            values = {"entries": batch.entries, "first": expected, "term": self.term, "data": data}
            base = self._base if is_synced else self._quick
            with told(self.where, "write"):
                if base.execute(_APPEND, values, prepare=True).rowcount != 1:
                    self._check_turn(expected, known)
                    what = f"{self.where} was not as this writer left it, for a moment"
                    raise StaleWriterError(what)
        else:
            self._check_turn(expected, known)
            if is_synced and self._certain != known:
                self._write(_MARK, ())
        if is_synced:
            self._certain = known + batch.entries

    def _check_turn(self, expected: int, known: int) -> None:
        rows = super()._rows("SELECT term, size FROM herz_journal", ())
        if not rows:
            raise AuditError(f"the row of herz_journal is missing in {self.where}")
        term, size = rows[0]
        if term != self.term:
            raise StaleWriterError(f"term {self.term} is over: the leader's is {term}")
        if expected != known or size != known:
            raise StaleWriterError(
                f"the journal is not as this writer left it: {known} entries are known, "
                f"{expected} expected, {size} there"
            )

    def _check_durability(self) -> None:
        off = [name for name in ("fsync", "full_page_writes") if self._shown(name) == "off"]
        if off:
            fix = "turn it on in postgresql.conf: what a crash takes was acknowledged"
            where = f"{off[0]} of {self.where}"
            raise ConfigError("the server keeps no promises", where=where, value="off", fix=fix)

    def _shown(self, name: str) -> str:
        return str(self._one("SELECT current_setting(%s)", (name,))[0])

    def _recover(self) -> None:
        """Take the size that the rows have; the last append is looked at."""
        self._size = self.count()
        for data, batch in self.batches(max(0, self._size - 1)):
            for _ in entries_of(data, batch):
                pass
            found = batch.first + batch.entries
            if found != self._size:
                raise AuditError(f"{self._size} entries were kept, but {found} are there")


def is_made(where: Database) -> bool:
    """Whether there is a journal in the database.

    Raises:
        WorldError: the server is away, or refuses.
    """
    with connected(where) as base, told(where, "read"):
        row = base.execute("SELECT to_regclass('herz_journal')::text").fetchone()
        return row is not None and row[0] is not None


def _make(where: Database) -> None:
    """Make the tables, where they are not there."""
    with connected(where) as base, told(where, "make the tables in"), base.transaction():
        # Two that begin at once make them once.
        base.execute("SELECT pg_advisory_xact_lock(hashtext('herz_journal'))")
        row = base.execute("SELECT to_regclass('herz_journal')::text").fetchone()
        if row is None or row[0] is None:
            base.execute(_SCHEMA)
            sql: LiteralString = "INSERT INTO herz_journal (id, format, term, size) VALUES "
            base.execute(f"{sql} (%s, %s, 0, 0)", (uuid.uuid4(), FORMAT))
