"""Quantities agree with Kubernetes' own parser, arithmetic and text, case by case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from herz.errors import ConfigError
from herz.model.quantity import Quantity, parse_quantity
from tests.oracle.oracle import Case, cases


def _seen(quantity: Quantity) -> dict[str, Any]:
    seen: dict[str, Any] = {
        "canonical": str(quantity),
        "format": quantity.format,
        "milli": quantity.milli(),
        "sign": (quantity.nano > 0) - (quantity.nano < 0),
        "value": quantity.value(),
    }
    if quantity.is_exact_int64:
        seen["int64"] = quantity.value()
    return seen


def _check_read(case: Case, text: object) -> None:
    if "error" in case:
        with pytest.raises(ConfigError):
            parse_quantity(text)  # type: ignore[arg-type]
        return
    assert isinstance(text, str | int)
    ignored = {"op", "s", "json", "float"}
    wanted = {key: value for key, value in case.items() if key not in ignored}
    assert _seen(parse_quantity(text)) == wanted, case


def test_parse_agrees_with_kubernetes() -> None:
    checked = 0
    for case in cases("quantity"):
        if case["op"] == "parse":
            _check_read(case, case["s"])
            checked += 1
    assert checked > 0


def test_arithmetic_agrees_with_kubernetes() -> None:
    checked = 0
    for case in cases("quantity"):
        if case["op"] != "arith":
            continue
        left, right = parse_quantity(case["a"]), parse_quantity(case["b"])
        total, difference = left + right, left - right
        assert left.compare(right) == case["cmp"], case
        assert (left == right) is case["equal"], case
        assert (str(total), str(difference)) == (case["add"], case["sub"]), case
        assert (total.value(), total.milli()) == (case["addValue"], case["addMilli"]), case
        seen = (difference.value(), difference.milli())
        assert seen == (case["subValue"], case["subMilli"]), case
        checked += 1
    assert checked > 0


def test_json_tokens_agree_with_kubernetes() -> None:
    checked = 0
    for case in cases("quantity"):
        if case["op"] == "json":
            token = json.loads(case["json"], parse_float=str)
            _check_read(case, token)
            checked += 1
    assert checked > 0
