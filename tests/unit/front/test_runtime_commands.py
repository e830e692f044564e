"""`herz runtime top` and `herz runtime drift`: forms of the answer, and every refusal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz.front.cli import main, top
from herz.runtime import Drift, Tick

Captured = pytest.CaptureFixture[str]

SERVER = """
import sys
from herz.runtime import go, run, sleep

async def tick():
    while True:
        await sleep(0.001)

async def main():
    ticking = go(tick(), name="a [red]name\\x1b[31m")
    print("ready", flush=True)
    await go(sys.stdin.read)
    ticking.cancel()

run(main, inspect=True)
"""
RELAYS = """
import socket, sys
from herz.runtime import Connection, go, relay, run

async def main():
    (one, first), (other, second) = socket.socketpair(), socket.socketpair()
    async def relayed():
        await relay(Connection.from_socket(first), Connection.from_socket(second))
    relaying = go(relayed())
    one.send(b"x")
    assert await go(other.recv, 1) == b"x"
    print("ready", flush=True)
    await go(sys.stdin.read)
    one.close(), other.close()
    await relaying

run(main, inspect=True, processors=3)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets of this test only."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@contextlib.contextmanager
def server(program: str = SERVER) -> Iterator[subprocess.Popen[str]]:
    """A process that shows its runtime, until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()
    assert process.returncode == 0


# ---- top ---------------------------------------------------------------------------------------


def test_top_shows_the_only_process_there_is(capsys: Captured) -> None:
    with server() as process:
        assert main(["runtime", "top", "--once"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"herz runtime top: process {process.pid}, {sys.executable}" in out
    assert "tasks: 1 function, 2 waiting" in out
    assert "a timer of 0.001 s" in out
    assert "tick (<string>:7)" in out
    assert r"a [red]name\x1b[31m" in out.replace("\n", "")
    assert "lateness" in out


def test_top_shows_native_processors_where_they_have_run(capsys: Captured) -> None:
    with server(RELAYS):
        assert main(["runtime", "top", "--once"]) == 0
    out, _ = capsys.readouterr()
    assert "the end of a relay" in out.replace("\n", " ")
    assert re.search(r"native: 3 processors, \d workers, \d idle; 2 tasks, \d+ steps", out)


def test_top_gives_the_snapshot_with_rates_as_data(capsys: Captured) -> None:
    with server() as process:
        assert main(["runtime", "top", str(process.pid), "--once", "--output", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert main(["runtime", "top", "--once", "--output", "yaml"]) == 0
        again = msgspec.yaml.decode(capsys.readouterr().out)
    assert found["pid"] == again["pid"] == process.pid
    (one,) = found["runtimes"]
    assert one["steps_per_second"] > 10
    assert one["states"] == {"function": 1, "waiting": 2}
    assert {task["name"] for task in one["tasks"]} >= {"task-1", "a [red]name\x1b[31m"}
    assert one["stats"]["histograms"]["lateness"]["count"] > 0


def command(*arguments: str) -> list[str]:
    """A `herz` command for a process of its own."""
    return [sys.executable, "-m", "herz.front.cli", *arguments]


def test_top_goes_on_until_the_process_ends() -> None:
    with (
        server() as process,
        subprocess.Popen(
            command("runtime", "top", str(process.pid), "--output", "json"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as looking,
    ):
        assert looking.stdout is not None
        looks = [json.loads(looking.stdout.readline()) for _ in range(2)]
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        _, err = looking.communicate()
    assert looking.returncode == 0
    assert f"process {process.pid} has ended" in err
    assert looks[0]["monotonic_ns"] < looks[1]["monotonic_ns"]


def test_top_draws_anew_in_a_terminal_and_ends_by_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    with server() as process:
        looking = subprocess.Popen(
            command("runtime", "top", str(process.pid)),
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        )
        os.close(theirs)
        seen = b""
        while seen.count(b"steps/s") < 2:
            seen += os.read(ours, 1 << 16)
        looking.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while part := os.read(ours, 1 << 16):
                seen += part
        _, err = looking.communicate()
    os.close(ours)
    assert looking.returncode == 130, err
    assert b"\x1b[?1049h" in seen, "a screen of its own"
    assert seen.rindex(b"\x1b[?1049l") > seen.rindex(b"steps/s"), "which is given back"


NO_PROCESS = 4_194_304
"""Above what the kernel gives out."""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no process of this user shows a herz runtime"),
        ([str(NO_PROCESS)], f"there is no process {NO_PROCESS}"),
        ([str(os.getpid())], "shows no herz runtime"),
        (["0"], "out of range"),
        (["-1"], "not an integer in range"),
        (["x"], "not an integer in range"),
        ([str(os.getpid()), "--every", "0"], "out of range"),
        ([str(os.getpid()), "--every", "0.5"], "not an integer in range"),
    ],
)
def test_top_refuses_what_it_cannot_look_at(
    arguments: list[str], text: str, capsys: Captured
) -> None:
    assert main(["runtime", "top", "--once", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert text in err
    assert "  fix    " in err
    assert main(["runtime", "top", "--once", "--output", "json", *arguments]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert text in error["what"]
    assert error["fix"]


def test_top_asks_which_process_where_there_are_several(capsys: Captured) -> None:
    with server() as one, server() as other:
        assert main(["runtime", "top", "--once"]) == 2
    err = capsys.readouterr().err
    assert "several processes show a herz runtime" in err
    assert f"{min(one.pid, other.pid)} {max(one.pid, other.pid)}" in err


def test_top_says_when_its_folder_is_not_safe(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "herz-runtime").mkdir(mode=0o755)
    for arguments in ([], [str(os.getpid())]):
        assert main(["runtime", "top", "--once", *arguments]) == 3
        assert "must be a folder of this user with mode 0700" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 µs"),
        (1_234_567, "1.23 ms"),
        (999_900, "1 ms"),
        (59_000_000_000, "59 s"),
        (90_000_000_000, "1.5 min"),
        (7_200_000_000_000, "2 h"),
        (7_200_000_000_000_000, "2,000 h"),
    ],
)
def test_a_length_of_time_has_its_unit(ns: int, text: str) -> None:
    assert top.span(ns) == text


# ---- drift -------------------------------------------------------------------------------------


def measured(capsys: Captured, load: str) -> dict[str, Any]:
    """What a measurement beside that load gives."""
    options = ["--seconds", "1", "--every-ms", "20", "--load", load, "--output", "json"]
    assert main(["runtime", "drift", *options]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    assert found["ticks"] == 50
    assert found["load"] == load
    assert found["lost_events"] == 0
    assert sum(cause["sum"] for cause in found["causes"].values()) == found["late_ns"]["sum"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "cause"),
    [("tasks", "processor"), ("thread", "interpreter"), ("garbage", "collection")],
)
def test_drift_names_the_cause_that_its_load_makes(load: str, cause: str, capsys: Captured) -> None:
    causes = measured(capsys, load)["causes"]
    assert max(causes, key=lambda each: int(causes[each]["sum"])) == cause


@pytest.mark.slow
def test_drift_without_a_load_has_no_collections_to_speak_of(capsys: Captured) -> None:
    found = measured(capsys, "none")
    assert found["causes"]["collection"]["sum"] < found["late_ns"]["sum"] / 2


@pytest.mark.slow
def test_drift_prints_a_table_with_the_largest_cause_first(capsys: Captured) -> None:
    assert main(["runtime", "drift", "--seconds", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "herz runtime drift: 100 ticks, one each 10 ms, load none" in out
    shares = [float(line.split("%")[0].split()[-1]) for line in out.splitlines() if "%" in line]
    assert shares[:-1] == sorted(shares[:-1], reverse=True)
    assert shares[-1] == 100
    assert abs(sum(shares[:-1]) - 100) < 0.3


def test_drift_says_when_events_were_lost() -> None:
    causes = dict.fromkeys(top.CAUSES, 0)
    found = Drift((Tick(0, 0, causes),), lost=3)
    assert top.drift_notes(found) == ["note: the trace lost 3 events: causes are too low"]
    assert [row[1] for row in top.drift_rows(found)] == ["0.0%"] * 4 + ["100.0%"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seconds", "0"),
        ("--seconds", "3601"),
        ("--seconds", "1.5"),
        ("--every-ms", "0"),
        ("--every-ms", "x"),
        ("--load", "heavy"),
    ],
)
def test_drift_refuses_bad_options(option: str, value: str, capsys: Captured) -> None:
    assert main(["runtime", "drift", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert option in err
