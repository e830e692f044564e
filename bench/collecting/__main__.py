"""`make bench-gc`: what Python's collector does to decisions. 1 where the policy misses its aim.

Three settings in processes of their own, block by block in turn: Python's collector left alone,
`between-steps`, and no collections at all, which is the peer. Each decides the same pods, and must
decide them the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack

import numpy as np

from bench.collecting import table
from bench.collecting.processes import MODES, OFF, POLICY, ask, loaded, process
from bench.collecting.turns import Took

RATIO_MAX = 1.05
GROWTH_PERCENT_MAX = 1.0
BLOCK = 2_000


def main() -> int:
    """Measures, prints the tables, and writes them where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.collecting", description=__doc__)
    parser.add_argument("--nodes", type=int, default=5_000)
    parser.add_argument("--pods", type=int, default=100_000)
    parser.add_argument("--decisions", type=int, default=200_000, help="of each setting")
    parser.add_argument("--block", type=int, default=BLOCK, help="decisions in a row")
    parser.add_argument("--growth", type=int, default=1_000_000, help="decisions")
    parser.add_argument("--write", action="store_true", help="into docs/reference/gc.md")
    given = parser.parse_args()
    found = measure(given.nodes, given.pods, given.decisions, given.block, given.growth)
    tables = table.text(found)
    print(tables)
    if given.write:
        table.write(tables)
    cpu, wall = (table.ratio(found, part) for part in ("step_cpu", "step"))
    percent = found.growth.percent
    print(
        f"\np99.9 of a decision, {POLICY} over {OFF}, at most {RATIO_MAX}: {cpu} by the "
        f"processor's time, {wall} by the clock; memory {percent:+.2f} %, below "
        f"{GROWTH_PERCENT_MAX} % (from cold {found.growth.cold_percent:+.2f} %)"
    )
    return int(max(cpu.value, wall.value) > RATIO_MAX or percent >= GROWTH_PERCENT_MAX)


def measure(nodes: int, pods: int, decisions: int, block: int, growth: int) -> table.Found:
    """All of it; see `main`."""
    with ExitStack() as stack:
        turns = stack.enter_context(loaded(nodes, pods))
        with process(turns, POLICY) as other:
            profile = ask(other, "profile", min(1_000, pods))
        workers = {mode: stack.enter_context(process(turns, mode)) for mode in MODES}
        for worker in workers.values():
            ask(worker, "warm", block)
        took: dict[str, list[Took]] = {mode: [] for mode in MODES}
        order, began = list(MODES), time.monotonic()
        rounds = max(decisions // block, 1)
        for number in range(1, rounds + 1):
            # Whoever comes first has other caches than who follows: each is first in turn.
            for mode in order:
                took[mode].append(Took(*ask(workers[mode], "block", block)))
                assert np.array_equal(took[mode][-1].bind, took[order[0]][-1].bind), mode
            order.append(order.pop(0))
            if not number % 10:
                left = (time.monotonic() - began) * (rounds / number - 1)
                print(f"block {number} of {rounds}, {left:.0f} s", file=sys.stderr, flush=True)
        pauses = {mode: ask(worker, "pauses") for mode, worker in workers.items()}
        grown = ask(workers[POLICY], "grow", pods, growth)
    title = (
        f"{nodes:,} nodes, {pods:,} pods, {rounds * block:,} decisions of each setting in "
        f"{rounds} blocks, in turn; in brackets 95 % intervals, bootstrap over blocks."
    )
    return table.Found(took, pauses, profile, grown, title)


if __name__ == "__main__":
    raise SystemExit(main())
