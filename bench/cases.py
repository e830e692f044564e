"""The cases: each builds its world, decides, and gives its figures.

A decision runs from the queue's pop to the chained record in memory: every case goes through
`Cycle.step`, no stage is left out, all nodes are looked at.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import numpy as np

from bench import worlds
from herz.app import SHEET_BYTES, build_machine, load_policy
from herz.cycle import Cycle
from herz.model.events import ObjectApplied
from herz.model.record import Record

BATCH = 256
"""Decisions a step, as a driver that keeps a step under 5 ms would choose."""


class Count:
    """A sink that counts records."""

    def __init__(self) -> None:
        self.records = 0

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """One more."""
        self.records += 1


def basic(
    nodes: int = 5_000, pods: int = 10_000, sheet_bytes: int = SHEET_BYTES
) -> dict[str, float]:
    """One shape of node, one of pod."""
    sink, machine = _machine(nodes, is_mixed=False, sheet_bytes=sheet_bytes)
    started = time.perf_counter()
    for number in range(pods):
        machine.apply(ObjectApplied(time_ns=0, object=worlds.pod(number)))
    arrived = time.perf_counter()
    _drain(machine)
    return _figures(sink.records, time.perf_counter() - arrived, arrived - started)


def mixed(nodes: int = 5_000, pods: int = 10_000) -> dict[str, float]:
    """500 pod signatures, 50 node shapes, a node or pod change between every two decisions."""
    sink, machine = _machine(nodes, is_mixed=True)
    arriving = [
        ObjectApplied(time_ns=0, object=worlds.pod(number, signature=number % 500))
        for number in range(pods)
    ]
    changing = list(worlds.changes(pods, nodes))
    started = time.perf_counter()
    for event in arriving:
        machine.apply(event)
    arrived = time.perf_counter()
    deciding = 0.0
    for change in changing:
        machine.apply(change)
        before = time.perf_counter()
        machine.step(1, 1)
        deciding += time.perf_counter() - before
    whole = time.perf_counter() - arrived
    found = _figures(sink.records, deciding, arrived - started)
    found["with_changes_a_second"] = sink.records / whole
    return found


def full(nodes: int = 50_000, pods: int = 500_000) -> dict[str, float]:
    """A full cluster: memory, and decisions among many pods."""
    sink, machine = _machine(nodes, is_mixed=False)
    started = arrived = time.perf_counter()
    deciding = 0.0
    for first in range(0, pods, 10_000):
        for number in range(first, first + 10_000):
            machine.apply(ObjectApplied(time_ns=0, object=worlds.pod(number)))
        arrived = time.perf_counter()
        _drain(machine)
        deciding += time.perf_counter() - arrived
    return _figures(sink.records, deciding, time.perf_counter() - started - deciding)


def python_loop() -> dict[str, float]:
    """What this machine's Python does just now: a loop of ten million additions."""
    started = time.perf_counter()
    total = 0
    for number in range(10_000_000):
        total += number
    span = time.perf_counter() - started
    return {
        "decisions": 1.0,
        "microseconds_a_decision": span * 1e6,
        "nanoseconds_a_turn": span * 100,
    }


def memory_pass() -> dict[str, float]:
    """The floor: one pass over what a decision reads of 5,000 nodes, a total and a key each."""
    rows = np.zeros((2, 5_000), np.int64)
    turns = 20_000
    started = time.perf_counter()
    for _ in range(turns):
        rows.max()
    span = time.perf_counter() - started
    return {
        "decisions": float(turns),
        "microseconds_a_decision": span / turns * 1e6,
        "gigabytes_a_second": rows.nbytes * turns / span / 1e9,
    }


CASES: dict[str, Callable[[], dict[str, float]]] = {
    "python-loop": python_loop,
    "memory-pass": memory_pass,
    "basic-5000": basic,
    "basic-5000-no-reuse": lambda: basic(pods=1_000, sheet_bytes=0),
    "basic-50000": lambda: basic(nodes=50_000),
    "mixed-5000": mixed,
    "full-50000": full,
}

RATIOS = (
    ("50,000 nodes against 5,000, a decision", "basic-50000", "basic-5000"),
    ("without reuse between pods against with it", "basic-5000-no-reuse", "basic-5000"),
    ("500 signatures and a change each against one", "mixed-5000", "basic-5000"),
    ("a decision against the memory pass", "basic-5000", "memory-pass"),
)
"""(what is said, case, peer)."""


def _machine(nodes: int, *, is_mixed: bool, sheet_bytes: int = SHEET_BYTES) -> tuple[Count, Cycle]:
    sink = Count()
    machine = build_machine(load_policy("default"), 1, [sink], sheet_bytes=sheet_bytes)
    for event in worlds.nodes(nodes, is_mixed=is_mixed):
        machine.apply(event)
    return sink, machine


def _drain(machine: Cycle) -> None:
    while machine.ready:
        machine.step(1, BATCH)


def _figures(records: int, deciding: float, arriving: float) -> dict[str, float]:
    return {
        "decisions": float(records),
        "decisions_a_second": records / deciding,
        "microseconds_a_decision": deciding / records * 1e6,
        "arrival_microseconds_a_pod": arriving / records * 1e6,
        "memory_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
