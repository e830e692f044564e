"""The server: connections, who may speak, how much at once, and answers on the wire.

Every answer that is not a success is a Status. What nobody foresaw is one too, a 500, and is
logged with its trace: it is a bug here, whatever came in.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from aiohttp import HttpVersion11, web

from herz.errors import WorldError
from herz.world.apiserver.http import discovery, forms, openapi
from herz.world.apiserver.http.parameters import BODY_BYTES_MAX
from herz.world.apiserver.http.paths import segments, target_of
from herz.world.apiserver.http.verbs import Answer, Asked, Verbs
from herz.world.apiserver.http.watches import BOOKMARK_S
from herz.world.apiserver.refusal import (
    RefusedError,
    no_such_path,
    not_allowed,
    unsupported_media,
)
from herz.world.apiserver.registry import Registry

LOG = logging.getLogger("herz.apiserver")
HEALTH = ("healthz", "livez", "readyz")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the server.

    Args:
        requests_max: requests that are carried out at once; more get 429.
        watches_max: open watches; more get 429.
        body_bytes_max: of a request; more gets 413.
        bookmark_s: see `watches.BOOKMARK_S`.
    """

    requests_max: int = 400
    watches_max: int = 2000
    body_bytes_max: int = BODY_BYTES_MAX
    bookmark_s: float = BOOKMARK_S


