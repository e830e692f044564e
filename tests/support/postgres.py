"""A PostgreSQL server for as long as tests need it: its own folder, its own socket, a password."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

PASSWORD = "not-to-be-seen-4711"
"""No output of a command may have it."""
START_S = 60.0
_NUMBERS = itertools.count()
_PLACES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
_SEARCHED = os.pathsep.join((os.environ.get("PATH", ""), *_PLACES))


def missing() -> str:
    """What a test of the store in PostgreSQL lacks on this machine; empty when nothing."""
    if any(shutil.which(name, path=_SEARCHED) is None for name in ("initdb", "postgres")):
        return "no PostgreSQL: apt-get install postgresql"
    if importlib.util.find_spec("psycopg") is None:
        return "no psycopg: pip install 'herz[postgres]'"
    return ""


class Server:
    """A server; made by `server`.

    Args:
        folder: with its data, its socket and its log; nobody else's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes]

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers.

        Args:
            options: settings, such as `fsync=off`.
        """
        settings = [f"unix_socket_directories={self._folder}", "listen_addresses=", *options]
        with open(self._folder / "log", "ab") as log:
            # Not by pg_ctl: whoever starts it here must take its exit code when it is killed.
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self._data, *(f"-c{each}" for each in settings)],
                stdout=log,
                stderr=log,
                user=_user(),
                cwd=self._folder,
            )
        pid, last = self._data / "postmaster.pid", time.monotonic() + START_S
        while "ready" not in (pid.read_text() if pid.exists() else ""):
            is_up = self._process.poll() is None and time.monotonic() < last
            assert is_up, (self._folder / "log").read_text()
            os.sched_yield()

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT in order, SIGQUIT at once."""
        self._process.send_signal(number)
        self._process.wait(START_S)

    def kill(self) -> None:
        """Kill it and all its processes, and wait until they are gone."""
        number = self._process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        for each in (number, *map(int, children)):
            os.kill(each, signal.SIGKILL)
        self._process.wait(START_S)
        while any(_is_alive(each) for each in map(int, children)):
            os.sched_yield()
        # It says "ready" still.
        (self._data / "postmaster.pid").unlink()

    def end(self) -> None:
        """See that nothing of it runs any more."""
        if self._process.poll() is None:
            self.stop(signal.SIGQUIT)

    def url(self) -> str:
        """A place in it for one more journal."""
        schema = f"j{os.getpid()}_{next(_NUMBERS)}"
        self.do(f"CREATE SCHEMA {schema}")
        return f"{self._base}&options={quote(f'-csearch_path={schema}', safe='')}"

    def do(self, sql: str, url: str = "") -> list[tuple[object, ...]]:
        """What a statement of the administrator gives."""
        import psycopg

        with psycopg.connect(url or self._base, autocommit=True) as base:
            cursor = base.execute(sql.encode())
            return [] if cursor.description is None else list(cursor.fetchall())

    @property
    def _base(self) -> str:
        return f"postgresql://herz:{PASSWORD}@/postgres?host={quote(str(self._folder), safe='')}"

    def make(self) -> None:
        """Make its data, with one user who has a password."""
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="ascii")
        if (user := _user()) is not None:
            for path in (self._folder, password):
                shutil.chown(path, user)
        options = ("-N", "-E", "UTF8", "-U", "herz", "-A", "scram-sha-256", "--pwfile", password)
        subprocess.run(
            [_program("initdb"), "-D", self._data, *options],
            check=True,
            capture_output=True,
            user=_user(),
            cwd=self._folder,
        )


@contextmanager
def server(*options: str) -> Iterator[Server]:
    """A new server, which runs; ended at the end, whatever became of it."""
    # A socket's path has at most 107 bytes: the tests' own folder is too deep.
    with tempfile.TemporaryDirectory(prefix="herz-pg-") as folder:
        made = Server(Path(folder))
        made.make()
        made.start(*options)
        try:
            yield made
        finally:
            made.end()


def _program(name: str) -> str:
    path = shutil.which(name, path=_SEARCHED)
    assert path is not None, missing()
    return path


def _user() -> str | None:
    """Who runs the server: it refuses root."""
    return "postgres" if os.geteuid() == 0 else None


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
