"""How far long work has come, on stderr: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from herz.front.cli.failure import printable
from herz.ports import Progress as ProgressPort

LINE_EVERY_S = 5.0
"""Bound: a log gets a line every five seconds, whatever the run reports."""


class Silent:
    """Tells nobody: stderr is kept for a machine's reader."""

    def advance(self, done: int, total: int, note: str) -> None:
        """See `herz.ports.Progress`."""


class Lines:
    """A plain line every `LINE_EVERY_S`; a short run prints none.

    Args:
        stream: where to.
        clock: monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last_s = clock()

    def advance(self, done: int, total: int, note: str) -> None:
        """See `herz.ports.Progress`."""
        now_s = self._clock()
        if now_s - self._last_s < LINE_EVERY_S:
            return
        self._last_s = now_s
        share = f"{100 * done // total} %" if total > 0 else f"{done}"
        self._stream.write(f"herz: {share} {printable(note)}\n")
        self._stream.flush()


class Bar:
    """A bar that rich redraws ten times a second, however often it is told of progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("", total=None, note="starting")

    def advance(self, done: int, total: int, note: str) -> None:
        """See `herz.ports.Progress`."""
        self._progress.update(
            self._task, completed=done, total=total if total > 0 else None, note=printable(note)
        )


@contextmanager
def shown_progress(*, is_table: bool) -> Iterator[ProgressPort]:
    """The progress that suits stderr, taken down again when the work ends.

    Args:
        is_table: the answer is for people; else a log's reader expects nothing but errors.
    """
    if sys.stderr.isatty():
        with Progress(
            TextColumn("[bold]simulate"),
            BarColumn(bar_width=40),
            TextColumn("{task.percentage:>3.0f} %"),
            # No markup: a scenario's file name may hold brackets.
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as progress:
            yield Bar(progress)
        return
    yield Lines(sys.stderr) if is_table else Silent()
