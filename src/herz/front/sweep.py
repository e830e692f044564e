"""`make sim`: the scenario `chaos` over many seeds, on all cores; what failed, and how to see it.

A violated checker does not end the sweep: its seed is shown with the command that repeats it. So is
a seed in which less happened than each must have: it proves nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice

from herz import app
from herz.errors import InvariantError
from herz.world.sim.result import RunResult

SCENARIO = "chaos"
LINE_EVERY_S = 10.0
SHOWN_MAX = 20
"""Violations, and seeds that fall short, that are shown; all are counted."""
MINIMA = {
    "nodes": 50,
    "pod events": 2_000,
    "node events": 20,
    "API faults": 20,
    "preemptions": 5,
}
"""What must happen in each seed at least, in the terms of `counts_of`."""
HARD_EVERY = 4
"""One seed in so many runs with disruption budgets as limits, unless a policy is given."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed.

    Args:
        seed: which.
        policy: under which.
        seconds: of processor time.
        violation: what was violated, one line; empty when nothing was.
        counts: what happened, by name.
    """

    seed: int
    policy: str
    seconds: float
    violation: str
    counts: dict[str, int]

    @property
    def shortfall(self) -> str:
        """What there was too little of in a seed without violation; empty when there was enough."""
        few = () if self.violation else shortfalls(self.counts)
        return ", ".join(f"{self.counts[name]} {name}, not {MINIMA[name]}" for name in few)


def run_seed(seed: int, policy: str) -> Outcome:
    """Run one seed; a violated checker is an answer here."""
    started, violation, counts = time.process_time(), "", {}
    try:
        summary = app.run_simulation(
            scenario=SCENARIO,
            policy=policy,
            seed=seed,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
        )
        counts = counts_of(summary.runs[0])
    except InvariantError as error:
        violation = str(error).partition("\n")[0]
    except AssertionError as error:
        violation = f"assertion: {error}".partition("\n")[0]
    return Outcome(seed, policy, time.process_time() - started, violation, counts)


def policy_of(seed: int) -> str:
    """The policy of a seed, where none is given."""
    return "hard-budgets" if seed % HARD_EVERY == HARD_EVERY - 1 else "default"


def counts_of(run: RunResult) -> dict[str, int]:
    """What happened in a run, in the terms of its minima (docs/reference/simulator.md)."""
    pods, faults = run.pods, run.faults
    ended = pods.completed + pods.failed + pods.deleted + pods.evicted + pods.preempted
    nodes = run.events.get("applied Node", 0) + run.events.get("deleted Node", 0) - len(run.nodes)
    aside = ("pod_relabelled", "refused_by_node")
    return {
        "decisions": run.decisions,
        "nodes": len(run.nodes),
        "pod events": pods.arrived + ended + faults.get("pod_relabelled", 0),
        "node events": nodes,
        "API faults": sum(count for name, count in faults.items() if name not in aside),
        "preemptions": run.effects.get("DeletePod", 0) + run.effects.get("Evict", 0),
    }


def shortfalls(counts: dict[str, int]) -> list[str]:
    """The names of what there was too little of."""
    return [name for name, least in MINIMA.items() if counts[name] < least]


def sweep(seeds: Sequence[int], policy: str, workers: int) -> list[Outcome]:
    """Run the seeds, and tell now and then how far it is.

    Args:
        seeds: which.
        policy: under which; empty: each under `policy_of` it.
        workers: processes.
    """
    done: list[Outcome] = []
    shown_s = began_s = time.monotonic()
    with ProcessPoolExecutor(max_workers=workers) as pool:
        for outcome in pool.map(run_seed, seeds, [policy or policy_of(seed) for seed in seeds]):
            done.append(outcome)
            if outcome.violation:
                _tell(f"seed {outcome.seed}: {outcome.violation}")
            elif outcome.shortfall:
                _tell(f"seed {outcome.seed} falls short: {outcome.shortfall}")
            now_s = time.monotonic()
            if now_s - shown_s >= LINE_EVERY_S:
                shown_s = now_s
                failed = sum(bool(one.violation or one.shortfall) for one in done)
                left_s = (now_s - began_s) / len(done) * (len(seeds) - len(done))
                note = f"{len(done)} of {len(seeds)} seeds, {failed} failed, {left_s:.0f} s left"
                _tell(f"sim: {note}")
    return done


def report(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """The lines of the summary."""
    failed = [one for one in outcomes if one.violation]
    sound = [one for one in outcomes if not one.violation]
    short = [one for one in sound if one.shortfall]
    yield f"{'seeds':<14}{len(outcomes):>12}"
    yield f"{'violations':<14}{len(failed):>12}"
    yield f"{'short':<14}{len(short):>12}"
    if sound:
        yield f"{'a seed':<14}{'least':>12}{'mean':>12}{'most':>12}{'sum':>14}"
        for name in sound[0].counts:
            values = [one.counts[name] for one in sound]
            mean = sum(values) // len(values)
            yield f"{name:<14}{min(values):>12}{mean:>12}{max(values):>12}{sum(values):>14}"
    slowest = max(outcomes, key=lambda one: one.seconds)
    mean_s = sum(one.seconds for one in outcomes) / len(outcomes)
    yield f"processor time: {mean_s:.2f} s a seed; slowest {slowest.seed}: {slowest.seconds:.2f} s"
    for one in islice(failed, SHOWN_MAX):
        yield f"seed {one.seed}: {one.violation}"
        yield f"  herz simulate {SCENARIO} --policy {one.policy} --seed {one.seed}"
    for one in islice(short, SHOWN_MAX):
        yield f"seed {one.seed} falls short: {one.shortfall}"


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep; 1 when a checker was violated, or a seed fell short."""
    parser = argparse.ArgumentParser(prog="herz.front.sweep", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--policy",
        default="",
        help="a built-in policy, or a file, for all seeds; "
        f"without: default, and hard-budgets for one seed in {HARD_EVERY}",
    )
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds)
    if not seeds:
        parser.error("--seeds: at least one")
    outcomes = sweep(seeds, given.policy, given.workers)
    for line in report(outcomes):
        sys.stdout.write(f"{line}\n")
    return int(any(one.violation or one.shortfall for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
