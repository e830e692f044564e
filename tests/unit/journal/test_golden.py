"""Journals that earlier versions wrote are read, verified and explained by this one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from herz.commit.audit.checkpoint import parse_signed
from herz.commit.audit.entry import Start, State, opened
from herz.commit.audit.note import parse_key
from herz.front.cli.entry import main
from herz.front.cli.failure import Exit
from herz.journaling import verified
from herz.model.record import Record
from herz.world.store.files import Reader
from tests.support.journal import entries_of

GOLDEN = sorted((Path(__file__).parents[2] / "data" / "journals").glob("*.tar.gz"))
SIZES = {
    "v1-outcomes-seed-3.tar.gz": (58, 12),
    "v1-seed-1.tar.gz": (58, 12),
    "v1-seed-2.tar.gz": (58, 12),
}
"""Entries and records of each; one that is gone, or was made anew, is seen."""


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name and folder of a golden journal."""
    with tarfile.open(request.param) as file:
        file.extractall(tmp_path, filter="data")
    return request.param.name, tmp_path


def test_all_golden_journals_are_there() -> None:
    assert {path.name for path in GOLDEN} == set(SIZES)


def test_golden_journals_verify_and_their_key_vouches(golden: tuple[str, Path]) -> None:
    name, folder = golden
    key = parse_key((folder / "key").read_text(encoding="utf-8").strip())

    def judge(note: bytes) -> str:
        (by,) = parse_signed(note)[1].verified([key])
        return by.key.name

    found = verified(folder, judge=judge)
    assert found.problem is None
    assert (found.size, found.records) == SIZES[name]
    assert (found.vouched, found.checkpoints) == (found.size, 1)


def test_golden_journals_say_what_they_said(golden: tuple[str, Path]) -> None:
    _, folder = golden
    contents = [opened(entry)[1] for entry in entries_of(folder)]
    assert isinstance(contents[0], Start)
    (state,) = (one for one in contents if isinstance(one, State))
    assert hashlib.sha3_384(Reader(folder).get(state.blob)).hexdigest() == state.blob
    records = [one for one in contents if isinstance(one, Record)]
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))


def test_golden_journals_are_explained(
    golden: tuple[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    _, folder = golden
    arguments = ["--journal", str(folder), "--output", "json"]
    assert main(["explain", "web-00000", *arguments]) == Exit.DONE
    found = json.loads(capfd.readouterr().out)
    assert found["decisions"][-1]["decided"] == "place"
    assert found["outcomes"][-1][-1]["outcome"] == "bound"
    # The first ones were written before answers were told in full.
    is_full = "outcomes" in golden[0]
    assert ("resource_version" in found["outcomes"][-1][-1]) == is_full
    assert main(["audit", "show", "1", *arguments]) == Exit.DONE
    assert main(["audit", "export", "--journal", str(folder)]) == Exit.DONE


LATE = (
    *(
        "inspect",
        "platform",
        "dataclasses",
        "json",
        "argparse",
        "hashlib",
        "logging",
        "concurrent.futures",
    ),
    *("herz.ports", "herz.model.objects", "cryptography"),
)
LOADED = """
import sys
from herz.front.cli import process
code = process()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def loaded_by(*words: str) -> list[str]:
    """The modules of a process of its own that ran this command."""
    command = [sys.executable, "-c", LOADED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.split("\n")[-2].split()


def test_a_decision_is_shown_without_what_takes_long_to_load(golden: tuple[str, Path]) -> None:
    _, folder = golden
    at, proof = ["--journal", str(folder)], str(folder / "proof")
    key = (folder / "key").read_text(encoding="utf-8").strip()
    trust = folder / "trust.toml"
    trust.write_text(f'format = "herz-trust/1"\nquorum = 0\n[[log]]\nkey = "{key}"\n')
    trusting = ["--trust", str(trust)]
    for words in (
        ["audit", "show", "1", *at],
        ["explain", "web-00000", *at],
        ["audit", "prove", "1", *at, *trusting, "--to", proof],
        ["audit", "check", proof, *trusting],
    ):
        ours = loaded_by(*words)
        assert "msgspec" in ours
        assert [name for name in LATE if name in ours] == []
