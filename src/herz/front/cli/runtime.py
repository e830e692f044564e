"""`herz runtime`: a look at the tasks of another live process, and at this machine's lateness."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

from rich.console import Console, RenderableType
from rich.live import Live

from herz.errors import ConfigError, WorldError
from herz.front.cli import top as shown
from herz.front.cli.declared import Argument, Option
from herz.front.cli.options import Output, OutputOption, parsed_integer
from herz.front.cli.printing import WIDTH_PLAIN, print_answer
from herz.runtime import (
    Drift,
    NotInspectableError,
    drift,
    go,
    listening,
    run,
    sleep,
    snapshot,
)

TOP = """Examples:

    herz runtime top

    herz runtime top 4711 --once --output json
"""
DRIFT = "Example: herz runtime drift --seconds 5 --every-ms 1 --load thread"

PID_MAX = 2**22
SECONDS_MAX = 3_600
EVERY_MS_MAX = 10_000
ONCE_S = 0.25
"""With --once: the time over which rates are measured."""


class Load(StrEnum):
    """What runs beside the ticks."""

    NONE = "none"
    TASKS = "tasks"
    THREAD = "thread"
    GARBAGE = "garbage"


# ---- top ---------------------------------------------------------------------------------------


def top(
    pid: Annotated[
        str | None,
        Argument(metavar="PID", help="The process; may be left out if there is one."),
    ] = None,
    *,
    once: Annotated[bool, Option("--once", help="Show it once and end.")] = False,
    every: Annotated[str, Option(metavar="SECONDS", help="From one look to the next.")] = "1",
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the tasks of a live process that runs with HERZ_RUNTIME_INSPECT=1."""
    every_s = parsed_integer(every, option="--every", low=1, high=SECONDS_MAX)
    chosen = _only_one() if pid is None else parsed_integer(pid, option="PID", low=1, high=PID_MAX)
    looks = _looks(chosen, ONCE_S if once else every_s)
    if once:
        looks = iter([next(looks)])
    if output is not Output.TABLE:
        for answer in looks:
            _print_data(answer, output, is_only=once)
        return
    console = Console(
        highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_PLAIN
    )
    if once or not console.is_terminal:
        for answer in looks:
            console.print(shown.screen(answer, limit=None))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for answer in looks:
            live.update(_fitted(answer, console), refresh=True)


def _fitted(answer: dict[str, Any], console: Console) -> RenderableType:
    return shown.screen(answer, limit=max(1, console.height - shown.LINES_ABOVE))


def _only_one() -> int:
    try:
        found = listening()
    except PermissionError as error:
        raise WorldError(str(error)) from error
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            "no process of this user shows a herz runtime",
            where="PID",
            value=None,
            fix="start one with HERZ_RUNTIME_INSPECT=1, or with run(…, inspect=True)",
        )
    raise ConfigError(
        "several processes show a herz runtime",
        where="PID",
        value=" ".join(map(str, found)),
        fix="name one of them",
    )


def _look(pid: int) -> dict[str, Any]:
    try:
        return snapshot(pid)
    except NotInspectableError as error:
        what, _, fix = str(error).partition(": ")
        raise ConfigError(what, where="PID", value=pid, fix=fix or "name another") from error
    except OSError as error:
        raise WorldError(f"process {pid} cannot be asked: {error}") from error


def _looks(pid: int, every_s: float) -> Iterator[dict[str, Any]]:
    """What the process says, again and again, with rates since the time before."""
    before = _look(pid)
    while True:
        time.sleep(every_s)
        try:
            now = _look(pid)
        except ConfigError:
            if not before["runtimes"]:
                raise
            sys.stderr.write(f"herz: process {pid} has ended, or its runtime has\n")
            return
        yield shown.with_rates(before, now)
        before = now


def _print_data(answer: dict[str, Any], output: Output, *, is_only: bool) -> None:
    if output is Output.JSON and not is_only:
        # An object a line: what follows is for a program that reads as it comes.
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        return
    print_answer(answer, output, title="", columns=(), rows=())


# ---- drift -------------------------------------------------------------------------------------


def measured_drift(
    *,
    seconds: Annotated[str, Option(metavar="SECONDS", help="For how long to measure.")] = "5",
    every_ms: Annotated[str, Option(metavar="MS", help="From one tick to the next.")] = "10",
    load: Annotated[
        Load,
        Option(help="What runs beside the ticks: each shows another cause."),
    ] = Load.NONE,
    output: OutputOption = Output.TABLE,
) -> None:
    """Measure how late a periodic tick is in this process, and what made it late."""
    for_s = parsed_integer(seconds, option="--seconds", low=1, high=SECONDS_MAX)
    ms = parsed_integer(every_ms, option="--every-ms", low=1, high=EVERY_MS_MAX)

    async def measure() -> Drift:
        with _thread_that_burns(wanted=load is Load.THREAD):
            beside = go(LOADS[load]()) if load in LOADS else None
            try:
                return await drift(for_s, ms / 1_000)
            finally:
                if beside is not None:
                    beside.cancel()

    found = run(measure())
    print_answer(
        shown.drift_data(found, load.value, ms),
        output,
        title=f"herz runtime drift: {len(found.ticks)} ticks, one each {ms} ms, load {load.value}",
        columns=shown.DRIFT_COLUMNS,
        rows=shown.drift_rows(found),
        after=shown.drift_notes(found),
    )


async def _burn_in_steps() -> None:
    """Steps of two milliseconds: each keeps the processor from the ticks."""
    while True:
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass
        await sleep(0)


def _litter() -> Coroutine[Any, Any, None]:
    """Many objects, made before anything is measured, and collections of them."""
    kept = [[number] for number in range(300_000)]

    async def collect() -> None:
        while kept:
            gc.collect()
            await sleep(0.001)

    return collect()


LOADS = {Load.TASKS: _burn_in_steps, Load.GARBAGE: _litter}


@contextmanager
def _thread_that_burns(*, wanted: bool) -> Iterator[None]:
    """A thread that is none of the runtime's and keeps the interpreter's lock as it may."""
    ended = threading.Event()

    def burn() -> None:
        while not ended.is_set():
            pass

    if not wanted:
        yield
        return
    thread = threading.Thread(target=burn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
