"""Promises in the loop: the same decisions in every process, and again from the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli.entry import main
from tests.support.promises_model import made_model

ROOT = Path(__file__).parents[2]
SCENARIO = """
[scenario]
name = "small"
duration = "7m"
expect_every_fit = false

[truth]
sample = "20s"
profile = "2m"

[[nodes]]
name = "node"
count = 3
cpu = "16"

[[workloads]]
name = "web"
namespace = "shop"
class = "online"
replicas = 10
cpu = "1"
service = { quiet = "25ms", uses = { cpu = 700, bandwidth = 40 }, feels = { bandwidth = 1500 } }
arrive = { pattern = "even", over = "5m" }

[[workloads]]
name = "hog"
namespace = "data"
class = "batch"
replicas = 6
cpu = "1"
run = "4m"
service = { quiet = "1s", uses = { cpu = 900, bandwidth = 250 }, slow = [0, 1] }
arrive = { pattern = "random", over = "5m" }
"""
RULES = ("Understood", "NodeResourcesFit", "SLAClasses", "SLARefuse", "SLAFit")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scenario, a policy and a model."""
    plugins: list[Mapping[str, Any]] = [{"name": name} for name in RULES[:3]]
    plugins += [{"name": name, "args": {"model": "made.json"}} for name in RULES[3:]]
    (tmp_path / "small.toml").write_text(SCENARIO)
    (tmp_path / "policy.json").write_text(json.dumps({"name": "promises", "plugins": plugins}))
    (tmp_path / "made.json").write_bytes(made_model().dump())
    return tmp_path


def simulate(folder: Path, hash_seed: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "herz.front.cli", "simulate", str(folder / "small.toml")]
    command += ["--policy", str(folder / "policy.json"), "--output", "json"]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, timeout=50)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_processes_with_other_hash_seeds_decide_the_same(folder: Path) -> None:
    first, second = simulate(folder, "0"), simulate(folder, "4711")
    assert first["decisions"] == 16
    assert first["decisions_digest"] == second["decisions_digest"]


@pytest.mark.slow
def test_journal_holds_model_and_samples_and_is_replayed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = folder / "journal"
    run = ["simulate", str(folder / "small.toml"), "--policy", str(folder / "policy.json")]
    assert main([*run, "--journal", str(journal), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    # The model's file is not asked for again: the policy in the journal has it.
    (folder / "made.json").unlink()
    assert main(["audit", "replay", "--journal", str(journal), "--output", "json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["records"] == told["decisions"] == 16
    assert main(["explain", "web-00008", "--journal", str(journal)]) == 0
    assert "promise on node-" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_model_that_is_gone_or_torn_stops_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["explain", "web-00008", "--scenario", str(folder / "small.toml")]
    run += ["--policy", str(folder / "policy.json")]
    (folder / "made.json").write_bytes(made_model().dump()[:-100])
    assert main(run) == 0
    assert "a careful figure: model-corrupt" in " ".join(capsys.readouterr().out.split())
    (folder / "made.json").unlink()
    assert main(run) == 0
    assert "a careful figure: model-missing" in " ".join(capsys.readouterr().out.split())
