"""Whatever is done to a journal's files is found, and the first entry at fault is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from herz.commit.audit import grouped
from herz.commit.audit.checkpoint import parse_signed
from herz.commit.audit.entry import Erasure, Step, encode, opened, seal
from herz.commit.audit.log import Log
from herz.commit.audit.tree import Tree, leaf_hash
from herz.commit.audit.verify import Verification, Verified
from herz.errors import AuditError
from herz.model.journal import Kind, Sealed
from herz.model.record import Record
from herz.world.store.files import FileStore, Reader
from herz.world.store.frames import framed
from tests.support.journal import ORIGIN, Written, entries_of, forge, notary
from tests.support.objects import make_node, make_pod

SIGN, KEY = notary(ORIGIN)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of 3 decisions with a checkpoint over all but the last entries."""
    folder = tmp_path_factory.mktemp("whole") / "journal"
    written = Written(folder, notary=SIGN)
    written.apply(make_node("a"), make_node("b"))
    for number in range(4):
        written.apply(make_pod(f"p{number}"))
        written.bound(written.step(after=1))
        if number == 2:
            written.log.commit()
            written.log.sign()
    written.log.commit()
    written.store.close()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "journal"))


def verified(folder: Path, **options: object) -> Verified:
    """What verification comes to."""
    return Verification(Reader(folder), **options).run()  # type: ignore[arg-type]


def signed_size(folder: Path) -> int:
    """Entries that the last checkpoint covers."""
    return parse_signed(Reader(folder).notes()[-1])[0].size


def test_a_sound_journal_verifies(whole: Path) -> None:
    found = verified(whole)
    assert found.problem is None
    assert (found.records, found.checkpoints) == (4, 1)
    assert found.size == len(entries_of(whole))
    assert found.covered == signed_size(whole) < found.size
    assert found.vouched == 0


def test_somebody_may_vouch_for_it(whole: Path) -> None:
    def judge(note: bytes) -> str:
        (by,) = parse_signed(note)[1].verified([KEY])
        return by.key.name

    found = verified(whole, judge=judge)
    assert (found.vouched, found.by) == (signed_size(whole), ORIGIN)

    def nobody(note: bytes) -> str:
        raise AuditError("not known")

    assert verified(whole, judge=nobody).vouched == 0


@pytest.mark.slow
def test_any_part_verifies_by_itself(whole: Path) -> None:
    size = len(entries_of(whole))
    for first in range(size):
        found = verified(whole, first=first)
        assert found.problem is None, first
        assert (found.first, found.size) == (first, size)
        assert verified(whole, end=first + 1).problem is None


Change = Callable[[list[Sealed], int], None]


def remade(entries: list[Sealed], at: int) -> None:
    """A payload that says something else, with a leaf of its own."""
    kind, content = opened(entries[at])
    if isinstance(content, Record):
        content = replace(content, tied=content.tied + 1)
        entries[at] = seal(kind, encode(content), os.urandom(32))
    else:
        entries[at] = seal(Kind.STEP, encode(Step(limit=9, now_ns=9)), os.urandom(32))


def salted(entries: list[Sealed], at: int) -> None:
    """The same payload under another salt."""
    kind, content = opened(entries[at])
    entries[at] = seal(kind, encode(content), os.urandom(32))


def removed(entries: list[Sealed], at: int) -> None:
    """One entry less."""
    del entries[at]


def inserted(entries: list[Sealed], at: int) -> None:
    """One entry more."""
    entries.insert(at, seal(Kind.STEP, encode(Step(limit=9, now_ns=9)), os.urandom(32)))


def swapped(entries: list[Sealed], at: int) -> None:
    """An entry and the next in the other order."""
    entries[at], entries[at + 1] = entries[at + 1], entries[at]


@pytest.mark.slow
@pytest.mark.parametrize("change", [remade, salted, removed, inserted, swapped])
def test_a_change_of_any_entry_is_found_and_named(folder: Path, change: Change) -> None:
    sound = entries_of(folder)
    for at in range(signed_size(folder) - 1):
        entries = list(sound)
        change(entries, at)
        forge(folder, entries)
        problem = verified(folder).problem
        assert problem is not None, at
        assert (problem.entry, problem.last) == (at, at), problem


