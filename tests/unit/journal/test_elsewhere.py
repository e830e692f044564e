"""Journals of whole traces are replayed to the same records, in another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from herz.front.cli.entry import main

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("HERZ_DATA", ROOT.parent / "shared" / "data"))


def replayed_elsewhere(folder: Path, hash_seed: str) -> dict[str, object]:
    """What `herz audit replay` says in another process, on another hash seed."""
    command = "import sys; from herz.front.cli.entry import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["audit", "replay", "--journal", str(folder), "--output", "json"]
    done = subprocess.run(
        [sys.executable, "-c", command, *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("arguments", "decisions"),
    [
        (["shop", "--seed", "4"], 10_000),
        (["openb-times", "--load", "400", "--data", str(DATA)], 8_000),
    ],
)
def test_a_whole_trace_is_replayed_in_another_process_on_another_hash_seed(
    tmp_path: Path,
    arguments: list[str],
    decisions: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--data" in arguments and not (DATA / "openb").is_dir():
        pytest.skip("the openb trace is not here (set HERZ_DATA)")
    folder = tmp_path / "journal"
    told = ["--journal", str(folder), "--state-every", "2000", "--output", "json"]
    assert main(["simulate", *arguments, *told]) == 0
    run = json.loads(capsys.readouterr().out)["runs"][0]
    assert run["decisions"] >= decisions
    assert not run["pods"]["pending"] or "openb-times" not in arguments
    found = replayed_elsewhere(folder, "4242")
    assert found["is_same"]
    assert (found["records"], found["first"]) == (run["decisions"], None)
    states = found["states"]
    assert isinstance(states, int)
    assert states >= 2
