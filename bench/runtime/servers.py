"""Echo servers, each in a process of its own: `python -m bench.runtime.servers NAME [BESIDE]`.

Prints its port. BESIDE `polled`: a task beside the echo wakes up every millisecond; `stalled`: one
blocks a third of the time. When a line comes in, the P99 of how late the first one was is printed,
in microseconds, and the process ends.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

HOST = "127.0.0.1"
BACKLOG = 4_096
EVERY_NS = 1_000_000


async def poll(pause: Callable[[float], Awaitable[None]], late_ns: list[int]) -> None:
    """Wakes up every millisecond, and notes how late."""
    due_ns = time.monotonic_ns()
    while True:
        now_ns = time.monotonic_ns()
        due_ns = max(due_ns + EVERY_NS, now_ns)
        await pause((due_ns - now_ns) / 1e9)
        late_ns.append(time.monotonic_ns() - due_ns)


async def stall(pause: Callable[[float], Awaitable[None]], _late_ns: list[int]) -> None:
    """Blocks the thread for a tenth of a second, again and again."""
    while True:
        await pause(0.2)
        time.sleep(0.1)


BESIDE = {"polled": poll, "stalled": stall}


def report(late_ns: list[int]) -> None:
    """What the parent reads at the end."""
    late_ns.sort()
    print(late_ns[len(late_ns) * 99 // 100] / 1_000 if late_ns else 0.0)


def herz(beside: str) -> None:
    """A coroutine of herz.runtime for each connection."""
    from herz.runtime import Connection, go, listen_tcp, run, serve, sleep  # noqa: PLC0415

    async def echo(connection: Connection) -> None:
        while data := await connection.receive():
            await connection.send_all(data)

    async def main() -> None:
        late_ns: list[int] = []
        async with await listen_tcp(HOST, 0, backlog=BACKLOG) as listener:
            print(listener.local_address[1], flush=True)
            go(serve(listener, echo))
            if beside:
                go(BESIDE[beside](sleep, late_ns))
            await go(sys.stdin.readline)
        report(late_ns)

    run(main())


class Echo(asyncio.Protocol):
    """What asyncio offers nearest to the socket: calls, no coroutine."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.write = cast("asyncio.WriteTransport", transport).write

    def data_received(self, data: bytes) -> None:
        """Sends it back."""
        self.write(data)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def theirs(is_protocol: bool, beside: str) -> None:
    """A coroutine for each connection, or a protocol, on asyncio's loop or uvloop's."""
    late_ns: list[int] = []
    if is_protocol:
        loop = asyncio.get_running_loop()
        server: Any = await loop.create_server(Echo, HOST, 0, backlog=BACKLOG)
    else:
        server = await asyncio.start_server(_echo, HOST, 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    task = asyncio.create_task(BESIDE[beside](asyncio.sleep, late_ns)) if beside else None
    await asyncio.to_thread(sys.stdin.readline)
    if task is not None:
        task.cancel()
    report(late_ns)
    sys.stdout.flush()
    # Ending thousands of connections in order would take longer than the measurement.
    os._exit(0)


def main() -> None:
    """Runs the server of that name."""
    name, beside = sys.argv[1], "".join(sys.argv[2:])
    if name == "herz":
        return herz(beside)
    run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    if name.startswith("uvloop"):
        run = importlib.import_module("uvloop").run
    return run(theirs(name.endswith("Protocol"), beside))


if __name__ == "__main__":
    main()
