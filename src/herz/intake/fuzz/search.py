"""Looks for broken laws: many pools, and many single values against one that is sound."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from herz.intake.fuzz.asking import Asked, OutOfTime, Refuted
from herz.intake.fuzz.domains import Domain
from herz.intake.fuzz.laws import Pool, Reference
from herz.intake.fuzz.source import Source

SIZES: Final = (2, 3, 5, 8, 13, 24, 40)
PROBES: Final = 300
"""Values that are held against each reference of REFERENCE values."""
REFERENCE: Final = 10


class Watch(Protocol):
    """Looks at the values of a pool."""

    def before(self, values: list[Any]) -> None:
        """The comparator has not seen them yet."""
        ...

    def after(self, values: list[Any]) -> None:
        """It has, or it failed on the way. May raise Refuted."""
        ...


@dataclass(slots=True)
class Searched:
    """How much was tried."""

    pools: int = 0
    values: int = 0


def search(
    less: Asked,
    domain: Domain,
    source: Source,
    is_time: Callable[[], bool],
    *,
    pools_max: int = 1 << 30,
    watch: Watch | None = None,
) -> Searched:
    """Try pools until the bound or the end of the time.

    Args:
        less: the comparator.
        domain: what its arguments may be.
        source: of values.
        is_time: whether there is time left.
        pools_max: bound on the pools.
        watch: told of each pool's values before the comparator sees them, and after.

    Raises:
        Refuted: a fault was seen.
    """
    done = Searched()
    with contextlib.suppress(OutOfTime):
        _search(done, less, domain, source, is_time, pools_max, watch)
    return done


def _search(
    done: Searched,
    less: Asked,
    domain: Domain,
    source: Source,
    is_time: Callable[[], bool],
    pools_max: int,
    watch: Watch | None,
) -> None:
    while done.pools < pools_max and is_time():
        source.begin()
        size = SIZES[done.pools % len(SIZES)] if done.pools % 16 else 48
        values = [domain.draw(source, ()) for _ in range(size)]
        if watch is not None:
            watch.before(values)
        try:
            Pool(values, less).check()
        except Refuted:
            # Changed arguments explain whatever else was seen: they go first. But that there is no
            # time to look for them does not.
            if watch is not None:
                with contextlib.suppress(OutOfTime):
                    watch.after(values)
            raise
        if watch is not None:
            watch.after(values)
        done.pools += 1
        done.values += size
        if done.pools % 24 == 0:
            reference = Reference(values[:REFERENCE], less)
            for number in range(PROBES):
                if number % 8 == 0:
                    source.begin()
                reference.probe(domain.draw(source, ()))
            done.values += PROBES
