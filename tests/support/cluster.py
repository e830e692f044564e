"""An embedded cluster in a thread of its own, and a plain client that speaks to any API server."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import ssl
import tempfile
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from herz.world.apiserver.embedded import Embedded, Settings, start_embedded

Content = dict[str, Any]
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


@contextmanager
def running(settings: Settings) -> Iterator[Embedded]:
    """The cluster, stopped in order at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded-cluster")
    thread.start()
    try:
        cluster = asyncio.run_coroutine_threadsafe(start_embedded(settings), loop).result(30)
        try:
            yield cluster
        finally:
            asyncio.run_coroutine_threadsafe(cluster.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@dataclass(frozen=True)
class Reply:
    """An answer."""

    code: int
    content: Content
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        return str(self.content.get("reason", ""))

    @property
    def revision(self) -> str:
        return str(self.content["metadata"]["resourceVersion"])

    @property
    def uid(self) -> str:
        return str(self.content["metadata"]["uid"])


class Client:
    """Requests with the credentials of a kubeconfig; one connection each."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        current = config["current-context"]
        context = _named(config["contexts"], current)["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        self.kubeconfig = kubeconfig
        self.address = urlsplit(cluster["server"])
        self.token = user.get("token", "")
        self.tls = ssl.create_default_context(cadata=_ca(cluster))
        if "client-certificate-data" in user:
            self._load_certificate(user)

    def _load_certificate(self, user: Content) -> None:
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name in ("client-certificate", "client-key"):
                path = Path(folder, name)
                path.touch(mode=0o600)
                path.write_bytes(b64decode(user[f"{name}-data"]))
                paths.append(path)
            self.tls.load_cert_chain(paths[0], paths[1])

    def connect(self) -> http.client.HTTPSConnection:
        host, port = self.address.hostname or "", self.address.port or 443
        return http.client.HTTPSConnection(host, port, context=self.tls, timeout=30)

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        given = {"Accept": "application/json"}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        return {**given, **(more or {})}

    def call(
        self,
        method: str,
        path: str,
        content: Any = None,
        *,
        media: str = "application/json",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> Reply:
        """One request; `content` is JSON unless it is bytes already."""
        body = content
        if content is not None and not isinstance(content, bytes):
            body = json.dumps(content).encode()
        given = self.headers({**({"Content-Type": media} if body else {}), **(headers or {})})
        connection = self.connect()
        try:
            target = path + (f"?{urlencode(query)}" if query else "")
            connection.request(method, target, body=body, headers=given)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        is_json = found.get("content-type", "").startswith("application/json")
        return Reply(response.status, json.loads(data) if is_json else {}, found)

    def get(self, path: str, **query: str) -> Reply:
        return self.call("GET", path, query=query)

    def post(self, path: str, content: Any, **query: str) -> Reply:
        return self.call("POST", path, content, query=query)

    def put(self, path: str, content: Any, **query: str) -> Reply:
        return self.call("PUT", path, content, query=query)

    def patch(self, path: str, content: Any, media: str = MERGE_PATCH, **query: str) -> Reply:
        return self.call("PATCH", path, content, media=media, query=query)

    def delete(self, path: str, content: Any = None, **query: str) -> Reply:
        return self.call("DELETE", path, content, query=query)

    @contextmanager
    def watch(self, path: str, **query: str) -> Iterator[Iterator[Content]]:
        """The events of a watch, as they come; ends with the server's end."""
        connection = self.connect()
        try:
            target = f"{path}?{urlencode({'watch': 'true', 'timeoutSeconds': '20', **query})}"
            connection.request("GET", target, headers=self.headers())
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)
        finally:
            connection.close()


def kubeconfig_of_tests() -> Path | None:
    """The API server that the contract is tested on instead of the embedded one."""
    given = os.environ.get("HERZ_TEST_KUBECONFIG", "")
    return Path(given) if given else None


def _named(items: list[Content], name: str) -> Content:
    return next(item for item in items if item["name"] == name)


def _ca(cluster: Content) -> str:
    if "certificate-authority-data" in cluster:
        return b64decode(cluster["certificate-authority-data"]).decode()
    return Path(cluster["certificate-authority"]).read_text(encoding="utf-8")
