"""Results: quantiles, spreads, digests, and the summary of runs."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from herz.errors import ConfigError
from herz.model.record import Decided, Order, PodReference, PolicyReference, Record
from herz.world.sim.result import (
    DigestSink,
    PodCounts,
    PolicyName,
    RunResult,
    Spread,
    WaitHistogram,
    WaitSeconds,
    combine,
    nearest_rank,
)

POLICY = PolicyName(name="default", digest="@sha256:00")


def example_result(seed: int = 0, gpu: float = 90.0) -> RunResult:
    return RunResult(
        scenario="openb/default@1.3",
        policy=POLICY,
        seed=seed,
        pods=PodCounts(arrived=10, bound=8, unschedulable=2, dropped=2, running=8),
        decisions=10,
        decisions_per_second=1000.0,
        allocation_percent={"gpu": gpu},
        order_rungs={"1": 3, "2": 1},
        reasons={"Insufficient cpu": 2},
        faults={"bind_refused": 1},
    )


def make_record() -> Record:
    return Record(
        decided=Decided.PLACE,
        engine="",
        order=Order(batch=1, rung=1),
        pod=PodReference("", "a", "b", "c"),
        policy=PolicyReference("", "p", "1"),
        previous="",
        sequence=1,
        snapshot="",
        term=0,
        time_ns="0",
    )


@pytest.mark.parametrize(("rank", "expected"), [(1, 10), (50, 20), (51, 30), (99, 40), (100, 40)])
def test_nearest_rank_takes_a_value_that_is_there(rank: int, expected: int) -> None:
    assert nearest_rank([10, 20, 30, 40], rank) == expected


def test_wait_seconds_come_from_integers_in_any_order() -> None:
    waits = WaitSeconds.of([3_000_000_000, 1_000_000_000, 2_000_000_000])
    assert (waits.count, waits.p50, waits.max) == (3, 2.0, 3.0)
    assert WaitSeconds.of([]) == WaitSeconds()


def test_histogram_counts_each_wait_once() -> None:
    histogram = WaitHistogram.of([0, 1_000_000, 1_000_001, 10**18])
    assert sum(histogram.counts) == 4
    assert histogram.counts[0] == 2
    assert histogram.counts[-1] == 1
    assert len(histogram.counts) == len(histogram.bounds_seconds) + 1


def test_spread_of_one_run_has_no_deviation() -> None:
    assert Spread.of([5.0]).sd == 0.0
    assert Spread.of([1.0, 3.0]).mean == 2.0
    assert Spread.of([1.0, 3.0]).sd == pytest.approx(2**0.5)


def test_combine_gives_means_and_sums() -> None:
    summary = combine([example_result(0, 90.0), example_result(1, 92.0)])
    assert summary.seeds == (0, 1)
    assert summary.allocation_percent["gpu"].mean == 91.0
    assert summary.order_rungs == {"1": 6, "2": 2}
    assert summary.reasons == {"Insufficient cpu": 4}
    assert summary.pods["bound"].mean == 8.0
    assert msgspec.json.decode(msgspec.json.encode(summary), type=type(summary)) == summary


def test_combine_refuses_runs_that_differ() -> None:
    other = msgspec.structs.replace(example_result(), scenario="shop")
    with pytest.raises(ConfigError, match="differ"):
        combine([example_result(), other])
    with pytest.raises(ConfigError, match="no run"):
        combine([])


def test_digest_sink_digests_the_bytes_one_after_another() -> None:
    sink = DigestSink()
    sink.append(make_record(), b"ab", b"")
    sink.flush()
    sink.append(make_record(), b"c", b"")
    assert sink.hexdigest() == hashlib.sha3_384(b"abc").hexdigest()
    assert sink.count == 2


def test_end_states_sum_to_arrivals() -> None:
    assert example_result().pods.ended == 10
