"""One run of the engine over one surface: a process of its own, its limits, and what it says."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
MEMORY_MB: Final = 1024
BYTES_MAX: Final = 4096
"""Of one input, and of the process."""
HANG_SECONDS: Final = 30
"""By the clock, for what never ends: machines are shared. `targets.run` counts CPU time: 1 s."""
START_SECONDS: Final = 600
"""What loading under instrumentation and the first look at a corpus may take, on a busy machine."""
_LINE: Final = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)", re.M)
_DONE: Final = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.M)


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is to do.

    Args:
        surface: whose.
        folder: the corpus to begin with and to add to; what is found goes beside it.
        runs: executions at most.
        seconds: at most.
        is_planted: whether there is a planted bug to find.
        seed: of the engine; 0: another one each time.
    """

    surface: str
    folder: Path
    runs: int
    seconds: int
    is_planted: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did.

    Args:
        executions: inputs tried, without those of the corpus, with which a run begins.
        edges: covered, of the instrumented code.
        last_new: the execution that covered a new edge last; 0: the corpus did.
        corpus: inputs kept.
        found: what went wrong, in words; empty where nothing did.
    """

    executions: int
    edges: int
    last_new: int
    corpus: int
    found: str


def work(order: Order) -> None:
    """This process becomes the engine's; it ends at the first bug."""
    import atheris

    with atheris.instrument_imports(include=["herz"]):
        from tests.fuzz.targets import run
    from tests.fuzz.mutate import Mutator
    from tests.fuzz.planted import PLANTED
    from tests.fuzz.shapes import begin
    from tests.fuzz.words import dictionary

    def reach(edge: int) -> None:
        atheris._trace_branch(edge)  # by name: atheris puts another function there as it begins

    begin(atheris._reserve_counter, reach)
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger("herz.kube").disabled = True
    if order.is_planted:
        PLANTED[order.surface]()
    surface = order.surface
    words = order.folder.parent / f"{surface}.dict"
    words.write_text(dictionary(surface))
    # The corpus is run first, and is no part of what was ordered.
    first = 1 + sum(1 for folder in (order.folder, CORPUS / surface) for _ in folder.iterdir())
    options = [f"-runs={order.runs + first}", f"-max_total_time={order.seconds}"]
    options += [f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={BYTES_MAX}"]
    options += [f"-artifact_prefix={order.folder.parent}/found-", "-print_final_stats=1"]
    options += ["-mutate_depth=1"]  # Ours changes several things at once, where it does.
    options += [f"-dict={words}", *([f"-seed={order.seed}"] if order.seed else [])]
    options += [str(order.folder), str(CORPUS / surface)]
    mutator = Mutator(surface, lambda data: bytes(atheris.Mutate(data, len(data) + 16)))

    def one(data: bytes) -> None:
        if run(surface, data):
            mutator.bases.was_read(data)

    atheris.Setup(["fuzz", *options], one, custom_mutator=mutator.__call__)
    atheris.Fuzz()


def carried_out(order: Order) -> Outcome:
    """Run it in a process of its own, and read what it says."""
    order.folder.mkdir(parents=True, exist_ok=True)
    before = set(order.folder.parent.glob("found-*"))
    command = [sys.executable, "-m", "tests.fuzz", "--surface", order.surface]
    command += ["--work", str(order.folder), "--runs", str(order.runs)]
    command += ["--seconds", str(order.seconds), "--seed", str(order.seed)]
    command += ["--planted"] if order.is_planted else []
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = subprocess.run(
                command,
                stdout=said,
                stderr=said,
                check=False,
                timeout=order.seconds + START_SECONDS,
                env={**os.environ, "PYTHONHASHSEED": "0"},
            ).returncode
        said.seek(0)
        text = said.read()
    return _outcome(text, code, sorted(set(order.folder.parent.glob("found-*")) - before))


def _outcome(text: str, code: int | None, artifacts: list[Path]) -> Outcome:
    executions = edges = last_new = corpus = loaded = 0
    for match in _LINE.finditer(text):
        executions, corpus = int(match[1]), int(match[5])
        if match[2] == "INITED":
            loaded = executions
        if int(match[3]) > edges:
            edges, last_new = int(match[3]), executions
    done = _DONE.findall(text)
    executions = max(executions, int(done[-1]) if done else 0) - loaded
    last_new = max(last_new - loaded, 0)
    if code == 0 and executions:
        return Outcome(executions, edges, last_new, corpus, "")
    told = [f"{path.name}: {path.read_bytes()[:300]!r}" for path in artifacts]
    why = ["no end"] if code is None else []
    return Outcome(executions, edges, last_new, corpus, "\n".join([*told, *why, text[-3000:]]))
