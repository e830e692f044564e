"""How late a periodic tick is, and why: measured from inside, with a trace of what happened.

A tick is late from its time until its task runs. Each moment in between is one cause's: a garbage
collection ran; the worker waited for the interpreter; it was asleep past the time (the clock or the
kernel woke it late); or else it was busy, and the tick waited for the processor.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable
from dataclasses import dataclass

from herz import _native
from herz.runtime import _trace
from herz.runtime._trace import Event

COLLECTION, INTERPRETER, CLOCK, PROCESSOR = "collection", "interpreter", "clock", "processor"
CAUSES = (PROCESSOR, INTERPRETER, COLLECTION, CLOCK)

_EVENTS = 2_000_000
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tick:
    """When a tick was due and when its task ran, and how much of the time is whose."""

    due_ns: int
    ran_ns: int
    causes_ns: dict[str, int]

    @property
    def late_ns(self) -> int:
        """From its time until its task ran."""
        return self.ran_ns - self.due_ns


@dataclass(frozen=True, slots=True)
class Drift:
    """All ticks of a measurement, in order; and events that the trace lost."""

    ticks: tuple[Tick, ...]
    lost: int

    def lateness_ns(self, thousandths: int) -> int:
        """The lateness that so many thousandths of the ticks did not exceed."""
        return _quantile([tick.late_ns for tick in self.ticks], thousandths)

    def cause_ns(self, cause: str, thousandths: int) -> int:
        """What the cause added to so many thousandths of the ticks at most."""
        return _quantile([tick.causes_ns[cause] for tick in self.ticks], thousandths)

    def sum_ns(self, cause: str | None = None) -> int:
        """The lateness of all ticks together, or a cause's part in it."""
        if cause is None:
            return sum(tick.late_ns for tick in self.ticks)
        return sum(tick.causes_ns[cause] for tick in self.ticks)


def _quantile(values: list[int], thousandths: int) -> int:
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * thousandths // 1_000) - 1)] if ordered else 0


async def drift(seconds: float, every_s: float = 0.01) -> Drift:
    """Measures a periodic tick of this runtime, beside whatever else it does.

    Args:
        seconds: for so long.
        every_s: from a tick's time to the next one's. Ticks that come due while one is late are
            measured, too: their times are fixed from the start.

    Raises:
        RuntimeError: no runtime runs on this thread, or it is traced already.
        ValueError: a time is not above zero.
    """
    if not (seconds > 0 and every_s > 0):
        raise ValueError("seconds and every_s must be above zero")
    native = _native.current_runtime()
    mark = _native.task_mark(_native.current_task())
    count = max(1, round(seconds / every_s))
    ran: list[Span] = []
    _trace.begin(native, _EVENTS)
    try:
        began_ns = time.monotonic_ns()
        for number in range(1, count + 1):
            due_ns = began_ns + round(number * every_s * 1e9)
            left_ns = due_ns - time.monotonic_ns()
            if left_ns > 0:
                await _native.sleep(left_ns / 1e9)
            ran.append((due_ns, time.monotonic_ns()))
        await _native.yield_now()  # a step is an event once it has ended
    finally:
        caught = _trace.end(native)
    return Drift(tuple(_explained(ran, caught.events, mark)), caught.lost)


def _explained(ran: list[Span], events: list[Event], mark: int) -> Iterable[Tick]:
    steps = sorted((e for e in events if e.kind == _trace.STEP), key=lambda e: e.at_ns)
    own = [step for step in steps if step.task == mark]
    starts = [step.at_ns for step in own]
    spans = {
        kind: _by_worker(event for event in events if event.kind == kind)
        for kind in (_trace.COLLECTION, _trace.ATTACH, _trace.PARK)
    }
    # Only who has the processor parks, whoever that is.
    parked = sorted(span for each in spans[_trace.PARK].values() for span in each)
    for due_ns, ran_ns in ran:
        place = bisect.bisect_right(starts, ran_ns) - 1
        worker = own[place].worker if place >= 0 else 0
        left = [(due_ns, max(due_ns, ran_ns))]
        causes = {}
        for cause, taken in (
            (COLLECTION, spans[_trace.COLLECTION].get(-1, [])),
            (INTERPRETER, spans[_trace.ATTACH].get(worker, [])),
            (CLOCK, parked),
        ):
            before = _length(left)
            left = _without(left, taken)
            causes[cause] = before - _length(left)
        causes[PROCESSOR] = _length(left)
        yield Tick(due_ns, max(due_ns, ran_ns), causes)


def _by_worker(events: Iterable[Event]) -> dict[int, list[Span]]:
    found: dict[int, list[Span]] = {}
    for event in events:
        found.setdefault(event.worker, []).append((event.at_ns, event.ends_ns))
    return {worker: sorted(spans) for worker, spans in found.items()}


def _length(spans: list[Span]) -> int:
    return sum(end - start for start, end in spans)


def _without(spans: list[Span], taken: list[Span]) -> list[Span]:
    """What of the spans is in none of those that are taken; both are sorted and disjoint."""
    left = []
    for start, end in spans:
        at = start
        first = max(0, bisect.bisect_left(taken, (start, start)) - 1)
        for from_ns, to_ns in taken[first:]:
            if from_ns >= end:
                break
            if to_ns <= at:
                continue
            if from_ns > at:
                left.append((at, from_ns))
            at = max(at, to_ns)
        if at < end:
            left.append((at, end))
    return left
