"""Makes the closed loop's model: from the learning seeds, with the agents' noise and lag.

python -m bench.sla.learn -o build/sla-model.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.sla.loop import LEARNING, SCENARIOS, run
from bench.sla.policies import policies
from herz.knowledge.sla.learning.dataset import Dataset, digest_of, parse_objective
from herz.knowledge.sla.learning.training import train
from herz.knowledge.sla.state import ANCHORS, FEATURES, WHOLE
from herz.world.sim.promises.monitor import Outcome

TARGET_NS: Final = 100_000_000
"""All promises are brought to one target: a quiet P99 of 1/3 of a promise of 2 s is learned from
as one of 33 ms of a promise of 100 ms."""
POLICIES: Final = ("default", "least-allocated", "load-aware")
EVERY: Final = 5
"""Of the outcomes of a run, one in so many is learned from: minutes are alike."""


def main() -> int:
    """Runs, learns and writes the model."""
    parser = argparse.ArgumentParser(prog="python -m bench.sla.learn", description=__doc__)
    parser.add_argument("-o", dest="to", type=Path, required=True, help="the model's file")
    parser.add_argument("--seeds", type=int, default=len(LEARNING))
    given = parser.parse_args()
    model = train(dataset(LEARNING[: given.seeds]), parse_objective("p99_ms<=100"))
    given.to.parent.mkdir(parents=True, exist_ok=True)
    given.to.write_bytes(model.dump())
    print(f"{given.to}: {model.digest}")
    return 0


def dataset(seeds: Sequence[int]) -> Dataset:
    """Outcomes of the learning seeds under the policies that know no model."""
    found: list[tuple[str, str, Outcome]] = []
    for scenario in SCENARIOS:
        for seed in seeds:
            # Each seed under one policy: other seeds see the others.
            name = POLICIES[seed % len(POLICIES)]
            print(f"{scenario}: seed {seed}, {name}", file=sys.stderr)
            _, outcomes, _ = run(scenario, policies(None)[name], seed, is_collecting=True)
            session = f"{scenario}-{seed}"
            found += [(scenario, session, one) for one in outcomes[::EVERY]]
    return of_outcomes(found)


def of_outcomes(found: Iterable[tuple[str, str, Outcome]]) -> Dataset:
    """Outcomes, each with its scenario and session, as the trainer takes them."""
    given = list(found)
    outcomes = [one for _, _, one in given]
    quiet = [TARGET_NS * WHOLE // one.target_bp for one in outcomes]
    count = len(given)
    zeros = np.zeros(count, np.int64)
    texts = [
        (f"{session}/{number}", session, scenario, one.class_name)
        for number, (scenario, session, one) in enumerate(given)
    ]
    groups, sessions, families, services = (np.array(each) for each in zip(*texts, strict=True))
    return Dataset(
        feature_set="counters",
        specs=FEATURES,
        rows=np.array([one.features for one in outcomes], np.int64),
        latency_ns=np.array(
            [ns * one.ratio_bp // WHOLE for ns, one in zip(quiet, outcomes, strict=True)], np.int64
        ),
        probe_ns=zeros,
        quiet_ns=np.array(quiet, np.int64),
        load=zeros,
        group=groups,
        session=sessions,
        family=families,
        campaign=families,
        service=services,
        machine=np.full(count, "simulated"),
        digests=np.array([digest_of([str(value) for value in one]) for one in outcomes]),
        anchors=ANCHORS,
    )


if __name__ == "__main__":
    sys.exit(main())
