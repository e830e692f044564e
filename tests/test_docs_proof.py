"""The page on proving decisions holds: its commands run, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from herz.commit.audit.trust import parse_trust

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "howto" / "prove-decisions.md"
SMALL = ROOT / "tests" / "data" / "scenarios" / "small.toml"
REFERENCE = ROOT / "docs" / "reference" / "proof.md"


@pytest.mark.slow
@pytest.mark.timeout(180)  # Twenty commands that each start a Python.
def test_the_commands_of_the_page_run_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 6
    # A day that takes a second; a free port, and a wait until the witness says that it listens.
    page = "".join(blocks).replace("simulate shop", f"simulate {SMALL}")
    page = page.replace("--port 7380", "--port 0")
    head, started, rest = page.partition(" --passphrase-file pass &\n")
    assert started
    script = f"""set -euo pipefail
PATH=$PWD:$PATH
mkfifo said
{head} --passphrase-file pass >said &
witness=$!
trap 'kill $witness; wait $witness' EXIT
read -r line <said
address=${{line##* }}
{rest.replace("http://127.0.0.1:7380", "'$address'")}
"""
    # A program, not a function of the shell: the one in the background is ended by its pid.
    command = tmp_path / "herz"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m herz.front.cli "$@"\n')
    command.chmod(0o700)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "holds" in done.stdout
    assert "from = " in done.stdout


def test_the_trust_file_of_the_reference_is_one() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml trust.toml\n(.*?)^```$", text, re.M | re.S)
    trust = parse_trust(block.encode())
    assert (trust.logs[0].origin, trust.logs[0].until) == ("go.sum database tree", 4_000_000_000)
