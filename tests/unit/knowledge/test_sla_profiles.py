"""Profiles of services: each dimension on signals whose answer is known, confidence, the prior."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.knowledge.sla.profiles import (
    DIMENSIONS,
    HALF,
    PRIOR,
    TRAITS,
    WHOLE,
    WINDOW,
    Learner,
    Sample,
    learned,
)

MANY = 200
# Confidence of many samples: the rest is the prior's.
SURE = WHOLE * MANY // (MANY + HALF)


def mixed(value: int, name: str) -> int:
    return (SURE * value + (WHOLE - SURE) * PRIOR[name]) // WHOLE


def trait(name: str, samples: list[Sample]) -> int:
    return learned(samples).traits[name]


def test_every_trait_is_told_in_full() -> None:
    assert DIMENSIONS == (
        "cpu_burstiness",
        "memory_residency",
        "network_jitter_sensitivity",
        "io_stability",
    )
    assert all(one.unit and one.definition and one.of in Sample._fields for one in TRAITS)


@pytest.mark.parametrize(("high", "low", "expected"), [(500, 500, 0), (900, 300, 5_000)])
def test_cpu_burstiness_is_the_variation_of_a_square_wave(
    high: int, low: int, expected: int
) -> None:
    wave = [Sample(cpu_milli=high if i % 2 else low) for i in range(MANY)]
    assert trait("cpu_burstiness", wave) == mixed(expected, "cpu_burstiness")


def test_memory_residency_is_the_mean_share_of_the_request() -> None:
    samples = [Sample(resident_bp=value) for value in (2_000, 4_000) * (MANY // 2)]
    assert trait("memory_residency", samples) == mixed(3_000, "memory_residency")


def test_jitter_sensitivity_is_the_slope_and_not_the_level() -> None:
    def line(slope: int, level: int) -> list[Sample]:
        # P99 grows by `slope` basis points of quiet a 100 µs of jitter.
        return [
            Sample(jitter_us=100 * (i % 10), ratio_bp=level + slope * (i % 10)) for i in range(MANY)
        ]

    name = "network_jitter_sensitivity"
    assert trait(name, line(700, 10_000)) == mixed(700, name)
    assert trait(name, line(700, 40_000)) == mixed(700, name)
    assert trait(name, line(0, 40_000)) == mixed(0, name)
    assert trait(name, line(-700, 40_000)) == mixed(0, name)


def test_jitter_that_never_moved_teaches_nothing() -> None:
    found = learned([Sample(jitter_us=300, ratio_bp=9_000 + i) for i in range(MANY)])
    assert found.traits["network_jitter_sensitivity"] == PRIOR["network_jitter_sensitivity"]
    assert "network_jitter_sensitivity" not in found.confidence_basis_points


def test_io_stability_falls_with_the_variation_of_the_throughput() -> None:
    steady = [Sample(io_rate=1_000)] * MANY
    wild = [Sample(io_rate=rate) for rate in (400, 1_600) * (MANY // 2)]
    assert trait("io_stability", steady) == mixed(WHOLE, "io_stability")
    assert trait("io_stability", wild) == mixed(WHOLE - 6_000, "io_stability")


def test_new_service_is_the_prior_and_samples_take_over() -> None:
    assert learned([]).traits == PRIOR
    assert learned([]).confidence_basis_points == {}
    told = [learned([Sample(cpu_milli=3_000)] * n) for n in (1, HALF, 200)]
    values = [one.traits["cpu_used"] for one in told]
    assert values[1] == (PRIOR["cpu_used"] + 3_000) // 2
    assert PRIOR["cpu_used"] < values[0] < values[1] < values[2] < 3_000
    assert [one.confidence_basis_points["cpu_used"] for one in told] == [476, 5_000, 9_090]


def test_what_was_not_measured_does_not_count() -> None:
    half = [Sample(cpu_milli=800), Sample()] * (MANY // 2)
    found = learned(half)
    assert found.confidence_basis_points["cpu_used"] == WHOLE * 100 // (100 + HALF)
    assert found.traits["io_used"] == PRIOR["io_used"]


def test_window_is_bounded_and_forgets() -> None:
    learner = Learner()
    for _ in range(WINDOW):
        learner.add(Sample(cpu_milli=100))
    for _ in range(WINDOW):
        learner.add(Sample(cpu_milli=900))
    assert learner.status().samples == WINDOW
    assert learner.status().traits["cpu_used"] > 800


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=50), st.randoms())
def test_order_of_samples_does_not_count(values: list[int], dice: random.Random) -> None:
    samples = [Sample(cpu_milli=value, jitter_us=value, ratio_bp=value * 3) for value in values]
    mixed_up = list(samples)
    dice.shuffle(mixed_up)
    assert learned(samples) == learned(mixed_up)
    assert all(type(value) is int for value in learned(samples).traits.values())
