"""Behaviours 18 to 32: pods, quantities, priorities, conditions, events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import FIRST_NODE, NOBODY, NODES, Space, pod
from tests.support.cluster import JSON_PATCH, STRATEGIC_PATCH, Reply


def names(space: Space, **query: str) -> list[str]:
    found = space.api.get(space.pods, **query)
    assert found.code == 200, found.content
    return [item["metadata"]["name"] for item in found.content["items"]]


def test_18_pods_are_selected_by_scheduler_and_by_having_no_node(space: Space) -> None:
    space.pod("mine")
    space.pod("bound", nodeName="n1")
    space.pod("other", schedulerName="herz-contract-other")
    wanted = f"spec.schedulerName={NOBODY},spec.nodeName="
    assert names(space, fieldSelector=wanted) == ["mine"]
    assert names(space, fieldSelector="spec.nodeName=n1") == ["bound"]
    assert names(space, fieldSelector="spec.nodeName!=") == ["bound"]
    assert names(space, labelSelector="app in (mine,other),app!=other") == ["mine"]
    assert space.api.get(space.pods, fieldSelector="spec.nothing=1").code == 400
    assert space.api.get(space.pods, labelSelector="a in (").code == 400


def test_19_a_pod_that_ends_looks_deleted_to_who_selects_running_ones(space: Space) -> None:
    made = space.pod("p", nodeName="n1")
    selector = "status.phase!=Succeeded,status.phase!=Failed"
    query = {"resourceVersion": made.revision, "fieldSelector": selector}
    with space.api.watch(space.pods, **query) as events:
        space.run("p")
        assert next(events)["type"] == "MODIFIED"
        space.run("p", "Succeeded", is_ready=False)
        gone = next(events)
    assert gone["type"] == "DELETED"
    assert gone["object"]["status"]["phase"] == "Running"


def test_20_a_pod_may_ask_for_a_node_by_name(space: Space) -> None:
    field = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    made = space.pod(affinity=affinity)
    assert made.content["spec"]["affinity"] == affinity
    field["key"] = "metadata.uid"
    assert space.api.post(space.pods, pod("q", affinity=affinity)).code == 422


def test_21_gates_can_be_taken_away_and_not_added(space: Space) -> None:
    gates = [{"name": "example.com/a"}, {"name": "example.com/b"}]
    space.pod(schedulingGates=gates)
    path = f"{space.pods}/p"
    more = {"spec": {"schedulingGates": [*gates, {"name": "example.com/c"}]}}
    refused = space.api.patch(path, more)
    assert (refused.code, refused.reason) == (422, "Invalid")
    assert space.api.patch(path, {"spec": {"schedulingGates": gates[1:]}}).code == 200
    assert space.api.patch(path, {"spec": {"nodeSelector": {"zone": "a"}}}).code == 200
    assert space.api.patch(path, {"spec": {"nodeSelector": {"zone": "b"}}}).code == 422
    assert space.api.patch(path, {"spec": {"schedulingGates": None}}).code == 200
    assert space.api.patch(path, {"spec": {"nodeSelector": {"rack": "1"}}}).code == 422


def test_21_a_gated_pod_says_so_from_the_beginning(space: Space) -> None:
    made = space.pod(schedulingGates=[{"name": "example.com/a"}])
    (told,) = made.content["status"]["conditions"]
    assert told["lastTransitionTime"]
    assert (told["type"], told["status"], told["reason"], told["message"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
        "Scheduling is blocked due to non-empty scheduling gates",
    )


def test_21_a_gated_pod_cannot_be_made_with_a_node(space: Space) -> None:
    gates = [{"name": "example.com/a"}]
    assert space.api.post(space.pods, pod("p", schedulingGates=gates, nodeName="n1")).code == 422


def test_23_what_a_kubelet_holds_is_kept_in_the_status(space: Space) -> None:
    space.pod(nodeName="n1")
    held: dict[str, Any] = {"name": "main", "image": "", "imageID": "", "ready": True}
    held |= {"restartCount": 0, "allocatedResources": {"cpu": "2"}}
    held |= {"resources": {"requests": {"cpu": "2"}}}
    status = {"status": {"containerStatuses": [held]}}
    assert space.api.patch(f"{space.pods}/p/status", status).code == 200
    found = space.api.get(f"{space.pods}/p").content["status"]["containerStatuses"][0]
    assert found["allocatedResources"] == {"cpu": "2"}
    assert found["resources"] == {"requests": {"cpu": "2"}}


def container(**resources: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "registry.example/app:1", "resources": resources}]


def test_24_requests_are_the_limits_where_none_are_written(space: Space) -> None:
    made = space.pod(containers=container(limits={"cpu": "2", "memory": "1Gi"}))
    resources = made.content["spec"]["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "2", "memory": "1Gi"}
    assert made.content["status"]["qosClass"] == "Guaranteed"


def test_25_devices_and_pods_are_counted_in_whole(space: Space) -> None:
    device = {"example.com/gpu": "2"}
    made = space.pod(containers=container(limits=device))
    assert made.content["spec"]["containers"][0]["resources"]["requests"] == device
    uneven = container(limits=device, requests={"example.com/gpu": "1"})
    assert space.api.post(space.pods, pod("q", containers=uneven)).code == 422
    name = f"{space.name}-n"
    assert space.api.post("/api/v1/nodes", {"metadata": {"name": name}}).code == 201
    status = {"status": {"allocatable": {**device, "pods": "7", "hugepages-2Mi": "4Mi"}}}
    done = space.api.patch(f"/api/v1/nodes/{name}/status", status)
    assert done.content["status"]["allocatable"] == status["status"]["allocatable"]
    space.api.delete(f"/api/v1/nodes/{name}")


@pytest.mark.parametrize(
    ("written", "served"),
    [
        ("1000m", "1"),
        ("0.1", "100m"),
        (".5", "500m"),
        (2, "2"),
        (0.25, "250m"),
        ("1e3", "1e3"),
        ("100u", "1m"),
    ],
)
def test_26_quantities_are_served_in_their_canonical_form(
    space: Space, written: Any, served: str
) -> None:
    made = space.pod(containers=container(requests={"cpu": written}))
    assert made.content["spec"]["containers"][0]["resources"]["requests"] == {"cpu": served}


def test_26_a_fraction_of_a_binary_unit_is_exact(space: Space) -> None:
    made = space.pod(containers=container(requests={"memory": "1.2Gi"}))
    requests = made.content["spec"]["containers"][0]["resources"]["requests"]
    assert requests == {"memory": "1288490188800m"}


@pytest.mark.parametrize("written", ["1K", "abc", "", "1 Gi", "--1", True])
def test_26_what_is_no_quantity_is_refused(space: Space, written: Any) -> None:
    bad = pod("p", containers=container(requests={"memory": written}))
    assert space.api.post(space.pods, bad).code == 400


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        ({"requests": {"cpu": "-1"}}, "spec.containers[0].resources.requests"),
        (
            {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
            "spec.containers[0].resources.requests",
        ),
        ({"requests": {"example.com/gpu": "500m"}}, "spec.containers[0].resources.requests"),
    ],
)
def test_26_quantities_out_of_bounds_are_invalid(
    space: Space, resources: dict[str, Any], field: str
) -> None:
    refused = space.api.post(space.pods, pod("p", containers=container(**resources)))
    assert (refused.code, refused.reason) == (422, "Invalid")
    causes = refused.content["details"]["causes"]
    assert any(cause["field"].startswith(field) for cause in causes)


def test_27_the_priority_is_that_of_the_class(space: Space) -> None:
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    high = {"metadata": {"name": space.name}, "value": 1000, "preemptionPolicy": "Never"}
    assert space.api.post(classes, high).code == 201
    try:
        made = space.pod(priorityClassName=space.name)
        assert made.content["spec"]["priority"] == 1000
        assert made.content["spec"]["preemptionPolicy"] == "Never"
        lie = space.api.post(space.pods, pod("q", priorityClassName=space.name, priority=7))
        assert lie.code in (403, 422), lie.content
        changed = space.api.patch(f"{classes}/{space.name}", {"value": 5})
        assert (changed.code, changed.reason) in ((422, "Invalid"), (403, "Forbidden"))
    finally:
        space.api.delete(f"{classes}/{space.name}")
    assert space.pod("r").content["spec"]["priority"] == 0
    unknown = space.api.post(space.pods, pod("s", priorityClassName="no-such-class"))
    assert (unknown.code, unknown.reason) == (403, "Forbidden")
    critical = space.pod("t", priorityClassName="system-node-critical")
    assert critical.content["spec"]["priority"] == 2_000_001_000


def test_28_a_nomination_is_a_patch_of_the_status(space: Space) -> None:
    space.pod()
    patch = {"status": {"nominatedNodeName": "n1"}, "spec": {"nodeName": "n2"}}
    done = space.api.patch(f"{space.pods}/p/status", patch, STRATEGIC_PATCH)
    assert done.code == 200, done.content
    assert done.content["status"]["nominatedNodeName"] == "n1"
    assert "nodeName" not in done.content["spec"]
    cleared = space.api.patch(
        f"{space.pods}/p/status", {"status": {"nominatedNodeName": None}}, STRATEGIC_PATCH
    )
    assert "nominatedNodeName" not in cleared.content["status"]


def test_28_the_pod_itself_does_not_take_a_status(space: Space) -> None:
    made = space.pod()
    patch = {"status": {"nominatedNodeName": "n1"}, "metadata": {"labels": {"x": "y"}}}
    done = space.api.patch(f"{space.pods}/p", patch)
    assert "nominatedNodeName" not in done.content["status"]
    assert done.content["metadata"]["labels"]["x"] == "y"
    assert done.content["metadata"]["generation"] == made.content["metadata"]["generation"]


def test_29_a_victim_is_deleted_by_uid_and_with_its_grace(space: Space) -> None:
    made = space.pod(nodeName="n1", terminationGracePeriodSeconds=40)
    space.run("p")
    wrong = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}}
    refused = space.api.delete(f"{space.pods}/p", wrong)
    assert (refused.code, refused.reason) == (409, "Conflict")
    right = {**wrong, "preconditions": {"uid": made.uid}}
    done = space.api.delete(f"{space.pods}/p", right)
    assert done.code == 200
    assert done.content["metadata"]["deletionGracePeriodSeconds"] == 40
    assert "deletionTimestamp" in space.api.get(f"{space.pods}/p").content["metadata"]
    assert space.api.delete(f"{space.pods}/p", gracePeriodSeconds="0").code == 200
    assert space.api.get(f"{space.pods}/p").code == 404


def test_29_a_pod_without_a_node_is_deleted_at_once(space: Space) -> None:
    space.pod()
    assert space.api.delete(f"{space.pods}/p").code == 200
    assert space.api.get(f"{space.pods}/p").code == 404


def test_29_conditions_are_merged_by_type(space: Space) -> None:
    space.pod(nodeName="n1")
    space.run("p")
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    patch = {"status": {"conditions": [target]}}
    done = space.api.patch(f"{space.pods}/p/status", patch, STRATEGIC_PATCH)
    kinds = {item["type"] for item in done.content["status"]["conditions"]}
    assert kinds >= {"Ready", "DisruptionTarget"}


def budget_seen(space: Space, generation: int, allowed: int) -> dict[str, Any]:
    """The budget, once its controller has counted that generation's pods."""
    root = f"/apis/policy/v1/namespaces/{space.name}/poddisruptionbudgets"
    with space.api.watch(root, resourceVersion="0") as events:
        for item in events:
            found: dict[str, Any] = item["object"]
            status = found.get("status", {})
            is_seen = status.get("observedGeneration") == generation
            if is_seen and status.get("disruptionsAllowed") == allowed:
                return found
    raise AssertionError("the budget's controller did not come so far")


