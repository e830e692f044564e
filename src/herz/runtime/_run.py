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
from herz.runtime._process import (
    Generators,
    breakpoints_hold,
    collections_off,
    ended_at_exit,
    main_stack_size,
)
from herz.runtime._stalls import StallLog

T = TypeVar("T")

_STALL_NS = 5_000_000
_GRACE_NS = 5_000_000_000
_NUDGE = signal.SIGURG
"""Interrupts a call of the main thread. Go's choice: nobody types it, few use it, and a shell that
starts a program in the background lets it ignore SIGINT, but not this one."""
_SOON_SECONDS = 0.1
"""How long a worker that was told to end may take before its step is interrupted."""
_JOIN_SECONDS = 1.0
"""How long all of them may take."""


class _Crew:
    """The worker threads of one runtime."""

    def __init__(self) -> None:
        self.native: _native.Runtime | None = None
        self.generators: Generators | None = None
        self.threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Starts one more worker. The caller blocks all signals: they are the main thread's."""
        number = next(self._numbers)
        # A daemon: one that is stuck in a call must not keep the process from ending.
        thread = threading.Thread(target=self._work, name=f"herz-worker-{number}", daemon=True)
        with main_stack_size():
            thread.start()
        self.threads.append(thread)

    def _work(self) -> None:
        native, generators = self.native, self.generators
        if native is None or generators is None:
            return  # the run ended while this thread was started
        # Told to end its step just when that had ended: it is raised here.
        with suppress(_native.Cancelled), generators.seen():
            native.work()

    def join(self) -> list[threading.Thread]:
        """Waits for those that can end; gives those that stay inside a call."""
        ends = time.monotonic() + _JOIN_SECONDS
        native = self.native
        assert native is not None
        abandoned = native.abandoned_threads()
        awaited = [thread for thread in self.threads if thread.ident not in abandoned]
        stuck = [thread for thread in awaited if not _ends(thread, _SOON_SECONDS)]
        for thread in stuck:
            # A step that burns can be ended; a call into C cannot.
            native.abandon(thread.ident or 0)
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
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    main = threading.get_ident()
    # After the grace, a call that the main thread is still in is interrupted.
    native.listen(reader, lambda: signal.pthread_kill(main, _NUDGE))
    os.close(reader)
    wakeup_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if native.interrupt() == "raise":
            signal.default_int_handler(number, frame)

    others = signal.getsignal(_NUDGE)

    def nudge(number: int, frame: FrameType | None) -> None:
        if native.was_nudged():
            raise _native.Cancelled("main has ended, and so has the grace")
        if callable(others):
            others(number, frame)

    with ExitStack() as handlers:
        handlers.callback(os.close, writer)
        handlers.callback(signal.set_wakeup_fd, wakeup_before)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            handlers.enter_context(_handled(signal.SIGINT, interrupt))
        if others is not None:  # None: a handler of C's, which would be lost.
            handlers.enter_context(_handled(_NUDGE, nudge))
        handlers.callback(native.listen, -1, None)
        yield


@contextmanager
def _handled(
    number: signal.Signals, handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        # One that was set since then stays.
        if signal.getsignal(number) is handler:
            signal.signal(number, before)


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
def _in_process(native: _native.Runtime) -> Iterator[None]:
    """What of the process concerns the runtime while it runs."""
    with (
        ended_at_exit(native),
        breakpoints_hold(),
        _signals(native),
        _collections_seen(native),
    ):
        yield


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
        processors: native processors, for tasks in Rust (`relay`), from 1 to 1024. None: as many as
            the process may use CPUs. Python tasks have one of their own: the lock allows no more.
        hand_off: whether a step that lasts `stall_ns` with work waiting goes on beside the other
            tasks. False: no other coroutine runs between two awaits.
        stall_ns: nanoseconds, at least 1,000,000.
        max_workers: threads of this runtime, the calling one included; from 1 to 4096. Functions
            beyond it wait their turn. Native threads are counted on their own.
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
        _check()
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
        is_virtual=False,
        processors=processors,
    )
    generators = crew.generators = Generators(native)
    with _in_process(native), _shown(native, shown):
        native.watch()
        try:
            with generators.seen():
                return native.run(main)
        finally:
            _report(crew.join())
            # The native runtime holds the crew, too, where the collector cannot see it.
            crew.native = crew.generators = None


def _check() -> None:
    if _native.in_runtime():
        raise RuntimeError("herz.runtime.run was called inside a runtime: use go(…) there")


@overload
def run_virtual(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int | None = None,
    grace_ns: int = _GRACE_NS,
) -> T: ...
@overload
def run_virtual(
    main: Callable[[], T], *, seed: int | None = None, grace_ns: int = _GRACE_NS
) -> T: ...
def run_virtual(
    main: Coroutine[Any, Any, Any] | Callable[[], Any],
    *,
    seed: int | None = None,
    grace_ns: int = _GRACE_NS,
) -> Any:
    """What main returns, run by a clock of its own, in an order that a seed draws: for tests.

    `now_ns` begins at zero, stands still while anything is runnable, and then jumps to the next
    timer. All runs on the calling thread, functions too, each as one step; nothing is handed off.
    So the same program takes the same steps in the same order each time, and another seed explores
    another order. What reads other clocks, other threads or sockets is outside of that.

    Args:
        main: a coroutine, an ``async def`` function without arguments, or a plain function.
        seed: from 0 to 2**64 - 1, draws which runnable task takes the next step, and which ready
            case `select` takes. None: tasks run in the order in which they became runnable.
        grace_ns: nanoseconds of the virtual clock that the other tasks have to end after main.

    Raises:
        BaseException: what main raised.
        Deadlock: all tasks wait for each other.
        RuntimeError: this thread runs a runtime already.
        TypeError: the seed is not an int.
        ValueError: the seed is out of range.
    """
    try:
        _check()
        _check_seed(seed)
    except (RuntimeError, TypeError, ValueError):
        if isinstance(main, Coroutine):
            main.close()
        raise
    native = _native.Runtime(
        _no_worker,
        hand_off=False,
        stall_ns=_STALL_NS,
        workers_max=1,
        grace_ns=grace_ns,
        short_interval=False,
        is_virtual=True,
        seed=seed,
    )
    with _signals(native):
        return native.run(main)


def _no_worker() -> None:
    raise RuntimeError("under a virtual clock all runs on one thread: this needs another one")


def _check_seed(seed: object) -> None:
    if seed is None:
        return
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed must be an int or None, not {type(seed).__name__}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be from 0 to 2**64 - 1, not {seed}")


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


class NativeStats(TypedDict):
    """Counts of the native processors; see docs/reference/runtime.md."""

    processors: int
    tasks: int
    spawned: int
    steps: int
    local_hits: int
    queued_local: int
    queued_global: int
    probes: int
    steals: int
    stolen: int
    parks: int
    retakes: int
    spinning: int
    workers: int
    workers_idle: int
    descriptors: int
    timers: int


class Stats(TypedDict):
    """Counts of a runtime since it began; see docs/reference/runtime.md."""

    tasks: int
    spawned: int
    steps: int
    queued_local: int
    queued_global: int
    functions_queued: int
    descriptors: int
    timers: int
    timers_fired: int
    polls: int
    parks: int
    hand_offs: int
    stalls: int
    detached: int
    workers: int
    workers_idle: int
    native: NativeStats
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
    for thread in stuck:
        with collections_off():
            # Not kept: it has this function's own frame, which would then hold itself.
            frame = sys._current_frames().get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)) if frame is not None else "  (gone)\n"
        sys.stderr.write(f"herz.runtime: {thread.name} is still inside a call:\n{where}")
