"""The fault proxy does what it says: each fault seen from the client, and what the server did."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from herz.world.apiserver.embedded import Settings, start_embedded
from herz.world.kube.kubeconfig import Access
from herz.world.kube.transport import NoAnswerError, Transport
from tests.support.proxy import Fault, Faults, Proxy

CONFIGS = "/api/v1/namespaces/default/configmaps"
BODY = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}'
pytestmark = pytest.mark.slow


@asynccontextmanager
async def between(folder: Path, fault: Fault) -> AsyncIterator[tuple[Proxy, Transport, Transport]]:
    """A server, a proxy that breaks every request so, a transport through it, and one past it."""
    cluster = await start_embedded(Settings(folder))
    trust = ssl.create_default_context(cafile=str(cluster.access.ca))
    faults = Faults(0, 1000, 1000, 1000, 1000, frozenset({fault}))
    proxy = Proxy(("127.0.0.1", cluster.port), trust, cluster.access.context(), faults)
    await proxy.start()
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
    path = folder / "through"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    through, past = Transport(Access(path)), Transport(Access(cluster.kubeconfig))
    try:
        yield proxy, through, past
    finally:
        await through.closed()
        await past.closed()
        await proxy.stop()
        await cluster.stop()


async def until_broken(proxy: Proxy, through: Transport) -> int | None:
    """Write until the fault is met; the status that the client saw, None for no answer."""
    for _ in range(200):
        try:
            reply = await through.request("POST", CONFIGS, body=BODY, timeout_seconds=1.5)
        except NoAnswerError:
            assert proxy.seen[-1].fault
            return None
        if proxy.seen[-1].fault:
            return reply.status
    raise AssertionError("the fault never came")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault.REFUSED, 500),
        (Fault.REFUSED_AFTER, 500),
        (Fault.CONFLICT, 409),
        (Fault.BUSY, 429),
        (Fault.SILENT_BEFORE, None),
        (Fault.SILENT_AFTER, None),
        (Fault.RESET_AFTER, None),
        (Fault.SLOW, 409),
    ],
)
def test_a_write_is_broken_as_it_says(tmp_path: Path, fault: Fault, seen: int | None) -> None:
    async def run() -> None:
        async with between(tmp_path, fault) as (proxy, through, past):
            proxy.faults.only = frozenset({fault})
            assert await until_broken(proxy, through) in (
                seen,
                201 if fault is Fault.SLOW else seen,
            )
            last = proxy.seen[-1]
            has_effect = fault in (
                Fault.REFUSED_AFTER,
                Fault.SILENT_AFTER,
                Fault.RESET_AFTER,
                Fault.SLOW,
            )
            assert (last.status in (201, 409)) == has_effect, "the server was asked, or was not"
            assert proxy.faults.counts == {fault.value: 1}
            assert (await past.request("GET", CONFIGS, timeout_seconds=5)).status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "fault", [Fault.GONE, Fault.GONE_INSIDE, Fault.DROPPED, Fault.HALF_OPEN, Fault.REFUSED]
)
def test_a_watch_is_broken_as_it_says(tmp_path: Path, fault: Fault) -> None:
    async def run() -> None:
        async with between(tmp_path, fault) as (proxy, through, past):
            for _ in range(30):
                if found := await watch(proxy, through, past):
                    break
            expected = {
                Fault.GONE: "410",
                Fault.GONE_INSIDE: "expired",
                Fault.DROPPED: "broke",
                Fault.HALF_OPEN: "silent",
                Fault.REFUSED: "500",
            }
            assert found == expected[fault]

    asyncio.run(run())


async def watch(proxy: Proxy, through: Transport, past: Transport) -> str:
    """How a watch ends into which the server writes: empty where its own end came."""
    query = {"watch": "1", "timeoutSeconds": "1"}
    try:
        async with through.stream(CONFIGS, query=query, timeout_seconds=5) as stream:
            if stream.status != 200:
                return str(stream.status)
            for index in range(25):
                body = BODY.replace(b'"x"', f'"x{len(proxy.seen)}-{index}"'.encode())
                await past.request("POST", CONFIGS, body=body, timeout_seconds=5)
            async for line in stream.lines(silence_seconds=2.5):
                if b'"Expired"' in line:
                    return "expired"
    except NoAnswerError as error:
        return "silent" if "silent" in str(error) else "broke"
    return ""


def test_the_same_seed_chooses_the_same_faults() -> None:
    def chosen(seed: int) -> list[Fault | None]:
        faults = Faults(seed, writes=300, watches=300)
        return [
            faults.choose("POST" if index % 2 else "GET", "/api/v1/pods", is_watch=index % 2 == 0)
            for index in range(200)
        ]

    assert chosen(3) == chosen(3) != chosen(4)
    assert len({one for one in chosen(3) if one}) == 12


def test_nothing_is_broken_while_it_is_off(tmp_path: Path) -> None:
    async def run() -> None:
        async with between(tmp_path, Fault.REFUSED) as (proxy, through, _):
            proxy.faults.is_on = False
            for _ in range(20):
                reply = await through.request("GET", CONFIGS, timeout_seconds=5)
                assert reply.status == 200
            assert not any("Bearer" in str(one) for one in proxy.seen)

    asyncio.run(run())
