"""The stall log: steps that kept the processor too long, with task and stack, through `logging`.

The logger is ``herz.runtime``. It prints nothing until the program configures logging. A thread of
its own writes a line, after the fact and without any lock of the core; at most ten in a second.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import FrameType
from typing import Any, TypedDict

from herz import _native
from herz._native import Runtime, Task
from herz.runtime import _blocking
from herz.runtime._stacks import describe, frames, seconds

logger = logging.getLogger("herz.runtime")
logger.addHandler(logging.NullHandler())

_KEPT_NS = 20_000_000
"""Who waits this long for the interpreter's lock, and four switch intervals, was kept from it."""
_SEARCHED_MAX = 1_000
"""Bound: tasks that are searched for the holder of a lock."""


class _Told(TypedDict):
    """What the core tells of a stall."""

    task: Task[Any] | None
    name: str
    thread: int
    is_going_on: bool
    is_detached: bool
    is_off_cpu: bool
    is_paused: bool
    lasted_ns: int
    waited_ns: int
    skipped: int


class StallLog:
    """Writes the stalls of one runtime to the log."""

    def __init__(self, native: Runtime) -> None:
        self._native = native

    def __call__(self, told: dict[str, Any]) -> None:
        """Writes one line, and the stack below it."""
        if logger.isEnabledFor(logging.WARNING) and _is_listened_to():
            stall: _Told = told  # type: ignore[assignment]
            logger.warning("%s", self._text(stall))

    def _text(self, stall: _Told) -> str:
        task = stall["task"]
        found = frames(task) if task is not None and stall["is_going_on"] else []
        who = stall["name"] if task is None else describe(task)
        fate = "was detached" if stall["is_detached"] else "could not be detached"
        ended = "" if stall["is_going_on"] else " (it has ended since)"
        lines = [
            f"a step of {who} has lasted {seconds(stall['lasted_ns'])} and {fate}{ended}: "
            f"{_cause(stall, found)}{self._lock(found)}{_skipped(stall)}"
        ]
        walked = ((frame, frame.f_lineno) for frame in found)
        lines += traceback.StackSummary.extract(walked).format()
        return "\n".join(line.rstrip("\n") for line in lines)

    def _lock(self, found: list[FrameType]) -> str:
        """Which lock it waits for, who has it, and who else waits."""
        lock = _blocking.lock_waited_for(found[-1]) if found else None
        if lock is None:
            return ""
        running = _native.running_tasks(self._native)
        _, tasks = _native.census(self._native, _SEARCHED_MAX, _SEARCHED_MAX)
        names = {thread.ident or 0: thread.name for thread in threading.enumerate()}
        names |= {thread: task.name for _, thread, task in running}
        held = _blocking.holders(lock, tasks, names)
        waiters = [task.name for _, _, task in running if _waits_for(task, lock)]
        by = f"held by {', '.join(held)}" if held else "held by somebody unknown"
        return f"; waits for {lock!r}, {by}; wanted by {', '.join(waiters)}"


def _waits_for(task: Task[Any], lock: object) -> bool:
    found = frames(task)
    return bool(found) and _blocking.lock_waited_for(found[-1]) is lock


def _is_listened_to() -> bool:
    """Whether anybody but the `NullHandler` gets what is logged."""
    at: logging.Logger | None = logger
    while at is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in at.handlers):
            return True
        at = at.parent if at.propagate else None
    return False


def _cause(stall: _Told, found: list[FrameType]) -> str:
    if stall["is_paused"]:
        return "a garbage collection runs, or a debugger holds a task"
    kept_ns = max(_KEPT_NS, int(4e9 * sys.getswitchinterval()))
    # Bytecode gives the lock away when it is asked to. A call that has just returned does so at
    # once, so that the frame still is at the call.
    is_in_call = not found or _blocking.operation(found[-1]) in _blocking.CALLS
    if stall["waited_ns"] >= kept_ns and is_in_call:
        return (
            f"the interpreter's lock was not to be had for {seconds(stall['waited_ns'])}: "
            "a call into C keeps it, which stops everyone"
        )
    # A thread that has no CPU for a while uses as little of it as one that is blocked.
    return "blocked in a call" if stall["is_off_cpu"] and is_in_call else "burns the CPU"


def _skipped(stall: _Told) -> str:
    return f" ({stall['skipped']} more steps were not written)" if stall["skipped"] else ""
