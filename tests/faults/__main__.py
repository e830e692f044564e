"""`python -m tests.faults --rounds N --seed S`: rounds of faults, and what they showed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.faults.round import Plan, Round, recovery_seconds_promised, summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pods", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="folder for what each round leaves")
    given = parser.parse_args()
    outcomes = []
    for seed in range(given.seed, given.seed + given.rounds):
        plan = Plan(seed, given.seconds, given.pods, given.nodes)
        with tempfile.TemporaryDirectory(prefix="herz-faults-") as folder:
            kept = Path(folder) if given.keep is None else given.keep / str(seed)
            kept.mkdir(parents=True, exist_ok=True)
            outcome = asyncio.run(Round(plan, kept).run())
        sys.stdout.write(outcome.as_json() + "\n")
        sys.stdout.flush()
        outcomes.append(outcome)
    total = summary(outcomes)
    sys.stdout.write(json.dumps(total, indent=2) + "\n")
    is_late = total["recovered_seconds_p99"] > recovery_seconds_promised()  # type: ignore[operator]
    return 1 if total["problems"] or is_late else 0


if __name__ == "__main__":
    sys.exit(main())
