"""Traces for Perfetto, and folded stacks for flame graphs."""

from __future__ import annotations

import bisect
import json
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from herz import _native
from herz._native import Runtime, Task
from herz.runtime._stacks import frames

STEP, FUNCTION, PARK, ATTACH, READY, FIRE, HAND_OFF, COLLECTION, IDLE = range(9)
"""Kinds of events, as the core numbers them."""

_ROW = struct.Struct("=6q")
_EVENTS = 1_000_000
_NATIVE = 1 << 17
"""The tracks of native workers begin here."""
_COLLECTIONS = 1 << 20
_OTHERS = _COLLECTIONS + 1
"""Tracks beside those of the workers."""
_SLICES = {
    PARK: "wait for the kernel",
    ATTACH: "wait for the interpreter",
    COLLECTION: "garbage collection",
    IDLE: "wait for work",
}
_WORKER_BITS = 16


class Event(NamedTuple):
    """Something that happened; times are nanoseconds of the monotonic clock."""

    kind: int
    worker: int
    at_ns: int
    length_ns: int
    task: int
    other: int

    @property
    def ends_ns(self) -> int:
        """Where the slice ends."""
        return self.at_ns + self.length_ns


@dataclass(frozen=True, slots=True)
class Caught:
    """What a trace has caught."""

    events: list[Event]
    names: dict[int, str]
    lost: int

    def name(self, task: int) -> str:
        """What a task is called; 0 is none."""
        if task == 0:
            return "the call of a timer"
        return self.names.get(task) or f"task-{task & 0xFFFF_FFFF}"


def begin(native: Runtime, events: int) -> None:
    """Begins to trace.

    Raises:
        RuntimeError: a trace of this runtime is under way.
        ValueError: no room for any event.
    """
    if events < 1:
        raise ValueError(f"events must be at least 1, not {events}")
    _native.trace_start(native, events)


def end(native: Runtime) -> Caught:
    """Ends the trace and gives what it caught."""
    rows, names, lost = _native.trace_stop(native)
    return Caught([Event._make(row) for row in _ROW.iter_unpack(rows)], names, lost)


@contextmanager
def trace(path: str | os.PathLike[str], *, events: int = _EVENTS) -> Iterator[None]:
    """Inside, notes each step, wake-up and hand-off; writes them to a file for Perfetto.

    The file is JSON, in the trace event format that ui.perfetto.dev and chrome://tracing open: a
    track for each worker with a slice for each step, arrows from whoever woke a task to its step,
    a mark where a step lost its processor, garbage collections on a track of their own.

    Args:
        path: is written when the block ends, also when it raises.
        events: at most so many, the last ones; the file says how many were lost.

    Raises:
        OSError: the file cannot be written; known before the block begins.
        RuntimeError: no runtime runs on this thread, or it is traced already.
        ValueError: `events` is below 1.
    """
    native = _native.current_runtime()
    with Path(path).open("w", encoding="utf-8") as file:
        begin(native, events)
        try:
            yield
        finally:
            write(end(native), file)


def write(caught: Caught, file: IO[str]) -> None:
    """Writes a trace as JSON, an event a line."""
    file.write('{"displayTimeUnit": "ns", "otherData": ')
    json.dump({"lost events": caught.lost, "clock": "CLOCK_MONOTONIC"}, file)
    file.write(', "traceEvents": [\n')
    separator = ""
    for event in _shown(caught):
        file.write(separator)
        json.dump(event, file)
        separator = ",\n"
    file.write("\n]}\n")


def _shown(caught: Caught) -> Iterator[dict[str, Any]]:
    pid = os.getpid()
    tracks = {_track(event) for event in caught.events}
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": "herz.runtime"}}
    for track in sorted(tracks):
        yield {
            "ph": "M",
            "name": "thread_name",
            "pid": pid,
            "tid": track,
            "args": {"name": _track_name(track)},
        }
    for event in caught.events:
        shown = _shown_event(event, caught)
        if shown is not None:
            yield shown | {"pid": pid, "tid": _track(event), "ts": event.at_ns / 1_000}
    for number, (woken, step) in enumerate(_wakes(caught.events), 1):
        arrow = {"pid": pid, "name": "wake", "cat": "wake", "id": number}
        yield arrow | {"ph": "s", "tid": _track(woken), "ts": woken.at_ns / 1_000}
        yield arrow | {"ph": "f", "bp": "e", "tid": _track(step), "ts": step.at_ns / 1_000}


