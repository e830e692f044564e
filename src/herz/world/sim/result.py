"""What a simulated run shows: one run, and the mean of several.

Written by `herz.world.sim.run`, read by the command line and the report. All of it is for people:
floats are allowed here, none of them decides anything, and only `decisions_digest` (and nothing
that was timed) is comparable bit for bit between runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import msgspec

from herz.errors import ConfigError
from herz.model.record import PolicyReference, Record

SECOND_NS = 1_000_000_000


class PolicyName(msgspec.Struct, frozen=True, kw_only=True):
    """Which policy decided.

    Args:
        name: its name.
        digest: its `@sha256:` digest.
        version: its version; empty where it has none.
    """

    name: str
    digest: str
    version: str = ""

    @classmethod
    def of(cls, reference: PolicyReference) -> PolicyName:
        """The policy as records name it."""
        return cls(name=reference.name, digest=reference.digest, version=reference.version)


class PodCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many pods met which fate. A pod counts in `arrived` and in exactly one end state.

    The end states are completed, failed, deleted, evicted, preempted, dropped, running, terminating
    and pending; their sum is `arrived`. `bound` and `unschedulable` are counted beside them.

    Args:
        arrived: pods that the API accepted, replacements of evicted pods included.
        bound: pods whose bind landed (once at most for a pod).
        unschedulable: pods that were never bound though their time came: still waiting at the
            end, dropped, or deleted while they waited.
        completed: ran to their end.
        failed: refused by their node, or lost with it without a replacement being made.
        deleted: deleted by their user or controller.
        evicted: taken off their node by a drain or a node's end.
        preempted: taken off their node for a pod of higher priority.
        dropped: the protocol allows no second try, and the first gave no node.
        running: on a node at the end of the run.
        terminating: on a node at the end of the run, and being deleted.
        pending: not on a node at the end of the run.
        gated: of `pending`: held back by a scheduling gate.
    """

    arrived: int = 0
    bound: int = 0
    unschedulable: int = 0
    completed: int = 0
    failed: int = 0
    deleted: int = 0
    evicted: int = 0
    preempted: int = 0
    dropped: int = 0
    running: int = 0
    terminating: int = 0
    pending: int = 0
    gated: int = 0

    @property
    def ended(self) -> int:
        """The sum over the end states, which must be `arrived`."""
        finished = self.completed + self.failed + self.deleted + self.evicted + self.preempted
        return finished + self.dropped + self.running + self.terminating + self.pending


class WaitSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting time from a pod's arrival (or the removal of its gates) until its bind landed.

    Over the bound pods. Quantiles are nearest-rank, on integer nanoseconds; a pod that was never
    bound is in none of them (see `PodCounts.unschedulable`).
    """

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    mean: float = 0.0

    @classmethod
    def of(cls, waits_ns: Sequence[int]) -> WaitSeconds:
        """The quantiles of waits in nanoseconds, in any order."""
        if not waits_ns:
            return cls()
        ordered = sorted(waits_ns)
        assert ordered[0] >= 0, "a pod was bound before it arrived"
        return cls(
            count=len(ordered),
            p50=seconds(nearest_rank(ordered, 50)),
            p90=seconds(nearest_rank(ordered, 90)),
            p99=seconds(nearest_rank(ordered, 99)),
            max=seconds(ordered[-1]),
            mean=seconds(sum(ordered) // len(ordered)),
        )


class WaitHistogram(msgspec.Struct, frozen=True, kw_only=True):
    """How waits are spread.

    `counts[i]` pods waited at most `bounds_seconds[i]` and more than the bound before it; the last
    count is of those beyond the last bound.
    """

    bounds_seconds: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, waits_ns: Sequence[int]) -> WaitHistogram:
        """The histogram over fixed bounds, three a decade from a millisecond to a day."""
        counts = [0] * (len(_BOUNDS_NS) + 1)
        for wait in waits_ns:
            index = next((i for i, bound in enumerate(_BOUNDS_NS) if wait <= bound), -1)
            counts[index] += 1
        return cls(bounds_seconds=tuple(map(seconds, _BOUNDS_NS)), counts=tuple(counts))


_BOUNDS_NS = (
    *(step * 10**decade for decade in range(6, 14) for step in (1, 2, 5)),
    86_400 * SECOND_NS,
)


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one resource was given out, in percent of what the nodes had.

    Args:
        mean: mean over the virtual time of the run.
        peak: highest sample.
        end: at the end of the run.
        requested: asked for by all pods that arrived, in percent of the first capacity.
    """

    mean: float = 0.0
    peak: float = 0.0
    end: float = 0.0
    requested: float = 0.0


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Samples over virtual time; all tuples have one length, at most 1,024.

    Args:
        seconds: virtual time of each sample, ascending.
        allocation_percent: by resource.
        ready: pods that the machine could have decided at once, after its step (0 when healthy).
        waiting: pods that arrived and are not bound, gated ones left out.
        running: pods on a node.
        nodes: nodes that are up.
    """

    seconds: tuple[float, ...] = ()
    allocation_percent: dict[str, tuple[float, ...]] = {}
    ready: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()


class NodeUse(msgspec.Struct, frozen=True, kw_only=True):
    """One node of the heat map: percent of its allocatable, by resource, at the end and at most.

    Args:
        node: its name.
        zone: its zone label, or empty.
        is_up: whether it was there at the end.
        end: percent by resource at the end.
        peak: highest percent by resource during the run.
        pods_end: pods on it at the end.
        pods_peak: most pods on it at once.
    """

    node: str
    zone: str = ""
    is_up: bool = True
    end: dict[str, float] = {}
    peak: dict[str, float] = {}
    pods_end: int = 0
    pods_peak: int = 0


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of the openb curve: GPU-milli arrived and allocated, in percent of capacity."""

    arrived_percent: float
    allocated_percent: float


