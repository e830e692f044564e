"""Each adversary of docs/reference/proof.md: what is found, and what is not."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from herz.commit.audit.checkpoint import parse_signed
from herz.commit.audit.entry import opened
from herz.commit.audit.tree import (
    Nodes,
    check_consistency,
    consistency_proof,
    leaf_hash,
)
from herz.commit.audit.trust import coverage
from herz.commit.audit.witness import WitnessServer
from herz.errors import AuditError
from herz.model.events import ObjectApplied
from herz.model.journal import Sealed
from herz.world.store.files import Reader
from tests.support.adversaries import (
    SIGNER,
    UNWITNESSED,
    WITNESS,
    WITNESSED,
    ask,
    have_cosigned,
    history,
    is_accepted,
    last_note,
    verified,
)
from tests.support.journal import entries_of, forge
from tests.support.trust import cosigned, log_signer
from tests.unit.commit.test_witness import Memory

PODS = ("p0", "p1", "p2", "p3")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log as it was written; a witness has cosigned its end."""
    folder = history(tmp_path_factory.mktemp("truth") / "journal", PODS)
    have_cosigned(folder)
    return folder


@pytest.fixture
def folder(truth: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(truth, tmp_path / "journal"))


def test_the_truth_is_accepted(truth: Path) -> None:
    found = verified(truth, WITNESSED)
    assert is_accepted(found)
    assert found.vouched == found.size
    assert coverage(Reader(truth).notes(), found.size, WITNESSED).vouched == found.size


# ---- the tenant of a node: sees proofs and tiles, and can create pods ---------------------------


def test_a_tenant_learns_nothing_of_others_from_leaves(truth: Path, tmp_path: Path) -> None:
    entries = entries_of(truth)
    again = entries_of(history(tmp_path / "again", PODS))
    for entry, same in zip(entries, again, strict=True):
        guess = hashlib.sha3_384(entry.payload).digest()
        assert entry.leaf[2:] != guess  # He who guesses the payload cannot confirm it.
        assert entry.leaf[2:] != same.leaf[2:] or entry.payload != same.payload


def test_what_a_tenant_tells_the_api_is_logged_as_told_and_not_judged(tmp_path: Path) -> None:
    # Not found, as the page says: the log proves what was told, not that it was true.
    false = history(tmp_path / "journal", ["p0", "i-claim-to-be-small"])
    assert is_accepted(verified(false, UNWITNESSED))
    told = [opened(entry)[1] for entry in entries_of(false)]
    names = [each.object.metadata.name for each in told if isinstance(each, ObjectApplied)]
    assert "i-claim-to-be-small" in names


# ---- the administrator of the disk or database: writes every file, has no key -------------------


def changed(entries: list[Sealed], at: int) -> list[Sealed]:
    other = entries[at]
    payload = other.payload[:-1] + b" }"
    return [*entries[:at], other._replace(payload=payload), *entries[at + 1 :]]


def removed(entries: list[Sealed], at: int) -> list[Sealed]:
    return [*entries[:at], *entries[at + 1 :]]


def inserted(entries: list[Sealed], at: int) -> list[Sealed]:
    return [*entries[:at], entries[at - 1], *entries[at:]]


def reordered(entries: list[Sealed], at: int) -> list[Sealed]:
    return [*entries[: at - 1], entries[at], entries[at - 1], *entries[at + 1 :]]


@pytest.mark.parametrize("is_tree_kept", [True, False])
@pytest.mark.parametrize("change", [changed, removed, inserted, reordered])
def test_an_administrator_without_the_key_is_found_and_the_place_named(
    folder: Path, change: Callable[[list[Sealed], int], list[Sealed]], is_tree_kept: bool
) -> None:
    entries = entries_of(folder)
    forge(folder, change(entries, 5), is_tree_kept=is_tree_kept)
    found = verified(folder, WITNESSED)
    assert found.problem is not None
    assert found.problem.entry <= 6
    assert not is_accepted(found)


def test_an_administrator_who_writes_another_history_cannot_sign_it(
    folder: Path, tmp_path: Path
) -> None:
    other = history(tmp_path / "other", ["q0", "q1"], signer=log_signer(9, origin=SIGNER.origin))
    found = verified(other, UNWITNESSED)
    assert found.problem is None
    assert not is_accepted(found)
    assert (
        "no trusted key has signed"
        in coverage(Reader(other).notes(), found.size, UNWITNESSED).refused[0]
    )


