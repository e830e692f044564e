"""From the tables of a scenario file to nodes, pods in order of time, and incidents.

The pods are made one by one as they come (a merge over the workloads), so that a file may describe
more pods than fit in memory at once. Wherever the seed chooses, integers decide.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping

from herz.errors import ConfigError
from herz.model.objects import Node, ObjectMeta, PriorityClass
from herz.model.quantity import quantity_value
from herz.world.sim.fit import GPU_COUNT, GPU_MILLI, GPU_MODEL, ZONE
from herz.world.sim.make import make_node
from herz.world.sim.scenario import Content, NodeAction, NodeChange, PodArrival
from herz.world.sim.tables import Amount, IncidentTable, NodesTable, ScenarioFile
from herz.world.sim.units import check_amounts, check_name, parse_taint, span_ns, varied_at
from herz.world.sim.workload import Workload

MACHINE = "node.kubernetes.io/instance-type"
SIMULATED = "simulated"
"""The machine type of nodes whose truth is made up: models that learned there say so."""

NODES_MAX = 100_000
"""Bound: nodes of one scenario."""
_VARIED = ("cpu", "memory", "pods", "label")
PODS_MAX = 5_000_000
"""Bound: pods of one scenario."""


def expand(tables: ScenarioFile, generator: random.Random) -> Content:
    """The content of a scenario file for a generator.

    Raises:
        ConfigError: a field's value can't be; `where` is the field's path.
    """
    nodes = _nodes(tables)
    priorities = {table.name: table.value for table in tables.priority_classes}
    actions = tuple(_actions(tables, nodes, generator))
    workloads = [
        Workload(table, f"workloads[{index}]", index, nodes, priorities)
        for index, table in enumerate(tables.workloads)
    ]
    _check_unique(workloads)
    expected = sum(workload.expected for workload in workloads)
    if expected > PODS_MAX:
        fix = f"stay below {PODS_MAX} pods"
        raise ConfigError("too many pods", where="workloads", value=expected, fix=fix)
    # Each workload draws from its own generator: merging must not mix their draws.
    streams = [
        workload.arrivals(random.Random(generator.getrandbits(64))) for workload in workloads
    ]
    return Content(
        nodes=nodes,
        arrivals=_merged(streams),
        pods_expected=expected,
        objects=tuple(
            PriorityClass(metadata=ObjectMeta(name=name, uid=f"class-{name}"), value=value)
            for name, value in priorities.items()
        ),
        actions=actions,
    )


def _merged(streams: list[Iterator[PodArrival]]) -> Iterator[PodArrival]:
    """All arrivals in order of time, then of workloads."""

    def keyed(index: int, stream: Iterator[PodArrival]) -> Iterator[tuple[int, int, PodArrival]]:
        return ((arrival.time_ns, index, arrival) for arrival in stream)

    sources = [keyed(index, stream) for index, stream in enumerate(streams)]
    merged = heapq.merge(*sources, key=lambda item: item[:2])
    return (arrival for _, _, arrival in merged)


def _check_unique(workloads: list[Workload]) -> None:
    seen: dict[str, str] = {}
    for workload in workloads:
        before = seen.setdefault(workload.key, workload.where)
        if before != workload.where:
            where = f"{workload.where}.name"
            fix = f"rename it; {before} has it already"
            raise ConfigError(
                "two workloads share a name", where=where, value=workload.key, fix=fix
            )


def _nodes(tables: ScenarioFile) -> tuple[Node, ...]:
    total = sum(table.count for table in tables.nodes)
    if total > NODES_MAX:
        raise ConfigError(
            "too many nodes", where="nodes", value=total, fix=f"stay below {NODES_MAX} nodes"
        )
    nodes: list[Node] = []
    names: set[str] = set()
    for index, table in enumerate(tables.nodes):
        where = f"nodes[{index}]"
        check_name(table.name, f"{where}.name")
        if table.name in names:
            fix = "rename one of the templates"
            raise ConfigError(
                "two templates share a name", where=f"{where}.name", value=table.name, fix=fix
            )
        names.add(table.name)
        known = {} if tables.truth is None else {MACHINE: SIMULATED}
        nodes.extend(_nodes_of(table, where, known))
    return tuple(nodes)


def _nodes_of(table: NodesTable, where: str, known: Mapping[str, str]) -> Iterator[Node]:
    taints = tuple(
        parse_taint(text, f"{where}.taints[{index}]") for index, text in enumerate(table.taints)
    )
    images = tuple((image.name, _bytes(image.size, f"{where}.images")) for image in table.images)
    width = max(len(str(table.count - 1)), 4)
    for index in range(table.count):
        varied = varied_at(table.vary, index, _VARIED, f"{where}.vary")
        amounts: dict[str, Amount] = {
            "cpu": varied.get("cpu", table.cpu),
            "memory": varied.get("memory", table.memory),
            "pods": varied.get("pods", table.pods),
            **table.extended,
        }
        labels = {**known, **table.labels}
        if table.zones:
            labels[ZONE] = table.zones[index % len(table.zones)]
        if "label" in varied:
            labels["herz.dev/shape"] = str(varied["label"])
        if table.gpu is not None:
            amounts[GPU_COUNT] = table.gpu.count
            amounts[GPU_MILLI] = 1000 * table.gpu.count
            if table.gpu.model:
                labels[GPU_MODEL] = table.gpu.model
        check_amounts(amounts, where)
        name = f"{table.name}-{index:0{width}d}"
        yield make_node(name, amounts, labels, taints=taints, images=images)


def _bytes(size: Amount, where: str) -> int:
    try:
        return quantity_value(size)
    except ConfigError as error:
        raise error.at(where) from error


def _actions(
    tables: ScenarioFile, nodes: tuple[Node, ...], generator: random.Random
) -> Iterator[NodeAction]:
    for index, table in enumerate(tables.incidents):
        yield from _incident(table, f"incidents[{index}]", nodes, generator)


def _incident(
    table: IncidentTable, where: str, nodes: tuple[Node, ...], generator: random.Random
) -> Iterator[NodeAction]:
    at_ns = span_ns(table.at, f"{where}.at")
    kind = NodeChange(table.kind)
    taints = tuple(
        parse_taint(text, f"{where}.taints[{place}]") for place, text in enumerate(table.taints)
    )
    needed = {"taint": taints, "untaint": taints, "label": table.labels}
    needed["allocatable"] = table.allocatable
    if table.kind in needed and not needed[table.kind]:
        field = {"taint": "taints", "untaint": "taints", "label": "labels"}.get(table.kind)
        name = f"{where}.{field or 'allocatable'}"
        raise ConfigError("missing", where=name, fix=f"say what `{table.kind}` changes")
    check_amounts(dict(table.allocatable), f"{where}.allocatable")
    until_ns = None
    if table.until is not None:
        until_ns = span_ns(table.until, f"{where}.until")
        if until_ns <= at_ns:
            fix = "give a time after `at`"
            raise ConfigError("ends early", where=f"{where}.until", value=table.until, fix=fix)
    for name in _chosen(table, where, nodes, generator):
        yield NodeAction(
            time_ns=at_ns,
            kind=kind,
            name=name,
            taints=taints,
            labels=table.labels,
            allocatable=dict(table.allocatable),
        )
        if until_ns is not None:
            yield NodeAction(time_ns=until_ns, kind=NodeChange.RETURN, name=name)


def _chosen(
    table: IncidentTable, where: str, nodes: tuple[Node, ...], generator: random.Random
) -> list[str]:
    known = {node.name for node in nodes}
    for place, name in enumerate(table.nodes):
        if name not in known:
            field = f"{where}.nodes[{place}]"
            fix = "names are the template's name and a number, such as web-0003"
            raise ConfigError("no such node", where=field, value=name, fix=fix)
    if table.nodes:
        return list(table.nodes)
    pool = [
        node.name
        for node in nodes
        if node.name.startswith(table.from_)
        and (not table.zone or node.metadata.labels.get(ZONE) == table.zone)
    ]
    if len(pool) < table.count:
        fix = f"only {len(pool)} nodes match `from` and `zone`; choose fewer"
        raise ConfigError("too many", where=f"{where}.count", value=table.count, fix=fix)
    chosen: list[str] = []
    for _ in range(table.count):
        chosen.append(pool.pop(generator.randrange(len(pool))))
    return chosen
