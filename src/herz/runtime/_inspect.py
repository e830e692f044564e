"""A look at a live process: what `herz runtime top` asks, and the thread that answers it.

A process that was told to (`run(…, inspect=True)`) listens on a Unix socket in a folder that only
its user may enter. Whoever connects gets one JSON object and the end; nothing is read. Both sides
ask the kernel who the other one is. The thread that answers is not one of the workers, so that it
answers while a step holds the processor; it needs the interpreter like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from herz import _native
from herz._native import Runtime, Task
from herz.runtime._stacks import frames

VERSION = 1
_SHOWN_MAX = 200
"""Bound: tasks that an answer shows; the others are counted."""
_COUNTED_MAX = 100_000
"""Bound: places of the register that an answer looks at, as it holds the interpreter meanwhile."""
_SECONDS_MAX = 2.0
"""Bound: how long either side waits for the other."""
_ANSWER_MAX = 16 << 20
if sys.platform == "darwin":
    # SOL_LOCAL, LOCAL_PEERCRED and xucred of sys/un.h and sys/ucred.h.
    _PEER_OPTION, _PEER = (0, 1), struct.Struct("=IIhxx16I")
else:
    _PEER_OPTION, _PEER = (socket.SOL_SOCKET, socket.SO_PEERCRED), struct.Struct("=iII")


class NotInspectableError(OSError):
    """The process cannot be looked at; the text says why and what would help."""


def folder() -> Path:
    """Where this user's sockets are."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    if own and Path(own).is_dir():
        return Path(own, "herz-runtime")
    return Path(tempfile.gettempdir(), f"herz-runtime-{os.geteuid()}")


def _checked_folder() -> Path:
    """The folder, made when it is not there.

    Raises:
        PermissionError: somebody else made it, or others may enter it.
    """
    where = folder()
    with contextlib.suppress(FileExistsError):
        where.mkdir(mode=0o700)
    found = where.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_own or found.st_mode & 0o077:
        raise PermissionError(
            f"{where} must be a folder of this user with mode 0700: remove it, or set "
            "XDG_RUNTIME_DIR to one"
        )
    return where


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end, as the kernel says."""
    answer = connection.getsockopt(*_PEER_OPTION, _PEER.size)
    return int(_PEER.unpack(answer)[1])


# ---- the process that is looked at -------------------------------------------------------------


class _Server:
    """The socket and the thread of this process, for all its runtimes that may be looked at."""

    def __init__(self) -> None:
        self._runtimes: dict[Runtime, int] = {}
        self._path = _checked_folder() / f"{os.getpid()}.sock"
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()  # of a process that had our number
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(str(self._path))
            self._path.chmod(0o600)
            self._socket.listen(8)
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="herz-inspect", daemon=True)
        self._thread.start()

    def add(self, runtime: Runtime) -> None:
        self._runtimes[runtime] = time.monotonic_ns()

    def remove(self, runtime: Runtime) -> bool:
        """True: it was the last one."""
        self._runtimes.pop(runtime, None)
        return not self._runtimes

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._thread.join(_SECONDS_MAX)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_SECONDS_MAX)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        if peer_uid(connection) != os.geteuid():
            answer: dict[str, Any] = {"error": "this process belongs to another user"}
        else:
            answer = self._snapshot()
        connection.sendall(json.dumps(answer).encode())

    def _snapshot(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "command": sys.orig_argv,
            "monotonic_ns": time.monotonic_ns(),
            "runtimes": [
                _runtime_snapshot(runtime, began_ns)
                for runtime, began_ns in list(self._runtimes.items())
            ],
        }


def _runtime_snapshot(runtime: Runtime, began_ns: int) -> dict[str, Any]:
    counts, tasks = _native.census(runtime, _COUNTED_MAX, _SHOWN_MAX)
    workers = {task.id: worker for worker, _, task in _native.running_tasks(runtime)}
    return {
        "up_ns": time.monotonic_ns() - began_ns,
        "stats": runtime.stats(),
        "states": counts,
        "tasks": [_task_snapshot(task, workers.get(task.id)) for task in tasks],
    }


def _task_snapshot(task: Task[Any], worker: int | None) -> dict[str, Any]:
    where = [
        f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
        for frame in frames(task)[-1:]
    ] or [str(getattr(_native.task_target(task), "__qualname__", ""))]
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state,
        "waits_for": task.waits_for,
        "waited_ns": task.waited_ns,
        "age_ns": task.age_ns,
        "worker": worker,
        "where": where[0],
    }


class _Servers:
    """The one server of this process. A fork's child has none: the thread is its parent's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: _Server | None = None

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.server = None


