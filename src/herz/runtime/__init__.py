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
    Timer,
    current_task,
    go,
    now_ns,
    select,
    sleep,
    yield_now,
)
from herz.runtime._batch import go_map
from herz.runtime._foreign import run_asyncio
from herz.runtime._locks import Event, Mutex, WaitGroup
from herz.runtime._portal import Portal
from herz.runtime._run import run, run_virtual, stats, tasks
from herz.runtime._scopes import TaskGroup, deadline, lock_thread, shield
from herz.runtime._ticker import Ticker

__all__ = [
    "Cancelled",
    "Channel",
    "Closed",
    "Deadlock",
    "Event",
    "Mutex",
    "Portal",
    "Semaphore",
    "Task",
    "TaskGroup",
    "Ticker",
    "Timer",
    "WaitGroup",
    "current_task",
    "deadline",
    "go",
    "go_map",
    "lock_thread",
    "now_ns",
    "run",
    "run_asyncio",
    "run_virtual",
    "select",
    "shield",
    "sleep",
    "stats",
    "tasks",
    "yield_now",
]
