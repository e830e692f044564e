"""Where tasks are: their Python stacks, as text, as numbers of bytes, and all of them in a dump."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from herz import _native
from herz._native import Task
from herz.runtime._process import collections_off

_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_ASKING = ("herz.runtime._stacks", "herz.runtime._blocking")
"""Modules whose innermost frames are the machine's, not the task's."""
_BELOW = "herz.runtime._run"
"""The module in which each stack of a worker begins."""
_DEPTH_MAX = 1_000
"""Bound: frames of a stack; the outermost ones are kept."""
_DUMPED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class FrameMemory:
    """A link of a task's await chain, from the outermost on."""

    function: str
    bytes: int
    """What the coroutine takes, its frame included."""
    total_bytes: int
    """What the task takes down to here."""


def frames(task: Task[Any]) -> list[FrameType]:
    """The task's frames, outermost first: its await chain, or the stack of the thread it is on.

    Args:
        task: in any state. One that runs beside the caller may have moved on when this returns.

    Returns:
        Empty for a task that has ended, and for a function that no thread has begun.
    """
    thread = _native.task_thread(task)
    if thread is not None:
        running = list(_running(task, thread))
        if running:
            return running[::-1][:_DEPTH_MAX]
    found = (_frame_of(link) for link in _native.task_chain(task))
    return [frame for frame in found if frame is not None][:_DEPTH_MAX]


def _frame_of(link: object) -> FrameType | None:
    found = (getattr(link, name, None) for name in _FRAMES)
    return next((frame for frame in found if frame is not None), None)


def _running(task: Task[Any], thread: int) -> Iterator[FrameType]:
    """From the innermost frame of the thread to the one in which the task began."""
    with collections_off():
        frame = sys._current_frames().get(thread)
    outermost = _frame_of(_native.task_target(task))
    while thread == threading.get_ident() and frame is not None and _module(frame) in _ASKING:
        frame = frame.f_back  # the caller asks about its own task
    while frame is not None and _module(frame) != _BELOW:
        yield frame
        if frame is outermost:
            return
        frame = frame.f_back


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def stack(task: Task[Any]) -> traceback.StackSummary:
    """The task's Python stack, outermost first, as `traceback` prints it.

    Works for suspended tasks (the chain of what awaits what), for running and detached ones and
    for functions (the stack of their thread).
    """
    walked = ((frame, frame.f_lineno) for frame in frames(task))
    # Extracted at once, so that no frame is kept alive by the result.
    return traceback.StackSummary.extract(walked)


def memory(task: Task[Any]) -> list[FrameMemory]:
    """What the task's await chain takes, link by link: how its frames grow with their depth.

    Returns:
        The task itself first, then each coroutine or generator. Objects that frames refer to are
        not counted.
    """
    total = sys.getsizeof(task)
    found = [FrameMemory("(task)", total, total)]
    for link in _native.task_chain(task):
        size = sys.getsizeof(link)
        total += size
        name = getattr(link, "__qualname__", type(link).__name__)
        found.append(FrameMemory(str(name), size, total))
    return found


def describe(task: Task[Any]) -> str:
    """One line: number, name, what it does, for how long."""
    name = f"task-{task.id}" if task.name == f"task-{task.id}" else f"task-{task.id} {task.name}"
    target = getattr(_native.task_target(task), "__qualname__", None)
    what = "" if target is None else f" {target}"
    waited = task.waited_ns
    since = "" if waited is None else f", {seconds(waited)}"
    return f"{name}{what} [{task.state}{since}; started {seconds(task.age_ns)} ago]"


def seconds(ns: int) -> str:
    """A length of time for people."""
    return f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.1f} s"


def dump(most: int = _DUMPED_MAX) -> str:
    """All tasks of this runtime with state, what each waits for, ages and Python stacks, as text.

    Args:
        most: at most so many tasks with their stacks, those that run first; the others are counted.

    Raises:
        RuntimeError: no runtime runs on this thread.
    """
    counts, found = _native.census(_native.current_runtime(), sys.maxsize, most)
    parts = []
    for task in found:
        lines = "".join(stack(task).format())
        parts.append(f"{describe(task)}\n{lines}")
    left = sum(counts.values()) - len(found)
    if left:
        parts.append(f"and {left} more tasks\n")
    return "\n".join(parts)
