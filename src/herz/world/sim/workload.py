"""One workload of a scenario file: its pods' shape, when they come, and how long they stay."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

from herz.errors import ConfigError
from herz.model.objects import Node, ObjectMeta, Pod, PodSchedulingGate, PodSpec
from herz.world.sim.fit import GPU_COUNT, GPU_MILLI, GPU_MODEL, ZONE
from herz.world.sim.make import HOSTNAME, make_affinity, make_container, one_of
from herz.world.sim.scenario import CLASS_LABEL, AfterEnd, PodArrival
from herz.world.sim.tables import (
    PRIORITY_MAX,
    PRIORITY_MIN,
    Amount,
    ArrivePattern,
    WorkloadTable,
)
from herz.world.sim.units import (
    check_amounts,
    check_name,
    parse_toleration,
    span_ns,
    span_pair_ns,
    varied_at,
)

AFTER = "herz.dev/after"
SHAPES_MAX = 4096
_VARIED = ("cpu", "memory", "priority", "zone")
CURVE_STEPS_MAX = 100_000

# When a pod comes, and how long it lives (None: until something ends it).
_Slot = tuple[int, int | None]


class Workload:
    """The pods of one `[[workloads]]` table.

    Args:
        table: the table.
        where: its path in the file, for errors.
        number: its place in the file; part of its pods' uids.
        nodes: for workloads with a pod on each node.
        priorities: priority classes of the file, by name.
    """

    def __init__(
        self,
        table: WorkloadTable,
        where: str,
        number: int,
        nodes: tuple[Node, ...],
        priorities: dict[str, int],
    ) -> None:
        self.where = where
        self._table = table
        self._number = number
        self._nodes = nodes
        check_name(table.name, f"{where}.name")
        check_name(table.namespace, f"{where}.namespace")
        self.key = f"{table.namespace}/{table.name}"
        self._priority = self._priority_of(priorities)
        self._run_ns = self._pair(table.run, "run")
        self._lifetime_ns = self._pair(table.lifetime, "lifetime")
        self._ungate_ns = None
        if table.ungate is not None:
            self._ungate_ns = span_ns(table.ungate, f"{where}.ungate")
        self._tolerations = tuple(
            parse_toleration(text, f"{where}.tolerations[{index}]")
            for index, text in enumerate(table.tolerations)
        )
        self._labels = {"app": table.name, **table.labels}
        if table.class_name:
            self._labels[CLASS_LABEL] = table.class_name
        self._curve = self._curve_points()
        # Bound: `SHAPES_MAX`; pods of one shape share their spec.
        self._specs: dict[tuple[tuple[str, Amount], ...], PodSpec] = {}
        self._check()

    @property
    def expected(self) -> int:
        """How many pods will come (replacements left out)."""
        if self._table.arrive.pattern == "curve":
            return sum(1 for _ in self._curve_slots())
        return len(self._nodes) if self._table.per_node else self._table.replicas

    def arrivals(self, generator: random.Random) -> Iterator[PodArrival]:
        """The pods in order of time."""
        for index, (time_ns, life_ns) in enumerate(self._slots(generator)):
            yield PodArrival(
                time_ns=time_ns,
                pod=self._pod(index),
                run_ns=_drawn(self._run_ns, generator),
                lifetime_ns=life_ns if life_ns else _drawn(self._lifetime_ns, generator),
                class_name=self._table.class_name or "default",
                after_end=AfterEnd(self._table.when_lost),
                ungate_ns=self._ungate_ns,
            )

    def _slots(self, generator: random.Random) -> Iterator[_Slot]:
        arrive = self._table.arrive
        if arrive.pattern == "curve":
            yield from self._curve_slots()
            return
        at_ns = span_ns(arrive.at, f"{self.where}.arrive.at")
        over_ns = span_ns(arrive.over, f"{self.where}.arrive.over")
        total = self.expected
        if arrive.pattern == "random":
            moments = sorted(generator.randrange(over_ns + 1) for _ in range(total))
            yield from ((at_ns + moment, None) for moment in moments)
            return
        burst = arrive.burst if arrive.pattern == "bursts" else 1
        groups = -(-total // burst)
        for index in range(total):
            share = index // burst
            spread = 0 if arrive.pattern == "at-once" else over_ns * share // max(groups, 1)
            yield at_ns + spread, None

    def _curve_slots(self) -> Iterator[_Slot]:
        """Pods that come and go so that as many are there as the curve says, last in first out."""
        every_ns = span_ns(self._table.arrive.every, f"{self.where}.arrive.every")
        first_ns, last_ns = self._curve[0][0], self._curve[-1][0]
        slots: list[list[int]] = []
        alive: list[int] = []
        # Bound: `CURVE_STEPS_MAX`, checked in `_check`.
        for step in range((last_ns - first_ns) // every_ns + 1):
            now_ns = first_ns + step * every_ns
            wanted = _on_curve(self._curve, now_ns)
            while len(alive) > wanted:
                index = alive.pop()
                slots[index][1] = now_ns - slots[index][0]
            while len(alive) < wanted:
                alive.append(len(slots))
                slots.append([now_ns, 0])
        return ((start_ns, life_ns or None) for start_ns, life_ns in slots)

    def _pod(self, index: int) -> Pod:
        table = self._table
        name = f"{table.name}-{index:05d}"
        annotations = {}
        if table.after is not None:
            text = self._after(index)
            annotations = {AFTER: text} if text else {}
        meta = ObjectMeta(
            name=name,
            namespace=table.namespace,
            uid=f"{self._number:08x}-0000-4000-8000-{index:012x}",
            labels=self._labels,
            annotations=annotations,
        )
        return Pod(metadata=meta, spec=self._spec(index))

    def _spec(self, index: int) -> PodSpec:
        table = self._table
        varied = varied_at(table.vary, index, _VARIED, f"{self.where}.vary")
        if table.per_node:
            varied["node"] = self._nodes[index].name
        key = tuple(varied.items())
        spec = self._specs.get(key)
        if spec is None:
            if len(self._specs) >= SHAPES_MAX:
                self._specs.clear()
            spec = self._specs[key] = self._make_spec(varied)
        return spec

    def _make_spec(self, varied: dict[str, Amount]) -> PodSpec:
        table = self._table
        amounts: dict[str, Amount] = {
            "cpu": varied.get("cpu", table.cpu),
            "memory": varied.get("memory", table.memory),
            **table.extended,
        }
        zones = (str(varied["zone"]),) if "zone" in varied else table.zones
        required = [one_of(ZONE, zones)] if zones else []
        if "node" in varied:
            required.append(one_of(HOSTNAME, (str(varied["node"]),)))
        if table.gpu is not None:
            amounts[GPU_MILLI] = table.gpu.milli
            amounts[GPU_COUNT] = table.gpu.count
            if table.gpu.models:
                required.append(one_of(GPU_MODEL, table.gpu.models))
        check_amounts(amounts, self.where)
        liked = (one_of(ZONE, table.prefers_zones),) if table.prefers_zones else ()
        container = make_container(amounts, image=table.image, host_port=table.host_port)
        return PodSpec(
            containers=(container,),
            node_selector=table.node_selector,
            affinity=make_affinity(tuple(required), liked),
            tolerations=self._tolerations,
            scheduling_gates=tuple(PodSchedulingGate(name=name) for name in table.gates),
            scheduler_name=table.scheduler,
            priority=self._varied_priority(varied),
            priority_class_name=table.priority_class,
            preemption_policy=None if table.preempts else "Never",
            termination_grace_period_seconds=30,
        )

    def _after(self, index: int) -> str:
        """The annotation of pod `index`: which pods of the workload it comes after."""
        after, name = self._table.after, self._table.name
        assert after is not None, self.where
        weight = f"={after.weight}" if after.weight else ""
        start = index - index % after.length
        if after.pattern == "layers":
            if start == 0:
                return ""
            before = start - after.length
            places = {(index * 7 + edge * 13) % after.length for edge in range(after.edges)}
            return ", ".join(f"{name}-{before + place:05d}{weight}" for place in sorted(places))
        if index > start:
            return f"{name}-{index - 1:05d}{weight}"
        last = min(start + after.length, self.expected) - 1
        is_closed = after.pattern == "cycle" and last > start
        return f"{name}-{last:05d}{weight}" if is_closed else ""

    def _pair(self, value: str | tuple[str, str] | None, field: str) -> tuple[int, int] | None:
        return None if value is None else span_pair_ns(value, f"{self.where}.{field}")

    def _varied_priority(self, varied: dict[str, Amount]) -> int | None:
        value = varied.get("priority", self._priority)
        if isinstance(value, str) or not PRIORITY_MIN <= (value or 0) <= PRIORITY_MAX:
            fix = f"give integers from {PRIORITY_MIN} to {PRIORITY_MAX}"
            where = f"{self.where}.vary.priority"
            raise ConfigError("not a priority", where=where, value=value, fix=fix)
        return value

    def _priority_of(self, priorities: dict[str, int]) -> int | None:
        table = self._table
        if not table.priority_class:
            return table.priority
        if table.priority_class not in priorities:
            raise ConfigError(
                "no such priority class",
                where=f"{self.where}.priority_class",
                value=table.priority_class,
                fix="add it under [[priority_classes]]",
            )
        value = priorities[table.priority_class]
        if table.priority not in (None, value):
            fix = f"drop it: the class {table.priority_class} means {value}"
            where = f"{self.where}.priority"
            raise ConfigError("contradicts", where=where, value=table.priority, fix=fix)
        return value

    def _curve_points(self) -> list[tuple[int, int]]:
        arrive: ArrivePattern = self._table.arrive
        where = f"{self.where}.arrive.curve"
        points = [
            (span_ns(text, f"{where}[{index}]"), level)
            for index, (text, level) in enumerate(arrive.curve)
        ]
        if (arrive.pattern == "curve") != bool(points):
            fix = 'give `curve` with the pattern "curve", and only with it'
            raise ConfigError(
                "no curve, or one too many", where=where, value=arrive.pattern, fix=fix
            )
        for (before_ns, _), (time_ns, _) in pairwise(points):
            if time_ns <= before_ns:
                raise ConfigError(
                    "not in order of time", where=where, value=arrive.curve, fix="sort the points"
                )
        return points

    def _check(self) -> None:
        table, arrive = self._table, self._table.arrive
        if table.run is not None and arrive.pattern == "curve":
            fix = "drop `run`: the curve says when its pods end"
            raise ConfigError("contradicts", where=f"{self.where}.run", value=table.run, fix=fix)
        if table.per_node and arrive.pattern == "curve":
            fix = "drop `per_node`, or the curve: both say how many pods there are"
            raise ConfigError("contradicts", where=f"{self.where}.per_node", value=True, fix=fix)
        if self._curve:
            every_ns = span_ns(arrive.every, f"{self.where}.arrive.every")
            span = self._curve[-1][0] - self._curve[0][0]
            if every_ns <= 0 or span // every_ns > CURVE_STEPS_MAX:
                fix = f"a curve has at most {CURVE_STEPS_MAX} steps"
                where = f"{self.where}.arrive.every"
                raise ConfigError("not a step", where=where, value=arrive.every, fix=fix)
        span_ns(arrive.at, f"{self.where}.arrive.at")
        span_ns(arrive.over, f"{self.where}.arrive.over")
        if table.replicas or table.per_node:
            # Every shape is made once, so that a wrong quantity is found before the run.
            shapes = 1
            for values in table.vary.values():
                shapes *= max(len(values), 1)
            for index in range(min(shapes, self.expected, SHAPES_MAX)):
                self._spec(index)
        elif self._curve:
            self._spec(0)


def _drawn(pair: tuple[int, int] | None, generator: random.Random) -> int | None:
    if pair is None:
        return None
    low, high = pair
    return low if low == high else generator.randrange(low, high + 1)


def _on_curve(points: list[tuple[int, int]], time_ns: int) -> int:
    """The level at a time, straight between the points, in integers."""
    for (from_ns, low), (to_ns, high) in pairwise(points):
        if from_ns <= time_ns < to_ns:
            return low + (high - low) * (time_ns - from_ns) // (to_ns - from_ns)
    return points[-1][1]
