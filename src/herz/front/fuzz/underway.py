"""A sort whose values another thread changes while it is under way; what happens is no fault.

As `threads`, a comparison is held at one of its instructions; here the second thread does not
compare, it changes what the comparison has in its hands: a list, a set, a dictionary within it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from functools import cmp_to_key
from typing import Any, Final

from herz.front.fuzz.facts import copied
from herz.front.fuzz.threads import held_at
from herz.intake.fuzz import Asked, Domain, OutOfTime, Refuted, Source

VALUES: Final = 24
"""Of a sort."""
HELD_AT: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""The instructions of a comparison."""
WALK_MAX: Final = 2_000
"""Bound: what is looked through for something that can be changed."""
WHEN: Final = "by another thread during a sort"


def changed_under_way(
    less: Asked, domain: Domain, source: Source, file: str, is_time: Callable[[], bool]
) -> list[dict[str, str]]:
    """What sorts did whose values were changed; nothing where the values cannot be changed.

    Args:
        less: the comparator.
        domain: of the values.
        source: of the values.
        file: the comparator's; its instructions are counted.
        is_time: whether there is time left.
    """
    notes: dict[str, dict[str, str]] = {}
    for number in HELD_AT:
        for name, change in CHANGES.items():
            if not is_time():
                return list(notes.values())
            source.begin()
            values = [copied(domain.draw(source, ())) for _ in range(VALUES)]
            sorting = _Sort(less, values, file, number, change)
            told = sorting.run()
            if sorting.is_changed and told:
                value = f"{name} {WHEN}"
                notes.setdefault(f"{value} {told[0]}", _note(value, *told))
    return list(notes.values())


class _Sort:
    """One sort; the first comparison of values that can be changed is held, and one is.

    Attributes:
        is_changed: whether something was.
    """

    def __init__(
        self, less: Asked, values: list[Any], file: str, number: int, change: Change
    ) -> None:
        self._less = less
        self._values = values
        self._file = file
        self._number = number
        self._change = change
        self.is_changed = False

    def run(self) -> tuple[str, str] | None:
        """The flaw and what is said of it; None where the sort ends in order."""
        try:
            result = sorted(self._values, key=cmp_to_key(self._compare))
        except Refuted as refuted:
            found = refuted.finding
            return found.flaw.value, found.says[0]
        for one, two in itertools.pairwise(result):
            try:
                if self._less(two, one):
                    return "ends out of order", "the sort ends, and its result is not in order"
            except Refuted as refuted:
                found = refuted.finding
                return found.flaw.value, f"after the sort, {found.says[0]}"
        return None

    def _compare(self, one: Any, two: Any) -> int:
        if self.is_changed:
            return -1 if self._less(one, two) else 0
        answer, _ = held_at(
            self._less, (one, two), self._number, lambda: self._meddle(one, two), self._file
        )
        if isinstance(answer, Refuted | OutOfTime):
            raise answer
        return -1 if answer is True else 0

    def _meddle(self, one: Any, two: Any) -> None:
        """In another thread, as another part of a program would."""
        found = [part for value in (one, two) for part in mutable_parts(value)]

        def meddle() -> None:
            for part in found:
                self.is_changed = self._change(part) or self.is_changed

        thread = threading.Thread(target=meddle)
        thread.start()
        thread.join()


Change = Callable[[Any], bool]


def _emptied(part: Any) -> bool:
    if not part:
        return False
    part.clear()
    return True


def _grown(part: Any) -> bool:
    """One item more, of the kind that is there."""
    if not part:
        return False
    if isinstance(part, dict):
        part[_unlike(next(iter(part)), part)] = next(iter(part.values()))
    elif isinstance(part, set):
        part.add(_unlike(next(iter(part)), part))
    else:
        part.append(part[0])
    return True


def _unlike(item: Any, known: Any) -> Any:
    """A key of the same type that is not known; the same where there is no such thing."""
    if isinstance(item, str):
        return item + "x" * (1 + max(map(len, known)))
    if isinstance(item, int):
        return max(known) + 1
    return item


CHANGES: Final[dict[str, Change]] = {"values emptied": _emptied, "values grown": _grown}


def mutable_parts(value: Any) -> Iterator[Any]:
    """The lists, sets, dictionaries and byte arrays in a value, itself included."""
    waiting, seen = [value], 0
    while waiting and seen < WALK_MAX:
        part = waiting.pop()
        seen += 1
        if isinstance(part, list | set | dict | bytearray):
            yield part
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            waiting += part
        else:
            kind = type(part)
            names = getattr(kind, "__struct_fields__", getattr(kind, "__dataclass_fields__", ()))
            waiting += [getattr(part, name) for name in names]


def _note(value: str, flaw: str, says: str) -> dict[str, str]:
    return {"value": value, "flaw": flaw, "says": says[:200]}
