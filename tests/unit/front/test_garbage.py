"""What `--collector` chooses for a live scheduler."""

from __future__ import annotations

import pytest

from herz.front.cli import driving
from herz.front.cli.options import Garbage
from herz.world.collecting import Automatic, BetweenSteps


@pytest.mark.parametrize(
    ("mode", "kind", "times"),
    [(Garbage.BETWEEN_STEPS, BetweenSteps, 1), (Garbage.DEFAULT, Automatic, 0)],
)
def test_large_memory_is_kept_apart_unless_python_collects_by_itself(
    mode: Garbage, kind: type, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[None] = []
    monkeypatch.setattr(driving, "keep_large_apart", lambda: asked.append(None))
    assert type(driving.collector(mode)) is kind
    assert len(asked) == times
