"""Long arguments and long sorts: none, one, two, powers of two and their neighbours, a million."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cmp_to_key
from typing import Any, Final

from herz.front.fuzz.facts import copied
from herz.intake.fuzz import Asked, Domain, Finding, Flaw, Pool, Refuted, Source
from herz.intake.fuzz.domains import Bytes, Either, Many, Record, Text

LONG: Final = (33, 100, 257, 1_000, 1_001, 4_097, 20_000, 65_537)
SOON: Final = (33, 100, 257, 1_000, 20_000, 1_000_000)
"""Far enough apart that what is quadratic hangs at one of them, and is quick at the one before."""
SORTS: Final = (
    *(0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129),
    *(255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 4096, 16_385),
)
MILLION: Final = 1_000_000
ASKED_AGAIN: Final = 400


def long_values(domain: Domain, size: int, source: Source) -> Iterator[Any]:
    """Values with so many items or characters in one of their places; none where none is long."""
    if isinstance(domain, Text):
        yield from ("a" * size, "a" * (size - 1) + "b", "ab" * (size // 2), "1" * size)
    elif isinstance(domain, Bytes):
        yield from (b"a" * size, b"a" * (size - 1) + b"b")
    elif isinstance(domain, Many):
        source.begin()
        items = [domain.of.draw(source, ("*",)) for _ in range(min(size, 50))]
        more = (items * (size // len(items) + 1))[:size]
        yield from (domain.make(more), domain.make(more[:-1]), domain.make(more[::-1]))
        yield domain.make([items[0]] * size)
    elif isinstance(domain, Either):
        for _, part in domain.parts:
            yield from long_values(part, size, source)
    elif isinstance(domain, Record):
        source.begin()
        plain = [part.draw(source, (at,)) for at, part in enumerate(domain.parts)]
        for at, part in enumerate(domain.parts):
            for value in long_values(part, size, source):
                yield domain.make([*plain[:at], value, *plain[at + 1 :]])


def one_of_each_length(less: Asked, domain: Domain, source: Source) -> None:
    """One call a length: what is quadratic or recursive shows at once.

    Raises:
        Refuted: it raised or hung.
    """
    for size in SOON:
        _long(less, list(long_values(domain, size, source))[:1], size)


def long_arguments(
    less: Asked, domain: Domain, source: Source, is_time: Callable[[], bool]
) -> None:
    """Compare long values with each other.

    Raises:
        Refuted: one raised, hung, or broke a law.
    """
    for size in LONG:
        if not is_time():
            return
        _long(less, list(long_values(domain, size, source))[: 8 if size < 1_000 else 3], size)


def _long(less: Asked, values: list[Any], size: int) -> None:
    """Compare with each other, and with equal copies; tells the size when something is found."""
    try:
        for value in values:
            less(value, copied(value))
        if len(values) > 1:
            Pool(values, less).check()
    except Refuted as refuted:
        found = refuted.finding
        says = (*found.says, f"for arguments of {size} items or characters")
        raise Refuted(Finding(found.flaw, found.arguments, says, {"size": size})) from None


def orders(values: list[Any], source: Source) -> Iterator[tuple[str, list[Any]]]:
    """Orders that have misled sorts before; the values come sorted."""
    yield "sorted", values
    yield "reversed", values[::-1]
    yield "organ pipe", values[::2] + values[1::2][::-1]
    yield "all alike", values[:1] * len(values)
    yield "saw", [values[at * 7 % len(values)] for at in range(len(values))]
    shuffled = list(values)
    for at in range(len(shuffled) - 1, 0, -1):
        to = source.dice.randrange(at + 1)
        shuffled[at], shuffled[to] = shuffled[to], shuffled[at]
    yield "shuffled", shuffled


def long_sorts(less: Asked, domain: Domain, source: Source, is_time: Callable[[], bool]) -> int:
    """Sort in many lengths and orders; gives the length of the longest sort.

    Raises:
        Refuted: an answer changed while a sort was under way, or its result contradicts it.
    """
    longest = 0
    source.begin()
    drawn = [domain.draw(source, ()) for _ in range(64)]
    for size in SORTS:
        if not is_time():
            return longest
        values = (drawn * (size // 64 + 1))[:size]
        if size:
            values.sort(key=cmp_to_key(lambda one, two: -1 if less(one, two) else 0))
        for _, order in orders(values, source) if size else [("empty", [])]:
            if is_time():
                _sort(less, order)
                longest = max(longest, size)
    return longest


def million(less: Asked, domain: Domain, source: Source) -> None:
    """A sort of a million that begins sorted: as many calls."""
    few = [domain.draw(source, ()) for _ in range(4)]
    Pool(few, less).check()
    few.sort(key=cmp_to_key(lambda one, two: -1 if less(one, two) else 0))
    _sort(less, [few[at * 4 // MILLION] for at in range(MILLION)])


def _sort(less: Asked, order: list[Any]) -> None:
    """Sort once, with what was said of each pair kept, and ask some again afterwards."""
    asked: list[tuple[Any, Any, bool]] = []
    step = max(1, len(order) * len(order).bit_length() // ASKED_AGAIN)
    count = 0

    def compare(one: Any, two: Any) -> int:
        nonlocal count
        answer = less(one, two)
        count += 1
        if count % step == 0 and len(asked) < 2 * ASKED_AGAIN:
            asked.append((one, two, answer))
        return -1 if answer else 0

    result = sorted(order, key=cmp_to_key(compare))
    for one, two, said in asked:
        answer = less(one, two)
        if answer is not said:
            words = (
                f"less(a, b) is {said} during a sort of {len(order)} values",
                f"and {answer} after it",
            )
            raise Refuted(Finding(Flaw.SORT, (one, two), words, {"length": len(order)}))
    stride = max(1, len(result) // 200)
    for at in range(0, len(result) - 1, stride):
        if less(result[at + 1], result[at]):
            low, high = max(0, at - 12), at + 12
            Pool(result[low:high], less).check()
            words = (f"a sort of {len(order)} values puts b before a", "less(a, b) is True")
            raise Refuted(Finding(Flaw.TRANSITIVE, (result[at + 1], result[at]), words))
