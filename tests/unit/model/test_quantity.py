"""Quantities: the cases that parsers get wrong, with Kubernetes' answers."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.model.quantity import Quantity, parse_quantity, quantity_milli, quantity_value

# text, value, milli, canonical
_CASES = [
    ("0", 0, 0, "0"),
    ("4", 4, 4000, "4"),
    ("500m", 1, 500, "500m"),
    ("128Mi", 134217728, 134217728000, "128Mi"),
    ("1.5", 2, 1500, "1500m"),
    ("1.", 1, 1000, "1."),
    (".5", 1, 500, "500m"),
    ("1E", 10**18, 0, "1E"),
    ("1E3", 1000, 1000000, "1E3"),
    ("1e3", 1000, 1000000, "1e3"),
    ("100n", 1, 1, "100n"),
    ("0.1n", 1, 1, "1n"),
    ("1.2Gi", 1288490189, 1288490188800, "1288490188800m"),
    ("1e100", 0, 0, "10e99"),
    ("12345678901234567890", -6101065172474983726, 4807115922877858896, "12345678901234567890"),
    ("+2", 2, 2000, "+2"),
    ("-0.5", -1, -500, "-500m"),
    ("100k", 100000, 100000000, "100k"),
    ("0.5Ki", 512, 512000, "512"),
    (12, 12, 12000, "12"),
]


@pytest.mark.parametrize(("text", "value", "milli", "canonical"), _CASES)
def test_parse_gives_kubernetes_numbers(
    text: str | int, value: int, milli: int, canonical: str
) -> None:
    quantity = parse_quantity(text)
    assert (quantity.value(), quantity.milli(), str(quantity)) == (value, milli, canonical)
    assert (quantity_value(text), quantity_milli(text)) == (value, milli)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        "K",
        "1K",
        "1mi",
        "1KiB",
        "1.2.3",
        "1e",
        "1e+",
        "e-10",
        "0x10",
        "1_000",
        "\u0661",
    ],
)
def test_parse_refuses_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_quantity(text)


@pytest.mark.parametrize("value", [1.5, True, None, [], {}])
def test_parse_refuses_other_types(value: object) -> None:
    with pytest.raises(ConfigError):
        parse_quantity(value)  # type: ignore[arg-type]


def test_parse_bounds_what_it_multiplies() -> None:
    with pytest.raises(ConfigError):
        parse_quantity("1e2000000000")
    with pytest.raises(ConfigError):
        parse_quantity("1" * 300)


def test_sum_of_zero_takes_the_others_format() -> None:
    assert str(parse_quantity("0") + parse_quantity("2048Ki")) == "2Mi"
    assert str(parse_quantity("1Gi") + parse_quantity("1G")) == "2073741824"


def test_equal_amounts_are_equal_whatever_their_spelling() -> None:
    assert parse_quantity("1Gi") == parse_quantity("1073741824")
    assert hash(parse_quantity("1")) == hash(parse_quantity("1000m"))
    assert parse_quantity("1") < parse_quantity("1001m")
    assert Quantity() != object()
