"""Making connections and listeners: names are looked up on a thread, everything else at once.

What goes on afterwards (receive, send, accept) is native: `Connection` and `Listener`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from herz._native import Closed, Connection, Listener, Task, current_task, go, sleep
from herz.runtime._locks import WaitGroup
from herz.runtime._scopes import shield

_Infos = Sequence[tuple[int, int, int, str, Any]]

BACKLOG = 1_024
"""Connections that the kernel keeps until somebody accepts them; it may keep fewer."""
_AGAIN_SECONDS = 0.05
"""How long `serve` waits when no descriptor is left for a connection."""
_FULL_SECONDS = (0.001, 0.05)
"""The first and the longest pause before a Unix listener whose queue was full is asked again."""
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


async def getaddrinfo(host: str | None, port: int, *, family: int = 0, flags: int = 0) -> _Infos:
    """`socket.getaddrinfo` for streams; a name is looked up on a thread, a number at once.

    Args:
        host: a name or a number; None with ``AI_PASSIVE`` is every address of this machine.
        port: 0 to 65535.
        family: `socket.AF_INET` or `AF_INET6`; 0 is both.
        flags: `socket.AI_…`.

    Raises:
        OSError: no such name (`socket.gaierror`).
        ValueError: the port is out of range.
    """
    _check(host, port)
    kind = socket.SOCK_STREAM
    try:
        numeric = flags | socket.AI_NUMERICHOST
        return socket.getaddrinfo(host, port, family, kind, 0, numeric)
    except socket.gaierror:
        return await go(lambda: socket.getaddrinfo(host, port, family, kind, 0, flags))


def _check(host: str | None, port: int) -> None:
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a str or None, not {type(host).__name__}")
    if not isinstance(port, int):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 <= port <= 65_535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")


async def connect_tcp(host: str, port: int, *, family: int = 0) -> Connection:
    """A connection to the first of the host's addresses that takes it.

    Small pieces are sent at once (``TCP_NODELAY``). There is no time limit but the kernel's: use
    `deadline`.

    Args:
        host: a name or a number.
        port: 1 to 65535.
        family: `socket.AF_INET` or `AF_INET6`; 0 is both, in the order of the system's choice.

    Raises:
        OSError: no such name, or no address took the connection; of the class of the first error.
        ValueError: the port is out of range.
    """
    if host is None:
        raise TypeError("host must be a str, not None")
    errors: list[OSError] = []
    for found, kind, protocol, _, address in await getaddrinfo(host, port, family=family):
        try:
            return await _connect(socket.socket(found, kind, protocol), address)
        except OSError as error:
            errors.append(error)
    if not errors:
        raise OSError(errno.EADDRNOTAVAIL, f"{host} has no address of that family")
    reasons = "; ".join(dict.fromkeys(error.strerror or str(error) for error in errors))
    raise OSError(errors[0].errno, f"no connection to {host} port {port}: {reasons}") from errors[0]


async def _connect(fresh: socket.socket, address: Any) -> Connection:
    with fresh:
        fresh.setblocking(False)
        if fresh.family in (socket.AF_INET, socket.AF_INET6):
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = await _ask(fresh, address)
        if number not in (0, errno.EINPROGRESS):
            raise OSError(number, os.strerror(number))
        connection = Connection.from_socket(fresh)
    try:
        await connection._connected()
    except BaseException:
        connection.close()
        raise
    return connection


async def _ask(fresh: socket.socket, address: Any) -> int:
    """Begins to connect; a Unix listener whose queue is full gives no sign when it is no more."""
    pause, longest = _FULL_SECONDS
    while (number := fresh.connect_ex(address)) == errno.EAGAIN:
        await sleep(pause)
        pause = min(2 * pause, longest)
    return number


async def connect_unix(path: str | bytes | os.PathLike[str]) -> Connection:
    """A connection to the Unix socket of that path; one that begins with a zero byte is abstract.

    While the listener's queue is full it waits: use `deadline`.

    Raises:
        OSError: nobody listens there, or the path is too long.
    """
    address = os.fspath(path)
    try:
        return await _connect(socket.socket(socket.AF_UNIX), address)
    except OSError as error:
        text = f"no connection to {address!r}: {error.strerror or error}"
        raise OSError(error.errno or errno.EINVAL, text) from error


async def listen_tcp(
    host: str | None,
    port: int,
    *,
    backlog: int = BACKLOG,
    is_shared: bool = False,
) -> Listener:
    """A listener at the first of the host's addresses.

    Args:
        host: a name or a number; None is every address of this machine, of both families.
        port: 0 takes a free one: see the listener's `local_address`.
        backlog: connections that wait to be accepted, at most.
        is_shared: whether other processes may listen there, too (``SO_REUSEPORT``).

    Raises:
        OSError: the address is in use, or is none of this machine.
        ValueError: the port is out of range.
    """
    infos = await getaddrinfo(host, port, flags=socket.AI_PASSIVE)
    address, family = infos[0][4], infos[0][0]
    is_both = host is None and socket.has_dualstack_ipv6()
    if is_both:
        address, family = ("::", port), socket.AF_INET6
    try:
        fresh = socket.create_server(
            address,
            family=family,
            backlog=backlog,
            reuse_port=is_shared,
            dualstack_ipv6=is_both,
        )
    except OSError as error:
        text = f"cannot listen at {host or 'all addresses'} port {port}: {error.strerror}"
        raise OSError(error.errno, text) from error
    with fresh:
        return Listener.from_socket(fresh)


async def listen_unix(path: str | bytes | os.PathLike[str], *, backlog: int = BACKLOG) -> Listener:
    """A listener at a Unix socket of that path, which is removed when it is closed.

    Raises:
        OSError: the path is in use (also by the socket of a process that has ended: remove it
            first), too long, or not to be written.
    """
    address = os.fspath(path)
    with socket.socket(socket.AF_UNIX) as fresh:
        try:
            fresh.bind(address)
            fresh.listen(backlog)
        except OSError as error:
            text = f"cannot listen at {address!r}: {error.strerror or error}"
            raise OSError(error.errno or errno.EINVAL, text) from error
        is_abstract = os.fsencode(address).startswith(b"\0")
        return Listener.from_socket(fresh, None if is_abstract else os.fsdecode(address))


async def serve(listener: Listener, handler: Callable[[Connection], Awaitable[object]]) -> None:
    """Runs ``handler(connection)`` as a task for each connection, until the listener is closed.

    Each connection is closed when its handler ends. An error of a handler goes to
    `sys.unraisablehook`, and the others go on. While no descriptor is left, connections wait in
    the kernel's queue. Once the listener is closed it waits for the handlers; cancelled, it cancels
    them first.

    Raises:
        OSError: the listener failed.
    """
    handlers: set[Task[None]] = set()
    under_way = WaitGroup()

    async def handle(connection: Connection) -> None:
        try:
            async with connection:
                await handler(connection)
        finally:
            handlers.discard(current_task())
            under_way.done()

    try:
        while (connection := await _accept(listener)) is not None:
            under_way.add()
            handlers.add(go(handle(connection)))
        await under_way.wait()
    finally:
        for task in list(handlers):
            task.cancel()
        with shield():
            await under_way.wait()


async def _accept(listener: Listener) -> Connection | None:
    """The next connection; None: the listener is closed."""
    while True:
        try:
            return await listener.accept()
        except Closed:
            return None
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            await sleep(_AGAIN_SECONDS)
