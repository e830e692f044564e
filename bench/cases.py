"""The cases: each builds its world, decides, and gives its figures.

A decision runs from the queue's pop to the chained record in memory: every case goes through
`Cycle.step`, no stage is left out, all nodes are looked at.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable

import numpy as np

from bench import preempting, recording, storing, worlds
from herz.app import SHEET_BYTES, build_machine, load_policy
from herz.cycle import Cycle
from herz.model.events import ObjectApplied
from herz.model.record import Record

KUBE_SCHEDULER = {
    "plain": 102,
    "spread": 79,
    "affinity-preferred": 77,
    "anti-affinity": 75,
}
"""Decisions a second of kube-scheduler 1.36's own code, alone in a process on such a machine, all
5,000 nodes scored: measured once, printed for comparison. Cases without one had none measured."""

CI_FLOORS = {
    "plain": 680,
    "spread": 460,
    "spread-soft": 340,
    "spread-default": 160,
    "node-affinity": 220,
    "affinity": 35,
    "anti-affinity": 60,
    "affinity-preferred": 90,
    "anti-affinity-preferred": 90,
    "mixed-kinds": 140,
    "gated": 110,
}
"""What scheduler_perf asks of kube-scheduler in its CI, pods a second with an API server and etcd,
on larger machines and sampling nodes (kubernetes, test/integration/scheduler_perf): for information
only."""

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


def like_kubernetes(
    kind: str, *, pods: int = 2_000, there: int = 1_000, has_service: bool = False
) -> dict[str, float]:
    """A case of kube-scheduler's own benchmark: 5,000 nodes, all looked at.

    Args:
        kind: one of `worlds.SPECS`.
        pods: how many are decided.
        there: how many plain ones are on nodes before.
        has_service: whether a Service selects them, which makes default spreading count them.
    """
    sink, machine = _machine(5_000, is_mixed=False)
    if has_service:
        machine.apply(ObjectApplied(time_ns=0, object=worlds.service()))
    before = "anti-affinity" if kind == "anti-affinity" else "plain"
    for number in range(there):
        old = worlds.pod_of(number, before, node=f"node-{number % 5_000:05d}")
        machine.apply(ObjectApplied(time_ns=0, object=old))
    started = time.perf_counter()
    for number in range(pods):
        machine.apply(ObjectApplied(time_ns=0, object=worlds.pod_of(number, kind)))
    arrived = _settled()
    _drain(machine)
    found = _figures(max(sink.records, 1), time.perf_counter() - arrived, arrived - started)
    peer = None if has_service else KUBE_SCHEDULER.get(kind)
    if peer is not None:
        found["times_kube_scheduler"] = found["decisions_a_second"] / peer
    found["kube_scheduler_ci_floor"] = CI_FLOORS["spread-default" if has_service else kind]
    return found


def mixed_kinds(pods: int = 1_000, there: int = 2_000) -> dict[str, float]:
    """Pods without rules of their own, among others with pod (anti-)affinity of each kind.

    Args:
        pods: how many are decided.
        there: how many of each kind are on nodes before.
    """
    sink, machine = _machine(5_000, is_mixed=False)
    for kind in worlds.MIXED_KINDS:
        for number in range(there):
            old = worlds.pod_of(number, kind, node=f"node-{number % 5_000:05d}")
            machine.apply(ObjectApplied(time_ns=0, object=old))
    started = time.perf_counter()
    for number in range(pods):
        machine.apply(ObjectApplied(time_ns=0, object=worlds.pod(number)))
    arrived = time.perf_counter()
    _drain(machine)
    found = _figures(sink.records, time.perf_counter() - arrived, arrived - started)
    found["times_kube_scheduler"] = found["decisions_a_second"] / KUBE_SCHEDULER["plain"]
    found["kube_scheduler_ci_floor"] = CI_FLOORS["mixed-kinds"]
    return found


def gated(pods: int = 5_000, waiting: int = 10_000) -> dict[str, float]:
    """One large node; pods that are gated, with pod affinity, while others are decided."""
    sink, machine = _machine(0, is_mixed=False)
    machine.apply(ObjectApplied(time_ns=0, object=worlds.large_node()))
    for number in range(waiting):
        machine.apply(ObjectApplied(time_ns=0, object=worlds.pod_of(number, "gated")))
    started = time.perf_counter()
    for number in range(pods):
        machine.apply(ObjectApplied(time_ns=0, object=worlds.pod_of(number, "plain")))
    arrived = time.perf_counter()
    _drain(machine)
    found = _figures(sink.records, time.perf_counter() - arrived, arrived - started)
    found["kube_scheduler_ci_floor"] = CI_FLOORS["gated"]
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


def preemption(nodes: int = 5_000, pods_a_node: int = 20) -> dict[str, float]:
    """1,000 preemptors on a full cluster; a turn is both decisions of one of them."""
    return preempting.run(
        lambda count: _machine(count, is_mixed=False)[1], nodes, pods_a_node, preemptors=1_000
    )


def volumes(kind: str, nodes: int = 5_000, pods: int = 2_000) -> dict[str, float]:
    """Pods with a claim each (`storing`)."""
    return storing.run(lambda count: _machine(count, is_mixed=False)[1], kind, nodes, pods)


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
    "plain-5000": lambda: like_kubernetes("plain", pods=5_000),
    "spread-5000": lambda: like_kubernetes("spread"),
    "spread-soft-5000": lambda: like_kubernetes("spread-soft"),
    "spread-default-5000": lambda: like_kubernetes("plain", has_service=True),
    "mixed-kinds-5000": mixed_kinds,
    "gated": gated,
    "node-affinity-5000": lambda: like_kubernetes("node-affinity"),
    "affinity-5000": lambda: like_kubernetes("affinity"),
    "anti-affinity-5000": lambda: like_kubernetes("anti-affinity"),
    "affinity-preferred-5000": lambda: like_kubernetes("affinity-preferred"),
    "anti-affinity-preferred-5000": lambda: like_kubernetes("anti-affinity-preferred"),
    "spread-150000-there": lambda: like_kubernetes("spread", there=150_000),
    "spread-soft-150000-there": lambda: like_kubernetes("spread-soft", there=150_000),
    "affinity-150000-there": lambda: like_kubernetes("affinity", there=150_000),
    "affinity-preferred-150000-there": lambda: like_kubernetes("affinity-preferred", there=150_000),
    "full-50000": full,
    "journal-on": recording.recording,
    "journal-read": recording.reading,
    "journal-lookup": recording.looking_up,
    "journal-state": recording.state,
    "journal-explain": recording.explaining,
    "preemption-5000": preemption,
    "volumes-made-5000": lambda: volumes(storing.MADE),
    "volumes-there-5000": lambda: volumes(storing.THERE),
    "volumes-bound-5000": lambda: volumes(storing.BOUND),
    "volumes-bound-20000-pods": lambda: volumes(storing.BOUND, pods=20_000),
}

RATIOS = (
    ("50,000 nodes against 5,000, a decision", "basic-50000", "basic-5000"),
    ("without reuse between pods against with it", "basic-5000-no-reuse", "basic-5000"),
    ("500 signatures and a change each against one", "mixed-5000", "basic-5000"),
    ("hard spread with 150,000 pods there against 1,000", "spread-150000-there", "spread-5000"),
    (
        "soft spread with 150,000 pods there against 1,000",
        "spread-soft-150000-there",
        "spread-soft-5000",
    ),
    ("affinity with 150,000 pods there against 1,000", "affinity-150000-there", "affinity-5000"),
    (
        "preferred affinity with 150,000 pods there against 1,000",
        "affinity-preferred-150000-there",
        "affinity-preferred-5000",
    ),
    (
        "bound volumes with 20,000 pods against 2,000",
        "volumes-bound-20000-pods",
        "volumes-bound-5000",
    ),
    ("a decision against the memory pass", "basic-5000", "memory-pass"),
)
"""(what is said, case, peer)."""


def _machine(nodes: int, *, is_mixed: bool, sheet_bytes: int = SHEET_BYTES) -> tuple[Count, Cycle]:
    sink = Count()
    machine = build_machine(load_policy("default"), 1, [sink], sheet_bytes=sheet_bytes)
    for event in worlds.nodes(nodes, is_mixed=is_mixed):
        machine.apply(event)
    return sink, machine


def _settled() -> float:
    """The time, once Python's collector has nothing to do.

    A pass over all that is there takes 0.4 s at 150,000 pods, and whether one falls into a short
    case is chance.
    """
    gc.collect()
    return time.perf_counter()


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
