"""Echo over TCP: servers on one CPU, each in a process of its own, the load on another one."""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.runtime.peers import Peers

if TYPE_CHECKING:
    from bench.runtime.__main__ import Verdicts

FLOOR, GO = "floor in C", "Go"
SECONDS = 2.0
MANY, RATE = 10_000, 5_000
FOLDER = Path(__file__).parent


class Seen(NamedTuple):
    """One server under one load."""

    answers: int
    user_us: float
    """The server's CPU time outside the kernel, a request."""
    p99_us: float
    """Of the answers."""
    wake_us: float
    """The P99 of how late the server's own poll of a millisecond was."""


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="herz-bench-")
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


@functools.cache
def built(source: str, *command: str) -> Path | None:
    """The program that the command makes of one of our sources; None, and a note, without one."""
    program = _folder() / Path(source).stem
    try:
        subprocess.run([*command, str(program), str(FOLDER / source)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"note: {source} is not measured: {error}")
        return None
    return program


def load_program() -> Path | None:
    """The load, which is the floor, too."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[:1]
    return built("load.c", *compiler, "-O2", "-Wall", "-o")


def servers(peers: Peers, *, is_floor_there: bool) -> dict[str, list[str]]:
    """The commands of those that can be measured, by name."""
    names = ["herz", "asyncio Streams"]
    if "uvloop" in peers.loops:
        names += ["uvloop Streams", "uvloop Protocol"]
    commands = {name: [sys.executable, "-m", "bench.runtime.servers", name] for name in names}
    load, go = load_program(), built("echo.go", "go", "build", "-o")
    if load is not None and is_floor_there:
        commands[FLOOR] = [str(load), "serve"]
    if go is not None:
        commands[GO] = [str(go)]
    return commands


@contextmanager
def on_cpu(command: list[str], number: int) -> Iterator[subprocess.Popen[str]]:
    """A process on one CPU: the first of ours (0) or the last (-1). It ends with its input."""
    cpus = sorted(os.sched_getaffinity(0))

    def stay() -> None:
        os.sched_setaffinity(0, {cpus[number]})

    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=stay,  # noqa: PLW1509 - no other thread runs here
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def say(process: subprocess.Popen[str]) -> None:
    """A line, for which the process waits."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[str]) -> list[str]:
    """A line of the process, in words."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def user_seconds(process: int) -> float:
    """CPU time of a process outside the kernel."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def observe(command: list[str], connections: int, rate: int, beside: str = "") -> Seen:
    """Starts the server and the load, and compares before with after."""
    program = load_program()
    assert program is not None
    with on_cpu([*command, *([beside] if beside else [])], 0) as server:
        (port,) = hear(server)
        with on_cpu([str(program), port, str(connections), str(SECONDS), str(rate)], -1) as load:
            assert hear(load) == ["ready"], "the load could not connect"
            before = user_seconds(server.pid)
            say(load)
            answers, _, p99_us, _, _ = (float(word) for word in hear(load))
            used = user_seconds(server.pid) - before
            load.wait()
        say(server)
        wake_us = [float(word) for word in hear(server)] or [0.0]
    return Seen(int(answers), used / answers * 1e6, p99_us, wake_us[0])


def measured(connections: int) -> Callable[[Peers], dict[str, float]]:
    """Each connection asks again when it has its answer."""

    def measure(peers: Peers) -> dict[str, float]:
        if load_program() is None:
            return {}
        values = {}
        for name, command in servers(peers, is_floor_there=True).items():
            seen = observe(command, connections, 0)
            values[f"{name} user µs"] = seen.user_us
            values[f"{name} a second"] = seen.answers / SECONDS
        return values

    return measure


def judge(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """2.5 µs of the CPU outside the kernel, and 1.15 times uvloop's streams."""
    verdicts.below(medians, "herz user µs", 2.5)
    verdicts.most(medians, "uvloop Streams a second", "herz a second", 1 / 1.15)
    verdicts.beside(medians, "uvloop Protocol a second", f"{GO} a second", f"{FLOOR} a second")


def measure_many(peers: Peers) -> dict[str, float]:
    """A load that does not wait for answers, and a task that polls beside it."""
    if load_program() is None:
        return {}
    values = {}
    for name, command in servers(peers, is_floor_there=False).items():
        if name == "uvloop Protocol":
            continue
        seen = observe(command, MANY, RATE, "polled")
        values[f"{name} wake-up P99"] = seen.wake_us
        values[f"{name} answer P99"] = seen.p99_us
    return values


def judge_many(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """Shown beside the others."""
    for what in ("wake-up P99", "answer P99"):
        names = ("herz", "asyncio Streams", "uvloop Streams", GO)
        verdicts.beside(medians, *(f"{name} {what}" for name in names))


def measure_stalled(peers: Peers) -> dict[str, float]:
    """The P99 of the answers while a task of the server blocks a third of the time."""
    if load_program() is None:
        return {}
    names = ("herz", "asyncio Streams", "uvloop Streams")
    there = servers(peers, is_floor_there=False)
    commands = {name: there[name] for name in names if name in there}
    return {
        name: observe(command, 100, 1_000, "stalled").p99_us / 1_000
        for name, command in commands.items()
    }


def judge_stalled(verdicts: Verdicts, medians: dict[str, float]) -> None:
    """A quarter of what asyncio takes."""
    verdicts.most(medians, "herz", "asyncio Streams", 1 / 4)
    verdicts.beside(medians, "uvloop Streams")


CASES = (
    ("echo, 100 connections", "as named", measured(100), judge),
    ("echo, 1,000 connections", "as named", measured(1_000), judge),
    (f"echo, {MANY} connections, {RATE} requests a second", "µs", measure_many, judge_many),
    ("echo beside a task that blocks, answer P99", "ms", measure_stalled, judge_stalled),
)
