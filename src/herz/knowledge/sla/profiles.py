"""How a service behaves, learned from samples of its pods: integers in, integers out.

A trait has a definition, a unit, a window and a prior for services of which little is known. What
is learned counts by its confidence, n / (n + HALF) for n samples of the window; the rest is the
prior's. Samples without a value (None) do not count: nothing is invented.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final, NamedTuple

from herz.model.meta import LabelSelector, ObjectMeta
from herz.model.service_levels import ServiceProfile, ServiceProfileSpec, ServiceProfileStatus

WHOLE: Final = 10_000
WINDOW: Final = 240
"""Samples of a window: two hours of one every 30 s."""
HALF: Final = 20
"""After so many samples, half of the answer is learned."""
SLOPE_MAX: Final = 10_000


class Sample(NamedTuple):
    """What was measured of a service in one interval, of one of its pods on one node.

    Attributes:
        cpu_milli: cpu used.
        bandwidth_bp: memory bandwidth used, in basis points of a node's.
        io_bp: I/O, likewise.
        network_bp: network, likewise.
        resident_bp: resident memory, in basis points of the request.
        io_rate: I/O throughput in operations a second.
        jitter_us: network jitter on the node, in microseconds.
        ratio_bp: P99 over the service's quiet P99, in basis points.
        node_cpu_bp: utilisation of the node's cpu, in basis points.
        node_bandwidth_bp: of its memory bandwidth.
        node_io_bp: of its I/O.
    """

    cpu_milli: int | None = None
    bandwidth_bp: int | None = None
    io_bp: int | None = None
    network_bp: int | None = None
    resident_bp: int | None = None
    io_rate: int | None = None
    jitter_us: int | None = None
    ratio_bp: int | None = None
    node_cpu_bp: int | None = None
    node_bandwidth_bp: int | None = None
    node_io_bp: int | None = None


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that a profile tells.

    Args:
        name: as in `ServiceProfile.status.traits`.
        unit: of the value.
        definition: in a sentence.
        of: the field of samples that it is made from.
        how: `mean`, `variation` (sd over mean), `stability` (10,000 less the variation) or
            `slope` (least squares of `ratio_bp` over the field).
        prior: what is said of a service of which nothing is known.
        per: of a slope: for how much more of the field.
    """

    name: str
    unit: str
    definition: str
    of: str
    how: str
    prior: int
    per: int = 1


TRAITS: Final = (
    Trait(
        "cpu_burstiness",
        "basis points",
        "standard deviation of the cpu used over its mean",
        "cpu_milli",
        "variation",
        3_000,
    ),
    Trait(
        "memory_residency",
        "basis points",
        "mean resident memory over the request",
        "resident_bp",
        "mean",
        8_000,
    ),
    Trait(
        "network_jitter_sensitivity",
        "basis points of the quiet P99 a 100 µs",
        "how much P99 grows with the network jitter of the node",
        "jitter_us",
        "slope",
        500,
        100,
    ),
    Trait(
        "io_stability",
        "basis points",
        "10,000 less the standard deviation of the I/O throughput over its mean",
        "io_rate",
        "stability",
        7_000,
    ),
    Trait("cpu_used", "milli cores", "mean cpu of a pod", "cpu_milli", "mean", 500),
    Trait(
        "bandwidth_used",
        "basis points of a node",
        "mean memory bandwidth of a pod",
        "bandwidth_bp",
        "mean",
        200,
    ),
    Trait("io_used", "basis points of a node", "mean I/O of a pod", "io_bp", "mean", 100),
    Trait(
        "network_used",
        "basis points of a node",
        "mean network of a pod",
        "network_bp",
        "mean",
        100,
    ),
    Trait(
        "cpu_sensitivity",
        "basis points of the quiet P99 a 1,000 basis points",
        "how much P99 grows with the utilisation of the node's cpu",
        "node_cpu_bp",
        "slope",
        500,
        1_000,
    ),
    Trait(
        "bandwidth_sensitivity",
        "basis points of the quiet P99 a 1,000 basis points",
        "how much P99 grows with the utilisation of the node's memory bandwidth",
        "node_bandwidth_bp",
        "slope",
        500,
        1_000,
    ),
    Trait(
        "io_sensitivity",
        "basis points of the quiet P99 a 1,000 basis points",
        "how much P99 grows with the utilisation of the node's I/O",
        "node_io_bp",
        "slope",
        500,
        1_000,
    ),
)
"""What a profile tells; the first four are the dimensions."""
DIMENSIONS: Final = tuple(trait.name for trait in TRAITS[:4])
PRIOR: Final = {trait.name: trait.prior for trait in TRAITS}
"""Of a service of which nothing is known."""


class Learner:
    """Learns the profile of one service; keeps its last `WINDOW` samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=WINDOW)
        self.quiet_us = 0
        """The service's quiet P99 in microseconds, as it is told; 0: not known."""

    def add(self, sample: Sample) -> None:
        """One more sample; the oldest goes."""
        self._samples.append(sample)

    def status(self) -> ServiceProfileStatus:
        """What was learned."""
        return learned(self._samples, self.quiet_us)


def learned(samples: Iterable[Sample], quiet_us: int = 0) -> ServiceProfileStatus:
    """The traits of these samples, with the confidence in each.

    Args:
        samples: in any order; what comes of them does not depend on it.
        quiet_us: the quiet P99, in microseconds.
    """
    given = tuple(samples)
    traits, confidence = {}, {}
    for trait in TRAITS:
        value, count = _measured(trait, given)
        sure = WHOLE * count // (count + HALF)
        traits[trait.name] = (sure * value + (WHOLE - sure) * trait.prior) // WHOLE
        if sure:
            confidence[trait.name] = sure
    return ServiceProfileStatus(
        samples=len(given),
        quiet_microseconds=quiet_us,
        traits=traits,
        confidence_basis_points=confidence,
    )


def profile_object(
    namespace: str, name: str, labels: dict[str, str], sla_class: str, status: ServiceProfileStatus
) -> ServiceProfile:
    """The profile as an object of the cluster."""
    return ServiceProfile(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceProfileSpec(selector=LabelSelector(match_labels=labels), sla_class=sla_class),
        status=status,
    )


def _measured(trait: Trait, samples: Sequence[Sample]) -> tuple[int, int]:
    """The trait's value, and from how many samples; (0, 0) where they cannot tell."""
    if trait.how == "slope":
        return _slope(trait, samples)
    values = [value for one in samples if (value := getattr(one, trait.of)) is not None]
    count, total = len(values), sum(values)
    if not count:
        return 0, 0
    if trait.how == "mean":
        return total // count, count
    if total <= 0:
        return 0, 0
    # n * sum of squares less the square of the sum is n^2 times the variance.
    spread = isqrt(max(count * sum(value * value for value in values) - total * total, 0))
    variation = min(WHOLE * spread // total, WHOLE)
    return (variation if trait.how == "variation" else WHOLE - variation), count


def _slope(trait: Trait, samples: Sequence[Sample]) -> tuple[int, int]:
    pairs = [
        (value, one.ratio_bp)
        for one in samples
        if (value := getattr(one, trait.of)) is not None and one.ratio_bp is not None
    ]
    count = len(pairs)
    sum_x, sum_y = sum(x for x, _ in pairs), sum(y for _, y in pairs)
    below = count * sum(x * x for x, _ in pairs) - sum_x * sum_x
    if below <= 0:
        return 0, 0  # Where the field never moved, nothing can be learned of it.
    above = count * sum(x * y for x, y in pairs) - sum_x * sum_y
    return min(max(above * trait.per // below, 0), SLOPE_MAX), count
