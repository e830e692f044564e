"""`make bench-gc`: what Python's collector does to decisions. 1 where the policy misses its aim.

Three settings in processes of their own, block by block in turn: Python's collector left alone,
`between-steps`, and no collections at all, which is the peer.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from bench.collecting import table
from bench.collecting.processes import MODES, POLICY, ask, loaded, process
from bench.collecting.turns import Took

RATIO_MAX = 1.05
GROWTH_PERCENT_MAX = 1.0
BLOCK = 2_000
WARM = 2_000


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
    one, grown = table.ratio(found, "step_cpu"), table.growth_percent(found)
    print(
        f"\np99.9 of a decision, {POLICY} over off, CPU: {one.value:.3f} ({one.low:.3f} to "
        f"{one.high:.3f}), at most {RATIO_MAX}; memory {grown:+.2f} %, below {GROWTH_PERCENT_MAX} %"
    )
    return int(one.value > RATIO_MAX or grown >= GROWTH_PERCENT_MAX)


def measure(nodes: int, pods: int, decisions: int, block: int, growth: int) -> table.Found:
    """All of it; see `main`."""
    turns = loaded(nodes, pods)
    with process(turns, POLICY) as other:
        profile = ask(other, "profile", min(1_000, pods))
    took: dict[str, list[Took]] = {mode: [] for mode in MODES}
    with ExitStack() as stack:
        workers = {mode: stack.enter_context(process(turns, mode)) for mode in MODES}
        for worker in workers.values():
            ask(worker, "warm", min(WARM, pods))
        order = list(MODES)
        rounds = max(decisions // block, 1)
        for number in range(rounds):
            # Whoever comes first has other caches than who follows: each is first in turn.
            for mode in order:
                took[mode].append(Took(*ask(workers[mode], "block", block)))
            order.append(order.pop(0))
            if number % 10 == 9:
                print(f"block {number + 1} of {rounds}", file=sys.stderr, flush=True)
        pauses = {mode: ask(worker, "pauses", 0) for mode, worker in workers.items()}
        before, after = ask(workers[POLICY], "grow", growth)
    title = (
        f"{nodes:,} nodes, {pods:,} pods, {rounds * block:,} decisions of each setting in "
        f"{rounds} blocks, in turn; in brackets 95 % intervals, bootstrap over blocks."
    )
    return table.Found(took, pauses, profile, (growth, before, after), title)


if __name__ == "__main__":
    raise SystemExit(main())
