"""Goroutine-like tasks for Python: many coroutines, and a scheduler that does not stop for one.

`run` starts a runtime on the calling thread and `go` starts tasks in it. A task that blocks or
burns the CPU for longer than `stall_ns` loses the *processor*, the right to run tasks: another
thread goes on with the other tasks, and the one that lost it finishes its step beside them. Plain
functions run on threads of their own at once.

The machine and its semantics (what may run between two awaits, what happens before what, how tasks
are cancelled) are in docs/reference/runtime.md. What comes in: coroutines and functions. What goes
out: their results. It knows nothing of scheduling pods, and nothing of asyncio but `run_asyncio`.
"""

from herz._native import (
    Cancelled,
    Channel,
    Closed,
    Deadlock,
    Semaphore,
    Task,
    current_task,
    go,
    sleep,
    yield_now,
)
from herz.runtime._drift import Drift, Tick, drift
from herz.runtime._foreign import run_asyncio
from herz.runtime._inspect import NotInspectableError, listening, snapshot
from herz.runtime._locks import Event, Mutex, WaitGroup
from herz.runtime._portal import Portal
from herz.runtime._run import Stats, Summary, run, stats, tasks
from herz.runtime._scopes import TaskGroup, deadline, shield
from herz.runtime._stacks import FrameMemory, dump, memory, stack
from herz.runtime._trace import profile, trace

__all__ = [
    "Cancelled",
    "Channel",
    "Closed",
    "Deadlock",
    "Drift",
    "Event",
    "FrameMemory",
    "Mutex",
    "NotInspectableError",
    "Portal",
    "Semaphore",
    "Stats",
    "Summary",
    "Task",
    "TaskGroup",
    "Tick",
    "WaitGroup",
    "current_task",
    "deadline",
    "drift",
    "dump",
    "go",
    "listening",
    "memory",
    "profile",
    "run",
    "run_asyncio",
    "shield",
    "sleep",
    "snapshot",
    "stack",
    "stats",
    "tasks",
    "trace",
    "yield_now",
]