def evict(space: Space, name: str) -> Reply:
    content = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    return space.api.post(f"{space.pods}/{name}/eviction", content)


def test_30_an_eviction_keeps_to_the_budget_that_its_controller_has_seen(space: Space) -> None:
    for name in ("a", "b"):
        space.pod(name, nodeName="n1")
        labels = {"metadata": {"labels": {"group": "g"}}}
        space.api.patch(f"{space.pods}/{name}", labels)
        space.run(name)
    root = f"/apis/policy/v1/namespaces/{space.name}/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"group": "g"}}}
    made = space.api.post(root, {"metadata": {"name": "b"}, "spec": spec})
    assert made.code == 201, made.content
    seen = budget_seen(space, 1, 1)
    assert seen["status"]["desiredHealthy"] == 1
    assert seen["status"]["expectedPods"] == 2
    assert evict(space, "a").code == 201
    refused = evict(space, "b")
    assert (refused.code, refused.reason) == (429, "TooManyRequests")
    assert refused.content["details"]["causes"][0]["reason"] == "DisruptionBudget"
    found = space.api.get(f"{space.pods}/b").content
    assert "deletionTimestamp" not in found["metadata"]


@NODES
def test_37_a_pod_that_does_not_fit_fails_on_its_node(space: Space) -> None:
    space.pod("big", containers=container(requests={"cpu": "9"}))
    made = space.api.get(space.pods)
    assert space.bind("big", FIRST_NODE).code == 201
    with space.api.watch(space.pods, resourceVersion=made.revision) as events:
        status = next(
            item["object"]["status"]
            for item in events
            if item["object"]["status"]["phase"] != "Pending"
        )
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")


