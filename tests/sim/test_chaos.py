"""Whole seeds of the scenario `chaos` under every checker; `make sim` runs a thousand."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from herz import app, builtin
from herz.front.sweep import Outcome, counts_of, main, policy_of, report, shortfalls
from herz.model.record import PolicyReference
from herz.world.sim.catalogue import load_scenario
from herz.world.sim.chaos import chaos_scenario
from herz.world.sim.result import RunResult
from herz.world.sim.run import simulate

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
SEEDS = [
    int(line)
    for line in (Path(__file__).parent / "chaos-seeds.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def chaos(seed: int) -> RunResult:
    policy = app.load_policy(policy_of(seed))
    reference = PolicyReference(policy.digest, policy.name, policy.version)
    scenario = chaos_scenario(is_budget_hard=app.is_budget_hard(policy))
    return simulate(scenario, partial(app.build_machine, policy), reference, seed)


def chaos_digest(seed: int) -> str:
    return chaos(seed).decisions_digest


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_chaos_keeps_every_check_and_is_wild_enough(seed: int) -> None:
    result = chaos(seed)
    assert result.stopped == "drained"
    assert shortfalls(counts_of(result)) == []
    # Pods that waited for volumes, and gangs that were refused or short of members.
    assert min(result.effects["PatchClaim"], result.effects["PatchVolume"]) >= 1
    assert any("pod group" in reason for reason in result.reasons)


@pytest.mark.slow
def test_chaos_decides_the_same_whatever_the_hash_seed() -> None:
    code = "from tests.sim.test_chaos import chaos_digest as d; print(d(3))"
    digests = set()
    for hash_seed in ("1", "4242"):
        path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 96


def test_seed_in_which_too_little_happens_is_reported() -> None:
    enough = {
        "decisions": 9,
        "nodes": 50,
        "pod events": 2000,
        "node events": 20,
        "API faults": 20,
        "preemptions": 5,
    }
    few = {**enough, "preemptions": 4, "pod events": 1993}
    outcomes = [Outcome(7, "default", 1.0, "", enough), Outcome(8, "default", 1.0, "", few)]
    told = list(report(outcomes))
    assert [line for line in told if line.startswith("short")] == [f"{'short':<14}{1:>12}"]
    assert told[-1] == "seed 8 falls short: 1993 pod events, not 2000, 4 preemptions, not 5"


def test_one_seed_in_four_runs_with_hard_budgets() -> None:
    assert [policy_of(seed) for seed in range(4)] == [*["default"] * 3, "hard-budgets"]
    assert [app.is_budget_hard(app.load_policy(policy_of(seed))) for seed in (2, 3)] == [
        False,
        True,
    ]


def test_chaos_is_in_the_catalogue() -> None:
    scenario = load_scenario("chaos")
    assert scenario.is_strict
    assert not scenario.is_budget_hard


@pytest.mark.slow
def test_sweep_names_the_seed_that_fails_and_how_to_repeat_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = [name for name in builtin.DEFAULT_RULES if name != "InterPodAffinity"]
    blind = tmp_path / "blind.toml"
    names = "".join(f'[[plugins]]\nname = "{name}"\n' for name in rules)
    blind.write_text(f'name = "blind"\n{names}', encoding="utf-8")
    assert main(["--first", "4", "--seeds", "1", "--workers", "1", "--policy", str(blind)]) == 1
    told = capsys.readouterr().out
    assert "anti-affinity" in told or "required affinity" in told
    assert f"  herz simulate chaos --policy {blind} --seed 4" in told
