"""The table, the change log and the multiset digest against plain models of them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz._native import ChangeLog, Kernel, LtHash, Table, mix64

FILTERS = 2
WEIGHTS = (3, 1)
MOST = (100, 100)


class Plain:
    """What a table should say, asked row by row."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.codes = [[0] * size for _ in range(FILTERS)]
        self.points = [[0] * size for _ in WEIGHTS]
        self.raw = [0] * size

    def first(self) -> list[int]:
        return [
            next((codes[row] for codes in self.codes if codes[row]), 0) for row in range(self.size)
        ]

    def totals(self) -> list[int]:
        return [
            sum(w * points[row] for w, points in zip(WEIGHTS, self.points, strict=True))
            if code == 0
            else -1
            for row, code in enumerate(self.first())
        ]

    def histogram(self) -> list[tuple[int, int]]:
        first = self.first()
        return [(code, first.count(code)) for code in sorted(set(first)) if code > 0]

    def extent(self) -> tuple[int, int]:
        raw = [self.raw[row] for row, code in enumerate(self.first()) if code == 0]
        return (min(raw), max(raw)) if raw else (0, 0)

    def top(self, k: int, keys: list[int], salt: int | None) -> tuple[list[Any], int]:
        rank = (lambda key: key) if salt is None else (lambda key: mix64(key ^ salt))
        totals = self.totals()
        order = sorted(
            (row for row in range(self.size) if totals[row] >= 0),
            key=lambda row: (-totals[row], rank(keys[row]), row),
        )
        best = [
            (row, totals[row], tuple(w * p[row] for w, p in zip(WEIGHTS, self.points, strict=True)))
            for row in order[:k]
        ]
        return best, sum(totals[row] == totals[order[0]] for row in order) if order else 0


def selections(size: int) -> st.SearchStrategy[list[int] | None]:
    return st.none() | st.lists(st.integers(0, size - 1), max_size=12, unique=True)


steps = st.sampled_from(["codes", "points", "raw", "settle"])


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data(), size=st.sampled_from([1, 5, 63, 64, 65, 130]))
def test_a_table_says_what_its_rows_say(data: st.DataObject, size: int) -> None:
    table, plain = Table(size, FILTERS, [(3, False, 100), (1, True, 100)]), Plain(size)
    for index in range(FILTERS):
        table.set_codes(index, None, np.zeros(size, np.int16))
    table.settle_codes(None)
    table.settle_totals(None)
    table.extent(1)
    for step in data.draw(st.lists(steps, max_size=12)):
        rows = data.draw(selections(size))
        at = range(size) if rows is None else rows
        given_rows = None if rows is None else np.array(rows, np.int64)
        numbers = st.integers(0, (1 << 32) - 1).map(np.random.default_rng)
        rng = data.draw(numbers)
        if step == "codes":
            index = data.draw(st.integers(0, FILTERS - 1))
            values = rng.choice([-1, 0, 0, 0, 4, 9], len(at)).astype(np.int16)
            table.set_codes(index, given_rows, values)
            before = plain.first()
            for row, value in zip(at, values.tolist(), strict=True):
                plain.codes[index][row] = value
            after = plain.first()
            flips = sum((a == 0) != (b == 0) for a, b in zip(before, after, strict=True))
            assert table.settle_codes(given_rows) == flips
        elif step == "points":
            index = data.draw(st.integers(0, 1))
            low = rng.integers(0, 4, len(at)).astype(np.int64)
            assert table.set_points(index, given_rows, low) is None
            for row, value in zip(at, low.tolist(), strict=True):
                plain.points[index][row] = value
        elif step == "raw":
            values64 = rng.integers(-50, 50, len(at)).astype(np.int64)
            table.set_raw(1, given_rows, values64)
            for row, value in zip(at, values64.tolist(), strict=True):
                plain.raw[row] = value
            assert table.raw(1, None).tolist() == plain.raw
        table.settle_totals(given_rows)
        assert table.extent(1) in (plain.extent(), None)
        assert table.extent(1) is None
    assert table.first().tolist() == plain.first()
    assert table.totals().tolist() == plain.totals()
    assert table.histogram() == plain.histogram()
    assert table.fits == plain.first().count(0)
    assert table.fitting().tolist() == [r for r, code in enumerate(plain.first()) if code == 0]
    table.set_raw(1, np.array([0], np.int64), np.array([99], np.int64))
    table.set_raw(1, np.array([0], np.int64), np.array([plain.raw[0]], np.int64))
    assert table.extent(1) == plain.extent()
    keys = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    for salt in (None, 12345):
        for k in (1, 5, size):
            found = table.top(k, np.array(keys, np.uint64), salt)
            assert found == plain.top(k, keys, salt)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 1 << 32),
    size=st.sampled_from([3, 64, 300]),
    k=st.integers(1, 9),
    salt=st.none() | st.integers(0, (1 << 64) - 1),
    spread=st.integers(1, 5),
)
def test_the_best_rows_are_those_of_a_full_sort(
    seed: int, size: int, k: int, salt: int | None, spread: int
) -> None:
    rng = np.random.default_rng(seed)
    table, plain = Table(size, 1, [(3, False, 100), (1, False, 100)]), Plain(size)
    codes = rng.choice([0, 0, 0, 2, -1], size)
    table.set_codes(0, None, codes.astype(np.int16))
    table.settle_codes(None)
    plain.codes[0] = codes.tolist()
    for index in (0, 1):
        points = rng.integers(0, spread, size)
        table.set_points(index, None, points)
        plain.points[index] = points.tolist()
    table.settle_totals(None)
    keys = rng.integers(0, 1 << 63, size, dtype=np.uint64) * 2
    assert table.top(k, keys, salt) == plain.top(k, keys.tolist(), salt)