def test_31_an_unschedulable_pod_says_so_in_a_condition(space: Space) -> None:
    space.pod()
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-31T12:00:00Z",
    }
    patch = {"status": {"conditions": [condition]}}
    done = space.api.patch(f"{space.pods}/p/status", patch, STRATEGIC_PATCH)
    assert done.code == 200
    assert condition.items() <= done.content["status"]["conditions"][0].items()
    again = space.api.patch(f"{space.pods}/p/status", patch, STRATEGIC_PATCH)
    assert again.revision == done.revision, "a patch that changes nothing is no change"


def event(space: Space, **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "apiVersion": "v1", "namespace": space.name, "name": "p"}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": "p.1-"},
        "eventTime": "2026-01-31T12:00:00.123456Z",
        "reportingController": NOBODY,
        "reportingInstance": "one",
        "action": "Binding",
        "reason": "Scheduled",
        "type": "Normal",
        "note": "bound",
        "regarding": about,
        **more,
    }


def test_32_an_event_has_two_faces(space: Space) -> None:
    root = f"/apis/events.k8s.io/v1/namespaces/{space.name}/events"
    made = space.api.post(root, event(space, note="n" * 1024))
    assert made.code == 201, made.content
    name = made.content["metadata"]["name"]
    assert name.startswith("p.1-")
    old = space.api.get(f"{space.root}/events/{name}").content
    assert (old["apiVersion"], old["message"]) == ("v1", "n" * 1024)
    assert old["involvedObject"]["name"] == "p"
    assert old["reportingComponent"] == NOBODY
    series = {"series": {"count": 3, "lastObservedTime": "2026-01-31T12:10:00.000000Z"}}
    done = space.api.patch(f"{root}/{name}", series, STRATEGIC_PATCH)
    assert done.content["series"]["count"] == 3
    selector = "involvedObject.name=p,involvedObject.kind=Pod,reason=Scheduled"
    found = space.api.get(f"{space.root}/events", fieldSelector=selector)
    assert len(found.content["items"]) == 1
    listed = space.api.get(root, fieldSelector="regarding.name=p").content
    assert [item["note"] for item in listed["items"]] == ["n" * 1024]


