"""A live scheduler's rounds: samples in, outcomes back, models judged, promoted and taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz import signals
from herz.commit.audit.entry import Model as Entry
from herz.commit.audit.entry import opened
from herz.feedback.adjust import drift
from herz.feedback.observe.promises import PromiseObserver
from herz.front.cli.metering import ACTOR, Metering
from herz.journaling import replayed, trials_judged
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.knowledge.sla.model import Model
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.model.objects import Node, Pod
from herz.model.service_levels import NodeSignals, SLAClassSpec
from herz.world.prometheus.client import Prometheus, Settings
from herz.world.prometheus.source import Kept, Source
from herz.world.prometheus.source import Pod as Watched
from tests.support.journal import Written, entries_of
from tests.support.machine import SECOND
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import made_model, profile, sample
from tests.unit.journal.test_promoted import other_model, policy_of

PODS = 40
Judge = Callable[[int, str], bool]
"""By window and uid, whether the promise was kept."""


class Said(Source):
    """Says what a test wants, in the place of a server."""

    def __init__(self, judge: Judge) -> None:
        super().__init__(Prometheus(Settings(url="http://127.0.0.1:1")))
        self.judge, self.window = judge, 0

    async def sample(self, nodes: Collection[str]) -> list[NodeSignals]:
        return [sample(node) for node in sorted(nodes)]

    async def outcomes(
        self, name: str, spec: SLAClassSpec, pods: Collection[Watched]
    ) -> list[Kept]:
        del name, spec
        self.window += 1
        return [Kept(one.uid, self.judge(self.window, one.uid), 1) for one in pods]


class Cluster:
    """What a driver knows, and where it puts samples."""

    def __init__(self, made: Written, things: list[Any]) -> None:
        self._made, self.things = made, things
        self.samples: list[NodeSignals] = []
        self.synced = asyncio.Event()

    def known(self, kind: type) -> list[Any]:
        return [one for one in self.things if isinstance(one, kind)]

    def applied(self, thing: NodeSignals, unlisted: tuple[str, ...]) -> None:
        self.samples.append(thing)
        event = ObjectApplied(time_ns=self.now_ns(), object=thing, unlisted=unlisted)
        self._made.machine.apply(event)

    def now_ns(self) -> int:
        return self._made.now


def lived(
    folder: Path,
    ours: Model,
    theirs: Model | None,
    judge: Judge,
    rounds: int = 32,
    observed: list[PromiseObserver] | None = None,
) -> tuple[list[str], Cluster]:
    """Forty pods are placed, and watched for as many windows; what people were told."""
    observer, policy = PromiseObserver(), policy_of(ours, theirs)
    if observed is not None:
        observed.append(observer)
    made = Written(folder, policy=policy, sinks=[observer])
    things: list[Node | Pod] = [make_node(f"n{number}", cpu="64") for number in range(4)]
    made.apply(*things, *(sample(f"n{number}") for number in range(4)))
    made.apply(profile("web", cpu_used=10, bandwidth_used=10))
    told: list[str] = []
    source, driver = Said(judge), Cluster(made, [])
    judged = trials_judged(folder)
    wired: Any = (source, driver, made.machine, observer, policy, judged, told.append)
    metering = Metering(*wired)
    labels = {"app": "web", CLASS_LABEL: "online"}
    for number in range(PODS):
        made.apply(make_pod(f"w{number}", {"cpu": "100m"}, labels=labels))
        (bind,) = made.bound(made.step(SECOND))
        things.append(make_pod(f"w{number}", {"cpu": "100m"}, labels=labels, node=bind.node))
    driver.things = list(things)

    async def live() -> None:
        for number in range(rounds):
            made.now += 60 * SECOND
            await metering.round(60.0 * number)

    asyncio.run(live())
    made.close()
    return told, driver


def mostly_kept(window: int, uid: str) -> bool:
    """All but two or three of the forty in each window."""
    return (int(uid.removeprefix("uid-w")) * 7 + window * 11) % PODS >= 3


def reasons(folder: Path) -> list[tuple[str, str]]:
    """Model and reason of each promotion in the journal."""
    found = []
    for entry in entries_of(folder):
        if entry.leaf[1] == Kind.MODEL:
            content = opened(entry)[1]
            assert isinstance(content, Entry)
            assert content.actor == ACTOR
            found.append((content.name, content.reason))
    return found


def test_samples_of_all_nodes_reach_the_machine(tmp_path: Path) -> None:
    _, driver = lived(tmp_path / "j", made_model(), None, mostly_kept, rounds=2)
    assert [one.metadata.name for one in driver.samples] == [
        f"n{number}" for number in range(4)
    ] * 2
    signals = [entry for entry in entries_of(tmp_path / "j") if b"NodeSignals" in entry.payload]
    assert len(signals) == 12, "they are inputs of the journal"


def test_better_candidate_is_promoted_in_the_journal(tmp_path: Path) -> None:
    told, _ = lived(tmp_path / "j", other_model(), made_model(), mostly_kept)
    ((name, reason),) = reasons(tmp_path / "j")
    assert name == made_model().digest
    assert reason.startswith("trial 1: Brier improvement 0.")
    assert "1161 outcomes" in reason, "the first one of the thirtieth window"
    assert told == [f"model {name} is in force: {reason}"]
    assert trials_judged(tmp_path / "j") == 1
    assert replayed(tmp_path / "j").first is None


def test_candidate_that_is_no_better_is_judged_once_and_counted(tmp_path: Path) -> None:
    told, _ = lived(tmp_path / "j", made_model(), other_model(), mostly_kept, rounds=60)
    ((name, reason),) = reasons(tmp_path / "j")
    assert name == made_model().digest, "what was in force stays"
    assert reason.startswith("trial 1, kept: ")
    assert len(told) == 1
    assert trials_judged(tmp_path / "j") == 1
    assert replayed(tmp_path / "j").first is None


def test_source_that_fails_is_told_once_and_when_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: Said, nodes: Collection[str]) -> list[NodeSignals]:
        del nodes
        self.window += 1
        self.problems = {"signal cpu": f"metrics-slow: {self.window}"} if self.window < 3 else {}
        return []

    monkeypatch.setattr(Said, "sample", failing)
    told, _ = lived(tmp_path / "j", made_model(), None, mostly_kept, rounds=5)
    assert told == ["metrics, signal cpu: metrics-slow: 1", "metrics, signal cpu: well again"]


def test_drift_is_told_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PLACEMENTS_MIN", 20)
    body = made_model().body
    narrow = msgspec.structs.replace(body.scope, highs=(60,) * len(body.features), reach=5)
    observed: list[PromiseObserver] = []
    told, _ = lived(tmp_path / "j", made_model(scope=narrow), None, mostly_kept, 3, observed)
    (said,) = told
    assert said.startswith("metrics, model: model-drift: 100 % of the last 40 placements")
    assert "expected_io" in said
    (observer,) = observed
    assert observer.counters[signals.MODEL_DRIFT] == 1
    name = signals.PROMISES_BEYOND.format(feature="node_cpu_utilisation")
    assert observer.counters[name] == PODS
