"""Connections: bytes, ends, back-pressure, cancellation, bad input."""

from __future__ import annotations

import gc
import os
import random
import socket
import struct
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from herz.runtime import (
    Cancelled,
    Closed,
    Connection,
    Listener,
    connect_tcp,
    deadline,
    go,
    listen_tcp,
    run,
    serve,
    wait_readable,
    yield_now,
)
from tests.support.net import HOST, echo, no_descriptor_leaks, receive, tcp_pair, unix_pair, until

_nothing_leaks = pytest.fixture(autouse=True)(no_descriptor_leaks)


# ---- bytes ----------------------------------------------------------------------------------


def test_a_server_answers_many_connections_at_once() -> None:
    async def client(address: tuple[str, int], number: int) -> None:
        async with await connect_tcp(*address) as connection:
            for turn in range(20):
                sent = b"%d.%d" % (number, turn)
                await connection.send_all(sent)
                assert await connection.receive_exactly(len(sent)) == sent
            connection.close_write()
            assert await connection.receive() == b""

    async def main() -> None:
        async with await listen_tcp(HOST, 0) as listener:
            serving = go(serve(listener, echo))
            for task in [go(client(listener.local_address, number)) for number in range(100)]:
                await task
        await serving

    run(main())


@pytest.mark.parametrize("is_tcp", [False, True])
def test_large_messages_pass_through_full_buffers_in_both_directions(is_tcp: bool) -> None:
    data = random.Random(1).randbytes(3_000_000)

    async def main() -> None:
        one, other = await tcp_pair() if is_tcp else unix_pair()
        async with one, other:
            there = go(send(one, data))
            back = go(send(other, data[::-1]))
            assert await other.receive_exactly(len(data)) == data
            assert await one.receive_exactly(len(data)) == data[::-1]
            await there
            await back
            assert one.bytes_sent == other.bytes_sent == len(data)

    async def send(connection: Connection, message: bytes) -> None:
        await connection.send_all(message)

    run(main())


def test_a_sender_waits_for_a_receiver() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            sending = go(send(one))
            await until(lambda: sending.state.startswith("waits for room to send in"))
            before = one.bytes_sent
            assert 0 < before < 8_000_000
            received = 0
            while received < 8_000_000:
                received += len(await other.receive())
            await sending

    async def send(connection: Connection) -> None:
        await connection.send_all(bytearray(8_000_000))

    run(main())


def test_receive_into_fills_what_it_is_given() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            await one.send_all(memoryview(b"..abcdef..")[2:8])
            room = bytearray(4)
            assert await other.receive_into(room) == 4
            assert room == b"abcd"
            assert await other.receive_into(memoryview(room)[1:]) == 2
            assert room == b"aefd"
            one.close_write()
            assert await other.receive_into(room) == 0

    run(main())


def test_the_other_side_hears_of_a_half_close_and_may_go_on() -> None:
    async def main() -> None:
        one, other = await tcp_pair()
        async with one, other:
            await one.send_all(b"question")
            one.close_write()
            with pytest.raises(BrokenPipeError):
                await one.send_all(b"more")
            assert await other.receive_exactly(8) == b"question"
            for _ in range(3):
                assert await other.receive() == b""
            await other.send_all(b"answer")
            other.close()
            assert await one.receive_exactly(6) == b"answer"
            with pytest.raises(EOFError, match="after 0 of 3"):
                await one.receive_exactly(3)

    run(main())


def test_an_end_that_comes_with_the_last_bytes_is_seen() -> None:
    # One event tells of both; the short read must not be taken for "nothing left".
    async def main() -> None:
        one, other = await tcp_pair()
        async with one, other:
            reading = go(drain(other))
            await until(lambda: reading.state.startswith("waits for bytes of a connection"))
            await one.send_all(b"last")
            one.close_write()
            assert await reading == b"last"

    async def drain(connection: Connection) -> bytes:
        received = b""
        while data := await connection.receive(1_000):
            received += data
        return received

    run(main())


