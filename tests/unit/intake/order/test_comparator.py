"""The safe sort: nothing that a comparator does reaches further than its fault."""

from __future__ import annotations

from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator, FaultKind, SortOutcome, safe_sort
from tests.unit.intake.intake_pods import make_candidates, make_item, names

MANY = 1 << 30


def sort_by(less: object, batch: list[Candidate], limit: int = MANY) -> SortOutcome:
    return safe_sort(batch, Comparator("mine", less), limit)  # type: ignore[arg-type]


def test_safe_sort_is_stable_by_sequence_and_leaves_the_batch_alone() -> None:
    batch = make_candidates(*(make_item(f"p{n:02}", n % 3) for n in range(30)))
    batch.reverse()
    before = list(batch)
    outcome = sort_by(lambda one, two: one.item.priority > two.item.priority, batch)
    keys = [(-c.item.priority, c.sequence) for c in outcome.order]
    assert keys == sorted(keys)
    assert list(outcome.classes) == [0] * 10 + [1] * 10 + [2] * 10
    assert batch == before
    assert outcome.fault is None


def test_safe_sort_names_the_exception_and_the_two_pods() -> None:
    def fails(one: Candidate, two: Candidate) -> bool:
        raise LookupError("no deadline")

    outcome = sort_by(fails, make_candidates(make_item("a"), make_item("b")))
    assert outcome.order == ()
    assert outcome.fault is not None
    assert outcome.fault.kind is FaultKind.RAISED
    assert outcome.fault.detail == "LookupError: no deadline"
    assert outcome.fault.pods == ("shop/a",)


def test_safe_sort_stops_at_its_bound() -> None:
    batch = make_candidates(*(make_item(f"p{n * 7 % 100:02}") for n in range(100)))
    outcome = sort_by(lambda one, two: one.item.name < two.item.name, batch, 50)
    assert outcome.is_over_bound
    assert outcome.comparisons == 50
    assert outcome.fault is None
    full = sort_by(lambda one, two: one.item.name < two.item.name, batch)
    assert full.comparisons < 100 * 7 + 5 * 100
    assert names(full.order) == sorted(names(full.order))


def test_safe_sort_finds_a_circle_among_many_pods() -> None:
    # Right by number, except for pods that are eight apart.
    def circular(one: Candidate, two: Candidate) -> bool:
        distance = two.item.priority - one.item.priority
        return distance == -8 or (distance > 0 and distance != 8)

    batch = make_candidates(*(make_item(f"p{n:02}", n) for n in range(60)))
    outcome = sort_by(circular, batch)
    assert outcome.fault is not None
    assert outcome.fault.kind is FaultKind.NOT_TRANSITIVE
    assert len(outcome.fault.pods) == 3
    assert outcome.fault.detail.count(" is before ") + outcome.fault.detail.count(" is after ") == 3


def test_safe_sort_sees_a_comparator_that_changes_its_mind() -> None:
    calls = 0

    def moody(one: Candidate, two: Candidate) -> bool:
        nonlocal calls
        calls += 1
        return calls % 2 == 0

    outcome = sort_by(moody, make_candidates(*(make_item(f"p{n}") for n in range(20))))
    assert outcome.fault is not None


def test_safe_sort_accepts_a_comparator_that_puts_all_on_one_step() -> None:
    outcome = sort_by(lambda one, two: False, make_candidates(*map(make_item, "cab")))
    assert names(outcome.order) == ["c", "a", "b"]
    assert outcome.classes == (0, 0, 0)
