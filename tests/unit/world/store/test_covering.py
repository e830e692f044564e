"""The index finds the signed checkpoints that cover an entry, whatever was kept, and when."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.errors import AuditError
from herz.world.store.files import FileStore, Reader
from herz.world.store.index import Index


def note(size: int, number: int) -> bytes:
    return b"bench.example/log\n%d\nroot\n\n signature %d\n" % (size, number)


def covering(folder: Path, entry: int) -> list[bytes]:
    with closing(Index(Reader(folder))) as index:
        return list(index.covering(entry))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FileStore.open(tmp_path).close()
    return tmp_path


@given(
    rounds=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=4),
    entry=st.integers(0, 9),
)
def test_they_come_by_size_and_those_of_a_size_as_they_were_kept(
    rounds: list[list[int]], entry: int
) -> None:
    kept: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(FileStore.open(folder)) as store:
            for sizes in rounds:
                for size in sizes:
                    store.keep_note(note(size, len(kept)))
                    kept.append((size, len(kept)))
                with closing(Index(Reader(folder))) as index:
                    found, others = list(index.covering(entry)), list(index.before(entry))
                assert found == [note(*one) for one in sorted(kept) if one[0] > entry]
                assert others[::-1] == [note(*one) for one in sorted(kept) if one[0] <= entry]


def test_a_file_that_is_another_one_is_read_anew(folder: Path) -> None:
    path = folder / "checkpoints"
    with closing(FileStore.open(folder)) as store:
        for size in (3, 5, 7):
            store.keep_note(note(size, size))
    assert len(covering(folder, 4)) == 2
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3])  # The first one: all are as long.
    assert covering(folder, 4) == []
    assert covering(folder, 2) == [note(3, 3)]
    path.write_bytes(b"")
    with closing(FileStore.open(folder)) as store:
        for size in (2, 6, 7):  # As many bytes; the last one is the same.
            store.keep_note(note(size, size))
    assert covering(folder, 1) == [note(2, 2), note(6, 6), note(7, 7)]


def test_where_the_index_cannot_be_written_all_are_looked_at(folder: Path) -> None:
    with closing(FileStore.open(folder)) as store:
        store.keep_note(note(7, 0))
        assert covering(folder, 0) == [note(7, 0)]
        store.keep_note(note(5, 1))
        store.keep_note(note(2, 2))
    with closing(Index(Reader(folder))) as index:
        index._base.execute("PRAGMA query_only = ON")
        assert list(index.covering(4)) == [note(5, 1), note(7, 0)]
        assert list(index.before(5)) == [note(5, 1), note(2, 2)]


def test_what_is_damaged_or_names_no_size_is_told(folder: Path) -> None:
    path = folder / "checkpoints"
    with closing(FileStore.open(folder)) as store:
        store.keep_note(note(3, 3))
        assert covering(folder, 0) == [note(3, 3)]
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + b"!" + whole[-2:])
        with pytest.raises(AuditError, match="a checkpoint is damaged, at byte 0"):
            covering(folder, 0)
        path.write_bytes(whole)
        assert covering(folder, 0) == [note(3, 3)]
        store.keep_note(b"log\n%d\nroot\n" % 2**63)
    with pytest.raises(AuditError, match="names no size"):
        covering(folder, 0)
