"""Where values come from: dice, constants of the code, and what has broken comparators before.

A *pool* is a handful of values that are compared with each other. For each place in a value (the
second item of a tuple, the priority of a pod) a pool chooses how its leaves are drawn: a few that
repeat, near each other, constants of the code, special ones, or anything. Rare faults need values
that meet.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from herz.intake.fuzz.words import Words

ItemT = TypeVar("ItemT")

WHOLE_BITS_MAX: Final = 2_100
"""Integers drawn inside the domain have at most so many bits: past what a float holds (1,024),
short of the 4,300 digits at which the interpreter refuses to write one."""


class Dice(Protocol):
    """Chance, handed in by who may have it (`random.Random`)."""

    def randrange(self, stop: int, /) -> int:
        """An integer from 0 to below `stop`."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """An integer of `k` random bits."""
        ...


_POWERS: Final = [1 << k for k in (7, 8, 15, 16, 24, 31, 32, 33, 52, 53, 54, 62, 63, 64, 128)]
WHOLES: Final = tuple(
    dict.fromkeys(
        [0, 1, -1, 2, 3, 4, 5, 7, 10, 42, 100, 1000, 10**6, 10**9, 10**18, -2, -10, -1000]
        + [sign * (power + off) for power in _POWERS for off in (-1, 0, 1) for sign in (1, -1)]
        + [(1 << 53) + 3, (1 << 54) + 2, 1 << 1023, 1 << 1024, -(1 << 1025), 10**309]
    )
)
REALS: Final = (
    *(0.0, -0.0, 1.0, -1.0, math.nan, -math.nan, math.inf, -math.inf, 0.5, 1.5, 2.5, -0.5),
    *(5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308),
    *(2.220446049250313e-16, 1.0000000000000002, 0.9999999999999999, 0.1, 0.2, 0.3, 0.1 + 0.2),
    *(9007199254740992.0, 9007199254740994.0, 1e16, 1e-9, 1e-6, 1e9, 1e100, 2.0, 3.0, 100.0),
    *(1.7e9, 1.7e9 + 1e-6, 1.7e9 + 0.5),
)
TEXTS: Final = (
    *("", "a", "A", "b", "B", "aa", "aA", "Aa", "ab", "z", "0", "1", "01", "2", "9", "10", "1.0"),
    *("1.9", "1.10", "a1", "a01", "a2", "a10", "a-1", "-1", "1e3", " ", " a", "a ", "\t", "\n"),
    *("ß", "ss", "SS", "ẞ", "İ", "i̇", "i", "ı", "I", "\u212a", "k", "K", "\u00e9", "e\u0301"),
    *("\u00c5", "\u212b", "A\u030a", "ǆ", "ǅ", "Ǆ", "\ufb01", "fi", "ς", "σ", "Σ", "\0", "a\0"),
    *("\ud800", "\udfff", "\ud83d\ude00", "\U0001f600", "\U00010400", "\uffff", "\ufeff", "²"),
    *("½", "\u0663", "①", "Ⅷ", "\u200d", "\u202e", "\u0301", "a\u0301\u0323", "a\u0323\u0301"),
    *("true", "None", "nan", "-", "_", ".", "/", "\\", "'", '"', "%", "ﷺ", "가", "\u1100\u1161"),
)
_ALPHABETS: Final = ("ab", "aAbB", "0123456789", "abcdefghijklmnopqrstuvwxyz", "a1-.", "aé\u0301ßİ")
_STEPS: Final = (1e-12, 1e-9, 1e-6, 1e-3, 0.01, 0.1, 0.25, 0.5, 1.0, 10.0)
SIZES: Final = (7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 256, 257)


class Source:
    """Draws leaves.

    Args:
        dice: chance.
        words: constants of the code under test.
    """

    def __init__(self, dice: Dice, words: Words) -> None:
        self.dice = dice
        self.words = words
        self._around = words.around or Words()
        self._is_words_only = False
        self._ways: dict[tuple[object, ...], Any] = {}
        self._shared: dict[str, list[Any]] = {}
        self._lengths = sorted({s for w in words.wholes if 0 <= w <= 2_000 for s in (w, w + 1)})

    def begin(self) -> None:
        """A new pool: each place chooses anew how it draws."""
        self._is_words_only = self.is_one_in(4)
        self._ways.clear()
        self._shared.clear()

    def pick(self, items: Sequence[ItemT]) -> ItemT:
        """One of the items."""
        return items[self.dice.randrange(len(items))]

    def is_one_in(self, count: int) -> bool:
        """True once in so many times."""
        return self.dice.randrange(count) == 0

    def whole(self, path: tuple[object, ...], low: int | None, high: int | None) -> int:
        """An integer within bounds, both included; None: no bound."""
        value = self._leaf("whole", path, self._any_whole, self._whole_near)
        if low is not None and high is not None and not low <= value <= high:
            value = low + (value - low) % (high - low + 1)
        return value

    def real(self, path: tuple[object, ...]) -> float:
        """A float, NaN and the infinities included."""
        return self._leaf("real", path, self._any_real, self._real_near)

    def text(self, path: tuple[object, ...]) -> str:
        """A text of any characters."""
        return self._leaf("text", path, self._any_text, self._text_near)

    def size(self, path: tuple[object, ...]) -> int:
        """How many items a list has."""
        way = self._ways.setdefault(("size", *path), self.dice.randrange(8))
        if way == 0 and self._lengths:
            return max(0, self.pick(self._lengths) - self.dice.randrange(3) + 1)
        if way == 1 and self.is_one_in(4):
            return self.pick(SIZES)
        return self.dice.randrange(4 if way < 5 else 8)

    def _leaf(
        self,
        kind: str,
        path: tuple[object, ...],
        anything: Callable[[], ItemT],
        near: Callable[[ItemT, Any], ItemT],
    ) -> ItemT:
        way = self._ways.get((kind, *path))
        if way is None:
            way = self._ways[(kind, *path)] = self._way(kind, anything)
        style, few, step = way
        if style == "few":
            repeated: ItemT = self.pick(few)
            return repeated
        if style == "near":
            return near(self.pick(few), step)
        return anything()

    def _way(self, kind: str, anything: Callable[[], Any]) -> tuple[str, list[Any], Any]:
        """How a place draws in this pool."""
        roll = self.dice.randrange(8)
        step = self._step(kind)
        if roll < 2:
            # One palette for all places of a kind: values of different places meet.
            few = self._shared.setdefault(kind, [anything() for _ in range(2 + roll * 2)])
            return "few", few, step
        if roll < 4:
            return "few", [anything() for _ in range(1 + self.dice.randrange(4))], step
        if roll < 6:
            return "near", [anything() for _ in range(1 + self.dice.randrange(2))], step
        return "any", [], step

    def _step(self, kind: str) -> Any:
        if kind == "whole":
            steps = [abs(word) for word in self.words.wholes if word] or [1]
            return self.pick([1, 1, 1, self.pick(steps), 1 << self.dice.randrange(40)])
        words = [abs(word) for word in (*self.words.reals, *self.words.wholes) if word]
        return self.pick(words) if words and self.is_one_in(2) else self.pick(_STEPS)

    def _any_whole(self) -> int:
        roll, words = self.dice.randrange(10), self.words.wholes
        if words and self._is_words_only and roll < 7:
            return self.pick(words)
        if roll == 0 and self._around.wholes:
            words = self._around.wholes
        if roll < 3 and words:
            return self._from_word(self.pick(words), words)
        if roll < 5:
            return self.pick(WHOLES)
        if roll < 7:
            return self.dice.randrange(10) - 2
        bits = self.pick((4, 8, 12, 16, 20, 32, 40, 64, 80))
        if self.is_one_in(40):
            bits = self.dice.randrange(WHOLE_BITS_MAX)
        value = self.dice.getrandbits(bits) if bits else 0
        return -value if self.is_one_in(4) else value

    def _from_word(self, word: int, words: list[int]) -> int:
        other = self.pick(words)
        made: tuple[Callable[[], Any], ...] = (
            lambda: word,
            lambda: word,
            lambda: -word,
            lambda: word + self.dice.randrange(5) - 2,
            lambda: word * self.dice.randrange(20),
            lambda: word * self.dice.randrange(1000) + other,
            lambda: word + other,
            lambda: word - other,
            lambda: word * other if word.bit_length() + other.bit_length() < 900 else word,
            lambda: word ^ other,
            lambda: 1 << word if 0 <= word < 1100 else word // 2,
            lambda: word // 2,
        )
        value: int = self.pick(made)()
        return value

    def _whole_near(self, base: int, step: int) -> int:
        return base + step * (self.dice.randrange(9) - 4)

    def _any_real(self) -> float:
        roll, words = self.dice.randrange(10), self.words
        if words.reals and self._is_words_only and roll < 7:
            return self.pick(words.reals)
        if roll < 3 and (words.reals or words.wholes):
            word = _float(self.pick((*words.reals, *words.wholes)))
            factor = self.pick((1.0, 1.0, 1.0, -1.0, 0.5, 0.9, 1.1, 2.0))
            return word * factor + self.pick((0.0, 0.0, 1e-9, 1.0, -1.0))
        if roll < 6:
            return self.pick(REALS)
        if roll < 7:
            (value,) = struct.unpack("<d", struct.pack("<Q", self.dice.getrandbits(64)))
            return float(value)
        if roll < 8:
            return float(self.dice.randrange(10) - 2)
        return (self.dice.randrange(20_001) - 10_000) / self.pick((1.0, 2.0, 10.0, 100.0, 1000.0))

    def _real_near(self, base: float, step: float) -> float:
        many = self.dice.randrange(9) - 4
        if math.isnan(base) or math.isinf(base) or self.is_one_in(12):
            return base if self.is_one_in(2) else self.pick(REALS)
        if self.is_one_in(4):
            for _ in range(abs(many)):
                base = math.nextafter(base, math.inf if many > 0 else -math.inf)
            return base
        if self.is_one_in(3):
            return base * (1.0 + _float(step) * many)
        return base + _float(step) * many * self.pick((1.0, 0.5, 0.6))

    def _any_text(self) -> str:
        roll, words = self.dice.randrange(10), self.words.texts
        if words and self._is_words_only and roll < 7:
            return self.pick(words)
        if roll == 0 and self._around.texts:
            words = self._around.texts
        if roll < 3 and words:
            return self._from_text(self.pick(words), words)
        if roll < 6:
            return self.pick(TEXTS)
        if roll < 7:
            return "".join(self.pick(TEXTS) for _ in range(self.dice.randrange(4)))
        if roll < 8:
            return str(self._any_whole())
        if self.is_one_in(20):
            return self.pick("ab1-é") * self.pick(SIZES)
        if self.is_one_in(12) and self._lengths:
            alphabet = self.pick(_ALPHABETS)
            return "".join(self.pick(alphabet) for _ in range(self.pick(self._lengths)))
        alphabet = self.pick(_ALPHABETS)
        if self.is_one_in(6):
            alphabet = "".join(chr(self.dice.randrange(0x3000)) for _ in range(4))
        return "".join(self.pick(alphabet) for _ in range(self.dice.randrange(9)))

    def _from_text(self, word: str, words: list[str]) -> str:
        other = self.pick(words)
        made: tuple[Callable[[], Any], ...] = (
            lambda: word,
            lambda: word,
            lambda: word + self.pick(TEXTS),
            lambda: self.pick(TEXTS) + word,
            lambda: word + str(self.dice.randrange(20)),
            lambda: word[:-1],
            lambda: word[1:],
            lambda: word + other,
            lambda: self.pick(TEXTS) + word + self.pick(TEXTS),
            word.upper,
            word.swapcase,
            lambda: word[::-1],
            lambda: self.pick(word) if word else "",
        )
        value: str = self.pick(made)()
        return value

    def _text_near(self, base: str, step: object) -> str:
        del step
        at = self.dice.randrange(len(base) + 1)
        made: tuple[Callable[[], Any], ...] = (
            lambda: base,
            lambda: base[:at] + self.pick(_ALPHABETS[:5])[0] + base[at:],
            lambda: base[:at] + base[at + 1 :],
            base.swapcase,
            lambda: base + "\u0301",
            lambda: base + self.pick("abAB019 "),
            lambda: base[:at] + base[at:].upper(),
            lambda: base + "\0",
            lambda: self.pick("abAB019 ") + base,
            lambda: base[at:] + base[:at],
        )
        value: str = self.pick(made)()
        return value


def _float(value: float) -> float:
    """The number as a float; the infinities past its range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
