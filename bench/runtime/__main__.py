"""`python -m bench.runtime`: floor, peers and herz.runtime, interleaved; medians and ranges.

Only ratios of one table hold. Exit 1: a target is missed, or its peer is not there; Go may be
missing with `--allow-missing`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import sysconfig
from collections.abc import Callable

from bench.runtime import cases, echo, native, stall, threads, timers
from bench.runtime.peers import Peers, find_peers

Measure = Callable[[Peers], dict[str, float]]


def rounds(measure: Measure, peers: Peers, repetitions: int) -> dict[str, list[float]]:
    """Each contender's values over all repetitions; contenders take turns."""
    values: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for name, value in measure(peers).items():
            values.setdefault(name, []).append(value)
    return values


def show(title: str, unit: str, values: dict[str, list[float]]) -> dict[str, float]:
    """Prints a table and gives the medians."""
    print(f"\n{title} ({unit})")
    medians = {}
    for name, each in values.items():
        medians[name] = statistics.median(each)
        spread = f"{min(each):.4g} to {max(each):.4g}"
        print(f"  {name:<28} {medians[name]:>10.4g}   {spread}")
    return medians


class Verdicts:
    """Targets, as ratios of medians of one table."""

    def __init__(self, *, is_go_optional: bool = False) -> None:
        self.missed = 0
        self._is_go_optional = is_go_optional

    def most(self, medians: dict[str, float], own: str, peer: str, factor: float) -> None:
        """Own value at most `factor` times the peer's."""
        if own not in medians or peer not in medians:
            self.missed += 1
            print(f"  not measured: {own} / {peer}")
            return
        ratio = medians[own] / medians[peer]
        kept = ratio <= factor
        self.missed += not kept
        print(
            f"  {'kept' if kept else 'MISSED'}: {own} / {peer} = {ratio:.3f} (at most {factor:.3f})"
        )

    def beside(self, medians: dict[str, float], *names: str) -> None:
        """All of them were measured."""
        for name in names:
            if name not in medians and not (self._is_go_optional and name.startswith("Go ")):
                self.missed += 1
                print(f"  not measured: {name}")

    def below(self, medians: dict[str, float], own: str, limit: float) -> None:
        """Own value at most a limit."""
        if own not in medians:
            self.missed += 1
            print(f"  not measured: {own}")
            return
        kept = medians[own] <= limit
        self.missed += not kept
        print(f"  {'kept' if kept else 'MISSED'}: {own} = {medians[own]:.4g} (at most {limit:.4g})")

    def least(self, medians: dict[str, float], own: str, limit: float) -> None:
        """Own value at least a limit."""
        kept = medians[own] >= limit
        self.missed += not kept
        print(
            f"  {'kept' if kept else 'MISSED'}: {own} = {medians[own]:.4g} (at least {limit:.4g})"
        )


def main() -> int:
    """Measures all, prints, and says whether every target was kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.runtime", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--timer-seconds",
        type=float,
        default=60.0,
        help="over so many seconds timers come due, of each contender and in each repetition: only "
        "60 gives the table's figures",
    )
    parser.add_argument("--allow-missing", action="store_true", help="Go need not be there")
    parser.add_argument("--only", default="", help="only tables whose title contains this")
    chosen = parser.parse_args()
    peers = find_peers()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs")
    print(f"  configured: {sysconfig.get_config_var('CONFIG_ARGS')}")
    print(f"  compiled: {sysconfig.get_config_var('PY_CFLAGS')}")
    verdicts = Verdicts(is_go_optional=chosen.allow_missing)
    tables = (
        *(*cases.CASES, *stall.CASES, *threads.CASES, *native.CASES, *echo.CASES),
        *timers.cases(chosen.timer_seconds),
    )
    for title, unit, measure, judge in tables:
        if chosen.only not in title:
            continue
        print(f"\nload before: {os.getloadavg()[0]:.2f}")
        judge(verdicts, show(title, unit, rounds(measure, peers, chosen.repetitions)))
    print(f"\n{verdicts.missed} targets missed or not measured")
    return 1 if verdicts.missed else 0


if __name__ == "__main__":
    sys.exit(main())
