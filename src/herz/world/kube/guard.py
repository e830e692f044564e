"""The guard: a process of its own that holds the lease, and ends the scheduler when it is lost.

The scheduler may be in a long step, collecting garbage, or stuck: neither the renewal of the lease
nor `/livez` waits for it. The guard starts it, tells it on shared memory in which term and until
when it may write, and kills it when that time is over and the lease could not be renewed. Both
read one clock of the machine, so the scheduler stops by itself, too, when the guard is late. When
the guard dies, the kernel ends the scheduler.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from herz.errors import InvariantError, WorldError
from herz.world.kube.endpoints import METRICS_TYPE, Health, Serving, Source, start_endpoints
from herz.world.kube.lease import SECOND_NS, Durations, Elector, clock_ns
from herz.world.kube.metrics import GuardMetrics

VARIABLE: Final = "HERZ_GUARD"
"""The environment variable by which a guarded process knows its guard."""
TOLERANCE_NS: Final = 20 * SECOND_NS
"""How long `/livez` lets a leader be without its lease before it says so; kube-scheduler's."""
STALL_NS: Final = 60 * SECOND_NS
"""A scheduler whose loop has not turned for so long is ended: it holds the lease for nothing."""
_BEAT_SECONDS: Final = 0.25
_FETCH_SECONDS: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
_MAGIC: Final = 0x4845525A
_WORDS: Final = ("check", "term", "write_from", "write_until", "beat", "is_synced", "is_stopping")
_SIZE: Final = 8 * len(_WORDS)
_TRIES_MAX: Final = 100

log = structlog.get_logger("herz.guard")


class Board:
    """What guard and scheduler tell each other: seven words of shared memory.

    The guard writes term and times, with a check over them; a reader that meets a half-written
    state sees it by the check and reads again. The scheduler writes the rest.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)
        self._words = memoryview(self._map).cast("q")

    @classmethod
    def make(cls) -> Board:
        """A new one, of zeros."""
        descriptor = os.memfd_create("herz-guard")
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    def tell(self, term: int, write_from: int, write_until: int) -> None:
        """Say who leads, and when it may write."""
        self._words[1], self._words[2], self._words[3] = term, write_from, write_until
        self._words[0] = term ^ write_from ^ write_until ^ _MAGIC

    def told(self) -> tuple[int, int, int]:
        """Term, and from when and until when writes may leave; zeros before the first word.

        Raises:
            InvariantError: the words never agree.
        """
        for _ in range(_TRIES_MAX):
            check, *found = self._words[:4].tolist()
            if check == found[0] ^ found[1] ^ found[2] ^ _MAGIC:
                return found[0], found[1], found[2]
            if not any((check, *found)):
                return 0, 0, 0
        raise InvariantError("the guard's words never agree")

    def beat(self, *, is_synced: bool, is_stopping: bool) -> None:
        """Say that the scheduler's loop turns, and how it is."""
        self._words[5], self._words[6] = is_synced, is_stopping
        self._words[4] = clock_ns()

    @property
    def beat_ns(self) -> int:
        """When the scheduler's loop turned last; 0 for never."""
        return int(self._words[4])

    @property
    def is_synced(self) -> bool:
        """Whether the scheduler has seen the whole cluster."""
        return bool(self._words[5])

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more pods."""
        return bool(self._words[6])

    def close(self) -> None:
        """Let the memory go."""
        self._words.release()
        self._map.close()
        os.close(self.descriptor)


class Guarded:
    """The scheduler's side: a `Leadership` that the guard decides about.

    Args:
        board: the shared memory.
        line: its end of the socket to the guard.
        guard: the guard's process id.
        socket_path: where the guard asks for metrics and configuration.
        write_timeout_seconds: of each write.
    """

    def __init__(
        self,
        board: Board,
        line: socket.socket,
        guard: int,
        socket_path: Path,
        write_timeout_seconds: float,
    ) -> None:
        self._board = board
        self._line = line
        self._guard = guard
        self.socket_path = socket_path
        self.write_timeout_seconds = write_timeout_seconds
        self.is_synced = False
        self.is_stopping = False
        self._leads = asyncio.Event()

    @property
    def term(self) -> int:
        """The term as leader; 0 while another leads."""
        return self._board.told()[0]

    def may_write(self) -> bool:
        """Whether a write may leave at this moment."""
        term, write_from, write_until = self._board.told()
        return term > 0 and write_from <= clock_ns() < write_until

    async def leading(self) -> int:
        """Wait until this replica leads and may write; the term.

        The lists that a leader begins from must be read after this.
        """
        await self._leads.wait()
        while not self.may_write():  # Bound: the guard ends this process if that time never comes.
            term, write_from, _ = self._board.told()
            left = max(write_from - clock_ns(), 0) / SECOND_NS
            await asyncio.sleep(left if term else _BEAT_SECONDS)
        return self.term

    def attach(self) -> None:
        """Begin to show that the loop turns, and end with the guard; on the running loop.

        Raises:
            WorldError: the guard has ended already.
        """
        _end_with_parent()
        if os.getppid() != self._guard:
            raise WorldError("the guard of this process has ended")
        asyncio.get_running_loop().add_reader(self._line, self._hear)
        self._turn()

    def _turn(self) -> None:
        self._board.beat(is_synced=self.is_synced, is_stopping=self.is_stopping)
        asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._turn)

    def _hear(self) -> None:
        if not self._line.recv(64):
            # The guard is gone, and with it the lease: nothing may be finished any more.
            os._exit(3)
        self._leads.set()


def guarded_by_environment() -> Guarded | None:
    """The guard of this process; None where nobody guards it."""
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    memory, line, guard, timeout, path = text.split(":", 4)
    return Guarded(
        Board(int(memory)),
        socket.socket(fileno=int(line)),
        int(guard),
        Path(path),
        float(timeout),
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What the guard guards.

    Args:
        command: the scheduler's command line.
        serving: where probes and Prometheus ask.
        grace_seconds: how long the scheduler may take to stop.
        listening: called with the port once the endpoints are served.
    """

    command: Sequence[str]
    serving: Serving
    grace_seconds: float = 30.0
    listening: Callable[[int], None] = lambda _: None


