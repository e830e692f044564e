"""`/metrics/resources`: what each pod asks for and may use, as kube-scheduler shows it.

One sample for each pod and resource, in a registry of its own: large, and asked for seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from herz.errors import ConfigError
from herz.model.objects import Pod
from herz.model.quantity import quantity_nano
from herz.model.resources import (
    aggregate_container_limits,
    aggregate_container_requests,
    is_pod_level,
)

_LABELS: Final = ("namespace", "pod", "node", "scheduler", "priority", "resource", "unit")
_UNITS: Final = {
    "cpu": "cores",
    "memory": "bytes",
    "storage": "bytes",
    "ephemeral-storage": "bytes",
}
_NANO: Final = 1_000_000_000


class PodResources:
    """Samples of all pods that have not ended.

    Args:
        pods: gives them.
    """

    def __init__(self, pods: Callable[[], Sequence[Pod]]) -> None:
        self._pods = pods
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus' text form."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before somebody asks."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The samples as of now."""
        asked = GaugeMetricFamily(
            "kube_pod_resource_request", "What a pod asks for.", labels=_LABELS
        )
        limits = GaugeMetricFamily("kube_pod_resource_limit", "What a pod may use.", labels=_LABELS)
        for pod in self._pods():
            try:
                both = _requests(pod), _limits(pod)
            except ConfigError:
                continue  # What cannot be read gates the pod, with the reason.
            for family, total in zip((asked, limits), both, strict=True):
                _add(family, pod, total)
        return (asked, limits)


def _requests(pod: Pod) -> dict[str, int]:
    """What the spec asks for in all, in billionths; a resize that is under way does not count."""
    total, own = aggregate_container_requests(pod), pod.spec.resources
    for name, raw in () if own is None else own.requests.items():
        if is_pod_level(name):
            total[name] = quantity_nano(raw)
    for name, raw in pod.spec.overhead.items():
        total[name] = total.get(name, 0) + quantity_nano(raw)
    return total


def _limits(pod: Pod) -> dict[str, int]:
    """The limits in all; overhead counts where there is a limit."""
    total, own = aggregate_container_limits(pod), pod.spec.resources
    for name, raw in () if own is None else own.limits.items():
        if is_pod_level(name):
            total[name] = quantity_nano(raw)
    for name, raw in pod.spec.overhead.items():
        if total.get(name):
            total[name] += quantity_nano(raw)
    return total


def _add(family: GaugeMetricFamily, pod: Pod, total: Mapping[str, int]) -> None:
    meta, spec = pod.metadata, pod.spec
    priority = "" if spec.priority is None else str(spec.priority)
    front = (meta.namespace, meta.name, spec.node_name, spec.scheduler_name, priority)
    for name, nano in total.items():
        if nano:
            family.add_metric((*front, name, _unit(name)), nano / _NANO)


def _unit(name: str) -> str:
    if name.startswith("hugepages-"):
        return "bytes"
    return "integer" if name.startswith("attachable-volumes-") else _UNITS.get(name, "")
