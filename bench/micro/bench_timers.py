"""What timers cost: a wheel beside a plain heap, and shards by one and two threads.

Run from the repository's root, on an idle machine:

    PYTHONPATH=src:. python -m bench.micro.bench_timers

All figures are of the Rust core, without Python. Each is the median of ROUNDS rounds, and in
brackets the lowest and the highest; the rivals of a table take turns in each round.
"""

from __future__ import annotations

from statistics import median

from bench.micro.table import machine, spread
from herz._native import measure_heap, measure_shards, measure_wheel

ROUNDS = 5
COUNT = 1_000_000
TABLES = [("one lock", True), ("by processor", False)]


def structures() -> None:
    """Insert, cancel nine of ten in random order, fire the rest, by one thread."""
    rivals = {"wheel": measure_wheel, "binary heap": measure_heap}
    runs = [{name: run(COUNT, seed) for name, run in rivals.items()} for seed in range(ROUNDS)]
    print(f"\n{COUNT:,} timers over 60 s, ns a timer")
    print(f"{'':14}{'insert':>18}{'cancel 90 %':>18}{'fire':>18}{'longest step, ms':>20}")
    for name in rivals:
        columns = [list(column) for column in zip(*(run[name][:3] for run in runs), strict=True)]
        steps = [run[name][3] / 1e6 for run in runs]
        print(
            f"{name:14}" + "".join(f"{spread(c):>18}" for c in columns) + f"{spread(steps, 2):>20}"
        )
    for name in rivals:
        first, after, again = (median(run[name][4][at] for run in runs) / 2**20 for at in range(3))
        print(
            f"{name}: {first:.0f} MiB, {after:.0f} after cancelling 90 %,"
            f" {again:.0f} after as many new ones ({(again / first - 1) * 100:+.1f} %)"
        )


def sharding() -> None:
    """Shards of their own for each thread, beside one shard table that all use as one processor."""
    print("\ntimers in shards, ns a timer of the slowest thread")
    print(f"{'timers':>10}{'threads':>9}  {'table':16}{'shards':>7}{'insert':>18}{'cancel':>18}")
    for count in (8_000, 200_000, COUNT):
        for threads in (1, 2):
            runs = [
                {name: measure_shards(count, threads, shared, seed) for name, shared in TABLES}
                for seed in range(ROUNDS)
            ]
            for name, _ in TABLES:
                insert, cancel, used = zip(*(run[name] for run in runs), strict=True)
                print(
                    f"{count:>10,}{threads:>9}  {name:16}{max(used):>7}"
                    f"{spread(list(insert)):>18}{spread(list(cancel)):>18}"
                )


if __name__ == "__main__":
    print(machine())
    structures()
    sharding()
