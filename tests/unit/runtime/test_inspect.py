"""A look at another live process, who may look, and what drift says of lateness."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz import runtime
from herz.runtime import (
    NotInspectableError,
    _drift,
    _inspect,
    drift,
    go,
    listening,
    run,
    sleep,
    snapshot,
)
from herz.runtime._drift import CLOCK, COLLECTION, INTERPRETER, PROCESSOR
from herz.runtime._trace import ATTACH, PARK, STEP, Event
from herz.runtime._trace import COLLECTION as COLLECTED

SERVER = """
import os, sys, time
from herz.runtime import Mutex, go, run, sleep, yield_now

async def holder(mutex):
    async with mutex:
        await sleep(3600)

async def blocked():
    os.read(0, 1)  # until the parent says that all has been seen

async def main():
    mutex = Mutex()
    go(holder(mutex), name="holder")
    go(holder(mutex), name="wanting")
    blocking = go(blocked(), name="blocked")
    await sleep(0.001)
    print("ready", flush=True)
    await blocking

run(main{arguments})
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sockets of this test only."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("HERZ_RUNTIME_INSPECT", raising=False)
    return tmp_path / "herz-runtime"


@contextlib.contextmanager
def child(source: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            with contextlib.suppress(OSError):
                process.stdin.write("x")
                process.stdin.close()


@pytest.mark.parametrize(
    ("arguments", "environment"), [(", inspect=True", {}), ("", {"HERZ_RUNTIME_INSPECT": "1"})]
)
def test_a_live_process_shows_its_tasks_while_a_step_blocks(
    arguments: str, environment: dict[str, str], own_folder: Path
) -> None:
    with child(SERVER.format(arguments=arguments), **environment) as process:
        assert listening() == [process.pid]
        found = snapshot(process.pid)
        while found["runtimes"][0]["states"] != {"running": 1, "waiting": 3}:
            found = snapshot(process.pid)  # main is on the way from its print to its await
        assert stat.S_IMODE(own_folder.stat().st_mode) == 0o700
        (path,) = own_folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert process.returncode == 0
    assert not path.exists()
    assert found["pid"] == process.pid
    assert found["command"][:2] == [sys.executable, "-c"]
    (one,) = found["runtimes"]
    assert one["stats"]["tasks"] == 4
    tasks = {task["name"]: task for task in one["tasks"]}
    assert tasks["blocked"]["state"] == "detached"
    assert tasks["blocked"]["worker"] == 0
    assert tasks["blocked"]["where"].startswith("blocked (<string>:")
    assert tasks["wanting"]["waits_for"].endswith("held by holder")
    assert tasks["holder"]["waits_for"] == "a timer of 3600 s"
    assert tasks["task-1"]["waits_for"] == "the task blocked"


def test_a_process_that_was_not_told_to_shows_nothing(own_folder: Path) -> None:
    with child(SERVER.format(arguments="")) as process:
        assert listening() == []
        assert not own_folder.exists()
        with pytest.raises(NotInspectableError, match=r"shows no herz runtime: start it with"):
            snapshot(process.pid)


def test_the_argument_goes_before_the_environment() -> None:
    environment = {"HERZ_RUNTIME_INSPECT": "1"}
    with child(SERVER.format(arguments=", inspect=False"), **environment):
        assert listening() == []


@pytest.mark.parametrize("value", ["yes", "2", " "])
def test_a_variable_that_is_no_switch_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERZ_RUNTIME_INSPECT", value)

    async def main() -> None:
        pytest.fail("it ran")

    with pytest.raises(ValueError, match="HERZ_RUNTIME_INSPECT is"):
        run(main)


def test_a_process_that_is_not_there_is_named() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(NotInspectableError, match=f"there is no process {process.pid}"):
        snapshot(process.pid)


def test_two_runtimes_of_a_process_share_a_socket_until_the_last_has_ended() -> None:
    async def outer() -> list[int]:
        seen = [len(snapshot(os.getpid())["runtimes"])]

        async def inner() -> int:
            found = await go(snapshot, os.getpid())
            return len(found["runtimes"])

        def run_another() -> None:
            thread = threading.Thread(target=lambda: seen.append(run(inner(), inspect=True)))
            thread.start()
            thread.join()

        await go(run_another)
        seen.append(len((await go(snapshot, os.getpid()))["runtimes"]))
        return seen

    assert run(outer(), inspect=True) == [1, 2, 1]
    assert listening() == []


def test_a_fork_s_child_neither_answers_nor_takes_the_socket_away() -> None:
    async def main() -> None:
        child = os.fork()
        if child == 0:
            await sleep(0)  # refused: the child's copy of the runtime is dead
        assert os.waitpid(child, 0)[1] != 0
        assert len((await go(snapshot, os.getpid()))["runtimes"]) == 1

    parent = os.getpid()
    try:
        run(main(), inspect=True)
    except RuntimeError:
        if os.getpid() != parent:
            os._exit(7)
        raise
    assert listening() == []


def test_a_folder_that_others_may_enter_is_refused(own_folder: Path) -> None:
    own_folder.mkdir(mode=0o755)

    async def main() -> None:
        pytest.fail("it ran")

    for attempt in (lambda: run(main, inspect=True), lambda: snapshot(os.getpid()), listening):
        with pytest.raises(PermissionError, match="must be a folder of this user with mode 0700"):
            attempt()
    own_folder.rmdir()
    (own_folder.parent / "other").mkdir(mode=0o700)
    own_folder.symlink_to(own_folder.parent / "other")
    with pytest.raises(PermissionError, match="must be a folder of this user"):
        run(main, inspect=True)


def test_what_dead_processes_left_is_removed(own_folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    own_folder.mkdir(mode=0o700)
    left = own_folder / f"{process.pid}.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    assert listening() == []
    assert not left.exists()


def answering(own_folder: Path, answer: bytes) -> socket.socket:
    """A socket in this process's place that has one client's answer ready."""
    own_folder.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(own_folder / f"{os.getpid()}.sock"))
    listener.listen(1)

    def answer_one() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)

    threading.Thread(target=answer_one, daemon=True).start()
    return listener


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "gave no answer that can be read"),
        (b'{"versi', "gave no answer that can be read"),
        (b'{"version": 99}', "runs another version"),
        (b'{"error": "not you"}', "refused: not you"),
    ],
)
def test_an_answer_that_is_none_is_named(own_folder: Path, answer: bytes, text: str) -> None:
    with answering(own_folder, answer), pytest.raises(NotInspectableError, match=text):
        snapshot(os.getpid())


