"""Connections for tests of the runtime, and what they must leave behind: nothing."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from herz.runtime import Connection, connect_tcp, listen_tcp, yield_now

HOST = "127.0.0.1"
Pair = tuple[Connection, Connection]


def unix_pair() -> Pair:
    """Both ends of a stream; inside a runtime."""
    one, other = socket.socketpair()
    return Connection.from_socket(one), Connection.from_socket(other)


async def tcp_pair() -> Pair:
    """Both ends of a TCP connection."""
    async with await listen_tcp(HOST, 0) as listener:
        one = await connect_tcp(*listener.local_address)
        return one, await listener.accept()


async def echo(connection: Connection) -> None:
    """Sends back what comes."""
    while data := await connection.receive():
        await connection.send_all(data)


async def until(holds: Callable[[], bool]) -> None:
    """Lets others run until it holds; the test's time limit ends one that never does."""
    while not holds():
        await yield_now()


async def receive(connection: Connection) -> bytes:
    """What comes next, for a task."""
    return await connection.receive()


def open_descriptors() -> set[str]:
    """Those of this process, but for the kernel's accounting: a thread opens its own once."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            if not os.readlink(f"/proc/self/fd/{name}").endswith("/schedstat"):
                found.add(name)
    return found


def no_descriptor_leaks() -> Iterator[None]:
    """A fixture: the test leaves as many descriptors behind as it found."""
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()
    ends = time.monotonic() + 10
    # The monitor may be looking at a runtime that has ended, and then closes it.
    while open_descriptors() != before and time.monotonic() < ends:
        os.sched_yield()
    assert open_descriptors() == before
