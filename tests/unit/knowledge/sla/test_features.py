"""Measured values become declared integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.errors import ConfigError
from herz.knowledge.sla.features import (
    LIMIT,
    MISSING,
    NAT,
    FeatureSpec,
    log_of,
    quantise,
    ratio_of,
)

LINEAR = FeatureSpec("a", "%", "made up", 1000)
LOG = FeatureSpec("b", "ms", "made up", 1000, "log")


def test_values_are_counted_in_quanta() -> None:
    assert LINEAR.quantised(1.2345) == 1234  # half to even
    assert LINEAR.quantised(-0.0006) == -1
    assert LOG.quantised(math.e) == round(math.log(2718) * NAT)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("spec", [LINEAR, LOG])
def test_what_is_no_measurement_is_missing(spec: FeatureSpec, value: float | None) -> None:
    assert spec.quantised(value) == MISSING


@pytest.mark.parametrize("spec", [LINEAR, LOG])
@given(one=st.floats(allow_nan=False), two=st.floats(allow_nan=False))
def test_quantisation_keeps_order_and_bounds(spec: FeatureSpec, one: float, two: float) -> None:
    low, high = (spec.quantised(value) for value in sorted((one, two)))
    for value in (low, high):
        assert value == MISSING or abs(value) <= LIMIT
    if MISSING not in (low, high):
        assert low <= high


@given(st.integers(1, 2**62))
def test_logarithm_is_the_nearest_1024th(count: int) -> None:
    assert abs(log_of(count) - math.log(count) * NAT) <= 0.5 + 1e-6


def test_rows_come_in_the_order_of_the_features() -> None:
    found = quantise((LOG, LINEAR), [{"a": 2.0, "unknown": 1.0}, {"b": 0.001}])
    assert found.tolist() == [[MISSING, 2000], [0, MISSING]]
    assert found.dtype == np.int64
    assert quantise((LOG, LINEAR), []).shape == (0, 2)


def test_ratio_is_the_logarithm_of_target_over_quiet() -> None:
    assert ratio_of(2_000_000, 1_000_000) == pytest.approx(math.log(2) * NAT, abs=1)
    with pytest.raises(ConfigError, match="quiet: not a positive time"):
        ratio_of(1, 0)
