"""`python -m tests.faults --rounds N --seed S`: rounds of faults, and what they showed.

With `--log FILE` each round is kept there as a line of JSON, and a seed that the file has is not
run again: so a sitting that was ended goes on with the next, and the summary is of all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.faults.round import Plan, Round, recovery_seconds_promised, summary
from tests.support.cluster import Client


def main() -> int:
    given = _arguments()
    outcomes = read(given.log)
    done = {one["seed"] for one in outcomes}
    kubeconfig, nodes = None, given.nodes
    if given.kubeconfig is not None:
        kubeconfig = Path(
            os.environ["HERZ_TEST_KUBECONFIG"] if given.kubeconfig == "given" else given.kubeconfig
        )
        nodes = len(Client(kubeconfig).get("/api/v1/nodes").content["items"])
    for seed in range(given.seed, given.seed + given.rounds):
        if seed in done:
            continue
        plan = Plan(seed, given.seconds, given.pods, nodes, kubeconfig)
        with tempfile.TemporaryDirectory(prefix="herz-faults-") as folder:
            kept = Path(folder) if given.keep is None else given.keep / str(seed)
            kept.mkdir(parents=True, exist_ok=True)
            told = asyncio.run(Round(plan, kept).run()).told()
        line = json.dumps(told, sort_keys=True) + "\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        if given.log is not None:
            with given.log.open("a", encoding="utf-8") as file:
                file.write(line)
        outcomes.append(told)
    if not outcomes:
        return 0
    total = summary(outcomes)
    sys.stdout.write(json.dumps(total, indent=2) + "\n")
    is_late = total["recovered_seconds_p99"] > recovery_seconds_promised()
    return 1 if total["problems"] or is_late else 0


def read(log: Path | None) -> list[dict[str, Any]]:
    """The rounds that are kept; a last line that was cut off is none."""
    if log is None or not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pods", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=40, help="of the embedded server")
    parser.add_argument("--keep", type=Path, help="folder for what each round leaves")
    parser.add_argument(
        "--log", type=Path, help="lines of JSON, a round each; what is there counts"
    )
    parser.add_argument(
        "--kubeconfig", help="a server with nodes; `given`: that of HERZ_TEST_KUBECONFIG"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
