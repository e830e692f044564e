"""The file of checkpoints: what a crash cuts off is gone, what is damaged is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.errors import AuditError, WorldError
from herz.world.store.notes import NoteFile

NOTES = [b"one", b"two" * 20, b"three"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "checkpoints"
    file = NoteFile(found)
    assert file.read() == []
    for note in NOTES:
        file.append(note)
    return found


def test_notes_are_read_in_order(path: Path) -> None:
    assert NoteFile(path).read() == NOTES


def test_every_flipped_bit_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(AuditError, match=r"a checkpoint is damaged, at byte \d+"):
            NoteFile(path).read()
        with pytest.raises(AuditError, match="is damaged"):
            NoteFile(path).append(b"more")
        assert path.read_bytes() == changed


def test_after_a_crash_at_any_byte_the_notes_before_are_there_and_more_can_follow(
    path: Path,
) -> None:
    whole = path.read_bytes()
    last = len(whole) - len(NOTES[2]) - 12
    for size in range(last, len(whole)):
        for rest in (b"", b"\x00" * 40) if size == last else (b"",):
            path.write_bytes(whole[:size] + rest)
            assert NoteFile(path).read() == NOTES[:2]
            NoteFile(path).append(b"next")
            assert NoteFile(path).read() == [*NOTES[:2], b"next"]


def test_notes_are_read_from_a_place_on_and_one_by_one(path: Path) -> None:
    file = NoteFile(path)
    placed = file.read_from(0)
    assert [note for _, note in placed] == NOTES
    end = path.stat().st_size
    for number, (place, note) in enumerate(placed):
        assert file.read_from(place) == placed[number:]
        assert file.at(place) == note
        with pytest.raises(AuditError, match=f"at byte {place + 1} of"):
            file.at(place + 1)
    assert (file.read_from(end), file.at(end)) == ([], None)
    path.write_bytes(path.read_bytes()[:-1])
    assert file.at(placed[-1][0]) is None


def test_two_that_append_do_not_overwrite_each_other(path: Path) -> None:
    first, second = NoteFile(path), NoteFile(path)
    for number in range(4):
        (first if number % 2 else second).append(b"%d" % number)
    assert first.read() == [*NOTES, b"0", b"1", b"2", b"3"]


def test_a_file_that_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot write"):
        NoteFile(tmp_path / "no" / "checkpoints").append(b"note")
    with pytest.raises(WorldError, match="cannot read"):
        NoteFile(tmp_path).read()