@pytest.mark.slow
@pytest.mark.parametrize("change", [remade, salted, removed, inserted, swapped])
def test_with_another_tree_the_checkpoint_still_finds_it(folder: Path, change: Change) -> None:
    sound = entries_of(folder)
    for at in range(signed_size(folder) - 1):
        entries = list(sound)
        change(entries, at)
        forge(folder, entries, is_tree_kept=at % 2 == 0)
        problem = verified(folder).problem
        assert problem is not None, at
        assert problem.entry <= at + 1


def contradicted(entry: Sealed) -> Sealed:
    """The leaf and the salt of one entry with the payload of another, which is as canonical."""
    kind, content = opened(entry)
    if isinstance(content, Record):
        return entry._replace(payload=encode(replace(content, tied=content.tied + 1)))
    if kind is Kind.STEP:
        return entry._replace(payload=encode(Step(limit=9, now_ns=9)))
    return entry._replace(payload=entry.payload.replace(b'"time_ns":1', b'"time_ns":9'))


@pytest.mark.parametrize("size", [1, 3, 256])
def test_a_payload_that_its_leaf_does_not_commit_to_is_named_wherever_it_stands(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "ENTRIES_MAX", size)
    sound, tried = entries_of(folder), 0
    for at, entry in enumerate(sound):
        other = contradicted(entry)
        if other == entry:
            continue
        tried += 1
        forge(folder, [*sound[:at], other, *sound[at + 1 :]])
        found = verified(folder)
        assert found.problem is not None, at
        assert (found.problem.entry, found.problem.last) == (at, at)
        assert found.problem.what == "payload and salt are not what its leaf commits to"
        assert found.size == at, "those before it were looked at"
    assert tried > 8
    forge(folder, sound)
    assert verified(folder).problem is None


def resigned(folder: Path, entries: Sequence[Sealed]) -> None:
    """The entries as if nothing else had ever been there, signed with the key."""
    shutil.rmtree(folder)
    store = FileStore.open(folder)
    for digest in {path.name for path in BLOBS}:
        store.put(next(path for path in BLOBS if path.name == digest).read_bytes())
    store.append(framed(entries), expected=0, sync=True)
    Log(store, os.urandom, ORIGIN, SIGN).sign()
    store.close()


BLOBS: list[Path] = []


def test_who_has_the_key_is_found_by_a_remembered_checkpoint_only(
    whole: Path, folder: Path
) -> None:
    BLOBS[:] = list((whole / "blobs").iterdir())
    remembered = parse_signed(Reader(whole).notes()[-1])[0]
    sound = entries_of(folder)
    places = [at for at, entry in enumerate(sound) if entry.leaf[1] == Kind.RECORD]
    for entries in (sound[: places[1]], [*sound[: places[-1]]]):
        # Cut off before a record, with a signature: nothing inside contradicts it.
        resigned(folder, entries)
        assert verified(folder).problem is None
        problem = verified(folder, since=remembered).problem
        if len(entries) < remembered.size:
            assert problem is not None
            assert (problem.entry, problem.last) == (len(entries), remembered.size - 1)
            assert "missing" in problem.what
        else:
            assert problem is None
    changed = list(sound)
    salted(changed, 1)
    resigned(folder, changed)
    assert verified(folder).problem is None
    problem = verified(folder, since=remembered).problem
    assert problem is not None
    assert problem.entry <= 1 <= problem.last
    assert "given checkpoint" in problem.what


def test_entries_that_a_checkpoint_covers_are_missed(folder: Path) -> None:
    entries = entries_of(folder)[: signed_size(folder) - 2]
    forge(folder, entries)
    problem = verified(folder).problem
    assert problem is not None
    assert problem.entry == len(entries)
    assert "missing" in problem.what
    with pytest.raises(AuditError, match="acknowledged are missing"):
        Log(FileStore.open(folder), os.urandom, ORIGIN)


