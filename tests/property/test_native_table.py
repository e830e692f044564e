"""The table, the change log and the multiset digest against plain models of them."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz._native import ChangeLog, Codes, Kernel, LtHash, RawPoints, Table, mix64

NO_BOOK = np.zeros((0, 200), np.int64)
NO_BOOKS = (NO_BOOK, NO_BOOK, NO_BOOK)
LIMIT = 10


def scaled(raw: Any, low: int, high: int) -> Any:
    """A normalisation: element by element."""
    return np.zeros_like(raw) if high == low else (raw - low) * 100 // (high - low)


class Plain:
    """What a table should say, asked row by row."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.live = [False] * size
        self.codes = [0] * size
        self.points = [0] * size
        self.raw = [0] * size

    def first(self) -> list[int]:
        return [code if live else -1 for live, code in zip(self.live, self.codes, strict=True)]

    def extent(self) -> tuple[int, int]:
        raw = [self.raw[row] for row, code in enumerate(self.first()) if code == 0]
        return (min(raw), max(raw)) if raw else (0, 0)

    def weighted(self, row: int) -> tuple[int, int]:
        raw = np.array([self.raw[row]])
        return 3 * self.points[row], int(scaled(raw, *self.extent())[0])

    def totals(self) -> list[int]:
        return [
            sum(self.weighted(row)) if code == 0 else -1 for row, code in enumerate(self.first())
        ]

    def histogram(self) -> list[tuple[int, int]]:
        first = self.first()
        return [(code, first.count(code)) for code in sorted(set(first)) if code > 0]

    def top(self, k: int, keys: list[int], salt: int | None) -> tuple[list[Any], int]:
        rank = (lambda key: key) if salt is None else (lambda key: mix64(key ^ salt))
        totals = self.totals()
        order = sorted(
            (row for row in range(self.size) if totals[row] >= 0),
            key=lambda row: (-totals[row], rank(keys[row]), row),
        )
        best = [(row, totals[row], self.weighted(row)) for row in order[:k]]
        return best, sum(totals[row] == totals[order[0]] for row in order) if order else 0


class Both:
    """A table with its columns, and the model that is told the same."""

    def __init__(self, size: int) -> None:
        self.plain = Plain(size)
        self.presence, self.codes = Codes(size), Codes(size)
        self.points, self.raw = RawPoints(size), RawPoints(size)
        self.presence.set_live(None, np.zeros(size, np.bool_))
        scorers: Any = [(3, 100, self.points, False), (1, 100, self.raw, True)]
        self.table = Table(size, [self.presence, self.codes], scorers, *NO_BOOKS)

    def set(self, step: str, rows: list[int] | None, rng: np.random.Generator) -> None:
        at = range(self.plain.size) if rows is None else rows
        where = None if rows is None else np.array(rows, np.int64)
        if step == "live":
            values: Any = rng.choice([True, True, True, False], len(at))
            self.presence.set_live(where, values)
        elif step == "codes":
            values = rng.choice([0, 0, 0, 4, 9], len(at)).astype(np.int16)
            assert self.codes.set(where, values, LIMIT)
        else:
            values = (
                rng.integers(0, 4, len(at)) if step == "points" else rng.integers(-9, 9, len(at))
            )
            (self.points if step == "points" else self.raw).set(where, values)
        target: Any = getattr(self.plain, step)
        for row, value in zip(at, values.tolist(), strict=True):
            target[row] = value

    def settle(self, rows: list[int] | None, settle: Any = None) -> None:
        where = None if rows is None else np.array(rows, np.int64)
        settle = settle or self.table.settle
        while (wanted := settle(where)) is not None:
            scorer, values, low, high = wanted
            assert scorer == 1
            assert (low, high) == self.plain.extent()
            assert values.tolist() == sorted(set(values.tolist()))
            assert self.table.learn_points(1, values, scaled(values, low, high))


def selections(size: int) -> st.SearchStrategy[list[int] | None]:
    return st.none() | st.lists(st.integers(0, size - 1), max_size=12, unique=True)


steps = st.sampled_from(["live", "codes", "points", "raw"])
numbers = st.integers(0, (1 << 32) - 1).map(np.random.default_rng)


