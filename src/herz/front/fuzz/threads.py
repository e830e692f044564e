"""Another thread asks in between: one comparison is held at each of its instructions in turn.

What a scheduler of threads may do, done on purpose: the comparison under test is traced, and at
instruction number k a whole other comparison runs in a second thread before it goes on. Whatever
both share (a module's scratch, a cache that is being filled) then shows in one of the answers.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from herz.front.fuzz.facts import Fact
from herz.intake.fuzz import Asked, Finding, Flaw, Refuted

INSTRUCTIONS_MAX: Final = 160
WAIT_SECONDS: Final = 0.05
BLOCKED_MAX: Final = 6
"""Bounds: where a comparison is held, how long for, and how often in vain (it holds a lock)."""


class Interloper:
    """A second thread that compares on demand."""

    def __init__(self, less: Callable[[Any, Any], Any]) -> None:
        self._less = less
        self._asked: queue.SimpleQueue[tuple[Any, Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.blocked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while (pair := self._asked.get()) is not None:
            try:
                self._answers.put(self._less(*pair))
            except BaseException as error:
                self._answers.put(error)

    def ask(self, pair: tuple[Any, Any]) -> Any:
        """The answer; None when it does not come: the comparison that is held has a lock."""
        self._asked.put(pair)
        try:
            return self._answers.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            self.blocked += 1
            return None

    def settle(self) -> Any:
        """The late answer to what was asked last."""
        try:
            return self._answers.get(timeout=1.0)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End the thread."""
        self._asked.put(None)


def held_at(
    less: Callable[[Any, Any], Any],
    pair: tuple[Any, Any],
    number: int,
    between: Callable[[], None],
    file: str,
) -> tuple[Any, bool]:
    """The answer to a comparison that is held at one instruction; whether it has so many."""
    seen = 0
    is_reached = False

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen, is_reached
        del argument
        if file and frame.f_code.co_filename != file:
            return None
        frame.f_trace_opcodes = True
        if event in ("opcode", "line"):
            seen += 1
            if seen == number:
                is_reached = True
                sys.settrace(None)
                between()
                return None
        return trace

    sys.settrace(trace)
    try:
        answer: Any = less(*pair)
    except BaseException as error:
        answer = error
    finally:
        sys.settrace(None)
    return answer, is_reached


def disturb(less: Asked, facts: list[Fact], file: str, is_time: Callable[[], bool]) -> None:
    """Hold comparisons at each instruction while others run.

    Raises:
        Refuted: an answer was another one than alone.
    """
    function = Asked(less.function, less.form)  # its own counts: two threads ask
    interloper = Interloper(function)
    try:
        for fact in facts[:6]:
            _disturb_fact(function, interloper, fact, file, is_time)
            if interloper.blocked >= BLOCKED_MAX:
                return
    finally:
        interloper.stop()


def _disturb_fact(
    less: Asked, interloper: Interloper, fact: Fact, file: str, is_time: Callable[[], bool]
) -> None:
    values = fact.thawed()
    pairs = [pair for pair in fact.pairs() if pair[0] != pair[1]]
    chosen = [one for one in pairs if one[2]][:2] + [one for one in pairs if not one[2]][:2]
    for one, two, said in chosen:
        for other in (chosen[0], chosen[-1], pairs[-1]):
            for number in range(1, INSTRUCTIONS_MAX):
                if not is_time() or interloper.blocked >= BLOCKED_MAX:
                    return
                pair = (values[one], values[two])
                with_ = (values[other[0]], values[other[1]])
                is_reached = _one(less, interloper, pair, said, with_, other[2], number, file)
                if not is_reached:
                    break


def _one(
    less: Asked,
    interloper: Interloper,
    pair: tuple[Any, Any],
    said: bool,
    other: tuple[Any, Any],
    other_said: bool,
    number: int,
    file: str,
) -> bool:
    """One comparison held once; whether it has so many instructions."""
    inner: list[Any] = []
    answer, is_reached = held_at(
        less, pair, number, lambda: inner.append(interloper.ask(other)), file
    )
    if not is_reached:
        return False
    if inner == [None]:
        inner = [interloper.settle()]
    for got, wanted, whose in ((answer, said, pair), (inner[0], other_said, other)):
        if got is not wanted and got is not None:
            shown = got.finding.says[0] if isinstance(got, Refuted) else repr(got)[:80]
            given = {"between": number, "other": other if whose is pair else pair}
            words = (
                f"less(a, b) is {wanted}",
                f"and {shown} when another thread compares meanwhile (at instruction {number})",
            )
            raise Refuted(Finding(Flaw.THREADS, whose, words, given))
    return True
