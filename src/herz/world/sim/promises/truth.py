"""The truth of a run: who slows whom down on a node, and what it does to the promises.

Synthetic. Pods of one workload on one node are alike, so a cluster is a matrix: how many pods of
each service are on each node. What pods of a node share (cpu, memory bandwidth, I/O, network) has
a knee: below it nobody feels anything, above it everybody gets slower, each as its constants say.
A slower pod is a busier queue (`curves`), and its P99 is that of the queue.

All constants are drawn by the seed, up to `spread` to both sides of the file's. The arithmetic is
plus, minus, times and divided by, so that it is the same everywhere.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from herz.errors import ConfigError
from herz.knowledge.sla.classes import DEFAULTS
from herz.model.quantity import quantity_milli
from herz.world.sim.promises.curves import Floats, queue
from herz.world.sim.tables import Loads, ScenarioFile, ServiceTable, TruthTable, WorkloadTable
from herz.world.sim.units import span_ns

LOADS: Final = ("cpu", "bandwidth", "io", "network")
FORECAST: Final = (0.95, 1.05, 1.15, 1.3)
"""Loads, relative to now, that an oracle weighs: it knows the curves, not the future."""
BROKEN_SHARE: Final = 0.01
"""Of a service's requests that take too long, its promise (a P99) is broken."""
SLOW_JOB: Final = 1.8
"""A job that is slower than this does not end in its time."""
_MINUTES_MAX: Final = 3_000
_MILLISECOND_NS: Final = 1_000_000
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Service:
    """A workload, as the truth knows it.

    Args:
        key: `namespace/name`.
        class_name: of its promise; empty: none.
        cpu: request of a pod in cores.
        target_ns: of its P99; 0: it is a job.
        weight: of its promise, for the oracle.
        table: its constants, as the file has them.
    """

    key: str
    class_name: str
    cpu: float
    target_ns: int
    weight: int
    table: ServiceTable


@dataclass(frozen=True, slots=True)
class Setup:
    """What a scenario says of the truth, before a seed has moved it.

    Args:
        table: what holds for all.
        services: the workloads.
    """

    table: TruthTable
    services: tuple[Service, ...]

    @classmethod
    def of(cls, tables: ScenarioFile) -> Setup | None:
        """The setup of a file; None where it has no `[truth]`.

        Raises:
            ConfigError: a service's class is none of the defaults.
        """
        if tables.truth is None:
            return None
        services = [
            _service(one, one.service, f"workloads[{index}]")
            for index, one in enumerate(tables.workloads)
            if one.service is not None
        ]
        return cls(tables.truth, tuple(services))


