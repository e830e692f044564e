"""A candidate's process as its parent sees it: started, listened to, and ended in time."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from herz.errors import ConfigError

STUCK_CPU_SECONDS: Final = 2.5
STUCK_WALL_SECONDS: Final = 12.0
"""Without a sign of life: of its own CPU time, or of ours."""
GRACE_SECONDS: Final = 6.0
"""More than its job's time that a child may take."""
_LAST_SECONDS: Final = 5.0
"""For its end, once nothing more can come from it."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Child:
    """One job in a process of its own.

    Args:
        job: for `front.fuzz.worker`.
        environment: what differs in its environment.
        until: when it is listened to no longer, by `time.monotonic`.
    """

    def __init__(
        self,
        job: Mapping[str, Any],
        environment: Mapping[str, str],
        until: float = math.inf,
    ) -> None:
        self.until = until
        self._folder = tempfile.TemporaryDirectory(prefix="herz-fuzz-")
        self.last_words = Path(self._folder.name) / "last-call"
        if job.get("last_words"):
            job = {**job, "last_words": str(self.last_words)}
        self._seconds = float(job["seconds"])
        read, write = os.pipe()
        self._read = read
        # Open as long as the process: `close` closes it.
        self._log = Path(self._folder.name, "stderr").open("wb")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "herz.front.fuzz.worker", str(write)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=(write,),
                cwd=self._folder.name,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **environment},
                start_new_session=True,
            )
        finally:
            os.close(write)
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.write(json.dumps(job).encode())
        self._process.stdin.close()
        self._rest = b""
        self.is_stuck = False
        self.is_cut = False
        """Whether it was left while it was alive."""

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it tells, signs of life included, until it ends or shows none for too long.

        Raises:
            ConfigError: the candidate cannot be loaded.
        """
        alive = (time.monotonic(), self._cpu())
        end = time.monotonic() + self._seconds * 1.5 + GRACE_SECONDS
        while True:
            if time.monotonic() > self.until:
                self.is_cut = True
                return
            ready, _, _ = select.select([self._read], [], [], 0.1)
            if ready:
                data = os.read(self._read, 1 << 16)
                if not data:
                    return
                alive = (time.monotonic(), self._cpu())
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "error" in message:
                        raise _refused(message["error"])
                    yield message
                continue
            wall, cpu = time.monotonic() - alive[0], self._cpu() - alive[1]
            if cpu > STUCK_CPU_SECONDS or wall > STUCK_WALL_SECONDS or time.monotonic() > end:
                self.is_stuck = True
                return

    def stderr(self) -> str:
        """What it wrote there."""
        return Path(self._folder.name, "stderr").read_text(errors="replace")

    def ended(self) -> int | None:
        """How it ended, after it has told its last; None where it then does not end."""
        try:
            return self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, seconds: float) -> None:
        """Wait for its end."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.is_stuck = True

    def kill(self) -> None:
        """End it and what it started."""
        if self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                self._process.kill()

    def close(self) -> None:
        """End it, and remove its folder."""
        self.kill()
        self._process.wait()
        os.close(self._read)
        self._log.close()
        self._folder.cleanup()

    def _cpu(self) -> float:
        """Its CPU seconds so far."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS


def _refused(told: Mapping[str, str]) -> ConfigError:
    return ConfigError(
        told["what"], where=told["where"], value=told["value"] or None, fix=told["fix"]
    )
