"""Small clusters with shared accelerators, for the tests of the packing rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from herz.app import build_plugins
from herz.config import PluginEntry, Policy
from herz.intake.arrive import Arrivals
from herz.model.decode import convert
from herz.model.objects import Node, Pod
from herz.model.podinfo import PodInfo
from herz.place.cluster import Cluster
from herz.place.framework import Framework
from herz.place.mix import PodMix
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Plugin, ReasonBook

COUNT, MILLI = "herz.dev/gpu-count", "herz.dev/gpu-milli"
MODEL = "herz.dev/gpu-model"


def node(name: str, cpu: int = 96, devices: int = 0, model: str = "") -> Node:
    allocatable = {"cpu": cpu, "memory": "100Gi", "pods": 110}
    if devices:
        allocatable |= {COUNT: devices, MILLI: 1000 * devices}
    labels = {MODEL: model} if model else {}
    return convert(
        Node,
        {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable}},
    )


def pod_object(
    name: str, milli: int = 0, count: int = 1, cpu: str = "1", models: tuple[str, ...] = ()
) -> Pod:
    requests: dict[str, Any] = {"cpu": cpu}
    if milli:
        requests |= {MILLI: milli, COUNT: count}
    spec: dict[str, Any] = {"containers": [{"name": "c", "resources": {"requests": requests}}]}
    if models:
        wanted = {"key": MODEL, "operator": "In", "values": list(models)}
        terms = [{"matchExpressions": [wanted]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    return convert(Pod, {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec})


class Case:
    """A cluster, and a framework of a few rules over it."""

    def __init__(
        self,
        nodes: tuple[Node, ...],
        *rules: str,
        args: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        given = args or {}
        policy = Policy(
            "case", tuple(PluginEntry(name, args=given.get(name, {})) for name in rules)
        )
        self.book = ReasonBook()
        self.rules: list[Plugin] = [rule for rule, _ in build_plugins(policy, self.book)]
        self.mix = PodMix()
        self.cluster = Cluster(SnapshotDigest(), self.mix)
        self.framework = Framework(
            self.cluster.nodes,
            self.cluster.view,
            [(rule, 1) for rule in self.rules],
            self.book,
            salt=None,
        )
        self._arrivals = Arrivals([], self.framework.sign, order_salt=b"")
        for one in nodes:
            self.cluster.apply_node(one)

    def pod(self, name: str, milli: int = 0, count: int = 1, **more: Any) -> PodInfo:
        return self._arrivals.read(pod_object(name, milli, count, **more), ())

    def see(self, pods: int, milli: int = 0, count: int = 1, **more: Any) -> None:
        """So many pods of a shape arrive."""
        one = self.pod("seen", milli, count, **more)
        for _ in range(pods):
            self.cluster.see(one)

    def put(self, pod: PodInfo, node: str, *devices: int) -> None:
        """The pod is on the node."""
        self.cluster.assign(pod, node, devices)

    def row(self, node: str) -> int:
        return self.cluster.nodes.rows[node]
