"""Two profiles in the simulator: pods of both schedulers, decided in one machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.app import load_policies, run_simulation
from herz.errors import ConfigError
from herz.front.cli import main
from herz.world.sim.result import Summary

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n"
SPREAD = "- schedulerName: spread\n"
PACK = """\
- schedulerName: pack
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}}
"""
NODE = """\
apiVersion: v1
kind: Node
metadata: {name: n%d}
status: {allocatable: {cpu: "8", memory: 16Gi, pods: "20"}}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: shop}
spec:
  schedulerName: %s
  containers: [{name: main, image: web, resources: {requests: {cpu: "1", memory: 1Gi}}}]
"""


def manifests(folder: Path, *schedulers: str) -> str:
    """Four nodes, and two pods of each scheduler, in turn."""
    parts = [NODE % number for number in range(4)]
    parts += [POD % (f"{name}-{turn}", name) for turn in range(2) for name in schedulers]
    path = folder / "shop.yaml"
    path.write_text("---\n".join(parts))
    return str(path)


def settings(folder: Path, *profiles: str) -> str:
    path = folder / "scheduler.yaml"
    path.write_text(HEAD + "".join(profiles))
    return str(path)


def simulated(scenario: str, policy: str) -> Summary:
    return run_simulation(
        scenario=scenario,
        policy=policy,
        seed=3,
        runs=1,
        data=None,
        list_name=None,
        load=None,
        progress=None,
    )


def counts(summary: Summary) -> tuple[int, int, int]:
    pods = summary.runs[0].pods
    return pods.arrived, pods.bound, pods.pending


def used(summary: Summary) -> list[int]:
    """Pods by node at the end, fewest first."""
    return sorted(node.pods_end for node in summary.runs[0].nodes)


def test_both_profiles_decide_the_pods_of_their_names(tmp_path: Path) -> None:
    policy = settings(tmp_path, SPREAD, PACK)
    both = simulated(manifests(tmp_path, "pack", "spread"), policy)
    assert counts(both) == (4, 4, 0)
    assert both.policy.name == "pack+spread"
    assert both.policy.digest == load_policies(policy).digest
    # Alone, the pods of each go where its profile puts them, of several profiles as of one.
    for name in ("pack", "spread"):
        alone = manifests(tmp_path, name)
        assert used(simulated(alone, policy)) == used(simulated(alone, f"{policy}#{name}"))
    assert used(simulated(manifests(tmp_path, "pack"), policy)) == [0, 0, 0, 2]
    assert used(simulated(manifests(tmp_path, "spread"), policy)) == [0, 0, 1, 1]


def test_the_order_in_the_file_and_a_second_run_decide_the_same(tmp_path: Path) -> None:
    scenario = manifests(tmp_path, "pack", "spread")
    found = []
    for order in ((SPREAD, PACK), (PACK, SPREAD), (SPREAD, PACK)):
        summary = simulated(scenario, settings(tmp_path, *order))
        found.append((summary.policy.digest, summary.runs[0].decisions_digest))
    assert found[0] == found[1] == found[2]


def test_one_picked_profile_decides_the_pods_of_all_names(tmp_path: Path) -> None:
    policy = settings(tmp_path, SPREAD, PACK)
    scenario = manifests(tmp_path, "pack", "spread", "other")
    picked = simulated(scenario, f"{policy}#pack")
    assert counts(picked) == (6, 6, 0)
    assert picked.policy.name == "pack"


def test_pods_of_other_schedulers_are_left_to_them(tmp_path: Path) -> None:
    policy = settings(tmp_path, SPREAD, PACK)
    assert counts(simulated(manifests(tmp_path, "pack", "other"), policy)) == (4, 2, 2)


@pytest.mark.parametrize("scenario", ["shop", ""])
def test_a_scenario_without_a_pod_of_any_profile_is_refused(tmp_path: Path, scenario: str) -> None:
    policy = settings(tmp_path, SPREAD, PACK)
    with pytest.raises(ConfigError, match="no profile decides") as caught:
        simulated(scenario or manifests(tmp_path, "other"), policy)
    assert caught.value.value in ("herz", "other")
    assert "#NAME" in caught.value.fix


WORKLOADS = """\
[scenario]
name = "two"
duration = "1h"
[[nodes]]
name = "n"
count = 4
cpu = "8"
memory = "16Gi"
[[workloads]]
name = "packed"
scheduler = "pack"
replicas = 4
cpu = "1"
memory = "1Gi"
[[workloads]]
name = "made"
replicas = 4
cpu = "1"
memory = "1Gi"
"""


def test_a_made_workload_names_its_scheduler_or_is_the_default_ones(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text(WORKLOADS)
    default = SPREAD.replace("spread", "default-scheduler")
    summary = simulated(str(path), settings(tmp_path, default, PACK))
    assert counts(summary) == (8, 8, 0)
    assert counts(simulated(str(path), "default")) == (8, 8, 0)
    with pytest.raises(ConfigError, match="no profile decides") as caught:
        simulated(str(path), settings(tmp_path, SPREAD, PACK))
    assert caught.value.value == "herz"


def test_the_command_runs_all_profiles_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = settings(tmp_path, SPREAD, PACK)
    scenario = manifests(tmp_path, "pack", "spread")
    assert main(["simulate", scenario, "--policy", policy, "--output", "json"]) == 0
    assert '"name": "pack+spread"' in capsys.readouterr().out
    assert main(["simulate", scenario, "--policy", f"{policy}#none"]) == 2
    assert "no such profile" in capsys.readouterr().err
