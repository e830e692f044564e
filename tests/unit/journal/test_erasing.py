"""What is erased is gone from the disk; the tree stays, and an entry tells who did it and why."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from herz.commit.audit.entry import Erasure, opened
from herz.commit.audit.log import Log
from herz.errors import ConfigError
from herz.front.cli.entry import main
from herz.front.cli.failure import Exit
from herz.journaling import reopened, replayed, verified
from herz.model.journal import Kind
from herz.world.store.files import Reader
from tests.support.journal import ORIGIN, entries_of, notary, simulated

SIGN, _ = notary(ORIGIN)
WHO = ["--actor", "ops", "--reason", "kept for 90 days"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with states and a checkpoint."""
    folder = tmp_path_factory.mktemp("whole") / "journal"
    simulated(folder, state_every=100)
    with reopened(folder) as log:
        Log(log.store, bytes, log.origin, SIGN).sign()
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to erase from."""
    return Path(shutil.copytree(whole, tmp_path / "journal"))


def erase(folder: Path, first: int, last: int, *more: str) -> int:
    """Run the command."""
    ends = ["--from", str(first), "--to", str(last)]
    return main(["audit", "erase", "--journal", str(folder), *ends, *WHO, *more])


def test_what_is_erased_is_gone_from_the_disk(folder: Path) -> None:
    before = entries_of(folder)
    at = next(at for at, entry in enumerate(before) if entry.leaf[1] == Kind.RECORD)
    record = before[at]
    assert erase(folder, at, at) == Exit.DONE
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert record.payload not in held
    assert record.salt not in held
    after = entries_of(folder)
    assert after[at].is_erased
    assert [entry.leaf for entry in after[: len(before)]] == [entry.leaf for entry in before]
    told = opened(after[-1])[1]
    assert isinstance(told, Erasure)
    assert (told.actor, told.reason, told.ranges) == ("ops", "kept for 90 days", ((at, at),))


def test_the_journal_verifies_and_says_by_which_entry(folder: Path) -> None:
    size = len(entries_of(folder))
    assert erase(folder, 100, 1500) == Exit.DONE
    found = verified(folder)
    assert found.problem is None
    assert found.checkpoints == 1
    assert found.covered == size
    assert {by for _, _, by in found.erased} == {size}
    assert found.erased[0][0] >= 100
    assert found.erased[-1][1] <= 1500


def test_replay_goes_on_behind_it_at_the_next_state(folder: Path) -> None:
    states = [at for at, entry in enumerate(entries_of(folder)) if entry.leaf[1] == Kind.STATE]
    assert erase(folder, 50, states[1] - 1) == Exit.DONE
    found = replayed(folder)
    assert found.first is None
    ((first, last),) = found.lost
    assert 50 <= first < 60
    assert last == states[1] - 1
    assert found.states == len(states) - 2


def test_states_that_are_erased_lose_their_blobs(folder: Path) -> None:
    before = len(list((folder / "blobs").iterdir()))
    states = sum(entry.leaf[1] == Kind.STATE for entry in entries_of(folder))
    assert erase(folder, 0, 10**6, "--kind", "state") == Exit.DONE
    assert len(list((folder / "blobs").iterdir())) == before - states
    assert verified(folder).problem is None
    assert sum(entry.is_erased for entry in entries_of(folder)) == states


def test_what_tells_of_the_journal_itself_stays(folder: Path) -> None:
    assert erase(folder, 0, 10**6) == Exit.DONE
    left = {Kind(entry.leaf[1]) for entry in entries_of(folder) if not entry.is_erased}
    assert left == {Kind.START, Kind.STEP, Kind.RECORD, Kind.ERASURE}
    assert verified(folder).problem is None
    with reopened(folder) as log:
        assert log.last_record()[0] > 300


def test_erasing_again_finishes_what_a_crash_left(folder: Path) -> None:
    original = Reader(folder).segments()[0][1].read_bytes()
    assert erase(folder, 10, 20) == Exit.DONE
    path = Reader(folder).segments()[0][1]
    # The entry was there, and the crash came before the first byte went.
    path.write_bytes(original + path.read_bytes()[len(original) :])
    assert verified(folder).problem is None
    assert erase(folder, 10, 20) == Exit.DONE
    assert entries_of(folder)[10].is_erased
    assert verified(folder).problem is None


def test_what_is_held_is_not_erased_until_it_is_released(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hold = ["audit", "hold", "--journal", str(folder), "--from", "30", "--to", "60"]
    hold += ["--actor", "legal", "--reason", "case 7"]
    assert main(hold) == Exit.DONE
    before = entries_of(folder)
    assert erase(folder, 55, 100) == Exit.USAGE
    assert "entries 30 to 60, by legal" in capfd.readouterr().err
    assert entries_of(folder) == before
    assert erase(folder, 61, 100) == Exit.DONE
    assert main([*hold, "--release", "--output", "json"]) == Exit.DONE
    assert erase(folder, 30, 60) == Exit.DONE
    assert verified(folder).problem is None


@pytest.mark.parametrize(
    ("ends", "what"),
    [(("5", "4"), "before the first"), (("x", "4"), "integer"), (("0", "0"), "nothing to erase")],
)
def test_what_cannot_be_erased_is_refused(
    folder: Path, ends: tuple[str, str], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--from", ends[0], "--to", ends[1], *WHO]
    assert main(["audit", "erase", "--journal", str(folder), *arguments]) == Exit.USAGE
    assert what in capfd.readouterr().err


def test_an_erasure_needs_a_journal(tmp_path: Path) -> None:
    assert erase(tmp_path / "none", 0, 1) == Exit.USAGE
    with pytest.raises(ConfigError, match="no journal"), reopened(tmp_path / "none"):
        pass


def retain(folder: Path, *keep: str, more: tuple[str, ...] = ()) -> int:
    """Run the command."""
    spans = [argument for one in keep for argument in ("--keep", one)]
    return main(["audit", "retain", "--journal", str(folder), *spans, *WHO, *more])


def times(folder: Path) -> list[int]:
    """By entry, the driver's time up to it."""
    found, now_ns = [], 0
    for entry in entries_of(folder):
        content = None if entry.is_erased else opened(entry)[1]
        if entry.leaf[1] in (Kind.STEP, Kind.INPUT, Kind.OUTCOME):
            now_ns = max(now_ns, getattr(content, "now_ns", 0), getattr(content, "time_ns", 0))
        found.append(now_ns)
    return found


