"""PostgreSQL, as the store of a journal reaches it: its address, its connections, its errors.

psycopg is optional, and is imported only where a database is named. No password gets into a name,
a log or an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, LiteralString
from urllib.parse import quote

import msgspec

from herz.errors import ConfigError, WorldError

if TYPE_CHECKING:
    import psycopg

SCHEMES: Final = ("postgresql://", "postgres://")
_FIX: Final = "write it as postgresql://USER@HOST:PORT/DATABASE, with the password in PGPASSFILE"
DEFAULTS: Final = {
    "application_name": "herz",
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""Parameters of libpq, where neither the address nor the environment has them."""
STATEMENT_SECONDS_MAX: Final = 30
"""Bound of one statement: a server that hangs is one that is away."""


class Database(msgspec.Struct, frozen=True):
    """A database that holds a journal, in the first schema of its search path.

    Args:
        url: with all that libpq takes; it may hold a password.
        name: the same without it, and without whoever logs in.
    """

    url: str
    name: str

    def __str__(self) -> str:
        """The name: what is printed is never the URL."""
        return self.name

    def __repr__(self) -> str:
        """As above."""
        return f"Database({self.name!r})"


def database(url: str, *, option: str = "--journal") -> Database:
    """The database of a URL.

    Raises:
        ConfigError: it is no URL that libpq reads, or psycopg is not installed.
    """
    psycopg = _psycopg()
    try:
        parameters = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # Not `from`: libpq's words hold the URL, and so perhaps a password.
        raise ConfigError("not a URL of PostgreSQL", where=option, fix=_FIX) from None
    host = quote(str(parameters.get("host", "")), safe=":,.[]-_~")
    port = f":{parameters['port']}" if parameters.get("port") else ""
    return Database(url, f"postgresql://{host}{port}/{parameters.get('dbname', '')}")


def connected(where: Database) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits each statement by itself.

    Raises:
        WorldError: the server is away, or lets nobody in.
    """
    module = _psycopg()
    given = module.conninfo.conninfo_to_dict(where.url)
    defaults: dict[str, Any] = {key: each for key, each in DEFAULTS.items() if key not in given}
    connection: psycopg.Connection[tuple[Any, ...]]
    with told(where, "reach"):
        connection = module.connect(where.url, autocommit=True, **defaults)
        # Whatever the role or the database says: what is acknowledged is on the disk.
        connection.execute("SET synchronous_commit = on")
        connection.execute(_setting("statement_timeout", STATEMENT_SECONDS_MAX * 1_000))
    return connection


def _setting(name: LiteralString, value: int) -> Any:
    from psycopg import sql  # noqa: PLC0415

    return sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))


@contextmanager
def told(where: Database, doing: str) -> Iterator[None]:
    """Turn the errors of psycopg into ours.

    Raises:
        WorldError: what the server said, or that it is away.
    """
    psycopg = _psycopg()
    try:
        yield
    except psycopg.Error as error:
        is_away = isinstance(error, psycopg.OperationalError)
        words = " ".join(_without_secrets(str(error), where).split()) or type(error).__name__
        # Not `from`: its words and its connection's parameters may hold a password.
        raise WorldError(f"cannot {doing} {where}: {words}", is_retryable=is_away) from None


def _without_secrets(text: str, where: Database) -> str:
    parameters = _psycopg().conninfo.conninfo_to_dict(where.url)
    for key in ("password", "sslpassword"):
        if secret := parameters.get(key):
            text = text.replace(str(secret), "(hidden)")
    return text


def _psycopg() -> Any:
    try:
        # Imported here: it is optional, and would make every other command slower to start.
        import psycopg  # noqa: PLC0415
        import psycopg.conninfo  # noqa: PLC0415
    except ImportError as error:
        fix = "install it: pip install 'herz[postgres]'"
        raise ConfigError("psycopg is not installed", where="--journal", fix=fix) from error
    return psycopg
