"""The nodes of the chaos scenario, and what happens to them."""

from __future__ import annotations

import random

from msgspec.structs import replace

from herz.model.objects import Node, Taint
from herz.world.sim.fit import ZONE
from herz.world.sim.make import make_node
from herz.world.sim.result import SECOND_NS
from herz.world.sim.scenario import NodeAction, NodeChange

ZONES = ("a", "b", "c")
DISK = "chaos.dev/disk"
GPU = "chaos.dev/device"
POOL = Taint(key="chaos.dev/pool", value="batch", effect="NoSchedule")
DRYING = Taint(key="chaos.dev/drying", effect="NoExecute")
LIKED_LESS = Taint(key="chaos.dev/old", effect="PreferNoSchedule")

_SHAPES = ((4, 16, 20), (6, 12, 16), (8, 32, 30), (12, 24, 40))
"""Cores, memory in GiB, pods."""


def make_nodes(generator: random.Random) -> list[Node]:
    """50 to 58 nodes of several shapes over three zones."""
    count = generator.randrange(50, 59)
    # Every seed has devices, so that in each there is something to be taken from others.
    return [
        make_one(generator, f"node-{at:03d}", device_percent=100 if at % 8 == 0 else 10)
        for at in range(count)
    ]


def make_one(generator: random.Random, name: str, device_percent: int = 20) -> Node:
    """One node; a few have no zone, a taint, or devices of their own."""
    cpu, memory, pods = generator.choice(_SHAPES)
    amounts: dict[str, str | int] = {"cpu": cpu, "memory": f"{memory}Gi", "pods": pods}
    labels = {ZONE: generator.choice(ZONES), DISK: generator.choice(("ssd", "ssd", "hdd"))}
    taints: tuple[Taint, ...] = ()
    chance = generator.randrange(100)
    if chance < 4:
        del labels[ZONE]
    elif chance < 14:
        taints = (POOL,)
    elif chance < 20:
        taints = (LIKED_LESS,)
    if generator.randrange(100) < device_percent:
        amounts[GPU] = generator.choice((2, 4))
    return make_node(name, amounts, labels, taints=taints)


def make_actions(
    generator: random.Random, nodes: list[Node], span_ns: int, count: int
) -> list[NodeAction]:
    """`count` changes within the span, most of them undone later, and nodes that join.

    A change of allocatable never goes below what a fresh node of that kind needs to be of use, but
    may go below what is taken of it.
    """
    actions: list[NodeAction] = []
    for number in range(count):
        at_ns = generator.randrange(span_ns // 20, span_ns)
        kind = _KINDS[number % len(_KINDS)]
        if kind is NodeChange.ADD:
            node = make_one(generator, f"late-{number:03d}")
            actions.append(NodeAction(time_ns=at_ns, kind=kind, name=node.name, node=node))
            continue
        node = generator.choice(nodes)
        actions.append(_change(generator, node, kind, at_ns))
        if kind is not NodeChange.LABEL or generator.randrange(2):
            back_ns = at_ns + generator.randrange(20, 180) * SECOND_NS
            back = NodeAction(time_ns=back_ns, kind=NodeChange.RETURN, name=node.name)
            actions.append(back)
    return actions


def _change(generator: random.Random, node: Node, kind: NodeChange, at_ns: int) -> NodeAction:
    action = NodeAction(time_ns=at_ns, kind=kind, name=node.name)
    if kind is NodeChange.TAINT:
        return replace(action, taints=(generator.choice((POOL, DRYING, LIKED_LESS)),))
    if kind is NodeChange.LABEL:
        # Into another zone, or out of all.
        zone = generator.choice((*ZONES, ""))
        return replace(action, labels={ZONE: zone, DISK: generator.choice(("ssd", "hdd"))})
    if kind is NodeChange.ALLOCATABLE:
        cpu = node.status.allocatable["cpu"]
        assert isinstance(cpu, int), "the nodes here are made with whole cores"
        cores = max(1, cpu + generator.choice((-3, -2, 2, 4)))
        return replace(action, allocatable={"cpu": cores})
    return action


_KINDS = (
    NodeChange.ADD,
    NodeChange.CORDON,
    NodeChange.TAINT,
    NodeChange.LABEL,
    NodeChange.ALLOCATABLE,
    NodeChange.DRAIN,
    NodeChange.DELETE,
    NodeChange.LABEL,
    NodeChange.ALLOCATABLE,
    NodeChange.FAIL,
)
"""In turn: a seed has them all."""
