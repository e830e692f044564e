"""`herz explain`: every decision about a pod, from the records of a run that is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli import main

NODE = """\
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
spec: {{unschedulable: {is_closed}}}
status: {{allocatable: {{cpu: "2", memory: 4Gi, pods: "20"}}}}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{containers: [{{name: main, resources: {{requests: {{cpu: "{cpu}"}}}}}}]}}
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """Two nodes, one of them cordoned; pods that fit, one that never does, one name twice."""
    path = tmp_path / "shop.yaml"
    nodes = [
        NODE.format(name="open", is_closed="false"),
        NODE.format(name="shut", is_closed="true"),
    ]
    pods = [
        POD.format(name=name, namespace=namespace, cpu=cpu)
        for name, namespace, cpu in (
            ("web", "shop", "1"),
            ("huge", "shop", "64"),
            ("job", "shop", "100m"),
            ("job", "night", "100m"),
        )
    ]
    path.write_text("---\n".join([*nodes, *pods]), encoding="utf-8")
    return str(path)


def told(capsys: Captured, *arguments: str) -> Any:
    assert main(["explain", *arguments, "--output", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_placed_pod_has_its_node_and_the_points_of_each_rule(shop: str, capsys: Captured) -> None:
    found = told(capsys, "web", "--scenario", shop)
    assert found["pod"] == "shop/web"
    (record,) = found["decisions"]
    assert (record["decided"], record["node"]) == ("place", "open")
    assert [one["node"] for one in record["top"]] == ["open"]
    assert main(["explain", "web", "--scenario", shop]) == 0
    shown = capsys.readouterr().out
    assert "herz explain shop/web" in shown
    assert "filter: 1 of 2 (1 node(s) were unschedulable)" in " ".join(shown.split())
    assert f"the best nodes of decision {record['sequence']}" in shown


def test_refused_pod_has_the_reasons_and_who_gave_them(shop: str, capsys: Captured) -> None:
    found = told(capsys, "shop/huge", "--scenario", shop)
    assert {one["decided"] for one in found["decisions"]} == {"unschedulable"}
    assert main(["explain", "huge", "--scenario", shop]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable." in shown
    assert "NodeResourcesFit refused 1, Insufficient cpu: open" in shown
    assert "the best nodes" not in shown


@pytest.mark.parametrize(
    ("pod", "node", "said"),
    [
        ("web", "open", "chosen, "),
        ("web", "shut", "not among the nodes that the record names"),
        ("huge", "open", "NodeResourcesFit: Insufficient cpu"),
        ("huge", "shut", "NodeUnschedulable: node(s) were unschedulable"),
    ],
)
def test_node_has_what_the_record_says_of_it(
    shop: str, pod: str, node: str, said: str, capsys: Captured
) -> None:
    found = told(capsys, pod, "--scenario", shop, "--node", node)
    assert found["node"]["name"] == node
    assert found["node"]["decisions"][0]["said"].startswith(said)


def test_same_answer_time_and_again_is_one_row(shop: str, capsys: Captured) -> None:
    found = told(capsys, "huge", "--scenario", shop)
    repeats = [one for one in found["decisions"] if one.get("repeats")]
    assert len(repeats) >= 2, "the flush tries it again every five minutes"
    assert main(["explain", "huge", "--scenario", shop]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "times by now" in line]
    assert len(lines) == 1
    assert f"{repeats[-1]['repeated']} times by now" in lines[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_room_that_is_kept_shows(capsys: Captured) -> None:
    found = told(capsys, "shop/web-00633")
    marks = [mark for one in found["decisions"] for mark in one.get("marks", [])]
    assert marks
    assert {mark.partition(":")[0] for mark in marks} == {"reserved"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "no decision about this pod"),
        (["job"], "pods of several namespaces"),
        ([""], "empty or unusable"),
        (["web", "--node", " "], "empty or unusable"),
        (["web", "--seed", "x"], "not an integer"),
        (["web", "--policy", "nope"], "nope"),
    ],
)
def test_bad_input_is_refused(
    shop: str, arguments: list[str], words: str, capsys: Captured
) -> None:
    assert main(["explain", *arguments, "--scenario", shop, "--output", "json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error = json.loads(err)["error"]
    assert words in json.dumps(error)
    assert error["fix"]


def test_ambiguous_name_is_told_apart(shop: str, capsys: Captured) -> None:
    assert main(["explain", "job", "--scenario", shop, "--output", "json"]) == 2
    assert "night/job, shop/job" in json.loads(capsys.readouterr().err)["error"]["fix"]
    assert told(capsys, "night/job", "--scenario", shop)["pod"] == "night/job"
