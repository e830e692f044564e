"""`herz run --shadow`: it decides what others bind, says where it differs, and only reads."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from herz import app
from herz.front.cli import main
from herz.front.cli.shadowing import report
from herz.journaling import SHADOW_TOP
from herz.world.apiserver.embedded import Embedded, Settings
from herz.world.apiserver.kubelets import Shape
from herz.world.kube import discovery
from herz.world.kube.kinds import WATCHED
from herz.world.kube.kubeconfig import Access
from herz.world.kube.shadow import Shadow
from tests.support import postgres
from tests.support.cluster import Client, running
from tests.support.journal import simulated
from tests.support.live import PODS, command, node_of, pod, until
from tests.support.recording import Recording

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Embedded]:
    with running(Settings(tmp_path / "cluster", nodes=Shape(3, cpu="8"))) as embedded:
        yield embedded


def bind(api: Client, name: str, node: str) -> None:
    target = {"kind": "Node", "name": node}
    assert api.post(f"{PODS}/{name}/binding", {"target": target}).code == 201


def test_it_compares_each_bind_with_its_own_decision_and_only_reads(cluster: Embedded) -> None:
    api = Client(cluster.kubeconfig)
    api.patch("/api/v1/nodes/node-2", {"spec": {"unschedulable": True}})

    async def work() -> dict[str, Any]:
        transport = Recording(Access(cluster.kubeconfig))
        kinds, _ = await discovery.served(transport, WATCHED)
        seen: asyncio.Queue[Any] = asyncio.Queue()
        policy = app.load_policies("default")
        shadow = Shadow(
            lambda sink: app.build_machine(policy, 0, [sink], top=SHADOW_TOP),
            transport,
            kinds,
            seen.put_nowait,
        )
        task = asyncio.ensure_future(shadow.run())
        await shadow.synced.wait()

        async def bound(name: str, node: str, **spec: Any) -> Any:
            assert api.post(PODS, pod(name, **spec)).code == 201
            # The watch is one for all pods: the pod is seen before its bind.
            bind(api, name, node)
            return await asyncio.wait_for(seen.get(), 20)

        first = await bound("a", "node-0", cpu="2")
        assert (first.gap, first.rule) == (0, ""), "two empty nodes are alike"
        second = await bound("b", "node-0", cpu="2")
        # The node is fuller than the other: it is as far below as kube-scheduler's formulas say.
        assert second.ours == "node-1"
        assert second.gap > 0
        assert second.rule == "NodeResourcesFit"
        third = await bound("c", "node-2", cpu="1")
        assert (third.gap, third.rule) == (None, "NodeUnschedulable")
        fourth = await bound("d", "node-1", cpu="64")
        assert (fourth.ours, fourth.gap, fourth.rule) == ("", None, "NodeResourcesFit")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await transport.closed()
        assert {method for method, _ in transport.asked} == {"GET"}
        return report(shadow.agreement)

    found = asyncio.run(asyncio.wait_for(work(), 50))
    assert (found["pods"], found["same_score"], found["herz_refuses_the_node"]) == (4, 1, 2)
    assert found["herz_finds_no_node"] == 1
    assert found["rules"] == {"NodeResourcesFit": 2, "NodeUnschedulable": 1}
    assert found["decision_ms_median"] > 0


def test_the_shadow_of_herz_agrees_with_herz_in_every_score(
    cluster: Embedded, tmp_path: Path
) -> None:
    api = Client(cluster.kubeconfig)
    run = ["run", "--kubeconfig", str(cluster.kubeconfig)]
    shadow = subprocess.Popen(
        [sys.executable, "-m", "herz.front.cli", *run, "--shadow", "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert shadow.stderr is not None
        assert any("Ctrl-C ends it" in line for line in shadow.stderr)
        with command(*run, "--journal", str(tmp_path / "journal")):
            for number in range(12):
                api.post(PODS, pod(f"p-{number}", cpu="500m"))
                until(api, lambda pods: all(map(node_of, pods.values())))
        shadow.send_signal(signal.SIGINT)
        out, errors = shadow.communicate(timeout=40)
        assert shadow.returncode == 0, errors
    finally:
        shadow.kill()
        shadow.wait()
    found = json.loads(out)
    assert found["pods"] + found["bound_before_they_were_seen"] == 12
    assert found["same_score"] == found["pods"]
    assert found["pods"] >= 6


@contextmanager
def shadowing(cluster: Embedded, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A shadow in a process of its own that watches; killed if it still runs."""
    run = ["run", "--kubeconfig", str(cluster.kubeconfig), "--shadow", "--output", "json", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "herz.front.cli", *run],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any("Ctrl-C ends it" in line for line in process.stderr)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(params=["folder", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a journal can be, as `--journal` has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        yield str(tmp_path / "shadow")
        return
    if lack := postgres.missing():
        pytest.skip(lack)
    with postgres.server() as made:
        yield made.url()


def test_the_journal_of_a_shadow_is_replayed_though_it_was_killed(
    cluster: Embedded, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Client(cluster.kubeconfig)

    def bound(names: range) -> None:
        for number in names:
            assert api.post(PODS, pod(f"p-{number}", cpu="1")).code == 201
            bind(api, f"p-{number}", f"node-{number % 3}")

    with shadowing(cluster, "--journal", place) as process:
        bound(range(5))
        process.kill()
    with shadowing(cluster, "--journal", place, "--pods", "3") as process:
        bound(range(5, 15))
        out, errors = process.communicate(timeout=40)
        assert process.returncode == 0, errors
    assert json.loads(out)["pods"] >= 3
    assert postgres.PASSWORD not in out + errors
    where = ["--journal", place, "--output", "json"]
    assert main(["audit", "verify", *where, "--integrity-only"]) == 0
    capsys.readouterr()
    assert main(["audit", "replay", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["machines"] == 2
    assert found["records"] >= 3
    run = ["run", "--kubeconfig", str(cluster.kubeconfig)]
    assert main([*run, "--journal", place]) == 2
    assert "the journal is a shadow's" in capsys.readouterr().err


def test_what_means_nothing_to_a_shadow_is_refused(
    cluster: Embedded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated(tmp_path / "day")
    run = ["run", "--kubeconfig", str(cluster.kubeconfig)]
    away = "postgresql://127.0.0.1:1/journal"
    assert main([*run, "--shadow", "--no-wait", "--journal", away]) == 3
    for wrong in (
        ["--shadow", "--journal", str(tmp_path / "day")],
        ["--shadow", "--key", "x"],
        ["--shadow", "--metrics", "x"],
        ["--shadow", "--leader-elect"],
        ["--shadow", "--pods", "0"],
        ["--pods", "3"],
    ):
        assert main([*run, *wrong]) == 2, wrong
    assert "fix" in capsys.readouterr().err
