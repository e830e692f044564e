"""Where a journal is: a folder or a database, named alike and opened alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from herz.world.store.database import SCHEMES, Database, database
from herz.world.store.evidence import Evidence
from herz.world.store.files import FileStore, Reader
from herz.world.store.index import Index
from herz.world.store.postgres import PostgresReader, PostgresStore, is_made

Where = Path | Database
Writer = FileStore | PostgresStore


def where_of(text: str, *, option: str = "--journal") -> Where:
    """The folder or the database that a text names.

    Raises:
        ConfigError: it begins like a URL of PostgreSQL, and is none.
    """
    return database(text, option=option) if text.startswith(SCHEMES) else Path(text)


def exists(where: Where) -> bool:
    """Whether a journal is there.

    Raises:
        WorldError: the server is away, or refuses.
    """
    return is_made(where) if isinstance(where, Database) else (where / "segments").is_dir()


def reader_of(where: Where) -> Evidence:
    """The journal, to be read.

    Raises:
        ConfigError: there is none.
        WorldError: the server is away, or refuses.
    """
    return PostgresReader(where) if isinstance(where, Database) else Reader(where)


@contextmanager
def indexed(where: Where) -> Iterator[Index]:
    """The index of a journal, brought up to its end.

    Raises:
        ConfigError: there is no journal.
        WorldError: the index cannot be written.
    """
    index = Index(reader_of(where))
    try:
        yield index
    finally:
        index.close()


def beside(where: Where) -> Path:
    """The folder on this machine for what is no evidence; a folder's journal may not be there yet.

    Raises:
        ConfigError: there is no journal in the database.
        WorldError: the server is away, or refuses.
    """
    return PostgresReader(where).beside if isinstance(where, Database) else where


def writer_of(where: Where, term: int = 0) -> Writer:
    """The journal, to be written; made where there is none.

    Raises:
        AuditError: the journal is damaged.
        WorldError: disk or server refused, another process or a later leader writes it.
    """
    if isinstance(where, Database):
        return PostgresStore.open(where, term)
    return FileStore.open(where, term)
