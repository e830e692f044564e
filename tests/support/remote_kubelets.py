"""The embedded cluster's simulated kubelets, on the nodes of any other API server.

They register their nodes, renew their leases, and let bound pods start, run and end, by requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import yaml

from herz.world.apiserver.controllers.plan import Action, Create, Delete, View, Write
from herz.world.apiserver.kubelets import Kubelets, Shape
from herz.world.apiserver.objects.kinds import Kind, kind_of
from herz.world.apiserver.registry.times import now
from herz.world.apiserver.store import Change, Key, Store, Version
from tests.support.cluster import MERGE_PATCH, Client

Content = dict[str, Any]
LOG = logging.getLogger("herz.tests.kubelets")
_WORKERS = 16
_RETRY_S = 0.2
_WATCH_S = 300
_LINE_MAX = 1 << 24


class _Mirror:
    """What the kubelets see of the server, read as the embedded store is."""

    def __init__(self) -> None:
        self._versions: dict[Key, Version] = {}

    def get(self, key: Key) -> Version | None:
        return self._versions.get(key)

    def put(self, key: Key, content: Content | None) -> Change | None:
        """Take a newer form in; None where it is gone, or was never there."""
        previous = self._versions.pop(key, None)
        if content is None:
            return Change(previous, previous, is_deletion=True) if previous else None
        version = Version(key, 0, json.dumps(content).encode(), content)
        self._versions[key] = version
        return Change(version, previous, is_deletion=False)

    def keys(self, resource: str) -> list[Key]:
        return [key for key in self._versions if key.resource == resource]


class RemoteKubelets:
    """All nodes of a shape, by requests to the server of a kubeconfig."""

    def __init__(self, kubeconfig: Path, shape: Shape) -> None:
        self._client = Client(kubeconfig)
        self._kubelets = Kubelets(shape)
        self._mirror = _Mirror()
        # The kubelets only get objects by key and read the index by node.
        self._view = View(cast(Store, self._mirror))
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()

    async def run(self, ready: threading.Event) -> None:
        """Live until cancelled; `ready` is set when all nodes are there."""
        config = yaml.safe_load(self._client.kubeconfig.read_text(encoding="utf-8"))
        data = config["clusters"][0]["cluster"]["certificate-authority-data"]
        tls = ssl.create_default_context(cadata=b64decode(data).decode())
        connector = aiohttp.TCPConnector(ssl=tls, limit=_WORKERS + 4)
        base = self._client.address.geturl()
        async with (
            aiohttp.ClientSession(base, connector=connector, headers=self._client.headers()) as web,
            asyncio.TaskGroup() as group,
        ):
            self._web = web
            for node in self._kubelets.nodes(now()):
                await self._register(node)
            for _ in range(_WORKERS):
                group.create_task(self._work())
            for key in self._kubelets.first_keys():
                self._ask(key)
            group.create_task(self._follow(kind_of("pods")))
            ready.set()

    async def _register(self, node: Content) -> None:
        kind, name = kind_of("nodes"), node["metadata"]["name"]
        code, made = await self._send("POST", _path(kind, ""), _typed(kind, node))
        if code == 409:
            code, made = await self._send("GET", _path(kind, "", name))
        assert code in (200, 201), made
        path = _path(kind, "", name) + "/status"
        # Whoever else writes nodes, such as the controller that takes their first taints away.
        code, made = await self._send("PATCH", path, {"status": node["status"]})
        assert code == 200, made
        self._see(Key("nodes", "", name), made)

    async def _follow(self, kind: Kind) -> None:
        path = _path(kind, "")
        while True:
            code, listed = await self._send("GET", path)
            if code != 200:
                later = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(_RETRY_S, later.set_result, None)
                await later
                continue
            found = {_key(kind, item): item for item in listed["items"]}
            for key in self._mirror.keys(kind.stored):
                if key not in found:
                    self._see(key, None)
            for key, item in found.items():
                self._see(key, _typed(kind, item))
            await self._watch(kind, listed["metadata"]["resourceVersion"])

    async def _watch(self, kind: Kind, revision: str) -> None:
        query = {"watch": "true", "resourceVersion": revision, "timeoutSeconds": str(_WATCH_S)}
        try:
            async with self._web.get(
                _path(kind, ""), params=query, timeout=aiohttp.ClientTimeout(_WATCH_S + 30)
            ) as answer:
                buffer = b""
                async for chunk in answer.content.iter_any():
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            return
                        item = event["object"]
                        gone = event["type"] == "DELETED"
                        self._see(_key(kind, item), None if gone else item)
        except (aiohttp.ClientError, TimeoutError):
            LOG.info("the watch of %s ended", kind.resource)

    def _see(self, key: Key, content: Content | None) -> None:
        change = self._mirror.put(key, content)
        if change is None:
            return
        self._view.follow(change)
        for concerned in self._kubelets.concerned(change, self._view):
            self._ask(concerned)

    def _ask(self, key: Key) -> None:
        if key not in self._queued:
            self._queued.add(key)
            if key not in self._busy:
                self._waiting.put_nowait(key)

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            self._queued.discard(key)
            self._busy.add(key)
            again = await self._reconcile(key)
            self._busy.discard(key)
            if key in self._queued:
                self._waiting.put_nowait(key)
            elif again is not None:
                asyncio.get_running_loop().call_later(again, self._ask, key)

    async def _reconcile(self, key: Key) -> float | None:
        """One look; seconds until the next one, None where only a change asks for it."""
        plan = self._kubelets.reconcile(key, self._view, now())
        for action in plan.actions:
            code, answer = await self._send(*_request(action))
            if code in (200, 201) and not isinstance(action, Delete):
                self._see(_key(action.kind, answer), answer)
            elif code == 409 and isinstance(action, Create):
                path = _path(action.kind, action.namespace, key.name)
                _, found = await self._send("GET", path)
                self._see(key, found)
            elif code not in (200, 404):
                # A newer form comes by the watch; what is not watched is asked for again.
                return _RETRY_S
        return plan.again_s

    async def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Content]:
        try:
            media = MERGE_PATCH if method == "PATCH" else "application/json"
            async with self._web.request(
                method, path, json=body, headers={"Content-Type": media}
            ) as answer:
                return answer.status, await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            LOG.info("%s %s: %s", method, path, error)
            return 0, {}


@contextmanager
def remote_kubelets(kubeconfig: Path, shape: Shape) -> Iterator[None]:
    """Kubelets in a thread of their own, from when all nodes are registered."""
    ready, failed = threading.Event(), list[BaseException]()
    loop = asyncio.new_event_loop()
    task = loop.create_task(RemoteKubelets(kubeconfig, shape).run(ready))

    def live() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=live, name="remote-kubelets")
    thread.start()
    try:
        ready.wait(120)
        if failed:
            raise failed[0]
        yield
    finally:
        if not failed:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _request(action: Action) -> tuple[str, str, Content]:
    if isinstance(action, Create):
        content = _typed(action.kind, action.content)
        return "POST", _path(action.kind, action.namespace), content
    if isinstance(action, Write):
        part = f"/{action.part}" if action.part else ""
        key = action.old.key
        path = _path(action.kind, key.namespace, key.name) + part
        return "PUT", path, _typed(action.kind, action.content)
    how: Content = {"gracePeriodSeconds": action.how.grace_s}
    if action.how.uid:
        how["preconditions"] = {"uid": action.how.uid}
    return "DELETE", _path(action.kind, action.namespace, action.name), how


def _path(kind: Kind, namespace: str, name: str = "") -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    parts = [root, *(("namespaces", namespace) if namespace else ()), kind.resource]
    return "/".join([*parts, *([name] if name else [])])


def _typed(kind: Kind, content: Content) -> Content:
    return {"apiVersion": kind.api_version, "kind": kind.name, **content}


def _key(kind: Kind, content: Content) -> Key:
    metadata = content["metadata"]
    return Key(kind.stored, metadata.get("namespace", ""), metadata["name"])
