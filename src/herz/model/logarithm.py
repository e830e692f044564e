"""Natural logarithms as integers: the same on every machine, unlike those of its library."""

from __future__ import annotations

import decimal
from functools import lru_cache
from typing import Final

LN_BITS: Final = 32
"""Binary places of what `ln` gives."""

_CONTEXT: Final = decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)


@lru_cache(maxsize=1 << 16)
def ln(number: int) -> int:
    """The natural logarithm times 2^32, rounded to the nearest integer.

    Decimal's logarithm is correctly rounded by its specification, so 40 digits decide all bits.
    """
    assert number > 0, "only positive numbers have a logarithm"
    exact = _CONTEXT.multiply(_CONTEXT.ln(decimal.Decimal(number)), decimal.Decimal(1 << LN_BITS))
    return int(exact.to_integral_value(rounding=decimal.ROUND_HALF_EVEN, context=_CONTEXT))
