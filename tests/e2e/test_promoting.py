"""A candidate that is better is put in force by `herz run --metrics`; the API server is told.

On the embedded server, and on the one of HERZ_TEST_KUBECONFIG where that has nodes.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from herz.front.cli import main
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, kubeconfig_of_tests, running
from tests.support.definitions import defined
from tests.support.live import PODS, command, node_of, pod, until
from tests.support.prometheus import serving
from tests.support.promises_model import made_model, profile, sample
from tests.unit.journal.test_promoted import other_model

COUNT = 40
OURS = "/apis/scheduling.herz.dev/v1alpha1"
PROFILES = f"{OURS}/namespaces/default/serviceprofiles"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
SIGNALS = sample("n").status.signals
WAIT_S = 60
POLICY = """
name = "promised"
[[plugins]]
name = "Understood"
[[plugins]]
name = "NodeResourcesFit"
[[plugins]]
name = "SLAClasses"
[[plugins]]
name = "SLARefuse"
args = { model = "ours.json", candidate = "theirs.json" }
[[plugins]]
name = "SLAFit"
args = { model = "ours.json", candidate = "theirs.json" }
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        kubeconfig_of_tests() is not None and "HERZ_TEST_NODES" not in os.environ,
        reason="simulated nodes are needed: make e2e-real starts them",
    ),
]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Client]:
    """A server with our definitions, a class and a service's profile."""
    with ExitStack() as stack:
        given = kubeconfig_of_tests()
        if given is None:
            settings = Settings(tmp_path / "cluster", nodes=Shape(4, cpu="64"))
            client = Client(stack.enter_context(running(settings)).kubeconfig)
        else:
            client = Client(given)
            stack.enter_context(defined(client))
        yield client
        client.delete(PODS, labelSelector=CLASS_LABEL, gracePeriodSeconds="0")
        client.delete(f"{PROFILES}/web")
        client.delete(f"{OURS}/slaclasses/online")


class Measured:
    """A Prometheus that has all nodes idle, and most promises kept; by windows of a second."""

    def __init__(self, nodes: list[str]) -> None:
        self._nodes = nodes
        self.is_known = threading.Event()
        self._samples = self._windows = 0

    async def answer(self, request: web.Request) -> web.Response:
        query = str((await request.post())["query"])
        now = time.time()
        if query == "promises":
            self._windows += 1
            found = [({"pod": f"w{one}"}, self._seconds(one)) for one in range(COUNT)]
        else:
            self._samples += 1
            # Whoever samples again has taken the sample before.
            if self._samples > len(SIGNALS):
                self.is_known.set()
            found = [({"node": one}, str(SIGNALS[query])) for one in self._nodes]
        result = [{"metric": labels, "value": [now, value]} for labels, value in found]
        data = {"resultType": "vector", "result": result}
        return web.json_response({"status": "success", "data": data})

    def _seconds(self, number: int) -> str:
        # All but three are faster than the 100 ms that are promised.
        return "0.01" if (number * 7 + self._windows * 11) % COUNT >= 3 else "0.3"


def prepare(api: Client, folder: Path, url: str) -> str:
    """What the scheduler is given, in the folder and on the server; the class's uid."""
    ours, theirs = other_model(), made_model()
    (folder / "ours.json").write_bytes(ours.dump())
    (folder / "theirs.json").write_bytes(theirs.dump())
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    queries = {"url": url, "every_seconds": 1, "signals": {name: name for name in SIGNALS}}
    (folder / "metrics.json").write_text(json.dumps(queries), encoding="utf-8")
    version = {"apiVersion": "scheduling.herz.dev/v1alpha1"}
    objective = {"kind": "latency", "targetMilliseconds": 100, "quantileBasisPoints": 9_900}
    spec = {"objective": objective, "windowSeconds": 1, "indicator": {"query": "promises"}}
    content = {**version, "kind": "SLAClass", "metadata": {"name": "online"}, "spec": spec}
    made = api.post(f"{OURS}/slaclasses", content)
    assert made.code == 201, made.content
    known = profile("web", cpu_used=10, bandwidth_used=10)
    content = {
        **version,
        "kind": "ServiceProfile",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "slaClass": "online"},
        "status": {
            "samples": known.status.samples,
            "quietMicroseconds": known.status.quiet_microseconds,
            "traits": dict(known.status.traits),
        },
    }
    told = api.post(PROFILES, content)
    assert told.code == 201, told.content
    return str(made.content["metadata"]["uid"])


def promotions(found: dict[str, Any]) -> dict[str, Any]:
    """The events of promotions, by class."""
    return {
        one["regarding"]["name"]: one for one in found.values() if one["reason"] == "ModelPromoted"
    }


def schedule(api: Client, folder: Path, measured: Measured) -> dict[str, Any]:
    """A scheduler places the pods and measures, until the server has events of promotions."""
    files = ("--config", str(folder / "policy.toml"), "--metrics", str(folder / "metrics.json"))
    run = ("run", "--kubeconfig", str(api.kubeconfig), "--journal", str(folder / "journal"))
    with command(*run, *files, "--scheduler-name", "herz") as (process, _):
        assert measured.is_known.wait(WAIT_S)
        for number in range(COUNT):
            content = pod(f"w{number}")
            content["metadata"]["labels"] = {"app": "web", CLASS_LABEL: "online"}
            assert api.post(PODS, content).code == 201
        until(api, lambda found: all(map(node_of, found.values())))
        found = until(api, lambda found: {"online", "streaming"} <= set(promotions(found)), EVENTS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    return promotions(found)


def test_a_better_candidate_is_promoted_and_the_server_has_the_event(
    api: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [one["metadata"]["name"] for one in api.get("/api/v1/nodes").content["items"]]

    async def work() -> tuple[dict[str, Any], str]:
        measured = Measured(nodes)
        async with serving(measured.answer) as url:
            uid = await asyncio.to_thread(prepare, api, tmp_path, url)
            return await asyncio.to_thread(schedule, api, tmp_path, measured), uid

    found, uid = asyncio.run(work())
    event, digest = found["online"], made_model().digest
    assert event["type"] == "Normal"
    assert event["note"].startswith(f"model {digest} is in force: trial 1: Brier improvement 0.")
    about = {"apiVersion": "scheduling.herz.dev/v1alpha1", "kind": "SLAClass", "name": "online"}
    assert event["regarding"] == {**about, "uid": uid}, "the class that is there"
    assert "uid" not in found["streaming"]["regarding"], "there is no such object"
    where = ("--journal", str(tmp_path / "journal"), "--output", "json")
    capsys.readouterr()
    assert main(["audit", "changes", *where]) == 0
    assert digest in capsys.readouterr().out
    assert main(["audit", "replay", *where]) == 0