@pytest.mark.slow
@settings(max_examples=150)
@given(data=st.data(), size=st.sampled_from([1, 5, 63, 64, 65, 130]))
def test_a_table_says_what_its_rows_say(data: st.DataObject, size: int) -> None:
    both = Both(size)
    both.set("live", None, data.draw(numbers))
    both.settle(None)
    for step in data.draw(st.lists(steps, max_size=12)):
        rows = data.draw(selections(size))
        both.set(step, rows, data.draw(numbers))
        if data.draw(st.booleans()):
            both.settle(rows)
        else:
            both.settle(rows, both.table.settle_codes)
            both.settle(rows, both.table.settle_points)
    table, plain = both.table, both.plain
    assert table.first().tolist() == plain.first()
    assert table.totals().tolist() == plain.totals()
    assert table.histogram() == plain.histogram()
    assert table.fits == plain.first().count(0)
    assert table.fitting().tolist() == [r for r, code in enumerate(plain.first()) if code == 0]
    for scorer, weight in ((0, 3), (1, 1)):
        points = [plain.weighted(r)[scorer] if c == 0 else 0 for r, c in enumerate(plain.first())]
        assert (table.points(scorer) * weight).tolist() == points
    keys = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    for salt in (None, 12345):
        for k in (1, 5, size):
            best, tied, is_even = table.top(k, np.array(keys, np.uint64), salt)
            assert (best, tied) == plain.top(k, keys, salt)
            assert is_even == (k > 1 and tied > 1 and keys[best[0][0]] == keys[best[1][0]])


@pytest.mark.slow
@settings(max_examples=100)
@given(
    rng=numbers,
    size=st.sampled_from([3, 64, 200]),
    k=st.integers(1, 9),
    salt=st.none() | st.integers(0, (1 << 64) - 1),
)
def test_the_best_rows_are_those_of_a_full_sort(
    rng: np.random.Generator, size: int, k: int, salt: int | None
) -> None:
    both = Both(size)
    for step in ("live", "codes", "points", "raw"):
        both.set(step, None, rng)
    both.settle(None)
    keys = rng.integers(0, 1 << 63, size, dtype=np.uint64) * 2
    best, tied, _ = both.table.top(k, keys, salt)
    assert (best, tied) == both.plain.top(k, keys.tolist(), salt)


def test_tables_that_share_answers_each_see_what_changed() -> None:
    raw, codes = RawPoints(3), Codes(3)
    tables = [Table(3, [codes], [(weight, 100, raw, False)], *NO_BOOKS) for weight in (1, 2)]
    for table in tables:
        assert table.settle(None) is None
    raw.set(np.array([1]), np.array([7]))
    codes.set(np.array([2]), np.array([5], np.int16), LIMIT)
    for weight, table in enumerate(tables, 1):
        assert table.totals().tolist() == [0, 0, 0], "nothing is seen before it is asked"
        assert table.settle(np.array([1, 2])) is None
        assert table.totals().tolist() == [0, 7 * weight, -1]


def test_kernels_inside_a_table_answer_as_outside_and_ask_for_unknown_codes() -> None:
    rng = np.random.default_rng(3)
    capacity, used = rng.integers(1, 9, (2, 50)), rng.integers(0, 9, (2, 50))
    books = (capacity, used, used)
    room, even = Kernel.lacking([(0, 2), (1, 3)]), Kernel.balance([(0, 2), (1, 3)])
    table = Table(50, [Codes(50), room], [(1, 100, even, False)], *books)
    rows = np.arange(50)
    taught: dict[int, int] = {}
    while (unknown := table.settle(rows)) is not None:
        index, value = cast("tuple[int, int]", unknown)
        assert index == 1
        assert value not in taught
        assert table.totals().tolist() == [-1] * 50, "nothing is summed before all is known"
        taught[value] = len(taught) + 1
        table.learn_code(1, value, taught[value])
    masks = room.values(*books, None).tolist()
    assert table.first().tolist() == [taught.get(mask, 0) for mask in masks]
    expected = np.where(np.array(masks) == 0, even.values(*books, None), -1)
    assert table.totals().tolist() == expected.tolist()
    assert table.points(0).tolist() == np.maximum(expected, 0).tolist()


def test_points_out_of_range_are_told_where_the_row_fits() -> None:
    codes, plain, raw = Codes(3), RawPoints(3), RawPoints(3)
    codes.set(None, np.array([0, 5, 0], np.int16), LIMIT)
    table = Table(3, [codes], [(1, 10, plain, False), (1, 10, raw, True)], *NO_BOOKS)
    assert table.settle(None) is not None
    assert not table.learn_points(1, np.array([0]), np.array([11]))
    assert table.learn_points(1, np.array([0]), np.array([10]))
    for points, expected in (([10, 99, 0], None), ([10, 0, -1], (0,)), ([11, 0, 0], (0,))):
        plain.set(None, np.array(points))
        assert table.settle(None) == expected


