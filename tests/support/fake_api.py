"""An API server without a network: answers by a script, and remembers what was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from herz.world.kube.transport import NoAnswerError, Reply, Stream, Transport

Content = dict[str, Any]
Script = Callable[["Request"], "Reply | NoAnswerError | None"]


@dataclass(frozen=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = b""
    content_type: str = ""

    @property
    def content(self) -> Content:
        found: Content = json.loads(self.body)
        return found


def reply(status: int, content: Any = None, **headers: str) -> Reply:
    """An answer; headers with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, json.dumps(content if content is not None else {}).encode())


def status(code: int, reason: str = "", message: str = "") -> Content:
    """A Status."""
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def lost(*, is_sent: bool = True) -> NoAnswerError:
    """No answer."""
    return NoAnswerError("lost", is_sent=is_sent)


def meta(name: str, uid: str = "", version: str = "1", **more: Any) -> Content:
    """An object's metadata."""
    given = {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"}
    return {**given, "resourceVersion": version, **more}


@dataclass
class Feed(Stream):
    """A watch: lines that the test gives, until it ends it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lines_given: asyncio.Queue[bytes | NoAnswerError | None] = field(default_factory=asyncio.Queue)

    def give(self, kind: str, thing: Any) -> None:
        self.lines_given.put_nowait(json.dumps({"type": kind, "object": thing}).encode())

    def end(self, error: NoAnswerError | None = None) -> None:
        self.lines_given.put_nowait(error)

    async def read(self, timeout_seconds: float) -> bytes:
        return self.body

    async def batches(self, silence_seconds: float) -> AsyncIterator[list[bytes]]:
        while True:
            line = await self.lines_given.get()
            if line is None:
                return
            if isinstance(line, NoAnswerError):
                raise line
            yield [line]


class FakeApi(Transport):
    """Answers requests by the script, and watches by the feeds that were made ready."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Request] = []
        self.feeds: asyncio.Queue[Feed | NoAnswerError] = asyncio.Queue()
        self.changed = asyncio.Event()

    @property
    def address(self) -> str:
        return "https://fake"

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
        timeout_seconds: float,
    ) -> Reply:
        await asyncio.sleep(0)
        asked = Request(method, path, dict(query or {}), body, content_type)
        self.asked.append(asked)
        self.changed.set()
        answer = self.script(asked)
        if isinstance(answer, NoAnswerError):
            raise answer
        return reply(404, status(404, "NotFound")) if answer is None else answer

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str] | None = None, timeout_seconds: float
    ) -> AsyncIterator[Stream]:
        self.asked.append(Request("WATCH", path, dict(query or {})))
        self.changed.set()
        feed = await self.feeds.get()
        if isinstance(feed, NoAnswerError):
            raise feed
        yield feed

    def of(self, method: str) -> list[Request]:
        """What was asked by the verb."""
        return [one for one in self.asked if one.method == method]

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait for the requests that make it so."""
        async with asyncio.timeout(20):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()


@dataclass(eq=False)
class Seen:
    """A sink that remembers."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    fresh: list[bool] = field(default_factory=list)
    is_fresh: Callable[[], bool] = lambda: False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def applied(self, thing: Any, unlisted: tuple[str, ...]) -> None:
        del unlisted
        self._tell("applied", thing)

    def deleted(self, thing: Any) -> None:
        self._tell("deleted", thing)

    def freshness_changed(self) -> None:
        self.fresh.append(self.is_fresh())
        self.changed.set()

    def _tell(self, verb: str, thing: Any) -> None:
        self.told.append((verb, thing.metadata.name, thing.metadata.uid))
        self.changed.set()

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait for what is told, until it is so."""
        async with asyncio.timeout(20):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()
