"""Machines that the simulator is tested with: first fit always, the real one where it is there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from herz.ports import Machine, MachineFactory, RecordSink
from tests.sim.first_fit import first_fit_factory


def _real_factory() -> MachineFactory | None:
    """The factory of the machine that `herz.app` wires; None until there is one."""
    if importlib.util.find_spec("herz.app") is None:
        return None
    from herz import app

    build: Callable[..., Any] | None = getattr(app, "build_machine", None)
    load: Callable[..., Any] | None = getattr(app, "load_policy", None)
    if build is None or load is None:
        return None
    policy = load("default")

    def factory(seed: int, sinks: Sequence[RecordSink]) -> Machine:
        machine: Machine = build(policy, seed, sinks)
        return machine

    return factory


FACTORIES: dict[str, MachineFactory] = {"first-fit": first_fit_factory}
if (_real := _real_factory()) is not None:
    FACTORIES["herz"] = _real


@pytest.fixture(params=sorted(FACTORIES))
def machine_factory(request: pytest.FixtureRequest) -> MachineFactory:
    """Each machine that is there."""
    return FACTORIES[request.param]
