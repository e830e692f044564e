"""A newcomer's first ten minutes with kubectl, against the embedded server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.binder import binding
from tests.support.cluster import Client
from tests.support.kubectl import KUBECTL, Kubectl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine's path"),
]


@pytest.fixture
def kubectl(api: Client, tmp_path: Path) -> Iterator[Kubectl]:
    with binding(api):
        yield Kubectl(api, tmp_path)


MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {{name: team}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api, namespace: team}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      containers:
      - name: main
        image: registry.example/api:{tag}
        env: [{{name: A, value: "1"}}, {{name: B, value: "2"}}]
        ports: [{{containerPort: 80}}]
---
apiVersion: scheduling.herz.dev/v1alpha1
kind: SLAClass
metadata: {{name: gold}}
spec: {{target: {replicas}}}
"""


def test_looking_around(kubectl: Kubectl) -> None:
    assert "Server Version: v1.36" in kubectl("version")
    nodes = kubectl("get", "nodes")
    assert re.search(r"^node-0 +Ready +<none> +\S+ +v1\.36", nodes, re.M), nodes
    wide = kubectl("get", "nodes", "-o", "wide")
    assert "INTERNAL-IP" in wide
    assert "simulated" in wide
    assert re.search(r"^default +Active", kubectl("get", "namespaces"), re.M)
    resources = kubectl("api-resources")
    assert re.search(r"deployments +deploy +apps/v1 +true +Deployment", resources)
    assert "pods is forbidden" not in kubectl("get", "pods", "-A")
    assert "FIELDS" in kubectl("explain", "pod.spec.containers")
    described = kubectl("describe", "node", "node-1")
    assert "KubeletReady" in described
    assert "Non-terminated Pods" in described


def test_a_deployment_from_its_making_to_its_end(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "web", "--image=registry.example/web:1", "--replicas=3")
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web")
    assert re.search(r"^web +3/3 +3 +3", kubectl("get", "deployments"), re.M)
    pods = kubectl("get", "pods", "-l", "app=web", "-o", "wide")
    assert len(re.findall(r"^web-\S+ +1/1 +Running +0 +\S+ +10\.\S+ +node-\d", pods, re.M)) == 3
    name = re.findall(r"^(web-\S+)", pods, re.M)[0]
    described = kubectl("describe", "pod", name)
    assert re.search(r"Status: +Running", described)
    assert re.search(r"Controlled By: +ReplicaSet/web-", described)
    kubectl("scale", "deployment/web", "--replicas=5")
    kubectl("rollout", "status", "deployment/web")
    assert kubectl.json("get", "deployment", "web")["status"]["availableReplicas"] == 5
    kubectl("set", "image", "deployment/web", "web=registry.example/web:2")
    kubectl("rollout", "status", "deployment/web")
    assert re.search(r"^2 ", kubectl("rollout", "history", "deployment/web"), re.M)
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web")
    images = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={..image}")
    assert "web:1" in images
    kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    kubectl("expose", "deployment", "web", "--port=80")
    assert re.search(r"^web +ClusterIP +10\.96\.", kubectl("get", "services"), re.M)
    kubectl("delete", "service", "web")
    assert "deleted" in kubectl("delete", "deployment", "web", "--cascade=foreground")
    assert "NotFound" in kubectl("get", "deployment", "web", code=1)
    left = kubectl.json("get", "pods,replicasets", "-l", "app=web")
    assert left["items"] == []


def test_apply_diffs_and_merges(kubectl: Kubectl) -> None:
    first = MANIFEST.format(replicas=2, tag=1)
    kubectl("apply", "-f", "-", given=first)
    kubectl("-n", "team", "rollout", "status", "deployment/api")
    assert "unchanged" in kubectl("apply", "-f", "-", given=first)
    kubectl("-n", "team", "set", "env", "deployment/api", "C=3")
    kubectl("-n", "team", "annotate", "deployment", "api", "note=mine")
    second = MANIFEST.format(replicas=3, tag=2).replace(', {name: B, value: "2"}', "")
    assert "deployment.apps/api configured" in kubectl("apply", "-f", "-", given=second)
    kubectl("-n", "team", "rollout", "status", "deployment/api")
    found = kubectl.json("-n", "team", "get", "deployment", "api")
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert [item["name"] for item in container["env"]] == ["A", "C"]
    assert container["image"].endswith(":2")
    assert found["metadata"]["annotations"]["note"] == "mine"
    assert kubectl.json("get", "slaclass", "gold")["spec"] == {"target": 3}
    wrong = second.replace("containers:", "containerz:")
    assert 'unknown field "spec.template.spec.containerz"' in kubectl(
        "apply", "-f", "-", given=wrong, code=1
    )
    dry = kubectl("apply", "--dry-run=server", "-f", "-", given=MANIFEST.format(replicas=9, tag=2))
    assert "(server dry run)" in dry
    assert kubectl.json("-n", "team", "get", "deployment", "api")["spec"]["replicas"] == 3
    assert "does not serve server-side apply" in kubectl(
        "apply", "--server-side", "-f", "-", given=first, code=1
    )
    # The namespace takes its deployment along, here as fast as kubectl asks for the next one.
    kubectl("delete", "--ignore-not-found", "-f", "-", given=second)
    assert "NotFound" in kubectl("get", "namespace", "team", code=1)


def test_a_node_is_drained_within_the_budget(kubectl: Kubectl) -> None:
    kubectl("create", "deployment", "busy", "--image=registry.example/busy:1", "--replicas=4")
    kubectl("create", "pdb", "busy", "--selector=app=busy", "--min-available=3")
    kubectl("rollout", "status", "deployment/busy")
    pods = kubectl.json("get", "pods", "-l", "app=busy")["items"]
    node = pods[0]["spec"]["nodeName"]
    drained = kubectl("drain", node, "--ignore-daemonsets", "--force", "--timeout=45s")
    assert f"node/{node} drained" in drained
    assert re.search(rf"^{node} +Ready,SchedulingDisabled", kubectl("get", "nodes"), re.M)
    there = kubectl.json("get", "pods", "-A", "--field-selector", f"spec.nodeName={node}")
    assert there["items"] == []
    kubectl("uncordon", node)
    assert kubectl.json("get", "pdb", "busy")["status"]["desiredHealthy"] == 3
    kubectl("delete", "deployment,pdb", "busy")


def test_jobs_and_watches(kubectl: Kubectl) -> None:
    kubectl("create", "job", "once", "--image=registry.example/job:1", "--", "true", "--dry-run=no")
    assert re.search(r"^once +Running +0/1", kubectl("get", "jobs"), re.M)
    kubectl("delete", "job", "once")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "short", "annotations": {"herz.dev/run-seconds": "1"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "registry.example/short:1"}],
        },
    }
    kubectl("create", "-f", "-", given=json.dumps(pod))
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/short", "--timeout=20s")
    assert re.search(r"^short +0/1 +Completed", kubectl("get", "pods"), re.M)
    assert "does not serve" in kubectl("logs", "short", code=1)
    watched = kubectl("get", "pods", "short", "--watch", "--request-timeout=2s", code=0)
    assert "Completed" in watched
    kubectl("delete", "pod", "short")
    assert "already exists" in kubectl("create", "namespace", "default", code=1)
