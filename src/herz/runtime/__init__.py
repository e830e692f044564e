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
    Connection,
    Deadlock,
    Listener,
    Semaphore,
    Task,
    Timer,
    current_task,
    go,
    notify_closing,
    now_ns,
    relay,
    select,
    sleep,
    wait_readable,
    wait_writable,
    yield_now,
)
from herz.runtime._batch import go_map
from herz.runtime._drift import Drift, Tick, drift
from herz.runtime._foreign import run_asyncio
from herz.runtime._inspect import NotInspectableError, listening, snapshot
from herz.runtime._locks import Event, Mutex, WaitGroup
from herz.runtime._net import (
    connect_tcp,
    connect_unix,
    getaddrinfo,
    listen_tcp,
    listen_unix,
    serve,
)
from herz.runtime._portal import Portal
from herz.runtime._run import NativeStats, Stats, Summary, run, run_virtual, stats, tasks
from herz.runtime._scopes import TaskGroup, deadline, lock_thread, shield
from herz.runtime._stacks import FrameMemory, dump, memory, stack
from herz.runtime._ticker import Ticker
from herz.runtime._trace import profile, trace

__all__ = [
    "Cancelled",
    "Channel",
    "Closed",
    "Connection",
    "Deadlock",
    "Drift",
    "Event",
    "FrameMemory",
    "Listener",
    "Mutex",
    "NativeStats",
    "NotInspectableError",
    "Portal",
    "Semaphore",
    "Stats",
    "Summary",
    "Task",
    "TaskGroup",
    "Tick",
    "Ticker",
    "Timer",
    "WaitGroup",
    "connect_tcp",
    "connect_unix",
    "current_task",
    "deadline",
    "drift",
    "dump",
    "getaddrinfo",
    "go",
    "go_map",
    "listen_tcp",
    "listen_unix",
    "listening",
    "lock_thread",
    "memory",
    "notify_closing",
    "now_ns",
    "profile",
    "relay",
    "run",
    "run_asyncio",
    "run_virtual",
    "select",
    "serve",
    "shield",
    "sleep",
    "snapshot",
    "stack",
    "stats",
    "tasks",
    "trace",
    "wait_readable",
    "wait_writable",
    "yield_now",
]
