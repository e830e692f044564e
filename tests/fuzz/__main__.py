"""Runs the surfaces in turn, each in a process of its own, and prints what was done.

python -m tests.fuzz --seconds 60                    all surfaces
python -m tests.fuzz --surface proofs --seconds 60   one
python -m tests.fuzz --surface proofs --planted      with a planted bug, which must be found
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
SURFACES = sorted(path.name for path in CORPUS.iterdir())
MEMORY_MB = 1024
START_SECONDS = 120
"""What loading under instrumentation may take, on a busy machine."""
HANG_SECONDS = 2
"""Twice what is allowed: whole seconds are all that the engine knows, and machines are shared."""


def work(surface: str, seconds: int, folder: str, *, is_planted: bool) -> None:
    """This process becomes the engine's; it ends at the first bug."""
    import atheris

    with atheris.instrument_imports(include=["herz"]):
        from tests.fuzz.targets import PLANTED, run
    if is_planted:
        PLANTED[surface]()
    options = [f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", "-max_len=4096"]
    options += [f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    options += [folder, str(CORPUS / surface)]
    atheris.Setup(["fuzz", *options], lambda data: run(surface, data))
    atheris.Fuzz()


def fuzzed(surface: str, seconds: int, *, is_planted: bool = False) -> tuple[list[int], str]:
    """Executions, edges, corpus size; and what was found, empty when nothing was."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz", "--work", folder, "--surface", surface]
        command += ["--seconds", str(seconds), *(["--planted"] if is_planted else [])]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds + START_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return [0, 0, 0], f"{surface}: no end after {seconds + START_SECONDS} s\n"
        crashes = [path for path in Path(folder).iterdir() if "-" in path.name]
        found = "".join(f"{path.name}: {path.read_bytes()[:300]!r}\n" for path in crashes)
    text = done.stderr + done.stdout
    last = re.findall(r"^#(\d+)\s.*?cov: (\d+).*?corp: (\d+)", text, re.M)[-1:]
    numbers = [int(one) for one in last[0]] if last else [0, 0, 0]
    if done.returncode or not last:
        return numbers, f"{found}{text[-3000:]}\n"
    return numbers, ""


def main() -> int:
    """All surfaces, or the one that is named; 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--surface", choices=SURFACES)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.surface, given.seconds, given.work, is_planted=given.planted)
    code = 0
    sys.stdout.write("| surface | executions | edges | corpus |\n|---|---|---|---|\n")
    for surface in [given.surface] if given.surface else SURFACES:
        numbers, found = fuzzed(surface, given.seconds, is_planted=given.planted)
        cells = " | ".join(f"{one:,}" for one in numbers)
        sys.stdout.write(f"| {surface} | {cells} |\n{found}")
        sys.stdout.flush()
        code = 1 if found else code
    return code


if __name__ == "__main__":
    sys.exit(main())
