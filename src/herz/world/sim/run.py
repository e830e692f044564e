"""`simulate`: one scenario, one machine, one seed, one result."""

from __future__ import annotations

from herz.errors import ConfigError
from herz.model.record import PolicyReference
from herz.ports import MachineFactory, Progress
from herz.world.collecting import GarbageCollector
from herz.world.sim.checkers import DecisionSink
from herz.world.sim.collect import (
    VerdictSink,
    class_results,
    node_uses,
    pod_counts,
    waits_ns,
)
from herz.world.sim.driver import Driver
from herz.world.sim.result import DigestSink, PolicyName, RunResult, WaitSeconds, seconds
from herz.world.sim.scenario import Protocol, Scenario


def simulate(
    scenario: Scenario,
    factory: MachineFactory,
    policy: PolicyReference,
    seed: int,
    progress: Progress | None = None,
    garbage: GarbageCollector | None = None,
) -> RunResult:
    """Run the scenario to its end.

    Args:
        scenario: what happens; from `herz.world.sim.catalogue.load_scenario`.
        factory: makes the machine from the seed and the sinks of its records.
        policy: named in the result.
        seed: of the world's randomness and of the machine's tie key.
        progress: told how far the run is.
        garbage: told when garbage may be collected; None: Python decides.

    Raises:
        ConfigError: the seed is negative, or the scenario's content is wrong.
        InvariantError: a checker was violated; the message has the seed and the last events.
    """
    if seed < 0:
        raise ConfigError("a seed is not negative", where="seed", value=seed, fix="use 0 or more")
    digest, verdicts, decisions = DigestSink(), VerdictSink(), DecisionSink()
    sinks = (digest, verdicts, decisions)
    machine = factory(seed, sinks)
    driver = Driver(scenario, seed, machine, sinks, progress, garbage)
    stopped = driver.run()
    return _result(driver, digest, verdicts, PolicyName.of(policy), seed, stopped)


def _result(
    driver: Driver,
    digest: DigestSink,
    verdicts: VerdictSink,
    policy: PolicyName,
    seed: int,
    stopped: str,
) -> RunResult:
    scenario, cluster, meter = driver.scenario, driver.cluster, driver.meter
    allocation = driver.collector.allocation()
    is_end_shown = scenario.protocol is Protocol.ONE_BY_ONE
    faults: dict[str, int] = {}
    for dice in driver.dice:
        faults.update(dice.counts)
    return RunResult(
        scenario=scenario.name,
        policy=policy,
        seed=seed,
        pods=pod_counts(cluster),
        decisions=digest.count,
        decisions_digest=digest.hexdigest(),
        decisions_per_second=_rate(digest.count, meter.step_seconds),
        step_seconds=meter.step_seconds,
        machine_seconds=meter.step_seconds + meter.apply_seconds,
        wait_seconds=WaitSeconds.of(waits_ns(cluster)),
        allocation_percent={
            name: item.end if is_end_shown else item.mean for name, item in allocation.items()
        },
        allocation=allocation,
        order_rungs=verdicts.rungs,
        classes=class_results(cluster, scenario.classes),
        series=driver.collector.series(),
        reasons=verdicts.reasons(),
        nodes=node_uses(cluster),
        curve=driver.collector.curve(),
        faults=dict(sorted(faults.items())),
        events=driver.event_counts(),
        effects=dict(sorted(driver.api.effects.items())),
        notes=driver.content.notes,
        virtual_seconds=seconds(driver.engine.now_ns),
        stopped=stopped,
        promises=None if driver.monitor is None else driver.monitor.result(),
    )


def _rate(count: int, span_seconds: float) -> float:
    return round(count / span_seconds, 1) if span_seconds > 0 else 0.0
