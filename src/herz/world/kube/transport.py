"""HTTP/1.1 to one API server: kept-alive connections, answers whole or line by line.

Thin, because a scheduler's rate is bound by it: two writes a pod. Every answer of the server is a
`Reply`, whatever its status; a `NoAnswerError` says that there was none, and whether the server
may have acted all the same. Runs on any asyncio loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from herz.errors import WorldError
from herz.world.kube.kubeconfig import Access, Endpoint

CONNECTIONS_MAX: Final = 64
"""Requests under way at once; the next one waits. Streams have connections of their own."""
IDLE_SECONDS_MAX: Final = 25.0
"""A connection that was idle for longer is closed: the server may be closing it just now."""
CONNECT_SECONDS: Final = 10.0
BODY_BYTES_MAX: Final = 512 << 20
_HEAD_BYTES_MAX: Final = 64 << 10
_READ_BYTES: Final = 64 << 10
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class NoAnswerError(WorldError):
    """No answer came.

    Args:
        what: what was asked, and what happened.
        is_sent: whether the request, or a part of it, may have reached the server: if so, what
            became of it is unknown.
        is_retryable: whether the same request may be answered later.
    """

    def __init__(self, what: str, *, is_sent: bool, is_retryable: bool = True) -> None:
        self.is_sent = is_sent
        outcome = "; its outcome is unknown" if is_sent else "; it was not sent"
        super().__init__(what + outcome, is_retryable=is_retryable)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered.

    Args:
        status: HTTP's number.
        headers: names in lower case.
        body: all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class _Connection:
    """One connection, used by one request at a time."""

    __slots__ = ("idle_since", "is_reused", "reader", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.idle_since = 0.0
        self.is_reused = False

    def close(self) -> None:
        # Not awaited: an orderly end of TLS could wait for a server that is gone.
        self.writer.transport.abort()

    async def send(self, head: bytes, body: bytes) -> None:
        self.writer.write(head + body if len(body) < _READ_BYTES else head)
        if len(body) >= _READ_BYTES:
            self.writer.write(body)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers, which must follow.

        Raises:
            ValueError: they are no HTTP/1.1.
        """
        data = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = data[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"no HTTP/1.1: {first[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(rest[:3]), headers

    async def body(self, headers: Mapping[str, str]) -> bytes:
        """All of the body."""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts, size = [], 0
            async for part in self.chunks():
                parts.append(part)
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise ValueError(f"an answer of more than {BODY_BYTES_MAX} bytes")
            return b"".join(parts)
        length = headers.get("content-length")
        if length is None:
            return await self.reader.read()
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            raise ValueError(f"an answer of {length} bytes")
        return await self.reader.readexactly(int(length))

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The chunks of a body, up to and with its end."""
        reader = self.reader
        while True:  # Bound: the body's length; the server ends it.
            line = await reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # Trailers, which nobody reads.
                return
            if size > BODY_BYTES_MAX:
                raise ValueError(f"a chunk of {size} bytes")
            yield (await reader.readexactly(size + 2))[:-2]


class Transport:
    """Requests to one API server.

    Args:
        access: where it is, and our credentials.
        user_agent: how we call ourselves.
        connections_max: requests under way at once.
    """

    def __init__(
        self, access: Access, *, user_agent: str = "herz", connections_max: int = CONNECTIONS_MAX
    ) -> None:
        self._access = access
        self._agent = user_agent
        # Bound: `connections_max`, by the semaphore.
        self._idle: deque[_Connection] = deque()
        self._turn = asyncio.Semaphore(connections_max)
        self._streams: set[_Connection] = set()
        self._busy: set[_Connection] = set()
        self._is_closed = False

    @property
    def address(self) -> str:
        """The server's URL, for people."""
        return self._access.endpoint.address

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
        """One request, and its answer.

        Args:
            method: the verb.
            path: from the server's root, escaped already.
            query: what follows the question mark.
            body: the content.
            content_type: of the body.
            timeout_seconds: for everything: a turn, a connection, the answer.

        Raises:
            NoAnswerError: none came in that time; it says whether the outcome is unknown.
        """
        what = f"{method} {path}"
        sent = [False]
        try:
            async with asyncio.timeout(timeout_seconds):
                async with self._turn:
                    reply, used = await self._ask(method, path, query, body, content_type, sent)
                    if reply.status == 401 and await self._access.renew(used):
                        sent[0] = False
                        reply, _ = await self._ask(method, path, query, body, content_type, sent)
                    return reply
        except TimeoutError as error:
            text = f"{what}: no answer within {timeout_seconds:g} s"
            raise NoAnswerError(text, is_sent=sent[0]) from error
        except NoAnswerError:
            raise
        except WorldError as error:
            raise NoAnswerError(f"{what}: {error}", is_sent=sent[0]) from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise _no_answer(what, self.address, error, is_sent=sent[0]) from error

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        content_type: str,
        sent: list[bool],
    ) -> tuple[Reply, str]:
        """The answer, and the authorization that was shown."""
        while True:  # Bound: the connections that lie idle; a new one is not tried twice.
            endpoint = await self._access.current()
            connection = await self._connection(endpoint)
            is_reused = connection.is_reused
            head = self._head(endpoint, method, path, query, body, content_type)
            self._busy.add(connection)
            try:
                sent[0] = True
                await connection.send(head, body)
                status, headers = await connection.head()
                content = b"" if method == "HEAD" else await connection.body(headers)
            except BaseException as error:
                connection.close()
                if is_reused and method == "GET" and isinstance(error, OSError | EOFError):
                    # The server had closed it while it lay idle: nothing is wrong.
                    continue
                raise
            finally:
                self._busy.discard(connection)
            self._release(connection, headers)
            return Reply(status, headers, content), endpoint.authorization

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str] = _NONE, timeout_seconds: float
    ) -> AsyncIterator[Stream]:
        """A GET whose answer is read line by line, on a connection of its own.

        Args:
            path: from the server's root, escaped already.
            query: what follows the question mark.
            timeout_seconds: until the headers are there.

        Raises:
            NoAnswerError: none came.
        """
        what = f"GET {path}"
        connection: _Connection | None = None
        try:
            try:
                async with asyncio.timeout(timeout_seconds):
                    endpoint = await self._access.current()
                    connection = await self._connect(endpoint)
                    self._streams.add(connection)
                    head = self._head(endpoint, "GET", path, query, b"", "application/json")
                    await connection.send(head, b"")
                    status, headers = await connection.head()
                    if status == 401:
                        # The next attempt shows other credentials, where there are any.
                        await self._access.renew(endpoint.authorization)
                    opened = Stream(what, connection, status, headers)
            except TimeoutError as error:
                text = f"{what}: no answer within {timeout_seconds:g} s"
                raise NoAnswerError(text, is_sent=True) from error
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                raise _no_answer(what, self.address, error, is_sent=True) from error
            yield opened
        finally:
            if connection is not None:
                self._streams.discard(connection)
                connection.close()

    def close(self) -> None:
        """End all connections; what is under way ends without an answer."""
        self._is_closed = True
        for connection in (*self._idle, *self._streams, *self._busy):
            connection.close()
        self._idle.clear()

    async def closed(self) -> None:
        """The same, and the loop has let the connections go: it may end."""
        self.close()
        for _ in range(3):  # An abort is carried out by callbacks, TLS' by two.
            await asyncio.sleep(0)

    # ---- connections ------------------------------------------------------------------------

    async def _connection(self, endpoint: Endpoint) -> _Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            is_young = now - connection.idle_since < IDLE_SECONDS_MAX
            if is_young and not connection.reader.at_eof() and not connection.writer.is_closing():
                connection.is_reused = True
                return connection
            connection.close()
        return await self._connect(endpoint)

    async def _connect(self, endpoint: Endpoint) -> _Connection:
        if self._is_closed:
            raise NoAnswerError("the transport is closed", is_sent=False, is_retryable=False)
        name = endpoint.server_name if endpoint.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    endpoint.host,
                    endpoint.port,
                    ssl=endpoint.tls,
                    server_hostname=name,
                    limit=_HEAD_BYTES_MAX,
                )
        except ssl.SSLCertVerificationError as error:
            text = (
                f"{endpoint.address}: its certificate is not to be trusted: {error.verify_message}"
            )
            raise NoAnswerError(text, is_sent=False, is_retryable=False) from error
        except (OSError, TimeoutError) as error:
            text = f"{endpoint.address} cannot be reached: {str(error) or 'no connection in time'}"
            raise NoAnswerError(text, is_sent=False) from error
        return _Connection(reader, writer)

    def _release(self, connection: _Connection, headers: Mapping[str, str]) -> None:
        ends = headers.get("connection", "").lower() == "close"
        is_framed = "content-length" in headers or "transfer-encoding" in headers
        if ends or not is_framed or self._is_closed:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _head(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        content_type: str,
    ) -> bytes:
        target = endpoint.prefix + path + (f"?{urlencode(query)}" if query else "")
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {host}:{endpoint.port}",
            "Accept: application/json",
            f"User-Agent: {self._agent}",
        ]
        if endpoint.authorization:
            lines.append(f"Authorization: {endpoint.authorization}")
        if body or method in ("POST", "PUT", "PATCH"):
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        head = "\r\n".join(lines)
        assert head.count("\r\n") == len(lines) - 1, "no value holds the end of a line"
        return (head + "\r\n\r\n").encode()


