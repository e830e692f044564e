"""Clusters and pods for the benches, as objects that a watch would have decoded."""

from __future__ import annotations

from collections.abc import Iterator

from herz.model.decode import convert
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import Node, Pod, Service

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


HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
COLOR = {"color": "blue"}
SPREAD = {"maxSkew": 5, "topologyKey": ZONE, "labelSelector": {"matchLabels": COLOR}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _near(key: str) -> dict[str, object]:
    return {"labelSelector": {"matchLabels": COLOR}, "topologyKey": key}


def _weighted(key: str) -> list[dict[str, object]]:
    return [{"weight": 1, "podAffinityTerm": _near(key)}]


SPECS: dict[str, dict[str, object]] = {
    "plain": {},
    "spread": {"topologySpreadConstraints": [SPREAD | {"whenUnsatisfiable": "DoNotSchedule"}]},
    "spread-soft": {
        "topologySpreadConstraints": [SPREAD | {"whenUnsatisfiable": "ScheduleAnyway"}]
    },
    "node-affinity": {
        "affinity": {
            "nodeAffinity": {
                REQUIRED: {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": ZONE, "operator": "In", "values": ["zone-0", "zone-1"]}
                            ]
                        }
                    ]
                }
            }
        }
    },
    "affinity": {"affinity": {"podAffinity": {REQUIRED: [_near(ZONE)]}}},
    "anti-affinity": {"affinity": {"podAntiAffinity": {REQUIRED: [_near(HOSTNAME)]}}},
    "affinity-preferred": {"affinity": {"podAffinity": {PREFERRED: _weighted(HOSTNAME)}}},
    "anti-affinity-preferred": {"affinity": {"podAntiAffinity": {PREFERRED: _weighted(HOSTNAME)}}},
    "gated": {
        "schedulingGates": [{"name": "example.com/wait"}],
        "affinity": {"podAffinity": {REQUIRED: [_near(ZONE)]}},
    },
}
"""What the pods of kube-scheduler's own benchmark ask for (scheduler_perf), by case."""

MIXED_KINDS = (
    "plain",
    "affinity",
    "anti-affinity",
    "affinity-preferred",
    "anti-affinity-preferred",
)
"""Those that are there before in its case MixedSchedulingBasePod."""


def pod_of(number: int, kind: str, *, node: str = "") -> Pod:
    """A pod of kube-scheduler's benchmark; on a node when it is named."""
    resources = {"requests": {"cpu": "10m", "memory": "50Mi"}}
    spec = SPECS[kind] | {
        "nodeName": node,
        "containers": [{"name": "c", "image": "pause", "resources": resources}],
    }
    name = f"{kind}-{number}{'-old' if node else ''}"
    meta = {"name": name, "namespace": "bench", "uid": name, "labels": COLOR}
    return convert(Pod, {"kind": "Pod", "metadata": meta, "spec": spec})


def large_node() -> Node:
    """A node that holds any number of the benchmark's pods."""
    room = {"cpu": "10000", "memory": "100Ti", "pods": "100000"}
    meta = {"name": "large", "labels": {HOSTNAME: "large", ZONE: "zone-0"}}
    content = {"kind": "Node", "metadata": meta, "status": {"allocatable": room}}
    return convert(Node, content)


def service() -> Service:
    """A Service over the pods, from which default spreading deduces its selector."""
    meta = {"name": "blue", "namespace": "bench"}
    return convert(Service, {"kind": "Service", "metadata": meta, "spec": {"selector": COLOR}})


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
