"""Clusters and pods for the benches, as objects that a watch would have decoded."""

from __future__ import annotations

from collections.abc import Iterator

from herz.model.decode import convert
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import Node, Pod

ZONES = 3
SHAPES = tuple(
    {"cpu": str(cpu), "memory": f"{cpu * ratio}Gi", "pods": "110", "ephemeral-storage": "100Gi"}
    for cpu in (4, 8, 16, 32, 64)
    for ratio in (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
)
"""50 node shapes."""


def node(number: int, *, shape: int = 4, taint: bool = False, generation: int = 0) -> Node:
    """A node; shape 4 is 4 cores and 24 GiB, `generation` a label that changes."""
    name = f"node-{number:05d}"
    labels = {
        "kubernetes.io/hostname": name,
        "topology.kubernetes.io/zone": f"zone-{number % ZONES}",
        "example.com/generation": str(generation),
        "example.com/disk": "ssd" if number % 2 else "hdd",
    }
    taints = [{"key": "example.com/busy", "effect": "PreferNoSchedule"}] if taint else []
    allocatable = SHAPES[shape % len(SHAPES)]
    return convert(
        Node,
        {
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
            "status": {"allocatable": dict(allocatable)},
        },
    )


def pod(number: int, *, signature: int = 0) -> Pod:
    """A pod; signature 0 is 100m and 500 MiB, others differ in requests and in what they want."""
    requests = {"cpu": f"{100 + signature % 25 * 10}m", "memory": f"{500 + signature // 25 * 7}Mi"}
    spec: dict[str, object] = {
        "containers": [{"name": "c", "image": "pause", "resources": {"requests": requests}}]
    }
    if signature % 5 == 1:
        spec["nodeSelector"] = {"example.com/disk": "ssd"}
    if signature % 5 == 2:
        spec["tolerations"] = [{"key": "example.com/busy", "operator": "Exists"}]
    if signature % 5 == 3:
        term = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["zone-1"]}
        preference = {"weight": 10, "preference": {"matchExpressions": [term]}}
        spec["affinity"] = {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}
        }
    meta = {"name": f"pod-{number}", "namespace": "bench", "uid": f"uid-{number}"}
    return convert(Pod, {"kind": "Pod", "metadata": meta, "spec": spec})


def nodes(count: int, *, is_mixed: bool) -> Iterator[ObjectApplied]:
    """The nodes of a cluster."""
    for number in range(count):
        shape = number if is_mixed else 4
        yield ObjectApplied(time_ns=0, object=node(number, shape=shape))


def changes(count: int, cluster: int) -> Iterator[ObjectApplied | ObjectDeleted]:
    """One change a decision: labels, taints, allocatable, an assigned pod that came or went."""
    for number in range(count):
        at = number * 7919 % cluster
        kind = number % 4
        if kind == 0:
            changed = node(at, shape=at, generation=number)
        elif kind == 1:
            changed = node(at, shape=at, taint=number % 8 == 1)
        elif kind == 2:
            changed = node(at, shape=at + number)
        else:
            other = convert(
                Pod,
                {
                    "kind": "Pod",
                    "metadata": {"name": f"x-{number}", "namespace": "x", "uid": f"x-{number}"},
                    "spec": {
                        "nodeName": f"node-{at:05d}",
                        "containers": [{"name": "c", "resources": {"requests": {"cpu": "50m"}}}],
                    },
                },
            )
            yield ObjectApplied(time_ns=0, object=other)
            continue
        yield ObjectApplied(time_ns=0, object=changed)
