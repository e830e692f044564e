"""The API server under test: the embedded one, or the one of HERZ_TEST_KUBECONFIG."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest

from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.http.server import Limits
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, Reply, kubeconfig_of_tests, running

Content = dict[str, Any]

NOBODY = "herz-contract-nobody"
"""A scheduler that does not exist: its pods stay where the test puts them."""
EMBEDDED = pytest.mark.skipif(
    kubeconfig_of_tests() is not None, reason="what is tested here, the embedded server alone has"
)
NODES = pytest.mark.skipif(
    kubeconfig_of_tests() is not None and "HERZ_TEST_NODES" not in os.environ,
    reason="simulated nodes are needed: make e2e-real starts them with its own control plane",
)
FIRST_NODE = Shape(int(os.environ.get("HERZ_TEST_NODES", "1"))).names[0]
"""A simulated node, in the first zone."""
_NAMES = itertools.count()


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    given = kubeconfig_of_tests()
    if given is not None:
        yield Client(given)
        return
    folder = tmp_path_factory.mktemp("cluster")
    limits = Limits(bookmark_s=0.2)
    settings = Settings(folder, history_max=400, limits=limits, nodes=Shape(1))
    with running(settings) as cluster:
        yield Client(cluster.kubeconfig)


class Space:
    """A namespace of one test, and what tests make in it."""

    def __init__(self, api: Client, name: str) -> None:
        self.api = api
        self.name = name
        self.root = f"/api/v1/namespaces/{name}"
        self.pods = f"{self.root}/pods"

    def pod(self, name: str = "p", **spec: Any) -> Reply:
        """A pod that nobody schedules."""
        made = self.api.post(self.pods, pod(name, **spec))
        assert made.code == 201, made.content
        return made

    def bind(self, name: str, node: str, **metadata: Any) -> Reply:
        content = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": self.name, **metadata},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        return self.api.post(f"{self.pods}/{name}/binding", content)

    def run(self, name: str, phase: str = "Running", *, is_ready: bool = True) -> Reply:
        """Say what a kubelet would say of the pod."""
        ready = {"type": "Ready", "status": "True" if is_ready else "False"}
        status = {"status": {"phase": phase, "conditions": [ready]}}
        done = self.api.patch(f"{self.pods}/{name}/status", status)
        assert done.code == 200, done.content
        return done


def pod(name: str, **spec: Any) -> Content:
    containers = [{"name": "main", "image": "registry.example/app:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"schedulerName": NOBODY, "containers": containers, **spec},
    }


@pytest.fixture
def space(api: Client) -> Iterator[Space]:
    name = f"herz-contract-{os.getpid()}-{next(_NAMES)}"
    made = api.post(
        "/api/v1/namespaces", {"metadata": {"name": name}, "kind": "Namespace", "apiVersion": "v1"}
    )
    assert made.code == 201, made.content
    yield Space(api, name)
    api.delete(f"/api/v1/namespaces/{name}/pods", gracePeriodSeconds="0")
    api.delete(f"/api/v1/namespaces/{name}")
