"""A newcomer's first ten minutes: `herz up`, kubectl, and what the scheduler says of it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from herz.front.cli import main
from tests.support.cluster import Client
from tests.support.kubectl import KUBECTL, Kubectl
from tests.support.live import command, node_of, until

pytestmark = pytest.mark.slow
PODS = "/api/v1/namespaces/default/pods"


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A zombie of somebody else's has ended, too.
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="utf-8")


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not on this machine's path")
@pytest.mark.timeout(180)
def test_the_first_ten_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    up = ["up", "--port", "0", "--data", str(tmp_path / "cluster")]
    with command(*up) as (process, said):
        api = Client(Path(said["kubeconfig"]))
        kubectl = Kubectl(api, tmp_path)
        assert kubectl("get", "nodes").count(" Ready ") == 3
        kubectl("create", "deployment", "web", "--image=registry.example/web:1", "--replicas=4")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        kubectl("scale", "deployment/web", "--replicas=6")
        pods = until(api, lambda pods: sum(map(bool, map(node_of, pods.values()))) == 6)
        assert {node_of(pod) for pod in pods.values()} == {"node-0", "node-1", "node-2"}
        name = min(pods)
        told = kubectl("describe", "pod", name)
        assert f"Successfully assigned default/{name} to {node_of(pods[name])}" in told
        kubectl("drain", "node-1", "--ignore-daemonsets", "--timeout=30s")
        pods = until(
            api,
            lambda pods: sum(node_of(one) in ("node-0", "node-2") for one in pods.values()) == 6,
        )
        kubectl("uncordon", "node-1")
        kubectl("run", "large", "--image=x", "--overrides", json.dumps(_large()))
        kubectl("wait", "pod/large", "--for=condition=PodScheduled=false", "--timeout=30s")
        assert "0/3 nodes are available: 3 Insufficient cpu" in kubectl("describe", "pod", "large")
        kubectl("delete", "deployment", "web")
        until(api, lambda pods: set(pods) == {"large"})
        # Killed at whatever instruction: the scheduler goes with it, and all is there again.
        process.kill()
        process.wait()
        scheduler = said["scheduler process"]
        deadline = time.monotonic() + 40
        while is_alive(scheduler):
            assert time.monotonic() < deadline, "the scheduler outlives its cluster"
            os.sched_yield()
    with command(*up) as (process, said):
        kubectl = Kubectl(Client(Path(said["kubeconfig"])), tmp_path)
        kubectl("run", "small", "--image=x")
        kubectl("wait", "pod/small", "--for=condition=Ready", "--timeout=30s")
        process.terminate()
        assert process.wait(40) == 0
    capsys.readouterr()
    journal = said["journal"]
    assert main(["explain", "default/small", "--journal", journal]) == 0
    assert "node-" in capsys.readouterr().out
    assert main(["audit", "replay", "--journal", journal]) == 0


def _large() -> dict[str, object]:
    container = {"name": "large", "image": "x", "resources": {"requests": {"cpu": "64"}}}
    return {"spec": {"containers": [container]}}


@pytest.mark.timeout(120)
def test_the_demo_ends_by_itself_and_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("XDG_DATA_HOME", None)
    done = subprocess.run(
        [sys.executable, "-m", "herz.front.cli", "up", "--demo", "--once", "--output", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    pods = {pod["pod"]: pod for pod in json.loads(done.stdout)["pods"]}
    assert pods["urgent"]["node"]
    assert "Insufficient cpu" in pods["too-large"]["why"]
    assert sum(pod["why"] == "Succeeded" for pod in pods.values()) == 6
    assert "decisions were recomputed from the journal: all the same" in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file() and ".cache" not in path.parts]
    assert left == []