def test_a_process_whose_interpreter_is_kept_is_said_not_to_answer(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_inspect, "_SECONDS_MAX", 0.05)
    own_folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own_folder / f"{os.getpid()}.sock"))
        listener.listen(1)
        with pytest.raises(NotInspectableError, match="did not answer within"):
            snapshot(os.getpid())


NOBODY = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@is_root
def test_another_user_s_process_is_refused_by_name() -> None:
    process = subprocess.Popen(["cat"], user=NOBODY, stdin=subprocess.PIPE)
    with pytest.raises(NotInspectableError, match=f"belongs to the user {NOBODY}, not to 0"):
        snapshot(process.pid)
    process.communicate()


@is_root
def test_another_user_gets_no_answer_even_where_the_folder_lets_them_in(
    own_folder: Path,
) -> None:
    asks = (
        "import os, socket, sys\n"
        f"os.setuid({NOBODY})\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        "    s.connect(sys.argv[1])\n"
        "    print(s.makefile().read())\n"
    )

    async def main() -> str:
        path = own_folder / f"{os.getpid()}.sock"
        path.chmod(0o666)
        for folder in (own_folder, *own_folder.parents):
            if folder.stat().st_mode & 0o005 != 0o005:
                opened.append((folder, folder.stat().st_mode))
                folder.chmod(0o755)
        command = [sys.executable, "-c", asks, str(path)]
        done = await go(lambda: subprocess.run(command, capture_output=True, text=True, check=True))
        return done.stdout

    opened: list[tuple[Path, int]] = []
    try:
        answer = run(main(), inspect=True)
    finally:
        for folder, mode in opened:
            folder.chmod(stat.S_IMODE(mode))
    assert json.loads(answer) == {"error": "this process belongs to another user"}


