"""What others get of a journal: its files, and tiles that a client of tlog-tiles can follow."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from herz.commit.audit.checkpoint import parse_signed
from herz.commit.audit.log import Log
from herz.commit.audit.tree import (
    Tile,
    TileHashes,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)
from herz.front.cli import main
from herz.model.journal import LEAF_BYTES, SALT_BYTES
from herz.world.store.files import FileStore, Reader
from tests.support.adversaries import SIGNER, history
from tests.support.journal import ORIGIN, entries_of, forge

PODS = [f"pod-{number}" for number in range(70)]


def grown(journal: Path) -> None:
    """One more entry, and a checkpoint over it."""
    who = ["--journal", str(journal), "--actor", "ops", "--reason", "kept"]
    assert main(["audit", "hold", *who, "--from", "0", "--to", "1"]) == 0
    store = FileStore.open(journal)
    Log(store, os.urandom, ORIGIN, lambda checkpoint: SIGNER.sign(checkpoint.text).data).sign()
    store.close()


def exported(journal: Path, to: Path, *more: str) -> int:
    return main(
        ["audit", "export", "--journal", str(journal), "--format", "tiles", "--to", str(to), *more]
    )


def hashes_of(folder: Path) -> tuple[TileHashes, int, bytes]:
    """What a client knows of a log: its tiles, and what its checkpoint says."""
    checkpoint, _ = parse_signed((folder / "checkpoint").read_bytes())
    read = TileHashes(lambda tile: (folder / tile.path).read_bytes(), checkpoint.size)
    return read, checkpoint.size, checkpoint.root


def leaves_of(folder: Path, size: int) -> list[bytes]:
    """The leaves of all entry bundles, read as the specification says."""
    found: list[bytes] = []
    for first in range(0, size, 256):
        data = (folder / Tile(0, first // 256, min(256, size - first)).entries_path).read_bytes()
        while data:
            count = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + count])
            data = data[2 + count :]
    return found


def test_a_client_follows_the_log_by_its_tiles(tmp_path: Path) -> None:
    journal, log = history(tmp_path / "journal", PODS), tmp_path / "log"
    assert exported(journal, log) == 0
    read, size, root = hashes_of(log)
    assert size > 256, "more than one tile"
    assert root_of(read, size) == root
    leaves = leaves_of(log, size)
    assert leaves == [entry.leaf for _, entry in Reader(journal).read(0, size)]
    assert {len(leaf) for leaf in leaves} == {LEAF_BYTES}
    for index in (0, 255, 256, size - 1):
        proof = inclusion_proof(read, index, size)
        check_inclusion(leaf_hash(leaves[index]), index, size, proof, root)
    payloads = b"".join(entry.payload for _, entry in Reader(journal).read())
    published = b"".join(path.read_bytes() for path in log.rglob("*") if path.is_file())
    assert b"pod-7" in payloads
    assert b"pod-7" not in published


def test_a_log_that_grew_is_consistent_with_what_was_published(tmp_path: Path) -> None:
    journal, log = history(tmp_path / "journal", PODS), tmp_path / "log"
    assert exported(journal, log) == 0
    _, old, old_root = hashes_of(log)
    grown(journal)
    assert exported(journal, log) == 0
    read, new, root = hashes_of(log)
    assert new > old
    check_consistency(old, new, consistency_proof(read, old, new), old_root, root)


def payloads_of(folder: Path, size: int) -> list[bytes]:
    """Salt and payload of each entry of the first bundle."""
    path = folder / Tile(0, 0, size).entries_path.replace("entries", "payloads")
    data, found = path.read_bytes(), []
    while data:
        count = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + count])
        data = data[4 + count :]
    return found


def test_payloads_are_published_when_asked_and_gone_once_erased(tmp_path: Path) -> None:
    journal, log = history(tmp_path / "journal", PODS[:3]), tmp_path / "log"
    assert exported(journal, log, "--with-payloads") == 0
    _, size, _ = hashes_of(log)
    for leaf, payload in zip(leaves_of(log, size), payloads_of(log, size), strict=True):
        assert len(payload) > SALT_BYTES
        assert leaf[2:] == hashlib.sha3_384(payload).digest()
    who = ["--journal", str(journal), "--actor", "ops", "--reason", "asked to"]
    assert main(["audit", "erase", *who, "--from", "3", "--to", "4"]) == 0
    again = tmp_path / "again"
    assert exported(journal, again, "--with-payloads") == 0
    assert leaves_of(again, size) == leaves_of(log, size)
    told = payloads_of(again, size)
    assert [index for index, one in enumerate(told) if not one] == [3]


def test_entries_that_are_not_the_checkpoints_are_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal, log = history(tmp_path / "journal", PODS[:3]), tmp_path / "log"
    entries = entries_of(journal)
    forge(journal, [*entries[:4], entries[5], entries[4], *entries[6:]])
    assert exported(journal, log) == 1
    assert "not those of the checkpoint" in capsys.readouterr().err
    assert not log.exists()


def test_tiles_of_another_log_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    assert exported(history(tmp_path / "one", PODS), log) == 0
    assert exported(history(tmp_path / "two", PODS), log) == 1
    assert "another log's" in capsys.readouterr().err


def test_what_cannot_be_exported_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = history(tmp_path / "journal", PODS[:2], signer=None, sign_after=0)
    assert exported(journal, tmp_path / "log") == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "log").exists()
    who = ["audit", "export", "--journal", str(journal)]
    assert main([*who, "--format", "files"]) == 2
    assert main([*who, "--format", "csv", "--with-payloads"]) == 2
    assert "only for tiles" in capsys.readouterr().err
    assert main([*who, "--format", "files", "--to", str(journal)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_files_are_the_same_in_another_place(tmp_path: Path) -> None:
    journal, other = history(tmp_path / "journal", PODS), tmp_path / "copy"
    to = ["--to", str(other)]
    assert main(["audit", "export", "--journal", str(journal), "--format", "files", *to]) == 0
    for name in ("segments", "blobs"):
        files = sorted((journal / name).iterdir())
        assert [path.read_bytes() for path in files] == [
            path.read_bytes() for path in sorted((other / name).iterdir())
        ]
        assert {stat.S_IMODE(path.stat().st_mode) for path in (other / name).iterdir()} == {0o600}
    assert Reader(other).notes() == Reader(journal).notes()
    assert Reader(other).leader_term() == Reader(journal).leader_term()
    assert main(["audit", "verify", "--journal", str(other), "--integrity-only"]) == 0
