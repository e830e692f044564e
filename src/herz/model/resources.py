"""What a pod asks of a node and what a node has to give, as int64 per resource.

Read by filter and score. The unit is in the resource: `cpu` in thousandths of a core, everything
else in whole units (bytes, devices), each rounded up once, after the sum. Sums are exact integers
of billionths; a sum beyond int64 is held at the largest int64, so that it fits nowhere (Kubernetes
wraps there, and would place it anywhere).

Source: component-helpers `resource.PodRequests`, scheduler `framework.PodInfo` (facts).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from herz.errors import ConfigError
from herz.model.meta import RawQuantity, ResourceMap
from herz.model.node import Node
from herz.model.pod import Container, ContainerStatus, Pod
from herz.model.quantity import INT64_MAX, quantity_nano

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

# What a container that asks for nothing counts as when nodes are scored, so that such pods
# spread too. Kubernetes calls the memory 200 MB; it is 200 MiB.
CPU_MILLI_UNASKED = 100
MEMORY_BYTES_UNASKED = 200 * 1024 * 1024

_NANO = 10**9
_NANO_PER_MILLI = 10**6
_UNASKED_NANO = {CPU: CPU_MILLI_UNASKED * _NANO_PER_MILLI, MEMORY: MEMORY_BYTES_UNASKED * _NANO}
_BASIC = frozenset((CPU, MEMORY, EPHEMERAL_STORAGE, PODS))
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Requests = dict[str, int]
_Nanos = dict[str, int]


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A port of the node that a pod occupies; an empty or 0.0.0.0 address is every address."""

    ip: str
    protocol: str
    port: int


def pod_requests(pod: Pod) -> Requests:
    """What a pod takes of its node; zero requests are kept, absent ones are absent.

    For a pod on a node, a container counts with the largest of what it asks for, what it was
    allocated and what it has (an in-place resize lets them differ); while a resize is infeasible,
    what it asks for doesn't count. What its dynamic resource claims hold of the node comes to that.

    Raises:
        ConfigError: a quantity can't be read; `where` names the resource.
    """
    return _as_requests(_total(pod, {}))


def pod_requests_nonzero(pod: Pod) -> tuple[int, int]:
    """A pod on a node as scoring counts it: (cpu_milli, memory_bytes).

    A container without a request counts as 100m and 200 MiB; where the pod has requests of its
    own, that holds only for a resource that neither the pod nor any container asks for.
    """
    unasked = _UNASKED_NANO
    if _has_pod_level_requests(pod):
        asked = _total(pod, {})
        unasked = {name: nano for name, nano in _UNASKED_NANO.items() if name not in asked}
    total = _total(pod, unasked)
    return _rounded(CPU, total.get(CPU, 0)), _rounded(MEMORY, total.get(MEMORY, 0))


def pod_scoring_requests(pod: Pod) -> Requests:
    """An incoming pod as NodeResourcesFit scores it: its containers, with 100m and 200 MiB each.

    It differs from `pod_requests_nonzero` where the pod has requests of its own: kube-scheduler
    1.36 does not read those here, though its filter and the sums on the nodes do.
    """
    return _as_requests(_total(pod, _UNASKED_NANO, is_pod_level_read=False))


def node_allocatable(node: Node) -> Requests:
    """What a node has to give; the capacity where it reports no allocatable.

    Raises:
        ConfigError: a quantity can't be read; `where` names the resource.
    """
    status = node.status
    given = status.allocatable if status.allocatable else status.capacity
    return _as_requests({name: _nano(name, raw) for name, raw in given.items()})


def host_ports(pod: Pod) -> tuple[HostPort, ...]:
    """The ports of the node that a pod occupies, in the order of its containers, sidecars first.

    Init containers that end before the pod runs occupy nothing. Ports of a pod in the host's
    network have host ports by the API server's defaulting (`herz.model.defaults`).
    """
    sidecars = tuple(item for item in pod.spec.init_containers if item.is_sidecar)
    return tuple(
        HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)
        for container in (*sidecars, *pod.spec.containers)
        for port in container.ports
        if port.host_port > 0
    )


@lru_cache(maxsize=4096)
def is_counted(name: str) -> bool:
    """Whether a resource of that name takes part in placement at all.

    Names without a slash that aren't Kubernetes' own ("foo") don't; extended resources
    ("example.com/gpu"), huge pages and attachable volumes do.
    """
    if name in _BASIC or name.startswith(("hugepages-", "attachable-volumes-")):
        return True
    if "kubernetes.io/" in name:
        return True
    if "/" not in name or name.startswith("requests."):
        return False
    prefix, _, tail = f"requests.{name}".partition("/")
    is_name = len(tail) <= 63 and _NAME.fullmatch(tail) is not None
    return is_name and len(prefix) <= 253 and _PREFIX.fullmatch(prefix) is not None


def is_pod_level(name: str) -> bool:
    """Whether a pod may ask for this resource as a whole, over its containers."""
    return name in (CPU, MEMORY) or name.startswith("hugepages-")


def aggregate_container_requests(pod: Pod) -> dict[str, int]:
    """What the containers of a spec ask for together, in billionths; no status, no pod level."""
    return _aggregate(pod, {}, {})


def aggregate_container_limits(pod: Pod) -> dict[str, int]:
    """The containers' limits together, in billionths, by the same rule as their requests."""
    running = [_nanos(item.resources.limits) for item in pod.spec.containers]
    starting = [
        (item.is_sidecar, _nanos(item.resources.limits)) for item in pod.spec.init_containers
    ]
    return _combine(running, starting)


