"""The HTTP server of a witness: `add-checkpoint`, and its last checkpoint of each log.

Reads at most 64 KiB of a request. The answers are made elsewhere, one at a time: each waits for
the disk, and no two may compare with the same memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

from aiohttp import web

from herz.errors import WorldError

READ_BYTES_MAX: Final = 65_536
REQUESTS_MAX: Final = 64
"""Bound: requests that are read or wait for their turn; more are told to come later."""


class Reply(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int:
        """Its status."""
        ...

    @property
    def body(self) -> bytes:
        """Its body."""
        ...

    @property
    def media(self) -> str:
        """Its media type."""
        ...


class Witness:
    """A witness that listens.

    Args:
        answer: answers the body of an `add-checkpoint` at a time in seconds since 1970.
        latest: gives the last checkpoint by the hash of a log's origin.
    """

    def __init__(
        self, answer: Callable[[bytes, int], Reply], latest: Callable[[str], Reply]
    ) -> None:
        self._answer = answer
        self._latest = latest
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; gives the address, with the port that was chosen where 0 was asked for.

        Raises:
            WorldError: the address cannot be had.
        """
        self._runner = self.runner()
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise WorldError(f"cannot listen on {host} port {port}: {error.strerror}") from error
        found = self._runner.addresses[0]
        return str(found[0]), int(found[1])

    def runner(self) -> web.AppRunner:
        """What it answers to which request; who hangs up in the middle of one is let go."""
        app = web.Application(client_max_size=READ_BYTES_MAX)
        app.router.add_post("/add-checkpoint", self._add)
        app.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", self._checkpoint)
        return web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=1,
            auto_decompress=False,
            handler_cancellation=True,
        )

    async def stop(self) -> None:
        """End; requests that have begun are answered."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _add(self, request: web.Request) -> web.Response:
        if self._waiting >= REQUESTS_MAX:
            return web.Response(status=503, text="too many requests\n")
        self._waiting += 1
        try:
            try:
                body = await request.read()
            except web.HTTPRequestEntityTooLarge:
                return web.Response(status=413, text=f"more than {READ_BYTES_MAX} bytes\n")
            async with self._turn:
                return _response(lambda: self._answer(body, int(time.time())))
        finally:
            self._waiting -= 1

    async def _checkpoint(self, request: web.Request) -> web.Response:
        return _response(lambda: self._latest(request.match_info["origin"]))


def _response(ask: Callable[[], Reply]) -> web.Response:
    try:
        found = ask()
    except WorldError as error:
        return web.Response(status=500, text=f"{error}\n")
    headers = {"Content-Type": found.media}
    return web.Response(status=found.status, body=found.body, headers=headers)
