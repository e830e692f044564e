"""The dashboard's and the rules' expressions on a Prometheus that scrapes what Herz shows."""

from __future__ import annotations

import asyncio
import http.server
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from herz import signals
from herz.model.record import (
    Decided,
    Order,
    PodReference,
    PolicyReference,
    Record,
    Rejection,
    Victim,
)
from herz.world.kube.metrics import SECOND_NS, GuardMetrics, Metrics
from tests.faults.processes import free_port
from tests.support.chart import ROOT
from tests.support.proxy import pause

PROMETHEUS = shutil.which("prometheus") or ""
RULES = ROOT / "deploy" / "prometheus" / "herz.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "herz.json"
WAIT_SECONDS = 60
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not PROMETHEUS, reason="there is no prometheus here"),
]


class Busy:
    """A scheduler's metrics, in which something of each kind happens between two scrapes."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.now = 0
        self.metrics = Metrics(
            lambda: self.now,
            lambda: self.counters,
            lambda: {"active": 2, "backoff": 1, "unschedulable": 1, "gated": 0},
            lambda: {"nodes": 3, "pods": 4, "assumed_pods": 1},
            lambda: {("active", "UnscheduledPodAdd"): self.now // SECOND_NS},
            lambda: {("NodeResourcesFit", "Filter", "default"): self.now // SECOND_NS},
            lambda: {"binding": 1},
        )
        self.guard = GuardMetrics()

    def text(self) -> bytes:
        self.now += SECOND_NS
        uid = str(self.now)
        for decided in (Decided.UNSCHEDULABLE, Decided.PREEMPT, Decided.ERROR, Decided.PLACE):
            self.metrics.append(_record(uid, decided), b"", b"")
        self.metrics.append(_record(f"{uid}-waits", Decided.UNSCHEDULABLE), b"", b"")
        self.metrics.stepped(5, 4_000_000)
        self.metrics.bound(uid)
        self.metrics.wrote("binding", "201", 2_000_000)
        self.metrics.wrote("binding", "none", 2_000_000)
        self.metrics.kept("nodes", self.now // SECOND_NS, is_fresh=True)
        for name in (signals.BINDS_UNKNOWN, signals.BINDS_REFUSED):
            self.counters[name] += 1
        self.guard.lead(1)
        self.guard.renewed(self.now)
        return self.guard.text() + self.metrics.text()


def _record(uid: str, decided: Decided) -> Record:
    is_refused = decided is Decided.UNSCHEDULABLE
    return Record(
        decided=decided,
        engine="",
        order=Order(batch=0, rung=1),
        pod=PodReference("", uid, "default", uid),
        policy=PolicyReference("", "default", "1"),
        previous="",
        rejections=(Rejection(1, ("n",), "NodeResourcesFit", "why"),) if is_refused else (),
        sequence=1,
        snapshot="",
        term=1,
        time_ns="0",
        victims=(Victim("v", "default", uid),) if decided is Decided.PREEMPT else (),
    )


@contextmanager
def scraped() -> Iterator[int]:
    """The port at which somebody busy is scraped."""
    busy = Busy()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = busy.text()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Prometheus:
    """One that runs.

    Args:
        port: where it answers.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def query(self, expression: str) -> list[Any]:
        """The result; AssertionError where it refuses the expression."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/query?{asked}", timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        result: list[Any] = told["data"]["result"]
        return result

    def rules(self) -> list[Any]:
        with urllib.request.urlopen(f"{self._url}/rules", timeout=10) as answer:
            groups = json.load(answer)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[Prometheus]:
    """One that scrapes the port five times a second and has our rules; ended by its pid."""
    config = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "herz", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            yield Prometheus(port)
        finally:
            running.terminate()


async def _scraped_often(server: Prometheus) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        try:
            if server.query('count_over_time(up{job="herz"}[1m]) > 5'):
                return
        except OSError:
            pass
        await pause(0.2)
    raise AssertionError(f"not scraped in {WAIT_SECONDS} s")


def test_every_panel_shows_something_and_every_rule_is_evaluated(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    with scraped() as target, prometheus(tmp_path, target) as server:
        asyncio.run(_scraped_often(server))
        empty = [one for one in shown if not server.query(one.replace("$__rate_interval", "1m"))]
        assert not empty
        assert not server.query("herz_nothing_of_this_name")
        rules = server.rules()
        assert len(rules) >= 8
        assert not [rule["name"] for rule in rules if rule["health"] == "err"]
