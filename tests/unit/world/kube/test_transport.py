"""The transport against servers that answer as they should, and against others that do not."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from herz.errors import ConfigError
from herz.world.apiserver.embedded import Embedded, Settings
from herz.world.apiserver.kubelets import Shape
from herz.world.kube.kubeconfig import Access, Endpoint
from herz.world.kube.transport import NoAnswerError, Transport
from tests.support.cluster import running

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with running(Settings(tmp_path_factory.mktemp("cluster"), nodes=Shape(3))) as embedded:
        yield embedded


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30))


def written(
    folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None], **top: Any
) -> Path:
    """A kubeconfig whose cluster and user were changed."""
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        **top,
    }
    change(content["clusters"][0]["cluster"], content["users"][0]["user"])
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def changed(cluster: Embedded, folder: Path, **changes: str | None) -> Path:
    """The embedded cluster's kubeconfig with other entries; None takes one out."""
    content = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))

    def change(target: dict[str, Any], user: dict[str, Any]) -> None:
        target |= content["clusters"][0]["cluster"]
        user |= content["users"][0]["user"]
        for name, value in changes.items():
            where = user if name == "token" else target
            where.pop(name.replace("_", "-"), None)
            if value is not None:
                where[name.replace("_", "-")] = value

    return written(folder, change)


