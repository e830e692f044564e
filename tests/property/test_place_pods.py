"""Counts of pods by row equal counting anew, whatever came, went, grew or was let go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from herz.model.labels import compile_label_map, compile_selector
from herz.model.meta import LabelSelector, LabelSelectorRequirement
from herz.model.podinfo import PodInfo
from herz.place.pods import PodCount, PodIndex
from herz.plugin import PodQuery
from tests.support.machine import World, make_policy
from tests.support.objects import make_pod
from tests.support.strategies import DB, WEB, pod_affinity, term
from tests.unit.place.plugins.company import within

SIZE = 4
ABOVE: Mapping[str, Mapping[str, str]] = {"shop": {"team": "x"}, "bank": {}}


def _pods() -> list[PodInfo]:
    world = World(make_policy(("InterPodAffinity",)))
    team = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
    specs: list[dict[str, Any]] = [
        {},
        pod_affinity(anti=[term(WEB, "zone")]),
        # One term twice: the pod counts twice.
        pod_affinity(near=[term(DB, "zone"), term(DB, "zone")], anti=[term(WEB, "zone") | team]),
    ]
    made = [
        within(
            make_pod(f"{space}{number}{at}{end}", labels=labels, spec=spec, is_terminating=end),
            space,
        )
        for space in ("shop", "bank")
        for number, labels in enumerate((WEB, DB, WEB | {"x": "1"}))
        for at, spec in enumerate(specs)
        for end in (False, True)
    ]
    return [world.read(pod) for pod in made]


PODS = _pods()
SHOP, BANK = frozenset(["shop"]), frozenset(["bank"])
NOT_WEB = compile_selector(
    LabelSelector(
        match_expressions=(LabelSelectorRequirement(key="app", operator="NotIn", values=("web",)),)
    )
)
QUERIES = [
    PodQuery(((SHOP, compile_label_map(WEB)),)),
    PodQuery(((SHOP, compile_label_map(WEB)),), is_terminating_counted=False),
    PodQuery(((SHOP | BANK, NOT_WEB),)),
    PodQuery(((None, compile_label_map({})),)),
    PodQuery(((SHOP, compile_label_map(WEB)), (None, compile_label_map({"x": "1"})))),
    PodQuery(((SHOP, compile_selector(None)),)),
]

pods = st.integers(0, len(PODS) - 1)
steps = st.one_of(
    st.tuples(st.just("add"), pods, st.integers(0, 99)),
    st.tuples(st.just("add"), pods, st.integers(0, 99)),
    st.tuples(st.just("remove"), st.integers(0, 99)),
    st.tuples(st.just("grow")),
    st.tuples(st.just("hold"), st.integers(0, len(QUERIES) - 1)),
    st.tuples(st.just("let go"), st.integers(0, len(QUERIES) - 1)),
)


class Model:
    """An index, and the list of what is in it."""

    def __init__(self) -> None:
        self.size = SIZE
        self.index = PodIndex(SIZE)
        self.there: list[tuple[PodInfo, int]] = []
        self.held: dict[int, PodCount] = {}

    def act(self, step: tuple[Any, ...]) -> None:
        """One change."""
        match step:
            case ("add", pod, row):
                self.there.append((PODS[pod], row % self.size))
                self.index.shift(*self.there[-1], 1)
            case ("remove", at) if self.there:
                self.index.shift(*self.there.pop(at % len(self.there)), -1)
            case ("grow",):
                self.size += 3
                self.index.grow(self.size)
            case ("hold", number):
                self.held[number] = self.index.follow(QUERIES[number])
            case ("let go", number):
                self.held.pop(number, None)

    def counted(self, query: PodQuery) -> list[int]:
        """The answer, counted from nothing."""
        rows = [row for pod, row in self.there if query.means(pod)]
        return [rows.count(row) for row in range(self.size)]

    def terms(self, asked: PodInfo) -> dict[Any, list[int]]:
        """The terms that mean a pod, each with its pods by row, counted from nothing."""
        found: dict[Any, list[int]] = {}
        for pod, row in self.there:
            for one in pod.terms:
                if one.matches(asked.namespace, ABOVE[asked.namespace], asked.pod.metadata.labels):
                    found.setdefault(one, [0] * self.size)[row] += 1
        return found

    def check(self) -> None:
        """What is followed, and what is asked anew, is right."""
        for number, count in self.held.items():
            assert count.column.tolist() == self.counted(QUERIES[number])
        for asked in PODS[:: len(PODS) // 3]:
            known = self.index.meaning(asked, ABOVE[asked.namespace])
            assert {one.term: one.column.tolist() for one in known} == self.terms(asked)
            assert all(one.total == one.column.sum() for one in known)


@settings(max_examples=60)
@given(history=st.lists(steps, max_size=40))
def test_counts_and_terms_are_those_of_counting_anew(history: list[Any]) -> None:
    model = Model()
    for step in history:
        model.act(step)
        model.check()
    for query in QUERIES:
        assert model.index.follow(query).column.tolist() == model.counted(query)


@settings(max_examples=60)
@given(history=st.lists(steps, max_size=30), step=steps)
def test_versions_move_with_the_answers(history: list[Any], step: Any) -> None:
    model = Model()
    for number in range(len(QUERIES)):
        model.act(("hold", number))
    for before in history:
        if before[0] != "let go":
            model.act(before)
    columns = {n: (one.column.copy(), one.version) for n, one in model.held.items()}
    terms, version = _terms(model), model.index.terms_version
    model.act(step)
    for number, (column, moved) in columns.items():
        now = model.held.get(number)
        if now is not None and now.column[: len(column)].tolist() != column.tolist():
            assert now.version != moved
    if _terms(model) != terms:
        assert model.index.terms_version != version


@given(history=st.lists(steps, max_size=30))
def test_nothing_is_left_when_all_pods_are_gone(history: list[Any]) -> None:
    model = Model()
    for step in history:
        model.act(step)
    while model.there:
        model.act(("remove", 0))
    model.check()
    assert model.index._groups == {}
    assert model.index._terms == {}


def test_a_count_that_nobody_holds_is_forgotten_and_right_when_asked_anew() -> None:
    index = PodIndex(SIZE)
    query = QUERIES[0]
    index.shift(PODS[0], 1, 1)
    first = index.follow(query)
    assert index.follow(query) is first, "one count for all who ask"
    del first
    assert len(index._counts) == 0
    index.shift(PODS[0], 2, 1)
    assert index.follow(query).column.tolist() == [0, 1, 1, 0]


def _terms(model: Model) -> set[Any]:
    return {one for pod, _ in model.there for one in pod.terms}