def _track(event: Event) -> int:
    if event.kind == COLLECTION:
        return _COLLECTIONS
    if event.kind == HAND_OFF:
        return event.other >> _WORKER_BITS
    return _OTHERS if event.worker < 0 else event.worker


def _track_name(track: int) -> str:
    worker = f"worker {track}" if track < _NATIVE else f"native worker {track - _NATIVE}"
    return {_COLLECTIONS: "garbage collection", _OTHERS: "other threads"}.get(track, worker)


def _shown_event(event: Event, caught: Caught) -> dict[str, Any] | None:
    if event.kind in (STEP, FUNCTION):
        category = "function" if event.kind == FUNCTION else "step"
        name = caught.name(event.task) if event.worker < _NATIVE else "native task"
        return {"ph": "X", "dur": event.length_ns / 1_000, "name": name, "cat": category}
    if event.kind in _SLICES:
        name = _SLICES[event.kind]
        return {"ph": "X", "dur": event.length_ns / 1_000, "name": name, "cat": "wait"}
    if event.kind == HAND_OFF:
        to = event.other & ((1 << _WORKER_BITS) - 1)
        args = {"task": caught.name(event.task), "processor goes to": f"worker {to}"}
        return {"ph": "i", "s": "t", "name": "hand-off", "cat": "hand-off", "args": args}
    if event.kind == FIRE:
        args = {"task": caught.name(event.task), "late, ns": str(event.length_ns)}
        return {"ph": "i", "s": "t", "name": "timer", "cat": "timer", "args": args}
    return None


def _wakes(events: list[Event]) -> Iterator[tuple[Event, Event]]:
    """Each wake-up from inside a step, and the step that came of it."""
    steps: dict[int, list[Event]] = {}
    for event in events:
        if event.kind in (STEP, FUNCTION):
            steps.setdefault(event.task, []).append(event)
    for each in steps.values():
        each.sort(key=lambda step: step.at_ns)
    for event in events:
        if event.kind == READY and event.worker >= 0:
            own = steps.get(event.task, [])
            place = bisect.bisect_left(own, event.at_ns, key=lambda step: step.at_ns)
            if place < len(own):
                yield event, own[place]


# ---- flame graphs ------------------------------------------------------------------------------


@contextmanager
def profile(path: str | os.PathLike[str], *, every_ms: float = 1.0) -> Iterator[None]:
    """Inside, samples what all running tasks do; writes folded stacks, for flame graphs.

    Each line is ``task;function;…;function microseconds``, outermost first, as flamegraph.pl and
    speedscope read them. A sample stands for the time since the one before; waiting is not in it.

    Args:
        path: is written when the block ends, also when it raises.
        every_ms: between two samples. The sampler is a thread of the interpreter: beside a step
            that burns it gets a sample each switch interval at best.

    Raises:
        OSError: the file cannot be written; known before the block begins.
        RuntimeError: no runtime runs on this thread.
        ValueError: `every_ms` is not above zero.
    """
    if not every_ms > 0:
        raise ValueError(f"every_ms must be above zero, not {every_ms}")
    native = _native.current_runtime()
    with Path(path).open("w", encoding="utf-8") as file:
        sampler = _Sampler(native, every_ms / 1_000)
        sampler.start()
        try:
            yield
        finally:
            sampler.end()
            file.writelines(
                f"{folded} {max(1, ns // 1_000)}\n" for folded, ns in sorted(sampler.spent.items())
            )


class _Sampler(threading.Thread):
    def __init__(self, native: Runtime, every_s: float) -> None:
        super().__init__(name="herz-profiler", daemon=True)
        self.spent: dict[str, int] = {}
        self._native = native
        self._every_s = every_s
        self._ended = threading.Event()

    def run(self) -> None:
        last_ns = time.monotonic_ns()
        while not self._ended.wait(self._every_s):
            now_ns = time.monotonic_ns()
            for _, _, task in _native.running_tasks(self._native):
                if self._ended.is_set():
                    return
                folded = _folded(task)
                self.spent[folded] = self.spent.get(folded, 0) + now_ns - last_ns
            last_ns = now_ns

    def end(self) -> None:
        self._ended.set()
        self.join()


def _folded(task: Task[Any]) -> str:
    names = [task.name if task.name != f"task-{task.id}" else "task"]
    names += [
        f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"
        for frame in frames(task)
    ]
    return ";".join(name.replace(";", ",").replace("\n", " ") for name in names)
