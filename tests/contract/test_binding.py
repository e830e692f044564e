"""Behaviours 1 to 5: binding."""

from __future__ import annotations

from tests.contract.conftest import FIRST_NODE, NODES, Space
from tests.support.cluster import kubeconfig_of_tests


def test_01_bind_takes_the_uid_as_a_precondition(space: Space) -> None:
    first = space.pod()
    assert space.api.delete(f"{space.pods}/p").code == 200
    second = space.pod()
    assert first.uid != second.uid
    refused = space.bind("p", "n1", uid=first.uid)
    assert (refused.code, refused.reason) == (409, "Conflict")
    assert "nodeName" not in space.api.get(f"{space.pods}/p").content["spec"]
    assert space.bind("p", "n1", uid=second.uid).code == 201
    assert space.api.get(f"{space.pods}/p").content["spec"]["nodeName"] == "n1"


def test_01_bind_takes_the_version_as_a_precondition(space: Space) -> None:
    made = space.pod()
    space.api.patch(f"{space.pods}/p", {"metadata": {"labels": {"x": "y"}}})
    refused = space.bind("p", "n1", resourceVersion=made.revision)
    assert (refused.code, refused.reason) == (409, "Conflict")


def test_02_bind_refuses_a_pod_that_has_a_node_even_the_same(space: Space) -> None:
    space.pod()
    assert space.bind("p", "n1").code == 201
    for node in ("n1", "n2"):
        refused = space.bind("p", node)
        assert (refused.code, refused.reason) == (409, "Conflict")
        assert 'is already assigned to node "n1"' in refused.content["message"]


def test_02_bind_refuses_a_gated_pod(space: Space) -> None:
    space.pod(schedulingGates=[{"name": "example.com/wait"}])
    refused = space.bind("p", "n1")
    assert refused.code == 409
    assert "schedulingGates" in refused.content["message"]


def test_02_bind_refuses_a_pod_that_is_being_deleted(space: Space) -> None:
    space.pod()
    space.api.patch(f"{space.pods}/p", {"metadata": {"finalizers": ["example.com/hold"]}})
    assert space.api.delete(f"{space.pods}/p").code == 200
    refused = space.bind("p", "n1")
    assert refused.code == 409
    assert "is being deleted" in refused.content["message"]
    space.api.patch(f"{space.pods}/p", {"metadata": {"finalizers": None}})
    assert space.api.get(f"{space.pods}/p").code == 404


def test_02_bind_of_a_pod_that_is_gone_is_not_found(space: Space) -> None:
    assert space.bind("nobody", "n1").code == 404


def test_02_bind_does_not_ask_whether_the_node_exists(space: Space) -> None:
    space.pod()
    assert space.bind("p", "no-such-node-anywhere").code == 201


def test_02_bind_without_a_target_is_refused(space: Space) -> None:
    space.pod()
    # kube-apiserver says 500 here: its handler returns a field's error as it is.
    assert space.bind("p", "").code == (422 if kubeconfig_of_tests() is None else 500)


def test_03_bind_sets_the_condition_and_merges_annotations(space: Space) -> None:
    space.pod()
    space.api.patch(f"{space.pods}/p/status", {"status": {"nominatedNodeName": "n9"}})
    space.api.patch(f"{space.pods}/p", {"metadata": {"annotations": {"a": "1", "b": "1"}}})
    assert space.bind("p", "n1", annotations={"b": "2", "herz.dev/decision": "7"}).code == 201
    found = space.api.get(f"{space.pods}/p").content
    assert found["metadata"]["annotations"] == {"a": "1", "b": "2", "herz.dev/decision": "7"}
    conditions = {item["type"]: item["status"] for item in found["status"]["conditions"]}
    assert conditions["PodScheduled"] == "True"
    assert found["metadata"]["generation"] == 1, "what was asked for is the same"
    assert "nominatedNodeName" not in found["status"]


def test_05_bind_answers_with_a_status(space: Space) -> None:
    space.pod()
    done = space.bind("p", "n1")
    assert done.code == 201
    assert (done.content["kind"], done.content["status"]) == ("Status", "Success")


@NODES
def test_03_bind_gives_the_pod_its_nodes_topology(space: Space) -> None:
    space.pod()
    assert space.bind("p", FIRST_NODE).code == 201
    labels = space.api.get(f"{space.pods}/p").content["metadata"]["labels"]
    assert labels["topology.kubernetes.io/zone"] == "zone-0"
    assert labels["app"] == "p"
