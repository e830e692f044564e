"""The built-in day of the shop, whole, under the checkers."""

from __future__ import annotations

import pytest

from herz.world.sim.catalogue import load_scenario
from herz.world.sim.run import simulate
from tests.sim.first_fit import POLICY, first_fit_factory


class Steps:
    """Keeps what progress was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, str]] = []

    def advance(self, done: int, total: int, note: str) -> None:
        self.told.append((done, total, note))


@pytest.mark.slow
def test_shop_shows_what_it_promises() -> None:
    progress = Steps()
    result = simulate(load_scenario("shop"), first_fit_factory, POLICY, 0, progress)
    assert result.pods.ended == result.pods.arrived > 4_000
    assert {"online", "streaming", "batch", "infra"} == result.classes.keys()
    # Lunch is too much: some wait for minutes, none of the batch pods does.
    assert result.classes["online"].wait.max > 60
    assert result.pods.evicted > 10
    assert result.pods.pending >= 5
    assert max(result.series.waiting) > 50
    assert len(result.series.seconds) <= 512
    assert len(result.nodes) == 39
    assert result.reasons
    assert all(0 <= done <= total for done, total, _ in progress.told)
