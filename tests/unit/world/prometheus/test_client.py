"""Servers of metrics that are slow, broken or not there: each by name, and nothing else ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from herz.errors import ConfigError
from herz.front.cli.metering import metrics_settings
from herz.knowledge.sla.state import SIGNALS
from herz.world.prometheus import client
from herz.world.prometheus.client import MetricsError, Prometheus, Settings
from herz.world.prometheus.source import Source
from tests.support.prometheus import Handler, never, serving


def says(text: str, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        del request
        return web.Response(text=text, status=status)

    return handler


def problem(handler: Handler, *, timeout_seconds: int = 5) -> MetricsError:
    """What a query to such a server ends in."""

    async def asked() -> None:
        async with serving(handler) as url:
            found = Prometheus(Settings(url=url, timeout_seconds=timeout_seconds))
            try:
                await found.query("up")
            finally:
                await found.close()

    with pytest.raises(MetricsError) as caught:
        asyncio.run(asked())
    return caught.value


VECTOR = '{"status":"success","data":{"resultType":"vector","result":%s}}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<html>", client.BROKEN),
        ("", client.BROKEN),
        ("\ufffd", client.BROKEN),
        ("[]", client.BROKEN),
        (VECTOR % '[{"metric":{},"value":[1,"many"]}]', client.BROKEN),
        (VECTOR % '[{"metric":{},"value":[1]}]', client.BROKEN),
        (VECTOR % "{}", client.BROKEN),
        (VECTOR % "[]", client.ABSENT),
        (VECTOR % '[{"metric":{},"value":[1,"NaN"]}]', client.NOT_A_NUMBER),
        ('{"status":"success"}', client.REFUSED),
        ('{"status":"error","errorType":"timeout","error":"too long"}', client.REFUSED),
    ],
)
def test_answers_that_are_none_have_a_name(text: str, name: str) -> None:
    found = problem(says(text))
    assert found.name == name
    assert name in client.NAMES


def test_errors_of_a_proxy_are_no_answers() -> None:
    found = problem(says("bad gateway", 502))
    assert found.name == client.BROKEN
    assert "502" in str(found)


def test_answer_beyond_the_bound_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BYTES_MAX", 100)
    assert "more than 100 bytes" in str(problem(says("x" * 101)))


def test_slow_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "timeout", lambda _: asyncio.timeouts.timeout(0.02))
    assert problem(never).name == client.SLOW


def test_server_that_is_not_there_is_named_and_scheduling_goes_on() -> None:
    async def sampled() -> Source:
        server = Prometheus(
            Settings(url="http://127.0.0.1:1", signals=dict.fromkeys(SIGNALS, "up"))
        )
        source = Source(server)
        assert await source.sample({"n0"}) == []
        await server.close()
        return source

    source = asyncio.run(sampled())
    name = f'herz_metrics_problems_total{{reason="{client.UNREACHABLE}"}}'
    assert source.counters == {name: len(SIGNALS)}
    assert len(source.problems) == len(SIGNALS)


def test_token_is_read_each_time(tmp_path: Path) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(text=VECTOR % '[{"metric":{},"value":[1,"1"]}]')

    async def asked() -> None:
        async with serving(handler) as url:
            token = tmp_path / "token"
            found = Prometheus(Settings(url=url, token_file=str(token)))
            for text in ("one\n", "two"):
                token.write_text(text, encoding="utf-8")
                await found.query("up")
            token.unlink()
            with pytest.raises(MetricsError, match="No such file"):
                await found.query("up")
            await found.close()

    asyncio.run(asked())
    assert seen == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "missing required field `url`"),
        ('url = "prometheus:9090"', "no URL of a server"),
        ('url = "http://p"\nevery_seconds = 0', "out of range"),
        ('url = "http://p"\nqueries = 1', "unknown field `queries`"),
        ('url = "http://p"\n[signals]\nmoonlight = "1"', "no such signal"),
        ('url = "http://p"\nvalid_seconds = "long"', "Expected `int`"),
    ],
)
def test_settings_that_are_wrong_name_the_key(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "metrics.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        metrics_settings(str(path))
    assert what.lower() in str(caught.value).lower()
    assert caught.value.fix
