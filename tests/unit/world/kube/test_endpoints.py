"""The endpoints: Kubernetes' forms of health, the token, bad settings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from herz.errors import ConfigError, WorldError
from herz.world.kube.endpoints import (
    METRICS_TYPE,
    Health,
    Serving,
    make_app,
    self_signed,
    start_endpoints,
)


def ask(
    path: str, *before: str, wrong: str = "", bears: str = "", given: str = ""
) -> tuple[int, str]:
    """What is answered, where the check `sync` says that."""

    async def metrics() -> bytes:
        if wrong:
            raise WorldError("it is not there yet")
        return b"a_metric 1\n"

    async def run() -> tuple[int, str]:
        health = Health({"ping": lambda: ""}, {"sync": lambda: wrong})
        app = make_app(health, {"/metrics": (metrics, METRICS_TYPE)}, bears)
        headers = {"Authorization": given} if given else {}
        async with TestClient(TestServer(app)) as client:
            for one in before:
                await client.get(one)
            answer = await client.get(path, headers=headers)
            return answer.status, await answer.text()

    return asyncio.run(run())


def test_health_has_kubernetes_forms() -> None:
    assert ask("/healthz") == (200, "ok")
    assert ask("/livez", wrong="lost") == (200, "ok"), "what is not ready may live"
    assert ask("/readyz", wrong="lost") == (
        500,
        "[+]ping ok\n[-]sync failed: reason withheld\nreadyz check failed\n",
    )
    assert ask("/readyz?verbose") == (200, "[+]ping ok\n[+]sync ok\nreadyz check passed\n")
    assert ask("/readyz?exclude=sync", wrong="lost") == (200, "ok")
    assert ask("/readyz/sync", wrong="lost")[0] == 500
    assert ask("/readyz/ping", wrong="lost") == (200, "ok")
    assert ask("/readyz/nothing")[0] == 404


def test_metrics_want_the_token_where_there_is_one_and_health_does_not() -> None:
    assert ask("/metrics") == (200, "a_metric 1\n")
    assert ask("/metrics", bears="t")[0] == 401
    assert ask("/metrics", bears="t", given="Bearer T")[0] == 401
    assert ask("/metrics", bears="t", given="Bearer t") == (200, "a_metric 1\n")
    assert ask("/healthz", bears="t") == (200, "ok")


def test_how_checks_ended_is_shown_as_kubernetes_does() -> None:
    code, text = ask("/metrics/slis", "/readyz", "/readyz", "/livez", wrong="lost")
    assert code == 200
    for line in (
        'kubernetes_healthcheck{name="sync",type="readyz"} 0.0',
        'kubernetes_healthcheck{name="ping",type="readyz"} 1.0',
        'kubernetes_healthchecks_total{name="sync",status="error",type="readyz"} 2.0',
        'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 1.0',
    ):
        assert line in text.splitlines()
    assert ask("/metrics/slis", bears="t")[0] == 401


def test_metrics_that_cannot_be_had_are_503() -> None:
    assert ask("/metrics", wrong="x") == (503, "it is not there yet\n")


def test_bad_settings_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without its key") as error:
        Serving(certificate="c")
    assert "--tls-cert-file" in error.value.where
    (tmp_path / "empty").touch()
    for name in ("absent", "empty"):
        with pytest.raises(ConfigError, match="no token"):
            Serving(token_file=str(tmp_path / name)).token()
    (tmp_path / "token").write_text("abc\n", encoding="ascii")
    assert Serving(token_file=str(tmp_path / "token")).token() == "abc"
    with pytest.raises(ConfigError, match="cannot be used"):
        Serving(certificate=str(tmp_path / "empty"), key=str(tmp_path / "empty")).context()


def test_the_key_of_a_self_signed_certificate_is_its_owners_alone(tmp_path: Path) -> None:
    _, key = self_signed(tmp_path / "made", "127.0.0.1")
    assert key.stat().st_mode & 0o077 == 0


def test_an_address_that_is_taken_is_an_error_of_the_outside(tmp_path: Path) -> None:
    async def run() -> None:
        serving = Serving("127.0.0.1", 0, folder=tmp_path)
        first = await start_endpoints(serving, Health({}, {}), {})
        try:
            taken = Serving("127.0.0.1", first.port, folder=tmp_path)
            with pytest.raises(WorldError, match=f"127.0.0.1:{first.port}"):
                await start_endpoints(taken, Health({}, {}), {})
        finally:
            await first.stop()

    asyncio.run(run())
