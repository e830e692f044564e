"""A cluster without a network: what its API server answers, and what its watches show.

All of it as bytes, so that a live scheduler reads and writes as it does elsewhere. Some answers get
lost and some binds are told to be done already, and a task fails now and then: each leaves
exceptions and frames that refer to each other, as they do in any program on asyncio.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from bench import worlds
from herz.model.decode import encode
from herz.model.objects import Node, Pod
from herz.world.kube.kinds import Watched
from herz.world.kube.transport import NoAnswerError, Reply, Stream, Transport

KINDS: Final = (
    Watched(Node, "v1", "nodes", is_needed=True),
    Watched(Pod, "v1", "pods", is_needed=True),
)
SIGNATURES: Final = 20
SHAPE: Final = 24
"""16 cores and 96 GiB: 20 pods a node leave room everywhere."""
NEWS_EVERY: Final = 25
"""Pods that come for one node that tells of itself."""
LINES_MAX: Final = 32
"""Of a watch that are read at a time: 64 KiB."""
LOST, TOLD_TWICE, FAILED = 17, 57, 83
"""Of 100 pods, whose bind gets no answer, whose is answered with 409, whose kubelet fails."""
_EVERY: Final = 100
_NONE: Final[Mapping[str, str]] = {}
_TOKEN: Final = {
    "name": "kube-api-access",
    "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "t"}}]},
}
_FIELDS: Final = {"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": {}}}


class Cluster(Transport):
    """Nodes that are full to a part, and pods that come in bursts and go.

    Args:
        nodes: how many.
        pods: how many are on them at the beginning.
    """

    def __init__(self, nodes: int, pods: int) -> None:
        self._nodes = nodes
        self._templates = [_template(signature) for signature in range(SIGNATURES)]
        self._version = 0
        self._next = pods
        self._oldest = 0
        # Where pods are, the oldest first; of those that come now, by number.
        self._places = deque(f"node-{number % nodes:05d}" for number in range(pods))
        self._coming: dict[int, str] = {}
        self._left = 0
        self._bound = asyncio.Event()
        self._feeds = {kind.plural: Feed() for kind in KINDS}
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- what happens -----------------------------------------------------------------------

    async def burst(self, count: int) -> None:
        """So many pods come at once; when all of them run, as many of the oldest end."""
        first = self._next
        self._next += count
        self._left = count
        self._bound.clear()
        self._coming.clear()
        for number in range(first, self._next):
            self._tell("pods", "ADDED", self.pod(number))
            if not number % NEWS_EVERY:
                self._tell("nodes", "MODIFIED", self._node(number // NEWS_EVERY % self._nodes))
        await self._bound.wait()
        for number in range(first, self._next):
            node = self._coming[number]
            self._tell("pods", "MODIFIED", self.pod(number, node, "Running"))
            self._places.append(node)
            if number % _EVERY == FAILED:
                task = asyncio.ensure_future(_fail(number))
                self._tasks.add(task)
                task.add_done_callback(self._ended)
        for number in range(self._oldest, self._oldest + count):
            self._tell("pods", "DELETED", self.pod(number, self._places.popleft(), "Succeeded"))
        self._oldest += count
        for feed in self._feeds.values():
            await feed.is_read.wait()

    def coming(self) -> bytes:
        """The next pod, which nobody was told of."""
        self._next += 1
        return self.pod(self._next - 1)

    def pod(self, number: int, node: str = "", phase: str = "Pending") -> bytes:
        """A pod as the API shows it."""
        self._version += 1
        given = (number, number, self._version, node.encode(), phase.encode())
        return self._templates[number % SIGNATURES] % given

    def _node(self, number: int) -> bytes:
        self._version += 1
        content = msgspec.json.decode(encode(worlds.node(number, shape=SHAPE)))
        version = str(self._version)
        content["metadata"] |= {"resourceVersion": version, "uid": f"uid-{number}"}
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": version}
        content["status"]["conditions"] = [ready]
        return msgspec.json.encode(content)

    def _tell(self, plural: str, verb: str, thing: bytes) -> None:
        self._feeds[plural].give(b'{"type":"%s","object":%s}' % (verb.encode(), thing))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        assert task.exception() is not None, "it was meant to fail"

    # ---- what is asked ----------------------------------------------------------------------

    @property
    def address(self) -> str:
        """See `Transport`."""
        return "https://cluster"

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = _NONE,
        body: bytes = b"",
        content_type: str = "application/json",
        timeout_seconds: float,
    ) -> Reply:
        """See `Transport`."""
        del content_type, timeout_seconds
        await asyncio.sleep(0)
        if path.endswith("/binding"):
            return self._bind(int(path.split("/")[-2].partition("-")[2]), body)
        if method == "GET" and "/pods/" in path:
            number = int(path.rpartition("-")[2])
            return Reply(200, _NONE, self.pod(number, self._coming[number]))
        if method == "GET":
            return Reply(200, _NONE, self._page(path.rpartition("/")[2], query))
        return Reply(201, _NONE, b"{}")

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str] = _NONE, timeout_seconds: float
    ) -> AsyncIterator[Stream]:
        """See `Transport`."""
        del query, timeout_seconds
        yield self._feeds[path.rpartition("/")[2]]

    def _bind(self, number: int, body: bytes) -> Reply:
        node = str(msgspec.json.decode(body)["target"]["name"])
        self._coming[number] = node
        self._tell("pods", "MODIFIED", self.pod(number, node))
        self._left -= 1
        if not self._left:
            self._bound.set()
        if number % _EVERY == LOST:
            # Its traceback holds this frame, and this frame holds it.
            error = NoAnswerError(f"pod-{number}: reset", is_sent=True)
            raise error
        return Reply(409 if number % _EVERY == TOLD_TWICE else 201, _NONE, b"{}")

    def _page(self, plural: str, query: Mapping[str, str]) -> bytes:
        """A page of what was there at the beginning."""
        first, size = int(query.get("continue", 0)), int(query["limit"])
        if plural == "nodes":
            end = min(first + size, self._nodes)
            items = [self._node(number) for number in range(first, end)]
            is_last = end == self._nodes
        else:
            end = min(first + size, self._next)
            items = [
                self.pod(number, self._places[number], "Running") for number in range(first, end)
            ]
            is_last = end == self._next
        meta = {"resourceVersion": str(self._version), "continue": "" if is_last else str(end)}
        return b'{"metadata":%s,"items":[%s]}' % (msgspec.json.encode(meta), b",".join(items))


class Feed(Stream):
    """A watch that never ends."""

    def __init__(self) -> None:
        self.status = 200
        self.headers = {}
        self._lines: deque[bytes] = deque()
        self._given = asyncio.Event()
        self.is_read = asyncio.Event()
        """Set while all that was given has been taken in."""

    def give(self, line: bytes) -> None:
        """Show the line."""
        self._lines.append(line)
        self._given.set()
        self.is_read.clear()

    async def batches(self, silence_seconds: float) -> AsyncIterator[list[bytes]]:
        """See `Stream`."""
        del silence_seconds
        while True:  # Bound: the bench's end.
            if not self._lines:
                self._given.clear()
                self.is_read.set()
                await self._given.wait()
            yield [self._lines.popleft() for _ in range(min(len(self._lines), LINES_MAX))]
            # What is there is read at once; the loop has a turn between two reads all the same.
            await asyncio.sleep(0)


async def _fail(number: int) -> None:
    """A task that ends with an error whose traceback knows the task."""
    task = asyncio.current_task()
    await asyncio.sleep(0)
    raise RuntimeError(f"kubelet of pod-{number}: {task is not None}")


def _template(signature: int) -> bytes:
    """A pod's JSON with places for number, uid, version, node and phase."""
    content: dict[str, Any] = msgspec.json.decode(encode(worlds.pod(0, signature=signature)))
    app = {"app": f"app-{signature}", "pod-template-hash": "5d8f9c7b64"}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"app-{signature}", "uid": "r"}
    fields = {"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": _FIELDS}
    (container,) = content["spec"]["containers"]
    container |= {
        "env": [{"name": f"OPTION_{number}", "value": "on"} for number in range(8)],
        "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run", "readOnly": True}],
    }
    content["metadata"] = {
        "name": "pod-%d",
        "namespace": "bench",
        "uid": "uid-%d",
        "resourceVersion": "%d",
        "labels": app,
        "ownerReferences": [owner],
        "managedFields": [fields],
    }
    content["spec"] |= {"volumes": [_TOKEN], "schedulerName": "herz", "nodeName": "%s"}
    content["status"] = {"phase": "%s", "conditions": [{"type": "Initialized", "status": "True"}]}
    return msgspec.json.encode(content)
