"""The thread that calls `run`: threads of workers, signals, and what is left at the end."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, TypedDict, TypeVar, overload

from herz import _native
from herz.runtime import _debug
from herz.runtime._inspect import inspected
from herz.runtime._stalls import StallLog

T = TypeVar("T")

os.register_at_fork(after_in_child=_native.after_fork)

_STALL_NS = 5_000_000
_GRACE_NS = 5_000_000_000
_SOON_SECONDS = 0.1
"""How long a worker that was told to end may take before its step is interrupted."""
_JOIN_SECONDS = 1.0
"""How long all of them may take."""


class _Crew:
    """The worker threads of one runtime."""

    def __init__(self) -> None:
        self.native: _native.Runtime | None = None
        self.threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Starts one more worker, with all signals blocked: they are the main thread's."""
        number = next(self._numbers)
        # A daemon: one that is stuck in a call must not keep the process from ending.
        thread = threading.Thread(target=self._work, name=f"herz-worker-{number}", daemon=True)
        with _all_signals_blocked():
            thread.start()
        self.threads.append(thread)

    def _work(self) -> None:
        native = self.native
        if native is not None:  # otherwise the run ended while this thread was started
            # Whoever waits for the end of this thread may have lost patience just now.
            with suppress(_native.Cancelled):
                native.work()

    def join(self) -> list[threading.Thread]:
        """Waits for those that can end; gives those that stay inside a call."""
        ends = time.monotonic() + _JOIN_SECONDS
        stuck = [thread for thread in self.threads if not _ends(thread, _SOON_SECONDS)]
        for thread in stuck:
            # A step that burns can be ended; a call into C cannot.
            _native.Runtime.abandon(thread.ident or 0)
        return [thread for thread in stuck if not _ends(thread, ends - time.monotonic())]


def _ends(thread: threading.Thread, seconds: float) -> bool:
    thread.join(max(0.0, seconds))
    return not thread.is_alive()


