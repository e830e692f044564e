"""`herz run` on the embedded cluster: it schedules, is killed, goes on, and is audited."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from herz.front.cli import main
from herz.world.apiserver.embedded import Embedded, Settings
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, running
from tests.support.live import PODS, command, condition, node_of, pod, until

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with running(Settings(tmp_path / "cluster", nodes=Shape(3, cpu="2"))) as embedded:
        yield embedded


def test_pods_are_bound_with_event_and_decision_and_the_journal_replays(
    cluster: Embedded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Client(cluster.kubeconfig)
    journal = tmp_path / "journal"
    run = ["run", "--kubeconfig", str(cluster.kubeconfig), "--journal", str(journal)]
    with command(*run) as (process, said):
        assert said["nodes"] == 3
        for number in range(20):
            assert api.post(PODS, pod(f"p-{number}")).code == 201
        assert api.post(PODS, pod("large", cpu="3")).code == 201
        assert api.post(PODS, pod("foreign", scheduler="other")).code == 201
        found = until(
            api,
            lambda pods: (
                all(node_of(pods[f"p-{one}"]) for one in range(20))
                and bool(condition(pods["large"]))
            ),
        )
        assert not node_of(found["foreign"])
        assert not condition(found["foreign"])
        refused = condition(found["large"])
        assert (refused["status"], refused["reason"]) == ("False", "Unschedulable")
        assert refused["message"].startswith("0/3 nodes are available: 3 Insufficient cpu.")
        process.kill()
        process.wait()
    # Killed at whatever instruction: what it bound is there, and the journal goes on.
    with command(*run) as (process, said):
        assert said["pods"] == 22
        api.post(PODS, pod("after"))
        until(api, lambda pods: node_of(pods["after"]) != "")
        assert main(["debug", "compare", "--journal", str(journal), "--output", "json"]) == 0
        compared = json.loads(capsys.readouterr().out)
        assert compared["differences"] == []
        assert (compared["objects"]["nodes"], compared["objects"]["pods"]) == (3, 23)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert main(["debug", "compare", "--journal", str(journal)]) == 2
    assert "no live scheduler" in capsys.readouterr().err
    decisions = {
        item["metadata"]["name"]: item["metadata"].get("annotations", {}).get("herz.dev/decision")
        for item in api.get(PODS).content["items"]
    }
    assert decisions["foreign"] is None
    assert decisions["large"] is None
    numbers = [int(value) for value in decisions.values() if value]
    assert len(set(numbers)) == 21
    events = api.get("/apis/events.k8s.io/v1/namespaces/default/events").content["items"]
    scheduled = [item for item in events if item["reason"] == "Scheduled"]
    assert {item["regarding"]["name"] for item in scheduled} >= {"after"}
    assert all(item["reportingController"] == "herz" for item in scheduled)
    capsys.readouterr()
    assert main(["audit", "replay", "--journal", str(journal), "--output", "json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["machines"] == 2, replayed
    assert replayed["records"] >= 22
    # Nobody signed it: it cannot be more than consistent.
    assert main(["audit", "verify", "--journal", str(journal)]) == 1
    assert "internally consistent" in capsys.readouterr().out