def test_who_cuts_log_and_checkpoints_back_is_found_by_who_remembers_only(folder: Path) -> None:
    remembered = parse_signed(last_note(folder).data)[0]
    reader = Reader(folder)
    first = min(reader.notes(), key=lambda note: parse_signed(note)[0].size)
    entries = entries_of(folder)[: parse_signed(first)[0].size]
    forge(folder, entries, is_tree_kept=False)
    (folder / "checkpoints").unlink()
    reader.keep_note(first)
    assert is_accepted(verified(folder, UNWITNESSED)), "an older, true log looks whole"
    found = verified(folder, UNWITNESSED, since=remembered)
    assert found.problem is not None
    assert "some are missing" in found.problem.what


# ---- root on the host, and the operator: write every file, and sign with the key ----------------


def test_root_who_signs_another_history_is_not_found_without_outside_memory(
    tmp_path: Path,
) -> None:
    other = history(tmp_path / "other", ["q0", "q1", "q2"])
    assert is_accepted(verified(other, UNWITNESSED))
    stated = coverage(Reader(other).notes(), len(entries_of(other)), UNWITNESSED).statement
    assert stated.endswith("who has the key can rewrite them unseen")


def test_root_is_found_by_a_remembered_checkpoint(truth: Path, tmp_path: Path) -> None:
    remembered = parse_signed(last_note(truth).data)[0]
    for pods in (["q0", *PODS[1:]], [*PODS[:3], "q3"], PODS[:3], [*PODS, "more"]):
        other = history(tmp_path / "-".join(pods), pods)
        assert is_accepted(verified(other, UNWITNESSED))
        assert not is_accepted(verified(other, UNWITNESSED, since=remembered))


def test_root_has_no_cosignature_and_gets_none(truth: Path, tmp_path: Path) -> None:
    witness = WitnessServer(WITNESS, UNWITNESSED, Memory())
    ask(witness, truth)
    other = history(tmp_path / "other", ["q0", *PODS[1:], "more"])
    found = verified(other, WITNESSED)
    assert found.problem is None
    assert not is_accepted(found)
    with pytest.raises(AuditError, match="another history"):
        ask(witness, other)
    with pytest.raises(AuditError, match="entries were removed"):
        ask(witness, history(tmp_path / "short", ["q0"], sign_after=1))


def test_a_cosignature_does_not_move_to_another_history(truth: Path, tmp_path: Path) -> None:
    other = history(tmp_path / "other", ["q0", *PODS[1:]])
    lines = [s for s in last_note(truth).signatures if s.name == WITNESS.key.name]
    Reader(other).keep_note(last_note(other).signed(*lines).data)
    assert not is_accepted(verified(other, WITNESSED))


def test_two_histories_for_two_auditors_are_found_when_they_compare(
    truth: Path, tmp_path: Path
) -> None:
    other = history(tmp_path / "other", [*PODS[:2], "q2", "q3", "q4"])
    assert is_accepted(verified(truth, UNWITNESSED))
    assert is_accepted(verified(other, UNWITNESSED))
    first, second = (parse_signed(last_note(each).data)[0] for each in (truth, other))
    for each in (truth, other):
        nodes = Nodes(leaf_hash(entry.leaf) for entry in entries_of(each))
        if len(nodes) >= second.size:
            proof = consistency_proof(nodes, first.size, second.size)
            with pytest.raises(AuditError):
                check_consistency(first.size, second.size, proof, first.root, second.root)


def test_what_the_operator_adds_after_the_last_cosignature_is_named_as_uncovered(
    folder: Path, tmp_path: Path
) -> None:
    longer = history(tmp_path / "longer", [*PODS, "p4"])
    notes = [*Reader(longer).notes()]
    size = len(entries_of(longer))
    first = min(notes, key=lambda note: parse_signed(note)[0].size)
    covered = parse_signed(first)[0].size

    Reader(longer).keep_note(cosigned(parse_signed(first)[1], WITNESS).data)
    found = verified(longer, WITNESSED)
    assert is_accepted(found)
    assert found.vouched == covered < size
    stated = coverage(Reader(longer).notes(), size, WITNESSED).statement
    assert stated.startswith(f"no outside memory covers entries {covered} to {size - 1}")
