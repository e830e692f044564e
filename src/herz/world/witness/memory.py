"""What a witness remembers, in SQLite: one row a log, replaced only if it is the one expected.

Lost memory is a fork unseen: each replacement is on the disk before its cosignature leaves, and
a file that is missing where one was named before is for the operator to explain, not for us to
make anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from herz.errors import WorldError
from herz.ports import WitnessMemory

_WAIT_S: Final = 5.0
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS latest "
    "(origin TEXT PRIMARY KEY, hash TEXT UNIQUE NOT NULL, note BLOB NOT NULL) STRICT"
)


class SqliteMemory(WitnessMemory):
    """A witness' memory in a file; several processes may share it.

    Args:
        path: the file; made where it is not there.

    Raises:
        WorldError: it cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._told():
            self._base = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            self._base.execute("PRAGMA synchronous = EXTRA")
            self._base.execute(_TABLE)

    def close(self) -> None:
        """Give the file up."""
        self._base.close()

    def latest(self, origin: str) -> bytes | None:
        """See `herz.ports.WitnessMemory.latest`."""
        return self._one("SELECT note FROM latest WHERE origin = ?", origin)

    def latest_by_hash(self, origin_hash: str) -> bytes | None:
        """See `herz.ports.WitnessMemory.latest_by_hash`."""
        return self._one("SELECT note FROM latest WHERE hash = ?", origin_hash)

    def replace(self, origin: str, old: bytes | None, new: bytes) -> bool:
        """See `herz.ports.WitnessMemory.replace`."""
        with self._told():
            if old is None:
                hash_ = hashlib.sha256(origin.encode()).hexdigest()
                done = self._base.execute(
                    "INSERT INTO latest VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (origin, hash_, new),
                )
            else:
                done = self._base.execute(
                    "UPDATE latest SET note = ? WHERE origin = ? AND note = ?", (new, origin, old)
                )
        return done.rowcount == 1

    def _one(self, query: str, key: str) -> bytes | None:
        with self._told():
            row = self._base.execute(query, (key,)).fetchone()
        return None if row is None else bytes(row[0])

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise WorldError(f"the witness' memory {self._path}: {error}") from error
