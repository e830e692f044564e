"""Kubernetes quantities ("500m", "1.5Gi", "1e3") as exact integers, never floats.

Read in every step that compares resources: what comes in is the text or JSON number of a manifest,
what goes out is an int64 in whole units (`value`) or thousandths (`milli`), rounded up. It must
never pass through a float, and never turn what it can't read into 0.

Kubernetes keeps a quantity in one of two forms, and where int64 overflows the forms answer
differently. Both are modelled (`is_wide`), because a scheduler that disagrees with the API server
on an absurd quantity disagrees on where the pod goes.

Source: k8s.io/apimachinery/pkg/api/resource (facts), checked by the oracle's `quantity` family.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from herz.errors import ConfigError

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
NANO_EXPONENT = -9

DECIMAL_SI = "DecimalSI"
BINARY_SI = "BinarySI"
DECIMAL_EXPONENT = "DecimalExponent"

_SUFFIX_EXPONENTS = {
    "n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY_SUFFIX_BITS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SUFFIX_BY_EXPONENT = {exponent: text for text, exponent in _SUFFIX_EXPONENTS.items()}
_SUFFIX_BY_BITS = {0: ""} | {bits: text for text, bits in _BINARY_SUFFIX_BITS.items()}
_DIGITS = frozenset("0123456789")
_SUFFIX_CHARACTERS = frozenset("eEinumkKMGTP")

# Bound: the longest text and the largest exponent that are read. Kubernetes has neither bound; a
# quantity beyond them would only make us multiply numbers of a billion digits.
TEXT_LENGTH_MAX = 256
EXPONENT_MAX = 1000
_DECIMAL_DIGITS_FAST = 18
_CACHE_SIZE = 1 << 16

_FIX = 'write digits with an optional suffix, such as "500m", "2", "1.5Gi" or "1e3"'


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """One amount: `unscaled * 10**exponent`, with the format it is to be written in.

    Args:
        unscaled: the digits as an integer.
        exponent: the power of ten, at least -9 for every non-zero amount.
        format: DecimalSI, BinarySI or DecimalExponent.
        is_wide: whether Kubernetes holds it in its arbitrary-precision form.
        text: the canonical text where it is already known, else "".
    """

    unscaled: int = 0
    exponent: int = 0
    format: str = DECIMAL_SI
    is_wide: bool = False
    text: str = field(default="", repr=False)

    @property
    def nano(self) -> int:
        """The exact amount in billionths."""
        if self.unscaled == 0:
            return 0
        assert self.exponent >= NANO_EXPONENT, self
        return int(self.unscaled * 10 ** (self.exponent - NANO_EXPONENT))

    @property
    def is_exact_int64(self) -> bool:
        """Whether Kubernetes' AsInt64 answers: a narrow, whole amount that fits in 64 bits."""
        if self.is_wide or self.exponent < 0:
            return False
        return _in_int64(self.unscaled * 10**self.exponent)

    def value(self) -> int:
        """The amount in whole units as an int64, rounded up; wraps where Kubernetes wraps."""
        return self._scaled(0)

    def milli(self) -> int:
        """The amount in thousandths as an int64, rounded up; wraps where Kubernetes wraps."""
        return self._scaled(-3)

    def compare(self, other: Quantity) -> int:
        """-1, 0 or 1 as this amount is less than, equal to or greater than the other."""
        mine, theirs = self.nano, other.nano
        return (mine > theirs) - (mine < theirs)

    def __eq__(self, other: object) -> bool:
        return self.nano == other.nano if isinstance(other, Quantity) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.nano)

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __le__(self, other: Quantity) -> bool:
        return self.nano <= other.nano

    def __gt__(self, other: Quantity) -> bool:
        return self.nano > other.nano

    def __ge__(self, other: Quantity) -> bool:
        return self.nano >= other.nano

    def __add__(self, other: Quantity) -> Quantity:
        return self._plus(other.unscaled, other)

    def __sub__(self, other: Quantity) -> Quantity:
        return self._plus(-other.unscaled, other)

    def __str__(self) -> str:
        """The canonical text, as the API server would serve it."""
        return self.text or _canonical(self)

    def _scaled(self, exponent: int) -> int:
        """The amount in units of 10**exponent, as an int64 with Kubernetes' overflow."""
        if self.is_wide:
            return _wide_scaled(self.unscaled, self.exponent - exponent)
        return _narrow_scaled(self.unscaled, self.exponent - exponent)

    def _plus(self, unscaled: int, other: Quantity) -> Quantity:
        """This amount plus `unscaled` in the other's scale, in the form Kubernetes gives it."""
        # A zero takes the other's format: an empty sum has no format of its own.
        text_format = other.format if self.unscaled == 0 else self.format
        if not self.is_wide and not other.is_wide:
            if unscaled == 0:
                return Quantity(self.unscaled, self.exponent, text_format)
            if self.unscaled == 0:
                return Quantity(unscaled, other.exponent, text_format, not _in_int64(unscaled))
        exponent = min(self.exponent, other.exponent)
        mine = self.unscaled * 10 ** (self.exponent - exponent)
        theirs = unscaled * 10 ** (other.exponent - exponent)
        is_narrow = _in_int64(mine) and _in_int64(theirs) and _in_int64(mine + theirs)
        is_wide = self.is_wide or other.is_wide or not is_narrow
        return Quantity(mine + theirs, exponent, text_format, is_wide)


