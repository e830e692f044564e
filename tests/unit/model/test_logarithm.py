"""Logarithms as integers: right in every place that they give."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.model.logarithm import LN_BITS, ln

ONE = 1 << LN_BITS


def test_the_logarithm_of_one_is_zero() -> None:
    assert ln(1) == 0


@given(number=st.integers(1, 1 << 40))
def test_logarithms_are_those_of_the_library_within_one_unit(number: int) -> None:
    # Fractions: the product of a double with 2^32 would be rounded once more.
    assert abs(ln(number) - Fraction(math.log(number)) * ONE) <= 1


@given(number=st.integers(1, 1 << 20), other=st.integers(1, 1 << 20))
def test_logarithms_keep_the_order_and_add_up(number: int, other: int) -> None:
    assert (ln(number) < ln(other)) == (number < other)
    # Three roundings of half a unit each.
    assert abs(ln(number * other) - ln(number) - ln(other)) <= 1


@pytest.mark.parametrize("number", [0, -1])
def test_what_has_no_logarithm_is_refused(number: int) -> None:
    with pytest.raises(AssertionError, match="positive"):
        ln(number)
