"""Behaviours 28, 29 and 34 end to end: claims before the bind, and room made for who is urgent.

The embedded server keeps claims and volumes as they are written: the test is their controller.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, running
from tests.support.live import PODS, command, node_of, pod, until

pytestmark = pytest.mark.slow
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
SELECTED = "volume.kubernetes.io/selected-node"
Content = dict[str, Any]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    with running(Settings(tmp_path / "cluster", nodes=Shape(3, cpu="2"))) as embedded:
        run = ["run", "--kubeconfig", str(embedded.kubeconfig), "--journal", str(tmp_path / "j")]
        with command(*run):
            yield Client(embedded.kubeconfig)


def made(api: Client, path: str, content: Content) -> None:
    reply = api.post(path, content)
    assert reply.code == 201, reply.content


def storage_class(name: str, provisioner: str) -> Content:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def claim(name: str, storage: str) -> Content:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": storage,
        },
    }


def volume(name: str, storage: str, node: str) -> Content:
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "2Gi"},
            "storageClassName": storage,
            "local": {"path": "/data"},
            "nodeAffinity": {"required": required},
        },
    }


def with_claim(name: str, of: str) -> Content:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": of}}]
    return pod(name, volumes=volumes)


def complete(api: Client, name: str, of: str) -> None:
    """What the volume controller does in the end."""
    notes = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}}
    done = api.patch(f"{CLAIMS}/{name}", {**notes, "spec": {"volumeName": of}})
    assert done.code == 200, done.content
    assert api.patch(f"{CLAIMS}/{name}/status", {"status": {"phase": "Bound"}}).code == 200


def test_34_a_volume_is_made_where_the_pod_will_be_and_then_it_is_bound(api: Client) -> None:
    made(api, CLASSES, storage_class("dynamic", "csi.example.com"))
    made(api, CLAIMS, claim("c", "dynamic"))
    made(api, PODS, with_claim("p", "c"))
    claims = until(
        api, lambda all_: SELECTED in all_["c"]["metadata"].get("annotations", {}), CLAIMS
    )
    node = claims["c"]["metadata"]["annotations"][SELECTED]
    assert not node_of(api.get(f"{PODS}/p").content), "it waits for its volume"
    content = volume("v", "dynamic", node)
    content["spec"]["claimRef"] = {
        "kind": "PersistentVolumeClaim",
        "name": "c",
        "namespace": "default",
        "uid": claims["c"]["metadata"]["uid"],
    }
    made(api, VOLUMES, content)
    complete(api, "c", "v")
    pods = until(api, lambda all_: node_of(all_["p"]) != "")
    assert node_of(pods["p"]) == node


def test_34_a_volume_that_is_there_is_given_to_the_claim_and_leads_the_pod(api: Client) -> None:
    made(api, CLASSES, storage_class("local", "kubernetes.io/no-provisioner"))
    made(api, VOLUMES, volume("v", "local", "node-2"))
    available = {"status": {"phase": "Available"}}
    assert api.patch(f"{VOLUMES}/v/status", available).code == 200
    made(api, CLAIMS, claim("c", "local"))
    made(api, PODS, with_claim("p", "c"))
    volumes = until(api, lambda all_: "claimRef" in all_["v"]["spec"], VOLUMES)
    held = volumes["v"]["spec"]["claimRef"]
    assert (held["name"], held["uid"]) == ("c", api.get(f"{CLAIMS}/c").uid)
    complete(api, "c", "v")
    pods = until(api, lambda all_: node_of(all_["p"]) != "")
    assert node_of(pods["p"]) == "node-2"


def test_34_a_pod_without_its_claim_waits_and_says_so(api: Client) -> None:
    made(api, PODS, with_claim("p", "none"))
    until(api, lambda all_: "none" in str(all_["p"]["status"].get("conditions", "")))


def test_28_29_room_is_made_for_who_is_urgent(api: Client) -> None:
    made(
        api,
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "urgent"},
            "value": 1000,
        },
    )
    # The victims take a second to end: meanwhile the pod is nominated.
    for number in range(3):
        content = pod(f"low-{number}", cpu="1500m")
        content["metadata"]["annotations"] = {"herz.dev/stop-seconds": "1"}
        made(api, PODS, content)
    until(api, lambda all_: all(map(node_of, all_.values())))
    made(api, PODS, pod("high", cpu="1500m", priorityClassName="urgent"))
    pods = until(api, lambda all_: bool(all_["high"]["status"].get("nominatedNodeName")))
    nominated = pods["high"]["status"]["nominatedNodeName"]
    victims = [one for one in pods.values() if "deletionTimestamp" in one["metadata"]]
    pods = until(api, lambda all_: node_of(all_["high"]) != "")
    assert node_of(pods["high"]) == nominated
    assert len(pods) == 3
    assert all(node_of(victim) == nominated for victim in victims)
    events = api.get("/apis/events.k8s.io/v1/namespaces/default/events").content["items"]
    assert [one["reason"] for one in events].count("Preempted") == 1
