"""Kernels against the formulas that Kubernetes writes down, in plain Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from herz._native import Kernel, has_room, mix64, shift_row

COLUMNS = 4
Matrix = npt.NDArray[np.int64]

amounts = st.integers(0, 12) | st.integers(0, 1 << 55)
capacities = st.sampled_from([0, 0, 1, 3, 7, 10, 100]) | st.integers(0, 1 << 55)
used = st.integers(0, 20) | st.integers(0, 1 << 56)


@dataclass(frozen=True)
class Case:
    """Matrices by (column, row), and a selection of rows."""

    capacity: Matrix
    used: Matrix
    scored: Matrix
    rows: Matrix

    def values(self, kernel: Kernel) -> list[int]:
        """All rows' answers, after the check that a list of rows gives the same."""
        whole = kernel.values(self.capacity, self.used, self.scored, None)
        some = kernel.values(self.capacity, self.used, self.scored, self.rows)
        assert some.tolist() == whole[self.rows].tolist()
        found: list[int] = whole.tolist()
        return found


def matrix(draw: st.DrawFn, kind: st.SearchStrategy[int], columns: int, rows: int) -> Matrix:
    size = columns * rows
    drawn = draw(st.lists(kind, min_size=size, max_size=size))
    return np.array(drawn, np.int64).reshape(columns, rows)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rows = draw(st.integers(1, 6))
    at = draw(st.lists(st.integers(0, rows - 1), max_size=8))
    return Case(
        matrix(draw, capacities, COLUMNS, rows),
        matrix(draw, used, COLUMNS, rows),
        matrix(draw, used, 2, rows),
        np.array(at, np.int64),
    )


columns = st.integers(0, COLUMNS - 1)
demands = st.lists(st.tuples(columns, amounts), max_size=31)
weights = st.integers(1, 100)


@st.composite
def resources(draw: st.DrawFn) -> list[tuple[int, bool, int, int]]:
    found = []
    for column in draw(st.lists(columns, max_size=4, unique=True)):
        is_scored = column < 2 and draw(st.booleans())
        found.append((column, is_scored, draw(amounts), draw(weights)))
    return found


shapes = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 10)), min_size=1, max_size=5).map(
    lambda points: [(x, y * 10) for x, y in sorted(dict(points).items())]
)


def least(requested: int, capacity: int) -> int:
    return 0 if requested > capacity else (capacity - requested) * 100 // capacity


def most(requested: int, capacity: int) -> int:
    return min(requested, capacity) * 100 // capacity


def broken_linear(shape: list[tuple[int, int]], at: int) -> int:
    """`helper.BuildBrokenLinearFunction`; Go's division goes towards zero."""
    for index, (x, y) in enumerate(shape):
        if at <= x:
            if index == 0:
                return y
            x0, y0 = shape[index - 1]
            return y0 + int(Fraction((y - y0) * (at - x0), x - x0))
    return shape[-1][1]


def ratio(shape: list[tuple[int, int]], requested: int, capacity: int) -> int:
    at = 100 if requested > capacity else requested * 100 // capacity
    return broken_linear(shape, at)


def fullness(
    case: Case,
    row: int,
    kind: str,
    shape: list[tuple[int, int]],
    wanted: list[tuple[int, bool, int, int]],
) -> int:
    total = weight_sum = 0
    for column, is_scored, amount, weight in wanted:
        capacity = int(case.capacity[column, row])
        if capacity == 0:
            continue
        requested = int((case.scored if is_scored else case.used)[column, row]) + amount
        if kind == "shape":
            points = ratio(shape, requested, capacity)
            if points <= 0:
                continue
        else:
            points = (least if kind == "least" else most)(requested, capacity)
        total += points * weight
        weight_sum += weight
    if weight_sum == 0:
        return 0
    if kind == "shape":
        return math.floor(Fraction(total, weight_sum) + Fraction(1, 2))
    return total // weight_sum


def evenness(fractions: list[float]) -> int:
    """`balancedResourceScorer`: 1 less the standard deviation, in hundredths, truncated."""
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        mean = sum(fractions) / len(fractions)
        squares = 0.0
        for fraction in fractions:
            squares += (fraction - mean) * (fraction - mean)
        deviation = math.sqrt(squares / len(fractions))
    return int((1 - deviation) * 100)


def balance(case: Case, row: int, wanted: list[tuple[int, int]]) -> int:
    with_pod, without = [], []
    for column, amount in wanted:
        capacity, taken = int(case.capacity[column, row]), int(case.used[column, row])
        if capacity:
            with_pod.append(min((taken + amount) / capacity, 1.0))
            without.append(min(taken / capacity, 1.0))
    return 50 + (50 + evenness(with_pod) - evenness(without)) // 2


