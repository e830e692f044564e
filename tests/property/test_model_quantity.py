"""Laws of quantities: text and number agree, order and sums are those of the integers."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from herz.model.quantity import INT64_MAX, Quantity, parse_quantity

_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9}
_BITS = {"Ki": 10, "Mi": 20, "Gi": 30}
# Small enough that nothing overflows: there the answer is plain arithmetic.
_DIGITS = st.integers(min_value=0, max_value=10**8)
_FRACTION = st.text(alphabet="0123456789", max_size=12)


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, Decimal]:
    whole, fraction = draw(_DIGITS), draw(_FRACTION)
    sign = draw(st.sampled_from(["", "-", "+"]))
    suffix = draw(st.sampled_from([*_SUFFIXES, *_BITS]))
    number = f"{sign}{whole}.{fraction}" if draw(st.booleans()) else f"{sign}{whole}"
    with localcontext() as context:
        context.prec = 80
        factor = (
            Decimal(2) ** _BITS[suffix] if suffix in _BITS else Decimal(10) ** _SUFFIXES[suffix]
        )
        exact = (Decimal(number) * factor * 10**9).to_integral_value(rounding=ROUND_UP)
    return number + suffix, exact


@given(_texts())
def test_parse_rounds_away_from_zero_to_billionths(case: tuple[str, Decimal]) -> None:
    text, nano = case
    assert parse_quantity(text).nano == int(nano)


@given(_texts())
def test_canonical_text_names_the_same_amount(case: tuple[str, Decimal]) -> None:
    quantity = parse_quantity(case[0])
    assert parse_quantity(str(quantity)) == quantity
    without_text = Quantity(quantity.nano, -9, quantity.format)
    assert parse_quantity(str(without_text)) == quantity


@given(_texts(), _texts())
def test_sum_difference_and_order_are_those_of_integers(
    left: tuple[str, Decimal], right: tuple[str, Decimal]
) -> None:
    one, other = parse_quantity(left[0]), parse_quantity(right[0])
    assert (one + other).nano == one.nano + other.nano
    assert (one - other).nano == one.nano - other.nano
    assert (one < other) == (one.nano < other.nano)
    assert one.compare(other) == (one.nano > other.nano) - (one.nano < other.nano)


@given(_texts())
def test_value_and_milli_are_never_less_than_the_amount(case: tuple[str, Decimal]) -> None:
    quantity = parse_quantity(case[0])
    if quantity.nano >= 0:
        assert 0 <= quantity.value() * 10**9 - quantity.nano < 10**9
    # Beyond this, thousandths leave int64 and wrap, as Kubernetes' do.
    if 0 <= quantity.nano <= INT64_MAX * 10**6:
        assert 0 <= quantity.milli() * 10**6 - quantity.nano < 10**6
