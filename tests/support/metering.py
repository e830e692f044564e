"""A live scheduler's rounds for tests: forty pods, and a source that says what a test wants.

`python -m tests.support.metering FOLDER ROUNDS [drift]` is one that kills itself in the middle of a
round, with a model on trial or with one that has learned from other nodes; `resumed` begins in its
journal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from herz.commit.audit.entry import opened
from herz.commit.audit.journaled import Journaled
from herz.commit.bind import DECISION_ANNOTATION
from herz.feedback.observe.promises import PromiseObserver
from herz.front.cli.metering import Metering
from herz.journaling import Change, continued
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.knowledge.sla.model import Model
from herz.model.effects import Bind, EmitEvent
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.model.objects import KubernetesObject, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Record
from herz.model.service_levels import NodeSignals, SLAClassSpec
from herz.world.prometheus.client import Prometheus, Settings
from herz.world.prometheus.source import Kept, Source
from herz.world.prometheus.source import Pod as Watched
from tests.support.journal import Written, entries_of
from tests.support.machine import SECOND
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import made_model, profile, sample
from tests.unit.journal.test_promoted import other_model, policy_of

PODS: Final = 40
NODES: Final = 4
MINUTE: Final = 60 * SECOND
LABELS: Final = {"app": "web", CLASS_LABEL: "online"}
Judge = Callable[[int, str], bool]
"""By window and uid, whether the promise was kept."""


class Said(Source):
    """Says what a test wants, in the place of a server."""

    def __init__(self, judge: Judge, window: int = 0) -> None:
        super().__init__(Prometheus(Settings(url="http://127.0.0.1:1")))
        self.judge, self.window = judge, window

    async def sample(self, nodes: Collection[str]) -> list[NodeSignals]:
        return [sample(node) for node in sorted(nodes)]

    async def outcomes(
        self, name: str, spec: SLAClassSpec, pods: Collection[Watched]
    ) -> list[Kept]:
        del name, spec
        self.window += 1
        return [Kept(one.uid, self.judge(self.window, one.uid), 1) for one in pods]


class Deadly(Said):
    """Kills the process when it is to measure after so many rounds."""

    def __init__(self, judge: Judge, rounds: int) -> None:
        super().__init__(judge)
        self._left = rounds

    async def sample(self, nodes: Collection[str]) -> list[NodeSignals]:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().sample(nodes)


class Living(Protocol):
    """A machine in a journal, and its time."""

    now: int

    @property
    def machine(self) -> Journaled:
        """The machine."""


class Again:
    """The machine of a process that begins in another one's journal."""

    def __init__(self, machine: Journaled, now: int) -> None:
        self.machine, self.now = machine, now

    def apply(self, *things: KubernetesObject) -> None:
        """The API shows these objects."""
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=self.now, object=thing))

    def place(self, number: int) -> Pod:
        """A new pod, as the API shows it once it is bound."""
        self.now += SECOND
        self.apply(_pod(number))
        (bind,) = [one for one in self.machine.step(self.now, 1) if isinstance(one, Bind)]
        done = BindFinished(
            time_ns=self.now, uid=bind.uid, decision=bind.decision, outcome=BindOutcome.BOUND
        )
        self.machine.apply(done)
        return _pod(number, bind.node, bind.decision)


class Cluster:
    """What a driver knows, and where it puts samples and events."""

    def __init__(self, made: Living, things: Sequence[Any]) -> None:
        self._made, self.things = made, list(things)
        self.samples: list[NodeSignals] = []
        self.events: list[EmitEvent] = []
        self.synced = asyncio.Event()

    def known(self, kind: type) -> list[Any]:
        return [one for one in self.things if isinstance(one, kind)]

    def applied(self, thing: NodeSignals, unlisted: tuple[str, ...]) -> None:
        self.samples.append(thing)
        event = ObjectApplied(time_ns=self.now_ns(), object=thing, unlisted=unlisted)
        self._made.machine.apply(event)

    def tell(self, event: EmitEvent) -> None:
        self.events.append(event)

    def now_ns(self) -> int:
        return self._made.now


