"""Controllers and simulated kubelets together: what people do with workloads and namespaces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from herz.world.apiserver.kubelets import EXIT, RUN, STOP
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.registry.deletion import Deletion, delete
from herz.world.apiserver.registry.subresources import evict
from tests.support.embedded import (
    BUDGETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    Content,
    Small,
    small_cluster,
)

LABELS = {"app": "web"}


def run(folder: Path, test: Callable[[Small], Awaitable[None]], **more: Any) -> None:
    async def whole() -> None:
        async with small_cluster(folder, **more) as cluster:
            await test(cluster)

    asyncio.run(whole())


def template(image: str = "app:1", *, notes: dict[str, str] | None = None, **spec: Any) -> Content:
    containers = [{"name": "main", "image": image}]
    metadata = {"labels": LABELS, **({"annotations": notes} if notes else {})}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


def deployment(replicas: int = 3, **spec: Any) -> Content:
    base = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template()}
    return {"metadata": {"name": "web"}, "spec": {**base, **spec}}


def job(name: str = "j", *, notes: dict[str, str] | None = None, **spec: Any) -> Content:
    made = template(notes=notes, restartPolicy="Never")
    made["metadata"].pop("labels")
    return {"metadata": {"name": name}, "spec": {"template": made, **spec}}


def status(cluster: Small, kind: Any, name: str) -> Content:
    found = cluster.get(kind, name)
    return {} if found is None else dict(found.get("status", {}))


def is_complete(cluster: Small, replicas: int) -> bool:
    found = cluster.get(DEPLOYMENTS, "web")
    assert found is not None
    shown = found.get("status", {})
    counts = [shown.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    is_seen = shown.get("observedGeneration") == found["metadata"]["generation"]
    return is_seen and counts == [replicas] * 3


def _set(fields: Content, old: Content) -> None:
    old["spec"].update(fields)


def conditions(content: Content) -> dict[str, tuple[str, str]]:
    items = content.get("conditions", ())
    return {item["type"]: (item["status"], item.get("reason", "")) for item in items}


def test_a_deployment_becomes_a_set_and_pods_and_scales(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        (one,) = cluster.items(REPLICA_SETS)
        assert one.metadata["ownerReferences"][0]["kind"] == "Deployment"
        assert all(name.startswith(f"{one.key.name}-") for name in cluster.running())
        shown = conditions(status(cluster, DEPLOYMENTS, "web"))
        assert shown["Progressing"] == ("True", "NewReplicaSetAvailable")
        assert shown["Available"] == ("True", "MinimumReplicasAvailable")
        await cluster.change(DEPLOYMENTS, "web", lambda old: old["spec"].update(replicas=5))
        await cluster.until(lambda: is_complete(cluster, 5))
        await cluster.change(DEPLOYMENTS, "web", lambda old: old["spec"].update(replicas=0))
        await cluster.until(lambda: is_complete(cluster, 0) and not cluster.items(PODS))
        assert len(cluster.items(REPLICA_SETS)) == 1

    run(tmp_path, test)


def test_a_rolling_update_keeps_within_surge_and_unavailability(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    async def test(cluster: Small) -> None:
        rolling = {"maxSurge": 1, "maxUnavailable": 1}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        await cluster.create(DEPLOYMENTS, deployment(6, strategy=strategy))
        await cluster.until(lambda: is_complete(cluster, 6))

        def look() -> bool:
            wanted = [item.content["spec"]["replicas"] for item in cluster.items(REPLICA_SETS)]
            seen.append((sum(wanted), len(cluster.running())))
            return len(cluster.items(REPLICA_SETS)) == 2 and is_complete(cluster, 6)

        new = template("app:2")
        await cluster.change(DEPLOYMENTS, "web", lambda old: old["spec"].update(template=new))
        await cluster.until(look)
        images = {pod.content["spec"]["containers"][0]["image"] for pod in cluster.items(PODS)}
        assert images == {"app:2"}
        revisions = {
            item.metadata["annotations"]["deployment.kubernetes.io/revision"]
            for item in cluster.items(REPLICA_SETS)
        }
        assert revisions == {"1", "2"}

    run(tmp_path, test)
    assert max(wanted for wanted, _ in seen) <= 7
    assert min(running for _, running in seen) >= 5


def test_an_older_template_takes_up_its_set_again(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        first = cluster.items(REPLICA_SETS)[0].key.name
        for image in ("app:2", "app:1"):
            spec = {"template": template(image)}
            await cluster.change(DEPLOYMENTS, "web", partial(_set, spec))
            await cluster.until(lambda: is_complete(cluster, 3))
        await cluster.until(lambda: len(cluster.items(PODS)) == 3)
        found = cluster.get(REPLICA_SETS, first)
        assert found is not None
        assert found["spec"]["replicas"] == 3
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"

    run(tmp_path, test)


def test_recreate_ends_the_old_pods_first(tmp_path: Path) -> None:
    mixed: list[set[str]] = []

    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment(strategy={"type": "Recreate"}))
        await cluster.until(lambda: is_complete(cluster, 3))

        def look() -> bool:
            pods = cluster.items(PODS)
            mixed.append({pod.content["spec"]["containers"][0]["image"] for pod in pods})
            return mixed[-1] == {"app:2"} and is_complete(cluster, 3)

        new = template("app:2")
        await cluster.change(DEPLOYMENTS, "web", lambda old: old["spec"].update(template=new))
        await cluster.until(look)

    run(tmp_path, test)
    assert {"app:1", "app:2"} not in mixed


def test_deleting_a_deployment_takes_all_along_or_leaves_it_behind(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        for policy in ("Background", "Foreground"):
            await cluster.create(DEPLOYMENTS, deployment())
            await cluster.until(lambda: is_complete(cluster, 3))
            how = Deletion(policy=policy)
            _, is_gone = await delete(cluster.registry, DEPLOYMENTS, "default", "web", how)
            assert is_gone is (policy == "Background")
            await cluster.until(lambda: not cluster.items(PODS) and not cluster.items(DEPLOYMENTS))
            assert not cluster.items(REPLICA_SETS)
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        await delete(cluster.registry, DEPLOYMENTS, "default", "web", Deletion(policy="Orphan"))
        await cluster.until(lambda: not cluster.items(DEPLOYMENTS))
        (left,) = cluster.items(REPLICA_SETS)
        assert not left.metadata.get("ownerReferences")
        assert len(cluster.running()) == 3
        before = set(cluster.running())
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        assert set(cluster.running()) == before, "what was left behind is taken over again"
        labels = {**LABELS, "pod-template-hash": left.key.name.rpartition("-")[2]}
        bare = {"metadata": {"name": "bare", "labels": labels}, "spec": template()["spec"]}
        await cluster.create(PODS, bare)
        await cluster.until(lambda: len(cluster.running()) == 3 and len(cluster.items(PODS)) == 3)

    run(tmp_path, test)


def test_a_deleted_pod_of_a_set_is_replaced(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        before = set(cluster.running())
        await delete(cluster.registry, PODS, "default", min(before), Deletion())
        await cluster.until(
            lambda: len(cluster.running()) == 3 and set(cluster.running()) != before
        )

    run(tmp_path, test)


@pytest.mark.slow
def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        made = job(completions=3, parallelism=2, notes={RUN: "1"})
        await cluster.create(JOBS, made)
        await cluster.until(lambda: "Complete" in conditions(status(cluster, JOBS, "j")))
        shown = status(cluster, JOBS, "j")
        assert (shown["succeeded"], shown.get("active", 0)) == (3, 0)
        assert len(cluster.items(PODS)) == 3
        assert shown["completionTime"] >= shown["startTime"]

    run(tmp_path, test)


@pytest.mark.slow
def test_a_job_that_fails_too_often_is_given_up(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        made = job(backoffLimit=0, parallelism=2, completions=2, notes={RUN: "1", EXIT: "3"})
        await cluster.create(JOBS, made)
        await cluster.until(lambda: "Failed" in conditions(status(cluster, JOBS, "j")))
        shown = conditions(status(cluster, JOBS, "j"))
        assert shown["Failed"] == ("True", "BackoffLimitExceeded")
        (failed, *_) = [
            pod.content["status"]
            for pod in cluster.items(PODS)
            if pod.content["status"]["phase"] == "Failed"
        ]
        assert failed["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3

    run(tmp_path, test)


def test_a_suspended_job_has_no_pods(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(JOBS, job(suspend=True))
        await cluster.until(lambda: "Suspended" in conditions(status(cluster, JOBS, "j")))
        assert not cluster.items(PODS)
        await cluster.change(JOBS, "j", lambda old: old["spec"].update(suspend=False))
        await cluster.until(lambda: len(cluster.running()) == 1)
        assert "Suspended" not in conditions(status(cluster, JOBS, "j"))

    run(tmp_path, test)


def test_a_namespace_takes_its_content_along(tmp_path: Path) -> None:
    namespaces, configs = kind_of("namespaces"), kind_of("configmaps")

    async def test(cluster: Small) -> None:
        await cluster.registry.create(namespaces, "", {"metadata": {"name": "team"}})
        accounts = "serviceaccounts"
        await cluster.until(lambda: cluster.store.items(accounts, "team"))
        await cluster.create(configs, {"metadata": {"name": "c"}}, "team")
        held = {"name": "p", "finalizers": ["example.com/hold"]}
        await cluster.create(PODS, {"metadata": held, "spec": template()["spec"]}, "team")
        await delete(cluster.registry, namespaces, "", "team", Deletion())
        with pytest.raises(RefusedError) as refused:
            await cluster.create(configs, {"metadata": {"name": "d"}}, "team")
        assert refused.value.code == 403
        assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"
        await cluster.until(lambda: not cluster.store.items("configmaps", "team"))
        assert cluster.get(namespaces, "team") is not None

        def release(old: Content) -> Content:
            old["metadata"]["finalizers"] = []
            return old

        await cluster.registry.patch(PODS, "team", "p", release)
        await cluster.until(lambda: cluster.get(namespaces, "team") is None)
        with pytest.raises(RefusedError) as kept:
            await delete(cluster.registry, namespaces, "", "default", Deletion())
        assert kept.value.code == 403

    run(tmp_path, test)


def test_a_budget_allows_as_many_evictions_as_it_can(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment(4))
        spec = {"minAvailable": "75%", "selector": {"matchLabels": LABELS}}
        await cluster.create(BUDGETS, {"metadata": {"name": "b"}, "spec": spec})
        await cluster.until(lambda: status(cluster, BUDGETS, "b").get("disruptionsAllowed") == 1)
        shown = status(cluster, BUDGETS, "b")
        assert (shown["desiredHealthy"], shown["currentHealthy"], shown["expectedPods"]) == (
            3,
            4,
            4,
        )
        first, second, *_ = cluster.running()
        both = [evict(cluster.registry, "default", name, Deletion()) for name in (first, second)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert outcomes[0] is None
        assert isinstance(outcomes[1], RefusedError)
        assert outcomes[1].code == 429
        assert outcomes[1].details["causes"][0]["reason"] == "DisruptionBudget"
        await cluster.until(lambda: first not in {pod.key.name for pod in cluster.items(PODS)})
        await cluster.until(lambda: status(cluster, BUDGETS, "b")["disruptionsAllowed"] == 1)
        assert "disruptedPods" not in status(cluster, BUDGETS, "b")
        assert second in cluster.running()

    run(tmp_path, test)


def test_a_kubelet_refuses_what_does_not_fit(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        for name in ("a", "b", "c"):
            container = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "3"}}}
            spec = {"containers": [container], "nodeName": "node-0"}
            await cluster.create(PODS, {"metadata": {"name": name}, "spec": spec})
        await cluster.until(
            lambda: all("startTime" in pod.content["status"] for pod in cluster.items(PODS))
        )
        assert cluster.running() == ["a", "b"]
        refused = status(cluster, PODS, "c")
        assert (refused["phase"], refused["reason"]) == ("Failed", "OutOfcpu")

    run(tmp_path, test, binds=False)


@pytest.mark.slow
def test_a_pod_restarts_or_ends_by_its_policy(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        for name, policy, code in (("again", "OnFailure", "1"), ("done", "OnFailure", "0")):
            metadata = {"name": name, "annotations": {RUN: "1", EXIT: code}}
            spec = template(restartPolicy=policy)["spec"]
            await cluster.create(PODS, {"metadata": metadata, "spec": spec})

        def is_so() -> bool:
            again = status(cluster, PODS, "again").get("containerStatuses", [{}])[0]
            is_done = status(cluster, PODS, "done").get("phase") == "Succeeded"
            return is_done and again.get("restartCount", 0) >= 1

        await cluster.until(is_so)
        assert status(cluster, PODS, "again")["phase"] == "Running"

    run(tmp_path, test)


@pytest.mark.slow
def test_a_deleted_pod_stops_within_its_grace(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        metadata = {"name": "p", "annotations": {STOP: "1000"}}
        spec = template(terminationGracePeriodSeconds=1)["spec"]
        await cluster.create(PODS, {"metadata": metadata, "spec": spec})
        await cluster.until(lambda: cluster.running() == ["p"])
        await delete(cluster.registry, PODS, "default", "p", Deletion())
        assert cluster.get(PODS, "p") is not None
        await cluster.until(lambda: cluster.get(PODS, "p") is None)

    run(tmp_path, test)


def test_nodes_are_ready_and_renew_their_leases(tmp_path: Path) -> None:
    nodes, leases = kind_of("nodes"), "leases.coordination.k8s.io"

    async def test(cluster: Small) -> None:
        await cluster.until(lambda: len(cluster.store.items(leases)) == 3)
        for node in cluster.items(nodes):
            assert conditions(node.content["status"])["Ready"] == ("True", "KubeletReady")
        lease = cluster.store.items(leases)[0]
        assert lease.key.namespace == "kube-node-lease"
        assert lease.content["spec"]["holderIdentity"] == lease.key.name
        await delete(cluster.registry, nodes, "", lease.key.name, Deletion())
        await cluster.until(lambda: len(cluster.store.items(leases)) == 2)

    run(tmp_path, test)


def test_controllers_that_fall_behind_begin_anew(tmp_path: Path) -> None:
    async def test(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment(60))
        await cluster.until(lambda: is_complete(cluster, 60))
        await delete(cluster.registry, DEPLOYMENTS, "default", "web", Deletion())
        await cluster.until(lambda: not cluster.items(PODS))

    run(tmp_path, test, buffer_max=5)


def test_everything_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def first(cluster: Small) -> None:
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.until(lambda: is_complete(cluster, 3))
        nodes = kind_of("nodes")
        await cluster.registry.patch(
            nodes, "", "node-1", lambda old: {**old, "spec": {"unschedulable": True}}
        )

    async def second(cluster: Small) -> None:
        assert len(cluster.running()) == 3
        node = cluster.get(kind_of("nodes"), "node-1")
        assert node is not None
        assert node["spec"]["unschedulable"] is True
        await cluster.change(DEPLOYMENTS, "web", lambda old: old["spec"].update(replicas=4))
        await cluster.until(lambda: is_complete(cluster, 4))

    run(tmp_path, first)
    run(tmp_path, second)
