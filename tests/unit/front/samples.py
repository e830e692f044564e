"""Results to show: built from plain numbers, the same on every call."""

from __future__ import annotations

import math
from collections.abc import Sequence

from herz.world.sim.result import (
    Allocation,
    ClassResult,
    CurvePoint,
    NodeUse,
    PodCounts,
    PolicyName,
    RunResult,
    Series,
    Summary,
    WaitHistogram,
    WaitSeconds,
    combine,
)

SECOND_NS = 1_000_000_000
DIGEST = "sha256:" + "ab" * 32


def run_result(
    seed: int = 0,
    *,
    nodes: int = 24,
    samples: int = 200,
    scenario: str = "shop",
    has_curve: bool = False,
    hostile: str = "",
) -> RunResult:
    """One run with every part filled; `hostile` is put into every name."""
    classes = {
        f"online{hostile}": [0] * 700 + [n * SECOND_NS // 20 for n in range(300)],
        "streaming": [n * SECOND_NS for n in range(200)],
        "batch": [n * n * SECOND_NS // 10 for n in range(400)],
    }
    waits = [wait for group in classes.values() for wait in group]
    return RunResult(
        scenario=scenario + hostile,
        policy=PolicyName(name="default" + hostile, digest=DIGEST, version="1"),
        seed=seed,
        pods=PodCounts(
            arrived=1612,
            bound=1600,
            unschedulable=12,
            completed=1500,
            running=88,
            preempted=12,
            pending=12,
        ),
        decisions=1_733 + seed,
        decisions_digest=f"{seed:02x}" * 48,
        decisions_per_second=15_234.5,
        machine_seconds=0.11,
        wait_seconds=WaitSeconds.of(waits),
        allocation_percent={"cpu": 61.25 + seed / 4, "memory": 48.5, "pods": 21.0},
        allocation={"cpu": Allocation(mean=61.25, peak=93.0, end=2.0, requested=180.0)},
        order_rungs={"1": 410, "2": 3, "3": 1},
        classes={name: class_result(group) for name, group in classes.items()},
        series=series(samples, seed),
        reasons={
            f"Insufficient cpu{hostile}": 212,
            "node(s) had untolerated taint": 40,
            "node(s) didn't match Pod's node affinity/selector": 17,
        },
        nodes=tuple(node_use(index, hostile) for index in range(nodes)),
        curve=curve(seed) if has_curve else (),
        faults={"bind timed out": 3, "watch gap": 1},
        notes=(f"3 jobs were split{hostile}",),
        virtual_seconds=86_400.0,
        stopped="drained",
    )


def summary(seeds: Sequence[int] = (0,), **options: object) -> Summary:
    """The summary of one run a seed."""
    return combine([run_result(seed, **options) for seed in seeds])  # type: ignore[arg-type]


def class_result(waits_ns: Sequence[int]) -> ClassResult:
    """A class of which four pods more arrived than were bound."""
    return ClassResult(
        arrived=len(waits_ns) + 4,
        bound=len(waits_ns),
        wait=WaitSeconds.of(waits_ns),
        histogram=WaitHistogram.of(waits_ns),
    )


def series(count: int, seed: int) -> Series:
    """A day: two humps of allocation and a queue at the second."""
    at = [index * 86_400.0 / max(1, count - 1) for index in range(count)]
    day = [abs(math.sin(time / 86_400 * 6.2 + seed / 50)) for time in at]
    return Series(
        seconds=tuple(at),
        allocation_percent={
            "cpu": tuple(round(95 * value, 3) for value in day),
            "memory": tuple(round(70 * value + 5, 3) for value in day),
            "pods": tuple(round(30 * value, 3) for value in day),
        },
        ready=tuple(0 for _ in at),
        waiting=tuple(int(max(0, value - 0.8) * 900) for value in day),
        running=tuple(int(value * 700) for value in day),
        nodes=tuple(24 if time < 40_000 else 22 for time in at),
    )


def node_use(index: int, hostile: str) -> NodeUse:
    """One node of three zones; every 50th is gone at the end."""
    peak = (index * 37) % 101
    return NodeUse(
        node=f"node-{index}{hostile}",
        zone=f"zone-{'abc'[index % 3]}",
        is_up=index % 50 != 49,
        peak={"cpu": float(peak), "memory": float((index * 11) % 90)}
        | ({"gpu": float(peak)} if index % 4 == 0 else {}),
        end={"cpu": peak / 4, "memory": float((index * 11) % 50)}
        | ({"gpu": 0.0} if index % 4 == 0 else {}),
        pods_end=index % 7,
        pods_peak=index % 7 + 12,
    )


def curve(seed: int) -> tuple[CurvePoint, ...]:
    """Allocation that follows the load and then bends below 96 per cent."""
    return tuple(
        CurvePoint(
            arrived_percent=arrived / 10,
            allocated_percent=min(arrived / 10, 90.0 + seed / 10)
            + (0 if arrived < 900 else 5 * (arrived - 900) / 400),
        )
        for arrived in range(0, 1301, 2)
    )
