"""Whether a pod fits a node, worked out again from the objects, apart from the scheduler's rules.

Used by the simulated kubelets (admission) and by the checkers. It shares no code with
`herz.place`: a mistake must be made twice to pass. It knows resources, shared accelerators, host
ports, pod counts, taints, node names, node selectors and required node affinity;
`is_fully_judged` says whether a pod asks for anything beyond these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from herz.errors import InvariantError
from herz.model.objects import COSCHEDULING_GROUP_LABEL as GROUP_LABEL
from herz.model.objects import (
    Container,
    ContainerPort,
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Pod,
    PodSpec,
    ResourceMap,
    Taint,
    Toleration,
)
from herz.model.quantity import quantity_milli, quantity_value

GPU_MILLI = "herz.dev/gpu-milli"
GPU_COUNT = "herz.dev/gpu-count"
GPU_DEVICES = "herz.dev/gpu-devices"
GPU_MODEL = "herz.dev/gpu-model"
ZONE = "topology.kubernetes.io/zone"
DEVICE_MILLI = 1000
_GPU_RESOURCES = (GPU_MILLI, GPU_COUNT)
_REPELLING = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
_NEEDS_CACHED_MAX = 65_536

HostPort = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a pod takes of a node.

    Args:
        amounts: (resource, amount) pairs; cpu in milli, everything else in whole units.
        gpu_milli: share of each device, 0 for a pod without shared accelerators.
        gpu_count: number of devices.
        ports: host ports as (address, protocol, port).
    """

    amounts: tuple[tuple[str, int], ...]
    gpu_milli: int = 0
    gpu_count: int = 0
    ports: tuple[HostPort, ...] = ()


