"""Where a journal is: a folder or a database, named alike and opened alike.

What speaks to a database is imported where there is one: who shows one decision of a folder does
not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from herz.world.store.database import SCHEMES, Database, database
from herz.world.store.evidence import Evidence
from herz.world.store.files import FileStore, Reader
from herz.world.store.index import Index

if TYPE_CHECKING:
    from herz.world.store.postgres import PostgresStore

Where = Path | Database
Writer: TypeAlias = "FileStore | PostgresStore"


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
    if isinstance(where, Database):
        from herz.world.store.postgres import is_made  # noqa: PLC0415

        return is_made(where)
    return (where / "segments").is_dir()


def reader_of(where: Where) -> Evidence:
    """The journal, to be read.

    Raises:
        ConfigError: there is none.
        WorldError: the server is away, or refuses.
    """
    if isinstance(where, Database):
        from herz.world.store.postgres import PostgresReader  # noqa: PLC0415

        return PostgresReader(where)
    return Reader(where)


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
    if isinstance(where, Database):
        from herz.world.store.postgres import PostgresReader  # noqa: PLC0415

        return PostgresReader(where).beside
    return where


def writer_of(where: Where, term: int = 0) -> Writer:
    """The journal, to be written; made where there is none.

    Raises:
        AuditError: the journal is damaged.
        WorldError: disk or server refused, another process or a later leader writes it.
    """
    if isinstance(where, Database):
        from herz.world.store.postgres import PostgresStore  # noqa: PLC0415

        return PostgresStore.open(where, term)
    return FileStore.open(where, term)
