"""Journals for tests: a machine in one, driven by hand, and ways to damage the files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from herz.app import load_policy, run_simulation
from herz.commit.audit.journaled import Journaled
from herz.commit.audit.log import Log
from herz.config import Policy
from herz.journaling import journaled, written
from herz.model.effects import Bind, Effect
from herz.model.events import BindFinished, BindOutcome, ObjectApplied
from herz.model.objects import KubernetesObject
from herz.ports import RecordSink
from herz.world.sim.result import Summary
from herz.world.store.files import FileStore

SMALL = Path(__file__).parents[1] / "data" / "scenarios" / "small.toml"


class Written:
    """A machine in a journal, driven by hand.

    Args:
        folder: the journal's.
        term: the leader's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        term: int = 0,
        policy: Policy | None = None,
        sinks: Sequence[RecordSink] = (),
    ) -> None:
        self.folder = folder
        self.store = FileStore.open(folder, term)
        self.log = Log(self.store, os.urandom, "test.example/log")
        self.machine: Journaled = journaled(self.log, policy or load_policy("default"), 1, sinks)
        self.now = 0

    def apply(self, *things: KubernetesObject) -> None:
        """The API shows these objects."""
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=self.now, object=thing))

    def step(self, after: int = 0, limit: int = 100) -> list[Effect]:
        """Let nanoseconds pass and decide."""
        self.now += after
        return self.machine.step(self.now, limit)

    def bound(self, effects: Sequence[Effect]) -> list[Bind]:
        """Let the API bind what it is asked to."""
        binds = [effect for effect in effects if isinstance(effect, Bind)]
        for bind in binds:
            self.machine.apply(
                BindFinished(
                    time_ns=self.now,
                    uid=bind.uid,
                    decision=bind.decision,
                    outcome=BindOutcome.BOUND,
                )
            )
        return binds

    def close(self) -> None:
        """End the journal."""
        self.machine.close()
        self.store.close()


def simulated(folder: Path, *, seed: int = 5, scenario: str = str(SMALL)) -> Summary:
    """A simulated day's journal."""
    with written(folder) as wrap:
        return run_simulation(
            scenario=scenario,
            policy="default",
            seed=seed,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
            wrap=wrap,
        )
