"""Spans of pods: one a verb, in order and without holes; decisions are the same without them."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from herz.cycle import Cycle
from herz.errors import ConfigError
from herz.front.cli.tracing import spans as spans_of
from herz.journaling import replayed
from herz.model.effects import Bind
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.outcomes import BindFinished, BindOutcome
from herz.ports import RecordSink
from herz.world import spans as module
from herz.world.spans import Spans, Traced
from tests.support.journal import Written, entries_of
from tests.support.machine import Kept
from tests.support.objects import make_node, make_pod

VERBS = ["arrive", "queue", "filter", "score", "reserve", "prove", "bind", "observe"]


class Scene:
    """A machine in a journal whose pods have spans, driven by hand; its clock ticks when asked."""

    def __init__(self, folder: Path, *, is_traced: bool = True) -> None:
        self.kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.kept))
        ticks = itertools.count(1)
        self.spans = Spans(provider.get_tracer("test"), lambda: next(ticks))
        self.records = Kept()
        sinks: list[RecordSink] = [self.records, *([self.spans] if is_traced else [])]
        self.written = Written(folder, sinks=sinks)
        self.machine = self.written.machine
        if is_traced:
            cycle = self.machine._machine
            assert isinstance(cycle, Cycle)
            cycle.watch = self.spans.entered
            self.machine = Traced(self.machine, self.spans)  # type: ignore[assignment]

    def told(self, *things: object) -> None:
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=0, object=thing))  # type: ignore[arg-type]

    def decide(self) -> list[Bind]:
        """A step, and what must be on the disk is."""
        effects, sync = self.machine.decide(0, 10)
        if sync is not None:
            sync()
        return [one for one in effects if isinstance(one, Bind)]

    def answer(self, bind: Bind, outcome: BindOutcome) -> None:
        self.machine.apply(
            BindFinished(time_ns=0, uid=bind.uid, decision=bind.decision, outcome=outcome)
        )

    def of(self, name: str) -> list[ReadableSpan]:
        """The ended spans of a pod, in order of their begin; its own first."""
        found = self.kept.get_finished_spans()
        (root,) = (one for one in found if (one.attributes or {}).get("k8s.pod.name") == name)
        assert root.context is not None
        children = [
            one for one in found if one.parent and one.parent.span_id == root.context.span_id
        ]
        return [root, *sorted(children, key=lambda one: one.start_time or 0)]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "journal")
    yield made
    made.written.close()


def names(spans: Sequence[ReadableSpan]) -> list[str]:
    return [one.name for one in spans]


def test_a_pod_has_a_span_for_each_verb_from_its_arrival_until_it_is_bound(scene: Scene) -> None:
    scene.told(make_node("a"), make_pod("p"))
    (bind,) = scene.decide()
    assert scene.kept.get_finished_spans() != ()
    scene.answer(bind, BindOutcome.UNKNOWN)
    scene.answer(bind, BindOutcome.BOUND)
    root, *verbs = scene.of("p")
    assert names([root, *verbs]) == ["pod", *VERBS]
    # One begins where the other ends: nothing that a pod waits for is without a name.
    for before, after in itertools.pairwise(verbs):
        assert before.end_time == after.start_time
    assert (root.start_time, root.end_time) == (verbs[0].start_time, verbs[-1].end_time)
    assert root.attributes is not None
    assert root.attributes["herz.outcome"] == "bound"
    assert dict(verbs[5].attributes or {}) == {"herz.decision": 1, "herz.decided": "place"}


def test_pods_of_one_step_have_their_own_verbs_and_prove_together(scene: Scene) -> None:
    scene.told(make_node("a"), make_pod("p"), make_pod("q"))
    for bind in scene.decide():
        scene.answer(bind, BindOutcome.BOUND)
    first, second = scene.of("p")[1:], scene.of("q")[1:]
    assert names(first) == names(second) == VERBS
    assert first[4].end_time == second[2].start_time, "q's turn comes when p has its room"
    assert first[5].start_time == second[5].start_time


def test_what_is_refused_waits_again_and_what_goes_ends(scene: Scene) -> None:
    scene.told(make_node("a"), make_pod("p"), big := make_pod("big", {"cpu": "1k"}))
    (bind,) = scene.decide()
    scene.answer(bind, BindOutcome.REFUSED)
    scene.machine.apply(ObjectDeleted(time_ns=0, object=big))
    root, *verbs = scene.of("big")
    assert names(verbs) == ["arrive", "queue", "filter", "prove", "queue"]
    assert (root.attributes or {})["herz.outcome"] == "gone"
    scene.spans.end(bind.uid, scene.spans.clock(), "over")
    assert names(scene.of("p")[1:]) == [*VERBS, "queue"]


def test_no_more_spans_are_open_than_the_bound(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PODS_MAX", 3)
    scene.told(*(make_pod(f"p{number}") for number in range(5)))
    assert scene.spans.cut == 2
    assert (scene.of("p1")[0].attributes or {})["herz.outcome"] == "cut"


def test_adjusting_has_a_span_of_its_own(scene: Scene) -> None:
    with scene.spans.adjusting():
        assert scene.kept.get_finished_spans() == ()
    assert names(scene.kept.get_finished_spans()) == ["adjust"]


def test_spans_reach_no_decision(tmp_path: Path) -> None:
    """The same inputs give the same journal, entry by entry, with spans and without."""
    journals = []
    for folder, is_traced in (("with", True), ("without", False)):
        scene = Scene(tmp_path / folder, is_traced=is_traced)
        scene.told(*(make_node(f"n{number}", pods="3") for number in range(4)))
        for number in range(16):
            scene.told(make_pod(f"p{number}", {"cpu": f"{number}m"}))
            for bind in scene.decide():
                scene.answer(bind, BindOutcome.BOUND if number % 5 else BindOutcome.REFUSED)
        scene.written.close()
        assert bool(scene.kept.get_finished_spans()) == is_traced
        entries = [bytes(entry.payload) for entry in entries_of(tmp_path / folder)]
        journals.append(entries)
        assert replayed(tmp_path / folder).first is None
    assert journals[0] == journals[1]
    assert len(journals[0]) > 60


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match="OpenTelemetry is not installed") as caught:
        spans_of("http://127.0.0.1:4318/v1/traces")
    assert "herz[otel]" in caught.value.fix
    assert spans_of(None) is None


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector/v1/traces", "http://"])
def test_a_collector_is_named_by_a_url(url: str) -> None:
    with pytest.raises(ConfigError, match="not the URL of a collector"):
        spans_of(url)
