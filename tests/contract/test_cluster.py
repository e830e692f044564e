"""Behaviours 17, 33 to 36 and 39: leases, nodes, volumes, what a scheduler may ask for."""

from __future__ import annotations

import pytest

from tests.contract.conftest import Space, pod
from tests.support.cluster import MERGE_PATCH

NODES = "/api/v1/nodes"


def test_17_a_lease_is_updated_by_version_alone(space: Space) -> None:
    root = f"/apis/coordination.k8s.io/v1/namespaces/{space.name}/leases"
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    spec |= {"renewTime": "2026-01-31T12:00:00.000000Z"}
    made = space.api.post(root, {"metadata": {"name": "l"}, "spec": spec})
    assert made.code == 201, made.content
    assert space.api.post(root, {"metadata": {"name": "l"}, "spec": spec}).reason == "AlreadyExists"
    mine = {**made.content, "spec": {**spec, "holderIdentity": "two"}}
    taken = space.api.put(f"{root}/l", mine)
    assert taken.code == 200
    late = space.api.put(f"{root}/l", {**made.content, "spec": {**spec, "holderIdentity": "three"}})
    assert (late.code, late.reason) == (409, "Conflict")
    blind = {"metadata": {"name": "l"}, "spec": spec}
    assert space.api.put(f"{root}/l", blind).code == 422
    released = {**taken.content, "spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
    assert space.api.put(f"{root}/l", released).code == 200


def test_33_a_deleted_node_leaves_its_pods(space: Space) -> None:
    name = f"{space.name}-n"
    capacity = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    node = {"metadata": {"name": name}, "status": {"capacity": capacity}}
    made = space.api.post(NODES, node)
    assert made.code == 201, made.content
    assert made.content["status"]["allocatable"] == capacity
    space.pod(nodeName=name)
    assert space.api.delete(f"{NODES}/{name}").code == 200
    found = space.api.get(f"{space.pods}/p")
    assert found.code in (200, 404)


def test_33_taints_and_cordons_are_spec_and_allocatable_is_status(space: Space) -> None:
    name = f"{space.name}-n"
    assert space.api.post(NODES, {"metadata": {"name": name}}).code == 201
    taint = {"key": "example.com/x", "effect": "NoSchedule"}
    patch = {
        "spec": {"unschedulable": True, "taints": [taint]},
        "status": {"capacity": {"cpu": "1"}},
    }
    done = space.api.patch(f"{NODES}/{name}", patch)
    assert done.content["spec"]["unschedulable"] is True
    assert taint in done.content["spec"]["taints"]
    assert "capacity" not in done.content["status"]
    status = {"status": {"allocatable": {"cpu": "2"}}, "spec": {"unschedulable": False}}
    done = space.api.patch(f"{NODES}/{name}/status", status)
    assert done.content["status"]["allocatable"] == {"cpu": "2"}
    assert done.content["spec"]["unschedulable"] is True
    unknown = {"spec": {"taints": [{"key": "k", "effect": "Sometimes"}]}}
    assert space.api.patch(f"{NODES}/{name}", unknown).code == 422
    space.api.delete(f"{NODES}/{name}")


def test_34_a_claim_takes_the_selected_node_as_an_annotation(space: Space) -> None:
    root = f"{space.root}/persistentvolumeclaims"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = space.api.post(
        root, {"metadata": {"name": "c"}, "spec": {**spec, "storageClassName": "x"}}
    )
    assert made.code == 201, made.content
    assert made.content["status"]["phase"] == "Pending"
    note = {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}
    patch = {"metadata": {**note, "resourceVersion": made.revision}}
    done = space.api.patch(f"{root}/c", patch, MERGE_PATCH)
    assert done.content["metadata"]["annotations"].items() >= note["annotations"].items()
    assert space.api.patch(f"{root}/c", patch, MERGE_PATCH).code == 409
    assert space.api.post(root, {"metadata": {"name": "d"}, "spec": {}}).code == 422


@pytest.mark.parametrize(
    "resource",
    [
        "/api/v1/nodes",
        "/api/v1/pods",
        "/api/v1/namespaces",
        "/api/v1/services",
        "/api/v1/replicationcontrollers",
        "/api/v1/persistentvolumes",
        "/api/v1/persistentvolumeclaims",
        "/apis/apps/v1/replicasets",
        "/apis/apps/v1/statefulsets",
        "/apis/policy/v1/poddisruptionbudgets",
        "/apis/storage.k8s.io/v1/storageclasses",
        "/apis/storage.k8s.io/v1/csinodes",
        "/apis/storage.k8s.io/v1/csidrivers",
        "/apis/storage.k8s.io/v1/csistoragecapacities",
        "/apis/storage.k8s.io/v1/volumeattachments",
    ],
)
def test_36_a_scheduler_can_list_and_watch_all_that_it_reads(space: Space, resource: str) -> None:
    listed = space.api.get(resource, limit="5")
    assert listed.code == 200
    with space.api.watch(resource, resourceVersion=listed.revision, timeoutSeconds="1"):
        pass


def test_39_a_namespace_that_is_not_there_takes_nothing(space: Space) -> None:
    refused = space.api.post("/api/v1/namespaces/herz-no-such/pods", pod("p"))
    assert (refused.code, refused.reason) == (404, "NotFound")


def test_39_a_request_without_credentials_is_refused(space: Space) -> None:
    refused = space.api.call("GET", space.pods, headers={"Authorization": "Bearer wrong"})
    assert (refused.code, refused.reason) == (401, "Unauthorized")
