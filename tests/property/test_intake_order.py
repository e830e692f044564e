"""The laws of an order: a permutation, by priority, by dependencies, whatever the batch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator, safe_sort
from herz.intake.order.dependencies import parse_after
from herz.intake.order.ladder import OrderBounds, OrderResult, order_batch
from herz.model.podinfo import Dependency
from tests.unit.intake.intake_pods import Item, make_item

DEPENDENCY = st.tuples(st.integers(0, 11), st.sampled_from([0, 300, 850, 851, 1000]))
POD = st.tuples(st.integers(0, 2), st.lists(DEPENDENCY, max_size=3, unique_by=lambda d: d[0]))


@st.composite
def batches(draw: st.DrawFn) -> list[Candidate]:
    """Up to twelve pods in any order, with edges inside and outside the batch, and cycles."""
    pods = draw(st.lists(POD, max_size=12))
    batch = []
    for number, (priority, named) in enumerate(pods):
        base = make_item(f"p{number}", priority)
        after = tuple(Dependency(f"p{name}", weight) for name, weight in named)
        item = Item(base.uid, base.namespace, base.name, priority, (), after, base.order_key)
        batch.append(Candidate(item, number + 1))
    return draw(st.permutations(batch))


BOUNDS = st.builds(
    lambda first, more, nodes: OrderBounds(first, first + more, nodes),
    st.sampled_from([0, 10, 30, 1000]),
    st.sampled_from([0, 10, 100, 1000]),
    st.sampled_from([0, 4, 10_000]),
)


def edges_of(batch: list[Candidate]) -> list[tuple[str, str, int]]:
    inside = {candidate.item.name for candidate in batch}
    return [
        (dependency.name, candidate.item.name, dependency.weight_thousandths)
        for candidate in batch
        for dependency in candidate.item.after
        if dependency.name in inside
    ]


def place_of(result: OrderResult) -> dict[str, int]:
    return {candidate.item.name: place for place, candidate in enumerate(result.order)}


@given(batches(), BOUNDS)
@settings(max_examples=300)
def test_order_keeps_the_laws_of_its_rung(batch: list[Candidate], bounds: OrderBounds) -> None:
    before = list(batch)
    result = order_batch(batch, None, bounds)
    assert batch == before
    assert sorted(result.order, key=lambda c: c.sequence) == sorted(batch, key=lambda c: c.sequence)
    assert order_batch(list(reversed(batch)), None, bounds) == result
    assert result.comparisons + result.edges_visited <= bounds.both_steps_max
    place = place_of(result)
    priority = {candidate.item.name: candidate.item.priority for candidate in batch}
    edges = edges_of(batch)
    left_out = {
        (edge.before.removeprefix("shop/"), edge.after.removeprefix("shop/"))
        for edge in (*result.dropped, *result.broken, *result.overruled)
    }
    if result.rung == 1:
        assert result.comparisons + result.edges_visited <= bounds.rung1_steps_max
        priorities = [candidate.item.priority for candidate in result.order]
        assert priorities == sorted(priorities, reverse=True)
        assert all(priority[a] < priority[b] for a, b in left_out)
    if result.rung == 2:
        assert len(result.dropped) * 100 <= 15 * len(edges)
        assert all(edge.weight_thousandths <= 850 for edge in result.dropped)
        in_cycle = {name for cycle in result.cycles for name in cycle}
        assert all({e.before, e.after} <= in_cycle for e in result.broken)
    if result.rung == 3:
        assert [c.sequence for c in result.order] == sorted(c.sequence for c in batch)
    else:
        assert all(place[a] < place[b] for a, b, _ in edges if (a, b) not in left_out)


@given(batches())
@settings(max_examples=200)
def test_strong_edges_hold_on_rung_2_unless_they_close_a_strong_circle(
    batch: list[Candidate],
) -> None:
    result = order_batch(batch, rung_min=2)
    strong = [(a, b) for a, b, weight in edges_of(batch) if weight > 850]
    reach = {candidate.item.name: {candidate.item.name} for candidate in batch}
    for _ in batch:
        for a, b in strong:
            reach[a] |= reach[b]
    place = place_of(result)
    for a, b in strong:
        assert place[a] < place[b] or a in reach[b]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40),
    st.sampled_from(["first", "both", "none"]),
)
@settings(max_examples=150)
def test_safe_sort_of_a_strict_weak_order_finds_no_fault(
    keys: list[tuple[int, int]], which: str
) -> None:
    batch = [Candidate(make_item(f"p{n}", 10 * a + b), n) for n, (a, b) in enumerate(keys)]

    def key(candidate: Candidate) -> int:
        value = candidate.item.priority
        return {"first": value // 10, "both": value, "none": 0}[which]

    outcome = safe_sort(batch, Comparator("by-key", lambda a, b: key(a) < key(b)), 1 << 30)
    assert outcome.fault is None
    assert list(outcome.order) == sorted(batch, key=lambda c: (key(c), c.sequence))
    numbers = sorted({key(candidate) for candidate in batch})
    assert [numbers[number] for number in outcome.classes] == [key(c) for c in outcome.order]


@given(st.integers(1, 16), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_safe_sort_of_few_pods_passes_a_relation_only_if_it_is_a_strict_weak_order(
    count: int, random: object
) -> None:
    answers: dict[tuple[int, int], bool] = {}

    def less(one: Candidate, two: Candidate) -> bool:
        pair = (one.sequence, two.sequence)
        if pair not in answers:
            answers[pair] = random.random() < 0.3  # type: ignore[attr-defined]
        return answers[pair]

    batch = [Candidate(make_item(f"p{n}"), n) for n in range(count)]
    outcome = safe_sort(batch, Comparator("any", less), 1 << 30)
    if outcome.fault is None:
        for low in range(count):
            for high in range(low + 1, count):
                one, two = outcome.order[low], outcome.order[high]
                assert less(one, two) == (outcome.classes[low] < outcome.classes[high])
                assert not less(two, one)
    else:
        assert outcome.order == ()


@given(st.lists(st.tuples(st.text("abz09", min_size=1, max_size=5), st.integers(0, 1000)),
                min_size=1, max_size=8, unique_by=lambda pair: pair[0]))  # fmt: skip
def test_parse_after_reads_every_weight_in_thousandths_exactly(
    pairs: list[tuple[str, int]],
) -> None:
    text = ", ".join(f"{name}={weight // 1000}.{weight % 1000:03}" for name, weight in pairs)
    assert parse_after(text) == tuple(Dependency(*pair) for pair in pairs)
