"""The table of the closed loop, with intervals: bootstrap over seeds, all policies together."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bench.sla.policies import DEFAULT, ORACLE
from herz.world.sim.result import PromiseResult

DRAWS: Final = 2_000
Runs = Mapping[str, Sequence[PromiseResult]]
"""By policy, a result a seed; the same seeds in the same order for all."""


class Line(NamedTuple):
    """A policy in a scenario.

    Attributes:
        policy: its name.
        broken_percent: broken windows of all.
        reduction: plain reduction of broken windows against the default's, in percent.
        avoidable: share of the avoidable loss removed, (default - it) / (default - oracle).
        low: lower end of its 95 % interval.
        high: upper end.
        completed_percent: jobs that ended in time.
        cpu_percent: mean use of cpu, in truth.
        bound_percent: pod-seconds on nodes, of the default's.
    """

    policy: str
    broken_percent: float
    reduction: float
    avoidable: float
    low: float
    high: float
    completed_percent: float
    cpu_percent: float
    bound_percent: float


def lines(runs: Runs) -> list[Line]:
    """The policies of one scenario, in order."""
    count = len(runs[DEFAULT])
    generator = random.Random(1)
    draws = [[generator.randrange(count) for _ in range(count)] for _ in range(DRAWS)]
    return [_line(name, runs, draws) for name in runs]


def _line(name: str, runs: Runs, draws: list[list[int]]) -> Line:
    mine, default = runs[name], runs[DEFAULT]
    every = range(len(mine))
    shares = sorted(_avoided(name, runs, draw) for draw in draws)
    broken, before = _sum(mine, every), _sum(default, every)
    jobs = sum(one.jobs for one in mine)
    return Line(
        name,
        100 * broken / max(sum(one.windows for one in mine), 1),
        100 * (before - broken) / max(before, 1),
        _avoided(name, runs, every),
        shares[int(0.025 * DRAWS)],
        shares[int(0.975 * DRAWS)],
        100 * sum(one.completed for one in mine) / max(jobs, 1),
        sum(one.cpu_basis_points for one in mine) / len(mine) / 100,
        100
        * sum(one.bound_pod_seconds for one in mine)
        / max(sum(one.bound_pod_seconds for one in default), 1),
    )


def _avoided(name: str, runs: Runs, seeds: Sequence[int] | range) -> float:
    before, best = _sum(runs[DEFAULT], seeds), _sum(runs[ORACLE], seeds)
    return (before - _sum(runs[name], seeds)) / max(before - best, 1)


def _sum(results: Sequence[PromiseResult], seeds: Sequence[int] | range) -> int:
    return sum(results[seed].broken for seed in seeds)
