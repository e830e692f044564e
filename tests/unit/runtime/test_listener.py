"""Making connections and taking them; descriptors beside deadlock, hand-off and the end."""

from __future__ import annotations

import os
import random
import resource
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from herz._native import Runtime, current_runtime
from herz.runtime import (
    Cancelled,
    Channel,
    Connection,
    Deadlock,
    Listener,
    connect_tcp,
    connect_unix,
    deadline,
    getaddrinfo,
    go,
    listen_tcp,
    listen_unix,
    run,
    serve,
    stats,
    yield_now,
)
from tests.support.net import HOST, echo, no_descriptor_leaks, unix_pair, until

_nothing_leaks = pytest.fixture(autouse=True)(no_descriptor_leaks)


def test_async_for_ends_where_the_listener_is_closed() -> None:
    async def main() -> int:
        count = 0
        async with await listen_tcp(HOST, 0) as listener:
            address = listener.local_address
            first = await connect_tcp(*address)
            async for connection in listener:
                connection.close()
                count += 1
                go(close(listener))
        first.close()
        return count

    async def close(listener: Listener) -> None:
        listener.close()

    assert run(main()) == 1


# ---- making them ----------------------------------------------------------------------------


def test_unix_sockets_have_files_and_lose_them(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with await listen_unix(path) as listener:
            assert path.is_socket()
            with pytest.raises(OSError, match="Address already in use"):
                await listen_unix(path)
            serving = go(serve(listener, echo))
            async with await connect_unix(str(path)) as connection:
                await connection.send_all(b"x")
                assert await connection.receive() == b"x"
                assert connection.remote_address == str(path)
        await serving
        assert not path.exists()
        with pytest.raises(FileNotFoundError, match="no connection to"):
            await connect_unix(path)

    run(main())


def test_a_file_that_took_the_place_of_a_unix_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with await listen_unix(path):
            path.unlink()
            path.write_text("mine")

    run(main())
    assert path.read_text() == "mine"


def test_a_full_unix_listener_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with await listen_unix(path, backlog=0) as listener:
            connecting = [go(connect(path)) for _ in range(6)]
            await until(
                lambda: any(task.state.startswith("waits for a timer") for task in connecting)
            )
            for _ in connecting:
                (await listener.accept()).close()
            for task in connecting:
                (await task).close()

    async def connect(path: Path) -> Connection:
        return await connect_unix(path)

    run(main())


def test_a_deadline_ends_the_making_of_a_connection() -> None:
    async def connect(address: tuple[str, int]) -> Connection | None:
        try:
            async with deadline(0.05):
                return await connect_tcp(*address)
        except TimeoutError:
            return None

    async def main() -> None:
        # Nobody accepts: when the queue is full the kernel drops what comes.
        with socket.create_server((HOST, 0), backlog=0) as full:
            connecting = [go(connect(full.getsockname())) for _ in range(5)]
            made = [await task for task in connecting]
            assert None in made
            for connection in made:
                if connection is not None:
                    connection.close()

    run(main())


def test_one_listener_takes_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has one family only")

    async def main() -> None:
        async with await listen_tcp(None, 0) as listener:
            port = listener.local_address[1]
            for host in (HOST, "::1"):
                async with await connect_tcp(host, port) as one, await listener.accept() as other:
                    await one.send_all(b"x")
                    assert await other.receive() == b"x"

    run(main())


def test_names_are_looked_up_and_small_pieces_sent_at_once() -> None:
    async def main() -> None:
        assert {info[4][0] for info in await getaddrinfo("localhost", 80)} <= {HOST, "::1"}
        async with await listen_tcp("localhost", 0) as listener:
            port = listener.local_address[1]
            async with await connect_tcp("localhost", port) as one, await listener.accept() as two:
                for connection in (one, two):
                    plain = socket.socket(fileno=os.dup(connection.fileno()))
                    with plain:
                        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(main())


def test_nobody_there_is_refused_with_the_address() -> None:
    with socket.create_server((HOST, 0)) as taken:
        free = taken.getsockname()[1]

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError, match=f"{HOST} port {free}.*refused"):
            await connect_tcp(HOST, free)
        with pytest.raises(socket.gaierror):
            await connect_tcp("no-such-name.invalid", 80)
        with (
            socket.create_server((HOST, 0)) as taken,
            pytest.raises(OSError, match="cannot listen"),
        ):
            await listen_tcp(HOST, taken.getsockname()[1])

    run(main())


def test_a_handler_that_fails_takes_down_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(args.exc_value))

    async def handler(connection: Connection) -> None:
        if await connection.receive() == b"fail":
            raise LookupError("here")
        await connection.send_all(b"fine")

    async def main() -> None:
        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, handler))
            for said, answer in [(b"fail", b""), (b"hello", b"fine")]:
                async with await connect_tcp(*listener.local_address) as connection:
                    await connection.send_all(said)
                    assert await connection.receive() == answer
        await serving

    run(main())
    assert [str(error) for error in seen] == ["here"]


