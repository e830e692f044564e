"""Values that another thread changes while they are sorted."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from herz.front.fuzz.underway import changed_under_way, mutable_parts
from herz.intake.fuzz import Asked, Source
from herz.intake.fuzz.domains import Whole, domain_of
from herz.intake.fuzz.words import Words


def by_items(a: list[int], b: list[int]) -> bool:
    for at in range(min(len(a), len(b))):
        if a[at] != b[at]:
            return a[at] < b[at]
    return len(a) < len(b)


def by_sum(a: dict[str, int], b: dict[str, int]) -> bool:
    return sum(a[key] for key in a) < sum(b[key] for key in b)


def by_copy(a: list[int], b: list[int]) -> bool:
    return bool(a < b)


def by_number(a: int, b: int) -> bool:
    return a < b


def told(less: Callable[[Any, Any], bool], kind: Any) -> list[dict[str, str]]:
    domain = domain_of(kind, lambda name: Whole())
    source = Source(random.Random(1), Words())
    return changed_under_way(Asked(less), domain, source, __file__, lambda: True)


@pytest.mark.parametrize(
    ("less", "kind", "seen"),
    [(by_items, list[int], "IndexError"), (by_sum, dict[str, int], "changed size")],
)
def test_a_comparator_that_looks_twice_is_told(
    less: Callable[[Any, Any], bool], kind: Any, seen: str
) -> None:
    found = told(less, kind)
    assert any(seen in one["says"] for one in found)
    assert all("by another thread during a sort" in one["value"] for one in found)


def test_values_that_cannot_be_changed_have_nothing_to_tell() -> None:
    assert told(by_number, int) == []


def test_one_look_in_c_is_not_disturbed() -> None:
    """What then is out of order is so because the values are others now."""
    assert all(one["flaw"] == "ends out of order" for one in told(by_copy, list[int]))


def test_what_can_be_changed_is_found_at_any_depth() -> None:
    inner, deep = {"a": 1}, [1]
    assert list(mutable_parts((1, (inner, "x"), deep))) == [deep, inner]