def _total(pod: Pod, unasked: Mapping[str, int], *, is_pod_level_read: bool = True) -> _Nanos:
    """Requests in billionths: containers and claims, then pod level, then overhead."""
    status = pod.status
    statuses: dict[str, ContainerStatus] = {}
    if status.container_statuses or status.init_container_statuses:
        statuses = {item.name: item for item in status.container_statuses}
        statuses |= {item.name: item for item in status.init_container_statuses}
    total = _aggregate(pod, statuses, unasked)
    for claim in status.node_allocatable_resource_claim_statuses:
        _add(total, _nanos(claim.resources))
    if is_pod_level_read and _has_pod_level_requests(pod):
        _override(total, pod)
    for name, raw in pod.spec.overhead.items():
        total[name] = total.get(name, 0) + _nano(name, raw)
    return total


def held_by_status(pod: Pod) -> tuple[object, ...]:
    """What of the status the requests read; equal for two states of a pod that differ in none.

    A node writes it once it has room for the pod, and anew with each resize in place; who
    allocates its claims, before it is bound.
    """
    status = pod.status
    held = [
        (one.name, one.resources, one.allocated_resources)
        for one in (*status.container_statuses, *status.init_container_statuses)
        if one.resources is not None
    ]
    is_held = bool(held) or status.resources is not None
    infeasible = is_held and _is_resize_infeasible(pod)
    claims = status.node_allocatable_resource_claim_statuses
    return (status.resources, status.allocated_resources, held, infeasible, claims)


def _has_pod_level_requests(pod: Pod) -> bool:
    own = pod.spec.resources
    return own is not None and any(map(is_pod_level, own.requests))


def _override(total: _Nanos, pod: Pod) -> None:
    """Put the pod's own requests in place of its containers', in `total`."""
    own = pod.spec.resources
    assert own is not None, "asked only of pods with requests of their own"
    actual = pod.status.resources
    wanted = _nanos(own.requests)
    effective = wanted
    if actual is not None:
        allocated = pod.status.allocated_resources
        effective = _effective(pod, own.requests, actual.requests, allocated)
    for name in wanted:
        if is_pod_level(name):
            # A resize that is infeasible and never was allocated counts as nothing.
            total[name] = effective.get(name, 0)


def _aggregate(
    pod: Pod, statuses: Mapping[str, ContainerStatus], unasked: Mapping[str, int]
) -> _Nanos:
    """What the containers take together; init containers that end need it only before the rest."""
    spec = pod.spec
    running = [_with_unasked(_asked(pod, item, statuses), unasked) for item in spec.containers]
    if not spec.init_containers:
        return running[0] if len(running) == 1 else _combine(running, [])
    starting = []
    for item in spec.init_containers:
        asked = _asked(pod, item, statuses if item.is_sidecar else {})
        starting.append((item.is_sidecar, _with_unasked(asked, unasked)))
    return _combine(running, starting)


def _combine(running: list[_Nanos], starting: list[tuple[bool, _Nanos]]) -> _Nanos:
    """The larger, per resource, of what runs in the end and of each moment of starting.

    Args:
        running: one map a container.
        starting: (whether it is a sidecar, its map) for each init container, in order.
    """
    total: _Nanos = {}
    for asked in running:
        _add(total, asked)
    sidecars: _Nanos = {}
    peak: _Nanos = {}
    for is_sidecar, asked in starting:
        if is_sidecar:
            _add(total, asked)
            _add(sidecars, asked)
            _raise_to(peak, sidecars)
        else:
            moment = dict(asked)
            _add(moment, sidecars)
            _raise_to(peak, moment)
    _raise_to(total, peak)
    return total


def _asked(pod: Pod, container: Container, statuses: Mapping[str, ContainerStatus]) -> _Nanos:
    """What one container counts for, with its status where an in-place resize is possible."""
    status = statuses.get(container.name)
    if status is None or status.resources is None:
        return _nanos(container.resources.requests)
    actual, allocated = status.resources.requests, status.allocated_resources
    return _effective(pod, container.resources.requests, actual, allocated)


def _effective(
    pod: Pod, wanted: ResourceMap, actual: ResourceMap, allocated: ResourceMap
) -> _Nanos:
    """The largest of what is held; what is wanted counts too, unless it is infeasible."""
    held = _nanos(actual)
    _raise_to(held, _nanos(allocated))
    if not _is_resize_infeasible(pod):
        _raise_to(held, _nanos(wanted))
    return held


def _is_resize_infeasible(pod: Pod) -> bool:
    for condition in pod.status.conditions:
        if condition.type == "PodResizePending":
            return condition.reason == "Infeasible"
    return False


def _with_unasked(asked: _Nanos, unasked: Mapping[str, int]) -> _Nanos:
    return {**unasked, **asked} if unasked else asked


def _add(total: _Nanos, more: Mapping[str, int]) -> None:
    for name, nano in more.items():
        total[name] = total.get(name, 0) + nano


def _raise_to(total: _Nanos, floor: Mapping[str, int]) -> None:
    for name, nano in floor.items():
        if name not in total or nano > total[name]:
            total[name] = nano


def _nanos(given: ResourceMap) -> _Nanos:
    return {name: _nano(name, raw) for name, raw in given.items()}


def _nano(name: str, raw: RawQuantity) -> int:
    try:
        return quantity_nano(raw)
    except ConfigError as error:
        raise error.at(name) from error


def _as_requests(total: _Nanos) -> Requests:
    return {name: _rounded(name, nano) for name, nano in total.items() if is_counted(name)}


def _rounded(name: str, nano: int) -> int:
    """The amount in the resource's unit, rounded up, at most the largest int64."""
    amount = -(-nano // (_NANO_PER_MILLI if name == CPU else _NANO))
    return min(amount, INT64_MAX)
