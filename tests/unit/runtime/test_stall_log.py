"""The stall log names the task, the frame, and the lock; schedtrace writes Go's line."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest

from herz import runtime
from herz.runtime import Event, Timer, go, run, sleep, yield_now
from herz.runtime._blocking import has

Log = pytest.LogCaptureFixture


def messages(log: Log) -> list[str]:
    """What the runtime logged."""
    return [record.getMessage() for record in log.records if record.name == "herz.runtime"]


async def until_logged(log: Log, text: str) -> str:
    """The first message that holds the text, once it is there."""
    while True:
        for message in messages(log):
            if text in message:
                return message
        await sleep(0.001)


def test_a_step_that_blocks_is_logged_with_the_frame_that_blocks(caplog: Log) -> None:
    reader, writer = os.pipe()

    async def blocked() -> None:
        os.read(reader, 1)

    async def main() -> None:
        task = go(blocked(), name="the reader")
        await yield_now()
        text = await until_logged(caplog, "the reader")
        os.write(writer, b"x")
        await task
        first, *stack = text.splitlines()
        assert re.match(r"a step of task-2 the reader \S*blocked \[detached; started", first)
        assert re.search(r"has lasted [\d.]+ ms and was detached: blocked in a call$", first)
        assert stack[-1].strip() == "os.read(reader, 1)"
        assert stack[-2].endswith("in blocked")

    run(main())
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    os.close(reader)
    os.close(writer)


def test_a_step_that_burns_is_logged_as_such(caplog: Log) -> None:
    over: list[int] = []

    async def burn() -> None:
        while not over:
            pass

    async def main() -> None:
        burning = go(burn(), name="the burner")
        await yield_now()
        text = await until_logged(caplog, "the burner")
        over.append(1)
        await burning
        assert "was detached: burns the CPU" in text
        assert "in burn\n" in text

    run(main())


def test_the_call_of_a_timer_is_logged_as_such(caplog: Log) -> None:
    reader, writer = os.pipe()

    async def main() -> None:
        timer = Timer(0, os.read, reader, 1)
        text = await until_logged(caplog, "the call of a timer")
        os.write(writer, b"x")
        assert "was detached: blocked in a call" in text
        assert not timer.stop()

    run(main())
    os.close(reader)
    os.close(writer)


def test_without_hand_off_a_stall_is_logged_all_the_same(caplog: Log) -> None:
    async def stall() -> None:
        while not messages(caplog):
            time.sleep(0.001)

    async def main() -> None:
        stalling = go(stall(), name="the staller")
        go(sleep_a_little())
        await stalling

    async def sleep_a_little() -> None:
        await sleep(0.001)

    run(main(), hand_off=False)
    (text,) = messages(caplog)
    assert "the staller" in text
    assert "could not be detached" in text
    assert "time.sleep(0.001)" in text


def test_the_lock_that_a_step_waits_for_is_named_with_holder_and_waiters(caplog: Log) -> None:
    lock = threading.Lock()

    async def hold(end: Event) -> None:
        with lock:
            await end.wait()

    async def want_by_with() -> None:
        with lock:
            pass

    async def want_by_call() -> None:
        lock.acquire()
        lock.release()

    async def main() -> None:
        end = Event()
        held = go(hold(end), name="holder")
        await yield_now()
        wanting = [go(want_by_with(), name="with"), go(want_by_call(), name="call")]
        await yield_now()
        texts = [await until_logged(caplog, f" {task.name} ") for task in wanting]
        end.set()
        for task in [held, *wanting]:
            await task
        for text in texts:
            assert "waits for <locked _thread.lock object at" in text
            assert "held by holder; wanted by" in text
        assert "wanted by with, call" in texts[1] or "wanted by call, with" in texts[1]

    run(main())


def test_the_holder_of_a_reentrant_lock_is_the_task_on_its_thread(caplog: Log) -> None:
    class Guarded:
        def __init__(self) -> None:
            self.lock = threading.RLock()

    guarded = Guarded()
    reader, writer = os.pipe()

    async def hold() -> None:
        with guarded.lock:
            os.read(reader, 1)

    async def want() -> None:
        with guarded.lock:
            pass

    async def main() -> None:
        held = go(hold(), name="holder")
        await yield_now()
        wanting = go(want(), name="wanting")
        await yield_now()
        text = await until_logged(caplog, " wanting ")
        os.write(writer, b"x")
        await held
        await wanting
        assert "held by holder; wanted by wanting" in text

    run(main())
    os.close(reader)
    os.close(writer)


def test_which_lock_is_found_in_every_way_of_naming_it() -> None:
    class Owner:
        one, two = threading.Lock(), threading.RLock()

    owner, lock = Owner(), threading.Lock()

    def plain() -> Iterator[None]:
        with lock:
            yield
        yield

    def several() -> Iterator[None]:
        with owner.one, owner.two as _taken:
            yield

    def in_brackets() -> Iterator[None]:
        with (
            owner.one,
            lock,
        ):
            yield

    def of_a_call() -> Iterator[None]:
        with contextlib.suppress(KeyError), lock:
            yield

    def not_yet() -> Iterator[None]:
        yield
        with lock:
            pass

    expected = {
        plain: {lock},
        several: {owner.one, owner.two},
        in_brackets: {owner.one, lock},
        of_a_call: {lock},
        not_yet: set(),
    }
    for function, held in expected.items():
        generator = function()
        next(generator)
        frame = generator.gi_frame  # type: ignore[attr-defined]
        assert {each for each in (lock, owner.one, owner.two) if has(frame, each)} == held
        generator.close()  # type: ignore[attr-defined]
    after = plain()
    next(after)
    next(after)
    assert not has(after.gi_frame, lock)  # type: ignore[attr-defined]


KEEPS = """
import ctypes, logging, sys
from herz.runtime import go, run, sleep