_servers = _Servers()
os.register_at_fork(after_in_child=_servers.forget)


@contextmanager
def inspected(runtime: Runtime, *, wanted: bool) -> Iterator[None]:
    """Inside, the runtime may be looked at.

    Raises:
        OSError: the socket cannot be made.
    """
    if not wanted:
        yield
        return
    with _servers.lock:
        if _servers.server is None:
            _servers.server = _Server()
        server = _servers.server
        server.add(runtime)
    try:
        yield
    finally:
        with _servers.lock:
            # After a fork the child comes through here, too, and must not close its parent's.
            if _servers.server is server and server.remove(runtime):
                _servers.server = None
                server.close()


# ---- the process that looks --------------------------------------------------------------------


def listening() -> list[int]:
    """The processes of this user that can be looked at; what dead ones left is removed."""
    where = folder()
    if not where.is_dir():
        return []
    found = []
    for path in sorted(_checked_folder().glob("*.sock")):
        if not path.stem.isdigit():
            continue
        if _owner(int(path.stem)) is not None:
            found.append(int(path.stem))
        else:
            path.unlink(missing_ok=True)
    return sorted(found)


def _owner(pid: int) -> int | None:
    """The user, the effective one, whose process it is; None: there is no such process."""
    if sys.platform == "darwin":
        asked = ["ps", "-o", "uid=", "-p", str(pid)]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
        return int(told) if told.strip() else None
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(status.split("\nUid:\t", 1)[1].split()[1])


def snapshot(pid: int) -> dict[str, Any]:
    """What a process says of its runtimes.

    Raises:
        NotInspectableError: there is no such process, it is another user's, or it does not listen.
    """
    owner = _owner(pid)
    if owner is None:
        raise NotInspectableError(f"there is no process {pid}")
    if owner != os.geteuid():
        raise NotInspectableError(
            f"process {pid} belongs to the user {owner}, not to {os.geteuid()}: look as that user"
        )
    try:
        answer = _ask(_checked_folder() / f"{pid}.sock", pid)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotInspectableError(
            f"process {pid} shows no herz runtime: start it with HERZ_RUNTIME_INSPECT=1 or "
            "run(…, inspect=True)"
        ) from None
    except TimeoutError:
        raise NotInspectableError(
            f"process {pid} did not answer within {_SECONDS_MAX:.0f} s: a call into C may keep the "
            "interpreter's lock"
        ) from None
    if "error" in answer:
        raise NotInspectableError(f"process {pid} refused: {answer['error']}")
    if answer.get("version") != VERSION:
        raise NotInspectableError(f"process {pid} runs another version of herz")
    return answer


def _ask(path: Path, pid: int) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS_MAX)
        connection.connect(str(path))
        if peer_uid(connection) != os.geteuid():
            raise NotInspectableError(f"the socket of process {pid} is another user's")
        parts: list[bytes] = []
        while sum(map(len, parts)) < _ANSWER_MAX and (part := connection.recv(1 << 16)):
            parts.append(part)
    try:
        answer = json.loads(b"".join(parts))
    except ValueError:
        raise NotInspectableError(f"process {pid} gave no answer that can be read") from None
    assert isinstance(answer, dict)
    return answer
