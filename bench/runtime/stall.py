"""How late others are while one task blocks, or burns the CPU."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from bench.runtime.peers import Peers
from herz import runtime
from herz.runtime import go

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

TICKING, EVERY_NS = 1_000, 50_000_000
BEFORE_S, STALL_S, AFTER_S = 0.2, 0.5, 0.1

Pause = Callable[[float], Awaitable[Any]]
Start = Callable[..., Any]


async def tick(pause: Pause, first_ns: int, until_ns: int, late: list[tuple[int, int]]) -> None:
    """Notes for each tick when it was due and how late it came."""
    due_ns = first_ns
    while due_ns < until_ns:
        await pause((due_ns - time.monotonic_ns()) / 1e9)
        late.append((due_ns, time.monotonic_ns() - due_ns))
        due_ns += EVERY_NS


async def scene(
    pause: Pause, start: Start, staller: Callable[[], None] | None, count: int = 1
) -> list[float]:
    """Milliseconds by which the ticks were late that were due while so many stallers ran."""
    began_ns = time.monotonic_ns()
    until_ns = began_ns + int((BEFORE_S + STALL_S + AFTER_S) * 1e9)
    late: list[tuple[int, int]] = []
    step_ns = EVERY_NS // TICKING
    tasks = [
        start(tick(pause, began_ns + EVERY_NS + number * step_ns, until_ns, late))
        for number in range(TICKING)
    ]
    await pause(BEFORE_S)
    from_ns = time.monotonic_ns()

    async def stall() -> None:
        if staller is not None:
            staller()

    tasks += [start(stall()) for _ in range(count)]
    for task in tasks:
        await task
    to_ns = from_ns + int(STALL_S * 1e9)
    return sorted(delay / 1e6 for due, delay in late if from_ns <= due < to_ns)


def block() -> None:
    """Waits in a call that gives the interpreter away."""
    time.sleep(STALL_S)


def burn() -> None:
    """Runs bytecode."""
    until = time.monotonic() + STALL_S
    while time.monotonic() < until:
        pass


def measured(staller: Callable[[], None]) -> Callable[[Peers], dict[str, float]]:
    """P99 and maximum of the runtime, of itself without a staller, and of the peers."""

    def measure(peers: Peers) -> dict[str, float]:
        values: dict[str, float] = {}

        def note(name: str, late: list[float]) -> None:
            values[f"{name} P99"] = late[int(len(late) * 0.99)]
            values[f"{name} max"] = late[-1]

        note("control", runtime.run(scene(runtime.sleep, go, None)))
        note("herz", runtime.run(scene(runtime.sleep, go, staller)))
        for name, run in peers.loops.items():

            async def theirs(name: str = name) -> float:
                note(name, await scene(asyncio.sleep, asyncio.create_task, staller))
                return 0.0

            run(theirs())
        return values

    return measure


def judge(p99_ms: float, above_ms: float) -> Callable[[Verdicts, dict[str, float]], None]:
    """P99 at most so much, and the maximum at most the control's and so much."""

    def judged(verdicts: Verdicts, medians: dict[str, float]) -> None:
        verdicts.below(medians, "herz P99", p99_ms)
        verdicts.below(medians, "herz max", medians["control max"] + above_ms)

    return judged


MANY = (
    ("8 blockers", block, 8),
    ("100 blockers", block, 100),
    ("4 burners", burn, 4),
    ("16 burners", burn, 16),
)
LOCKED = 30


def many(_peers: Peers) -> dict[str, float]:
    """The same with several stallers, and with tasks that all want one `threading.Lock`."""
    values: dict[str, float] = {}

    def note(name: str, staller: Callable[[], None], count: int) -> None:
        # A thread for each staller: fewer are a queue, which no runtime could shorten.
        ticks = scene(runtime.sleep, go, staller, count)
        late = runtime.run(ticks, max_workers=count + 32)
        values[f"{name} P99"] = late[int(len(late) * 0.99)]
        values[f"{name} max"] = late[-1]

    lock = threading.Lock()

    def hold() -> None:
        with lock:
            time.sleep(STALL_S / LOCKED)

    for name, staller, count in MANY:
        note(name, staller, count)
    note(f"{LOCKED} on one lock", hold, LOCKED)
    return values


def judge_many(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """A hundred blockers delay nobody by more than 60 ms; the rest is a table."""
    verdicts.below(medians, "100 blockers max", 60)


CASES = (
    (f"lateness while a task blocks for {STALL_S} s", "ms", measured(block), judge(5, 8)),
    (f"lateness while a task burns for {STALL_S} s", "ms", measured(burn), judge(8, 12)),
    ("lateness while several do", "ms", many, judge_many),
)
