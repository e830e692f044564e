"""The journal on disk is a prefix of what was appended, whatever happened to the last append."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from herz.errors import AuditError, ConfigError, WorldError
from herz.model.journal import LEAF_BYTES, SALT_BYTES, Sealed
from herz.world.store.evidence import StaleWriterError
from herz.world.store.files import FileStore, Reader
from herz.world.store.frames import DamageError, erased, framed


def entries(count: int, first: int = 0, size: int = 30) -> list[Sealed]:
    """Entries that differ."""
    return [
        Sealed(
            bytes([1, 3]) + number.to_bytes(LEAF_BYTES - 2, "big"),
            bytes([number % 255 + 1]) * SALT_BYTES,
            b"%d " % number + b"x" * size,
        )
        for number in range(first, first + count)
    ]


def filled(folder: Path, batches: Sequence[int], **options: int) -> list[Sealed]:
    """A journal of batches of so many entries; closed."""
    made: list[Sealed] = []
    store = FileStore.open(folder, **options)
    for count in batches:
        more = entries(count, len(made))
        store.append(framed(more), expected=len(made), sync=True)
        made += more
    store.close()
    return made


def read(folder: Path) -> list[Sealed]:
    """All entries that are there."""
    return [entry for _, entry in Reader(folder).read()]


def test_entries_are_read_back_in_order_from_anywhere(tmp_path: Path) -> None:
    made = filled(tmp_path, [3, 1, 5, 2])
    assert list(Reader(tmp_path).read()) == list(enumerate(made))
    for first in range(len(made) + 1):
        for end in range(first, len(made) + 1):
            assert list(Reader(tmp_path).read(first, end)) == list(enumerate(made))[first:end]


def test_segments_follow_each_other(tmp_path: Path) -> None:
    made = filled(tmp_path, [2] * 10, segment_bytes_max=500)
    assert len(Reader(tmp_path).segments()) > 3
    assert read(tmp_path) == made
    assert list(Reader(tmp_path).read(11, 14)) == list(enumerate(made))[11:14]


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    made = filled(tmp_path, [2, 3])
    store = FileStore.open(tmp_path)
    assert (store.size, store.recovered) == (5, "")
    store.append(framed(more := entries(2, 5)), expected=5, sync=False)
    assert not store.is_for_certain
    store.append(framed([]), expected=7, sync=True)
    assert store.is_for_certain
    store.close()
    assert read(tmp_path) == made + more


@pytest.mark.parametrize("segment_bytes_max", [500, 1 << 20])
def test_for_certain_means_that_the_kernel_was_told_to_keep_every_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment_bytes_max: int
) -> None:
    kept: dict[int, int] = {}
    fdatasync = os.fdatasync

    def noted(file: int) -> None:
        fdatasync(file)
        kept[os.fstat(file).st_ino] = os.fstat(file).st_size

    monkeypatch.setattr(os, "fdatasync", noted)
    store = FileStore.open(tmp_path, segment_bytes_max=segment_bytes_max)
    size = 0
    for sync in (False, False, True, False, True):
        store.append(framed(entries(3, size)), expected=size, sync=sync)
        size += 3
        there = [path.stat() for path in (tmp_path / "segments").iterdir()]
        is_kept = all(kept.get(each.st_ino, 0) == each.st_size for each in there)
        assert is_kept == store.is_for_certain == sync
    store.close()


def test_no_journal_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no journal"):
        Reader(tmp_path / "none")


def test_a_kill_at_any_byte_of_an_append_leaves_the_prefix(tmp_path: Path) -> None:
    made = filled(tmp_path / "whole", [2, 2])
    (path,) = (tmp_path / "whole" / "segments").iterdir()
    before = path.stat().st_size
    store = FileStore.open(tmp_path / "whole")
    store.append(framed(entries(3, 4)), expected=4, sync=True)
    store.close()
    after = path.stat().st_size
    for length in range(before, after):
        folder = tmp_path / "cut"
        shutil.copytree(tmp_path / "whole", folder)
        with open(folder / "segments" / path.name, "r+b") as file:
            file.truncate(length)
        store = FileStore.open(folder)
        assert store.size == 4
        assert ("cut off" in store.recovered) == (length > before)
        assert len(list((folder / "torn").glob("*"))) == (length > before)
        store.append(framed(more := entries(1, 4)), expected=4, sync=True)
        store.close()
        assert read(folder) == made + more
        shutil.rmtree(folder)


def test_a_kill_while_a_segment_is_begun_leaves_the_prefix(tmp_path: Path) -> None:
    made = filled(tmp_path, [4] * 4, segment_bytes_max=500)
    last = Reader(tmp_path).segments()[-1][1]
    beyond = last.with_name(f"{len(made):020}.seg")
    for length in (0, 1, 31):
        beyond.write_bytes(b"H" * length)
        store = FileStore.open(tmp_path)
        assert store.size == len(made)
        assert "no header" in store.recovered
        store.close()
        assert read(tmp_path) == made


def test_every_flipped_bit_is_found_and_located(tmp_path: Path) -> None:
    made = filled(tmp_path, [2, 3])
    (path,) = (tmp_path / "segments").iterdir()
    whole = path.read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1 << at % 8
        path.write_bytes(data)
        got: list[Sealed] = []
        with pytest.raises(DamageError) as raised:
            got.extend(entry for _, entry in Reader(tmp_path).read())
        # What is before the place is sound, and the place is not beyond the flipped bit.
        assert got == made[: raised.value.index]
        assert raised.value.offset <= at
        assert at < raised.value.offset + 300


def test_damage_before_a_sound_append_is_no_crash(tmp_path: Path) -> None:
    filled(tmp_path, [2, 3])
    (path,) = (tmp_path / "segments").iterdir()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(AuditError, match="no cut-off append"):
        FileStore.open(tmp_path)
    assert path.read_bytes() == data


def test_a_removed_segment_is_found(tmp_path: Path) -> None:
    filled(tmp_path, [2] * 10, segment_bytes_max=500)
    segments = Reader(tmp_path).segments()
    segments[1][1].unlink()
    with pytest.raises(DamageError, match="next segment") as raised:
        read(tmp_path)
    assert raised.value.index == segments[1][0]


def test_swapped_batches_are_found(tmp_path: Path) -> None:
    filled(tmp_path, [1, 1, 1])
    (path,) = (tmp_path / "segments").iterdir()
    data = path.read_bytes()
    size = (len(data) - 32) // 3
    head, one, two, three = data[:32], *(data[32 + at * size :][:size] for at in range(3))
    for other, index in ((one + three + two, 1), (two + one + three, 0), (one + three, 1)):
        path.write_bytes(head + other)
        with pytest.raises(DamageError, match="reordered") as raised:
            read(tmp_path)
        assert raised.value.index == index


def test_a_full_disk_keeps_the_prefix_and_takes_nothing_more(tmp_path: Path) -> None:
    made = filled(tmp_path, [2])
    (path,) = (tmp_path / "segments").iterdir()
    store = FileStore.open(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, limits[1]))
        with pytest.raises(WorldError, match="too large"):
            store.append(framed(entries(2, 2)), expected=2, sync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    with pytest.raises(WorldError, match="nothing more"):
        store.append(framed(entries(2, 2)), expected=2, sync=True)
    store.close()
    assert read(tmp_path) == made


def test_a_leader_that_was_replaced_cannot_append(tmp_path: Path) -> None:
    old = FileStore.open(tmp_path, 1)
    old.append(framed(made := entries(2)), expected=0, sync=True)
    new = FileStore.open(tmp_path, 2)
    with pytest.raises(StaleWriterError, match="term 1 is over"):
        old.append(framed(entries(1, 2)), expected=2, sync=True)
    new.append(framed(more := entries(1, 2)), expected=2, sync=True)
    with pytest.raises(StaleWriterError, match="leader's is 2"):
        FileStore.open(tmp_path, 1)
    with pytest.raises(WorldError, match="nothing more"):
        old.append(framed(entries(1, 3)), expected=3, sync=True)
    old.close()
    new.close()
    assert read(tmp_path) == made + more


def test_a_writer_that_lost_count_cannot_append(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path)
    store.append(framed(entries(2)), expected=0, sync=True)
    with pytest.raises(StaleWriterError, match="2 entries"):
        store.append(framed(entries(1, 1)), expected=1, sync=True)
    store.close()


def test_a_segment_that_somebody_else_wrote_to_takes_nothing_more(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path)
    store.append(framed(made := entries(1)), expected=0, sync=True)
    (path,) = (tmp_path / "segments").iterdir()
    path.write_bytes(path.read_bytes() + b"HZBT")
    with pytest.raises(StaleWriterError, match="not as this writer left it"):
        store.append(framed(entries(1)), expected=1, sync=True)
    store.close()
    assert read(tmp_path) == made


def test_erased_frames_keep_their_leaf_and_place(tmp_path: Path) -> None:
    made = filled(tmp_path, [2, 2])
    data, batch = next(Reader(tmp_path).batches(2))
    (path,) = (tmp_path / "segments").iterdir()
    size = (batch.end - batch.start) // 2
    frame = erased(data[batch.start : batch.start + size])
    path.write_bytes(data[: batch.start] + frame + data[batch.start + size :])
    found = read(tmp_path)
    assert found[2] == (made[2].leaf, b"", b"")
    assert found[2].is_erased
    assert (found[:2], found[3]) == (made[:2], made[3])


def test_blobs_are_kept_by_digest(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path)
    digest = store.put(b"policy")
    assert store.put(b"policy") == digest
    assert Reader(tmp_path).get(digest) == b"policy"
    (tmp_path / "blobs" / digest).write_bytes(b"Policy")
    with pytest.raises(AuditError, match="another digest"):
        store.get(digest)
    with pytest.raises(AuditError, match="No such file"):
        store.get("0" * 96)
    store.close()
