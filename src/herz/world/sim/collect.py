"""What is measured while a run goes on: samples over virtual time, sums, and the openb curve.

Reads the cluster, changes nothing. Sums are integers; floats are made at the end, for people.
"""

from __future__ import annotations

from herz.model.record import Decided, Record
from herz.world.sim.cluster import Cluster, Fate, NodeState, PodState
from herz.world.sim.fit import DEVICE_MILLI
from herz.world.sim.result import (
    Allocation,
    ClassResult,
    CurvePoint,
    NodeUse,
    PodCounts,
    Series,
    WaitHistogram,
    WaitSeconds,
    percent,
    seconds,
)

FIRST_INTERVAL_NS = 1_000_000
REASONS_MAX = 1000
CURVE_STEPS = 100


class Collector:
    """Samples of a run.

    Args:
        cluster: the truth.
        samples_max: bound of the series; when it is met, every other sample is left out and the
            interval doubles.
    """

    def __init__(self, cluster: Cluster, samples_max: int) -> None:
        assert samples_max >= 4, samples_max
        self._cluster = cluster
        self._samples_max = samples_max
        self._interval_ns = FIRST_INTERVAL_NS
        self._next_ns = 0
        self._times: list[int] = []
        self._counts: list[tuple[int, int, int, int]] = []
        self._shares: list[dict[str, tuple[int, int]]] = []
        self._used_time: dict[str, int] = {}
        self._capacity_time: dict[str, int] = {}
        self._peak: dict[str, float] = {}
        self._first_capacity: dict[str, int] = {}
        self._curve: list[CurvePoint] = []
        self._curve_step = 0

    def pass_time(self, from_ns: int, to_ns: int, ready: int) -> None:
        """Nothing changes from one time to the other."""
        span_ns = to_ns - from_ns
        assert span_ns >= 0, (from_ns, to_ns)
        used, capacity = self._cluster.used, self._cluster.capacity
        if not self._first_capacity:
            self._first_capacity = dict(capacity)
        for resource, amount in capacity.items():
            taken = used.get(resource, 0)
            self._used_time[resource] = self._used_time.get(resource, 0) + taken * span_ns
            total = self._capacity_time.get(resource, 0) + amount * span_ns
            self._capacity_time[resource] = total
        # Bound: the interval doubles each `samples_max / 2` rounds, so rounds grow as a logarithm.
        while self._next_ns < to_ns:
            self._sample(self._next_ns, ready)
            self._next_ns += self._interval_ns

    def load(self, capacity_milli: int) -> None:
        """Add a point to the openb curve where another hundredth of the load has arrived."""
        arrived = self._cluster.requested.get("gpu", 0)
        step = arrived * CURVE_STEPS // capacity_milli
        if step > self._curve_step:
            self._curve_step = step
            self._curve.append(self._point(arrived, capacity_milli))

    def finish(self, now_ns: int, ready: int, capacity_milli: int) -> None:
        """Take the last sample, and the curve's last point."""
        self._sample(now_ns, ready)
        if capacity_milli:
            arrived = self._cluster.requested.get("gpu", 0)
            self._curve.append(self._point(arrived, capacity_milli))

    def series(self) -> Series:
        """The samples."""
        resources = sorted({name for share in self._shares for name in share})
        return Series(
            seconds=tuple(map(seconds, self._times)),
            allocation_percent={
                name: tuple(percent(*share.get(name, (0, 0))) for share in self._shares)
                for name in resources
            },
            ready=tuple(count[0] for count in self._counts),
            waiting=tuple(count[1] for count in self._counts),
            running=tuple(count[2] for count in self._counts),
            nodes=tuple(count[3] for count in self._counts),
        )

    def allocation(self) -> dict[str, Allocation]:
        """By resource."""
        cluster = self._cluster
        first = self._first_capacity or cluster.capacity
        return {
            name: Allocation(
                mean=self._mean(name),
                peak=self._peak.get(name, 0.0),
                end=percent(cluster.used.get(name, 0), cluster.capacity[name]),
                requested=percent(cluster.requested.get(name, 0), first.get(name, 0)),
            )
            for name in sorted(cluster.capacity)
            if first.get(name, 0) or cluster.capacity[name]
        }

    def curve(self) -> tuple[CurvePoint, ...]:
        """The openb curve."""
        return tuple(self._curve)

    def _mean(self, name: str) -> float:
        """Over virtual time; where none passed, what there is at the end."""
        spent = self._capacity_time.get(name, 0)
        if spent > 0:
            return percent(self._used_time.get(name, 0), spent)
        return percent(self._cluster.used.get(name, 0), self._cluster.capacity[name])

    def _point(self, arrived: int, capacity_milli: int) -> CurvePoint:
        allocated = self._cluster.used.get("gpu", 0)
        return CurvePoint(
            arrived_percent=percent(arrived, capacity_milli),
            allocated_percent=percent(allocated, capacity_milli),
        )

    def _sample(self, at_ns: int, ready: int) -> None:
        cluster = self._cluster
        self._times.append(at_ns)
        self._counts.append((ready, cluster.pending, cluster.running, cluster.nodes_up))
        share = {name: (cluster.used.get(name, 0), all_) for name, all_ in cluster.capacity.items()}
        self._shares.append(share)
        for name, (used, capacity) in share.items():
            self._peak[name] = max(self._peak.get(name, 0.0), percent(used, capacity))
        if len(self._times) >= self._samples_max:
            self._times = self._times[::2]
            self._counts = self._counts[::2]
            self._shares = self._shares[::2]
            self._interval_ns *= 2


