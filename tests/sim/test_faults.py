"""Whole-system runs by seed, without and with every fault, under the checkers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herz.ports import MachineFactory
from herz.world.sim.faults import Faults
from herz.world.sim.run import simulate
from herz.world.sim.scenario import Scenario
from herz.world.sim.scenario_file import read_scenario_file
from tests.sim.first_fit import POLICY

HERE = Path(__file__).parent
SMALL = HERE.parent / "data" / "scenarios" / "small.toml"
SEEDS = [
    int(line)
    for line in (HERE / "seeds.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def small(faults: Faults) -> Scenario:
    return replace(read_scenario_file(SMALL), faults=faults)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_run_under_every_fault_keeps_all_checks(machine_factory: MachineFactory, seed: int) -> None:
    result = simulate(small(Faults.heavy()), machine_factory, POLICY, seed)
    assert result.pods.ended == result.pods.arrived
    assert result.pods.bound > 200
    assert result.pods.gated == 2
    assert result.stopped in ("drained", "time")
    injected = {"bind_refused", "bind_lost", "bind_landed", "watch_duplicated", "watch_merged"}
    assert injected <= result.faults.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", Faults.__struct_fields__)
def test_run_under_one_fault_alone_keeps_all_checks(
    machine_factory: MachineFactory, name: str
) -> None:
    rate = 120 if name == "node_changes_per_hour" else 200_000
    result = simulate(small(Faults(**{name: rate})), machine_factory, POLICY, 3)
    assert result.pods.ended == result.pods.arrived
    # They need a recreation, a preemption, which not every machine asks for, and volumes.
    is_rare = name in ("recreation_merged", "removal_refused", "patch_refused", "provision_failed")
    assert sum(result.faults.values()) > 0 or is_rare


def test_run_without_faults_binds_all_that_can_be_bound(machine_factory: MachineFactory) -> None:
    result = simulate(small(Faults()), machine_factory, POLICY, 0)
    assert result.stopped == "drained"
    assert result.faults == {}
    assert result.pods.pending == result.pods.gated == 2
    assert result.pods.completed > 150
    assert result.pods.evicted > 0
    assert result.classes["online"].bound > 90
    assert result.decisions >= result.pods.bound
