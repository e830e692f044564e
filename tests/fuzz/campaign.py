"""A volume of executions over all surfaces, in rounds; its state is files, so it can be resumed.

FOLDER/NAME/corpus/      inputs that covered something new
FOLDER/NAME/state.json   counters
FOLDER/NAME/found-…      inputs that broke something; the surface waits until they are mended
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tests.fuzz.engine import CORPUS, Order, carried_out

SURFACES: Final = sorted(path.name for path in CORPUS.iterdir())
ROUND: Final = 250_000
ROUND_MIN: Final = 1_000
ROUND_SECONDS: Final = 300
"""Bounds of one round, which is what an interruption loses."""


@dataclass(frozen=True, slots=True)
class Volume:
    """How much is enough.

    Args:
        executions: of each surface.
        quiet: executions of each surface since the last new edge.
        total: executions of all together.
    """

    executions: int = 500_000
    quiet: int = 100_000
    total: int = 10_000_000


class State(msgspec.Struct, kw_only=True):
    """What a surface has done so far.

    Attributes:
        executions: inputs tried.
        quiet: of those, since the last new edge.
        edges: covered.
        corpus: inputs kept.
        seconds: taken, by the clock, loading included.
        found: what the last round found; empty: nothing.
    """

    executions: int = 0
    quiet: int = 0
    edges: int = 0
    corpus: int = 0
    seconds: float = 0
    found: str = ""

    def is_enough(self, volume: Volume) -> bool:
        """Whether the surface has had its own volume."""
        return self.executions >= volume.executions and self.quiet >= volume.quiet


def read_states(folder: Path, surfaces: Iterable[str] = SURFACES) -> dict[str, State]:
    """The states as they were left."""
    found = {}
    for surface in surfaces:
        file = folder / surface / "state.json"
        data = file.read_bytes() if file.exists() else b"{}"
        found[surface] = msgspec.json.decode(data, type=State)
    return found


def run_volume(
    folder: Path, surfaces: Iterable[str], volume: Volume, say: Callable[[str], None]
) -> dict[str, State]:
    """Rounds until every surface has its volume, and all together have theirs.

    A surface that has found something gets no more rounds before its inputs are passed.
    """
    states = read_states(folder, surfaces)
    for surface, state in states.items():
        state.found = _still(folder / surface, surface)
    while True:  # Bound: each round adds executions, or takes its surface out.
        chosen = _next(states, volume)
        if chosen is None:
            return states
        state = states[chosen]
        left = volume.total - sum(each.executions for each in states.values())
        needed = max(volume.executions - state.executions, volume.quiet - state.quiet)
        runs = min(max(left if needed <= 0 else needed, ROUND_MIN), ROUND)
        _round(folder / chosen, chosen, state, runs)
        say(
            f"{chosen}: {state.executions:,} executions, {state.quiet:,} since a new edge, "
            f"{state.edges:,} edges, {state.corpus:,} inputs, {state.seconds:.0f} s"
            + (f"\n{state.found}" if state.found else "")
        )


def _next(states: dict[str, State], volume: Volume) -> str | None:
    """Of those that need more, the one that has had least time."""
    open_ = [name for name, state in states.items() if not state.found]
    waiting = [name for name in open_ if not states[name].is_enough(volume)]
    if not waiting and sum(state.executions for state in states.values()) < volume.total:
        waiting = open_
    return min(waiting, key=lambda name: (states[name].seconds, name), default=None)


def _round(home: Path, surface: str, state: State, runs: int) -> None:
    began = time.monotonic()
    outcome = carried_out(Order(surface, home / "corpus", runs, ROUND_SECONDS))
    is_new = outcome.edges > state.edges
    state.quiet = outcome.executions - outcome.last_new + (0 if is_new else state.quiet)
    if not is_new:
        state.quiet += outcome.last_new
    state.executions += outcome.executions
    state.edges = max(state.edges, outcome.edges)
    state.corpus = max(outcome.corpus, state.corpus if outcome.found else 0)
    state.seconds += time.monotonic() - began
    state.found = outcome.found
    (home / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(state)))


def _still(home: Path, surface: str) -> str:
    """What is found still; inputs that pass now go into the corpus."""
    from tests.fuzz.targets import run

    told = []
    for path in sorted(home.glob("found-*")):
        try:
            run(surface, path.read_bytes())
        except Exception as error:
            told.append(f"{path}: {error!r}")
            continue
        (home / "corpus").mkdir(exist_ok=True)
        path.rename(home / "corpus" / path.name)
    return "\n".join(told)


def table(states: dict[str, State]) -> str:
    """The states as a table in Markdown."""
    lines = [
        "| surface | executions | since a new edge | edges | corpus | executions/s |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for surface, state in states.items():
        rate = state.executions / state.seconds if state.seconds else 0
        cells = (state.executions, state.quiet, state.edges, state.corpus, round(rate))
        lines.append(f"| {surface} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    total = sum(state.executions for state in states.values())
    lines.append(f"| all | {total:,} | | | | |")
    return "\n".join(lines) + "\n"
