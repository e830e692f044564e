"""Flips, deletions, swaps, and truncation with re-signing: what is found, and by whom."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herz.commit.audit.checkpoint import Checkpoint, parse_signed
from herz.commit.audit.tree import Nodes, leaf_hash, root_of
from herz.commit.audit.witness import WitnessServer
from herz.errors import AuditError
from herz.model.journal import Sealed
from herz.world.store.files import Reader
from tests.support.adversaries import (
    SIGNER,
    UNWITNESSED,
    WITNESS,
    ask,
    history,
    is_accepted,
    last_note,
    verified,
)
from tests.support.journal import entries_of, forge
from tests.unit.commit.test_witness import Memory

CHECKED = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return history(tmp_path_factory.mktemp("truth") / "journal", ["p0", "p1", "p2"])


@contextmanager
def copied(truth: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(truth, Path(folder, "journal")))


def signed_anew(folder: Path, entries: list[Sealed]) -> None:
    """The entries in a journal with a right tree, and one checkpoint by the log's own key."""
    forge(folder, entries, is_tree_kept=False)
    (folder / "checkpoints").unlink()
    nodes = Nodes(leaf_hash(entry.leaf) for entry in entries)
    text = Checkpoint(SIGNER.origin, len(nodes), root_of(nodes, len(nodes))).text
    Reader(folder).keep_note(SIGNER.sign(text).data)


@pytest.mark.slow
@CHECKED
@given(data=st.data())
def test_any_flipped_bit_of_the_evidence_is_found(truth: Path, data: st.DataObject) -> None:
    with copied(truth) as folder:
        evidence = sorted(
            path for part in ("segments/*", "checkpoints", "blobs/*") for path in folder.glob(part)
        )
        path = data.draw(st.sampled_from(evidence))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) * 8 - 1))
        content[at // 8] ^= 1 << at % 8
        path.write_bytes(content)
        assert not is_accepted(verified(folder, UNWITNESSED))


@pytest.mark.slow
@CHECKED
@given(data=st.data())
def test_any_deletion_or_swap_is_found_not_later_than_where_it_is(
    truth: Path, data: st.DataObject
) -> None:
    entries = entries_of(truth)
    first = data.draw(st.integers(0, len(entries) - 2))
    second = data.draw(st.integers(first + 1, len(entries) - 1))
    changed = list(entries)
    if data.draw(st.booleans()):
        changed[first], changed[second] = changed[second], changed[first]
    else:
        del changed[first]
    with copied(truth) as folder:
        forge(folder, changed, is_tree_kept=True)
        found = verified(folder, UNWITNESSED)
        assert found.problem is not None
        assert found.problem.entry <= first + 1
        # The same where the forger has made the tree anew, too.
        forge(folder, changed, is_tree_kept=False)
        assert not is_accepted(verified(folder, UNWITNESSED))


@pytest.mark.slow
@CHECKED
@given(kept=st.integers(1, 1_000))
def test_truncation_with_re_signing_is_found_by_outside_memory_and_by_nothing_else(
    truth: Path, kept: int
) -> None:
    entries = entries_of(truth)
    size = 1 + kept % (len(entries) - 1)
    remembered = parse_signed(last_note(truth).data)[0]
    witness = WitnessServer(WITNESS, UNWITNESSED, Memory())
    ask(witness, truth)
    with copied(truth) as folder:
        signed_anew(folder, entries[:size])
        assert is_accepted(verified(folder, UNWITNESSED))
        assert not is_accepted(verified(folder, UNWITNESSED, since=remembered))
        with pytest.raises(AuditError, match="entries were removed"):
            ask(witness, folder)


@pytest.mark.slow
@settings(CHECKED, max_examples=10)
@given(changed=st.integers(0, 2), more=st.integers(0, 2))
def test_another_history_that_is_re_signed_is_found_by_outside_memory_and_by_nothing_else(
    truth: Path, changed: int, more: int
) -> None:
    remembered = parse_signed(last_note(truth).data)[0]
    witness = WitnessServer(WITNESS, UNWITNESSED, Memory())
    ask(witness, truth)
    pods = [f"q{at}" if at == changed else f"p{at}" for at in range(3 + more)]
    with tempfile.TemporaryDirectory() as name:
        folder = history(Path(name, "journal"), pods)
        assert is_accepted(verified(folder, UNWITNESSED))
        assert not is_accepted(verified(folder, UNWITNESSED, since=remembered))
        with pytest.raises(AuditError, match=r"another history|entries were removed"):
            ask(witness, folder)