logging.basicConfig(format="%(message)s")
usleep = ctypes.PyDLL(None).usleep  # keeps the interpreter's lock

async def keep():
    usleep(60_000)

async def tick():
    await sleep(0.001)

async def main():
    for _ in range(6):
        keeping = go(keep(), name="keeper")
        ticking = go(tick())
        await keeping
        await ticking
        await sleep(0.01)

run(main())
"""


def started(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that ran the source to its end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_c_call_that_keeps_the_interpreter_is_named_as_such() -> None:
    done = started(KEEPS)
    assert done.returncode == 0, done.stderr
    named = [line for line in done.stderr.splitlines() if "keeper" in line]
    assert all("was detached" in line for line in named)
    assert any("a call into C keeps it, which stops everyone" in line for line in named)
    # Who was waiting for the lock takes turns in any order: sometimes the step is over by then.
    assert "in keep" in done.stderr, "the frame that made the call"


def test_nothing_is_printed_where_nobody_configured_logging() -> None:
    done = started(KEEPS.replace("logging.basicConfig", "dict"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_storm_of_stalls_writes_ten_lines_a_second_and_counts_the_rest(caplog: Log) -> None:
    pairs = [os.pipe() for _ in range(30)]

    async def blocked(reader: int) -> None:
        os.read(reader, 1)

    async def main() -> None:
        tasks = [go(blocked(reader)) for reader, _ in pairs]
        while runtime.stats()["hand_offs"] < 30:
            await sleep(0.001)
        for _, writer in pairs:
            os.write(writer, b"x")
        for task in tasks:
            await task

    began = time.monotonic()
    run(main())
    seconds = int(time.monotonic() - began) + 1
    assert 1 <= len(messages(caplog)) <= 10 * (seconds + 1)
    for descriptor in (descriptor for pair in pairs for descriptor in pair):
        os.close(descriptor)


# ---- schedtrace --------------------------------------------------------------------------------

LINE = (
    r"SCHED (\d+)ms: gomaxprocs=\d+ idleprocs=\d+ threads=\d+ spinningthreads=0 needspinning=0 "
    r"idlethreads=\d+ runqueue=\d+ \[ \d+(?: 0)+ \] schedticks=\[ (\d+)(?: 0)+ \]"
)
SLEEPS = """
from herz.runtime import run, sleep

async def main():
    for _ in range(30):
        await sleep(0.01)

run(main(){arguments})
"""


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(", schedtrace_ms=20", ""), ("", "schedtrace=20"), (", schedtrace_ms=20", "schedtrace=90000")],
)
def test_schedtrace_writes_go_s_line_also_while_all_tasks_wait(
    arguments: str, environment: str
) -> None:
    done = started(SLEEPS.format(arguments=arguments), HERZ_DEBUG=environment)
    assert done.returncode == 0, done.stderr
    found = [re.fullmatch(LINE, line) for line in done.stderr.splitlines()]
    assert all(found), done.stderr
    times = [int(line[1]) for line in found if line]
    assert len(times) >= 3
    # At most one line in each 20 ms, however late some are.
    periods = [time // 20 for time in times]
    assert all(after > before for before, after in itertools.pairwise(periods))
    steps = [int(line[2]) for line in found if line]
    assert steps == sorted(steps)
    assert steps[-1] > 0


@pytest.mark.parametrize(
    "value", ["schedtrace", "schedtrace=", "schedtrace=0", "schedtrace=1s", "sched=5", "x"]
)
def test_a_debug_variable_that_says_something_else_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERZ_DEBUG", value)
    with pytest.raises(ValueError, match=r"HERZ_DEBUG holds .* it takes schedtrace=MILLISECONDS"):
        run(sleep_not_at_all)


async def sleep_not_at_all() -> None:
    await yield_now()


def test_a_schedtrace_below_a_millisecond_is_refused() -> None:
    with pytest.raises(ValueError, match="schedtrace_ms must be at least 1, not 0"):
        run(sleep_not_at_all, schedtrace_ms=0)
