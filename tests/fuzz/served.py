"""Whole HTTP requests, as bytes, to each server of ours: on a wire in memory, answered at once.

The servers are the real ones behind aiohttp's reader of requests; what is not there is a socket,
TLS, and the disk. A server that has changed its state is made anew, so that an input does the
same each time.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
import unittest.mock
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from herz.world.apiserver.http.server import ApiServer, Limits
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.registry import Registry
from herz.world.apiserver.store import Store
from herz.world.apiserver.store import store as store_module
from herz.world.apiserver.store.database import Database, Row
from herz.world.apiserver.system import make_system_objects
from herz.world.kube.endpoints import Health, make_app
from tests.fuzz import witnessed
from tests.fuzz.shapes import saw

TOKEN: Final = "t"
QUIET_ROUNDS: Final = 6
ROUNDS_MAX: Final = 400
"""Turns of the loop without a word from the server, after which it waits for more; and in all."""
_ANSWER: Final = re.compile(rb"HTTP/[0-9]\.[0-9] ([0-9]{3})")
_REASON: Final = re.compile(rb'"reason":"(\w+)"')
_EVENTS: Final = re.compile(rb'"type":"(ADDED|MODIFIED|DELETED|BOOKMARK|ERROR)"')
_VERB: Final = re.compile(
    rb"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) /"
    rb"(apis?/|version|openapi|healthz|livez|readyz|metrics|add-checkpoint|)"
)
"""Of a path what is known: any other word would be an edge, and there is no end of them."""
_LOGGERS: Final = ("herz", "aiohttp", "asyncio")


class _Inline(ThreadPoolExecutor):
    """Runs what it is given at once: the store's writes are to memory here."""

    def submit(self, run: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(run(*given, **more))
        except BaseException as error:
            done.set_exception(error)
        return done


class _Memory(Database):
    """Begins with the same objects each time, and keeps nothing of what is written."""

    made: ClassVar[list[Row]] = []

    def __init__(self, path: Path) -> None:
        pass

    def setting(self, name: str, default: int) -> int:
        return default

    def rows(self) -> Iterator[Row]:
        return iter(self.made)

    def commit(self, added: Iterable[Row], dead: Iterable[int], settings: dict[str, int]) -> None:
        pass

    def close(self) -> None:
        pass


class _Wire(asyncio.Transport):
    """The server's side of a connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent: list[bytes] = []
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def writelines(self, parts: Any) -> None:
        self.sent.append(b"".join(parts))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def is_reading(self) -> bool:
        return True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


class _Kept(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        # aiohttp logs what is no HTTP as an error, too; its answer is 400.
        if not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)):
            self.found.append(record)


@dataclass(slots=True)
class _House:
    """The loop and the servers on it."""

    loop: asyncio.AbstractEventLoop
    kept: _Kept
    health: web.Server
    witness: web.Server
    memory: witnessed.Memory
    api: web.Server
    store: Store
    revision: int


def servers(data: bytes) -> None:
    """The first byte says which server; the rest is what comes over the connection."""
    house = _house()
    server = house.api
    if data[:1] < b"\x20":
        server = house.health if data[:1] < b"\x10" else house.witness
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(house.kept)
    try:
        sent = house.loop.run_until_complete(_exchange(server, data[1:]))
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(house.kept)
    house.memory.begin()
    if house.store._next != house.revision:
        house.loop.run_until_complete(_renew(house))
    _show(data[1:], sent)
    found = [*house.kept.found]
    house.kept.found.clear()
    if _is_for_aiohttp(data):
        return
    if found:
        raise AssertionError(f"logged: {logging.Formatter().format(found[-1])}")
    for answer in sent:
        assert not answer.startswith(b"HTTP/1.1 500"), answer[:500]


def _is_for_aiohttp(data: bytes) -> bool:
    """Whether it may have failed by itself: at an `Expect` that is no text, before it asks us."""
    return b"expect" in data.lower()


async def _exchange(server: Any, data: bytes) -> list[bytes]:
    """Send it, and wait until the server has nothing more to say; then hang up. What it said."""
    protocol, wire = server(), _Wire()
    protocol.connection_made(wire)
    middle = len(data) // 2
    protocol.data_received(data[:middle])
    protocol.data_received(data[middle:])
    quiet = said = 0
    for _ in range(ROUNDS_MAX):
        await asyncio.sleep(0)
        quiet = 0 if len(wire.sent) > said else quiet + 1
        said = len(wire.sent)
        if quiet > QUIET_ROUNDS or wire.is_closing():
            break
    protocol.connection_lost(None)
    for _ in range(QUIET_ROUNDS):
        await asyncio.sleep(0)
    return wire.sent


def _show(data: bytes, sent: list[bytes]) -> None:
    """What was answered to the first request, and which answers and events came at all.

    An answer may be many writes, and quote the input: only what begins a write is an answer's, and
    only a refusal's reason is the server's own.
    """
    answers: list[bytes] = []
    for part in sent:
        if _ANSWER.match(part) or not answers:
            answers.append(part)
        else:
            answers[-1] += part
    asked = _VERB.match(data)
    for number, answer in enumerate(answers):
        status = _ANSWER.match(answer)
        is_refusal = status is not None and not status[1].startswith(b"2")
        reason = _REASON.search(answer) if is_refusal else None
        words = (asked and asked[0], status and status[1], reason and reason[1])
        saw(repr(words[1:] if number else words), None)
        for event in _EVENTS.findall(answer):
            saw(f"event {event.decode()}", None)
    saw("answers", len(answers))


@functools.cache
def _house() -> _House:
    loop = asyncio.new_event_loop()
    kept = _Kept()

    async def made() -> _House:
        memory = witnessed.Memory()
        health = await _server(web.AppRunner(_health(), access_log=None, auto_decompress=False))
        witness = await _server(witnessed.runner(memory))
        _Memory.made = await _made()
        api, store = _api()
        return _House(loop, kept, health, witness, memory, api, store, store._next)

    return loop.run_until_complete(made())


async def _server(runner: web.AppRunner) -> web.Server:
    await runner.setup()
    assert runner.server is not None
    return runner.server


def _health() -> web.Application:
    async def text() -> bytes:
        return b"herz_up 1\n"

    checks = {"ping": lambda: "", "watch": lambda: ""}
    return make_app(Health(checks, checks), {"/metrics": (text, "text/plain")}, TOKEN)


async def _made() -> list[Row]:
    """The rows of a cluster with a node and a pod."""
    rows: list[Row] = []

    class Writing(_Memory):
        def commit(self, added: Iterable[Row], dead: Iterable[int], _: dict[str, int]) -> None:
            rows.extend(added)

    registry = Registry(_store(Writing))
    await make_system_objects(registry)
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    await registry.create(kind_of("nodes"), "", {"metadata": {"name": "n"}})
    await registry.create(kind_of("pods"), "default", pod)
    return rows


def _store(kind: type[_Memory]) -> Store:
    with unittest.mock.patch.object(store_module, "Database", kind):
        store = Store(Path("nowhere"))
    store._writer = _Inline()
    return store


def _api() -> tuple[web.Server, Store]:
    store = _store(_Memory)
    server = ApiServer(Registry(store), token=TOKEN, limits=Limits(body_bytes_max=3000))
    return server._server, store


async def _renew(house: _House) -> None:
    await house.store.close()
    house.api, house.store = _api()
    house.revision = house.store._next
