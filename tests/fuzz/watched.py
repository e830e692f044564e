"""What an API server says to the scheduler, as bytes, to the real transport and informer."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Final

from herz.model import decode
from herz.model.objects import KubernetesObject, Node, Pod
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import WATCHED, Watched
from herz.world.kube.kubeconfig import Access, Endpoint
from herz.world.kube.transport import Transport, _Connection
from tests.fuzz.shapes import saw

_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_CUTS: Final = 3
_WATCHED: Final = [watched for watched in WATCHED if watched.kind in (Pod, Node)]


class _Sink:
    """Holds what it is told against what was told before."""

    def __init__(self) -> None:
        self.known: dict[str, KubernetesObject] = {}

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        written = decode.encode(thing)
        assert decode.decode(type(thing), written) == thing, "what is read is written and read"
        saw(f"applied, known {thing.metadata.key in self.known}, of", len(self.known))
        self.known[thing.metadata.key] = thing

    def deleted(self, thing: KubernetesObject) -> None:
        saw(f"deleted, known {thing.metadata.key in self.known}, of", len(self.known))
        self.known.pop(thing.metadata.key, None)

    def freshness_changed(self) -> None:
        pass


class _Open(Access):
    """Who asks for no credentials."""

    def __init__(self) -> None:
        self.endpoint = Endpoint("127.0.0.1", 1, "", "", None, "")

    async def current(self) -> Endpoint:
        return self.endpoint

    async def renew(self, refused: str) -> bool:
        return False


class _Deaf:
    """The way to the server; nobody listens there."""

    transport = property(lambda self: self)

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


_DEAF: Final[Any] = _Deaf()


class _Heard(Transport):
    """A transport whose every connection says the same bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(_Open())
        self._data = data

    def _head(self, *given: object) -> bytes:
        return b""  # What we say is not what is tried.

    async def _connect(self, endpoint: Endpoint) -> _Connection:
        reader = asyncio.StreamReader(limit=64 << 10)
        reader.feed_data(self._data)
        reader.feed_eof()
        return _Connection(reader, _DEAF)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def watches(data: bytes) -> None:
    """By the first byte: the lines of a watch of pods or nodes, or a whole answer as it comes."""
    way, rest = data[:1], data[1:]
    watched = _WATCHED[(way or b"\0")[0] % 2]
    answer = rest if way >= b"\x80" else _HEAD + _chunked(rest)
    _loop().run_until_complete(_informed(watched, answer, is_list=way >= b"\xc0"))


async def _informed(watched: Watched, answer: bytes, *, is_list: bool) -> None:
    sink = _Sink()
    informer = Informer(watched, _Heard(answer), sink)
    try:
        await (informer.relist() if is_list else informer._watch())
    finally:
        saw(f"known, with a version {bool(informer._version)}", len(informer.objects))
        assert sink.known == informer.objects, "what was told is what is known"


def _chunked(lines: bytes) -> bytes:
    """The lines in chunks that do not end where lines do."""
    size = max(1, len(lines) // _CUTS)
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
