"""A run that is killed goes on in its journal, which is then that of a run nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from herz.app import load_policy
from herz.errors import ConfigError
from herz.front.cli.entry import main
from herz.journaling import Resumption, replayed, verified, written
from herz.model.journal import Kind
from tests.support.journal import GOLDEN_SCENARIO, Written, entries_of

ROOT = Path(__file__).parents[3]


def arguments(folder: Path, *more: str, seed: int = 3) -> list[str]:
    """The command of a short run."""
    told = ["--seed", str(seed), "--state-every", "3", "--output", "json", *more]
    return ["simulate", str(GOLDEN_SCENARIO), "--journal", str(folder), *told]


def payloads(folder: Path) -> list[bytes]:
    """What the entries say."""
    return [entry.payload for entry in entries_of(folder)]


def killed(folder: Path, appends: int, size: int, *more: str) -> None:
    """Run until a SIGKILL that leaves so many bytes of an append."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.killed_run", str(appends), str(size)),
            *arguments(folder, *more),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def _out(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(arguments(whole)) == 0
    told = json.loads(capsys.readouterr().out)
    chance = random.Random(1)
    killed(cut, 4, 30)
    for at in range(3):
        before = len(entries_of(cut))
        assert payloads(cut) == payloads(whole)[:before]
        killed(cut, 2 + chance.randrange(4), chance.randrange(60), "--resume")
        assert len(entries_of(cut)) > before, at
        assert verified(cut).problem is None
    assert len(list((cut / "torn").iterdir())) >= 3
    assert main(arguments(cut, "--resume")) == 0
    digests = [one["runs"][0]["decisions_digest"] for one in (told, json.loads(_out(capsys)))]
    assert digests[0] == digests[1]
    assert payloads(cut) == payloads(whole)
    assert replayed(cut).first is None


def test_a_run_that_had_ended_is_compared_and_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal"
    assert main(arguments(folder)) == 0
    hold = ["audit", "hold", "--journal", str(folder), "--from", "3", "--to", "5"]
    assert main([*hold, "--actor", "a", "--reason", "b"]) == 0
    before = entries_of(folder)
    capsys.readouterr()
    again = [argument for argument in arguments(folder, "--resume") if argument != "json"]
    again.remove("--output")
    assert main(again) == 0
    assert f"{len(before) - 1} entries were there, and are the same" in capsys.readouterr().out
    assert entries_of(folder) == before
    assert before[-1].leaf[1] == Kind.HOLD


def test_another_run_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "journal"
    assert main(arguments(folder)) == 0
    before = entries_of(folder)
    assert main(arguments(folder, "--resume", seed=4)) == 2
    assert "its entry 0 is not what this run says" in capsys.readouterr().err
    other = arguments(folder, "--resume", "--state-every", "1000")
    assert main(other) == 2
    assert "of another run" in capsys.readouterr().err
    assert entries_of(folder) == before


def test_a_run_that_ends_before_its_journal_is_another(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    one = Written(folder)
    one.step()
    one.close()
    again = Resumption()
    with (
        pytest.raises(ConfigError, match="stands behind the end of this run"),
        written(folder, origin="test.example/log", resumption=again) as wrap,
    ):
        wrap(load_policy("default"), 1, ())


@pytest.mark.parametrize(
    ("more", "words"),
    [((), "no journal"), (("--journal",), "there is no journal to go on with")],
)
def test_there_must_be_a_journal_to_go_on_in(
    tmp_path: Path, more: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(tmp_path / "none", "--resume")
    if more:
        command = [one for one in command if one not in ("--journal", str(tmp_path / "none"))]
    assert main(command) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_log_of_another_name_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    Written(folder).close()
    with (
        pytest.raises(ConfigError, match="another name"),
        written(folder, resumption=Resumption()) as wrap,
    ):
        wrap(load_policy("default"), 1, ())
