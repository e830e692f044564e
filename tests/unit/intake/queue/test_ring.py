"""The ring: numbers that stay, whatever comes and goes."""

from __future__ import annotations

import pytest

from herz.intake.queue.ring import HOLES_MIN, Ring, logical_number, physical_index


def filled(count: int, capacity: int = 8, first: int = 0) -> Ring[int]:
    ring: Ring[int] = Ring(capacity, first=first)
    for number in range(first, first + count):
        assert ring.append(number) == number
    return ring


def test_physical_index_and_logical_number_are_inverse() -> None:
    for capacity in (1, 2, 8, 64):
        for head in (0, 1, 7, 63, 64, 12345):
            for logical in range(head, head + capacity):
                physical = physical_index(logical, capacity)
                assert 0 <= physical < capacity
                assert logical_number(physical, head, capacity) == logical


def test_ring_gives_no_number_twice_after_clear_and_compact() -> None:
    ring = filled(5)
    ring.clear()
    assert ring.append(5) == 5
    for number in range(6, 100):
        ring.append(number)
    for number in range(6, 90):
        ring.remove(number)
    assert ring.is_sparse
    ring.compact()
    assert ring.append(100) == 100
    assert list(ring) == [5, *range(90, 101)]
    assert ring.head == 101 - len(ring)
    assert ring.capacity == 16


def test_ring_keeps_the_numbers_of_others_when_one_is_removed() -> None:
    ring = filled(6, first=30)
    assert ring.remove(32) == 32
    assert [ring.get(number) for number in range(29, 37)] == [
        None, 30, 31, None, 33, 34, 35, None,
    ]  # fmt: skip
    assert ring.remove(30) == 30
    assert ring.head == 31
    assert ring.remove(31) == 31
    assert ring.head == 33  # the hole at 32 is passed as well
    assert len(ring) == 3
    assert ring.holes == 0
    with pytest.raises(KeyError):
        ring.remove(32)


def test_ring_does_not_reuse_the_number_of_a_removed_last_entry() -> None:
    ring = filled(3)
    ring.remove(2)
    assert ring.append(3) == 3
    assert ring.since(2) == ([3], [])


def test_ring_inserts_before_a_number_and_moves_the_later_ones_up() -> None:
    ring = filled(8)
    ring.insert(3, 99)
    assert list(ring) == [0, 1, 2, 99, 3, 4, 5, 6, 7]
    assert ring.get(4) == 3
    ring.insert(ring.tail, 100)
    ring.insert(ring.head, -1)
    assert list(ring) == [-1, 0, 1, 2, 99, 3, 4, 5, 6, 7, 100]


def test_ring_reads_a_limited_number_of_entries() -> None:
    ring = filled(8)
    for _ in range(6):
        ring.popleft()
    for number in range(8, 12):
        ring.append(number)
    assert ring.since(0, 3) == ([6, 7], [8])
    assert ring.since(7, 1) == ([7], [])
    assert ring.since(7, 0) == ([], [])


def test_ring_is_sparse_only_when_it_is_worth_it() -> None:
    ring = filled(2 * HOLES_MIN + 4)
    for number in range(1, HOLES_MIN + 1):
        ring.remove(number)
    assert not ring.is_sparse
    for number in range(HOLES_MIN + 1, 2 * HOLES_MIN):
        ring.remove(number)
    assert ring.is_sparse