@dataclass(slots=True)
class Room:
    """What a node has and what is taken of it.

    Invariant: `used` is the sum over `holders`, and `holders` names each pod once.
    """

    capacity: dict[str, int]
    pods_max: int
    devices_free: list[int]
    used: dict[str, int] = field(default_factory=dict)
    ports: dict[HostPort, int] = field(default_factory=dict)
    holders: dict[str, tuple[Needs, tuple[int, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node) -> Room:
        """The empty room of a node."""
        allocatable = node.status.allocatable
        capacity = amounts_of(allocatable)
        return cls(
            capacity=capacity,
            pods_max=quantity_value(allocatable.get("pods", 0)),
            devices_free=[DEVICE_MILLI] * quantity_value(allocatable.get(GPU_COUNT, 0)),
        )

    def resize(self, node: Node) -> None:
        """Take over a changed allocatable; what is on the node stays, even if it is too much."""
        fresh = Room.of(node)
        for needs, devices in self.holders.values():
            for device in devices:
                if device < len(fresh.devices_free):
                    fresh.devices_free[device] -= needs.gpu_milli
        self.capacity, self.pods_max = fresh.capacity, fresh.pods_max
        self.devices_free = fresh.devices_free

    def refusal(self, needs: Needs, devices: tuple[int, ...]) -> str:
        """Why the pod has no room here on these devices; empty when it has."""
        if len(self.holders) >= self.pods_max:
            return "Too many pods"
        used, capacity = self.used, self.capacity
        for resource, amount in needs.amounts:
            if amount and used.get(resource, 0) + amount > capacity.get(resource, 0):
                return f"Insufficient {resource}"
        if needs.gpu_milli and (reason := self._device_refusal(needs, devices)):
            return reason
        for port in needs.ports:
            if self._is_port_taken(port):
                return f"host port {port[2]} is taken"
        return ""

    def first_devices(self, needs: Needs) -> tuple[int, ...] | None:
        """The first devices with room for the pod; None when there are too few of them."""
        if not needs.gpu_milli:
            return ()
        free = [i for i, milli in enumerate(self.devices_free) if milli >= needs.gpu_milli]
        return tuple(free[: needs.gpu_count]) if len(free) >= needs.gpu_count else None

    def take(self, uid: str, needs: Needs, devices: tuple[int, ...]) -> None:
        """Put the pod on the node, without asking whether it fits."""
        if uid in self.holders:
            raise InvariantError(f"pod {uid} is on its node already")
        self.holders[uid] = (needs, devices)
        used = self.used
        for resource, amount in needs.amounts:
            used[resource] = used.get(resource, 0) + amount
        for device in devices:
            if device < len(self.devices_free):
                self.devices_free[device] -= needs.gpu_milli
        for port in needs.ports:
            self.ports[port] = self.ports.get(port, 0) + 1

    def give(self, uid: str) -> Needs | None:
        """Take the pod off the node; None when it was not there."""
        held = self.holders.pop(uid, None)
        if held is None:
            return None
        needs, devices = held
        for resource, amount in needs.amounts:
            self.used[resource] -= amount
        for device in devices:
            if device < len(self.devices_free):
                self.devices_free[device] += needs.gpu_milli
        for port in needs.ports:
            self.ports[port] -= 1
            if not self.ports[port]:
                del self.ports[port]
        return needs

    def _device_refusal(self, needs: Needs, devices: tuple[int, ...]) -> str:
        if len(devices) != needs.gpu_count or len(set(devices)) != len(devices):
            return f"{needs.gpu_count} different devices are asked for, given {list(devices)}"
        for device in devices:
            if not 0 <= device < len(self.devices_free):
                return f"there is no device {device}"
            if self.devices_free[device] < needs.gpu_milli:
                return f"Insufficient {GPU_MILLI} on device {device}"
        return ""

    def _is_port_taken(self, port: HostPort) -> bool:
        """Kubernetes' rule: the wildcard address meets every address."""
        if not self.ports:
            return False
        address, protocol, number = port
        for taken in self.ports:
            meets = taken[0] == address or "0.0.0.0" in (taken[0], address)
            if meets and taken[1:] == (protocol, number):
                return True
        return False


class NeedsCache:
    """The needs of pods, worked out once for each spec object that pods share."""

    def __init__(self) -> None:
        # Bound: `_NEEDS_CACHED_MAX`; the spec is held so that its id stays its own.
        self._by_spec: dict[int, tuple[PodSpec, Needs]] = {}

    def of(self, pod: Pod) -> Needs:
        """What the pod takes."""
        held = self._by_spec.get(id(pod.spec))
        if held is not None:
            return held[1]
        if len(self._by_spec) >= _NEEDS_CACHED_MAX:
            self._by_spec.clear()
        needs = needs_of(pod)
        self._by_spec[id(pod.spec)] = (pod.spec, needs)
        return needs


def needs_of(pod: Pod) -> Needs:
    """What a pod takes: the larger of its containers together and each step of its start-up."""
    spec = pod.spec
    running: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        asked = amounts_of(container.resources.requests)
        if container.is_sidecar:
            _add(running, asked)
            _raise_to(peak, running)
        else:
            _raise_to(peak, _sum(running, asked))
    for container in spec.containers:
        _add(running, amounts_of(container.resources.requests))
    _raise_to(peak, running)
    if spec.resources is not None:
        peak.update(amounts_of(spec.resources.requests))
    _add(peak, amounts_of(spec.overhead))
    gpu_milli, gpu_count = _gpu_of(spec.containers)
    return Needs(
        amounts=tuple(sorted(peak.items())),
        gpu_milli=gpu_milli,
        gpu_count=gpu_count,
        ports=tuple(sorted(_ports_of(spec))),
    )


def amounts_of(resources: ResourceMap) -> dict[str, int]:
    """Integers of a resource map, without pod counts and shared accelerators."""
    return {
        name: quantity_milli(text) if name == "cpu" else quantity_value(text)
        for name, text in resources.items()
        if name != "pods" and name not in _GPU_RESOURCES
    }


def devices_in(annotations: Iterable[tuple[str, str]]) -> tuple[int, ...]:
    """The devices that an annotation names ("0,3"); empty when there is none, or it is no list."""
    for key, text in annotations:
        if key == GPU_DEVICES:
            parts = text.split(",")
            return tuple(int(part) for part in parts) if all(map(str.isdigit, parts)) else ()
    return ()


def static_refusal(pod: Pod, node: Node) -> str:
    """Why this node is none for the pod whatever runs on it; empty when it may be one."""
    if node.spec.unschedulable and not _is_tolerated(_UNSCHEDULABLE, pod.spec.tolerations):
        return "node(s) were unschedulable"
    return taint_refusal(pod, node) or affinity_refusal(pod, node)


def taint_refusal(pod: Pod, node: Node) -> str:
    """The node's taint that keeps the pod away; empty when none does."""
    for taint in node.spec.taints:
        if taint.effect in _REPELLING and not _is_tolerated(taint, pod.spec.tolerations):
            return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    return ""


def affinity_refusal(pod: Pod, node: Node) -> str:
    """What the pod asks of its node's labels and name, and is not met; empty when all is."""
    spec, labels = pod.spec, node.metadata.labels
    for key, value in spec.node_selector.items():
        if labels.get(key) != value:
            return f"node selector {key}={value}"
    affinity = spec.affinity.node_affinity if spec.affinity is not None else None
    if affinity is not None and affinity.required is not None:
        terms = affinity.required.node_selector_terms
        if not any(_is_term_met(term, node) for term in terms):
            return "required node affinity"
    return ""


def is_one_of(selector: NodeSelector | None, node: Node) -> bool:
    """Whether a selector of nodes means this one; an absent one means all."""
    return selector is None or any(
        _is_term_met(term, node) for term in selector.node_selector_terms
    )


def is_fully_judged(pod: Pod) -> bool:
    """Whether `static_refusal` and `Room.refusal` together say all there is to say on the pod."""
    spec = pod.spec
    affinity = spec.affinity
    asks_for_pods = affinity is not None and (
        affinity.pod_affinity is not None or affinity.pod_anti_affinity is not None
    )
    beyond = (spec.volumes, spec.topology_spread_constraints, spec.resource_claims)
    is_grouped = spec.scheduling_group is not None or GROUP_LABEL in pod.metadata.labels
    return not (asks_for_pods or any(beyond) or is_grouped)


def _gpu_of(containers: tuple[Container, ...]) -> tuple[int, int]:
    """Milli of each device and number of devices, of the container that asks for any."""
    for container in containers:
        requests = container.resources.requests
        if GPU_MILLI in requests or GPU_COUNT in requests:
            milli = quantity_value(requests.get(GPU_MILLI, DEVICE_MILLI))
            count = quantity_value(requests.get(GPU_COUNT, 1))
            return (milli, count) if milli and count else (0, 0)
    return 0, 0


def _ports_of(spec: PodSpec) -> set[HostPort]:
    sidecars = [container for container in spec.init_containers if container.is_sidecar]
    ports: set[HostPort] = set()
    for container in (*spec.containers, *sidecars):
        ports.update(_host_port(port, spec) for port in container.ports)
    return {port for port in ports if port[2] > 0}


def _host_port(port: ContainerPort, spec: PodSpec) -> HostPort:
    number = port.host_port or (port.container_port if spec.host_network else 0)
    return port.host_ip or "0.0.0.0", port.protocol or "TCP", number


def _is_tolerated(taint: Taint, tolerations: tuple[Toleration, ...]) -> bool:
    for toleration in tolerations:
        if toleration.effect not in ("", taint.effect):
            continue
        if toleration.operator == "Exists":
            if toleration.key in ("", taint.key):
                return True
        elif (toleration.key, toleration.value) == (taint.key, taint.value):
            return True
    return False


def _is_term_met(term: NodeSelectorTerm, node: Node) -> bool:
    labels = node.metadata.labels
    if not term.match_expressions and not term.match_fields:
        return False
    if not all(_is_met(requirement, labels) for requirement in term.match_expressions):
        return False
    fields = {"metadata.name": node.name}
    return all(_is_met(requirement, fields) for requirement in term.match_fields)


def _is_met(requirement: NodeSelectorRequirement, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values
    match requirement.operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            try:
                difference = int(value or "x") - int(values[0])
            except (ValueError, IndexError):
                return False
            return difference > 0 if requirement.operator == "Gt" else difference < 0
    return False


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    total = dict(one)
    _add(total, other)
    return total


def _raise_to(peak: dict[str, int], amounts: dict[str, int]) -> None:
    for name, amount in amounts.items():
        peak[name] = max(peak.get(name, 0), amount)