def test_the_thread_that_answers_takes_no_signals() -> None:
    def blocked_signals() -> set[str]:
        masks = {}
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):  # one that ends just now
                status = (task / "status").read_text(encoding="ascii")
                masks[task.name] = status.split("SigBlk:\t")[1].split("\n")[0]
        own = str(os.getpid())
        return {mask for thread, mask in masks.items() if thread != own}

    async def main() -> set[str]:
        return blocked_signals()

    before = blocked_signals()
    for mask in run(main(), inspect=True) - before:
        bits = int(mask, 16)
        assert bits >> (signal.SIGINT - 1) & 1
        assert bits >> (signal.SIGTERM - 1) & 1


# ---- drift -------------------------------------------------------------------------------------


def test_each_moment_of_lateness_is_one_cause_s() -> None:
    mark = 7
    events = [
        # The worker sleeps 10 past the time, waits 20 for the interpreter, runs somebody else's
        # step of 30, in which a collection takes 12, and then the tick's own step begins.
        Event(PARK, 3, 50, 60, 0, 0),
        Event(ATTACH, 3, 110, 20, 0, 0),
        Event(ATTACH, 4, 100, 60, 0, 0),  # another worker's wait is not the tick's
        Event(STEP, 3, 130, 30, 9, 0),
        Event(COLLECTED, -1, 140, 12, 0, 0),
        Event(STEP, 3, 165, 50, mark, 0),
    ]
    (tick,) = _drift._explained([(100, 170)], events, mark)
    assert tick.late_ns == 70
    assert tick.causes_ns == {CLOCK: 10, INTERPRETER: 20, COLLECTION: 12, PROCESSOR: 28}


def test_a_tick_in_time_has_no_causes() -> None:
    (tick,) = _drift._explained([(100, 100)], [], 7)
    assert tick.causes_ns == dict.fromkeys((COLLECTION, INTERPRETER, CLOCK, PROCESSOR), 0)


@pytest.mark.parametrize(("due", "ran"), [(0, 100), (15, 35), (40, 41), (95, 100)])
def test_spans_without_others_are_as_if_counted_one_by_one(due: int, ran: int) -> None:
    taken = [(5, 10), (12, 12), (20, 30), (30, 41), (90, 99)]
    left = _drift._without([(due, ran)], taken)
    counted = [at for at in range(due, ran) if not any(a <= at < b for a, b in taken)]
    assert [at for a, b in left for at in range(a, b)] == counted


def test_a_measurement_explains_all_of_its_lateness() -> None:
    async def main() -> runtime.Drift:
        async def burn() -> None:
            while True:
                _burn()
                await sleep(0.001)

        burning = go(burn())
        found = await drift(0.2, 0.005)
        burning.cancel()
        return found

    found = run(main())
    assert len(found.ticks) == 40
    for tick in found.ticks:
        assert sum(tick.causes_ns.values()) == tick.late_ns >= 0
    assert found.sum_ns() == sum(found.sum_ns(cause) for cause in _drift.CAUSES)
    assert found.lateness_ns(500) <= found.lateness_ns(990) <= found.lateness_ns(1_000)


def _burn() -> None:
    for _ in range(20_000):
        pass


@pytest.mark.parametrize("arguments", [(0, 0.01), (1, 0), (-1, 0.01), (float("nan"), 0.01)])
def test_a_measurement_of_no_length_is_refused(arguments: tuple[float, float]) -> None:
    async def main() -> Any:
        return await drift(*arguments)

    with pytest.raises(ValueError, match="must be above zero"):
        run(main())
