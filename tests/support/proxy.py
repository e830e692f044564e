"""A proxy between a client and an API server, TLS on both sides, that breaks things by seed.

It speaks just enough HTTP/1.1 to know requests, answers and chunks apart. What passed is kept,
without credentials: method, path, what the server said, what was broken.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from urllib.parse import parse_qs, urlsplit


class Fault(StrEnum):
    """What can go wrong, each with the name by which it is counted."""

    REFUSED = "500 before the effect"
    REFUSED_AFTER = "500 after the effect"
    CONFLICT = "409"
    BUSY = "429 with Retry-After"
    SILENT_BEFORE = "no answer, without the effect"
    SILENT_AFTER = "no answer after the effect"
    RESET_AFTER = "reset after the effect"
    SLOW = "slow read"
    GONE = "410 as a status"
    GONE_INSIDE = "410 inside a stream"
    DROPPED = "dropped watch"
    HALF_OPEN = "half-open watch"


WRITES: tuple[Fault, ...] = (
    *(Fault.REFUSED, Fault.REFUSED_AFTER, Fault.CONFLICT, Fault.BUSY),
    *(Fault.SILENT_BEFORE, Fault.SILENT_AFTER, Fault.RESET_AFTER, Fault.SLOW),
)
READS: tuple[Fault, ...] = (Fault.REFUSED, Fault.BUSY, Fault.SLOW, Fault.RESET_AFTER)
WATCHES: tuple[Fault, ...] = (
    Fault.GONE,
    Fault.GONE_INSIDE,
    Fault.DROPPED,
    Fault.HALF_OPEN,
    Fault.SLOW,
    Fault.REFUSED,
)
SLOW_SECONDS = 0.3
_HEAD_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came through, or did not.

    Args:
        method: HTTP's.
        path: without the query.
        query: of the target.
        status: what the server said; 0 where it was not asked, or did not answer.
        fault: what was broken.
        uid: for a binding, the pod's.
        at: the loop's time.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    status: int
    fault: Fault | None
    uid: str
    at: float


@dataclass
class Faults:
    """How often what is broken.

    Args:
        seed: of the choice.
        writes: share of the writes, in thousandths.
        reads: the same of lists and gets.
        watches: the same of watches.
        leases: the same of the leader's lease.
        only: the faults that may be chosen; all where empty.
    """

    seed: int = 0
    writes: int = 0
    reads: int = 0
    watches: int = 0
    leases: int = 0
    only: frozenset[Fault] = frozenset()
    is_on: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def choose(self, method: str, path: str, *, is_watch: bool) -> Fault | None:
        """The fault of the next request, if it has one."""
        kinds, share = READS, self.reads
        if "/leases/" in path or path.endswith("/leases"):
            kinds, share = WRITES, self.leases
        elif is_watch:
            kinds, share = WATCHES, self.watches
        elif method != "GET":
            kinds, share = WRITES, self.writes
        drawn, kind = self._random.randrange(1000), self._random.choice(kinds)
        if not self.is_on or drawn >= share or (self.only and kind not in self.only):
            return None
        self.counts[kind.value] += 1
        return kind

    def chunks(self) -> int:
        """After how many chunks a stream breaks."""
        return self._random.randrange(20)


@dataclass(frozen=True, slots=True)
class _Message:
    """A head with its lines, and the body where it has a length."""

    first: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes = b""

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"


class Proxy:
    """The proxy.

    Args:
        upstream: host and port of the server.
        trust: verifies the server.
        tls: what clients see.
        faults: what is broken.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        trust: ssl.SSLContext,
        tls: ssl.SSLContext,
        faults: Faults,
    ) -> None:
        self.faults = faults
        self.seen: list[Seen] = []
        self.refused_hellos = 0
        self._upstream = upstream
        self._trust = trust
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "it was started"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", port, ssl=self._tls, limit=_HEAD_BYTES_MAX
        )

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection at once, as a network does that goes away."""
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a callback of the server is a task"
        self._tasks.add(task)
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while True:  # Bound: the client's connection.
                request = await _message(reader)
                server = server or await asyncio.open_connection(
                    *self._upstream, ssl=self._trust, limit=_HEAD_BYTES_MAX
                )
                if not await self._serve(request, reader, writer, server):
                    return
        except (OSError, EOFError, ValueError, asyncio.CancelledError):
            pass  # Either side is gone, or the proxy cuts: the client sees a connection that broke.
        finally:
            self._tasks.discard(task)
            writer.transport.abort()
            if server is not None:
                server[1].transport.abort()

    async def _serve(
        self,
        request: _Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        """One request; whether the connections can be used for the next."""
        method, target, _ = request.first.split(" ", 2)
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        is_watch = query.get("watch", ["0"])[0] in ("1", "true")
        fault = self.faults.choose(method, parts.path, is_watch=is_watch)
        note = _Note(self, method, parts.path, query, fault, _uid(parts.path, request.body))
        early = _instead(fault)
        if early is not None:
            note.add(0)
            writer.write(early)
            await writer.drain()
            return True
        if fault is Fault.SILENT_BEFORE:
            note.add(0)
            await reader.read()  # Until the client has given up.
            return False
        server[1].write(request.head + request.body)
        await server[1].drain()
        answer = await _message(server[0], is_answer=True)
        note.add(int(answer.first.split(" ")[1]))
        if fault is Fault.RESET_AFTER:
            return False
        if fault is Fault.SILENT_AFTER:
            await reader.read()
            return False
        if fault is Fault.REFUSED_AFTER:
            writer.write(_status(500, "InternalError", "broken after the effect"))
            await writer.drain()
            return True
        if fault is Fault.SLOW:
            await pause(SLOW_SECONDS)
        writer.write(answer.head + answer.body)
        await writer.drain()
        if not answer.is_chunked:
            return True
        return await self._stream(server[0], reader, writer, fault if is_watch else None)

    async def _stream(
        self,
        server: asyncio.StreamReader,
        client: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> bool:
        """The chunks of an answer; whether its end was reached."""
        left = self.faults.chunks()
        while True:  # Bound: the server ends the stream.
            line = await server.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            chunk = await server.readexactly(size + 2)
            if fault is Fault.SLOW:
                await pause(SLOW_SECONDS / 10)
            elif fault is not None and left == 0:
                return await _broken(fault, client, writer)
            left -= 1
            writer.write(line + chunk)
            await writer.drain()
            if size == 0:
                return True


@dataclass(frozen=True, slots=True)
class _Note:
    """What is kept of one request, once its end is known."""

    proxy: Proxy
    method: str
    path: str
    query: Mapping[str, list[str]]
    fault: Fault | None
    uid: str

    def add(self, status: int) -> None:
        at = asyncio.get_running_loop().time()
        seen = Seen(self.method, self.path, self.query, status, self.fault, self.uid, at)
        self.proxy.seen.append(seen)


async def pause(seconds: float) -> None:
    """Let so long go by: slowness is what is made here."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()


