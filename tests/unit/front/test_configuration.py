"""`herz config validate` and `herz config show`: forms, exit codes, and the way back in."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from herz.front.cli import main

Captured = pytest.CaptureFixture[str]

FILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
percentageOfNodesToScore: 30
profiles:
- schedulerName: pack
  plugins:
    multiPoint:
      disabled: [{name: DynamicResources}]
    score:
      enabled: [{name: NodeResourcesFit, weight: 5}]
      disabled: [{name: TaintToleration}]
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated}, ignoredResources: []}
- schedulerName: spread
"""
OWN_LIST = """\
profiles:
- {name: b, plugins: [{name: NodeName}]}
- {name: a, plugins: [{name: NodePorts}]}
queue: {flush_seconds: 60}
"""
OWN = 'name = "own"\n[[plugins]]\nname = "NodeName"\n'


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A configuration with two profiles."""
    path = tmp_path / "scheduler.yaml"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A policy of Herz' own."""
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return str(path)


def test_validate_prints_profiles_digests_and_warnings(file: str, capsys: Captured) -> None:
    assert main(["config", "validate", file]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"{file} is a valid KubeSchedulerConfiguration" in out
    for text in ("pack", "spread", "@sha256:"):
        assert text in out
    assert "warning: percentageOfNodesToScore: 30 is accepted; Herz looks at all nodes" in out
    assert "profiles[1].plugins.multiPoint: DynamicResources is accepted" in out
    assert "profiles[0].plugins.multiPoint: DynamicResources" not in out


def test_validate_gives_the_same_to_programs(file: str, capsys: Captured) -> None:
    assert main(["config", "validate", file, "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "KubeSchedulerConfiguration"
    assert [policy["name"] for policy in found["policies"]] == ["pack", "spread"]
    assert all(policy["digest"].startswith("@sha256:") for policy in found["policies"])
    assert found["warnings"][0].startswith("percentageOfNodesToScore")
    assert main(["config", "validate", file, "--output", "yaml"]) == 0
    assert msgspec.yaml.decode(capsys.readouterr().out) == found


def test_the_digest_of_all_profiles_is_shown_and_their_order_is_not_in_it(
    file: str, tmp_path: Path, capsys: Captured
) -> None:
    swapped = tmp_path / "swapped.yaml"
    head, pack, spread = FILE.partition("- schedulerName: pack")[0], *FILE.split("- sched")[1:]
    swapped.write_text(f"{head}- sched{spread}- sched{pack}")
    digests = set()
    for path in (file, str(swapped)):
        for command in ("validate", "show"):
            assert main(["config", command, path, "--output", "json"]) == 0
            found = json.loads(capsys.readouterr().out)
            digests.add(found["digest"])
            assert found["digest"] not in {policy["digest"] for policy in found["policies"]}
            assert main(["config", command, path]) == 0
            assert f"with 2 profiles  {found['digest']}" in capsys.readouterr().out
    assert len(digests) == 1


def test_policies_of_our_own_are_shown_and_can_be_read_again(
    tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN_LIST)
    assert main(["config", "validate", str(path)]) == 0
    out = capsys.readouterr().out
    assert "is a valid list of policies with 2 profiles  @sha256:" in out
    assert main(["config", "show", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.index("scheduler a  @sha256:") < out.index("scheduler b  @sha256:")
    assert "queue.flush_seconds" in out
    assert main(["config", "show", str(path), "--output", "json"]) == 0
    first = json.loads(capsys.readouterr().out)
    path.write_text(json.dumps(first["configuration"]))
    assert main(["config", "show", str(path), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_validate_takes_a_policy(own: str, capsys: Captured) -> None:
    assert main(["config", "validate", own]) == 0
    out = capsys.readouterr().out
    assert "is a valid Policy" in out
    assert "own" in out
    assert "warning" not in out


def test_a_wrong_file_ends_with_two(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(FILE.replace("weight: 5", "wait: 5"))
    for command in ("validate", "show"):
        assert main(["config", command, str(path), "--output", "json"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        error = json.loads(err)["error"]
        assert error["where"] == f"{path}:10 profiles[0].plugins.score.enabled[0].wait"
        assert error["fix"]


@pytest.mark.parametrize("name", ["", " ", "no/such/file.yaml", "file.ini", "a\udcff.yaml"])
def test_a_file_that_is_not_there_ends_with_two(name: str, capsys: Captured) -> None:
    for command in ("validate", "show"):
        assert main(["config", command, name]) == 2
        assert capsys.readouterr().err.startswith("herz: error: ")
    assert main(["config", "validate"]) == 2


def test_show_prints_every_rule_with_weight_and_place(file: str, capsys: Captured) -> None:
    assert main(["config", "show", file]) == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "leaderElection.leaseDuration 15s" in lines
    assert any(line.startswith("scheduler pack @sha256:") for line in lines)
    assert any(line.startswith("NodeResourcesFit 5 filter, score") for line in lines)
    assert "TaintToleration filter score" in lines, "no weight; asked at filter, off at score"
    assert "TaintToleration 3 filter, score" in lines
    assert "MostAllocated" in out
    assert "warning: percentageOfNodesToScore" in out


def test_show_without_a_file_shows_the_defaults(capsys: Captured) -> None:
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert "herz config show (defaults)" in out
    assert "scheduler default-scheduler" in out
    assert main(["config", "show", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configuration"]["parallelism"] == 16
    assert found["configuration"]["clientConnection"]["qps"] == 50
    rules = found["policies"][0]["rules"]
    assert rules[0]["rule"] == "Understood"
    fit = next(rule for rule in rules if rule["rule"] == "NodeResourcesFit")
    assert fit == {
        "rule": "NodeResourcesFit",
        "weight": 1,
        "asked_at": ["filter", "score"],
        "off_at": [],
        "args": {},
    }


def test_show_takes_a_policy(own: str, capsys: Captured) -> None:
    assert main(["config", "show", own]) == 0
    out = capsys.readouterr().out
    assert "policy own  @sha256:" in out
    assert "queue.backoff.max_seconds" in out
    assert main(["config", "show", own, "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["configuration"]["queue"]["flush_seconds"] == 300
    assert [rule["rule"] for rule in found["policies"][0]["rules"]] == ["NodeName"]


@pytest.mark.parametrize("is_default", [True, False])
def test_what_is_shown_can_be_read_again(
    is_default: bool, file: str, tmp_path: Path, capsys: Captured
) -> None:
    given = [] if is_default else [file]
    assert main(["config", "show", *given, "--output", "yaml"]) == 0
    first = msgspec.yaml.decode(capsys.readouterr().out)
    again = tmp_path / "again.yaml"
    again.write_bytes(msgspec.yaml.encode(first["configuration"]))
    assert main(["config", "validate", str(again), "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    digests = [policy["digest"] for policy in first["policies"]]
    assert [policy["digest"] for policy in found["policies"]] == digests
    assert main(["config", "show", str(again), "--output", "yaml"]) == 0
    second = msgspec.yaml.decode(capsys.readouterr().out)
    assert second["configuration"] == first["configuration"]
    assert second["policies"] == first["policies"]


def test_a_policy_that_is_shown_can_be_read_again(
    own: str, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["config", "show", own, "--output", "json"]) == 0
    first = json.loads(capsys.readouterr().out)
    again = tmp_path / "again.json"
    again.write_text(json.dumps(first["configuration"]))
    assert main(["config", "show", str(again), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"] == first["policies"]


@pytest.mark.parametrize("command", ["validate", "show"])
def test_help_has_an_example(command: str, capsys: Captured) -> None:
    assert main(["config", command, "--help"]) == 0
    assert "Example" in capsys.readouterr().out
