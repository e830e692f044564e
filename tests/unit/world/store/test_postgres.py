"""The journal in PostgreSQL is a prefix of what was appended, whoever is killed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from herz.commit.audit.tree import Tree, leaf_hash
from herz.errors import ConfigError, WorldError
from herz.front.cli import main
from herz.journaling import replayed, verified
from herz.world.store.frames import DamageError, framed
from herz.world.store.where import reader_of, where_of, writer_of
from tests.support import postgres
from tests.unit.world.store.test_files import entries

pytestmark = [
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing()),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        yield made


def acknowledged(process: subprocess.Popen[str], count: int) -> list[tuple[int, str]]:
    """What the writer said was on the disk, at least so often."""
    assert process.stdout is not None
    said: list[tuple[int, str]] = []
    while len(said) < count:
        size, root = process.stdout.readline().split()
        said.append((int(size), root))
    return said


def rest(process: subprocess.Popen[str]) -> tuple[list[tuple[int, str]], str]:
    """What it said until it ended, and its last error."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    error = next((line for line in lines if line.startswith("error ")), "")
    whole = [line.split() for line in lines if line.endswith("\n") and not line.startswith("error")]
    return [(int(size), root) for size, root in whole], error


@pytest.mark.parametrize("victim", ["writer", "server"])
def test_a_kill_leaves_a_prefix_that_verifies_and_nothing_acknowledged_is_missing(
    server: postgres.Server, victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url, rng = server.url(), random.Random(1)
    said: list[tuple[int, str]] = []
    for round_ in range(1, 4):
        command = [sys.executable, "-m", "tests.support.journal_writer", url, str(round_)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said += acknowledged(process, rng.randrange(1, 60))
        if victim == "writer":
            process.kill()
            more, _ = rest(process)
        else:
            server.kill()
            more, error = rest(process)
            assert "cannot write postgresql://" in error
            assert postgres.PASSWORD not in error
            server.start()
        said += more
        tree = Tree()
        roots = {}
        for index, entry in reader_of(where_of(url)).read():
            tree.extend(leaf_hash(entry.leaf))
            roots[index + 1] = tree.root().hex()
        assert [roots.get(size) for size, _ in said] == [root for _, root in said]
        assert verified(where_of(url)).problem is None
    assert replayed(where_of(url)).first is None


def test_a_server_that_is_away_is_said_and_nothing_is_appended(
    server: postgres.Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    store.append(framed(made := entries(2)), expected=0, sync=True)
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(WorldError, match=r"cannot write|takes nothing more"):
                store.append(framed(entries(1, 2)), expected=2, sync=True)
        store.close()
        assert main(["audit", "verify", "--integrity-only", "--journal", url]) == 3
        said = capsys.readouterr().err
        assert "cannot reach postgresql://" in said
        assert postgres.PASSWORD not in said
    finally:
        server.start()
    assert [entry for _, entry in reader_of(where_of(url)).read()] == made


def test_a_full_server_keeps_the_prefix_and_takes_nothing_more(server: postgres.Server) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    store.append(framed(made := entries(2)), expected=0, sync=True)
    # As a full disk would, in the middle of the statement.
    schema = url.rpartition("%3D")[2]
    server.do(
        f"CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', "
        "MESSAGE = 'could not extend file: No space left on device'; END $$"
    )
    server.do(
        f"CREATE TRIGGER full_disk AFTER INSERT ON {schema}.herz_batches "
        f"FOR EACH ROW EXECUTE FUNCTION {schema}.full()"
    )
    with pytest.raises(WorldError, match="No space left"):
        store.append(framed(entries(1, 2)), expected=2, sync=True)
    with pytest.raises(WorldError, match="nothing more"):
        store.append(framed(entries(1, 2)), expected=2, sync=True)
    store.close()
    reader = reader_of(where_of(url))
    assert (reader.count(), [entry for _, entry in reader.read()]) == (2, made)


def test_rows_that_were_removed_changed_or_exchanged_are_found(server: postgres.Server) -> None:
    for sql, index in (
        ("DELETE FROM herz_batches WHERE first = 2", 2),
        ("DELETE FROM herz_batches WHERE first = 4", 4),
        ("UPDATE herz_batches SET data = set_byte(data, 60, 255) WHERE first = 2", 2),
        ("UPDATE herz_batches SET data = data || 'x'::bytea WHERE first = 2", 2),
        ("UPDATE herz_batches SET first = (2 - first / 2) * 2 + 1000", 0),
    ):
        url = server.url()
        store = writer_of(where_of(url))
        made = entries(6)
        for first in (0, 2, 4):
            store.append(framed(made[first : first + 2]), expected=first, sync=True)
        store.close()
        server.do(sql, url)
        got: list[object] = []
        with pytest.raises(DamageError) as raised:
            got.extend(entry for _, entry in reader_of(where_of(url)).read())
        assert raised.value.index == index, sql
        assert got == made[:index]


def test_a_server_that_keeps_no_promises_is_refused() -> None:
    with (
        postgres.server("fsync=off") as careless,
        pytest.raises(ConfigError, match="keeps no promises"),
    ):
        writer_of(where_of(careless.url()))


def test_what_is_no_url_is_said_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"postgresql://herz:{postgres.PASSWORD}@host:port:5/x?nonsense=%zz"
    assert main(["audit", "verify", "--journal", url]) == 2
    said = capsys.readouterr().err
    assert "not a URL of PostgreSQL" in said
    assert postgres.PASSWORD not in said
