"""The witness over HTTP on loopback, and its memory on the disk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from herz.commit.audit.trust import parse_trust
from herz.commit.audit.witness import Answer, Request, WitnessServer, cosign
from herz.errors import AuditError, ConfigError, WorldError
from herz.world.witness.client import Poster
from herz.world.witness.memory import SqliteMemory
from herz.world.witness.server import READ_BYTES_MAX, Witness
from tests.support.trust import ORIGIN, SmallLog, cosigner, log_signer, trust_text

SIGNER = log_signer(1)
WITNESS = cosigner(101)
LOG = SmallLog(40)
FORK = SmallLog(40, fork_at=3)


def listening(path: Path, use: Callable[[str], Awaitable[None]]) -> None:
    """Run a witness on a free port of loopback while `use` lasts."""

    async def run() -> None:
        memory = SqliteMemory(path)
        trust = parse_trust(trust_text(SIGNER).encode())
        server = WitnessServer(WITNESS, trust, memory)
        witness = Witness(server.answer, server.latest)
        host, port = await witness.start("127.0.0.1", 0)
        try:
            await use(f"http://{host}:{port}")
        finally:
            await witness.stop()
            memory.close()

    asyncio.run(run())


async def asked(url: str, size: int, *, log: SmallLog = LOG) -> None:
    poster = Poster(url)

    async def post(body: bytes) -> Answer:
        return Answer(*await poster.post(body))

    note = SIGNER.sign(log.checkpoint(size).text)
    try:
        checkpoint = log.checkpoint(size)
        line = await cosign(note, checkpoint, log.nodes, WITNESS.key, post, known=0)
    finally:
        await poster.close()
    assert note.signed(line).verified([WITNESS.key])[0].time_s > 1_700_000_000


def test_a_log_is_cosigned_and_a_fork_refused_even_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"

    async def before(url: str) -> None:
        await asked(url, 12)

    async def after(url: str) -> None:
        await asked(url, 20)
        with pytest.raises(AuditError, match="another history"):
            await asked(url, 40, log=FORK)
        with pytest.raises(AuditError, match="entries were removed"):
            await asked(url, 5)

    listening(path, before)
    listening(path, after)


def test_requests_that_are_too_large_malformed_or_of_another_kind_are_refused(
    tmp_path: Path,
) -> None:
    async def use(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            add = f"{url}/add-checkpoint"
            for body, status in ((b"x" * (READ_BYTES_MAX + 1), 413), (b"old", 400), (b"", 400)):
                async with session.post(add, data=body) as answer:
                    assert answer.status == status
            async with session.get(add) as answer:
                assert answer.status == 405
            async with session.get(f"{url}/{'0' * 64}/checkpoint") as answer:
                assert answer.status == 404

    listening(tmp_path / "memory.sqlite", use)


def test_the_last_checkpoint_can_be_read(tmp_path: Path) -> None:
    async def use(url: str) -> None:
        await asked(url, 12)
        origin = hashlib.sha256(ORIGIN.encode()).hexdigest()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{url}/{origin}/checkpoint") as answer,
        ):
            assert answer.status == 200
            assert (await answer.text()).startswith(f"{ORIGIN}\n12\n")

    listening(tmp_path / "memory.sqlite", use)


def test_many_at_once_leave_one_history(tmp_path: Path) -> None:
    async def use(url: str) -> None:
        async with aiohttp.ClientSession() as session:

            async def one(size: int) -> int:
                note = SIGNER.sign(LOG.checkpoint(size).text)
                body = Request(0, (), note.data).data
                async with session.post(f"{url}/add-checkpoint", data=body) as answer:
                    return answer.status

            statuses = await asyncio.gather(*(one(size) for size in range(1, 21)))
            assert sorted(statuses) == [200] + [409] * 19

    listening(tmp_path / "memory.sqlite", use)


def test_memory_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(WorldError, match="not a database"):
        SqliteMemory(path)


def test_memory_replaces_only_what_it_is_told_to_and_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    first, second = SqliteMemory(path), SqliteMemory(path)
    assert first.replace("o", None, b"1")
    assert not second.replace("o", None, b"2")
    assert second.replace("o", b"1", b"2")
    assert not first.replace("o", b"1", b"3")
    first.close()
    second.close()
    again = SqliteMemory(path)
    assert again.latest("o") == again.latest_by_hash(hashlib.sha256(b"o").hexdigest()) == b"2"
    again.close()


def test_an_address_that_is_taken_or_none_is_told(tmp_path: Path) -> None:
    async def use(url: str) -> None:
        port = int(url.rpartition(":")[2])
        other = Witness(lambda body, now: Answer(200, b""), lambda origin: Answer(200, b""))
        with pytest.raises(WorldError, match="cannot listen"):
            await other.start("127.0.0.1", port)

    listening(tmp_path / "memory.sqlite", use)
    with pytest.raises(ConfigError, match="not an address"):
        Poster("witness.example")

    async def nobody() -> None:
        poster = Poster("http://127.0.0.1:1")
        try:
            with pytest.raises(WorldError, match=r"127\.0\.0\.1:1"):
                await poster.post(b"")
        finally:
            await poster.close()

    asyncio.run(nobody())


def test_who_hangs_up_in_the_middle_of_a_request_is_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(url: str) -> None:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        writer.write(head + b"old")
        await writer.drain()
        await asked(url, 12)  # The first request has been begun by now.
        writer.transport.abort()
        await asked(url, 20)

    listening(tmp_path / "memory.sqlite", use)
    assert [record.getMessage() for record in caplog.records] == []
