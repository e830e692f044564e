"""Watches a run: measures nodes as agents do, with noise and late, and judges promises in truth.

Comes in: what is on the nodes, from the simulated cluster. Goes out: `NodeSignals` and
`ServiceProfile` objects as events, training rows, and the count of broken promises. A window is a
minute of a service; a pod that has no node breaks its service's promise in every window since it
arrived.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from herz.knowledge.sla import state
from herz.knowledge.sla.features import MISSING
from herz.knowledge.sla.profiles import PRIOR, WHOLE, Learner, Sample, profile_object
from herz.model.events import ObjectApplied, WorldEvent
from herz.model.meta import ObjectMeta
from herz.model.service_levels import NodeSignals, NodeSignalsStatus
from herz.world.sim.cluster import Cluster, Fate
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.promises.curves import Floats
from herz.world.sim.promises.truth import LOADS, SLOW_JOB, Counts, Service, Truth
from herz.world.sim.result import PromiseResult
from herz.world.sim.tables import TruthTable
from herz.world.sim.units import span_ns

MINUTE_NS: Final = 60_000_000_000
WARM_MINUTES: Final = 10
"""The first minutes are not judged: the cluster fills."""
VALID_SAMPLES: Final = 4
"""A sample stands until so many others should have come."""


class Outcome(NamedTuple):
    """A service on a node in one minute: what was known before, and what came of it.

    Attributes:
        minute: which.
        service: its key.
        class_name: of its promise.
        features: the row (`herz.knowledge.sla.state.NAMES`).
        ratio_bp: measured P99 over the quiet P99, in basis points; 0 of a job.
        target_bp: the target over the quiet P99; 0 of a job.
        is_done: of a job, whether it ended in time.
    """

    minute: int
    service: str
    class_name: str
    features: tuple[int, ...]
    ratio_bp: int
    target_bp: int
    is_done: bool = False


class Monitor:
    """The agents and the judge of one run.

    Args:
        engine: virtual time.
        cluster: what is where.
        deliver: takes the events.
        truth: the constants of the seed.
        table: how often, how late, how noisy.
        generator: of the noise.
        end_ns: when it stops.
        is_collecting: whether training rows are kept.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: Cluster,
        deliver: Callable[[WorldEvent], None],
        truth: Truth,
        table: TruthTable,
        generator: random.Random,
        end_ns: int,
        *,
        is_collecting: bool = False,
    ) -> None:
        self._engine, self._cluster, self._deliver = engine, cluster, deliver
        self.truth = truth
        self._generator = generator
        self._noise = table.noise
        self._end_ns = end_ns
        self._every_ns = span_ns(table.sample, "truth.sample")
        self._lag_ns = span_ns(table.lag, "truth.lag")
        self._profile_ns = span_ns(table.profile, "truth.profile")
        self._index = {one.key: number for number, one in enumerate(truth.services)}
        self._names = tuple(cluster.nodes)
        self._rows = {name: row for row, name in enumerate(self._names)}
        self._learners = [Learner() for _ in truth.services]
        self._traits = [dict(PRIOR) for _ in truth.services]
        self._signals: dict[str, list[int]] = {
            name: [MISSING] * len(self._names) for name in state.SIGNALS
        }
        self._rows_before: tuple[Counts, dict[tuple[int, int], tuple[int, ...]]] | None = None
        # Speeds of jobs that run: the sum of their slowdowns, and of how many minutes.
        self._jobs: dict[str, tuple[float, int]] = {}
        # By job, the minute in which it was first seen, and the row as it was then.
        self._begun: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._is_collecting = is_collecting
        self.outcomes: list[Outcome] = []
        self._windows = self._broken = self._pod_minutes = self._judged = 0
        self._by_service: dict[str, int] = {}
        self._by_class: dict[str, tuple[int, int]] = {}
        self._cpu = 0.0
        engine.at(self._every_ns, Rank.NODE, self._measure)
        engine.at(MINUTE_NS, Rank.NODE, self._judge)
        engine.at(self._profile_ns, Rank.NODE, self._tell_profiles)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes' names, in the order of the truth's columns."""
        return self._names

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self._engine.now_ns

    def counts(self) -> Counts:
        """By (service, node): pods on nodes."""
        found = np.zeros((len(self.truth.services), len(self._names)), np.int64)
        for name, row in self._rows.items():
            node = self._cluster.nodes.get(name)
            for uid in () if node is None else node.room.holders:
                service = self._service_of(uid)
                if service is not None:
                    found[service, row] += 1
        return found

    def result(self) -> PromiseResult:
        """What became of the promises."""
        ends = [is_done for _, _, is_done in self._ends()]
        by_class = dict(self._by_class)
        for _, service, is_done in self._ends():
            _count(by_class, service.class_name, is_broken=not is_done)
        return PromiseResult(
            windows=self._windows,
            broken=self._broken,
            by_service=dict(sorted(self._by_service.items())),
            by_class=dict(sorted(by_class.items())),
            jobs=len(ends),
            completed=sum(ends),
            bound_pod_seconds=self._pod_minutes * 60,
            cpu_basis_points=int(self._cpu * WHOLE) // max(self._judged, 1),
        )

    def job_outcomes(self) -> list[Outcome]:
        """What came of the jobs that were to end before the run did, by the rows they began on."""
        return [
            Outcome(minute, one.key, one.class_name, features, 0, 0, is_done)
            for uid, one, is_done in self._ends()
            if uid in self._begun
            for minute, features in (self._begun[uid],)
        ]

    def _ends(self) -> Iterator[tuple[str, Service, bool]]:
        """The jobs that were to end before the run did, and whether each did so in time."""
        for uid, pod in self._cluster.pods.items():
            service = self._service_of(uid)
            if service is None or self.truth.services[service].target_ns:
                continue
            if pod.arrival.run_ns is None or pod.arrived_ns + pod.arrival.run_ns * 2 > self._end_ns:
                continue
            total, minutes = self._jobs.get(uid, (0.0, 0))
            is_slow = minutes > 0 and total > SLOW_JOB * minutes
            is_done = pod.fate is Fate.COMPLETED and not is_slow
            yield uid, self.truth.services[service], is_done

    # ---- what agents see ------------------------------------------------------------------

    def _measure(self, _: None) -> None:
        engine = self._engine
        load = self.truth.load(engine.now_ns // MINUTE_NS)
        counts = self.counts()
        used = self.truth.utilisation(counts, load)
        felt = self.truth.pressure(used)
        ratios = self.truth.ratios(self.truth.queues(counts, load))
        told = []
        for row, name in enumerate(self._names):
            signals = {
                f"{one}_utilisation": self._noisy(int(used[number, row] * WHOLE))
                for number, one in enumerate(LOADS)
            }
            busy = float(felt[0, row])
            room = self._cluster.nodes[name].room
            signals["requested_cpu"] = room.used.get("cpu", 0)
            signals["run_queue_wait"] = self._noisy(int(200 + 40_000 * busy))
            signals["cpu_pressure"] = min(self._noisy(int(100 + 4_000 * busy)), WHOLE)
            signals["network_jitter"] = self._noisy(int(50 + 2_000 * float(felt[3, row])))
            told.append((name, signals))
        self._sample(counts, ratios, load, dict(told))
        engine.at(engine.now_ns + self._lag_ns, Rank.WATCH, self._tell_signals, told)
        if engine.now_ns + self._every_ns <= self._end_ns:
            engine.at(engine.now_ns + self._every_ns, Rank.NODE, self._measure)

    def _tell_signals(self, told: list[tuple[str, dict[str, int]]]) -> None:
        for name, signals in told:
            row = self._rows[name]
            for signal, values in self._signals.items():
                values[row] = signals[signal]
            status = NodeSignalsStatus(
                feature_set="counters",
                age_milliseconds=self._lag_ns // 1_000_000,
                valid_milliseconds=VALID_SAMPLES * self._every_ns // 1_000_000,
                signals=signals,
            )
            thing = NodeSignals(metadata=ObjectMeta(name=name), status=status)
            self._deliver(ObjectApplied(time_ns=self._engine.now_ns, object=thing))

    def _sample(
        self,
        counts: Counts,
        ratios: Floats,
        load: Floats,
        told: dict[str, dict[str, int]],
    ) -> None:
        """What agents see of services: one pod of each a node and interval, up to four nodes."""
        truth, noisy = self.truth, self._noisy
        for number, service in enumerate(truth.services):
            nodes = np.flatnonzero(counts[number])
            if not len(nodes):
                continue
            first = self._generator.randrange(len(nodes))
            for at in range(min(4, len(nodes))):
                row = int(nodes[(first + at) % len(nodes)])
                signals = told[self._names[row]]
                uses = truth.uses[number] * load[number]
                own = [int(uses[k] / truth.capacity[k, row] * WHOLE) for k in range(1, 4)]
                ratio = noisy(int(ratios[number, row] * WHOLE)) if service.target_ns else None
                self._learners[number].quiet_us = int(truth.quiet_ns[number]) // 1_000
                self._learners[number].add(
                    Sample(
                        cpu_milli=noisy(int(uses[0] * 1000)),
                        bandwidth_bp=noisy(own[0]),
                        io_bp=noisy(own[1]),
                        network_bp=noisy(own[2]),
                        resident_bp=noisy(7_000),
                        io_rate=noisy(own[1] * 10) if own[1] else None,
                        jitter_us=signals["network_jitter"],
                        ratio_bp=ratio,
                        node_cpu_bp=signals["cpu_utilisation"],
                        node_bandwidth_bp=signals["bandwidth_utilisation"],
                        node_io_bp=signals["io_utilisation"],
                    )
                )

    def _tell_profiles(self, _: None) -> None:
        engine = self._engine
        for number, service in enumerate(self.truth.services):
            status = self._learners[number].status()
            if not status.samples:
                continue
            self._traits[number] = dict(status.traits)
            namespace, _slash, name = service.key.partition("/")
            thing = profile_object(namespace, name, {"app": name}, service.class_name, status)
            self._deliver(ObjectApplied(time_ns=engine.now_ns, object=thing))
        if engine.now_ns + self._profile_ns <= self._end_ns:
            engine.at(engine.now_ns + self._profile_ns, Rank.NODE, self._tell_profiles)

    def _noisy(self, value: int) -> int:
        return value * (1000 + self._generator.randint(-self._noise, self._noise)) // 1000

    # ---- what is true ---------------------------------------------------------------------

    def _judge(self, _: None) -> None:
        engine, truth = self._engine, self.truth
        minute = engine.now_ns // MINUTE_NS
        load, counts = truth.load(minute), self.counts()
        used = truth.utilisation(counts, load)
        busy = truth.queues(counts, load)
        if minute > WARM_MINUTES:
            broken = truth.broken(counts, load)
            for number in self._waiting():
                broken[number] = True
            for number, service in enumerate(truth.services):
                if not service.target_ns:
                    continue
                self._windows += 1
                _count(self._by_class, service.class_name, is_broken=bool(broken[number]))
                if broken[number]:
                    self._broken += 1
                    known = self._by_service.get(service.key, 0)
                    self._by_service[service.key] = known + 1
            self._judged += 1
            self._cpu += float((used[0] * truth.capacity[0]).sum() / truth.capacity[0].sum())
            self._pod_minutes += int(counts.sum())
        come = self._follow_jobs(busy)
        if self._is_collecting:
            self._collect(minute, counts, truth.ratios(busy), come)
        if engine.now_ns + MINUTE_NS <= self._end_ns:
            engine.at(engine.now_ns + MINUTE_NS, Rank.NODE, self._judge)

    def _waiting(self) -> set[int]:
        """The services with a pod that has no node."""
        if not self._cluster.pending:
            return set()
        waits = {
            self._service_of(uid)
            for uid, pod in self._cluster.pods.items()
            if pod.fate is Fate.PENDING and not pod.is_gone
        }
        return {one for one in waits if one is not None}

    def _follow_jobs(self, busy: Floats) -> dict[str, tuple[int, int]]:
        """Add this minute up; the jobs that were not seen before, with their place."""
        come = {}
        slow = busy / self.truth.busy[:, None]
        for name, row in self._rows.items():
            node = self._cluster.nodes.get(name)
            for uid in () if node is None else node.room.holders:
                service = self._service_of(uid)
                if service is not None and not self.truth.services[service].target_ns:
                    if uid not in self._jobs:
                        come[uid] = (service, row)
                    total, minutes = self._jobs.get(uid, (0.0, 0))
                    self._jobs[uid] = (total + float(slow[service, row]), minutes + 1)
        return come

    def _collect(
        self, minute: int, counts: Counts, ratios: Floats, come: dict[str, tuple[int, int]]
    ) -> None:
        if self._rows_before is not None:
            for (service, row), features in self._rows_before[1].items():
                one = self.truth.services[service]
                if counts[service, row] and one.target_ns:
                    quiet_ns = int(self.truth.quiet_ns[service])
                    ratio = self._noisy(int(ratios[service, row] * WHOLE))
                    target = one.target_ns * WHOLE // quiet_ns
                    self.outcomes.append(
                        Outcome(minute, one.key, one.class_name, features, ratio, target)
                    )
        rows = self._features(counts)
        self._begun.update((uid, (minute, rows[place])) for uid, place in come.items())
        self._rows_before = (counts, rows)

    def _features(self, counts: Counts) -> dict[tuple[int, int], tuple[int, ...]]:
        """By (service, node) where there are pods: the row as agents know it."""
        signals = {name: np.array(values, np.int64) for name, values in self._signals.items()}
        expected = {}
        for name in LOADS:
            each = np.array([traits[f"{name}_used"] for traits in self._traits], np.int64)
            total = each @ counts
            if name == "cpu":
                total = total * WHOLE // (self.truth.capacity[0] * 1000).astype(np.int64)
            expected[name] = total
        node = state.node_features(signals, expected, *self._requested())
        found = {}
        for number in range(len(self.truth.services)):
            rows = state.with_service(node, self._traits[number])
            for row in np.flatnonzero(counts[number]):
                found[number, int(row)] = tuple(rows[row].tolist())
        return found

    def _requested(self) -> tuple[dict[str, Counts], dict[str, Counts]]:
        """Requests and allocatable of cpu and memory, by row."""
        rooms = [self._cluster.nodes[name].room for name in self._names]
        both = ("cpu", "memory")
        used = {one: np.array([room.used.get(one, 0) for room in rooms]) for one in both}
        return used, {one: np.array([room.capacity[one] for room in rooms]) for one in both}

    def _service_of(self, uid: str) -> int | None:
        pod = self._cluster.pods[uid].pod
        return self._index.get(f"{pod.metadata.namespace}/{pod.metadata.labels.get('app', '')}")


def _count(by_class: dict[str, tuple[int, int]], name: str, *, is_broken: bool) -> None:
    broken, judged = by_class.get(name, (0, 0))
    by_class[name] = (broken + is_broken, judged + 1)
