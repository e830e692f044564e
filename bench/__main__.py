"""`python -m bench`: how fast decisions are, beside peers measured in the same run.

Each case runs in processes of its own, several times, its peers in turn with it; what is
printed is the median, and the ratio of medians. Results go to bench/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import cases

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Runs the asked cases; with `--inside`, one of them here, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(cases.CASES)}; default: all")
    parser.add_argument("--runs", type=int, default=3, help="runs of each case (default 3)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in cases.CASES]
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}; use {', '.join(cases.CASES)}")
    if given.inside:
        print(json.dumps(cases.CASES[given.cases[0]]()))
        return 0
    chosen = given.cases or list(cases.CASES)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for number in range(given.runs):
        for name in chosen:
            print(f"run {number + 1}/{given.runs}: {name}", file=sys.stderr)
            runs[name].append(_run(name))
    summary = {name: _summary(found) for name, found in runs.items()}
    _show(summary)
    _keep(summary, runs=given.runs)
    return 0


def _run(name: str) -> dict[str, float]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "bench", "--inside", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    found["process_seconds"] = time.perf_counter() - started
    found["pods_per_process_second"] = found["decisions"] / found["process_seconds"]
    return found


def _summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        key: {
            "min": min(run[key] for run in runs),
            "median": statistics.median(run[key] for run in runs),
            "max": max(run[key] for run in runs),
        }
        for key in runs[0]
    }


def _show(summary: dict[str, dict[str, dict[str, float]]]) -> None:
    print(f"{'case':<22}{'figure':<28}{'min':>12}{'median':>12}{'max':>12}")
    for name, figures in summary.items():
        for key, spread in figures.items():
            row = "".join(f"{spread[part]:>12,.1f}" for part in ("min", "median", "max"))
            print(f"{name:<22}{key:<28}{row}")
    for title, over, under in cases.RATIOS:
        if over in summary and under in summary:
            key = "microseconds_a_decision"
            ratio = summary[over][key]["median"] / summary[under][key]["median"]
            print(f"{title}: {ratio:.2f} times")


def _keep(summary: dict[str, dict[str, dict[str, float]]], *, runs: int) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d')}-{commit or 'unknown'}.json"
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    content = {"machine": machine, "commit": commit, "runs": runs, "cases": summary}
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(f"kept in {path}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