@contextmanager
def _all_signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _signals(native: _native.Runtime) -> Iterator[None]:
    """Signals end waits, and the first Ctrl-C cancels main; on the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    main = threading.get_ident()
    # After the grace, a call that the main thread is still in is interrupted.
    native.listen(reader, lambda: signal.pthread_kill(main, signal.SIGINT))
    os.close(reader)
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        match native.interrupt():
            case "raise":
                signal.default_int_handler(number, frame)
            case "abandon":
                raise _native.Cancelled("main has ended, and so has the grace")

    is_ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        native.listen(-1, None)
        if is_ours and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(wakeup_before)
        os.close(writer)


@contextmanager
def _collections_seen(native: _native.Runtime) -> Iterator[None]:
    """A garbage collection is no stall: hand-off rests while one runs."""

    def seen(phase: str, _info: dict[str, int]) -> None:
        native.collecting(phase == "start")

    gc.callbacks.append(seen)
    try:
        yield
    finally:
        gc.callbacks.remove(seen)


@contextmanager
def _shown(native: _native.Runtime, shown: _debug.Shown) -> Iterator[None]:
    """What the runtime shows of itself while it runs."""
    if shown.every_ms is not None:
        _native.schedtrace(native, shown.every_ms)
    _native.on_stall(native, StallLog(native))
    try:
        with ExitStack() as stack:
            with _all_signals_blocked():
                stack.enter_context(inspected(native, wanted=shown.is_inspected))
            yield
    finally:
        # The native runtime holds the log, too, where the collector cannot see it.
        _native.on_stall(native, None)


@overload
def run(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    processors: int | None = None,
    hand_off: bool = True,
    stall_ns: int = _STALL_NS,
    max_workers: int = 64,
    grace_ns: int = _GRACE_NS,
    short_interval: bool = True,
    schedtrace_ms: int | None = None,
    inspect: bool | None = None,
) -> T: ...
@overload
def run(
    main: Callable[[], T],
    *,
    processors: int | None = None,
    hand_off: bool = True,
    stall_ns: int = _STALL_NS,
    max_workers: int = 64,
    grace_ns: int = _GRACE_NS,
    short_interval: bool = True,
    schedtrace_ms: int | None = None,
    inspect: bool | None = None,
) -> T: ...
def run(
    main: Coroutine[Any, Any, Any] | Callable[[], Any],
    *,
    processors: int | None = None,
    hand_off: bool = True,
    stall_ns: int = _STALL_NS,
    max_workers: int = 64,
    grace_ns: int = _GRACE_NS,
    short_interval: bool = True,
    schedtrace_ms: int | None = None,
    inspect: bool | None = None,
) -> Any:
    """What main returns; runs it and all the tasks that it starts.

    The calling thread is the first worker. When main ends, the other tasks are cancelled and waited
    for. Several threads may each have a runtime of their own.

    Args:
        main: a coroutine, an ``async def`` function without arguments, or a plain function.
        processors: must be None or 1: the interpreter's lock lets one run Python code.
        hand_off: whether a step that lasts `stall_ns` with work waiting goes on beside the other
            tasks. False: no other coroutine runs between two awaits.
        stall_ns: nanoseconds, at least 1,000,000.
        max_workers: threads of this runtime, the calling one included; from 1 to 4096. Functions
            beyond it wait their turn.
        grace_ns: nanoseconds that the other tasks have to end after main. What is then still
            inside a call is printed with its stack and left behind.
        short_interval: whether the interpreter's switch interval is 0.5 ms while a step is
            detached.
        schedtrace_ms: how often Go's line is written to stderr. None: as ``HERZ_DEBUG`` says.
        inspect: whether ``herz runtime top`` may look. None: as ``HERZ_RUNTIME_INSPECT`` says.

    Raises:
        BaseException: what main raised.
        KeyboardInterrupt: Ctrl-C came: main was cancelled, and has ended with it.
        Deadlock: all tasks wait for each other.
        RuntimeError: this thread runs a runtime already, or the process has been forked since.
        ValueError: an argument, or a variable of the environment, is out of range.
        OSError: no socket can be made to be looked at through.
    """
    try:
        _check(processors)
        shown = _debug.Shown.asked(schedtrace_ms, inspect)
    except (RuntimeError, ValueError):
        if isinstance(main, Coroutine):
            main.close()
        raise
    crew = _Crew()
    native = crew.native = _native.Runtime(
        crew.start,
        hand_off=hand_off,
        stall_ns=stall_ns,
        workers_max=max_workers,
        grace_ns=grace_ns,
        short_interval=short_interval,
    )
    with _signals(native), _collections_seen(native), _shown(native, shown):
        with _all_signals_blocked():
            native.watch()
        try:
            return native.run(main)
        finally:
            _report(crew.join())
            # The native runtime holds the crew, too, where the collector cannot see it.
            crew.native = None


def _check(processors: int | None) -> None:
    if _native.in_runtime():
        raise RuntimeError("herz.runtime.run was called inside a runtime: use go(…) there")
    if processors not in (None, 1):
        raise ValueError("processors must be None or 1: one processor runs Python tasks")


def tasks() -> list[_native.Task[Any]]:
    """The tasks of this runtime that have not ended, in no certain order.

    Raises:
        RuntimeError: no runtime runs on this thread.
    """
    return _native.current_runtime().tasks()


class Summary(TypedDict):
    """What a histogram holds: how many values, their sum, quantiles at most 6.25 % off, the most.

    Nanoseconds, but for `queued`, which counts tasks.
    """

    count: int
    sum: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int


class Stats(TypedDict):
    """Counts of a runtime since it began; see docs/reference/runtime.md."""

    tasks: int
    spawned: int
    steps: int
    queued_local: int
    queued_global: int
    functions_queued: int
    timers: int
    timers_fired: int
    polls: int
    parks: int
    hand_offs: int
    stalls: int
    detached: int
    workers: int
    workers_idle: int
    histograms: dict[str, Summary]


def stats() -> Stats:
    """Counts of this runtime since it began: tasks, steps, timers, hand-offs, workers, durations.

    Raises:
        RuntimeError: no runtime runs on this thread.
    """
    counted: Stats = _native.current_runtime().stats()  # type: ignore[assignment]
    return counted


def _report(stuck: list[threading.Thread]) -> None:
    """Prints where each thread still is that did not end."""
    frames = sys._current_frames()
    for thread in stuck:
        frame = frames.get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)) if frame is not None else "  (gone)\n"
        sys.stderr.write(f"herz.runtime: {thread.name} is still inside a call:\n{where}")
