"""Asks again what was asked before: under other clocks, chances and identities, in other orders."""

from __future__ import annotations

import gc
import os
import pickle
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from herz.front.fuzz import shims
from herz.front.fuzz.facts import Fact
from herz.front.fuzz.shims import setting
from herz.intake.fuzz import Asked, Finding, Flaw, Refuted

SECOND: Final = 1_000_000_000
CALLS_MAX: Final = 240_000
LEAK_CALLS: Final = 3_000
NOON: Final = 1_767_268_800 * SECOND
"""2026-01-01 12:00 UTC, a Thursday."""
TIMES: Final = (
    *(NOON + step * SECOND for step in (0, 1, 2, 3, 5, 7, 30, 59, 60, 600, 1800, 3600)),
    *(NOON + hour * 3600 * SECOND for hour in range(2, 25)),
    *(NOON + day * 86_400 * SECOND for day in (1, 2, 3, 4, 5, 6, 10, 20, 31, 59, 90, 180, 365)),
    *(NOON + step for step in (1, 1_000, 1_000_000, 250_000_000, 500_000_000, 999_999_999)),
    *(0, SECOND, 978_307_200 * SECOND, 1_456_704_000 * SECOND, 2_147_483_648 * SECOND),
    *(4_102_444_800 * SECOND, NOON - 365 * 86_400 * SECOND),
)
CHANCES: Final[tuple[int | str, ...]] = ("low", "high", 1, 2, 3)


@contextmanager
def set_to(given: dict[str, Any]) -> Iterator[None]:
    """Put a setting in force, by the names that findings use."""
    environment: dict[str, str | None] = {}
    try:
        setting.time_ns = given.get("time_ns")
        setting.tick_ns = int(given.get("tick_ns", 0))
        setting.id_mask = int(given.get("id_mask", 0))
        setting.pid = int(given.get("pid", 0))
        chance = given.get("chance")
        setting.chance = chance if isinstance(chance, str) else None
        if isinstance(chance, int):
            shims.seed_chance(chance)
        for key, value in given.get("environment", {}).items():
            environment[key] = os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
        yield
    finally:
        setting.clear()
        for key, old in environment.items():
            os.environ.pop(key, None)
            if old is not None:
                os.environ[key] = old


