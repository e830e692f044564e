"""Herz on a real control plane: `make e2e-real` starts one, with 200 simulated nodes."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli import main
from herz.model.quantity import parse_quantity
from tests.support.cluster import Client, kubeconfig_of_tests
from tests.support.live import PODS, command, condition, node_of, pod, until

NODES = 200
WEB = 799
SPARE = 5
NAMESPACED = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
STORAGE = "/apis/storage.k8s.io/v1/storageclasses"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
Content = dict[str, Any]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        int(os.environ.get("HERZ_TEST_NODES", "0")) < NODES,
        reason="a real control plane with 200 simulated nodes is needed: make e2e-real",
    ),
]


@pytest.fixture
def api() -> Iterator[Client]:
    kubeconfig = kubeconfig_of_tests()
    assert kubeconfig is not None
    client = Client(kubeconfig)
    yield client
    # Their pods go in the background.
    for path in (
        *(f"{APPS}/deployments/web", f"{APPS}/daemonsets/agent", f"{BUDGETS}/web"),
        *(f"{PODS}/db", f"{NAMESPACED}/persistentvolumeclaims/data"),
        *("/api/v1/persistentvolumes/disk-7", f"{STORAGE}/local"),
    ):
        client.delete(path)


def workload(kind: str, name: str, cpu: str, **spec: Any) -> Content:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod("", cpu)["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def create(api: Client, path: str, content: Content) -> None:
    made = api.post(path, content)
    assert made.code == 201, made.content


def local_volume(api: Client) -> None:
    """A volume of node-007, and a claim that waits for its first consumer."""
    create(
        api,
        STORAGE,
        {
            "metadata": {"name": "local"},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    )
    place = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-007"]}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "local"}
    volume = {
        **common,
        "capacity": {"storage": "10Gi"},
        "local": {"path": "/disk"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [place]}]}},
    }
    create(api, "/api/v1/persistentvolumes", {"metadata": {"name": "disk-7"}, "spec": volume})
    claim = {**common, "resources": {"requests": {"storage": "5Gi"}}}
    path = f"{NAMESPACED}/persistentvolumeclaims"
    create(api, path, {"metadata": {"name": "data"}, "spec": claim})


def drain(api: Client, node: str) -> int:
    """Cordon the node and evict what the deployment has there; how often the budget said no."""
    refusals = 0
    assert api.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}).code == 200
    there = [
        name
        for name, item in until(api, lambda _: True).items()
        if node_of(item) == node and name.startswith("web-")
    ]
    assert there
    for name in there:
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        while (done := api.post(f"{PODS}/{name}/eviction", eviction)).code == 429:
            refusals += 1
            until(api, lambda pods: len(ready(pods)) > WEB - SPARE)
        assert done.code in (201, 404), done.content
    until(api, lambda pods: not any(name in pods for name in there) and len(ready(pods)) == WEB)
    return refusals


def ready(pods: dict[str, Content]) -> list[str]:
    """The deployment's pods that run."""
    return [
        name
        for name, item in pods.items()
        if name.startswith("web-") and condition(item, "Ready").get("status") == "True"
    ]


def check_rooms(api: Client, pods: dict[str, Content]) -> None:
    """No node has more than it may."""
    asked: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for item in pods.values():
        for container in item["spec"]["containers"]:
            text = container["resources"].get("requests", {}).get("cpu", "0")
            asked[node_of(item)] += parse_quantity(text).milli()
        count[node_of(item)] += 1
    for node in api.get("/api/v1/nodes").content["items"]:
        name, room = node["metadata"]["name"], node["status"]["allocatable"]
        assert asked[name] <= parse_quantity(room["cpu"]).milli(), name
        assert count[name] <= int(room["pods"]), name


def test_a_thousand_pods_of_all_kinds(
    api: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deployment, DaemonSet, local volume and drain; each bound once, with event and record."""
    kubeconfig = str(kubeconfig_of_tests())
    journal = tmp_path / "journal"
    run = ["run", "--kubeconfig", kubeconfig, "--journal", str(journal)]
    with command(*run) as (process, said):
        assert said["nodes"] == NODES
        local_volume(api)
        create(api, f"{APPS}/daemonsets", workload("DaemonSet", "agent", "100m"))
        create(api, f"{APPS}/deployments", workload("Deployment", "web", "500m", replicas=WEB))
        claim = {"name": "disk", "persistentVolumeClaim": {"claimName": "data"}}
        create(api, PODS, pod("db", volumes=[claim]))
        pods = until(
            api,
            lambda pods: (
                len(pods) == WEB + NODES + 1
                and all(item["status"]["phase"] == "Running" for item in pods.values())
            ),
        )
        assert node_of(pods["db"]) == "node-007"
        agents = [node_of(item) for name, item in pods.items() if name.startswith("agent-")]
        assert len(set(agents)) == NODES
        check_rooms(api, pods)
        budget = {
            "metadata": {"name": "web"},
            "spec": {"maxUnavailable": SPARE, "selector": {"matchLabels": {"app": "web"}}},
        }
        create(api, BUDGETS, budget)
        until(api, lambda found: found["web"]["status"].get("disruptionsAllowed") == SPARE, BUDGETS)
        drain(api, "node-003")
        pods = until(api, lambda _: True)
        assert [name for name, item in pods.items() if node_of(item) == "node-003"] == [
            name for name in pods if name.startswith("agent-") and node_of(pods[name]) == "node-003"
        ]
        check_rooms(api, pods)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    check_records(api, pods, journal, capsys)


def check_records(
    api: Client, pods: dict[str, Content], journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each pod has its event and its decision, and the journal computes to the same."""
    told: dict[str, list[str]] = defaultdict(list)
    for item in api.get("/apis/events.k8s.io/v1/namespaces/default/events").content["items"]:
        if item["reason"] == "Scheduled":
            told[item["regarding"]["uid"]].append(item["note"])
    numbers = set()
    for name, item in pods.items():
        uid = item["metadata"]["uid"]
        note = f"Successfully assigned default/{name} to {node_of(item)}"
        assert told[uid] == [note], name
        numbers.add(item["metadata"]["annotations"]["herz.dev/decision"])
    assert len(numbers) == len(pods)
    capsys.readouterr()
    assert main(["audit", "replay", "--journal", str(journal), "--output", "json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["records"] >= len(pods), replayed
    arguments = ["audit", "verify", "--journal", str(journal), "--integrity-only"]
    assert main(arguments) == 0