def lacking(case: Case, row: int, wanted: list[tuple[int, int]]) -> int:
    mask = 0
    for bit, (column, amount) in enumerate(wanted):
        capacity, taken = int(case.capacity[column, row]), int(case.used[column, row])
        mask |= (amount > capacity - taken) << bit
        mask |= (amount > capacity) << (32 + bit)
    return mask


@pytest.mark.slow
@settings(max_examples=300)
@given(case=cases(), kind=st.sampled_from(["least", "most", "shape"]), shape=shapes, it=resources())
def test_fullness_is_kubernetes_formula(
    case: Case, kind: str, shape: list[tuple[int, int]], it: list[tuple[int, bool, int, int]]
) -> None:
    kernel = Kernel.fullness(kind, shape, it)
    rows = range(case.capacity.shape[1])
    assert case.values(kernel) == [fullness(case, row, kind, shape, it) for row in rows]


@pytest.mark.slow
@settings(max_examples=300)
@given(case=cases(), it=st.lists(st.tuples(columns, amounts), max_size=4))
def test_balance_is_kubernetes_formula(case: Case, it: list[tuple[int, int]]) -> None:
    expected = [balance(case, row, it) for row in range(case.capacity.shape[1])]
    assert case.values(Kernel.balance(it)) == expected
    assert all(50 <= value <= 100 for value in expected)


@pytest.mark.slow
@settings(max_examples=300)
@given(case=cases(), it=demands)
def test_lacks_are_told_by_bit(case: Case, it: list[tuple[int, int]]) -> None:
    expected = [lacking(case, row, it) for row in range(case.capacity.shape[1])]
    assert case.values(Kernel.lacking(it)) == expected
    for row, mask in enumerate(expected):
        is_enough = mask & 0xFFFF_FFFF == 0
        assert has_room(case.capacity, case.used, it, row) == is_enough


@pytest.mark.slow
@given(case=cases(), it=demands, data=st.data())
def test_adding_to_a_row_moves_that_row_only_and_is_undone_by_the_negative(
    case: Case, it: list[tuple[int, int]], data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, case.used.shape[1] - 1))
    expected = case.used.copy()
    for column, amount in it:
        expected[column, row] += amount
    changed, scored = case.used.copy(), np.zeros((2, case.used.shape[1]), np.int64)
    shift_row(changed, it, scored, (3, 4), row, 1)
    np.testing.assert_array_equal(changed, expected)
    assert scored[:, row].tolist() == [3, 4]
    assert scored.sum() == 7
    shift_row(changed, it, scored, (3, 4), row, -1)
    np.testing.assert_array_equal(changed, case.used)
    assert not scored.any()


def test_adding_beyond_int64_is_refused() -> None:
    column, scored = np.array([[(1 << 63) - 1]], np.int64), np.zeros((2, 1), np.int64)
    with pytest.raises(ValueError, match="overflows"):
        shift_row(column, [(0, 1)], scored, (0, 0), 0, 1)
    with pytest.raises(ValueError, match="sign"):
        shift_row(column, [], scored, (0, 0), 0, 2)


def test_kernels_refuse_what_they_cannot_answer() -> None:
    square = np.zeros((2, 3), np.int64)
    narrow = np.zeros((2, 2), np.int64)
    with pytest.raises(ValueError, match="names no column"):
        Kernel.lacking([(2, 1)]).values(square, square, square, None)
    with pytest.raises(ValueError, match="names no column"):
        Kernel.fullness("least", [], [(1, True, 1, 1)]).values(square, square, square[:1], None)
    with pytest.raises(ValueError, match="differ"):
        Kernel.balance([]).values(square, narrow, square, None)
    with pytest.raises(IndexError, match="not below 3"):
        Kernel.balance([]).values(square, square, square, np.array([3], np.int64))
    with pytest.raises(IndexError, match="not below 3"):
        Kernel.balance([]).values(square, square, square, np.array([-1], np.int64))
    with pytest.raises(ValueError, match="too many demands"):
        Kernel.lacking([(0, 1)] * 32)
    with pytest.raises(ValueError, match="unknown kind"):
        Kernel.fullness("fuller", [], [])


def splitmix(value: int) -> int:
    """Steele, Lea and Flood's finaliser."""
    mask = (1 << 64) - 1
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return value ^ value >> 31


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_the_mix_is_splitmix_and_keeps_values_apart(one: int, other: int) -> None:
    assert mix64(one) == splitmix(one)
    assume(one != other)
    assert mix64(one) != mix64(other)
