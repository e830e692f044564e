"""A software TPM for as long as a test needs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def missing() -> str:
    """What a test of the TPM path lacks on this machine; empty when nothing."""
    if shutil.which("swtpm") is None:
        return "no swtpm: apt-get install swtpm swtpm-tools libtss2-dev libtss2-tcti-swtpm0"
    if importlib.util.find_spec("tpm2_pytss") is None:
        return "no tpm2-pytss: pip install 'herz[tpm]'"
    return ""


@contextmanager
def software_tpm() -> Iterator[str]:
    """A new TPM without state; gives its TCTI string."""
    # A socket's path has at most 107 bytes: the tests' own folder is too deep.
    with tempfile.TemporaryDirectory(prefix="herz-tpm-") as folder:
        base, pid = Path(folder, "s"), Path(folder, "pid")
        subprocess.run(
            [
                *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"),
                *("--server", f"type=unixio,path={base}"),
                *("--ctrl", f"type=unixio,path={base}.ctrl"),
                *("--flags", "not-need-init,startup-clear"),
                *("--pid", f"file={pid}", "--daemon"),
            ],
            check=True,
            capture_output=True,
        )
        number = int(pid.read_text())
        try:
            yield f"swtpm:path={base}"
        finally:
            os.kill(number, signal.SIGTERM)
            while pid.exists():  # swtpm takes the file away as it ends.
                os.sched_yield()
