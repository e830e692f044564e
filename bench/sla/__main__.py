"""`python -m bench.sla`: the closed loop's table; `--frozen` prints what must not move."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.sla.loop import EVALUATION, FROZEN, FROZEN_MEASURED, SCENARIOS, frozen, run
from bench.sla.measured import maker, measured
from bench.sla.policies import policies
from bench.sla.table import Line, lines
from herz.world.sim.promises.truth import Truth
from herz.world.sim.result import PromiseResult

HEAD = (
    f"{'policy':<16} {'broken':>8} {'less':>7} {'avoidable loss removed':>24} {'jobs done':>10} "
    f"{'cpu':>7} {'bound':>7}"
)


def main() -> int:
    """Runs what was asked and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.sla", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="default: all")
    parser.add_argument("--seeds", type=int, default=len(EVALUATION), help="how many (20)")
    parser.add_argument(
        "--model", type=Path, action="append", help="of the learned policy; one a kind of promise"
    )
    parser.add_argument("--frozen", action="store_true", help="only print the digest")
    parser.add_argument(
        "--curves", type=Path, metavar="FILE", help="load tests whose curves are the truth's"
    )
    given = parser.parse_args()
    digest, expected = frozen(), FROZEN
    make_truth: Callable[..., Truth] = Truth
    if given.curves is not None:
        curves, digest = measured(given.curves)
        expected, make_truth = FROZEN_MEASURED, maker(curves)
        print(f"curves of {len(curves)} sessions: {', '.join(sorted(curves))}")
    print(f"frozen: {digest}")
    if digest != expected:
        print(f"but {expected} was frozen: scenarios, truth or seeds have changed", file=sys.stderr)
        return 1
    if given.frozen:
        return 0
    chosen = policies(given.model or ())
    for scenario in given.scenario or SCENARIOS:
        runs: dict[str, list[PromiseResult]] = {name: [] for name in chosen}
        for seed in EVALUATION[: given.seeds]:
            for name, policy in chosen.items():
                result = run(scenario, policy, seed, make_truth=make_truth)[0]
                runs[name].append(result)
                told = f"{scenario} {seed} {name}: {result.broken} of {result.windows} broken"
                print(told, msgspec.json.encode(result).decode(), file=sys.stderr, flush=True)
        print(f"\n{scenario}, {given.seeds} seeds from {EVALUATION[0]}\n{HEAD}")
        for line in lines(runs):
            print(_row(line))
    return 0


def _row(line: Line) -> str:
    share = f"{line.avoidable:.2f} ({line.low:.2f} to {line.high:.2f})"
    return (
        f"{line.policy:<16} {line.broken_percent:>7.2f}% {line.reduction:>6.1f}% {share:>24} "
        f"{line.completed_percent:>9.2f}% {line.cpu_percent:>6.2f}% {line.bound_percent:>6.2f}%"
    )


if __name__ == "__main__":
    sys.exit(main())
