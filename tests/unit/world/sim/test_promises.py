"""The made-up truth of promises: queues, knees, the seed's constants, agents and the judge."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from herz.errors import ConfigError
from herz.model.events import ObjectApplied
from herz.model.objects import NodeSignals, ServiceProfile
from herz.world.sim.catalogue import FOLDER, load_scenario
from herz.world.sim.checkers import DecisionSink
from herz.world.sim.collect import VerdictSink
from herz.world.sim.driver import Driver
from herz.world.sim.expand import expand
from herz.world.sim.promises.curves import Queue, queue
from herz.world.sim.promises.truth import Setup, Truth
from herz.world.sim.result import DigestSink
from herz.world.sim.scenario_file import read_tables
from tests.sim.first_fit import first_fit_factory

BUSY = np.array([0.2, 0.5, 0.8, 0.95, 1.2])


def setup(name: str = "sla-shop") -> Setup:
    found = load_scenario(name).truth
    assert found is not None
    return found


def truth(seed: int = 1, name: str = "sla-shop", nodes: int = 4) -> Truth:
    given = setup(name)
    return Truth(given.table, given.services, (16.0,) * nodes, random.Random(seed))


def counts(made: Truth, **pods: tuple[int, ...]) -> Any:
    keys = [one.key.partition("/")[2] for one in made.services]
    return np.array([pods.get(key, (0, 0, 0, 0)) for key in keys], np.int64)


def row(made: Truth, name: str) -> int:
    return [one.key.partition("/")[2] for one in made.services].index(name)


def test_queue_is_lindleys_recursion() -> None:
    made = Queue(slow_share=0, slow_times=1, seed=3)
    # M/M/1: the time in system is exponential with rate 1 - busy, in mean service times.
    for busy in (0.3, 0.5, 0.7):
        expected = np.log(100) / (1 - busy)
        assert made.quantile(np.array([busy]))[0] == pytest.approx(expected, rel=0.12)
        beyond = made.tail(np.array([busy]), np.array([3.0]))[0]
        assert beyond == pytest.approx(np.exp(-3 * (1 - busy)), rel=0.12)


def test_queue_gets_longer_with_every_bit_of_work_and_has_a_knee() -> None:
    made = queue(20, 8)
    found = made.quantile(np.linspace(0.05, 1.9, 60))
    assert (np.diff(found) > -0.02 * found[:-1]).all()
    slow, fast = made.quantile(np.array([0.9, 0.95])), made.quantile(np.array([0.3, 0.35]))
    assert slow[1] - slow[0] > 5 * (fast[1] - fast[0])
    tails = made.tail(BUSY, np.full(5, 20.0))
    assert (np.diff(tails) >= 0).all()


def test_nobody_feels_anybody_below_the_knee() -> None:
    made = truth()
    quiet = made.slowdown(np.full((4, 4), 0.3))
    assert (quiet == 1).all()
    assert (made.slowdown(np.full((4, 4), 0.95)) > 1).all()


def test_bad_neighbour_breaks_the_promise_of_who_feels_it() -> None:
    made = truth()
    load = made.load(0)
    alone = counts(made, search=(1, 0, 0, 0))
    beside = counts(made, search=(1, 0, 0, 0), analytics=(9, 0, 0, 0))
    apart = counts(made, search=(1, 0, 0, 0), analytics=(0, 9, 0, 0))
    at = row(made, "search")
    assert not made.broken(alone, load)[at]
    assert made.broken(beside, load)[at]
    assert not made.broken(apart, load)[at]


def test_oracle_costs_are_least_where_no_harm_is_done() -> None:
    made = truth()
    there = counts(made, search=(2, 2, 0, 0), analytics=(4, 0, 0, 5))
    costs = made.costs(there, row(made, "analytics"), minute=0)
    assert int(np.argmin(costs)) == 2
    assert int(np.argmax(costs)) == 0


def test_seed_moves_constants_within_the_spread_and_nothing_else_does() -> None:
    first, again, other = truth(1), truth(1), truth(2)
    for name in ("uses", "feels", "busy", "quiet_ns", "capacity"):
        assert (getattr(first, name) == getattr(again, name)).all()
    table = [one.table.feels.bandwidth / 1000 for one in first.services]
    ratio = first.feels[:, 1] / table
    assert ((ratio >= 0.5) & (ratio <= 1.5)).all()
    assert ratio.max() - ratio.min() > 0.3
    assert (first.feels != other.feels).any()


def test_step_is_another_curve() -> None:
    given, hinge = setup(), truth(1)
    table = msgspec.structs.replace(given.table, variant="step")
    step = Truth(table, given.services, (16.0,) * 4, random.Random(1))
    near = np.full((4, 4), 0.72)
    assert (step.slowdown(near) > hinge.slowdown(near)).any()


class Watched:
    """A machine of the simplest kind that keeps the events of agents."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seen: list[Any] = []

    def apply(self, event: Any) -> None:
        if isinstance(event, ObjectApplied) and isinstance(
            event.object, NodeSignals | ServiceProfile
        ):
            self.seen.append(event)
        else:
            self._inner.apply(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_agents_tell_late_and_noisily_and_the_judge_counts_who_waits() -> None:
    sinks = (DigestSink(), VerdictSink(), DecisionSink())
    machine: Any = Watched(first_fit_factory(0, sinks))
    driver = Driver(load_scenario("sla-shop"), 0, machine, sinks)
    driver.is_collecting = True
    driver.run()
    assert driver.monitor is not None
    result, outcomes = driver.monitor.result(), driver.monitor.outcomes
    # First fit packs all pods on the first nodes: promises break there.
    assert result.windows == 550
    assert 200 < result.broken <= 550
    assert sum(result.by_service.values()) == result.broken
    timed = [result.by_class[name] for name in ("online", "streaming")]
    assert tuple(map(sum, zip(*timed, strict=True))) == (result.broken, result.windows)
    assert result.by_class["batch"] == (result.jobs - result.completed, result.jobs)
    jobs = driver.monitor.job_outcomes()
    # A job that never came on a node has no row to learn from.
    assert 0 < len(jobs) <= result.jobs
    assert {one.class_name for one in jobs} == {"batch"}
    assert 0 < sum(one.is_done for one in jobs) <= result.completed
    samples = [one for one in machine.seen if isinstance(one.object, NodeSignals)]
    assert len(samples) == 20 * 239
    assert {one.object.status.age_milliseconds for one in samples} == {15_000}
    assert samples[0].time_ns == 45_000_000_000
    loads = {one.object.status.signals["cpu_utilisation"] for one in samples}
    assert len(loads) > 500
    profiles = [one for one in machine.seen if isinstance(one.object, ServiceProfile)]
    assert {one.object.metadata.name for one in profiles} >= {"web", "analytics"}
    assert outcomes
    assert {one.class_name for one in outcomes} == {"online", "streaming"}
    broken = [one for one in outcomes if one.ratio_bp > one.target_bp]
    assert 0.05 < len(broken) / len(outcomes) < 0.95


def test_service_with_a_waiting_pod_breaks_its_promise_in_every_window(tmp_path: Path) -> None:
    text = """
[scenario]
name = "waiting"
duration = "31m"
expect_every_fit = false
[truth]
[[nodes]]
name = "node"
cpu = "16"
[[workloads]]
name = "web"
class = "online"
replicas = 1
cpu = "1"
service = { quiet = "20ms" }
[[workloads]]
name = "large"
class = "online"
replicas = 1
cpu = "32"
service = { quiet = "20ms" }
arrive = { at = "20m" }
"""
    path = tmp_path / "waiting.toml"
    path.write_text(text)
    sinks = (DigestSink(), VerdictSink(), DecisionSink())
    driver = Driver(load_scenario(str(path)), 0, first_fit_factory(0, sinks), sinks)
    driver.run()
    assert driver.monitor is not None
    result = driver.monitor.result()
    # Minutes 11 to 31 of two services; the large one came after the 20th was judged.
    assert result.windows == 2 * 21
    assert result.by_service == {"default/large": 11}
    assert result.by_class == {"online": (11, 42)}


def test_class_that_is_no_default_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "sla-shop.toml").read_text().replace('class = "batch"', 'class = "night"')
    path = tmp_path / "other.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="no such class"):
        load_scenario(str(path))


def test_files_of_the_table_expand() -> None:
    for name in ("sla-shop", "sla-dense", "sla-mix"):
        tables = read_tables(FOLDER / f"{name}.toml")
        assert expand(tables, random.Random(1)).pods_expected > 200
