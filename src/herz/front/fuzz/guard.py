"""The limits of a candidate's process: CPU, memory, files, no network; a watch over its time."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from herz.front.fuzz.shims import clock, cpu_clock
from herz.intake.fuzz.asking import Asked, StopAsking

MEMORY_BYTES: Final = 2 << 30
FILE_BYTES: Final = 1 << 20
FILES_MAX: Final = 64
CALL_CPU_SECONDS: Final = 1.0
CALL_WALL_SECONDS: Final = 5.0
"""A call that uses more CPU, or waits for longer, is said to hang."""
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_TICK: Final = 0.2


def limit(cpu_seconds: int) -> None:
    """Bound this process for good, and take the network from it."""
    for what, wished in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, FILES_MAX),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = wished if hard == resource.RLIM_INFINITY else min(wished, hard)
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _leave_network()
    sys.addaudithook(_refuse)


def _leave_network() -> None:
    """A network namespace of its own, where the kernel lets us: it has not even a loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook: no connections, and no other programs."""
    del arguments
    if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
        raise PermissionError("no network under herz fuzz")
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pty.spawn"):
        raise PermissionError("no other programs under herz fuzz")


class Watchdog:
    """Ends calls that take too long, and tells the parent that this process is alive.

    Args:
        asked: whose calls.
        beat: called now and then while Python code runs.
        cpu_seconds: what a call may use.
    """

    def __init__(
        self, asked: Asked, beat: Callable[[], None], cpu_seconds: float = CALL_CPU_SECONDS
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._asked = asked
        self._beat = beat
        self._count = -1
        self._since = (0.0, 0.0)
        self.is_time: Callable[[], bool] | None = None
        """Whether the part of the search that is under way has time left."""

    def start(self) -> None:
        """Begin to watch; the calls are made in this thread."""
        signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)
        threading.Thread(target=self._beats, daemon=True).start()

    def _beats(self) -> None:
        # A call inside C code that never gives the lock back stops these: the parent sees that.
        while True:
            threading.Event().wait(_TICK)
            self._beat()

    def _look(self, number: int, frame: Any) -> None:
        del number, frame
        asked = self._asked
        asked.is_late = self.is_time is not None and not self.is_time()
        if asked.count != self._count or not asked.is_inside:
            self._count = asked.count
            self._since = (cpu_clock(), clock())
            return
        cpu, wall = cpu_clock() - self._since[0], clock() - self._since[1]
        if cpu > self._cpu_seconds or (wall > CALL_WALL_SECONDS and cpu < wall / 10):
            raise StopAsking


def nobodys_input() -> None:
    """Standard input is empty, and what the candidate prints goes nowhere."""
    empty = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(empty, number)
    os.close(empty)
