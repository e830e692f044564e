"""How much is asked of the API server at once: a rate, a number under way, and its own word."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from herz.world.kube.metrics import Observer
from herz.world.kube.transport import NoAnswerError, Reply, Transport

TRIES_MAX: Final = 12
"""How often a request that is throttled is sent."""
RETRY_AFTER_SECONDS_MAX: Final = 30.0
SERVERS_SHARE: Final = 0.8
"""Of a write's time: the server gives it up sooner than we do, so that none is carried out later
than anybody waits for it."""
_SUBRESOURCES: Final = ("binding", "eviction", "status")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one kind of requests.

    Args:
        rate: requests a second over time; 0: as many as the server takes.
        burst: how many may come at once; unused without a rate.
        in_flight_max: requests without an answer yet.
    """

    rate: float = 0
    burst: int = 1
    in_flight_max: int = 32


class Calls:
    """Requests within limits; those that the server throttles are repeated when it says so.

    A 429 was not carried out (Kubernetes' priority and fairness refuses before it acts), so it
    may be repeated whatever it asks.

    Args:
        transport: sends them.
        limits: the bounds.
        may_write: asked right before a write is sent: not for a replica that does not lead.
        write_seconds_max: after which every write is given up.
        observer: told of each write.
    """

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        may_write: Callable[[], bool] = lambda: True,
        *,
        write_seconds_max: float = math.inf,
        observer: Observer | None = None,
    ) -> None:
        self.may_write = may_write
        self._write_seconds_max = write_seconds_max
        self._observer = observer
        self._transport = transport
        self._limits = limits
        self._turn = asyncio.Semaphore(limits.in_flight_max)
        self._tokens = float(limits.burst)
        self._counted_at = 0.0
        self._resume_at = 0.0
        self.throttled = 0
        """How many 429 came."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] = _NONE,
        body: bytes = b"",
        content_type: str = "application/json",
        timeout_seconds: float,
        is_repeated: bool = True,
    ) -> Reply:
        """One request, as `Transport.request`; waiting for a turn does not count as its time.

        Args:
            method: the verb.
            path: from the server's root, escaped already.
            query: what follows the question mark.
            body: the content.
            content_type: of the body.
            timeout_seconds: of each try.
            is_repeated: whether a 429 is; if not, or after `TRIES_MAX` of them, it is the answer.

        Raises:
            NoAnswerError: none came; or it was not sent, for another replica may lead.
        """
        given = query
        async with self._turn:
            for left in range(TRIES_MAX - 1, -1, -1):
                await self._paced()
                seconds = timeout_seconds
                if method != "GET":
                    if not self.may_write():
                        text = f"{method} {path}: another replica may lead"
                        raise NoAnswerError(text, is_sent=False, is_retryable=False)
                    seconds = min(seconds, self._write_seconds_max)
                    query = {**given, "timeout": f"{1000 * seconds * SERVERS_SHARE:.0f}ms"}
                with self._watched(method, path) as note:
                    reply = await self._transport.request(
                        method,
                        path,
                        query=query,
                        body=body,
                        content_type=content_type,
                        timeout_seconds=seconds,
                    )
                    note.append(str(reply.status))
                if reply.status != 429:
                    return reply
                self.throttled += 1
                if not is_repeated or not left:
                    return reply
                self._hold(reply)
        raise AssertionError("the last try returns")

    @contextmanager
    def _watched(self, method: str, path: str) -> Iterator[list[str]]:
        """Tell the observer how the write ended: with the code that is put in, or with none."""
        if self._observer is None or method == "GET":
            yield []
            return
        code: list[str] = []
        began = time.monotonic_ns()
        try:
            yield code
        finally:
            took = time.monotonic_ns() - began
            self._observer.wrote(_named(method, path), code[0] if code else "none", took)

    def _hold(self, reply: Reply) -> None:
        """Nothing more is sent before the server wants it."""
        seconds = min(retry_after(reply), RETRY_AFTER_SECONDS_MAX)
        at = asyncio.get_running_loop().time() + seconds
        self._resume_at = max(self._resume_at, at)

    async def _paced(self) -> None:
        loop = asyncio.get_running_loop()
        while (wait := self._resume_at - loop.time()) > 0:
            # Not all at the same instant.
            await asyncio.sleep(wait * random.uniform(1, 1.1))
        if not self._limits.rate:
            return
        while True:  # Bound: the tokens that are missing, at the rate.
            now = loop.time()
            grown = self._tokens + (now - self._counted_at) * self._limits.rate
            self._tokens = min(grown, float(self._limits.burst))
            self._counted_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._limits.rate)


def _named(method: str, path: str) -> str:
    """What a write is about: `binding`, `status`, `pods`, `events`; and `delete` before it."""
    last, *before = reversed(path.split("/"))
    what = last if last in _SUBRESOURCES or method == "POST" else before[0]
    return f"delete {what}" if method == "DELETE" else what


def retry_after(reply: Reply) -> float:
    """The seconds of a Retry-After header; 1 where it names none."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 6 else 1.0
