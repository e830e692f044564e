"""The laws of a strict weak order, over a pool of values that are all compared with each other.

A relation of n values is n rows of n bits. It is a strict weak order exactly when each value has
before it all values of the classes below and nothing else, where the class follows from how many
it is before: that takes O(n). Only where it is not so are the two or three culprits looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from herz.intake.fuzz.asking import Asked, Form, Refuted
from herz.intake.fuzz.domains import Domain
from herz.intake.fuzz.finding import LAWS, Finding, Flaw

SHRINK_MAX: Final = 3_000
"""Bound: simpler counter-examples that are tried."""


class Pool:
    """Values, and what the comparator says of all pairs of them.

    Args:
        values: at least one.
        less: asked for each ordered pair, n² times.

    Raises:
        Refuted: by an exception or by an answer of a wrong type.
    """

    def __init__(self, values: Sequence[Any], less: Asked) -> None:
        self.values = values
        self._less = less
        self.rows = [
            sum(1 << at for at, other in enumerate(values) if less(one, other)) for one in values
        ]

    def check(self) -> None:
        """Raise for the first law that is broken.

        Raises:
            Refuted: with the values that show it, as few as there are.
        """
        if self._is_weak_order():
            self._check_mirror()
            return
        broken = next(self._broken(), None)
        assert broken is not None, "what is no strict weak order breaks one of its laws"
        raise Refuted(broken)

    def _is_weak_order(self) -> bool:
        counts = [row.bit_count() for row in self.rows]
        after: dict[int, int] = {}
        seen = 0
        by_count = sorted(range(len(counts)), key=counts.__getitem__)
        at = 0
        while at < len(by_count):
            count = counts[by_count[at]]
            after[count] = seen
            while at < len(by_count) and counts[by_count[at]] == count:
                seen |= 1 << by_count[at]
                at += 1
        return all(row == after[count] for row, count in zip(self.rows, counts, strict=True))

    def _broken(self) -> Iterator[Finding]:
        """The broken laws, the simplest law first."""
        rows, values = self.rows, self.values
        for at, row in enumerate(rows):
            if row >> at & 1:
                yield _found(Flaw.IRREFLEXIVE, values[at])
        for one, row in enumerate(rows):
            for two in _bits(row):
                if rows[two] >> one & 1:
                    yield _found(Flaw.ASYMMETRIC, values[one], values[two])
        for one, row in enumerate(rows):
            for two in _bits(row):
                for three in _bits(rows[two] & ~row):
                    yield _found(Flaw.TRANSITIVE, values[one], values[two], values[three])
        every = (1 << len(rows)) - 1
        before = [
            sum(1 << at for at, row in enumerate(rows) if row >> one & 1)
            for one in range(len(rows))
        ]
        equal = [every & ~row & ~before[at] for at, row in enumerate(rows)]
        for one in range(len(rows)):
            for two in _bits(equal[one]):
                for three in _bits(equal[two] & ~equal[one]):
                    first, last = (one, three) if rows[one] >> three & 1 else (three, one)
                    yield _found(Flaw.INCOMPARABLE, values[first], values[two], values[last])

    def _check_mirror(self) -> None:
        """A three-way comparator also says what is after: that must be the mirror of before."""
        if self._less.form is not Form.THREE_WAY:
            return
        for one, row in enumerate(self.rows):
            for two, other in enumerate(self.values):
                said = self._less.sign(self.values[one], other)
                wanted = -1 if row >> two & 1 else int(bool(self.rows[two] >> one & 1))
                if said != wanted:
                    raise Refuted(_found(Flaw.ASYMMETRIC, self.values[one], other))


def _bits(row: int) -> Iterator[int]:
    while row:
        low = row & -row
        yield low.bit_length() - 1
        row ^= low


def _found(flaw: Flaw, *values: Any) -> Finding:
    names = "abc"
    said = {
        Flaw.IRREFLEXIVE: ("less(a, a) is True",),
        Flaw.ASYMMETRIC: ("less(a, b) is True", "less(b, a) is True"),
        Flaw.TRANSITIVE: ("less(a, b) is True", "less(b, c) is True", "less(a, c) is False"),
        Flaw.INCOMPARABLE: (
            "a and b are equals: less(a, b) and less(b, a) are False",
            "b and c are equals: less(b, c) and less(c, b) are False",
            "but less(a, c) is True",
        ),
    }[flaw]
    assert len(values) <= len(names), "a law speaks of at most three"
    return Finding(flaw, values, said)


class Reference:
    """A few values in order, with which many others are compared, each alone.

    Args:
        values: of which the comparator keeps the laws.
    """

    def __init__(self, values: Sequence[Any], less: Asked) -> None:
        pool = Pool(values, less)
        pool.check()
        order = sorted(range(len(values)), key=lambda at: -pool.rows[at].bit_count())
        self._less = less
        self._values = [values[at] for at in order]
        self._classes = [pool.rows[at].bit_count() for at in order]

    def probe(self, value: Any) -> None:
        """Compare the value with itself and with each of the reference.

        Raises:
            Refuted: what is said of it breaks a law.

        Cost: 2·n + 1 calls.
        """
        less = self._less
        if less(value, value):
            raise Refuted(_found(Flaw.IRREFLEXIVE, value))
        last, equal_class = -1, None
        for known, number in zip(self._values, self._classes, strict=True):
            before, after = less(known, value), less(value, known)
            relation = 1 if after else 0
            if before:
                relation = -1
            is_split = relation == 0 and equal_class is not None and equal_class != number
            if (before and after) or relation < last or is_split:
                Pool([value, *self._values], less).check()
                return
            # Equals of one class are all equal to it, or none is.
            last = relation
            if relation == 0:
                equal_class = number


Shows = Callable[[Sequence[Any]], Finding | None]
"""Whether values show the fault; the finding if they do."""


def shows_law(flaw: Flaw, less: Asked) -> Shows:
    """Whether so few values break a law, or show an exception or a wrong answer."""

    def shows(values: Sequence[Any]) -> Finding | None:
        try:
            Pool(values, less).check()
        except Refuted as refuted:
            found = refuted.finding
            return found if found.flaw is flaw or {found.flaw, flaw} <= set(LAWS) else None
        return None

    return shows


def smallest(
    finding: Finding, shows: Shows, domain: Domain, is_time: Callable[[], bool]
) -> Finding:
    """The finding with fewer and simpler values, as far as they are found in bounds.

    Args:
        finding: with the values to begin with.
        shows: tells whether other values show it as well.
        domain: names simpler values.
        is_time: whether there is time left.
    """
    best = finding
    tried = 0
    is_better = True
    while is_better and tried < SHRINK_MAX and is_time():
        is_better = False
        for candidate in _simpler(best.arguments, domain):
            tried += 1
            if tried >= SHRINK_MAX or not is_time():
                break
            found = shows(candidate)
            if found is not None and _is_progress(found, best, candidate):
                best, is_better = found, True
                break
    return best


def _is_progress(found: Finding, best: Finding, candidate: Sequence[Any]) -> bool:
    """Whether the law is no more complicated, and the values are no more."""
    rank = [*LAWS, *(flaw for flaw in Flaw if flaw not in LAWS)]
    if rank.index(found.flaw) > rank.index(best.flaw):
        return False
    return len(found.arguments) <= max(len(best.arguments), len(candidate))


def _simpler(values: tuple[Any, ...], domain: Domain) -> Iterator[tuple[Any, ...]]:
    """Fewer values, the same change in all, or one that is simpler."""
    for at in range(len(values) if len(values) > 1 else 0):
        yield (*values[:at], *values[at + 1 :])
    if all(type(value) is int for value in values) and len(values) > 1:
        low = min(values, key=abs)
        for shift in (low, low // 2):
            if shift:
                yield tuple(value - shift for value in values)
    for at, value in enumerate(values):
        for simple in domain.simpler(value):
            yield (*values[:at], simple, *values[at + 1 :])