async def _broken(fault: Fault, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if fault is Fault.HALF_OPEN:
        await client.read()  # Nothing more comes, and nothing ends, until the client does.
    elif fault is Fault.GONE_INSIDE:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410}
        status |= {"reason": "Expired", "message": "too old resource version"}
        event = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n0\r\n\r\n")
        await writer.drain()
    return False


def _instead(fault: Fault | None) -> bytes | None:
    """What is answered in the server's place, before it is asked."""
    match fault:
        case Fault.REFUSED:
            return _status(500, "InternalError", "broken before the effect")
        case Fault.CONFLICT:
            return _status(409, "Conflict", "the object has been modified; please apply again")
        case Fault.BUSY:
            return _status(429, "TooManyRequests", "try again later", "Retry-After: 1\r\n")
        case Fault.GONE:
            return _status(410, "Expired", "too old resource version")
    return None


def _status(code: int, reason: str, message: str, more: str = "") -> bytes:
    content = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body = json.dumps({**content, "reason": reason, "message": message, "code": code}).encode()
    head = f"HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _message(reader: asyncio.StreamReader, *, is_answer: bool = False) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    made = _Message(first, headers, head)
    if made.is_chunked:
        if is_answer:
            return made
        raise ValueError("no client of ours sends chunks")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return _Message(first, headers, head, body)


def _uid(path: str, body: bytes) -> str:
    """Whose binding it is."""
    if not path.endswith("/binding"):
        return ""
    try:
        return str(json.loads(body)["metadata"]["uid"])
    except (ValueError, KeyError, TypeError):
        return ""
