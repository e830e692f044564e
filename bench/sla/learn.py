"""Outcomes of the learning seeds, with the agents' noise and lag, as rows for training.

python -m bench.sla.learn -o outcomes.jsonl
herz sla train --data outcomes.jsonl --format records --objective 'p99_ms<=100' -o model.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.sla.loop import LEARNING, SCENARIOS, run
from bench.sla.policies import policies
from herz.knowledge.sla.rows import head_line, row_line
from herz.knowledge.sla.state import WHOLE
from herz.world.sim.promises.monitor import Outcome

TARGET_NS: Final = 100_000_000
"""All promises are brought to one target: a quiet P99 of 1/3 of a promise of 2 s is learned from
as one of 33 ms of a promise of 100 ms."""
POLICIES: Final = ("default", "least-allocated", "load-aware")
EVERY: Final = 5
"""Of the outcomes of a run, one in so many is learned from: minutes are alike."""


def main() -> int:
    """Runs and writes the rows."""
    parser = argparse.ArgumentParser(prog="python -m bench.sla.learn", description=__doc__)
    parser.add_argument("-o", dest="to", type=Path, required=True, help="the file")
    parser.add_argument("--seeds", type=int, default=len(LEARNING), help="how many (12)")
    given = parser.parse_args()
    given.to.parent.mkdir(parents=True, exist_ok=True)
    with given.to.open("wb") as file:
        for line in lines(LEARNING[: given.seeds]):
            file.write(line + b"\n")
    return 0


def lines(seeds: Sequence[int]) -> Iterator[bytes]:
    """Outcomes of these seeds under the policies that know no model."""
    yield head_line()
    for scenario in SCENARIOS:
        for seed in seeds:
            # Each seed under one policy: other seeds see the others.
            name = POLICIES[seed % len(POLICIES)]
            print(f"{scenario}: seed {seed}, {name}", file=sys.stderr)
            _, outcomes, _ = run(scenario, policies(None)[name], seed, is_collecting=True)
            for one in outcomes[::EVERY]:
                yield _line(one, scenario, f"{scenario}-{seed}")


def _line(one: Outcome, scenario: str, session: str) -> bytes:
    quiet_ns = TARGET_NS * WHOLE // one.target_bp
    return row_line(
        one.features,
        p99_ns=quiet_ns * one.ratio_bp // WHOLE,
        quiet_ns=quiet_ns,
        service=one.class_name,
        session=session,
        family=scenario,
        machine="simulated",
    )


if __name__ == "__main__":
    sys.exit(main())
