"""The framework: what rules may answer, what it makes of it, and what a broken rule leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from herz.model.effects import Bind, PatchPodStatus
from herz.model.record import Decided
from herz.place.outcome import Choice, NoFit
from herz.plugin import (
    SKIP,
    Filter,
    Int64s,
    Kind,
    Narrowed,
    Normalize,
    PreScore,
    Reads,
    Reserve,
    Rows,
    Score,
    Verdict,
    View,
)
from tests.support.machine import SECOND, Harness, World, make_policy, only
from tests.support.objects import make_node, make_pod

BASE = make_policy(["NodeResourcesFit"])
Answer = Callable[[View, Rows], Any]


def size(view: View, rows: Rows) -> int:
    return len(view.unschedulable[rows])


class Judge(Filter):
    """A filter that answers as it is told."""

    name: ClassVar[str] = "Judge"
    reads: ClassVar[Reads] = Reads.REQUESTED | Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, answer: Answer, prepared: Any = None) -> None:
        self.answer = answer
        self.prepared = prepared

    def sign(self, pod: Any) -> object:
        return ()

    def prepare(self, pod: Any, view: View) -> Any:
        if isinstance(self.prepared, Exception):
            raise self.prepared
        return self.prepared

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        return self.answer(view, rows)


class Giver(Score):
    """A score that answers as it is told."""

    name: ClassVar[str] = "Giver"
    reads: ClassVar[Reads] = Reads.REQUESTED | Reads.LABELS
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self, answer: Answer, prepared: Any = None) -> None:
        self.answer = answer
        self.prepared = prepared

    def sign(self, pod: Any) -> object:
        return ()

    def prepare_score(self, pod: Any, view: View) -> Any:
        if isinstance(self.prepared, Exception):
            raise self.prepared
        return self.prepared

    def score(self, state: Any, view: View, rows: Rows) -> Any:
        return self.answer(view, rows)


class Scaled(Giver, Normalize):
    name: ClassVar[str] = "Scaled"

    def __init__(self, answer: Answer, normalize: Callable[[Int64s, int, int], Any]) -> None:
        super().__init__(answer)
        self.how = normalize
        self.extents: list[tuple[int, int]] = []

    def normalize(self, raw: Int64s, low: int, high: int) -> Any:
        self.extents.append((low, high))
        return self.how(raw, low, high)


def fits(view: View, rows: Rows) -> Any:
    return np.zeros(size(view, rows), np.int16)


def points(value: int) -> Answer:
    return lambda view, rows: np.full(size(view, rows), value, np.int64)


def fail(view: View, rows: Rows) -> Any:
    raise ZeroDivisionError("oh no")


BROKEN: dict[str, Callable[[], Any]] = {
    "filter raises": lambda: Judge(fail),
    "prepare raises": lambda: Judge(fits, KeyError("x")),
    "prepare asserts": lambda: Judge(fits, AssertionError("x")),
    "codes too short": lambda: Judge(lambda view, rows: np.zeros(1, np.int16)),
    "codes in two dimensions": lambda: Judge(lambda view, rows: np.zeros((64, 2), np.int16)),
    "codes of another type": lambda: Judge(lambda view, rows: np.zeros(size(view, rows), float)),
    "codes as a list": lambda: Judge(lambda view, rows: [0] * size(view, rows)),
    "codes as None": lambda: Judge(lambda view, rows: None),
    "a code that is in no book": lambda: Judge(
        lambda view, rows: np.full(size(view, rows), 9999, np.int16)
    ),
    "score raises": lambda: Giver(fail),
    "prepare_score raises": lambda: Giver(points(1), ValueError("x")),
    "points too high": lambda: Giver(points(101)),
    "points below zero": lambda: Giver(points(-1)),
    "points too few": lambda: Giver(lambda view, rows: np.zeros(1, np.int64)),
    "points of another type": lambda: Giver(lambda view, rows: np.zeros(size(view, rows))),
    "points as None": lambda: Giver(lambda view, rows: None),
    "normalize raises": lambda: Scaled(points(3), lambda raw, low, high: raw // 0 + int("x")),
    "normalized too high": lambda: Scaled(points(3), lambda raw, low, high: raw + 100),
    "normalized too few": lambda: Scaled(points(3), lambda raw, low, high: raw[:0]),
    "raw points too few": lambda: Scaled(
        lambda view, rows: np.zeros(1, np.int64), lambda raw, low, high: raw
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_broken_rule_fails_the_attempt_and_stops_nothing(name: str) -> None:
    rule = BROKEN[name]()
    harness = Harness(BASE, [(rule, 1)]).apply(make_node("a"), make_node("b"))
    effects = harness.apply(make_pod("p", {"cpu": "1"})).step()
    record = harness.kept.records[-1]
    assert record.decided is Decided.ERROR
    assert rule.name in record.message
    assert record.rejections[0].plugin == rule.name
    assert only(Bind, effects) == []
    assert only(PatchPodStatus, effects)[0].reason == "SchedulerError"
    assert harness.state("p") == "backing_off"
    assert harness.step(SECOND) == [], "an error is not retried before its back-off"
    assert harness.used("a") == harness.used("b") == 0
    harness.step(SECOND)
    assert len(harness.kept.records) == 2
    rule.answer, rule.prepared = (fits if isinstance(rule, Judge) else points(1)), None
    rule.how = lambda raw, low, high: raw
    assert len(only(Bind, harness.step(5 * SECOND))) == 1, "and poisons no later decision"


@pytest.mark.parametrize("name", [name for name in BROKEN if "prepare" not in name])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_rule_that_breaks_later_fails_that_attempt_and_is_asked_all_anew(name: str) -> None:
    rule = BROKEN[name]()
    broken = rule.answer
    rule.answer = fits if isinstance(rule, Judge) else points(1)
    if isinstance(rule, Scaled):
        broken_how, rule.how = rule.how, lambda raw, low, high: raw
    harness = Harness(BASE, [(rule, 1)]).apply(make_node("a"), make_node("b"), make_node("c"))
    harness.place(make_pod("first", {"cpu": "1"}))
    rule.answer = broken
    if isinstance(rule, Scaled):
        rule.how = broken_how
        rule.answer = points(7) if "raw" not in name else broken
    if "few" in name or "short" in name:
        # One changed row is asked about, so one answer would be right.
        harness.apply(make_node("b", labels={"x": "1"}), make_node("c", labels={"x": "1"}))
    harness.apply(make_pod("p", {"cpu": "1"})).step()
    assert harness.kept.records[-1].decided is Decided.ERROR
    rule.answer = fits if isinstance(rule, Judge) else points(1)
    rule.how = lambda raw, low, high: raw
    assert len(only(Bind, harness.step(5 * SECOND))) == 1


class Signless(Judge):
    name: ClassVar[str] = "Signless"

    def sign(self, pod: Any) -> object:
        raise LookupError("no sign")


def test_a_rule_whose_signature_fails_stops_nothing() -> None:
    harness = Harness(BASE, [(Signless(fits), 1)]).apply(make_node("a"))
    effects = harness.apply(make_pod("p")).step()
    assert only(Bind, effects) == []
    assert "Signless" in only(PatchPodStatus, effects)[0].message


class Picky(Reserve):
    name: ClassVar[str] = "Picky"

    def choose(self, pod: Any, view: View, row: int) -> tuple[int, ...]:
        raise IndexError("no device")


def test_a_rule_that_cannot_choose_devices_fails_the_attempt() -> None:
    harness = Harness(make_policy(["NodeName"]), [(Picky(), 1)])
    harness.apply(make_node("a", more={"herz.dev/gpu-count": "1"}))
    harness.apply(make_pod("p", {"herz.dev/gpu-count": "1"})).step()
    assert harness.kept.records[-1].decided is Decided.ERROR
    assert harness.state("p") == "backing_off"


def test_points_of_a_row_that_comes_to_fit_are_held_to_the_range_too() -> None:
    """Kept sheets answer what fresh ones do: also about a broken rule."""
    code = 0

    def refuses(view: View, rows: Rows) -> Any:
        open_ = view.labels("open")[rows] > 0
        return np.where(open_, 0, code).astype(np.int16)

    class Wild(Giver):
        name: ClassVar[str] = "Wild"
        reads: ClassVar[Reads] = Reads.ALLOCATABLE

    def wild(view: View, rows: Rows) -> Any:
        return np.where(view.allocatable[0][rows] > 5000, 900, 1)

    world = World(BASE, [(Judge(refuses), 1), (Wild(wild), 1)])
    code = world.book.code(Kind.UNFIT, "Judge", ("closed",))
    world.nodes(make_node("a", labels={"open": "1"}), make_node("b", cpu="6"))
    pod = world.read(make_pod("p"))
    assert isinstance(world.decide(pod), Choice)
    world.nodes(make_node("b", cpu="6", labels={"open": "1"}))
    assert world.framework.decide(pod) == world.fresh().decide(pod)


# ---- narrowing --------------------------------------------------------------------------


def narrowed(*names: str) -> Judge:
    return Judge(fits, Narrowed(tuple(sorted(names)), None))


class Second(Judge):
    name: ClassVar[str] = "Second"


def test_two_rules_that_narrow_are_both_kept() -> None:
    world = World(
        BASE, [(narrowed("a", "b"), 1), (Second(fits, Narrowed(("b", "c", "gone"), None)), 1)]
    ).nodes(*(make_node(name) for name in "abcd"))
    found = world.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert (found.node, found.tied, len(found.top)) == ("b", 1, 1)
    assert (found.path[0].into, found.path[0].out) == (4, 1)


def test_rules_that_narrow_to_nothing_name_themselves() -> None:
    world = World(BASE, [(narrowed("a"), 1), (Second(fits, Narrowed(("b",), None)), 1)])
    found = world.nodes(make_node("a"), make_node("b")).decide(make_pod("p"))
    assert isinstance(found, NoFit)
    assert found.message == (
        "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [Judge, Second]."
    )
    assert found.rejected_by == ("Judge", "Second")


def test_outside_a_narrowed_pod_the_other_nodes_are_counted_once() -> None:
    world = World(BASE, [(narrowed("a"), 1)]).nodes(make_node("a", cpu="1"), make_node("b"))
    found = world.decide(make_pod("p", {"cpu": "2"}))
    assert isinstance(found, NoFit)
    assert found.message == (
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't satisfy plugin(s) [Judge]."
    )


# ---- verdicts for all nodes -------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.WAIT, Kind.NEVER_FITS, Kind.UNFIT])
def test_a_verdict_for_all_nodes_is_the_answer(kind: Kind) -> None:
    verdict = Verdict(kind, "Judge", ("first", "second"))
    found = World(BASE, [(Judge(fits, verdict), 1)]).nodes(make_node("a")).decide(make_pod("p"))
    assert isinstance(found, NoFit)
    assert found.message == "0/1 nodes are available: first, second."
    assert found.kind is kind
    assert (found.rejected_by, found.pending_by) == (
        ((), ("Judge",)) if kind is Kind.WAIT else (("Judge",), ())
    )


def test_a_pod_that_is_to_wait_is_recorded_so() -> None:
    rule = Judge(fits, Verdict(Kind.WAIT, "Judge", ("patience",)))
    harness = Harness(BASE, [(rule, 1)]).apply(make_node("a"), make_pod("p"))
    effects = harness.step()
    assert harness.kept.records[-1].decided is Decided.WAIT
    assert only(PatchPodStatus, effects)[0].reason == "Unschedulable"


def test_a_score_that_cannot_be_prepared_counts_only_where_a_node_fits() -> None:
    bad = Giver(points(1), Verdict(Kind.ERROR, "Giver", ("bad term",)))
    world = World(BASE, [(bad, 1)]).nodes(make_node("a", cpu="1"))
    full, fit = world.decide(make_pod("p", {"cpu": "2"})), world.decide(make_pod("q"))
    assert isinstance(full, NoFit)
    assert full.kind is Kind.UNFIT or full.kind is Kind.NEVER_FITS
    assert isinstance(fit, NoFit)
    assert fit.kind is Kind.ERROR


# ---- scores -----------------------------------------------------------------------------


def test_weights_multiply_points_and_zero_takes_a_score_out() -> None:
    world = World(
        make_policy(["NodeName"]), [(Giver(points(20)), 3), (Scaled(points(7), up), 0)]
    ).nodes(make_node("a"))
    found = world.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert found.plugins == ("Giver",)
    assert (found.top[0].scores, found.top[0].total) == ((60,), 60)


def up(raw: Int64s, low: int, high: int) -> Int64s:
    return raw


def test_a_skipped_score_is_not_listed() -> None:
    world = World(make_policy(["NodeName"]), [(Giver(points(20), SKIP), 3)]).nodes(make_node("a"))
    found = world.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert found.plugins == ()


def test_normalize_is_given_the_extent_over_nodes_that_fit() -> None:
    rule = Scaled(
        lambda view, rows: view.allocatable[0][rows] // 1000,
        lambda raw, low, high: (raw - low) * 100 // max(high - low, 1),
    )
    world = World(BASE, [(rule, 1)])
    world.nodes(*(make_node(f"n{cpu}", cpu=str(cpu)) for cpu in (1, 3, 5, 9)))
    found = world.decide(make_pod("p", {"cpu": "2"}))
    assert isinstance(found, Choice)
    assert rule.extents[-1] == (3, 9)
    at = found.plugins.index("Scaled")
    assert {one.node: one.scores[at] for one in found.top} == {"n3": 0, "n5": 33, "n9": 100}


class Watcher(PreScore):
    """Gives the number of rows that fit, and counts how often it is asked."""

    name: ClassVar[str] = "Watcher"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def sign(self, pod: Any) -> object:
        return ()

    def prepare_score(self, pod: Any, view: View) -> Any:
        return "kept"

    def prescore(self, state: str, view: View, feasible: Int64s) -> Any:
        assert state == "kept"
        self.seen.append(feasible.tolist())
        return len(feasible)

    def score(self, state: int, view: View, rows: Rows) -> Int64s:
        return np.full(size(view, rows), state, np.int64)


def test_a_prescore_is_asked_again_when_other_nodes_fit() -> None:
    rule = Watcher()
    world = World(BASE, [(rule, 1)]).nodes(*(make_node(name, cpu="2") for name in "abc"))
    pod = world.read(make_pod("p", {"cpu": "2"}))
    first = world.decide(pod)
    assert isinstance(first, Choice)
    at = first.plugins.index("Watcher")
    assert first.top[0].scores[at] == 3
    world.assign(make_pod("q", {"cpu": "1"}), "b")
    second = world.decide(pod)
    assert isinstance(second, Choice)
    assert second.top[0].scores[at] == 2
    assert rule.seen[0] == [0, 1, 2]
    assert rule.seen[-1] == [0, 2]
    world.cluster.forget("uid-q")
    third = world.decide(pod)
    assert third == first


class Fine(Giver):
    name: ClassVar[str] = "Fine"
    points_max: ClassVar[int] = 1 << 30


def test_a_fine_scale_tells_apart_what_hundredths_cannot() -> None:
    rule = Fine(lambda view, rows: view.allocatable[0][rows])
    world = World(make_policy(["NodeName"]), [(rule, 1)])
    world.nodes(make_node("a", cpu="4000"), make_node("b", cpu="4001"))
    found = world.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert (found.node, found.top[0].total) == ("b", 4_001_000)


# ---- ties -------------------------------------------------------------------------------


def test_ties_by_name_take_the_first_name() -> None:
    names = ["m", "b", "z", "a", "k", "c"]
    world = World(BASE, salt=None).nodes(*(make_node(name) for name in names))
    found = world.decide(make_pod("p"))
    assert isinstance(found, Choice)
    assert [one.node for one in found.top] == ["a", "b", "c", "k", "m"]
    assert found.tied == 6
    world.nodes(make_node("aa"))
    world.cluster.remove_node("a")
    again = world.decide(make_pod("p"))
    assert isinstance(again, Choice)
    assert [one.node for one in again.top] == ["aa", "b", "c", "k", "m"]


def test_hashed_ties_spread_pods_and_depend_on_the_salt_only() -> None:
    chosen = []
    for salt in (1, 1, 2):
        world = World(BASE, salt=salt).nodes(*(make_node(f"n{n}") for n in range(8)))
        found = [world.decide(make_pod(f"p{n}")) for n in range(40)]
        chosen.append([one.node for one in found if isinstance(one, Choice)])
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 8


def test_explain_names_up_to_ten_nodes_and_counts_all() -> None:
    world = World(BASE).nodes(*(make_node(f"n{n:02}", cpu="1") for n in range(14)))
    world.nodes(make_node("small", cpu="1", memory="1Mi"), make_node("full", pods="0"))
    found = world.decide(make_pod("p", {"cpu": "2", "memory": "1Gi"}))
    assert isinstance(found, NoFit)
    assert found.message == (
        "0/16 nodes are available: 1 Insufficient memory, 1 Too many pods, 15 Insufficient cpu."
    )
    by_reason = {one.reason: one for one in found.rejections}
    assert by_reason["Insufficient cpu"].count == 15
    named = by_reason["Insufficient cpu"].nodes
    assert len(set(named)) == 10
    assert sorted(named) == list(named)
    assert set(named) <= {*(f"n{n:02}" for n in range(14)), "small"}
    assert by_reason["Insufficient memory"].nodes == ("small",)
    assert by_reason["Too many pods"].nodes == ("full",)
    assert found.path[0].reasons == (
        ("Insufficient cpu", 15),
        ("Insufficient memory", 1),
        ("Too many pods", 1),
    )
    assert found.rejected_by == ("NodeResourcesFit",)
