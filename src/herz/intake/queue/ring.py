"""The ring: a circular queue whose entries have logical sequence numbers.

Step: queue. Entries are numbered 0, 1, 2, … for the ring's whole life; a number is never given
twice. The entry with logical number L lies at the physical index `physical_index(L, capacity)`
of a buffer whose length is a power of two. Growth keeps every number. An entry taken out of the
middle leaves a hole; holes are never returned, and `compact` closes them.

A reader gets copies (`since`): what is inserted or removed while it reads does not disturb it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

CAPACITY_MIN: Final = 8

# A ring with fewer holes than this is not worth a compaction.
HOLES_MIN: Final = 32


def physical_index(logical: int, capacity: int) -> int:
    """The buffer index of a logical number; `capacity` is a power of two."""
    return logical & (capacity - 1)


def logical_number(physical: int, head: int, capacity: int) -> int:
    """The logical number at a buffer index, for the window that begins at `head`.

    The inverse of `physical_index` for the numbers head to head + capacity - 1.
    """
    return head + ((physical - head) & (capacity - 1))


class Ring(Generic[T]):
    """A first-in, first-out queue with stable numbers.

    Attributes:
        head: the logical number of the oldest entry; `tail` when the ring is empty.
        tail: the number that the next appended entry gets.
        holes: entries between head and tail that were taken out.

    Invariant: 0 <= tail - head <= capacity, and the entry at head is never a hole.
    Bound: the owner's; the ring itself grows by doubling.
    """

    __slots__ = ("_buffer", "_mask", "head", "holes", "tail")

    def __init__(self, capacity: int = CAPACITY_MIN, *, first: int = 0) -> None:
        """An empty ring.

        Args:
            capacity: the first buffer's length, a power of two.
            first: the logical number of the first entry.
        """
        assert capacity > 0, "a ring has room"
        assert capacity & (capacity - 1) == 0, "capacity is a power of two"
        self._buffer: list[T | None] = [None] * capacity
        # Holds capacity - 1. `append` and `popleft` apply it in place, which is
        # `physical_index` without the call: it is 50 ns of the 3 µs that a pod may cost.
        self._mask = capacity - 1
        self.head = first
        self.tail = first
        self.holes = 0

    def __len__(self) -> int:
        return self.tail - self.head - self.holes

    @property
    def capacity(self) -> int:
        """The buffer's length; a power of two."""
        return self._mask + 1

    def append(self, value: T) -> int:
        """Puts a value at the end and returns its logical number. Cost: O(1) amortised."""
        tail = self.tail
        if tail - self.head > self._mask:
            self._grow()
        self._buffer[tail & self._mask] = value
        self.tail = tail + 1
        return tail

    def popleft(self) -> T:
        """Takes the oldest entry out.

        Raises:
            IndexError: the ring is empty; it is unchanged.
        """
        head = self.head
        if head == self.tail:
            raise IndexError("the ring is empty")
        index = head & self._mask
        value = self._buffer[index]
        assert value is not None, "the head is never a hole"
        self._buffer[index] = None
        self.head = head + 1
        if self.holes:
            self._skip_holes()
        return value

    def get(self, logical: int) -> T | None:
        """The entry with this number; None when it left or has not come."""
        if not self.head <= logical < self.tail:
            return None
        return self._buffer[physical_index(logical, self.capacity)]

    def remove(self, logical: int) -> T:
        """Takes one entry out of any place; the others keep their numbers and their order.

        Raises:
            KeyError: no entry has this number; the ring is unchanged.
        """
        value = self.get(logical)
        if value is None:
            raise KeyError(logical)
        self._buffer[physical_index(logical, self.capacity)] = None
        self.holes += 1
        if logical == self.head:
            self._skip_holes()
        return value

    def insert(self, logical: int, value: T) -> None:
        """Puts a value before the entry with this number (at the end for `tail`).

        The entries from there on move up by one number, in the same order. Cost: O(tail -
        logical); for rare use (a pod whose priority changed).
        """
        assert self.head <= logical <= self.tail, "insert inside the ring"
        if self.tail - self.head > self._mask:
            self._grow()
        buffer, capacity = self._buffer, self.capacity
        for number in range(self.tail, logical, -1):  # Bound: the entries behind the place
            below = buffer[physical_index(number - 1, capacity)]
            buffer[physical_index(number, capacity)] = below
        buffer[physical_index(logical, capacity)] = value
        self.tail += 1

    def since(self, sequence: int, limit: int | None = None) -> tuple[list[T], list[T]]:
        """The entries numbered `sequence` and above, oldest first, as two segments.

        The segments are the at most two contiguous runs of the buffer, copied, without the
        holes; the second is empty when the run does not cross the buffer's end.

        Args:
            sequence: the first number wanted; one below head means head.
            limit: how many numbers (holes included) are read at most; None for all.
        """
        start = max(sequence, self.head)
        stop = self.tail if limit is None else min(self.tail, start + limit)
        if start >= stop:
            return [], []
        low = physical_index(start, self.capacity)
        length = stop - start
        first = self._buffer[low : low + length]
        second = self._buffer[: length - len(first)]
        return _filled(first), _filled(second)

    def __iter__(self) -> Iterator[T]:
        """The entries as they are now, oldest first; later changes do not show."""
        first, second = self.since(self.head)
        yield from first
        yield from second

    def clear(self) -> None:
        """Forgets every entry; the numbers go on from where they were."""
        self._buffer = [None] * CAPACITY_MIN
        self._mask = CAPACITY_MIN - 1
        self.head = self.tail
        self.holes = 0

    @property
    def is_sparse(self) -> bool:
        """Whether holes outnumber the entries, so that `compact` is worth its cost."""
        return self.holes > HOLES_MIN and self.holes > len(self)

    def compact(self) -> None:
        """Closes the holes: the entries move up to the tail, in order, with new numbers.

        The tail stays, so that no number is given twice. Cost: O(tail - head); amortised O(1)
        a removal where it is called when `is_sparse`.
        """
        values = list(self)
        self.head = self.tail - len(values)
        self.holes = 0
        capacity = CAPACITY_MIN
        while capacity < len(values) + 1:  # Bound: 64 doublings
            capacity *= 2
        self._lay(values, capacity)

    def _grow(self) -> None:
        """Doubles the buffer; every entry (and hole) keeps its number."""
        low = physical_index(self.head, self.capacity)
        entries = self._buffer[low:] + self._buffer[:low]
        self._lay(entries[: self.tail - self.head], self.capacity * 2)

    def _lay(self, entries: list[T | None] | list[T], capacity: int) -> None:
        """Makes a new buffer with the entries numbered from head on."""
        buffer: list[T | None] = [None] * capacity
        low = physical_index(self.head, capacity)
        room = capacity - low
        buffer[low : low + len(entries)] = entries[:room]
        buffer[: max(0, len(entries) - room)] = entries[room:]
        assert len(buffer) == capacity
        self._buffer = buffer
        self._mask = capacity - 1

    def _skip_holes(self) -> None:
        """Moves head to the oldest entry. Bound: the holes, each skipped once."""
        while self.head < self.tail and self._buffer[self.head & self._mask] is None:
            self.head += 1
            self.holes -= 1
        assert self.holes >= 0


def _filled(segment: list[T | None]) -> list[T]:
    """The segment without its holes, in order."""
    return [value for value in segment if value is not None]
