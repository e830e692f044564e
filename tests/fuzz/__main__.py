"""Runs the surfaces, each in processes of its own, and prints what was done as a table.

python -m tests.fuzz --seconds 60                    all surfaces, 60 s each
python -m tests.fuzz --surface proofs --seconds 60   one
python -m tests.fuzz --planted                       each with a planted bug, which must be found
python -m tests.fuzz --volume --state build/fuzz     until the volume is done; can be interrupted
python -m tests.fuzz --table --state build/fuzz      what was done so far
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.fuzz.campaign import SURFACES, State, Volume, read_states, run_volume, table
from tests.fuzz.engine import Order, carried_out, work

RUNS_MAX = 10**9


def main() -> int:
    """1 when something was found, or a planted bug was not."""
    given = _arguments()
    if given.work:
        runs, seconds = given.runs or RUNS_MAX, given.seconds
        folder = Path(given.work)
        work(Order(given.surface, folder, runs, seconds, given.planted, given.seed))
    surfaces = [given.surface] if given.surface else SURFACES
    if given.planted:
        return max([_planted(surface, given.seed) for surface in surfaces])
    if given.table:
        states = read_states(given.state, surfaces)
    elif given.volume:
        volume = Volume(given.executions, given.quiet, given.total)
        states = run_volume(given.state, surfaces, volume, _say)
    else:
        states = {surface: _one(surface, given) for surface in surfaces}
    if given.output == "json":
        sys.stdout.write(msgspec.json.encode(states).decode() + "\n")
    else:
        sys.stdout.write(table(states))
    return 1 if any(state.found for state in states.values()) else 0


def _one(surface: str, given: argparse.Namespace) -> State:
    """A surface for some seconds, from the corpus of the repository."""
    with tempfile.TemporaryDirectory() as name:
        runs = given.runs or RUNS_MAX
        order = Order(surface, Path(name, "corpus"), runs, given.seconds, seed=given.seed)
        done = carried_out(order)
    _say(f"{surface}: {done.executions:,} executions {done.found}")
    quiet = done.executions - done.last_new
    return State(
        executions=done.executions,
        quiet=quiet,
        edges=done.edges,
        corpus=done.corpus,
        seconds=given.seconds,
        found=done.found,
    )


def _planted(surface: str, seed: int) -> int:
    from tests.fuzz.planted import EXECUTIONS_MAX, SAID, SECONDS_MAX

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "corpus")
        bounds = (EXECUTIONS_MAX, SECONDS_MAX)
        order = Order(surface, folder, *bounds, is_planted=True, seed=seed or 1)
        done = carried_out(order)
    is_found = SAID in done.found
    said = "found after" if is_found else "NOT found in"
    sys.stdout.write(f"{surface}: {said} {done.executions:,} executions\n")
    if done.found and not is_found:
        sys.stdout.write(done.found + "\n")
    sys.stdout.flush()
    return 0 if is_found else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--surface", choices=SURFACES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0, help="executions at most; 0: any number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--volume", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--state", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--executions", type=int, default=Volume().executions)
    parser.add_argument("--quiet", type=int, default=Volume().quiet)
    parser.add_argument("--total", type=int, default=Volume().total)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
