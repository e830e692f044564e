"""What a machine keeps only to be fast decides nothing: to forget it changes no record.

A state may be taken wherever a machine is quiet (`herz.state`). So a run whose machine is made
anew from its own state at any of these points, and one whose machine forgets after every step,
give the records of a run that is left alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from herz import app
from herz.cycle import Cycle
from herz.model.effects import Effect
from herz.model.events import Event
from herz.ports import Machine, RecordSink
from herz.state import frozen, is_quiet, settle, thawed
from tests.support.journal import GOLDEN_SCENARIO, SMALL
from tests.support.machine import Kept

Between = Callable[["Interrupted"], None]
"""What happens to the machine after each step."""


class Interrupted:
    """The machine (`herz.ports.Machine`), to which something happens after each step."""

    def __init__(self, make: Callable[[], Cycle], between: Between) -> None:
        self.make, self.between = make, between
        self.cycle = make()
        self.resumed = 0

    @property
    def ready(self) -> int:
        return self.cycle.ready

    @property
    def held(self) -> Mapping[str, str]:
        return self.cycle.held

    def apply(self, event: Event) -> None:
        self.cycle.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        effects = self.cycle.step(now_ns, limit)
        self.between(self)
        return effects


def left_alone(_: Interrupted) -> None:
    """Nothing happens."""


def forgetful(machine: Interrupted) -> None:
    """The machine forgets what it keeps to be fast, quiet or not."""
    settle(machine.cycle)


def resumed(share: float, seed: int = 0) -> Between:
    """The machine is made anew from its state, at this share of the points where it can be."""
    chance = random.Random(seed)

    def between(machine: Interrupted) -> None:
        if is_quiet(machine.cycle) and chance.random() < share:
            machine.cycle = thawed(machine.make(), frozen(machine.cycle))
            machine.resumed += 1

    return between


def records(scenario: str, policy: str, seed: int, between: Between) -> tuple[list[bytes], int]:
    """The records of a run, and how often its machine was made anew."""
    kept, made = Kept(), []

    def wrap(chosen: Any, number: int, sinks: Sequence[RecordSink]) -> Machine:
        def make() -> Cycle:
            return app.build_machine(chosen, number, sinks, aliases=app.ALIASES)

        made.append(Interrupted(make, between))
        return made[0]

    app.run_simulation(
        scenario=scenario,
        policy=policy,
        seed=seed,
        runs=1,
        data=None,
        list_name=None,
        load=None,
        progress=None,
        sinks=[kept],
        wrap=wrap,
    )
    return kept.lines, made[0].resumed


def assert_same(one: list[bytes], other: list[bytes]) -> None:
    """The first record that differs, if any does."""
    for mine, theirs in zip(one, other, strict=False):
        assert mine == theirs
    assert len(one) == len(other)


@pytest.mark.parametrize(("scenario", "share"), [(GOLDEN_SCENARIO, 1.0), (SMALL, 0.05)])
def test_a_state_at_any_point_changes_no_record(scenario: Path, share: float) -> None:
    alone, _ = records(str(scenario), "default", 2, left_alone)
    other, count = records(str(scenario), "default", 2, resumed(share))
    assert count >= 3
    assert_same(alone, other)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("policy", "seed"), [("hard-budgets", 1), ("hard-budgets", 3)])
def test_forgetting_in_chaos_changes_no_record(policy: str, seed: int) -> None:
    alone, _ = records("chaos", policy, seed, left_alone)
    assert_same(alone, records("chaos", policy, seed, forgetful)[0])
    other, count = records("chaos", policy, seed, resumed(0.005, seed))
    assert count > 10
    assert_same(alone, other)
