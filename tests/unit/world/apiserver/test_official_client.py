"""The official Python client against the embedded server: what its users do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cluster import Client

kubernetes: Any = pytest.importorskip("kubernetes")
pytestmark = pytest.mark.slow


def faces(client: Any, *names: str) -> list[Any]:
    """API classes of the client. Untyped: its models make every field optional."""
    return [getattr(kubernetes.client, name)(client) for name in names]


@pytest.fixture
def client(api: Client) -> Any:
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(api.kubeconfig), client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as connected:
        yield connected
        connected.rest_client.pool_manager.clear()


def pod(name: str) -> dict[str, Any]:
    containers = [{"name": "main", "image": "registry.example/a:1"}]
    return {"metadata": {"name": name, "labels": {"a": name}}, "spec": {"containers": containers}}


def test_pods_are_made_listed_patched_bound_and_deleted(client: Any) -> None:
    (core,) = faces(client, "CoreV1Api")
    made = core.create_namespaced_pod("default", pod("one"))
    assert (made.status.phase, made.spec.scheduler_name) == ("Pending", "default-scheduler")
    listed = core.list_namespaced_pod("default", label_selector="a=one")
    assert [item.metadata.uid for item in listed.items] == [made.metadata.uid]
    patch = {"metadata": {"labels": {"b": "2"}}}
    changed = core.patch_namespaced_pod("one", "default", patch)
    assert changed.metadata.labels == {"a": "one", "b": "2"}
    binding = kubernetes.client.V1Binding(
        metadata=kubernetes.client.V1ObjectMeta(name="one", uid=made.metadata.uid),
        target=kubernetes.client.V1ObjectReference(kind="Node", name="node-0"),
    )
    done = core.create_namespaced_pod_binding("one", "default", binding, _preload_content=False)
    assert done.status == 201
    done.close()
    with pytest.raises(kubernetes.client.ApiException) as again:
        core.create_namespaced_pod_binding("one", "default", binding, _preload_content=False)
    assert again.value.status == 409
    core.delete_namespaced_pod("one", "default", grace_period_seconds=0)
    with pytest.raises(kubernetes.client.ApiException) as gone:
        core.read_namespaced_pod("one", "default")
    assert gone.value.status == 404


def test_a_watch_follows_a_list(client: Any) -> None:
    (core,) = faces(client, "CoreV1Api")
    listed = core.list_namespaced_config_map("default")
    for number in range(3):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"w{number}"}})
    stream = kubernetes.watch.Watch().stream(
        core.list_namespaced_config_map,
        "default",
        resource_version=listed.metadata.resource_version,
        timeout_seconds=1,
    )
    names = [(event["type"], event["object"].metadata.name) for event in stream]
    assert names == [("ADDED", "w0"), ("ADDED", "w1"), ("ADDED", "w2")]
    core.delete_collection_namespaced_config_map("default")


def test_a_list_comes_in_pages(client: Any) -> None:
    (core,) = faces(client, "CoreV1Api")
    first = core.list_node(limit=2)
    assert first.metadata.remaining_item_count == 1
    rest = core.list_node(limit=2, _continue=first.metadata._continue)
    names = [node.metadata.name for node in (*first.items, *rest.items)]
    assert names == ["node-0", "node-1", "node-2"]
    assert first.items[0].status.allocatable["cpu"] == "8"


def test_workloads_leases_and_own_kinds(client: Any) -> None:
    apps, leases, custom = faces(client, "AppsV1Api", "CoordinationV1Api", "CustomObjectsApi")
    spec = {"selector": {"matchLabels": {"a": "d"}}, "template": pod("d"), "replicas": 1}
    made = apps.create_namespaced_deployment("default", {"metadata": {"name": "d"}, "spec": spec})
    assert made.spec.strategy.type == "RollingUpdate"
    scale = apps.patch_namespaced_deployment_scale("d", "default", {"spec": {"replicas": 0}})
    assert scale.spec.replicas == 0
    apps.delete_namespaced_deployment("d", "default")
    lease = leases.create_namespaced_lease("default", {"metadata": {"name": "l"}, "spec": {}})
    lease.spec.holder_identity = "me"
    leases.replace_namespaced_lease("l", "default", lease)
    with pytest.raises(kubernetes.client.ApiException) as stale:
        leases.replace_namespaced_lease("l", "default", lease)
    assert stale.value.status == 409
    where = ("scheduling.herz.dev", "v1alpha1", "slaclasses")
    custom.create_cluster_custom_object(*where, {"metadata": {"name": "gold"}, "spec": {"x": 1}})
    found = custom.list_cluster_custom_object(*where)
    assert [item["spec"] for item in found["items"]] == [{"x": 1}]
    custom.delete_cluster_custom_object(*where, "gold")
