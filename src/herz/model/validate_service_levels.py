"""What makes a class of promises, a node's signals or a profile wrong."""

from __future__ import annotations

from typing import Final

from herz.errors import ConfigError
from herz.model.checks import check_one_of, check_range, check_selector
from herz.model.service_levels import NodeSignals, ServiceProfile, SLAClass

WHOLE: Final = 10_000
"""Basis points of all."""
OBJECTIVES: Final = ("latency", "delay", "completion")
BELOW: Final = ("prefer", "refuse", "ignore")
FEATURE_SETS: Final = ("counters", "psi+schedstat", "requests-only")
WINDOW_SECONDS_MAX: Final = 86_400
TARGET_MILLISECONDS_MAX: Final = 86_400_000
WEIGHT_MAX: Final = 1_000
"""Bound: weights times basis points times services of a node stay far below 63 bits."""
SIGNAL_MAX: Final = 1 << 52
"""Bound: sums of signals stay in an int64."""


def validate_class(thing: SLAClass) -> None:
    """Refuse a class that promises nothing that can be checked.

    Raises:
        ConfigError: the first field that is wrong.
    """
    spec = thing.spec
    objective, where = spec.objective, "spec.objective"
    check_one_of(objective.kind, OBJECTIVES, f"{where}.kind")
    if not objective.kind:
        fix = f"write one of {', '.join(OBJECTIVES)}"
        raise ConfigError("missing", where=f"{where}.kind", fix=fix)
    if objective.kind == "completion":
        _check_number(objective.share_basis_points, WHOLE, f"{where}.shareBasisPoints")
    else:
        place = f"{where}.targetMilliseconds"
        _check_number(objective.target_milliseconds, TARGET_MILLISECONDS_MAX, place)
        place = f"{where}.quantileBasisPoints"
        check_range(objective.quantile_basis_points, 1, WHOLE - 1, place)
    check_range(spec.window_seconds, 1, WINDOW_SECONDS_MAX, "spec.windowSeconds")
    check_range(spec.weight, 1, WEIGHT_MAX, "spec.weight")
    place = "spec.minimumProbabilityBasisPoints"
    check_range(spec.minimum_probability_basis_points, 0, WHOLE, place)
    check_range(spec.exploration_basis_points, 0, WHOLE, "spec.explorationBasisPoints")
    check_one_of(spec.below, BELOW, "spec.below")


def validate_signals(thing: NodeSignals) -> None:
    """Refuse signals of an unknown feature set, or beyond what sums can hold.

    Raises:
        ConfigError: the first field that is wrong.
    """
    status = thing.status
    check_one_of(status.feature_set, FEATURE_SETS, "status.featureSet")
    check_range(status.age_milliseconds, 0, SIGNAL_MAX, "status.ageMilliseconds")
    check_range(status.valid_milliseconds, 1, SIGNAL_MAX, "status.validMilliseconds")
    for name, value in status.signals.items():
        check_range(value, -SIGNAL_MAX, SIGNAL_MAX, f"status.signals[{name}]")


def validate_profile(thing: ServiceProfile) -> None:
    """Refuse a profile of nobody, or beyond what sums can hold.

    Raises:
        ConfigError: the first field that is wrong.
    """
    check_selector(thing.spec.selector, "spec.selector")
    if thing.spec.selector is None:
        raise ConfigError("missing", where="spec.selector", fix="write the pods' labels")
    status = thing.status
    check_range(status.samples, 0, SIGNAL_MAX, "status.samples")
    check_range(status.quiet_microseconds, 0, SIGNAL_MAX, "status.quietMicroseconds")
    for name, value in status.traits.items():
        check_range(value, -SIGNAL_MAX, SIGNAL_MAX, f"status.traits[{name}]")
    for name, value in status.confidence_basis_points.items():
        check_range(value, 0, WHOLE, f"status.confidenceBasisPoints[{name}]")


def _check_number(value: int | None, most: int, where: str) -> None:
    if value is None:
        raise ConfigError("missing", where=where, fix=f"write a number from 1 to {most}")
    check_range(value, 1, most, where)
