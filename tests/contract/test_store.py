"""One contract, two stores: the journal in a folder, and in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herz import app
from herz.commit.audit.log import Log
from herz.errors import AuditError, ConfigError, WorldError
from herz.front.cli import main
from herz.journaling import Resumption, journaled, replayed, verified, written
from herz.world.store.database import Database
from herz.world.store.evidence import BusyWriterError, StaleWriterError
from herz.world.store.frames import framed
from herz.world.store.where import Where, exists, indexed, reader_of, where_of, writer_of
from tests.support import postgres
from tests.support.adversaries import SIGNER
from tests.support.journal import SMALL
from tests.unit.world.store.test_files import entries

Places = Callable[[], Where]


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        yield made


@pytest.fixture(params=["folder", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """Gives new places for journals."""
    if request.param == "folder":
        folders = iter(range(100))
        return lambda: tmp_path / f"j{next(folders)}"
    if lack := postgres.missing():
        pytest.skip(lack)
    made: postgres.Server = request.getfixturevalue("server")
    return lambda: where_of(made.url())


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_entries_are_read_back_in_order_from_anywhere(places: Places) -> None:
    where, made = places(), entries(11)
    assert not exists(where)
    with pytest.raises(ConfigError, match="no journal"):
        reader_of(where)
    store = writer_of(where)
    for first, count in ((0, 3), (3, 1), (4, 5), (9, 2)):
        some = made[first : first + count]
        store.append(framed(some), expected=first, sync=bool(count % 2))
    store.close()
    assert exists(where)
    reader = reader_of(where)
    for first in range(len(made) + 2):
        for end in (None, *range(first, len(made) + 2)):
            assert list(reader.read(first, end)) == list(enumerate(made))[first:end]
    assert reader.cut == ""


def test_a_journal_goes_on_where_it_ended(places: Places) -> None:
    where = places()
    store = writer_of(where)
    store.append(framed(made := entries(5)), expected=0, sync=True)
    assert store.is_for_certain
    store.close()
    store = writer_of(where)
    assert (store.size, store.recovered, store.term) == (5, "", 0)
    store.append(framed(more := entries(2, 5)), expected=5, sync=False)
    assert not store.is_for_certain
    store.append(framed([]), expected=7, sync=True)
    assert store.is_for_certain
    again = store.begin(framed([]), expected=7, sync=True)
    assert again is not None
    again()
    store.close()
    assert [entry for _, entry in reader_of(where).read()] == made + more
    with pytest.raises(WorldError, match="nothing more"):
        store.append(framed(entries(1, 7)), expected=7, sync=True)


def test_a_leader_that_was_replaced_cannot_append(places: Places) -> None:
    where = places()
    old = writer_of(where, 1)
    old.append(framed(made := entries(2)), expected=0, sync=True)
    new = writer_of(where, 2)
    for _ in range(2):
        with pytest.raises(WorldError, match="term 1 is over: the leader's is 2"):
            old.append(framed(entries(1, 2)), expected=2, sync=False)
    new.append(framed(more := entries(1, 2)), expected=2, sync=True)
    with pytest.raises(StaleWriterError, match="leader's is 2"):
        writer_of(where, 1)
    with pytest.raises(StaleWriterError, match="3 entries"):
        new.append(framed(entries(1, 2)), expected=2, sync=True)
    old.close()
    new.close()
    reader = reader_of(where)
    assert [entry for _, entry in reader.read()] == made + more
    assert reader.leader_term() == 2


def test_a_second_writer_of_a_term_is_refused_and_the_first_goes_on(places: Places) -> None:
    where = places()
    one = writer_of(where, 4)
    one.append(framed(made := entries(1)), expected=0, sync=True)
    for _ in range(2):
        with pytest.raises(BusyWriterError, match=r"another process writes .* under term 4"):
            writer_of(where, 4)
    one.append(framed(more := entries(1, 1)), expected=1, sync=True)
    one.close()
    other = writer_of(where, 4)
    assert [entry for _, entry in other.read()] == made + more
    other.close()


def test_nothing_is_erased_nor_held_beside_a_live_writer(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    where = places()
    simulated(where)
    live = writer_of(where)
    size = live.size
    url = where.url if isinstance(where, Database) else str(where)
    who = ["--journal", url, "--actor", "ops", "--reason", "tried"]
    span = ["--from", "2", "--to", "9"]
    for name, *more in (["erase", *span], ["hold", *span], ["retain", "--keep", "input=0s"]):
        assert main(["audit", name, *who, *more]) == 3
        assert "stop it first" in capsys.readouterr().err
    live.append(framed(entries(1)), expected=size, sync=True)
    live.close()
    assert main(["audit", "hold", *who, *span]) == 0
    assert postgres.PASSWORD not in "".join(capsys.readouterr())


def test_an_empty_append_looks_whose_turn_it_is(places: Places) -> None:
    where = places()
    old, new = writer_of(where, 1), writer_of(where, 2)
    with pytest.raises(StaleWriterError, match="term 1 is over"):
        old.append(framed([]), expected=0, sync=True)
    old.close()
    new.close()


def test_what_is_erased_keeps_its_leaf_and_place(places: Places) -> None:
    where = places()
    store = writer_of(where)
    made = entries(9)
    for first in (0, 3, 6):
        store.append(framed(made[first : first + 3]), expected=first, sync=True)
    digest, other = store.put(b"state"), store.put(b"policy")
    assert store.put(b"state") == digest == hashlib.sha3_384(b"state").hexdigest()
    assert store.blobs() == sorted((digest, other))
    for _ in range(2):  # What is gone already may be erased again.
        store.erase([2, 3, 4, 8], [digest])
    store.append(framed(more := entries(1, 9)), expected=9, sync=True)
    store.close()
    reader = reader_of(where)
    found = [entry for _, entry in reader.read()]
    for index, (was, now) in enumerate(zip(made + more, found, strict=True)):
        assert now == ((was.leaf, b"", b"") if index in (2, 3, 4, 8) else was)
    assert reader.get(other) == b"policy"
    assert reader.blobs() == [other]
    with pytest.raises(AuditError, match=digest):
        reader.get(digest)


def test_notes_and_hashes_are_kept_in_order(places: Places) -> None:
    where = places()
    store = writer_of(where)
    store.append(framed(made := entries(5)), expected=0, sync=True)
    leaves = b"".join(hashlib.sha256(b"\0" + entry.leaf).digest() for entry in made)
    store.keep_hashes(0, 0, leaves)
    store.keep_hashes(1, 0, b"a" * 32)
    store.keep_hashes(1, 1, b"b" * 32 + b"c" * 32)
    store.keep_hashes(1, 1, b"d" * 32)
    for note in (b"one\n", b"", b"three\n"):
        store.keep_note(note)
    store.close()
    reader = reader_of(where)
    assert reader.notes() == [b"one\n", b"", b"three\n"]
    placed = reader.notes_from(0)
    assert reader.notes_from(placed[1][0]) == placed[1:]
    assert [reader.note_at(place) for place, _ in placed] == reader.notes()
    assert reader.note_at(placed[-1][0] + 1_000) is None
    assert reader.read_hashes(0, 1, 3) == leaves[32:128]
    assert reader.read_hashes(1, 0, 9) == b"a" * 32 + b"d" * 32 + b"c" * 32
    assert reader.read_hashes(1, 2, 9) == b"c" * 32
    assert reader.read_hashes(2, 0, 9) == b""


def simulated(where: Where, resumption: Resumption | None = None) -> str:
    """A small day in a journal; the digest of its decisions."""
    with written(where, state_every=20, resumption=resumption) as wrap:
        summary = app.run_simulation(
            scenario=str(SMALL),
            policy="default",
            seed=5,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
            wrap=wrap,
        )
    return summary.runs[0].decisions_digest


def test_a_day_is_verified_and_replayed_from_it(places: Places) -> None:
    where = places()
    simulated(where)
    found = verified(where)
    assert (found.problem, found.records > 10) == (None, True)
    again = replayed(where)
    assert (again.first, again.records) == (None, found.records)
    with indexed(where) as index:
        place = index.decision(3)
        assert place is not None
        assert index.entry(place) == index.at(place.entry)
        assert index.decisions == found.records
    with pytest.raises(ConfigError, match="there is a journal"):
        simulated(where)
    same = Resumption()
    simulated(where, same)
    assert same.repeated == found.size


def test_its_files_can_be_had(places: Places, tmp_path: Path) -> None:
    where, copy = places(), tmp_path / "copy"
    simulated(where)
    url = where.url if isinstance(where, Database) else str(where)
    to = ["--format", "files", "--to", str(copy)]
    assert main(["audit", "export", "--journal", url, *to]) == 0
    one, other = reader_of(where), reader_of(copy)
    assert list(other.read()) == list(one.read())
    assert other.blobs() == one.blobs()
    assert verified(copy).problem is None
    assert replayed(copy).first is None


def test_a_log_goes_on_from_its_checkpoint(places: Places) -> None:
    where = places()
    simulated(where)
    store = writer_of(where, 3)
    log = Log(store, bytes, SIGNER.origin)
    root = log.root
    journaled(log, app.load_policy("default"), 5)
    assert log.store.term == 3
    store.close()
    assert verified(where).problem is None
    assert root != log.root