def test_other_entries_than_a_checkpoints_are_not_written_on(folder: Path) -> None:
    entries = entries_of(folder)
    salted(entries, 2)
    forge(folder, entries, is_tree_kept=False)
    with pytest.raises(AuditError, match="not those of their checkpoint"):
        Log(FileStore.open(folder), os.urandom, ORIGIN)


@pytest.mark.parametrize("is_gone", [True, False])
def test_the_policys_bytes_count(folder: Path, is_gone: bool) -> None:
    (blob,) = (folder / "blobs").iterdir()
    if is_gone:
        blob.unlink()
    else:
        blob.write_bytes(blob.read_bytes().replace(b"default", b"Default", 1))
    problem = verified(folder).problem
    assert problem is not None
    assert problem.entry == 0
    assert "policy" in problem.what


def test_a_damaged_hash_of_the_tree_is_no_fault_of_the_entry(folder: Path) -> None:
    path = folder / "tiles" / "0"
    data = bytearray(path.read_bytes())
    data[32 * 3 + 5] ^= 4
    path.write_bytes(data)
    problem = verified(folder).problem
    assert problem is not None
    assert (problem.entry, "the entry is sound" in problem.what) == (3, True)
    # A writer makes the hashes anew.
    store = FileStore.open(folder)
    Log(store, os.urandom, ORIGIN)
    store.close()
    assert verified(folder).problem is None


def test_every_flipped_bit_of_a_checkpoint_is_found(folder: Path) -> None:
    path = folder / "checkpoints"
    whole = path.read_bytes()
    for at in range(4, len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        path.write_bytes(data)
        assert verified(folder).problem is not None, at


def test_an_append_that_was_cut_off_is_told(folder: Path) -> None:
    ((_, path),) = Reader(folder).segments()
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 1)
    found = verified(folder)
    assert found.problem is None
    assert "cut off" in found.cut


def test_erased_entries_verify_if_an_entry_tells_of_them(folder: Path) -> None:
    entries = entries_of(folder)
    gone = [1, 2, 4]
    for at in gone:
        entries[at] = Sealed(entries[at].leaf, b"", b"")
    told = Erasure(actor="me", ranges=((1, 2), (4, 4)), reason="asked", time_ns=5)
    by = len(entries)
    entries.append(seal(Kind.ERASURE, encode(told), os.urandom(32)))
    _write_erased(folder, entries)
    found = verified(folder)
    assert found.problem is None
    assert found.erased == [(1, 2, by), (4, 4, by)]
    _write_erased(folder, entries[:-1])
    problem = verified(folder).problem
    assert problem is not None
    assert (problem.entry, "no entry tells" in problem.what) == (1, True)


def _write_erased(folder: Path, entries: Sequence[Sealed]) -> None:
    """Like `forge`, with the frames of erased entries as an erasure leaves them."""
    from herz.world.store.frames import (
        BATCH,
        FRAME_BYTES,
        SEGMENT,
        batch_header,
        erased,
        segment_header,
    )

    plain = [entry._replace(salt=b"\1" * 32) if entry.is_erased else entry for entry in entries]
    data = bytearray(segment_header(0) + batch_header(framed(plain), 0, 0) + framed(plain).frames)
    offset = SEGMENT.size + BATCH.size
    for entry in entries:
        size = FRAME_BYTES + len(entry.payload)
        if entry.is_erased:
            data[offset : offset + size] = erased(bytes(data[offset : offset + size]))
        offset += size
    ((_, path),) = Reader(folder).segments()
    path.write_bytes(data)


def test_the_log_is_the_same_tree_that_its_leaves_give(whole: Path) -> None:
    tree = Tree()
    for entry in entries_of(whole):
        tree.append(leaf_hash(entry.leaf))
    store = FileStore.open(whole)
    assert Log(store, os.urandom, ORIGIN).root == tree.root()
    store.close()
