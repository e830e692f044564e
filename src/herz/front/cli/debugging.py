"""`herz debug compare`: has a live scheduler compare what it knows with what the API holds."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Final

from herz.errors import ConfigError, WorldError
from herz.front.cli.declared import Option
from herz.front.cli.failure import Exit
from herz.front.cli.journals import FORM, journal_at
from herz.front.cli.options import Output, OutputOption
from herz.front.cli.printing import print_answer
from herz.world.store.where import beside

COMPARE = "Example: herz debug compare --journal ./journal"
SECONDS_MAX: Final = 120.0
PROCESS: Final = "process"
"""The file in a journal's folder that says which process drives it."""
COMPARED: Final = "compared.json"
_LOOK_SECONDS: Final = 0.1


def compare(
    *,
    journal: Annotated[
        str, Option("--journal", metavar=FORM, help="Of the scheduler that is meant.")
    ],
    output: OutputOption = Output.TABLE,
) -> int:
    """Compare what a live scheduler knows with the API; exit code 1 where something differs."""
    folder = beside(journal_at(journal))
    process, before = _process(folder), _stamp(folder)
    try:
        os.kill(process, signal.SIGUSR2)
    except OSError as error:
        raise WorldError(f"process {process}: {error.strerror}") from error
    until = time.monotonic() + SECONDS_MAX
    while _stamp(folder) == before:
        if time.monotonic() > until:
            raise WorldError(f"process {process} did not answer within {SECONDS_MAX:g} s")
        time.sleep(_LOOK_SECONDS)
    found = json.loads((folder / COMPARED).read_text(encoding="utf-8"))
    if "error" in found:
        raise WorldError(f"not compared: {found['error']}")
    print_answer(
        found,
        output,
        title="herz debug compare",
        columns=("kind", "the API holds"),
        rows=[(plural, str(count)) for plural, count in found["objects"].items()],
        after=[
            *(
                f"{one['kind']} {one['name']}: known as {one['known'] or 'nothing'}, "
                f"the API holds {one['held'] or 'nothing'}"
                for one in found["differences"]
            ),
            f"{len(found['differences'])} differ",
        ],
    )
    return Exit.NO if found["differences"] else Exit.DONE


def _process(folder: Path) -> int:
    try:
        text = (folder / PROCESS).read_text(encoding="utf-8").strip()
    except OSError as error:
        fix = "name the --journal of a herz run that is live on this machine"
        raise ConfigError(
            "no live scheduler", where="--journal", value=str(folder), fix=fix
        ) from error
    if not text.isascii() or not text.isdigit() or int(text) < 2:
        raise WorldError(f"{folder / PROCESS} names no process: {text[:20]!r}")
    return int(text)


def _stamp(folder: Path) -> tuple[int, int]:
    """Which answer there is now; another file is another answer."""
    try:
        found = (folder / COMPARED).stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino
