"""The scheduler of `herz up`: a process of its own, which ends with the one that started it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from herz.errors import WorldError

SCHEDULERS: Final = ("default-scheduler", "herz")
"""Whose pods it decides: there is no other scheduler in a cluster of one machine."""
STOP_SECONDS: Final = 30.0
_OUTPUT_BYTES_MAX: Final = 1 << 20


class Scheduler:
    """The process; made by `start_scheduler`.

    Args:
        process: runs `herz run`.
        held: a descriptor whose end in that process is open while this one lives.
        said: what it printed when it began to schedule.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, held: int, said: dict[str, Any]
    ) -> None:
        self._process = process
        self._held = held
        self.said = said

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in order; or after a while without."""
        try:
            if self._process.returncode is None:
                self._process.terminate()
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        finally:
            os.close(self._held)


async def start_scheduler(kubeconfig: Path, journal: Path, policy: str) -> Scheduler:
    """Start it, and wait until it schedules.

    Raises:
        WorldError: it ended before; its words are on stderr.
    """
    read, write = os.pipe()
    command = ["run", "--kubeconfig", str(kubeconfig), "--journal", str(journal)]
    command += ["--config", policy, "--output", "json", "--while-open", str(read)]
    for name in SCHEDULERS:
        command += ["--scheduler-name", name]
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "herz.front.cli",
            *command,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(read,),
            # Ctrl-C is this process' matter: it ends the scheduler before the server.
            start_new_session=True,
        )
    except OSError as error:
        os.close(write)
        raise WorldError(f"the scheduler cannot be started: {error}") from error
    finally:
        os.close(read)
    assert process.stdout is not None, "it is a pipe"
    text = b""
    while not text.endswith(b"}\n"):
        line = await process.stdout.readline()
        text += line
        if not line or len(text) > _OUTPUT_BYTES_MAX:
            code = await process.wait()
            os.close(write)
            raise WorldError(f"the scheduler ended before it scheduled anything: exit code {code}")
    return Scheduler(process, write, json.loads(text))