class Stream:
    """An answer that is read as it comes.

    Args:
        what: the request, for messages.
        connection: where it comes from.
        status: HTTP's number.
        headers: names in lower case.
    """

    def __init__(
        self, what: str, connection: _Connection, status: int, headers: Mapping[str, str]
    ) -> None:
        self.status = status
        self.headers = headers
        self._what = what
        self._connection = connection

    async def read(self, timeout_seconds: float) -> bytes:
        """The whole body, where the answer is no stream.

        Raises:
            NoAnswerError: it did not come.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._connection.body(self.headers)
        except (TimeoutError, OSError, EOFError, ValueError) as error:
            raise NoAnswerError(f"{self._what}: {error}", is_sent=True) from error

    async def batches(self, silence_seconds: float) -> AsyncIterator[list[bytes]]:
        """The lines, as many at a time as have come; ends with the server's own end.

        Args:
            silence_seconds: how long nothing may come.

        Raises:
            NoAnswerError: the connection broke, or was silent for so long.
        """
        rest = b""
        chunks = self._connection.chunks()
        try:
            while True:  # Bound: the server ends it, or silence does.
                async with asyncio.timeout(silence_seconds):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > BODY_BYTES_MAX:
                    raise ValueError("a line without an end")
                if lines:
                    yield lines
        except TimeoutError as error:
            text = f"{self._what}: silent for {silence_seconds:g} s"
            raise NoAnswerError(text, is_sent=True) from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise NoAnswerError(f"{self._what}: {str(error) or 'cut off'}", is_sent=True) from error
        finally:
            await chunks.aclose()
        if rest:
            yield [rest]

    async def lines(self, silence_seconds: float) -> AsyncIterator[bytes]:
        """The same, line by line."""
        async for batch in self.batches(silence_seconds):
            for line in batch:
                yield line


def _no_answer(what: str, address: str, error: Exception, *, is_sent: bool) -> NoAnswerError:
    text = str(error) or type(error).__name__
    if isinstance(error, asyncio.IncompleteReadError):
        text = "the connection ended before the answer"
    return NoAnswerError(f"{what} at {address}: {text}", is_sent=is_sent)