class Perturbing:
    """Repeats facts.

    Args:
        less: the comparator.
        facts: what it said.
        is_time: whether there is time left.
        tell: told which part is under way.
    """

    def __init__(
        self,
        less: Asked,
        facts: list[Fact],
        is_time: Callable[[], bool],
    ) -> None:
        self._less = less
        self._facts = facts
        self._is_time = is_time

    def all(self) -> None:
        """Everything in turn.

        Raises:
            Refuted: an answer was another one.
        """
        self.same()
        self.identities()
        self.clocks()
        self.chances()
        self.environment()
        self.memory()
        self.calls()

    def same(self) -> None:
        """The same pairs, in the same and in reverse order."""
        for fact in self._facts:
            values = fact.live
            for one, two, said in [*fact.pairs(), *reversed(list(fact.pairs()))]:
                self._compare(Flaw.STATE, (values[one], values[two]), said, {})

    def identities(self) -> None:
        """Copies of each other's values, and identities turned over."""
        for fact in self._facts:
            if not self._is_time():
                return
            for one, two, said in fact.pairs():
                pair = (pickle.loads(fact.frozen[one]), pickle.loads(fact.frozen[two]))
                self._compare(Flaw.IDENTITY, pair, said, {"copies": True})
            for mask in (0xFFFFFFFFFFF0, 0x10, 0x7F0):
                self._facts_under(Flaw.IDENTITY, fact, {"id_mask": mask})
        for fact in self._facts[:4]:
            held = [list(fact.live) for _ in range(3)]
            self._facts_under(Flaw.IDENTITY, fact, {"references": len(held)})

    def clocks(self) -> None:
        """Other times of day, other days, other years, and clocks that run."""
        before = setting.looked_at_clock
        for fact in self._facts[:6]:
            for time_ns in TIMES[:4]:
                self._facts_under(Flaw.TIME, fact, {"time_ns": time_ns})
        if setting.looked_at_clock == before:
            return
        for fact in self._facts:
            for time_ns in TIMES:
                self._facts_under(Flaw.TIME, fact, {"time_ns": time_ns})
            for tick_ns in (1, 1_000_000, SECOND, 3600 * SECOND):
                self._facts_under(Flaw.TIME, fact, {"time_ns": NOON, "tick_ns": tick_ns})

    def chances(self) -> None:
        """The ends of chance, and other seeds."""
        before = setting.drew
        for chance in CHANCES:
            for fact in self._facts[: 6 if setting.drew == before else None]:
                self._facts_under(Flaw.CHANCE, fact, {"chance": chance})
        shims.seed_chance(0)

    def environment(self) -> None:
        """Variables that were read, with other values; other process ids."""
        for fact in self._facts[:4]:
            self._facts_under(Flaw.ENVIRONMENT, fact, {"pid": 1})
            self._facts_under(Flaw.ENVIRONMENT, fact, {"pid": 12_345})
        for key in list(setting.env_read)[:20]:
            for value in (None, "", "0", "1", "true", "x"):
                for fact in self._facts[:8]:
                    self._facts_under(Flaw.ENVIRONMENT, fact, {"environment": {key: value}})

    def calls(self) -> None:
        """Very many calls in a random order: what was said before must be said again."""
        dice = random.Random(1)
        asked = [
            (at, one, two, said)
            for at, fact in enumerate(self._facts[:10])
            for one, two, said in fact.pairs()
        ]
        values = {at: fact.thawed() for at, fact in enumerate(self._facts[:10])}
        for _ in range(CALLS_MAX // 1000):
            if not self._is_time() or not asked:
                return
            for at, one, two, said in dice.choices(asked, k=1000):
                if self._less.count % 64 == 0 and not self._is_time():
                    return
                pair = (values[at][one], values[at][two])
                self._compare(Flaw.STATE, pair, said, {"calls": self._less.count})

    def memory(self) -> None:
        """Blocks of memory that calls leave behind, though their arguments are the same."""
        if not self._facts:
            return
        fact = self._facts[-1]
        values = fact.thawed()
        pairs = list(fact.pairs())[:40]
        grown = []
        for _ in range(5):
            gc.collect()
            before = sys.getallocatedblocks()
            for at in range(LEAK_CALLS):
                if at % 64 == 0 and not self._is_time():
                    return
                one, two, _said = pairs[at % len(pairs)]
                self._less(values[one], values[two])
            gc.collect()
            grown.append(sys.getallocatedblocks() - before)
        if min(grown[1:]) > LEAK_CALLS // 4:
            said = f"{LEAK_CALLS} calls with the same arguments leave {grown[-1]} blocks of memory"
            raise Refuted(Finding(Flaw.MEMORY, (values[0], values[1]), (said,)))

    def _facts_under(self, flaw: Flaw, fact: Fact, given: dict[str, Any]) -> None:
        if not self._is_time():
            return
        values = fact.live
        with set_to(given):
            for one, two, said in fact.pairs():
                self._compare(flaw, (values[one], values[two]), said, given)

    def _compare(
        self, flaw: Flaw, pair: tuple[Any, Any], said: bool, given: dict[str, Any]
    ) -> None:
        answer = self._less(*pair)
        if answer is not said:
            words = (f"less(a, b) is {said}", f"and {answer} {described(given)}")
            raise Refuted(Finding(flaw, pair, words, given))


def described(given: dict[str, Any]) -> str:
    """A setting in words."""
    words = {
        "time_ns": "when the clock shows {} ns",
        "tick_ns": "and moves by {} ns at each look",
        "chance": "when chance is {}",
        "id_mask": "when identities are turned over with {:#x}",
        "copies": "for equal arguments that are other objects",
        "references": "when {} more references are held",
        "environment": "when the environment has {}",
        "pid": "when the process id is {} more",
        "calls": "after {} calls",
        "between": "when {} is asked by another thread meanwhile",
        "length": "in a sort of {} values",
    }
    told = [words[name].format(value) for name, value in given.items() if name in words]
    return " ".join(told) or "when it is asked again"