def test_bytes_behind_urgent_ones_are_received() -> None:
    # The kernel ends a read before an urgent byte: a short read, with more behind it.
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            plain = socket.create_connection(listener.getsockname())
            connection = Connection.from_socket(listener.accept()[0])
        async with connection:
            with plain:
                plain.send(b"before")
                plain.send(b"!", socket.MSG_OOB)
                plain.send(b"after")
            received = b""
            while data := await connection.receive():
                received += data
            assert received == b"beforeafter"

    run(main())


def test_a_reset_is_an_error_of_its_own() -> None:
    async def main() -> None:
        with socket.create_server((HOST, 0)) as listener:
            plain = socket.create_connection(listener.getsockname())
            connection = Connection.from_socket(listener.accept()[0])
        async with connection:
            waiting = go(receive(connection))
            await until(lambda: waiting.state.startswith("waits for bytes of a connection"))
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            plain.close()
            with pytest.raises(ConnectionResetError, match="receive") as raised:
                await waiting
            assert raised.value.errno is not None

    run(main())


# ---- one at a time, closing, cancelling -----------------------------------------------------


def test_close_wakes_who_waits_and_says_so() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, await listen_tcp(HOST, 0) as listener:
            waiting = [go(receive(other)), go(accept(listener)), go(fill(other))]
            await until(lambda: all(task.state.startswith("waits") for task in waiting))
            other.close()
            listener.close()
            for task in waiting:
                with pytest.raises(Closed, match="closed"):
                    await task
            with pytest.raises(Closed):
                await other.receive()
            with pytest.raises(Closed):
                await other.send_all(b"x")
            other.close()
            assert other.is_closed
            assert repr(other) == "<Connection closed>"

    async def accept(listener: Listener) -> Connection:
        return await listener.accept()

    async def fill(connection: Connection) -> None:
        await connection.send_all(bytes(10_000_000))

    run(main())


def test_a_cancelled_receive_loses_no_bytes() -> None:
    sent = random.Random(2).randbytes(20_000)

    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            sending = go(trickle(one))
            received = b""
            chance = random.Random(3)
            while len(received) < len(sent):
                reading = go(read(other, chance.choice([1, 50, 2_000])))
                for _ in range(chance.randrange(4)):
                    await yield_now()
                reading.cancel()
                try:
                    received += await reading
                except Cancelled:
                    pass
                except EOFError:
                    received += await other.receive()
            assert received == sent
            await sending

    async def read(connection: Connection, count: int) -> bytes:
        if count == 50:
            return await connection.receive(count)
        return await connection.receive_exactly(count)

    async def trickle(connection: Connection) -> None:
        for at in range(0, len(sent), 37):
            await connection.send_all(sent[at : at + 37])
            await yield_now()
        connection.close_write()

    run(main())


def test_a_cancelled_send_says_how_far_it_came() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            sending = go(send(one))
            await until(lambda: sending.state.startswith("waits for room to send in"))
            sending.cancel()
            with pytest.raises(Cancelled):
                await sending
            one.close_write()
            received = 0
            while data := await other.receive():
                received += len(data)
            assert received == one.bytes_sent < 10_000_000

    async def send(connection: Connection) -> None:
        await connection.send_all(bytes(10_000_000))

    run(main())


def test_a_deadline_ends_a_receive() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            with pytest.raises(TimeoutError):
                async with deadline(0.01):
                    await other.receive()
            await one.send_all(b"later")
            assert await other.receive() == b"later"

    run(main())


def test_a_second_receiver_and_a_second_sender_are_refused() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            reading = go(receive(other))
            await until(lambda: reading.state.startswith("waits for bytes of a connection"))
            with pytest.raises(RuntimeError, match="another task receives"):
                await other.receive()
            await one.send_all(b"for the first")
            assert await reading == b"for the first"
            sending = go(send(one))
            await until(lambda: sending.state.startswith("waits for room to send in"))
            with pytest.raises(RuntimeError, match="another task sends"):
                await one.send_all(b"between")
            assert await other.receive_exactly(9_000_000) == bytes(9_000_000)
            await sending
            await one.send_all(b"after")
            assert await other.receive() == b"after"

    async def send(connection: Connection) -> None:
        await connection.send_all(bytes(9_000_000))

    run(main())