class Guard:
    """The guard's process.

    Args:
        elector: its part in the election.
        plan: what it guards.
    """

    def __init__(self, elector: Elector, plan: Plan) -> None:
        self._elector = elector
        self._durations: Durations = elector.durations
        self._plan = plan
        self._board = Board.make()
        self._metrics = GuardMetrics()
        self._started_ns = clock_ns()
        self._term = 0

    async def run(self) -> int:
        """Guard the scheduler until it ends, the lease is lost, or SIGTERM or SIGINT comes.

        Returns:
            The scheduler's exit code, where it ended by itself or was asked to.

        Raises:
            WorldError: the lease is lost, the scheduler was killed or stalls, or the API or the
                address of the endpoints cannot be used. The scheduler has ended.
        """
        loop = asyncio.get_running_loop()
        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked.set)
        with tempfile.TemporaryDirectory(prefix="herz-guard-") as folder:
            path = Path(folder, "inside")
            endpoints = await start_endpoints(
                self._plan.serving, self._health(), self._sources(path)
            )
            self._plan.listening(endpoints.port)
            child, line = self._start(path)
            try:
                return await self._watch(child, line, asked)
            finally:
                self._board.tell(0, 0, 0)
                if child.poll() is None:
                    child.kill()
                    await asyncio.to_thread(child.wait)
                line.close()
                # The scheduler has ended. What it sent is given up when the next one begins.
                if await self._elector.release():
                    log.info("lease released", term=self._term)
                await endpoints.stop()

    def _start(self, path: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
        mine, theirs = socket.socketpair()
        memory = self._board.descriptor
        timeout = self._durations.write / SECOND_NS
        words = (memory, theirs.fileno(), os.getpid(), timeout, path)
        environment = {**os.environ, VARIABLE: ":".join(map(str, words))}
        with theirs:
            child = subprocess.Popen(
                list(self._plan.command), env=environment, pass_fds=(memory, theirs.fileno())
            )
        return child, mine

    async def _watch(
        self, child: subprocess.Popen[bytes], line: socket.socket, asked: asyncio.Event
    ) -> int:
        ended = asyncio.create_task(asyncio.to_thread(child.wait), name="scheduler")
        election = asyncio.create_task(self._elect(line), name="election")
        stop = asyncio.create_task(asked.wait(), name="signals")
        stall = asyncio.create_task(self._stalled(), name="stall")
        tasks = [ended, election, stop, stall]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stop.done() and not ended.done() and not election.done():
                log.info("stopping", grace_seconds=self._plan.grace_seconds)
                child.terminate()
                await asyncio.wait(
                    [ended, election],
                    timeout=self._plan.grace_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if ended.done():
                return _exit_code(ended.result(), was_asked=stop.done())
            child.kill()
            if election.done():
                await election
                raise WorldError("the lease is lost: this replica has stopped", is_retryable=True)
            if stall.done():
                raise WorldError(f"the scheduler did not turn for {STALL_NS // SECOND_NS} s")
            raise WorldError("the scheduler did not stop in time, and was killed")
        finally:
            for task in (election, stop, stall):
                task.cancel()
            if child.poll() is None:
                child.kill()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _elect(self, line: socket.socket) -> None:
        """Acquire the lease and hold it; returns when it is lost."""
        elector = self._elector
        log.info("waiting for the lease", identity=elector.identity)
        self._term = await elector.acquire()
        self._tell()
        log.info("lease acquired", term=self._term, identity=elector.identity)
        line.send(b"L")
        try:
            await elector.hold(self._tell)
        finally:
            self._board.tell(0, 0, 0)
            self._metrics.lead(0)
        log.error("lease lost", term=self._term, holder=elector.holder, why=elector.last_error)

    def _tell(self) -> None:
        elector = self._elector
        self._board.tell(self._term, elector.write_from_ns, elector.write_until_ns)
        self._metrics.renewed(clock_ns())
        self._metrics.lead(self._term)

    async def _stalled(self) -> None:
        """Returns when the scheduler's loop has not turned for too long."""
        while self._beat_age_ns() < STALL_NS:
            await asyncio.sleep(_BEAT_SECONDS)

    def _beat_age_ns(self) -> int:
        return clock_ns() - max(self._board.beat_ns, self._started_ns)

    # ---- what others ask ------------------------------------------------------------------

    def _health(self) -> Health:
        def lease() -> str:
            late = clock_ns() - self._elector.write_until_ns - self._durations.write
            is_late = self._elector.term > 0 and late > TOLERANCE_NS
            return "the lease was not renewed" if is_late else ""

        def turns() -> str:
            is_late = self._beat_age_ns() > TOLERANCE_NS
            return "the scheduler's loop does not turn" if is_late else ""

        def synced() -> str:
            return "" if self._board.is_synced else "the cluster has not been read yet"

        def stopping() -> str:
            return "it stops" if self._board.is_stopping else ""

        live = {"ping": lambda: "", "leaderElection": lease, "scheduler-loop": turns}
        ready = {"informer-sync": synced, "sched-handler-sync": synced, "shutdown": stopping}
        return Health(live, ready)

    def _sources(self, path: Path) -> dict[str, tuple[Source, str]]:
        async def metrics() -> bytes:
            return self._metrics.text() + await fetch(path, "/metrics")

        return {
            "/metrics": (metrics, METRICS_TYPE),
            "/metrics/resources": (lambda: fetch(path, "/metrics/resources"), METRICS_TYPE),
            "/configz": (lambda: fetch(path, "/configz"), "application/json"),
        }


async def fetch(path: Path, target: str) -> bytes:
    """What the guarded process answers.

    Raises:
        WorldError: it does not.
    """
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get(f"http://inside{target}", timeout=timeout) as answer,
        ):
            if answer.status != 200:
                raise WorldError(f"the scheduler answers {answer.status}")
            return await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise WorldError("the scheduler does not answer yet", is_retryable=True) from error


def _exit_code(code: int, *, was_asked: bool) -> int:
    if code < 0:
        if was_asked and -code in (signal.SIGTERM, signal.SIGINT):
            return 0
        raise WorldError(f"the scheduler was killed by {signal.Signals(-code).name}")
    return code


def _end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise WorldError(f"prctl: {os.strerror(ctypes.get_errno())}")