class ApiServer:
    """Serves a registry.

    Args:
        registry: the objects and their verbs.
        token: what a client must bear.
        tls: None serves in the clear.
        limits: how much at once.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        token: str,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._verbs = Verbs(registry, bookmark_s=self._limits.bookmark_s)
        self._token = token.encode()
        self._tls = tls
        self._requests = 0
        self._watches = 0
        self._server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            # Encoded bodies are refused: unpacked unasked, they would fail or grow behind our back.
            auto_decompress=False,
        )
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, and `port` says which.

        Raises:
            WorldError: the address cannot be had.
        """
        runner = web.ServerRunner(self._server, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        site = web.TCPSite(runner, host, port, ssl_context=self._tls, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise WorldError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Take no more requests; those under way get a second to end."""
        if self._runner is None:
            return
        transports = [connection.transport for connection in self._server.connections]
        await self._runner.cleanup()
        # TLS would wait for each client to say good-bye, too; some never do.
        for transport in transports:
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)

    # ---- one request ------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
            if answer.stream is not None:
                return await self._send_stream(request, answer)
            return _response(answer)
        except RefusedError as refused:
            return _refusal(refused)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            LOG.exception("%s %s", request.method, request.path)
            message = "an error on the server: this is a bug in Herz; its log has the trace"
            return _refusal(RefusedError(500, "InternalError", message))

    async def _answer(self, request: web.BaseRequest) -> Answer:
        parts = segments(request.rel_url.raw_path)
        if len(parts) <= 2 and parts[0] in HEALTH and request.method == "GET":
            return Answer(b"ok", media="text/plain")
        self._check_token(request.headers)
        if request.method not in _METHODS:
            raise not_allowed(request.method)
        plain = self._plain(request, parts)
        if plain is not None:
            return plain
        target = target_of(parts)
        encoding = _header(request, "Content-Encoding") or "identity"
        if encoding != "identity":
            raise unsupported_media(encoding, ["identity"])
        if self._requests >= self._limits.requests_max:
            raise _busy("too many requests")
        self._requests += 1
        try:
            body = await self._body(request)
            accept = _header(request, "Accept")
            media = _header(request, "Content-Type").partition(";")[0].strip().lower()
            query = request.rel_url.query
            return await self._verbs.answer(
                Asked(request.method, target, query, accept, media, body)
            )
        finally:
            self._requests -= 1

    def _check_token(self, headers: Mapping[str, str]) -> None:
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        is_known = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        if scheme.lower() != "bearer" or not is_known:
            raise RefusedError(401, "Unauthorized", "Unauthorized")

    def _plain(self, request: web.BaseRequest, parts: list[str]) -> Answer | None:
        """Discovery, version and OpenAPI; None for everything else."""
        if parts[0] not in ("api", "apis", "openapi", "version"):
            raise no_such_path()
        found = _document(request, parts)
        if found is None:
            return None
        if request.method != "GET":
            raise not_allowed(request.method)
        return found

    async def _body(self, request: web.BaseRequest) -> bytes:
        """The whole body, if it is not too large.

        Raises:
            RefusedError: 413.
        """
        most = self._limits.body_bytes_max
        length = request.content_length
        too_long = RefusedError(
            413, "RequestEntityTooLarge", f"limit is {most} bytes: the request is too large"
        )
        if length is not None and length > most:
            raise too_long
        if not request.body_exists:
            return b""
        chunks, size = [], 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > most:
                raise too_long
            chunks.append(chunk)
        return b"".join(chunks)

    async def _send_stream(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        assert answer.stream is not None
        if self._watches >= self._limits.watches_max:
            raise _busy("too many watches")
        self._watches += 1
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if request.version >= HttpVersion11:
            # A client of HTTP/1.0, as many proxies are, reads until the connection ends.
            response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            async for chunk in answer.stream.lines():
                await response.write(chunk)
            await response.write_eof()
        except ConnectionError:
            LOG.debug("a watch's reader went away")
        finally:
            self._watches -= 1
        return response


def _header(request: web.BaseRequest, name: str) -> str:
    """A header's value, or empty."""
    return _readable(request.headers.get(name, ""))


def _readable(value: str) -> str:
    """What a client said; bytes that are no UTF-8 are replaced, as answers repeat it."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _document(request: web.BaseRequest, parts: list[str]) -> Answer | None:
    """A document about the server itself."""
    accept = _header(request, "Accept")
    if parts == ["version"]:
        return Answer(msgspec.json.encode(discovery.VERSION))
    if parts[0] == "openapi":
        return _openapi(parts)
    if len(parts) == 1:
        version = discovery.aggregated_version(accept)
        if version:
            shown = discovery.aggregated(version, is_core=parts[0] == "api")
            media = discovery.AGGREGATED.format(version)
            return Answer(msgspec.json.encode(shown), media=media)
        is_core = parts[0] == "api"
        host = _readable(request.host)
        found = discovery.core_versions(host) if is_core else discovery.groups()
        return Answer(msgspec.json.encode(found))
    if parts[0] == "api" and len(parts) == 2:
        return _known(discovery.resources("", parts[1]))
    if parts[0] == "apis" and len(parts) == 2:
        return _known(discovery.group(parts[1]))
    if parts[0] == "apis" and len(parts) == 3:
        return _known(discovery.resources(parts[1], parts[2]))
    return None


def _known(found: dict[str, object] | None) -> Answer:
    if found is None:
        raise no_such_path()
    return Answer(msgspec.json.encode(found))


def _openapi(parts: list[str]) -> Answer:
    if parts == ["openapi", "v3"]:
        return Answer(openapi.index())
    if parts[:2] == ["openapi", "v2"]:
        raise forms.not_acceptable("application/json at /openapi/v3")
    if parts[:3] == ["openapi", "v3", "api"] and len(parts) == 4:
        found = openapi.document("", parts[3])
    elif parts[:3] == ["openapi", "v3", "apis"] and len(parts) == 5:
        found = openapi.document(parts[3], parts[4])
    else:
        found = None
    if found is None:
        raise no_such_path()
    return Answer(found)


def _response(answer: Answer) -> web.Response:
    response = web.Response(body=answer.body, status=answer.code)
    response.headers["Content-Type"] = answer.media
    response.headers["Cache-Control"] = "no-cache, private"
    for text in answer.warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        printable = "".join(
            item if item.isprintable() and item.isascii() else "?" for item in quoted
        )
        response.headers.add("Warning", f'299 - "{printable}"')
    return response


def _refusal(refused: RefusedError) -> web.Response:
    response = _response(Answer(msgspec.json.encode(refused.status), refused.code))
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    if refused.code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="herz"'
    return response


def _busy(what: str) -> RefusedError:
    message = f"{what}, please try again later"
    return RefusedError(429, "TooManyRequests", message, retry_after_s=1)