def test_a_table_refuses_rows_and_values_that_do_not_match() -> None:
    codes, raw = Codes(3), RawPoints(3)
    table = Table(3, [codes], [(1, 100, raw, True)], *NO_BOOKS)
    with pytest.raises(ValueError, match="2 values for 3 rows"):
        codes.set(None, np.zeros(2, np.int16), LIMIT)
    with pytest.raises(IndexError, match="not below 3"):
        raw.set(np.array([3]), np.zeros(1, np.int64))
    with pytest.raises(IndexError, match="not below 3"):
        table.settle(np.array([3]))
    with pytest.raises(ValueError, match="fewer keys"):
        table.top(1, np.zeros(2, np.uint64), None)
    with pytest.raises(ValueError, match="1 points for 2 values"):
        table.learn_points(0, np.zeros(2, np.int64), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="more rows than the columns"):
        Table(3, [codes], [], *(np.zeros((1, 2), np.int64) for _ in range(3)))
    with pytest.raises(ValueError, match="highest points"):
        Table(3, [], [(1, (1 << 30) + 1, raw, False)], *NO_BOOKS)
    with pytest.raises(ValueError, match="another size"):
        Table(4, [codes], [], *NO_BOOKS)
    with pytest.raises(ValueError, match="another size"):
        Table(4, [], [(1, 100, raw, False)], *NO_BOOKS)


@pytest.mark.parametrize("code", [-1, LIMIT])
def test_codes_that_nobody_knows_are_not_stored(code: int) -> None:
    codes = Codes(2)
    assert not codes.set(None, np.array([1, code], np.int16), LIMIT)
    table = Table(2, [codes], [], *NO_BOOKS)
    assert table.settle(None) is None
    assert table.first().tolist() == [0, 0]


# ---- the change log ---------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=200)
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


def keystream(key: bytes) -> bytes:
    """2 KiB of ChaCha20 (RFC 8439) under the key, with nonce 0: all blocks at once."""
    words = np.frombuffer(b"expand 32-byte k" + key, "<u4").tolist()
    start = np.array(
        [[word] * 32 for word in words] + [list(range(32))] + [[0] * 32] * 3, np.uint32
    )
    state = start.copy()

    def turn(to: int, add: int, mixed: int, bits: int) -> None:
        state[to] += state[add]
        word = state[mixed] ^ state[to]
        state[mixed] = word << bits | word >> (32 - bits)

    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for a, b, c, d in (columns + diagonals) * 10:
        for to, add, mixed, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            turn(to, add, mixed, bits)
    return bytes((state + start).T.astype("<u4").tobytes())


def lanes(parts: list[bytes]) -> Any:
    total = np.zeros(1024, np.uint16)
    for part in parts:
        total += np.frombuffer(keystream(hashlib.shake_128(part).digest(32)), "<u2")
    return total


def state_of(parts: list[bytes]) -> bytes:
    return bytes(lanes(parts).astype("<u2").tobytes())


@pytest.mark.slow
@settings(max_examples=150)
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
            other.state()
    assert one.state() == other.state() == state_of(parts)


@pytest.mark.slow
@settings(max_examples=150)
@given(parts=elements, gone=elements, data=st.data())
def test_remove_undoes_add_at_any_time(
    parts: list[bytes], gone: list[bytes], data: st.DataObject
) -> None:
    changes = [(True, part) for part in (*parts, *gone)] + [(False, part) for part in gone]
    found = LtHash()
    for is_added, part in data.draw(st.permutations(changes)):
        (found.add if is_added else found.remove)(part)
    assert found.state() == state_of(parts)


def test_the_oracle_is_chacha20() -> None:
    # RFC 8439, appendix A.1, test vector 1.
    assert keystream(bytes(32))[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"


@pytest.mark.parametrize("size", [*range(4), *range(134, 138), *range(166, 171), 335, 336, 337])
def test_elements_of_every_length_around_a_block_are_expanded_right(size: int) -> None:
    parts = [bytes([number]) * size for number in range(5)]
    found = LtHash()
    for part in parts:
        found.add(part)
    assert found.state() == state_of(parts)


@pytest.mark.slow
@settings(max_examples=50)
@given(parts=elements, more=st.binary(max_size=20))
def test_one_element_more_is_seen(parts: list[bytes], more: bytes) -> None:
    found = LtHash()
    for part in parts:
        found.add(part)
    before = found.state()
    found.add(more)
    assert found.state() != before
