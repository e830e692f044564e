"""docs/howto/adopt.md: each command of each step, beside a scheduler of somebody else's."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli import main
from herz.world.apiserver.embedded import Embedded, Settings
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, running
from tests.support.kubectl import KUBECTL, Kubectl
from tests.support.live import node_of, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine's path"),
]
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "adopt.md"
PODS = "/api/v1/namespaces/trial/pods"


def steps() -> list[list[str]]:
    """The commands under each numbered heading."""
    parts = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    return [re.findall(r"^\$ (.*)$", part, re.M) for part in parts]


def write_files(folder: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, content in re.findall(r"^```(?:yaml|json) (\S+)\n(.*?)^```$", text, re.M | re.S):
        (folder / name).write_text(content, encoding="utf-8")


class Other:
    """A scheduler that decides the pods of default-scheduler, as simply as can be."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._bind)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _bind(self) -> None:
        while not self._end.wait(0.05):
            path = "/api/v1/pods"
            for item in self._api.get(path, fieldSelector="spec.nodeName=").content["items"]:
                if item["spec"]["schedulerName"] == "default-scheduler":
                    meta = item["metadata"]
                    where = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding"
                    self._api.post(where, {"target": {"kind": "Node", "name": "node-0"}})


@contextlib.contextmanager
def herz(
    command: str, kubeconfig: Path, folder: Path, sign: str
) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; the block begins when it says so."""
    process = subprocess.Popen(
        [sys.executable, "-m", "herz.front.cli", *shlex.split(command)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
    )
    try:
        assert process.stdout is not None
        assert any(sign in line for line in process.stdout), command
        yield process
    finally:
        process.kill()
        process.communicate()


def deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "c", "image": "c", "resources": {"requests": {"cpu": "100m"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


def on_nodes(api: Client, name: str) -> set[str]:
    items = api.get(PODS, labelSelector=f"app={name}").content["items"]
    return {node_of(item) for item in items if "deletionTimestamp" not in item["metadata"]}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with running(Settings(tmp_path / "cluster", nodes=Shape(3))) as embedded:
        yield embedded


@pytest.mark.timeout(240)
def test_each_step_works_and_each_is_undone(
    cluster: Embedded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch, one, pool, alone, back = steps()
    write_files(tmp_path)
    api = Client(cluster.kubeconfig)
    kubectl = Kubectl(api, tmp_path)
    monkeypatch.chdir(tmp_path)

    def shell(commands: list[str]) -> None:
        for command in commands:
            assert command.startswith("kubectl "), command
            kubectl(*shlex.split(command)[1:])

    api.post("/api/v1/namespaces", {"metadata": {"name": "trial"}})
    apps = "/apis/apps/v1/namespaces/trial/deployments"
    other = Other(api)
    try:
        # 1: it sees ten binds of somebody else's, and ends with a report.
        with herz(watch[0], cluster.kubeconfig, tmp_path, "Ctrl-C ends it") as shadow:
            api.post(apps, deployment("web", 6))
            api.post(apps, deployment("plain", 6))
            out, _ = shadow.communicate(timeout=60)
            assert shadow.returncode == 0
            assert re.search(r"pods +1[0-2]", out), out
        until(api, lambda pods: sum(map(bool, map(node_of, pods.values()))) == 12, PODS)
        assert on_nodes(api, "web") == on_nodes(api, "plain") == {"node-0"}
        # 2 and 3: the pods that name it, on all nodes, then on its own.
        with herz(one[0], cluster.kubeconfig, tmp_path, "Ctrl-C stops it") as process:
            shell(one[1:])
            assert on_nodes(api, "web") >= {"node-1", "node-2"}
            assert on_nodes(api, "plain") == {"node-0"}
            shell(pool)
            assert on_nodes(api, "web") == {"node-2"}
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        # 4: the other one is gone.
        other.stop()
        with herz(alone[0], cluster.kubeconfig, tmp_path, "Ctrl-C stops it") as process:
            kubectl("--namespace", "trial", "scale", "deployment", "plain", "--replicas=0")
            until(api, lambda pods: not any("plain" in name for name in pods), PODS)
            shell(alone[1:])
            assert on_nodes(api, "plain") == {"node-0", "node-1"}, "one node has a taint"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        other.stop()
    # 5: it decides again as if Herz had never been.
    other = Other(api)
    try:
        shell(back)
        assert on_nodes(api, "web") == {"node-0"}
    finally:
        other.stop()
    assert main(["audit", "replay", "--journal", str(tmp_path / "journal")]) == 0
    assert "the same" in capsys.readouterr().out