def test_kernels_inside_a_table_answer_as_outside_and_ask_for_unknown_codes() -> None:
    rng = np.random.default_rng(3)
    capacity, used = rng.integers(1, 9, (2, 50)), rng.integers(0, 9, (2, 50))
    room, even = Kernel.lacking([(0, 2), (1, 3)]), Kernel.balance([(0, 2), (1, 3)])
    table = Table(50, 2, [(1, False, 100)])
    table.attach_filter(1, room)
    table.attach_scorer(0, even)
    rows = np.arange(50)
    taught: dict[int, int] = {}
    while True:
        flips, unknown = table.refresh_codes(rows, capacity, used, used)
        if unknown is None:
            break
        assert unknown[0] == 1
        assert unknown[1] not in taught
        assert table.first().tolist() == [-1] * 50, "nothing is settled before all is known"
        taught[unknown[1]] = len(taught) + 1
        table.learn(1, unknown[1], taught[unknown[1]])
    masks = room.values(capacity, used, used, None).tolist()
    assert table.first().tolist() == [taught.get(mask, 0) for mask in masks]
    assert flips == masks.count(0)
    table.refresh_points(rows, capacity, used, used)
    assert table.settle_totals(rows) is None
    expected = even.values(capacity, used, used, None)
    assert table.points(0).tolist() == expected.tolist()
    assert table.totals().tolist() == np.where(np.array(masks) == 0, expected, -1).tolist()


def test_points_out_of_range_are_told_where_the_row_fits() -> None:
    table = Table(3, 1, [(1, False, 10)])
    table.set_codes(0, None, np.array([0, 5, 0], np.int16))
    table.settle_codes(None)
    assert table.set_points(0, None, np.array([10, 99, 0])) is None
    assert table.set_points(0, None, np.array([10, 99, -1])) == (2, -1)
    assert table.set_points(0, np.array([0]), np.array([11])) == (0, 11)


def test_a_table_refuses_rows_and_values_that_do_not_match() -> None:
    table = Table(3, 1, [(1, True, 100)])
    with pytest.raises(ValueError, match="2 values for 3 rows"):
        table.set_codes(0, None, np.zeros(2, np.int16))
    with pytest.raises(IndexError, match="not below 3"):
        table.set_codes(0, np.array([3]), np.zeros(1, np.int16))
    with pytest.raises(ValueError, match="fewer keys"):
        table.top(1, np.zeros(2, np.uint64), None)
    with pytest.raises(ValueError, match="highest points"):
        Table(3, 1, [(1, False, (1 << 30) + 1)])


# ---- the change log ---------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(
    entries=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 15)), max_size=40),
    power=st.integers(0, 5),
    mask=st.integers(0, 15),
    behind=st.integers(0, 40),
)
def test_the_change_log_is_the_tail_of_a_list(
    entries: list[tuple[int, int]], power: int, mask: int, behind: int
) -> None:
    capacity = 1 << power
    log = ChangeLog(capacity)
    for row, aspects in entries:
        log.append(row, aspects)
    assert log.end == len(entries)
    position = max(len(entries) - behind, 0)
    since = entries[position:]
    if len(since) > capacity:
        assert log.mask_since(position) is None
        with pytest.raises(ValueError, match="no longer reaches back"):
            log.rows_since(position, mask)
        return
    aspects = 0
    for _, one in since:
        aspects |= one
    assert log.mask_since(position) == aspects
    expected = sorted({row for row, one in since if one & mask})
    assert log.rows_since(position, mask).tolist() == expected
    assert log.rows_since(position, mask).tolist() == expected, "asking changes nothing"


def test_the_change_log_wants_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        ChangeLog(12)


# ---- the multiset digest ----------------------------------------------------------------

elements = st.lists(st.binary(max_size=12) | st.binary(min_size=160, max_size=400), max_size=11)


def lanes(parts: list[bytes]) -> Any:
    total = np.zeros(1024, np.uint16)
    for part in parts:
        total += np.frombuffer(hashlib.shake_128(part).digest(2048), "<u2")
    return total


def digest_of(parts: list[bytes]) -> bytes:
    return hashlib.sha3_384(lanes(parts).astype("<u2").tobytes()).digest()


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(parts=elements, data=st.data())
def test_the_digest_is_the_hash_of_the_summed_lanes_in_any_order(
    parts: list[bytes], data: st.DataObject
) -> None:
    one, other = LtHash(), LtHash()
    for part in parts:
        one.add(part)
    for part in data.draw(st.permutations(parts)):
        other.add(part)
        if data.draw(st.booleans()):
            other.digest()
    assert one.digest() == other.digest() == digest_of(parts)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(parts=elements, gone=elements, data=st.data())
def test_remove_undoes_add_at_any_time(
    parts: list[bytes], gone: list[bytes], data: st.DataObject
) -> None:
    changes = [(True, part) for part in (*parts, *gone)] + [(False, part) for part in gone]
    found = LtHash()
    for is_added, part in data.draw(st.permutations(changes)):
        (found.add if is_added else found.remove)(part)
    assert found.digest() == digest_of(parts)


@pytest.mark.parametrize("size", [*range(4), *range(134, 138), *range(166, 171), 335, 336, 337])
def test_elements_of_every_length_around_a_block_are_expanded_right(size: int) -> None:
    parts = [bytes([number]) * size for number in range(5)]
    found = LtHash()
    for part in parts:
        found.add(part)
    assert found.digest() == digest_of(parts)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(parts=elements, more=st.binary(max_size=20))
def test_one_element_more_is_seen(parts: list[bytes], more: bytes) -> None:
    found = LtHash()
    for part in parts:
        found.add(part)
    before = found.digest()
    found.add(more)
    assert found.digest() != before
