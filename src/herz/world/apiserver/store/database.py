"""The versions on disk: one SQLite file in WAL mode, one row a version.

`synchronous=FULL`: a commit is on the disk before it is answered, so that a cut of power loses
nothing that a client was told; what that costs is shared by all writes of a batch. Locking is
exclusive: two servers on one file would each think that they alone count revisions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from herz.errors import WorldError

FORMAT = 1
"""Of the file. A newer one is refused, not guessed at."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS versions (
    revision INTEGER PRIMARY KEY,
    previous INTEGER,
    resource TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    is_deletion INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
"""
_WAL_PAGES = 4096
"""The write-ahead log is folded into the file at 16 MiB: more often would cost more syncs."""


class Row(NamedTuple):
    """A version as it is kept; `previous` is the revision of the one before, if any."""

    revision: int
    previous: int | None
    resource: str
    namespace: str
    name: str
    is_deletion: int
    data: bytes


class Database:
    """The file.

    Args:
        path: of the SQLite file; it is made where it is missing.

    Raises:
        WorldError: it cannot be opened, is in use by another server, or has a newer format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection
        try:
            # The store calls from one thread at a time, but not from this one.
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=1.0
            )
            for pragma in (
                "locking_mode=EXCLUSIVE",
                "journal_mode=WAL",
                "synchronous=FULL",
                f"wal_autocheckpoint={_WAL_PAGES}",
            ):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._connection.executescript(_SCHEMA)
            found = self.setting("format", FORMAT)
            self.commit([], [], {"format": FORMAT} if found <= FORMAT else {})
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if found > FORMAT:
            self.close()
            what = f"{path} has format {found}, made by a newer Herz; this one reads {FORMAT}"
            raise WorldError(what)

    def setting(self, name: str, default: int) -> int:
        """A number that is kept beside the versions."""
        rows = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,))
        found = rows.fetchone()
        return int(found[0]) if found else default

    def rows(self) -> Iterator[Row]:
        """All versions, oldest first."""
        query = "SELECT revision, previous, resource, namespace, name, is_deletion, data"
        try:
            for row in self._connection.execute(f"{query} FROM versions ORDER BY revision"):
                yield Row(*row)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def commit(self, added: Iterable[Row], dead: Iterable[int], settings: dict[str, int]) -> None:
        """Write versions and drop others, all or nothing, and wait for the disk.

        Raises:
            WorldError: nothing was changed.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?)", added)
            connection.executemany(
                "DELETE FROM versions WHERE revision = ?", ((revision,) for revision in dead)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO settings VALUES (?, ?)", sorted(settings.items())
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise self._failure(error) from error

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        self._connection.close()

    def _failure(self, error: sqlite3.Error) -> WorldError:
        if "locked" in str(error):
            return WorldError(f"{self._path} is in use by another server")
        return WorldError(f"{self._path}: {error}")
