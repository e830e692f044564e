"""Instant queries over Prometheus' HTTP API.

In: a query in PromQL. Out: series with their last value. What goes wrong has a name, which people
see and counters have; nothing that a server says or does ends more than the one query.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from herz.errors import ConfigError, WorldError

UNREACHABLE: Final = "metrics-unreachable"
SLOW: Final = "metrics-slow"
BROKEN: Final = "metrics-broken"
REFUSED: Final = "metrics-refused"
ABSENT: Final = "metrics-absent"
NOT_A_NUMBER: Final = "metrics-nan"
NAMES: Final = (UNREACHABLE, SLOW, BROKEN, REFUSED, ABSENT, NOT_A_NUMBER)
"""What may be wrong with a query, by name."""
BYTES_MAX: Final = 16 << 20
"""Bound of an answer."""
SERIES_MAX: Final = 100_000
"""Bound: series of an answer."""
SECONDS_MAX: Final = 3_600


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where measurements come from.

    Args:
        url: the server's, such as `http://prometheus:9090`, with whatever path stands before /api.
        signals: by name of a signal, the query that gives it by node, in the signal's unit.
        every_seconds: from one sample to the next.
        timeout_seconds: after which a query is given up.
        valid_seconds: how long a sample stands; older series do not count at all.
        node_label: the label that names a series' node.
        token_file: holds what is sent as the bearer's token; empty: nothing is.
    """

    url: str
    signals: dict[str, str] = msgspec.field(default_factory=dict)
    every_seconds: int = 30
    timeout_seconds: int = 10
    valid_seconds: int = 120
    node_label: str = "node"
    token_file: str = ""

    def check(self, where: str, known: Mapping[str, object]) -> None:
        """See that they can be used.

        Args:
            where: the file, for errors.
            known: the signals that there are.

        Raises:
            ConfigError: they cannot; names the key.
        """
        if not self.url.startswith(("http://", "https://")):
            fix = "write it as http://HOST:PORT"
            raise ConfigError("no URL of a server", where=f"{where} url", value=self.url, fix=fix)
        for name in ("every_seconds", "timeout_seconds", "valid_seconds"):
            value = getattr(self, name)
            if not 1 <= value <= SECONDS_MAX:
                fix = f"give seconds from 1 to {SECONDS_MAX}"
                raise ConfigError("out of range", where=f"{where} {name}", value=value, fix=fix)
        for name in self.signals:
            if name not in known:
                fix = f"use some of {', '.join(known)}"
                raise ConfigError("no such signal", where=f"{where} signals", value=name, fix=fix)


class MetricsError(WorldError):
    """A query gave nothing to go by; `name` says why, in one of `NAMES`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message, is_retryable=True)
        self.name = name


class Series(msgspec.Struct, frozen=True, gc=False):
    """One series' labels and value, which is a number."""

    labels: dict[str, str]
    value: float


class _Result(msgspec.Struct, frozen=True):
    value: tuple[float, str]
    metric: dict[str, str] = {}


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    data: _Data | None = None
    error_type: str = ""
    error: str = ""


class Prometheus:
    """A server.

    Args:
        settings: which, and how.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._url = f"{settings.url.rstrip('/')}/api/v1/query"
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def query(self, text: str) -> list[Series]:
        """The series that a query gives now, those that are no numbers left out.

        Raises:
            MetricsError: there is nothing to go by; its name says why.
        """
        status, body = await self._asked(text)
        try:
            answer = msgspec.json.decode(body, type=_Answer)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise MetricsError(BROKEN, f"answer {status} is not the API's: {error}") from error
        if answer.status != "success" or answer.data is None:
            said = " ".join(f"{answer.error_type}: {answer.error}".split())[:200]
            raise MetricsError(REFUSED, f"the server refuses the query: {said}")
        found = _series(answer.data)
        if not found:
            raise MetricsError(ABSENT, "no series")
        numbers = [one for one in found if math.isfinite(one.value)]
        if not numbers:
            raise MetricsError(NOT_A_NUMBER, f"none of {len(found)} series is a number")
        return numbers

    async def _asked(self, text: str) -> tuple[int, bytes]:
        seconds = self.settings.timeout_seconds
        # A query of its own look-back: what is older than a sample may be is not there.
        given = {"lookback_delta": f"{self.settings.valid_seconds}s", "timeout": f"{seconds}s"}
        try:
            async with (
                asyncio.timeout(seconds),
                self._opened().post(
                    self._url, data={"query": text, **given}, headers=self._headers()
                ) as reply,
            ):
                body = await reply.content.read(BYTES_MAX + 1)
                while len(body) <= BYTES_MAX and not reply.content.at_eof():
                    body += await reply.content.read(BYTES_MAX + 1 - len(body))
                if len(body) > BYTES_MAX:
                    raise MetricsError(BROKEN, f"an answer of more than {BYTES_MAX} bytes")
                return reply.status, body
        except TimeoutError as error:
            raise MetricsError(SLOW, f"no answer in {seconds} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MetricsError(UNREACHABLE, f"{self._url}: {error}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        return self._session

    def _headers(self) -> dict[str, str]:
        name = self.settings.token_file
        # Read each time: tokens are changed while we run.
        return {"Authorization": f"Bearer {Path(name).read_text().strip()}"} if name else {}


def _series(data: _Data) -> list[Series]:
    try:
        if data.result_type == "scalar":
            pair = msgspec.json.decode(data.result, type=tuple[float, str])
            return [Series({}, float(pair[1]))]
        if data.result_type != "vector":
            raise MetricsError(REFUSED, f"the query gives a {data.result_type}, not one value each")
        results = msgspec.json.decode(data.result, type=list[_Result])
        if len(results) > SERIES_MAX:
            raise MetricsError(BROKEN, f"{len(results)} series, {SERIES_MAX} are the most")
        return [Series(one.metric, float(one.value[1])) for one in results]
    except (msgspec.MsgspecError, ValueError) as error:
        raise MetricsError(BROKEN, f"values that are none: {error}") from error