class Truth:
    """The constants of one seed, and what follows from them.

    Args:
        table: what holds for all.
        services: the workloads, in the file's order.
        cores: by node, its cpu.
        generator: of all constants and loads.
    """

    def __init__(
        self,
        table: TruthTable,
        services: tuple[Service, ...],
        cores: tuple[float, ...],
        generator: random.Random,
    ) -> None:
        self.services = services
        draw = _Drawn(generator, table.spread)
        mild = _Drawn(generator, table.spread // 5)
        count = len(services)
        self._cores = np.array(cores)
        self.uses = np.array([_uses(one, draw) for one in services]).reshape(count, len(LOADS))
        self.feels = np.array([draw.loads(one.table.feels) for one in services])
        self.busy = np.array([mild.one(one.table.busy) for one in services])
        self._knees = np.array(mild.loads(table.knees))
        capacity = [[mild.one(1000) for _ in cores] for _ in LOADS[1:]]
        self.capacity = np.vstack((self._cores[None, :], np.array(capacity)))
        self._is_step = table.variant == "step"
        self.quiet_ns = np.array(
            [int(span_ns(one.table.quiet, "quiet") * mild.one(1000)) for one in services]
        )
        self._queues = [queue(*one.table.slow) for one in services]
        self._rest = np.array(
            [
                one.quantile(np.array([busy]))[0]
                for one, busy in zip(self._queues, self.busy, strict=True)
            ]
        )
        # The target in mean service times of each queue; jobs have none.
        targets = np.array([one.target_ns or 1 for one in services])
        self._limit = targets / self.quiet_ns * self._rest
        self._is_job = np.array([not one.target_ns for one in services])
        self.weights = np.array([one.weight for one in services], np.float64)
        self._load = _loads(services, generator)

    def load(self, minute: int) -> Floats:
        """By service: its load in this minute, 1 being the usual."""
        return self._load[:, min(minute, _MINUTES_MAX - 1)]

    def utilisation(self, counts: Counts, load: Floats) -> Floats:
        """By (load, node), of capacity; may be above 1."""
        asked = (self.uses * load[:, None]).T @ counts
        found: Floats = asked / self.capacity
        return found

    def pressure(self, utilisation: Floats) -> Floats:
        """By (load, node): 0 up to the knee, 1 where a node is full, more beyond."""
        knees = self._knees[:, None]
        found: Floats = np.maximum(utilisation - knees, 0) / (1 - knees)
        return found

    def slowdown(self, utilisation: Floats) -> Floats:
        """By (service, node): how many times as long a request takes to serve."""
        felt = self.pressure(utilisation)
        shape = np.minimum(3 * felt, 1) + felt if self._is_step else felt + 2 * felt * felt
        return 1 + self.feels @ shape

    def queues(self, counts: Counts, load: Floats) -> Floats:
        """By (service, node): how busy a pod there is, or would be."""
        return self._queued(self.utilisation(counts, load), load)

    def ratios(self, busy: Floats) -> Floats:
        """By (service, node): P99 over the quiet P99."""
        rows = [one.quantile(row) for one, row in zip(self._queues, busy, strict=True)]
        found: Floats = np.array(rows) / self._rest[:, None]
        return found

    def too_slow(self, busy: Floats) -> Floats:
        """By (service, node): the share of the requests beyond the target; 1 for a slow job."""
        rows = [
            one.tail(row, np.full(len(row), limit))
            for one, row, limit in zip(self._queues, busy, self._limit, strict=True)
        ]
        found = np.array(rows)
        slow = busy / self.busy[:, None] > SLOW_JOB
        return np.where(self._is_job[:, None], slow, found)

    def broken(self, counts: Counts, load: Floats) -> npt.NDArray[np.bool_]:
        """By service: whether its promise is broken; a service without pods breaks none."""
        share = (self.too_slow(self.queues(counts, load)) * counts).sum(axis=1)
        found: npt.NDArray[np.bool_] = share > BROKEN_SHARE * np.maximum(counts.sum(axis=1), 1)
        return found

    def costs(self, counts: Counts, service: int, minute: int) -> Floats:
        """By node: what one more pod of the service there costs all promises, truly."""
        total = np.zeros(counts.shape[1])
        for factor in FORECAST:
            load = self.load(minute) * factor
            before = self.utilisation(counts, load)
            after = before + (self.uses[service] * load[service])[:, None] / self.capacity
            more = counts.copy()
            more[service] += 1
            total += self._loss(more, after, load) - self._loss(counts, before, load)
        return total

    def _loss(self, counts: Counts, utilisation: Floats, load: Floats) -> Floats:
        """By node: broken promises, in shares of a service's limit, and a little for slowness."""
        busy = self._queued(utilisation, load)
        pods = np.maximum(counts.sum(axis=1), 1)[:, None]
        slow = busy / self.busy[:, None] - 1
        # A job counts by itself, a pod of a service by its share of what the service may lose.
        lost = np.minimum(self.too_slow(busy) / (BROKEN_SHARE * pods), 2)
        late = np.maximum(slow - SLOW_JOB / 4, 0) * 4
        share = np.where(self._is_job[:, None], late, lost)
        weights = np.maximum(self.weights, 5)[:, None]
        found: Floats = ((share + 0.02 * slow) * counts * weights).sum(axis=0)
        return found

    def _queued(self, utilisation: Floats, load: Floats) -> Floats:
        is_job = self._is_job[:, None]
        # A job is always at work: its load is how much it does, not how many ask.
        own = np.where(is_job, self.busy[:, None], (self.busy * load)[:, None])
        found: Floats = own * self.slowdown(utilisation)
        return found


def _service(workload: WorkloadTable, table: ServiceTable, where: str) -> Service:
    known = DEFAULTS.get(workload.class_name)
    if known is None:
        fix = f"use one of {', '.join(DEFAULTS)}"
        place = f"{where}.class"
        raise ConfigError("no such class", where=place, value=workload.class_name, fix=fix)
    target_ms = known.objective.target_milliseconds or 0
    return Service(
        key=f"{workload.namespace}/{workload.name}",
        class_name=workload.class_name,
        cpu=quantity_milli(workload.cpu) / 1000,
        target_ns=target_ms * _MILLISECOND_NS,
        weight=known.weight,
        table=table,
    )


class _Drawn:
    """Constants around those of the file."""

    def __init__(self, generator: random.Random, spread: int) -> None:
        self._generator = generator
        self._spread = spread

    def one(self, thousandths: int) -> float:
        factor = 1000 + self._generator.randint(-self._spread, self._spread)
        return thousandths * factor / 1_000_000

    def loads(self, table: Loads) -> list[float]:
        return [self.one(getattr(table, name)) for name in LOADS]


def _uses(service: Service, draw: _Drawn) -> list[float]:
    cpu, *others = draw.loads(service.table.uses)
    return [cpu * service.cpu, *others]


def _loads(services: tuple[Service, ...], generator: random.Random) -> Floats:
    """A slow wander for each service, between the ends of its swing."""
    found = np.ones((len(services), _MINUTES_MAX))
    for index, service in enumerate(services):
        at = 0
        for minute in range(_MINUTES_MAX):
            at = max(min(at + generator.randint(-150, 150) - at // 20, 1000), -1000)
            found[index, minute] = 1 + at * service.table.swing / 1_000_000
    return found