ZERO = Quantity(text="0")


def parse_quantity(text: str | int) -> Quantity:
    """The quantity that a manifest's text or whole number names.

    Args:
        text: as written, without surrounding blanks. A JSON number with a fraction or an exponent
            must come as its text; a float is refused.

    Returns:
        The exact amount. Equal texts give the same object.

    Raises:
        ConfigError: the text is no quantity. Nothing is guessed, "" is not 0.

    Cost: one cache look-up for a text seen before.
    """
    if text.__class__ is int:
        return _parse(str(text))
    if text.__class__ is not str:
        raise ConfigError("a quantity must be a string or a number", value=text, fix=_FIX)
    assert isinstance(text, str)
    return _parse(text)


@lru_cache(maxsize=_CACHE_SIZE)
def _parse(text: str) -> Quantity:
    """The quantity of a text; see `parse_quantity`."""
    if not text or len(text) > TEXT_LENGTH_MAX:
        raise ConfigError("a quantity must have 1 to 256 characters", value=text, fix=_FIX)
    if text == "0":
        return ZERO
    return _interpret(text, _split(text))


@lru_cache(maxsize=_CACHE_SIZE, typed=True)
def quantity_nano(text: str | int) -> int:
    """The exact amount of `parse_quantity(text)` in billionths."""
    return parse_quantity(text).nano


@lru_cache(maxsize=_CACHE_SIZE, typed=True)
def quantity_value(text: str | int) -> int:
    """`parse_quantity(text).value()`: whole units, rounded up."""
    return parse_quantity(text).value()


@lru_cache(maxsize=_CACHE_SIZE, typed=True)
def quantity_milli(text: str | int) -> int:
    """`parse_quantity(text).milli()`: thousandths, rounded up."""
    return parse_quantity(text).milli()


@dataclass(frozen=True, slots=True)
class _Parts:
    """A quantity's text, cut: sign, digits before and after the point, number, suffix."""

    is_negative: bool
    whole: str
    fraction: str
    number: str
    suffix: str


def _split(text: str) -> _Parts:
    """The parts of a text, with leading zeros dropped from `whole`.

    A text of nothing but a sign and zeros is 0; so are "." and "-": Kubernetes reads them so.
    """
    end = len(text)
    is_negative = text[0] == "-"
    start = 1 if text[0] in "+-" else 0
    while start < end and text[start] == "0":
        start += 1
    if start == end:
        return _Parts(is_negative, "0", "", "0", "")
    position = _skip(text, start, _DIGITS)
    whole, fraction = text[start:position] or "0", ""
    if position < end and text[position] == ".":
        after_point = position + 1
        position = _skip(text, after_point, _DIGITS)
        fraction = text[after_point:position]
    number, suffix_start = text[:position], position
    position = _skip(text, position, _SUFFIX_CHARACTERS)
    if position < end and text[position] in "+-":
        position += 1
    if _skip(text, position, _DIGITS) != end:
        raise ConfigError("not a quantity", value=text, fix=_FIX)
    return _Parts(is_negative, whole, fraction, number, text[suffix_start:])


def _skip(text: str, start: int, characters: frozenset[str]) -> int:
    """The first index from `start` on whose character is not among `characters`."""
    while start < len(text) and text[start] in characters:
        start += 1
    return start


def _interpret(text: str, parts: _Parts) -> Quantity:
    """The quantity of a cut text, narrow where Kubernetes' quick path would take it."""
    bits = _BINARY_SUFFIX_BITS.get(parts.suffix, 0)
    if bits:
        text_format, scale = BINARY_SI, 0
    else:
        text_format, scale = _decimal_suffix(text, parts.suffix)
    digits = parts.whole + parts.fraction
    if bits:
        # Kubernetes estimates the decimal digits that a binary suffix adds as bits * 3 / 10.
        room = -1 if parts.fraction else 15 - len(parts.whole) - bits * 3 // 10 - 1
    else:
        room = _DECIMAL_DIGITS_FAST - len(digits)
    if room < 0 or scale - len(parts.fraction) < NANO_EXPONENT:
        return _interpret_wide(text, parts, bits, scale, text_format)
    scale -= len(parts.fraction)
    count = int(digits)
    unscaled = count << bits
    assert _in_int64(unscaled), text
    # The text is kept as canonical on the same conditions as Kubernetes does, odd as they are:
    # "43." stays "43.".
    if bits:
        is_canonical = count & 7 != 0
    else:
        is_canonical = scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
    signed = -unscaled if parts.is_negative else unscaled
    return Quantity(signed, scale, text_format, text=text if is_canonical else "")


