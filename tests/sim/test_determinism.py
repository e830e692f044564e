"""One seed, one run: the same records and the same events, in any process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from herz.model.effects import Effect
from herz.model.events import Event
from herz.ports import MachineFactory, RecordSink
from herz.world.sim.faults import Faults
from herz.world.sim.run import simulate
from tests.sim.first_fit import POLICY, FirstFitMachine, first_fit_factory
from tests.sim.test_faults import small

ROOT = Path(__file__).parents[2]


class Recording:
    """A machine that digests every event that it is given, and passes it on."""

    def __init__(self, seed: int, sinks: Sequence[RecordSink]) -> None:
        self._inner = FirstFitMachine(seed, sinks)
        self.hash = hashlib.sha3_384()
        self.count = 0

    @property
    def ready(self) -> int:
        return self._inner.ready

    @property
    def held(self) -> Mapping[str, str]:
        return self._inner.held

    def apply(self, event: Event) -> None:
        self.count += 1
        self.hash.update(msgspec.json.encode(event, order="deterministic"))
        self._inner.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        return self._inner.step(now_ns, limit)


def event_stream_digest(seed: int) -> str:
    """Digest of the events of a run under faults."""
    made: list[Recording] = []

    def factory(seed: int, sinks: Sequence[RecordSink]) -> Recording:
        made.append(Recording(seed, sinks))
        return made[0]

    simulate(small(Faults.heavy()), factory, POLICY, seed)
    assert made[0].count > 1000
    return made[0].hash.hexdigest()


@pytest.mark.slow
def test_same_seed_gives_the_same_records_twice(machine_factory: MachineFactory) -> None:
    scenario = small(Faults.heavy())
    first = simulate(scenario, machine_factory, POLICY, 5)
    second = simulate(scenario, machine_factory, POLICY, 5)
    assert first.decisions_digest == second.decisions_digest
    assert first.pods == second.pods
    assert first.series == second.series


@pytest.mark.slow
def test_another_seed_gives_other_events() -> None:
    assert event_stream_digest(1) != event_stream_digest(2)


@pytest.mark.slow
def test_event_stream_is_the_same_in_fresh_processes() -> None:
    code = "from tests.sim.test_determinism import event_stream_digest as d; print(d(11))"
    digests = {event_stream_digest(11)}
    for hash_seed in ("0", "1", "4242"):
        path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 1


def test_what_comes_does_not_depend_on_the_faults() -> None:
    calm = simulate(small(Faults()), first_fit_factory, POLICY, 9)
    rough = simulate(small(Faults(bind_refused=300_000)), first_fit_factory, POLICY, 9)
    for name in ("online", "batch"):
        evicted = abs(calm.pods.evicted - rough.pods.evicted)
        arrived = abs(calm.classes[name].arrived - rough.classes[name].arrived)
        assert arrived <= evicted + 4
