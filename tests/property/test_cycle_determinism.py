"""Same events, same records: in any process, machine, and order that has no meaning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.app import policy_names
from tests.support.machine import Harness
from tests.support.objects import make_node, make_pod
from tests.support.small_case import run, small_nodes

ROOT = Path(__file__).parents[2]


def in_a_process(seed: str, policy: str) -> bytes:
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.small_case", policy]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True, timeout=50)
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["default", "herz-pack"])
def test_processes_with_other_hash_seeds_write_the_same_records(policy: str) -> None:
    here = b"\n".join(run(policy).lines)
    assert here.count(b'"decided":"place"') > 20
    assert here.count(b'"decided":"unschedulable"') > 5
    for seed in ("0", "1", "4711"):
        assert in_a_process(seed, policy) == here


@pytest.mark.slow
@pytest.mark.parametrize("policy", policy_names())
def test_a_second_machine_in_one_process_writes_the_same_records(policy: str) -> None:
    assert run(policy).lines == run(policy).lines


PROFILES = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [%s, %s]
"""
PLAIN = "{schedulerName: plain}"
PACK = (
    "{schedulerName: pack, pluginConfig: [{name: NodeResourcesFit, "
    "args: {scoringStrategy: {type: MostAllocated}}}]}"
)


@pytest.mark.slow
def test_profiles_in_any_order_write_the_same_records_in_any_process(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(PROFILES % (PLAIN, PACK))
    (tmp_path / "two.yaml").write_text(PROFILES % (PACK, PLAIN))
    here = b"\n".join(run(str(tmp_path / "one.yaml")).lines)
    for name in ("plain", "pack"):
        assert here.count(b'"name":"%s"' % name.encode()) > 10
    assert in_a_process("0", str(tmp_path / "one.yaml")) == here
    assert in_a_process("4711", str(tmp_path / "two.yaml")) == here


@pytest.mark.slow
def test_another_seed_moves_ties_only_and_is_seen() -> None:
    assert run(seed=5).lines != run(seed=6).lines


@pytest.mark.slow
@settings(max_examples=15)
@given(st.permutations(small_nodes()))
def test_the_order_of_the_first_nodes_is_in_no_record(nodes: list[object]) -> None:
    assert run(nodes=nodes).lines == run(nodes=small_nodes()).lines  # type: ignore[arg-type]


def test_the_order_of_many_refused_nodes_is_in_no_record() -> None:
    names = [f"n{number:02}" for number in range(25)]
    lines = []
    for order in (names, names[::-1]):
        harness = Harness().apply(*(make_node(name, cpu="1") for name in order))
        harness.apply(make_pod("big", {"cpu": "2"})).step()
        lines.append(harness.kept.lines)
    assert lines[0] == lines[1]