def test_each_class_is_kept_for_its_span_and_what_is_held_for_longer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, at = entries_of(folder), times(folder)
    last_ns = max(at)
    minute = 60 * 10**9
    ages = [last_ns - at[n] for n, entry in enumerate(before) if entry.leaf[1] == Kind.STATE]
    span = f"state={sorted(ages)[len(ages) // 2] // 10**9}s"
    old = [number for number, now_ns in enumerate(at) if last_ns - now_ns > 30 * minute]
    inputs = [number for number in old if before[number].leaf[1] == Kind.INPUT]
    first, last = inputs[3], inputs[9]
    hold = ["--from", str(first), "--to", str(last), "--actor", "legal", "--reason", "case 7"]
    assert main(["audit", "hold", "--journal", str(folder), *hold]) == Exit.DONE
    assert retain(folder, "input=30m", span, more=("--dry-run",)) == Exit.DONE
    assert not any(entry.is_erased for entry in entries_of(folder))
    capsys.readouterr()
    assert retain(folder, "input=30m", span) == Exit.DONE
    assert f"entries {first} to {last} are held by legal" in capsys.readouterr().out
    after = entries_of(folder)
    gone = {number for number, entry in enumerate(after) if entry.is_erased}
    states = {
        number
        for number, entry in enumerate(before)
        if entry.leaf[1] == Kind.STATE and last_ns - at[number] > int(span[6:-1]) * 10**9
    }
    assert gone == states | {one for one in inputs if not first <= one <= last}
    assert 0 < len(states) < sum(entry.leaf[1] == Kind.STATE for entry in before)
    told = opened(after[-1])[1]
    assert isinstance(told, Erasure)
    assert (told.actor, len(told.blobs)) == ("ops", len(states))
    assert verified(folder).problem is None
    assert retain(folder, "input=30m", span) == Exit.DONE
    assert len(entries_of(folder)) == len(after), "nothing more to erase, and nothing to tell"


def test_records_are_kept_where_they_are_not_named_and_the_last_always(folder: Path) -> None:
    records = [n for n, entry in enumerate(entries_of(folder)) if entry.leaf[1] == Kind.RECORD]
    assert retain(folder, "record=0s") == Exit.DONE
    after = entries_of(folder)
    left = [number for number in records if not after[number].is_erased]
    assert left
    assert left[-1] == records[-1]
    assert not any(e.is_erased for e in after if e.leaf[1] != Kind.RECORD)


@pytest.mark.parametrize("keep", ["input", "step=1h", "input=soon", "=1h", "input=-1s"])
def test_what_is_no_retention_is_refused(
    folder: Path, keep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retain(folder, keep) == Exit.USAGE
    assert "--keep" in capsys.readouterr().err
