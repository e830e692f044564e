"""The annotation `herz.dev/after`: exact, or refused."""

from __future__ import annotations

import pytest

from herz.errors import ConfigError
from herz.intake.order.dependencies import DEPENDENCIES_MAX, parse_after
from herz.model.podinfo import Dependency


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [("a", 1000)]),
        ("a=1", [("a", 1000)]),
        ("a=1.000", [("a", 1000)]),
        ("a=0", [("a", 0)]),
        ("a=0.0", [("a", 0)]),
        ("a=0.85", [("a", 850)]),
        ("a=0.851", [("a", 851)]),
        ("a=0.001", [("a", 1)]),
        (" db-0 = 0.5 ,cache.x,  loader=1 ", [("db-0", 500), ("cache.x", 1000), ("loader", 1000)]),
    ],
)
def test_parse_after_keeps_names_and_exact_weights(
    text: str, expected: list[tuple[str, int]]
) -> None:
    assert parse_after(text) == tuple(Dependency(*pair) for pair in expected)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("a,", "without a name"),
        (",a", "without a name"),
        ("a,,b", "without a name"),
        ("=0.5", "without a name"),
        ("a=", "weight ''"),
        ("a=0.8500", "weight '0.8500'"),
        ("a=1.1", "weight '1.1'"),
        ("a=1.001", "weight '1.001'"),
        ("a=-0.5", "weight '-0.5'"),
        ("a=.5", "weight '.5'"),
        ("a=1e-1", "weight '1e-1'"),
        ("a=0,5", "'5', which"),
        ("a=0.5=1", "weight '0.5=1'"),
        ("a=\u0660.\u0665", "weight"),
        ("Upper", "no pod name"),
        ("a b", "no pod name"),
        ("-a", "no pod name"),
        ("a" * 254, "no pod name"),
        ("other/a", "no pod name"),
        ("a,b,a=0.5", "names a twice"),
        ("me", "names the pod itself"),
    ],
)
def test_parse_after_refuses_with_place_value_and_remedy(text: str, told: str) -> None:
    if told == "'5', which":  # a name may begin with a digit: a comma is no decimal point
        assert parse_after(text) == (Dependency("a", 0), Dependency("5"))
        return
    with pytest.raises(ConfigError) as caught:
        parse_after(text, own_name="me")
    error = caught.value
    assert told in error.what
    assert "herz.dev/after" in error.where
    assert error.value == text
    assert error.fix


def test_parse_after_bounds_the_number_of_names() -> None:
    most = ",".join(f"p{number}" for number in range(DEPENDENCIES_MAX))
    assert len(parse_after(most)) == DEPENDENCIES_MAX
    with pytest.raises(ConfigError, match="names 257 pods"):
        parse_after(f"{most},one-more")
