"""`herz run --otlp-endpoint`: a collector gets the spans of a pod by OTLP."""

from __future__ import annotations

import gzip
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="the extra `otel` is not installed"
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, running
from tests.support.live import PODS, command, node_of, pod, until

VERBS = {"arrive", "queue", "filter", "score", "reserve", "prove", "bind", "observe"}


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Its URL, and what it is sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_a_collector_gets_the_verbs_of_a_pod(tmp_path: Path) -> None:
    with (
        running(Settings(tmp_path / "cluster", nodes=Shape(2, cpu="8"))) as cluster,
        collector() as (url, bodies),
    ):
        api = Client(cluster.kubeconfig)
        where = ("--kubeconfig", str(cluster.kubeconfig), "--journal", str(tmp_path / "journal"))
        with command("run", *where, "--otlp-endpoint", url) as (process, _):
            assert api.post(PODS, pod("p")).code == 201
            until(api, lambda found: bool(node_of(found["p"])))
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    scopes = [
        (resource.resource, span)
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    spans = [span for _, span in scopes]
    (root,) = (one for one in spans if one.name == "pod")
    below = [one for one in spans if one.parent_span_id == root.span_id]
    assert {one.name for one in below} == VERBS
    assert all(one.end_time_unix_nano >= one.start_time_unix_nano > 0 for one in spans)
    said = {one.key: one.value.string_value for one in root.attributes}
    assert said["k8s.pod.name"] == "p"
    named = {one.key: one.value.string_value for one in scopes[0][0].attributes}
    assert named["service.name"] == "herz"
