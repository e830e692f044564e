"""Checkers catch a machine that breaks a rule; each rule is broken once here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from herz.errors import InvariantError
from herz.model.effects import Bind, Effect
from herz.model.outcomes import BindFinished
from herz.ports import MachineFactory, RecordSink
from herz.world.sim.faults import Faults
from herz.world.sim.run import simulate
from herz.world.sim.scenario import Content, Limits, Protocol, Scenario, Timing
from herz.world.sim.scenario_file import read_scenario_file
from tests.sim.first_fit import POLICY, FirstFitMachine, first_fit_factory

TEXT = """
[scenario]
name = "tiny"
duration = "1h"
[[nodes]]
name = "n"
count = 2
cpu = "2"
pods = 3
[[nodes]]
name = "t"
taints = ["k=v:NoSchedule"]
[[workloads]]
name = "w"
replicas = 3
cpu = "1"
arrive = { pattern = "even", over = "1m" }
[[workloads]]
name = "g"
replicas = 1
gates = ["closed"]
"""

Twist = Callable[[list[Effect]], list[Effect]]


@pytest.fixture
def tiny(tmp_path: Path) -> Scenario:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT, encoding="utf-8")
    return read_scenario_file(path)


def twisted(twist: Twist) -> MachineFactory:
    """First fit, with its effects changed."""

    class Machine(FirstFitMachine):
        def step(self, now_ns: int, limit: int) -> list[Effect]:
            return twist(super().step(now_ns, limit))

    def factory(seed: int, sinks: Sequence[RecordSink]) -> FirstFitMachine:
        return Machine(seed, sinks)

    return factory


def changed(**fields: object) -> Twist:
    def twist(effects: list[Effect]) -> list[Effect]:
        return [
            msgspec.structs.replace(effect, **fields) if isinstance(effect, Bind) else effect
            for effect in effects
        ]

    return twist


@pytest.mark.parametrize(
    ("twist", "words"),
    [
        (changed(node="n-0000"), ""),
        (changed(node="t-0000"), "untolerated taint"),
        (changed(node="nowhere"), "not told of the node"),
        (changed(uid="nobody"), "not told of the pod"),
        (changed(name="other"), "uid belongs to"),
        (lambda effects: effects * 2, "bound twice"),
    ],
)
def test_wrong_bind_is_caught(tiny: Scenario, twist: Twist, words: str) -> None:
    if not words:
        # Three pods of one cpu on one node of two: the third is too much.
        words = "Insufficient cpu"
    with pytest.raises(InvariantError, match=words) as caught:
        simulate(tiny, twisted(twist), POLICY, 77)
    assert "seed 77" in str(caught.value)
    assert "ObjectApplied pod" in str(caught.value)


def test_gated_pod_must_not_be_bound(tiny: Scenario) -> None:
    class Hasty(FirstFitMachine):
        def _enqueue(self, uid: str, pod: object) -> None:
            self._queue[uid] = None

    with pytest.raises(InvariantError, match="gated"):
        simulate(tiny, Hasty, POLICY, 0)


def test_lost_pod_is_caught(tiny: Scenario) -> None:
    class Forgetful(FirstFitMachine):
        def step(self, now_ns: int, limit: int) -> list[Effect]:
            self._queue.pop(next(iter(self._queue), ""), None)
            return super().step(now_ns, limit)

    with pytest.raises(InvariantError, match="was lost"):
        simulate(tiny, Forgetful, POLICY, 0)


def test_machine_that_gives_up_an_unknown_bind_is_caught(tiny: Scenario) -> None:
    class Deaf(FirstFitMachine):
        def _answer(self, answer: BindFinished) -> None:
            """Never releases what was refused."""

    scenario = replace(tiny, faults=Faults(bind_refused=1_000_000))
    with pytest.raises(InvariantError, match="was lost"):
        simulate(scenario, Deaf, POLICY, 0)


def test_machine_that_never_comes_to_rest_meets_a_bound(tiny: Scenario) -> None:
    class Restless(FirstFitMachine):
        @property
        def ready(self) -> int:
            return 1

    scenario = replace(tiny, limits=Limits(steps_at_once_max=10))
    with pytest.raises(InvariantError, match="steps_at_once_max = 10"):
        simulate(scenario, Restless, POLICY, 0)


def test_steps_are_bounded(tiny: Scenario) -> None:
    scenario = replace(tiny, limits=Limits(steps_max=2))
    with pytest.raises(InvariantError, match="steps_max = 2"):
        simulate(scenario, first_fit_factory, POLICY, 0)


def one_by_one(tiny: Scenario) -> Scenario:
    def open_(generator: random.Random) -> Content:
        content = tiny.open(generator)
        arrivals = (one for one in content.arrivals if not one.pod.is_gated)
        return replace(content, arrivals=arrivals)

    return replace(tiny, open=open_, protocol=Protocol.ONE_BY_ONE, timing=Timing.instant())


def test_one_by_one_wants_a_pod_placed_that_fits(tiny: Scenario) -> None:
    assert simulate(one_by_one(tiny), first_fit_factory, POLICY, 0).pods.bound == 3
    with pytest.raises(InvariantError, match="was not placed at once"):
        simulate(one_by_one(tiny), twisted(lambda effects: []), POLICY, 0)


def test_negative_seed_is_refused(tiny: Scenario) -> None:
    with pytest.raises(ValueError, match="seed"):
        simulate(tiny, first_fit_factory, POLICY, -1)