class VerdictSink:
    """Why pods waited, and on which rung each was ordered, as one of the machine's sinks.

    Works in `flush`, outside the measured time.
    """

    def __init__(self) -> None:
        # Bound: the driver flushes after each step.
        self._held: list[Record] = []
        # Bound: `REASONS_MAX` reasons; what comes after is counted under "other reasons".
        self._pods: dict[str, set[str]] = {}
        self.rungs = {"1": 0, "2": 0, "3": 0}

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take one record; see `herz.ports.RecordSink`."""
        del canonical, digest
        self._held.append(record)

    def flush(self) -> None:
        """Count what was taken since the last call."""
        for record in self._held:
            rung = str(record.order.rung)
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
            if record.decided is not Decided.PLACE:
                self._count_reasons(record)
        self._held.clear()

    def reasons(self) -> dict[str, int]:
        """Pods by reason, most pods first, then by text."""
        counts = {reason: len(pods) for reason, pods in self._pods.items()}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _count_reasons(self, record: Record) -> None:
        for rejection in record.rejections:
            reason = rejection.reason
            if reason not in self._pods and len(self._pods) >= REASONS_MAX:
                reason = "other reasons"
            self._pods.setdefault(reason, set()).add(record.pod.uid)


def pod_counts(cluster: Cluster) -> PodCounts:
    """The fates of all pods."""
    fates = {fate.value: 0 for fate in Fate}
    bound = unschedulable = gated = 0
    for state in cluster.pods.values():
        fates[state.fate.value] += 1
        bound += state.bound_ns >= 0
        is_gated = state.fate is Fate.PENDING and state.pod.is_gated
        gated += is_gated
        unschedulable += not is_gated and _is_unschedulable(state)
    return PodCounts(
        arrived=len(cluster.pods), bound=bound, unschedulable=unschedulable, gated=gated, **fates
    )


def class_results(cluster: Cluster, classes: tuple[str, ...]) -> dict[str, ClassResult]:
    """Arrivals and waits by class, in the scenario's order, then other classes by name."""
    states: dict[str, list[PodState]] = {name: [] for name in classes}
    for state in cluster.pods.values():
        if not state.arrival.pod.is_assigned:
            states.setdefault(state.arrival.class_name, []).append(state)
    results: dict[str, ClassResult] = {}
    for name, members in states.items():
        waits = [state.bound_ns - state.queued_ns for state in members if state.bound_ns >= 0]
        results[name] = ClassResult(
            arrived=len(members),
            bound=len(waits),
            wait=WaitSeconds.of(waits),
            histogram=WaitHistogram.of(waits),
        )
    return results


def waits_ns(cluster: Cluster) -> list[int]:
    """The waits of all bound pods, in order of arrival."""
    bound = (state for state in cluster.pods.values() if state.bound_ns >= 0)
    return [state.bound_ns - state.queued_ns for state in bound]


def node_uses(cluster: Cluster) -> tuple[NodeUse, ...]:
    """The heat map, by node name."""
    return tuple(_node_use(name, cluster.nodes[name]) for name in sorted(cluster.nodes))


def _node_use(name: str, state: NodeState) -> NodeUse:
    room = state.room
    capacity = dict(room.capacity)
    used = dict(room.used)
    if room.devices_free:
        capacity["gpu"] = DEVICE_MILLI * len(room.devices_free)
        used["gpu"] = capacity["gpu"] - sum(room.devices_free)
    return NodeUse(
        node=name,
        zone=state.zone,
        is_up=state.is_up,
        end={key: percent(used.get(key, 0), amount) for key, amount in capacity.items()},
        peak={key: percent(state.peak.get(key, 0), amount) for key, amount in capacity.items()},
        pods_end=len(room.holders),
        pods_peak=state.pods_peak,
    )


def _is_unschedulable(state: PodState) -> bool:
    if state.bound_ns >= 0 or state.arrival.pod.is_assigned:
        return False
    return state.fate in (Fate.PENDING, Fate.DROPPED) or state.was_refused