def _decimal_suffix(text: str, suffix: str) -> tuple[str, int]:
    """The format and the power of ten of a suffix that isn't binary."""
    known = _SUFFIX_EXPONENTS.get(suffix)
    if known is not None:
        return DECIMAL_SI, known
    digits = suffix[2:] if suffix[1:2] in ("+", "-") else suffix[1:]
    # A lone "E" is exa and never comes here; "E3" is an exponent.
    if suffix[0] not in "eE" or not digits or not _DIGITS.issuperset(digits):
        raise ConfigError("unknown suffix of a quantity", value=text, fix=_FIX)
    exponent = int(suffix[1:])
    if abs(exponent) > EXPONENT_MAX:
        fix = f"use an exponent between -{EXPONENT_MAX} and {EXPONENT_MAX}"
        raise ConfigError("the quantity's exponent is out of range", value=text, fix=fix)
    return DECIMAL_EXPONENT, exponent


def _interpret_wide(text: str, parts: _Parts, bits: int, scale: int, text_format: str) -> Quantity:
    """The quantity that needs arbitrary precision: rounded up to nano, binary ones capped."""
    if not _DIGITS.intersection(parts.number):
        raise ConfigError("a quantity without digits", value=text, fix=_FIX)
    unscaled, exponent = int(parts.whole + parts.fraction) << bits, scale - len(parts.fraction)
    if unscaled == 0:
        return Quantity(0, 0, text_format, is_wide=True)
    if exponent >= NANO_EXPONENT:
        unscaled *= 10 ** (exponent - NANO_EXPONENT)
    else:
        # Up, away from zero: who asks for too little to be written gets the least there is.
        unscaled = -(-unscaled // 10 ** (NANO_EXPONENT - exponent))
    exponent = NANO_EXPONENT
    if bits and unscaled > INT64_MAX * 10**9:
        unscaled, exponent = INT64_MAX, 0
    if bits and exponent < 0 and unscaled < 10**9:
        text_format = DECIMAL_SI
    return Quantity(-unscaled if parts.is_negative else unscaled, exponent, text_format, True)


def _in_int64(number: int) -> bool:
    return INT64_MIN <= number <= INT64_MAX


def _wrapped(number: int) -> int:
    """The number cut to 64 bits, two's complement."""
    return ((number + 2**63) & (2**64 - 1)) - 2**63


def _narrow_scaled(unscaled: int, shift: int) -> int:
    """`unscaled * 10**shift` for the int64 form: away from zero; overflow wraps or gives 0."""
    if shift < 0:
        divisor: int = 10**-shift
        magnitude = -(-abs(unscaled) // divisor)
        return magnitude if unscaled >= 0 else -magnitude
    scaled: int = unscaled * 10**shift
    if _in_int64(scaled):
        return scaled
    # Kubernetes multiplies at once for these powers (and wraps), and step by step for the others
    # (and gives up with 0).
    return _wrapped(scaled) if shift in (1, 2, 3, 6, 9) else 0


def _wide_scaled(unscaled: int, shift: int) -> int:
    """`unscaled * 10**shift` for the wide form, with its overflow and its rounding upwards."""
    if shift == 0:
        return _wrapped(unscaled)
    if shift > 0:
        # A power of ten beyond int64 converts to the least int64 on the machines that matter.
        factor = 10**shift if shift <= 18 else INT64_MIN
        return _wrapped(_wrapped(unscaled) * factor)
    divisor: int = 10**-shift
    if unscaled >= INT64_MAX or -shift >= 19:
        return _wrapped(-(-unscaled // divisor))
    low = _wrapped(unscaled)
    quotient = abs(low) // divisor
    quotient = quotient if low >= 0 else -quotient
    # Towards zero and then one more: Kubernetes' quick path does so for negative amounts too.
    return quotient + 1 if low % divisor else quotient


def _canonical(quantity: Quantity) -> str:
    """The text that has no fraction, the largest suffix, and loses nothing."""
    if quantity.unscaled == 0:
        return "0"
    nano = quantity.nano
    is_whole = nano % 10**9 == 0
    if quantity.format == BINARY_SI and is_whole and abs(nano) >= 1024 * 10**9:
        number, times = _without_factor(nano // 10**9, 1024)
        return f"{number}{_SUFFIX_BY_BITS.get(times * 10, '')}"
    number, times = _without_factor(quantity.unscaled, 10)
    exponent = quantity.exponent + times
    number *= 10 ** (exponent % 3)
    exponent -= exponent % 3
    if quantity.format == DECIMAL_EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_SUFFIX_BY_EXPONENT.get(exponent, '')}"


def _without_factor(number: int, factor: int) -> tuple[int, int]:
    """The number with every power of the factor taken out, and how many there were."""
    assert number != 0, "zero has every factor"
    times = 0
    # Bound: the number's length; each round shortens it.
    while number % factor == 0:
        number //= factor
        times += 1
    return number, times