class ClassResult(msgspec.Struct, frozen=True, kw_only=True):
    """One class of pods: how many came, were bound, and how they waited."""

    arrived: int
    bound: int
    wait: WaitSeconds
    histogram: WaitHistogram


class PromiseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the promises of a run.

    Args:
        windows: judged, over all services that promise a quantile.
        broken: of them.
        by_service: broken windows by service.
        by_class: by class, how many windows or jobs broke the promise, and of how many.
        jobs: pods of jobs whose time came.
        completed: of them, those that ended in time.
        bound_pod_seconds: of all pods on nodes.
        cpu_basis_points: mean use of cpu over all nodes and windows, in truth.
    """

    windows: int = 0
    broken: int = 0
    by_service: dict[str, int] = {}
    by_class: dict[str, tuple[int, int]] = {}
    jobs: int = 0
    completed: int = 0
    bound_pod_seconds: int = 0
    cpu_basis_points: int = 0


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one scenario under one policy with one seed.

    Args:
        scenario: its name.
        policy: what decided.
        seed: of the world and of the machine's tie key.
        pods: fates.
        decisions: records made.
        decisions_digest: SHA3-384 (hex) over the canonical records, one after another.
        decisions_per_second: decisions over the wall time spent in the machine's `step`, which is
            where a pod goes from the queue's pop to the chained record. No digest holds it.
        step_seconds: that wall time.
        machine_seconds: the same and the machine's `apply` (all events taken in), measured around
            the calls; pods over this is the rate with intake and bookkeeping.
        wait_seconds: over all bound pods.
        allocation_percent: the figure by resource (`cpu`, `memory`, `pods`, `gpu`, extended ones
            by name): mean over virtual time, or for a scenario where pods only arrive, the
            allocation at the end.
        allocation: by resource, in detail.
        order_rungs: decisions by the rung on which the pod's batch was ordered ("1", "2", "3").
        classes: by class name.
        series: samples over virtual time.
        reasons: why pods waited: reason -> number of different pods that were refused for it.
        nodes: the heat map, by name.
        curve: openb only: allocation as load arrives.
        faults: how often each fault was injected.
        events: how many events the machine was given, by kind.
        effects: how many effects it gave, by kind.
        notes: facts about the input that a reader must know (jobs split, rows left out).
        virtual_seconds: how much virtual time passed.
        stopped: why the run ended ("drained", "time" or "arrivals").
        promises: what became of them, where the scenario has a truth.
    """

    scenario: str
    policy: PolicyName
    seed: int
    pods: PodCounts = PodCounts()
    decisions: int = 0
    decisions_digest: str = ""
    decisions_per_second: float = 0.0
    step_seconds: float = 0.0
    machine_seconds: float = 0.0
    wait_seconds: WaitSeconds = WaitSeconds()
    allocation_percent: dict[str, float] = {}
    allocation: dict[str, Allocation] = {}
    order_rungs: dict[str, int] = {}
    classes: dict[str, ClassResult] = {}
    series: Series = Series()
    reasons: dict[str, int] = {}
    nodes: tuple[NodeUse, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    faults: dict[str, int] = {}
    events: dict[str, int] = {}
    effects: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    virtual_seconds: float = 0.0
    stopped: str = ""
    promises: PromiseResult | None = None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and sample standard deviation over runs; the deviation of one run is 0."""

    mean: float = 0.0
    sd: float = 0.0
    min: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        assert values, "a spread needs a value"
        mean = math.fsum(values) / len(values)
        square = math.fsum((value - mean) ** 2 for value in values)
        deviation = math.sqrt(square / (len(values) - 1)) if len(values) > 1 else 0.0
        return cls(mean=mean, sd=deviation, min=min(values), max=max(values))


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Several runs of one scenario under one policy that differ in their seed alone.

    Args:
        scenario: its name.
        policy: what decided.
        seeds: in the order of `runs`.
        pods: mean and deviation of each count.
        allocation_percent: by resource, of the runs' figures.
        wait_seconds: of each run's p50, p99 and max.
        decisions_per_second: over the runs.
        decisions: over the runs.
        order_rungs: summed.
        reasons: summed.
        faults: summed.
        runs: each run in full.
    """

    scenario: str
    policy: PolicyName
    seeds: tuple[int, ...]
    pods: dict[str, Spread]
    allocation_percent: dict[str, Spread]
    wait_seconds: dict[str, Spread]
    decisions_per_second: Spread
    decisions: Spread
    order_rungs: dict[str, int]
    reasons: dict[str, int]
    faults: dict[str, int]
    runs: tuple[RunResult, ...]


def combine(runs: Sequence[RunResult]) -> Summary:
    """The summary of runs of one scenario and one policy.

    Raises:
        ConfigError: there is no run, or the runs differ in scenario or policy.
    """
    if not runs:
        raise ConfigError("no run to combine", fix="ask for at least one run")
    first = runs[0]
    for run in runs:
        if (run.scenario, run.policy) != (first.scenario, first.policy):
            value = (run.scenario, run.policy.name)
            fix = "combine runs of one scenario and one policy"
            raise ConfigError("the runs differ in scenario or policy", value=value, fix=fix)
    resources = sorted({name for run in runs for name in run.allocation_percent})
    return Summary(
        scenario=first.scenario,
        policy=first.policy,
        seeds=tuple(run.seed for run in runs),
        pods={
            name: Spread.of([getattr(run.pods, name) for run in runs])
            for name in PodCounts.__struct_fields__
        },
        allocation_percent={
            name: Spread.of([run.allocation_percent.get(name, 0.0) for run in runs])
            for name in resources
        },
        wait_seconds={
            name: Spread.of([getattr(run.wait_seconds, name) for run in runs])
            for name in ("p50", "p99", "max")
        },
        decisions_per_second=Spread.of([run.decisions_per_second for run in runs]),
        decisions=Spread.of([run.decisions for run in runs]),
        order_rungs=_summed([run.order_rungs for run in runs]),
        reasons=_summed([run.reasons for run in runs]),
        faults=_summed([run.faults for run in runs]),
        runs=tuple(runs),
    )


class DigestSink:
    """Counts records and digests their canonical bytes, as one of the machine's sinks.

    The hash is updated in `flush`, which the driver calls outside the time it measures, so that
    the simulator's own digest does not slow the machine that it times.
    """

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha3_384()
        # Bound: the driver flushes after each step, which decides at most its limit of pods.
        self._held: list[bytes] = []

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take one record; see `herz.ports.RecordSink`."""
        del record, digest
        self.count += 1
        self._held.append(canonical)

    def flush(self) -> None:
        """Digest what was taken since the last call."""
        if self._held:
            self._hash.update(b"".join(self._held))
            self._held.clear()

    def hexdigest(self) -> str:
        """The digest so far, hex."""
        self.flush()
        return self._hash.hexdigest()


def seconds(time_ns: int) -> float:
    """Nanoseconds as seconds for people, to the microsecond."""
    return round(time_ns / SECOND_NS, 6)


def percent(part: int, whole: int) -> float:
    """`part` of `whole` in percent for people; 0 of nothing."""
    return round(100 * part / whole, 4) if whole > 0 else 0.0


def nearest_rank(ordered: Sequence[int], rank_percent: int) -> int:
    """The nearest-rank quantile of ascending values: the least with `rank_percent` at or below."""
    assert ordered, "a quantile needs a value"
    assert 0 < rank_percent <= 100, rank_percent
    return ordered[-(-rank_percent * len(ordered) // 100) - 1]


def _summed(tables: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for table in tables:
        for key, count in table.items():
            total[key] = total.get(key, 0) + count
    return dict(sorted(total.items()))
