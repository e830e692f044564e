"""A Prometheus server for tests: the real one where it is installed, and a small one of our own.

Both hold the same few series. The real one is given them as a block, so nothing has to be scraped.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

SERIES: dict[str, list[tuple[dict[str, str], str]]] = {
    "herz_test_cpu": [({"node": "n0"}, "2500"), ({"node": "n1"}, "7500.4"), ({"node": "x"}, "1")],
    "herz_test_holes": [({"node": "n0"}, "NaN"), ({"node": "n1"}, "+Inf"), ({"node": "n2"}, "3")],
    "herz_test_nan": [({"node": "n0"}, "NaN")],
    "herz_test_p99": [
        ({"namespace": "shop", "pod": "web-1"}, "0.08"),
        ({"namespace": "shop", "pod": "web-2"}, "0.25"),
        ({"namespace": "other", "pod": "web-1"}, "9"),
    ],
    "herz_test_all": [({}, "0.5")],
}
"""By name of a metric: labels and values."""
OLD = "herz_test_old"
"""A metric whose last sample is 20 minutes old."""
BAD_QUERY = "sum("
MATRIX = "herz_test_cpu[5m]"
SCALAR = "scalar(herz_test_all)"

Handler = Callable[[web.Request], Any]


def missing() -> str:
    """Why the real server cannot be tested here; empty: it can."""
    lost = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"there is no {' and no '.join(lost)} here" if lost else ""


@contextmanager
def real(folder: Path) -> Iterator[str]:
    """The URL of a Prometheus server with the series."""
    now = int(time.time())
    lines = []
    for name, series in SERIES.items():
        lines.append(f"# TYPE {name} gauge")
        for labels, value in series:
            told = ",".join(f'{key}="{text}"' for key, text in labels.items())
            lines.append(f"{name}{{{told}}} {value} {now - 5}")
    lines += [f"# TYPE {OLD} gauge", f'{OLD}{{node="n0"}} 1 {now - 1_200}', "# EOF", ""]
    (folder / "series.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "prometheus.yml").write_text("{}\n", encoding="utf-8")
    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "series.txt", "data"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True, timeout=30)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
        f"--web.listen-address={address}",
    ]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None, "it was asked for"
            said = []
            for line in server.stderr:
                said.append(line)
                if "ready to receive web requests" in line:
                    break
            else:
                raise AssertionError("prometheus ended: " + "".join(said[-5:]))
            yield f"http://{address}"
        finally:
            server.terminate()
            server.communicate(timeout=20)


def answered(query: str) -> tuple[int, dict[str, Any]]:
    """What the small server says to a query: status and content."""
    now = time.time()
    if query in SERIES:
        result: list[dict[str, Any]] = [
            {"metric": {"__name__": query, **labels}, "value": [now, value]}
            for labels, value in SERIES[query]
        ]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}
    if query == SCALAR:
        data = {"resultType": "scalar", "result": [now, "0.5"]}
        return 200, {"status": "success", "data": data}
    if query == MATRIX:
        found = [{"metric": {}, "values": [[now, "1"]]}]
        return 200, {"status": "success", "data": {"resultType": "matrix", "result": found}}
    if query == BAD_QUERY:
        return 400, {"status": "error", "errorType": "bad_data", "error": "parse error"}
    return 200, {"status": "success", "data": {"resultType": "vector", "result": []}}


async def small(request: web.Request) -> web.Response:
    """The small server."""
    form = await request.post()
    assert set(form) == {"query", "lookback_delta", "timeout"}
    status, content = answered(str(form["query"]))
    return web.Response(status=status, text=json.dumps(content), content_type="application/json")


@asynccontextmanager
async def serving(handler: Handler = small) -> AsyncIterator[str]:
    """The URL of a server that answers so."""
    app = web.Application()
    app.router.add_post("/api/v1/query", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert site._server is not None, "it was started"
        sockets: Any = site._server
        yield f"http://127.0.0.1:{sockets.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def never(request: web.Request) -> web.Response:
    """A server that does not answer."""
    del request
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")
