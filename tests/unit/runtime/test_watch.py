"""Waits for descriptors that are not the runtime's."""

from __future__ import annotations

import os
import random

import pytest

from herz.runtime import (
    Cancelled,
    Closed,
    deadline,
    go,
    notify_closing,
    run,
    wait_readable,
    wait_writable,
    yield_now,
)
from tests.support.net import no_descriptor_leaks, until

_nothing_leaks = pytest.fixture(autouse=True)(no_descriptor_leaks)


async def readable(number: int) -> None:
    await wait_readable(number)


def test_a_pipe_wakes_its_reader_and_its_writer() -> None:
    async def fill(writer: int) -> int:
        written = 0
        while True:
            try:
                written += os.write(writer, bytes(65_536))
            except BlockingIOError:
                await wait_writable(writer)
            if written > 1_000_000:
                return written

    async def main() -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        filling = go(fill(writer))
        received = 0
        while not filling.done() or received < filling.result():
            await wait_readable(reader)
            received += len(os.read(reader, 65_536))
        assert received == filling.result()
        os.close(reader)
        os.close(writer)

    run(main())


def test_levels_are_told_and_not_only_edges() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.write(writer, b"x")
        for _ in range(3):
            await wait_readable(reader)
        os.read(reader, 1)
        with pytest.raises(TimeoutError):
            async with deadline(0.001):
                await wait_readable(reader)
        os.close(writer)
        await wait_readable(reader)
        os.close(reader)

    run(main())


def test_a_wait_for_reading_and_one_for_writing_may_share_a_descriptor() -> None:
    import socket

    async def writable(end: socket.socket) -> None:
        await wait_writable(end)

    async def main() -> None:
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += one.send(bytes(65_536))
            except BlockingIOError:
                pass
            reading, writing = go(readable(one.fileno())), go(writable(one))
            await until(
                lambda: all(
                    task.state.startswith("waits for a descriptor") for task in (reading, writing)
                )
            )
            other.send(b"x")
            await reading
            assert not writing.done()
            while sent:
                sent -= len(other.recv(65_536))
            await writing

    run(main())


def test_a_second_task_at_the_same_side_is_refused() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        waiting = go(readable(reader))
        await until(lambda: waiting.state.startswith("waits for a descriptor"))
        with pytest.raises(RuntimeError, match="another task waits"):
            await wait_readable(reader)
        os.write(writer, b"x")
        await waiting
        os.close(reader)
        os.close(writer)

    run(main())


def test_notify_closing_wakes_who_waits() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        waiting = go(readable(reader))
        await until(lambda: waiting.state.startswith("waits for a descriptor"))
        notify_closing(reader)
        os.close(reader)
        with pytest.raises(Closed, match="descriptor"):
            await waiting
        os.close(writer)
        notify_closing(writer)

    run(main())


def test_a_number_that_is_reused_gets_no_event_of_its_former_owner() -> None:
    chance = random.Random(4)

    async def main() -> None:
        for _ in range(300):
            reader, writer = os.pipe()
            waiting = go(readable(reader))
            await yield_now()
            has_written = chance.random() < 0.5
            if has_written:
                os.write(writer, b"x")
            if chance.random() < 0.5:
                notify_closing(reader)
                with pytest.raises(Closed):
                    await waiting
            else:
                waiting.cancel()
                with pytest.raises(Cancelled):
                    await waiting
            os.close(writer)
            other_reader, other_writer = os.pipe()
            # Closes what had the number, which is another pipe's from now on.
            os.dup2(other_reader, reader)
            os.close(other_reader)
            waiting = go(readable(reader))
            for _ in range(3):
                await yield_now()
            assert waiting.state.startswith("waits for a descriptor")
            os.write(other_writer, b"y")
            await waiting
            os.close(reader)
            os.close(other_writer)

    run(main())


def test_what_is_no_descriptor_is_refused() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        os.close(writer)
        os.close(reader)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await wait_readable(reader)
        with pytest.raises(ValueError, match="-1"):
            wait_readable(-1)
        with pytest.raises(TypeError):
            wait_writable("x")  # type: ignore[arg-type]

    run(main())


def test_a_regular_file_is_always_ready() -> None:
    async def main() -> None:
        with open(__file__, "rb") as file:
            await wait_readable(file)

    run(main())


def test_a_wait_of_a_run_that_has_ended_leaves_nothing_behind() -> None:
    reader, writer = os.pipe()

    async def main() -> None:
        go(readable(reader))
        await yield_now()

    run(main())
    run(main())
    os.close(reader)
    os.close(writer)
