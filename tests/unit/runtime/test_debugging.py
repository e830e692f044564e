"""A debugger, coverage and faulthandler in programs with tasks on several workers."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.program import HEAD, ROOT, play

PROMPT = b"(Pdb) "


class Terminal:
    """A program on a terminal of its own, as a person uses it."""

    def __init__(self, folder: Path, body: str) -> None:
        program = folder / "program.py"  # a debugger shows the lines of a file only
        program.write_text(HEAD + textwrap.dedent(body))
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "dumb"},
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def until_prompt(self) -> str:
        """What it prints until the debugger asks."""
        printed = b""
        while not printed.endswith(PROMPT):
            printed += self._read()
        return printed.decode()

    def _read(self) -> bytes:
        try:
            return os.read(self._master, 1_000) or self._ended()
        except OSError:  # all of the other side is closed
            return self._ended()

    def _ended(self) -> bytes:
        raise EOFError(f"it ended with {self._process.wait()}")

    def ask(self, command: str) -> str:
        """The answer to a command of the debugger."""
        os.write(self._master, command.encode() + b"\n")
        _, _, answer = self.until_prompt().partition("\n")
        return answer.removesuffix(PROMPT.decode()).strip()

    def end(self, command: str) -> int:
        """Gives the last command; the exit code."""
        os.write(self._master, command.encode() + b"\n")
        try:
            while self._read():
                pass
        except EOFError:
            pass
        return self._process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("pinned", [True, False], ids=["thread of run", "worker"])
def test_a_debugger_holds_one_task_and_with_it_the_others(tmp_path: Path, pinned: bool) -> None:
    hold = "" if pinned else "go(os.read, reader, 1); go(held(), pinned=True)"
    terminal = Terminal(
        tmp_path,
        f"""
        reader, writer = os.pipe()
        ticked = []
        async def held():
            os.read(reader, 1)
        async def ticks():
            while True:
                ticked.append(threading.current_thread().name)
                await sleep(0.001)
        async def debugged():
            name = threading.current_thread().name
            breakpoint()
            await yield_now()
            after = threading.current_thread().name
            for _ in range(3):
                await sleep(0.002)
            return after
        async def main():
            {hold}
            await sleep(0.05)
            go(ticks())
            await sleep(0.005)
            await go(debugged())
            os.write(writer, b"xx")
        run(main())
        sys.exit(7)
        """,
    )
    with terminal:
        terminal.until_prompt()
        before = int(terminal.ask("p len(ticked)"))
        assert before > 0
        # Ten times as long as what else is taken from its processor.
        terminal.ask("time.sleep(0.2)")
        assert int(terminal.ask("p len(ticked)")) == before
        assert ("MainThread" in terminal.ask("p name")) == pinned
        while "-> for _" not in terminal.ask("next"):
            pass  # over the awaits: the others have their turns there
        assert terminal.ask("p after == name") == "True"
        assert int(terminal.ask("p len(ticked)")) > 0
        assert terminal.end("continue") == 7


COUNTED = """
from herz.runtime import go, run, sleep

def function(number):
    return number + 1

async def task(number):
    await sleep(0.001)
    return await go(function, number)

async def main():
    tasks = [go(task(number)) for number in range(5)]
    return [await each for each in tasks]

assert run(main()) == [1, 2, 3, 4, 5]
"""


def run_tool(folder: Path, *arguments: str) -> None:
    """Runs a module of Python in that folder."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_lines_are_counted_on_every_worker(tmp_path: Path) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    run_tool(tmp_path, "trace", "--count", "-C", ".", "counted.py")
    lines = (tmp_path / "counted.cover").read_text().splitlines()
    counts = {line[7:].strip(): line[:5].strip() for line in lines}
    assert counts["return number + 1"] == "5"
    assert counts["return await go(function, number)"] == "5"


@pytest.mark.slow
@pytest.mark.parametrize("core", ["ctrace", "pytrace"])
def test_coverage_sees_what_runs_on_every_worker(tmp_path: Path, core: str) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    (tmp_path / ".coveragerc").write_text(f"[run]\ncore = {core}\nbranch = true\n")
    run_tool(tmp_path, "coverage", "run", "counted.py")
    run_tool(tmp_path, "coverage", "json", "-o", "counted.json")
    report = json.loads((tmp_path / "counted.json").read_text())["files"]["counted.py"]
    assert report["missing_lines"] == []
    assert report["missing_branches"] == []
    assert len(report["executed_lines"]) == len([line for line in COUNTED.splitlines() if line])


@pytest.mark.slow
def test_faulthandler_shows_the_stacks_of_all_workers() -> None:
    done = play(
        """
        import faulthandler
        reader, writer = os.pipe()
        async def a_step_that_blocks():
            os.read(reader, 1)
        def a_function_that_blocks():
            os.read(reader, 1)
        async def main():
            tasks = [go(a_step_that_blocks()), go(a_function_that_blocks)]
            while stats()["detached"] == 0:
                await sleep(0.001)
            faulthandler.dump_traceback()
            os.write(writer, b"xx")
            for task in tasks:
                await task
        run(main())
        """
    )
    assert done.returncode == 0, done.stderr
    for name in ("a_step_that_blocks", "a_function_that_blocks", "in main"):
        assert name in done.stderr


@pytest.mark.slow
def test_a_crash_in_a_worker_shows_where_it_was() -> None:
    done = play(
        """
        import faulthandler
        faulthandler.enable()
        def crash_here():
            faulthandler._sigabrt()
        async def main():
            await go(crash_here)
        run(main())
        """
    )
    assert done.returncode == -6
    assert "Fatal Python error: Aborted" in done.stderr
    assert "crash_here" in done.stderr