def test_serve_ends_its_handlers_when_it_is_cancelled() -> None:
    async def main() -> None:
        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, echo))
            async with await connect_tcp(*listener.local_address) as connection:
                await connection.send_all(b"x")
                assert await connection.receive() == b"x"
                serving.cancel()
                with pytest.raises(Cancelled):
                    await serving
                assert await connection.receive() == b""
            assert stats()["tasks"] == 1

    run(main())


def test_connections_wait_while_no_descriptor_is_left() -> None:
    async def main() -> None:
        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, echo))
            connection = await connect_tcp(*listener.local_address)
            async with connection:
                limits = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
                try:
                    await connection.send_all(b"x")
                    await until(lambda: serving.state.startswith("waits for a timer"))
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                assert await connection.receive() == b"x"
        await serving

    run(main())


# ---- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: connect_tcp(HOST, 70_000), ValueError, "port must be from 0 to 65535, not 70000"),
        (lambda: connect_tcp(HOST, "80"), TypeError, "port must be an int, not str"),  # type: ignore[arg-type]
        (lambda: connect_tcp(None, 80), TypeError, "host must be a str"),  # type: ignore[arg-type]
        (lambda: connect_tcp(b"x", 80), TypeError, "host must be a str or None, not bytes"),  # type: ignore[arg-type]
        (lambda: listen_tcp(HOST, -1), ValueError, "port must be from 0"),
        (lambda: listen_unix("x" * 200), OSError, "too long"),
        (lambda: connect_unix("x" * 200), OSError, "too long"),
    ],
)
def test_bad_addresses_are_refused(
    call: Callable[[], Coroutine[Any, Any, Any]], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        run(call())


# ---- deadlock, the end, hand-off ------------------------------------------------------------


def test_a_wait_for_a_descriptor_is_no_deadlock() -> None:
    one, other = socket.socketpair()

    async def main() -> bytes:
        thread = threading.Thread(target=answer, args=(current_runtime(),))
        async with Connection.from_socket(one) as connection:
            thread.start()
            return await connection.receive()

    def answer(runtime: Runtime) -> None:
        # Only the kernel can wake main, and does so after it has come to wait.
        while not runtime.stats()["parks"]:
            os.sched_yield()
        other.send(b"x")

    assert run(main()) == b"x"
    other.close()


def test_a_wait_for_a_descriptor_that_has_ended_keeps_no_deadlock_away() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            with pytest.raises(TimeoutError):
                async with deadline(0.001):
                    await one.receive()
            await Channel[int]().receive()

    with pytest.raises(Deadlock, match=r"a value of Channel\(0\)"):
        run(main())


def test_tasks_that_wait_for_descriptors_end_with_main() -> None:
    ended = []

    async def wait(connection: Connection) -> None:
        async with connection:
            try:
                await connection.receive()
            finally:
                ended.append(connection)

    async def main() -> None:
        for connection in [*unix_pair(), *unix_pair()]:
            go(wait(connection))
        await yield_now()

    run(main())
    assert len(ended) == 4


def test_a_ready_descriptor_is_work_that_waits() -> None:
    # Nothing else is runnable and no timer is armed: only the monitor can see the answer.
    async def block(reader: int) -> bytes:
        return os.read(reader, 1)

    async def free(connection: Connection, writer: int) -> None:
        await connection.receive()
        os.write(writer, b"x")

    async def main() -> None:
        one, other = socket.socketpair()
        connection = Connection.from_socket(other)
        reader, writer = os.pipe()
        async with connection:
            go(free(connection, writer))
            await yield_now()
            one.send(b"go")
            # Blocks the processor until `free` has run.
            assert await block(reader) == b"x"
            one.close()
        os.close(reader)
        os.close(writer)

    run(main())


def test_an_echo_goes_on_beside_a_task_that_blocks() -> None:
    async def main() -> None:
        reader, writer = os.pipe()

        async def block() -> bytes:
            return os.read(reader, 1)

        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, echo))
            async with await connect_tcp(*listener.local_address) as connection:
                blocked = go(block())
                for number in range(200):
                    await connection.send_all(b"%d" % number)
                    assert await connection.receive() == b"%d" % number
                assert not blocked.done()
                os.write(writer, b"x")
                assert await blocked == b"x"
        await serving
        assert stats()["hand_offs"] >= 1
        os.close(reader)
        os.close(writer)

    run(main())


def test_a_storm_of_closed_and_reused_descriptors_mixes_nothing_up() -> None:
    async def visit(address: tuple[str, int], number: int) -> None:
        chance = random.Random(number)
        for turn in range(15):
            async with await connect_tcp(*address) as connection:
                said = b"%d.%d;" % (number, turn)
                await connection.send_all(said)
                if chance.random() < 0.4:
                    continue  # The answer is for nobody: it must not reach the next one.
                assert await connection.receive_exactly(len(said)) == said

    async def handler(connection: Connection) -> None:
        with suppress(ConnectionResetError, BrokenPipeError):
            await echo(connection)

    async def main() -> None:
        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, handler))
            for task in [go(visit(listener.local_address, number)) for number in range(40)]:
                await task
        await serving

    run(main())