@asynccontextmanager
async def serving(folder: Path, handler: Handler) -> AsyncIterator[Transport]:
    """A server without TLS that does as the handler does."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError, OSError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = written(folder, lambda target, _: target.update(server=f"http://127.0.0.1:{port}"))
    transport = Transport(Access(path))
    try:
        yield transport
    finally:
        await transport.closed()
        server.close()
        await server.wait_closed()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def test_answers_come_whole_whatever_their_status(cluster: Embedded) -> None:
    async def work() -> None:
        transport = Transport(Access(cluster.kubeconfig))
        found = await transport.request("GET", "/api/v1/nodes/node-1", timeout_seconds=5)
        assert found.status == 200
        assert b'"node-1"' in found.body
        missing = await transport.request("GET", "/api/v1/nodes/none", timeout_seconds=5)
        assert missing.status == 404
        content = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}'
        path = "/api/v1/namespaces/default/configmaps"
        made = await transport.request("POST", path, body=content, timeout_seconds=5)
        assert (made.status, made.is_success) == (201, True)
        await transport.closed()

    run(work())


def test_watches_come_line_by_line(cluster: Embedded) -> None:
    async def work() -> None:
        transport = Transport(Access(cluster.kubeconfig))
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "1"}
        async with transport.stream("/api/v1/nodes", query=query, timeout_seconds=5) as stream:
            assert stream.status == 200
            lines = [line async for line in stream.lines(5)]
        assert [b'"node-%d"' % number in lines[number] for number in range(3)] == [True] * 3
        await transport.closed()

    run(work())


def test_connections_are_kept(tmp_path: Path) -> None:
    opened = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while await request_of(reader):
            writer.write(OK)

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            for _ in range(5):
                await transport.request("GET", "/", timeout_seconds=5)
            await asyncio.gather(
                *(transport.request("GET", "/", timeout_seconds=5) for _ in range(3))
            )

    run(work())
    assert opened == 3


def test_a_connection_that_the_server_closed_is_not_used_again(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)
        writer.close()

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            for method in ("GET", "POST", "GET"):
                reply = await transport.request(method, "/", timeout_seconds=5)
                assert reply.body == b"{}"
                # The end of the connection is seen before it is used again.
                while not all(one.reader.at_eof() for one in transport._idle):
                    await asyncio.sleep(0)

    run(work())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    ],
)
def test_an_answer_that_is_none_leaves_the_outcome_unknown(tmp_path: Path, answer: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer)
        writer.close()

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            with pytest.raises(NoAnswerError, match="its outcome is unknown") as caught:
                await transport.request("POST", "/", body=b"{}", timeout_seconds=5)
            assert caught.value.is_sent
            assert caught.value.is_retryable

    run(work())


def test_silence_is_a_time_out_whose_outcome_is_unknown(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await reader.read()

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            with pytest.raises(NoAnswerError, match=r"POST /a: no answer within 0\.1 s") as caught:
                await transport.request("POST", "/a", timeout_seconds=0.1)
            assert caught.value.is_sent

    run(work())


def test_what_was_not_sent_has_a_known_outcome(tmp_path: Path) -> None:
    path = written(tmp_path, lambda target, _: target.update(server="http://127.0.0.1:1"))

    async def work() -> None:
        transport = Transport(Access(path))
        with pytest.raises(NoAnswerError, match=r"cannot be reached.*it was not sent") as caught:
            await transport.request("POST", "/", timeout_seconds=5)
        assert not caught.value.is_sent
        transport.close()
        with pytest.raises(NoAnswerError, match="transport is closed"):
            await transport.request("GET", "/", timeout_seconds=5)

    run(work())


def test_a_silent_stream_ends_with_an_error_and_an_ended_one_without(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        # A line in two chunks, and two lines in one.
        for part in (b'{"a"', b":1}\n", b"{}\n{}\n", b"rest"):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
        if b"/ends" in head:
            writer.write(b"0\r\n\r\n")
        elif b"/breaks" in head:
            writer.close()
        await reader.read()

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            async with transport.stream("/ends", timeout_seconds=5) as stream:
                assert [line async for line in stream.lines(5)] == [
                    b'{"a":1}',
                    b"{}",
                    b"{}",
                    b"rest",
                ]
            for path, words in (("/breaks", "breaks"), ("/", "silent for 0.1 s")):
                async with transport.stream(path, timeout_seconds=5) as stream:
                    with pytest.raises(NoAnswerError, match=words):
                        [line async for line in stream.lines(0.1)]
            assert not transport._streams

    run(work())


def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    at_once = most = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        while await request_of(reader):
            at_once += 1
            most = max(most, at_once)
            for _ in range(20):
                await asyncio.sleep(0)
            at_once -= 1
            writer.write(OK)

    async def work() -> None:
        async with serving(tmp_path, handler) as transport:
            bounded = Transport(transport._access, connections_max=2)
            await asyncio.gather(
                *(bounded.request("GET", "/", timeout_seconds=5) for _ in range(20))
            )
            await bounded.closed()

    run(work())
    assert most == 2


def test_the_certificate_is_verified(cluster: Embedded, tmp_path: Path) -> None:
    async def fails(path: Path, words: str) -> None:
        transport = Transport(Access(path))
        with pytest.raises(NoAnswerError, match=words) as caught:
            await transport.request("GET", "/livez", timeout_seconds=5)
        assert not caught.value.is_sent
        assert not caught.value.is_retryable
        await transport.closed()

    stranger = changed(cluster, tmp_path, certificate_authority_data=None)
    run(fails(stranger, "certificate is not to be trusted"))
    run(fails(changed(cluster, tmp_path, tls_server_name="other.example"), "other.example"))


def test_a_wrong_token_is_an_answer(cluster: Embedded, tmp_path: Path) -> None:
    path = changed(cluster, tmp_path, token="wrong")

    async def work() -> None:
        transport = Transport(Access(path))
        reply = await transport.request("GET", "/api/v1/nodes", timeout_seconds=5)
        assert reply.status == 401
        # The file is read again on a 401: the next request has the other token.
        changed(cluster, tmp_path)
        reply = await transport.request("GET", "/api/v1/nodes", timeout_seconds=5)
        assert reply.status == 200
        await transport.closed()

    run(work())


def test_an_exec_plugin_gives_the_token_and_is_asked_again_when_it_is_refused(
    cluster: Embedded, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("old", encoding="utf-8")
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"""#!{sys.executable}
import json, pathlib
status = {{"token": pathlib.Path({str(token)!r}).read_text()}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": status}}))
""",
        encoding="utf-8",
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    content = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}

    def change(target: dict[str, Any], user: dict[str, Any]) -> None:
        target |= content["clusters"][0]["cluster"]
        user["exec"] = {**command, "interactiveMode": "Never"}

    path = written(tmp_path, change)

    async def work() -> None:
        transport = Transport(Access(path))
        reply = await transport.request("GET", "/api/v1/nodes", timeout_seconds=20)
        assert reply.status == 401
        token.write_text(content["users"][0]["user"]["token"], encoding="utf-8")
        reply = await transport.request("GET", "/api/v1/nodes", timeout_seconds=20)
        assert reply.status == 200
        plugin.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
        transport._access.endpoint = refused(transport._access)
        with pytest.raises(NoAnswerError, match="no credentials"):
            await transport.request("GET", "/api/v1/nodes", timeout_seconds=20)
        await transport.closed()

    run(work())


def refused(access: Access) -> Endpoint:
    return replace(access.endpoint, authorization="Bearer wrong")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify is refused"),
        ({"proxy-url": "http://127.0.0.1:2"}, "proxies are not supported"),
        ({"server": "tcp://127.0.0.1:1"}, "not the URL of a server"),
        ({"certificate-authority": "missing.pem"}, "missing.pem"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_refused(
    tmp_path: Path, target: dict[str, Any], words: str
) -> None:
    def change(found: dict[str, Any], _: dict[str, Any]) -> None:
        found.update({"server": "https://127.0.0.1:1"} | target)

    async def work() -> None:
        with pytest.raises(ConfigError, match=words):
            Access(written(tmp_path, change))

    run(work())


def test_a_kubeconfig_that_is_missing_or_no_yaml_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("a: [", encoding="utf-8")

    async def work() -> None:
        with pytest.raises(ConfigError, match="no such kubeconfig"):
            Access(tmp_path / "none")
        with pytest.raises(ConfigError, match="kubeconfig cannot be used"):
            Access(broken)
        with pytest.raises(ConfigError, match="no-such-context"):
            Access(written(tmp_path, lambda *_: None), "no-such-context")
        monkeypatch.setenv("KUBECONFIG", f"a{os.pathsep}b")
        with pytest.raises(ConfigError, match="several files"):
            Access()
        monkeypatch.delenv("KUBECONFIG")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        with pytest.raises(ConfigError, match="service account"):
            Access()

    run(work())


def test_credentials_are_in_no_text_about_the_endpoint(cluster: Embedded) -> None:
    async def work() -> None:
        access = Access(cluster.kubeconfig)
        assert access.endpoint.authorization
        secret = access.endpoint.authorization.removeprefix("Bearer ")
        assert secret not in repr(access.endpoint) + str(access.endpoint) + repr(access)

    run(work())