def test_what_completes_at_once_lets_others_run_all_the_same() -> None:
    turns: list[int] = []

    async def beside() -> None:
        while len(turns) < 3:
            turns.append(1)
            await yield_now()

    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            await one.send_all(bytes(1_000))
            go(beside())
            for _ in range(1_000):
                await other.receive(1)
        assert len(turns) == 3

    run(main(), hand_off=False)


def test_bad_arguments_are_refused_and_named() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            with pytest.raises(ValueError, match="max_bytes must be at least 1, not 0"):
                one.receive(0)
            with pytest.raises(ValueError, match="count must be at least 1, not -5"):
                one.receive_exactly(-5)
            with pytest.raises(TypeError):
                one.send_all("text")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="can be written to"):
                one.receive_into(b"read-only")
            with pytest.raises(ValueError, match="no room"):
                one.receive_into(bytearray())
            await one.send_all(b"")
            await one.send_all(b"x")
            assert await other.receive() == b"x"

    run(main())


def test_only_open_stream_sockets_are_taken_over() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match=r"a socket\.socket is wanted, not int"):
            Connection.from_socket(5)  # type: ignore[arg-type]
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            with pytest.raises(ValueError, match="SOCK_STREAM"):
                Connection.from_socket(datagrams)
            assert datagrams.fileno() >= 0
        with pytest.raises(ValueError, match="closed"):
            Connection.from_socket(datagrams)

    run(main())
    one, other = socket.socketpair()
    with one, other, pytest.raises(RuntimeError, match="no herz runtime"):
        Connection.from_socket(one)


def test_a_connection_of_another_runtime_is_refused() -> None:
    async def use(connection: Connection) -> None:
        with pytest.raises(RuntimeError, match="another herz runtime"):
            await connection.receive()

    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            await go(lambda: elsewhere(use(one)))

    def elsewhere(coroutine: Coroutine[Any, Any, None]) -> None:
        thread = threading.Thread(target=run, args=(coroutine,))
        thread.start()
        thread.join()

    run(main())


def test_a_connection_that_nobody_closed_is_closed_with_a_warning() -> None:
    async def main() -> None:
        one, other = unix_pair()
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            del one
        assert await other.receive() == b""
        other.close()

    run(main())


def test_a_connection_and_a_foreign_wait_share_a_descriptor() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            await one.send_all(b"a")
            assert await other.receive(100) == b"a"
            watching = go(watch(other))
            await until(lambda: watching.state.startswith("waits for a descriptor"))
            await one.send_all(b"b")
            await watching
            # What the watch heard of is still news for the connection.
            assert await other.receive(100) == b"b"

    async def watch(connection: Connection) -> None:
        await wait_readable(connection)

    run(main())


def test_nothing_that_a_request_makes_is_tracked_by_the_collector() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            made = [one.send_all(b"x"), other.receive(), one.send_all(bytearray(b"x"))]
            assert not any(gc.is_tracked(each) for each in made)

    run(main())


def test_the_child_of_a_fork_leaves_its_parents_connections_alone() -> None:
    async def main() -> None:
        one, other = unix_pair()
        async with one, other:
            reading = go(receive(other))
            await until(lambda: reading.state.startswith("waits for bytes of a connection"))
            child = os.fork()
            if child == 0:
                # Closes its copies, which must not end the parent's watch.
                one.close()
                other.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            await one.send_all(b"x")
            assert await reading == b"x"

    run(main())


def test_a_trace_function_changes_no_result() -> None:
    async def main() -> None:
        one, other = unix_pair()
        before = sys.gettrace()
        async with one, other:
            sys.settrace(lambda *_: None)
            try:
                reading = go(receive(other))
                await until(lambda: reading.state.startswith("waits for bytes of a connection"))
                assert await one.send_all(b"x") is None  # type: ignore[func-returns-value]
                assert await reading == b"x"
                one.close_write()
                with pytest.raises(EOFError):
                    await other.receive_exactly(1)
            finally:
                sys.settrace(before)

    run(main(), hand_off=False)
