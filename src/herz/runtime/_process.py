"""What a runtime owes to its process: threads like the main one, closed generators, a tidy exit.

Comes in: a native runtime. It must never keep one alive that has ended.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from herz import _native
from herz.runtime._scopes import shield

_EXIT_SECONDS = 1.0
"""How long runtimes on daemon threads may take to end when the process does."""
_STACK_BYTES_UNLIMITED = 64 * 1024 * 1024
"""A worker's stack where the main thread's has no limit. It is memory only as far as it is used."""
_PAGE_BYTES = 4096


# ---- threads ---------------------------------------------------------------------------------


@contextmanager
def main_stack_size() -> Iterator[None]:
    """Threads that start inside have the main thread's stack size, or what the program set."""
    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if limit == resource.RLIM_INFINITY:
        limit = _STACK_BYTES_UNLIMITED
    # There is no reading without setting.
    before = threading.stack_size(max(limit // _PAGE_BYTES, 64) * _PAGE_BYTES)
    if before != 0:
        threading.stack_size(before)
    try:
        yield
    finally:
        threading.stack_size(before)


# ---- the collector ----------------------------------------------------------------------------

_COLLECTOR = threading.RLock()


@contextmanager
def collections_off() -> Iterator[None]:
    """Around ``sys._current_frames()``: a collection inside it can block all threads for ever.

    The interpreter looks at the threads under a lock of its own, and makes objects meanwhile. A
    finalizer that runs then may give the interpreter to a thread that wants that lock.
    """
    # One at a time: none of them switches it on for another one.
    with _COLLECTOR:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


# ---- breakpoint() ------------------------------------------------------------------------------

_holding = 0
"""Runtimes that run and want to know of breakpoints."""


@contextmanager
def breakpoints_hold() -> Iterator[None]:
    """Inside, a ``breakpoint()`` in a task keeps its processor, unless the program has a hook."""
    global _holding  # noqa: PLW0603 - the hook belongs to the process, too
    _holding += 1
    if sys.breakpointhook is sys.__breakpointhook__:
        # Native: a debugger stops in the frame that called it, and that must be the task's.
        sys.breakpointhook = _native.breakpointhook
    try:
        yield
    finally:
        _holding -= 1
        if _holding == 0 and sys.breakpointhook is _native.breakpointhook:
            sys.breakpointhook = sys.__breakpointhook__


class Generators:
    """The asynchronous generators that tasks of one runtime began, on whichever thread."""

    def __init__(self, native: _native.Runtime) -> None:
        self._native = native
        self._living: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
        self._origin_depth = sys.get_coroutine_origin_tracking_depth()
        native.at_end(self._close_all)

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Sets the calling thread's hooks; both belong to a thread, not to the process."""
        before = sys.get_asyncgen_hooks()
        depth_before = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(self._origin_depth)
        sys.set_asyncgen_hooks(firstiter=self._living.add, finalizer=self._dropped)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*before)
            sys.set_coroutine_origin_tracking_depth(depth_before)

    def _dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Nobody will go on with it: its ``finally`` blocks run in a task of their own."""
        self._living.discard(generator)
        closing = _close(generator)
        try:
            self._native.spawn(closing)
        except RuntimeError:
            closing.close()  # the runtime has ended: nobody can run it

    def _close_all(self) -> None:
        """All tasks have ended: what they left half done is closed."""
        # No task is left that could begin another one meanwhile.
        for generator in list(self._living):
            self._native.spawn(_close(generator))


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    with shield():  # at the end of a run every task is cancelled
        await generator.aclose()


# ---- the end ---------------------------------------------------------------------------------

_running: dict[_native.Runtime, threading.Event] = {}
"""Runtimes that run, and what is set when each has ended."""


@contextmanager
def ended_at_exit(native: _native.Runtime) -> Iterator[None]:
    """Inside, a process that exits ends the runtime first: it may run on a daemon thread."""
    over = _running[native] = threading.Event()
    try:
        yield
    finally:
        _running.pop(native, None)
        over.set()


def _end_all() -> None:
    ends = time.monotonic() + _EXIT_SECONDS
    running = list(_running.items())
    for native, _ in running:
        native.stop()
    for _, over in running:
        over.wait(max(0.0, ends - time.monotonic()))


def _after_fork() -> None:
    """The child has none of the threads: its copies of runtimes are dead."""
    _running.clear()
    _native.after_fork()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_after_fork)
