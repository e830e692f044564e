"""What stealing costs and how often it is needed: Rust tasks on native processors.

Run from the repository's root, on an idle machine:

    PYTHONPATH=src:. python -m bench.micro.bench_run_queue

Spawners, one pinned to each processor, start TASKS tasks of about a microsecond: evenly, or 80 %
of them on one processor. A probe is a look at one victim's queue, whatever it gives; a steal is
one that gives a task. Local hits are the steps whose task came from the processor's own queue.
Each figure is the median of ROUNDS rounds, and in brackets the lowest and the highest.
"""

from __future__ import annotations

import os

from bench.micro.table import machine, spread
from herz._native import measure_load, measure_switch

ROUNDS = 7
TASKS = 400_000
WORK = 600
"""Rounds of arithmetic in a task: about a microsecond."""
PROBE_NS_MAX = 217
LOCAL_HITS_MIN = 0.85


def switches() -> None:
    """A task that yields to others on one processor."""
    print("\nRust task switch, ns")
    for tasks in (10, 1_000, 100_000):
        figures = [measure_switch(tasks, 2_000_000) for _ in range(ROUNDS)]
        print(f"{tasks:>10,} tasks {spread(figures):>20}")


def loads() -> bool:
    """Both loads on 1, 2, 4 and 8 processors; whether the targets hold up to the CPUs' number."""
    cpus = os.cpu_count() or 1
    print(f"\n{TASKS:,} tasks; {cpus} CPUs")
    print(
        f"{'processors':>10} {'load':8}{'probe, ns':>16}{'steal, ns':>16}{'local hits, %':>20}"
        f"{'steals':>9}{'loot':>7}{'parks':>9}{'busiest, %':>12}{'tasks/ms':>18}"
    )
    keeps = True
    for processors in (1, 2, 4, 8):
        for name, share in (("even", 100 // processors), ("80 % on 1", 80)):
            runs = [measure_load(processors, TASKS, WORK, share, s) for s in range(ROUNDS)]
            column = {key: [run[0][key] for run in runs] for key in runs[0][0]}
            hits = [value * 100 for value in column["local_hits"]]
            loot = [run[0]["loot"] / max(run[0]["steals"], 1) for run in runs]
            busiest = [100 * max(run[1]) / sum(run[1]) for run in runs]
            rate = [sum(run[1]) / run[0]["seconds"] / 1000 for run in runs]
            print(
                f"{processors:>10} {name:8}{spread(column['probe_ns']):>16}"
                f"{spread(column['steal_ns']):>16}{spread(hits, 1):>20}"
                f"{sorted(column['steals'])[ROUNDS // 2]:>9.0f}{sorted(loot)[ROUNDS // 2]:>7.1f}"
                f"{sorted(column['parks'])[ROUNDS // 2]:>9.0f}"
                f"{sorted(busiest)[ROUNDS // 2]:>12.0f}{spread(rate):>18}"
            )
            if 1 < processors <= cpus:
                middle = ROUNDS // 2
                keeps &= sorted(column["probe_ns"])[middle] <= PROBE_NS_MAX
                keeps &= sorted(hits)[middle] > LOCAL_HITS_MIN * 100
    return keeps


if __name__ == "__main__":
    print(machine())
    switches()
    if not loads():
        raise SystemExit(f"missed: probe <= {PROBE_NS_MAX} ns, local hits > {LOCAL_HITS_MIN:.0%}")