def lived(
    folder: Path,
    ours: Model,
    theirs: Model | None,
    judge: Judge,
    rounds: int = 32,
    observed: list[PromiseObserver] | None = None,
    source: Said | None = None,
) -> tuple[list[str], Cluster]:
    """Forty pods are placed, and watched for as many windows; what people were told."""
    observer, policy = PromiseObserver(), policy_of(ours, theirs)
    if observed is not None:
        observed.append(observer)
    made = Written(folder, policy=policy, sinks=[observer])
    made.apply(*_things())
    told: list[str] = []
    driver = Cluster(made, [])
    given = source or Said(judge)
    wired: Any = (given, driver, made.machine, observer, policy, folder, told.append)
    metering = Metering(*wired)
    things: list[KubernetesObject] = list(_things()[:NODES])
    for number in range(PODS):
        made.apply(_pod(number))
        (bind,) = made.bound(made.step(SECOND))
        things.append(_pod(number, bind.node, bind.decision))
    driver.things = things
    asyncio.run(_live(metering, made, 0, rounds))
    made.close()
    return told, driver


def resumed(
    folder: Path,
    ours: Model,
    theirs: Model | None,
    judge: Judge,
    first: int,
    rounds: int,
    more: range = range(0),
    observed: list[PromiseObserver] | None = None,
) -> tuple[list[str], Cluster]:
    """The next process, after one that was killed when it had so many rounds behind it.

    It begins within the minute, places some more pods, and goes on up to `rounds` of all.
    """
    observer, policy = PromiseObserver(), policy_of(ours, theirs)
    if observed is not None:
        observed.append(observer)
    placed = [one for one in records(folder) if one.node]
    with continued(folder, change=Change("ops", "a restart", 0), sinks=[observer]) as make:
        made = Again(make(policy), PODS * SECOND + first * MINUTE)
        made.apply(*_things())
        bound = [
            _pod(int(one.pod.name.removeprefix("w")), one.node, one.sequence) for one in placed
        ]
        made.apply(*bound)
        told: list[str] = []
        driver = Cluster(made, [*_things()[:NODES], *bound])
        source: Any = Said(judge, window=first - 1)
        wired: Any = (source, driver, made.machine, observer, policy, folder, told.append)
        metering = Metering(*wired)

        async def live() -> None:
            await metering.recover()
            driver.things += [made.place(number) for number in more]
            await metering.round(60.0 * (first - 1) + 30)
            await _live(metering, made, first, rounds)

        asyncio.run(live())
        made.machine.close()
    return told, driver


def records(folder: Path) -> list[Record]:
    """The records of a journal."""
    found = [opened(entry)[1] for entry in entries_of(folder) if entry.leaf[1] == Kind.RECORD]
    return [one for one in found if isinstance(one, Record)]


def narrow_model() -> Model:
    """A model that has learned from nodes that are next to idle."""
    body = made_model().body
    highs = (60,) * len(body.features)
    return made_model(scope=msgspec.structs.replace(body.scope, highs=highs, reach=5))


def mostly_kept(window: int, uid: str) -> bool:
    """All but two or three of the forty in each window."""
    return (int(uid.removeprefix("uid-w")) * 7 + window * 11) % PODS >= 3


async def _live(metering: Metering, made: Living, first: int, rounds: int) -> None:
    for number in range(first, rounds):
        made.now += MINUTE
        await metering.round(60.0 * number)


def _things() -> list[KubernetesObject]:
    nodes = [make_node(f"n{number}", cpu="64") for number in range(NODES)]
    samples = [sample(f"n{number}") for number in range(NODES)]
    return [*nodes, *samples, profile("web", cpu_used=10, bandwidth_used=10)]


def _pod(number: int, node: str = "", decision: int = -1) -> Pod:
    """A pod, as the API shows it when it was bound by that decision."""
    annotations = {DECISION_ANNOTATION: str(decision)} if decision >= 0 else {}
    requests = {"cpu": "100m"}
    return make_pod(f"w{number}", requests, labels=LABELS, node=node, annotations=annotations)


def main(folder: str, rounds: str, about: str = "trial") -> None:
    """Live until the end comes in the middle of a round."""
    count = int(rounds)
    dead = Deadly(mostly_kept, count)
    ours, theirs = (narrow_model(), None) if about == "drift" else (other_model(), made_model())
    lived(Path(folder), ours, theirs, mostly_kept, count + 1, source=dead)


if __name__ == "__main__":
    main(*sys.argv[1:])