@pytest.mark.parametrize(
    "wrong",
    [
        {"note": "n" * 1025},
        {"reason": ""},
        {"reason": "r" * 129},
        {"action": ""},
        {"action": "a" * 129},
        {"reportingInstance": "i" * 129},
        {"reportingController": ""},
        {"type": "Sometimes"},
        {"eventTime": None},
    ],
)
def test_32_an_event_out_of_bounds_is_invalid(space: Space, wrong: dict[str, Any]) -> None:
    root = f"/apis/events.k8s.io/v1/namespaces/{space.name}/events"
    assert space.api.post(root, event(space, **wrong)).code == 422


def test_40_a_generated_name_must_begin_as_a_name(space: Space) -> None:
    for wrong in ("p.", "P-", "-"):
        content = {"metadata": {"generateName": wrong}, "data": {}}
        assert space.api.post(f"{space.root}/configmaps", content).code == 422, wrong
    made = space.api.post(f"{space.root}/configmaps", {"metadata": {"generateName": "p-"}})
    assert made.content["metadata"]["name"].startswith("p-")


def test_32_an_event_is_near_its_object(space: Space) -> None:
    """Of the older interface in its namespace; of what has none, in default or kube-system."""
    root = f"/apis/events.k8s.io/v1/namespaces/{space.name}/events"
    about = {"kind": "Node", "apiVersion": "v1", "name": "n"}
    assert space.api.post(root, event(space, regarding=about)).code == 422
    elsewhere = {"kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": "p"}
    assert space.api.post(root, event(space, regarding=elsewhere)).code == 201
    old = {"metadata": {"generateName": "p.1-"}, "reason": "Scheduled", "type": "Normal"}
    for wrong in (about, elsewhere):
        made = space.api.post(f"{space.root}/events", {**old, "involvedObject": wrong})
        assert made.code == 422, made.content


def test_40_a_stale_status_is_a_conflict(space: Space) -> None:
    made = space.pod()
    space.api.patch(f"{space.pods}/p", {"metadata": {"labels": {"x": "y"}}})
    stale = {**made.content, "status": {"phase": "Pending", "nominatedNodeName": "n1"}}
    refused = space.api.put(f"{space.pods}/p/status", stale)
    assert (refused.code, refused.reason) == (409, "Conflict")
    patch = {"metadata": {"resourceVersion": made.revision}, "status": {"reason": "x"}}
    assert space.api.patch(f"{space.pods}/p/status", patch, STRATEGIC_PATCH).code == 409
    test = [{"op": "test", "path": "/metadata/labels/x", "value": "z"}]
    assert space.api.patch(f"{space.pods}/p", test, JSON_PATCH).code == 422
