"""Outcomes of the learning seeds, with the agents' noise and lag, as rows for training.

python -m bench.sla.learn -o outcomes.jsonl
herz sla train --data outcomes.jsonl --format records --objective 'p99_ms<=100' -o p99.model
herz sla train --data outcomes.jsonl --format records --objective 'delay_p99_s<=2' -o delay.model
herz sla train --data outcomes.jsonl --format records --objective 'completion>=0.995' -o jobs.model
make bench-sla MODEL="p99.model delay.model jobs.model"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from bench.sla.loop import LEARNING, SCENARIOS, run
from bench.sla.policies import policies
from herz.knowledge.sla.classes import DEFAULTS
from herz.knowledge.sla.rows import completion_of, head_line, latency_of, row_line
from herz.knowledge.sla.state import WHOLE
from herz.world.sim.expand import SIMULATED
from herz.world.sim.promises.monitor import Outcome

POLICIES: Final = ("default", "least-allocated", "load-aware")
EVERY: Final = 5
"""Of the minutes of a run, one in so many is learned from: they are alike. All jobs are."""


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
            _, outcomes, _ = run(scenario, policies(())[name], seed, is_collecting=True)
            timed = [one for one in outcomes if one.target_bp]
            for one in (*timed[::EVERY], *(one for one in outcomes if not one.target_bp)):
                yield _line(one, scenario, f"{scenario}-{seed}")


def _line(one: Outcome, scenario: str, session: str) -> bytes:
    objective = DEFAULTS[one.class_name].objective
    outcome: Mapping[str, int | bool] = completion_of(is_done=one.is_done)
    if one.target_bp:
        target_ns = (objective.target_milliseconds or 0) * 1_000_000
        quiet_ns = target_ns * WHOLE // one.target_bp
        p99_ns = quiet_ns * one.ratio_bp // WHOLE
        outcome = latency_of(p99_ns, quiet_ns, is_delay=objective.kind == "delay")
    return row_line(
        one.features,
        outcome,
        service=one.class_name,
        session=session,
        family=scenario,
        machine=SIMULATED,
    )


if __name__ == "__main__":
    sys.exit(main())
