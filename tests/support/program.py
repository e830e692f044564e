"""Programs of a few lines that run in a process of their own: their exit codes and what they print.

`HEAD` is put before each, so that a test shows only what matters.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = "import os, sys, time, threading\nfrom herz.runtime import *\n"


def play(
    body: str, *arguments: str, interrupts: int = 0, seconds: float = 50
) -> subprocess.CompletedProcess[str]:
    """Runs a program; after each line "ready" that it prints, it gets a SIGINT."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(body), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    lines = []
    for _ in range(interrupts):
        lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        raise AssertionError(
            f"it did not end; it printed:\n{''.join(lines)}{out}{errors}"
        ) from None
    return subprocess.CompletedProcess("", process.returncode, "".join(lines) + out, errors)
