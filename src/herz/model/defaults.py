"""What the API server fills in when an object is created, as far as it changes placement.

Used where manifests are fed without an API server (simulator, embedded cluster, tests); objects
read from a real API have been through it. Nothing that admission plug-ins of a particular cluster
would add is added here, such as the default tolerations of 300 s.

Source: pkg/apis/core/v1/defaults.go, registry/core/pod/strategy.go, plugin/pkg/admission/priority
(facts), checked by the oracle: `pod_submitted` must become `pod`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from herz.errors import ConfigError
from herz.model.labels import IN, NOT_IN
from herz.model.meta import (
    LabelSelector,
    LabelSelectorRequirement,
    Namespace,
    ObjectMeta,
    PriorityClass,
    ResourceMap,
    ResourceRequirements,
)
from herz.model.node import Node
from herz.model.objects import KubernetesObject
from herz.model.pod import (
    Affinity,
    Container,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    TopologySpreadConstraint,
)
from herz.model.quantity import NANO_EXPONENT, Quantity, parse_quantity
from herz.model.resources import (
    aggregate_container_limits,
    aggregate_container_requests,
    is_pod_level,
)
from herz.model.storage import PersistentVolume, PersistentVolumeClaim, StorageClass
from herz.model.workload import ReplicationController

DEFAULT_NAMESPACE = "default"
DEFAULT_SCHEDULER = "default-scheduler"
PREEMPT_LOWER_PRIORITY = "PreemptLowerPriority"
GRACE_PERIOD_SECONDS = 30
SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
CLUSTER_SCOPED = frozenset(
    (
        "Node",
        "Namespace",
        "PriorityClass",
        "PersistentVolume",
        "StorageClass",
        "CSINode",
        "CSIDriver",
        "VolumeAttachment",
        "SLAClass",
        "NodeSignals",
    )
)

_NANO_PER_MILLI = 10**6
_ObjectT = TypeVar("_ObjectT", bound=KubernetesObject)


def apply_defaults(
    thing: KubernetesObject, classes: Mapping[str, PriorityClass] | None = None
) -> KubernetesObject:
    """The object as the API server would store it.

    Args:
        thing: any object; kinds without defaults that matter get a namespace only.
        classes: the PriorityClasses by name, for pods.

    Raises:
        ConfigError: a pod's priority doesn't agree with its class, or the class doesn't exist.
    """
    if isinstance(thing, Pod):
        return default_pod(thing, classes)
    if isinstance(thing, Node):
        return _default_node(thing)
    if isinstance(thing, Namespace):
        labels = {**thing.metadata.labels, "kubernetes.io/metadata.name": thing.metadata.name}
        metadata = msgspec.structs.replace(thing.metadata, labels=labels)
        return msgspec.structs.replace(thing, metadata=metadata)
    if isinstance(thing, StorageClass):
        mode = thing.volume_binding_mode or "Immediate"
        return msgspec.structs.replace(thing, volume_binding_mode=mode)
    if isinstance(thing, PersistentVolume | PersistentVolumeClaim):
        spec = msgspec.structs.replace(
            thing.spec, volume_mode=thing.spec.volume_mode or "Filesystem"
        )
        return _with_namespace(msgspec.structs.replace(thing, spec=spec))
    if isinstance(thing, ReplicationController) and not thing.spec.selector:
        template = thing.spec.template
        selector = template.metadata.labels if template else {}
        spec_rc = msgspec.structs.replace(thing.spec, selector=selector)
        return _with_namespace(msgspec.structs.replace(thing, spec=spec_rc))
    return _with_namespace(thing)


def default_pod(pod: Pod, classes: Mapping[str, PriorityClass] | None = None) -> Pod:
    """The pod as the API server would store it: requests, ports, selectors, priority.

    A stored pod stays what it is, but for label keys: they are merged into the selectors again,
    which doesn't change what the selectors match.

    Raises:
        ConfigError: the priority doesn't agree with the class, or the class doesn't exist.
    """
    spec = pod.spec
    is_host_network = spec.host_network
    spec = msgspec.structs.replace(
        spec,
        containers=tuple(_default_container(item, is_host_network) for item in spec.containers),
        init_containers=tuple(
            _default_container(item, is_host_network) for item in spec.init_containers
        ),
        overhead=_rounded_up(spec.overhead),
        restart_policy=spec.restart_policy or "Always",
        scheduler_name=spec.scheduler_name or DEFAULT_SCHEDULER,
        affinity=_merge_affinity(spec.affinity, pod.metadata.labels),
        topology_spread_constraints=tuple(
            _merge_spread(item, pod.metadata.labels) for item in spec.topology_spread_constraints
        ),
    )
    if spec.termination_grace_period_seconds is None:
        spec = msgspec.structs.replace(spec, termination_grace_period_seconds=GRACE_PERIOD_SECONDS)
    pod = msgspec.structs.replace(pod, spec=spec)
    if spec.resources is not None:
        own = _default_pod_level(pod, spec.resources)
        pod = msgspec.structs.replace(pod, spec=msgspec.structs.replace(spec, resources=own))
    return _with_namespace(resolve_priority(pod, classes or {}))


def resolve_priority(pod: Pod, classes: Mapping[str, PriorityClass]) -> Pod:
    """The pod with the priority and preemption policy of its class, or of the default class.

    A pod that was stored by an API server (it has a uid) and has a priority keeps it.

    Raises:
        ConfigError: the class doesn't exist, or the pod claims another priority or policy.
    """
    spec = pod.spec
    if pod.metadata.uid and spec.priority is not None:
        return pod
    name, priority, policy = _class_of(pod, classes)
    if spec.priority is not None and spec.priority != priority:
        raise ConfigError(
            f"the pod's priority isn't that of its PriorityClass ({priority})",
            where=f"pod {pod.key} spec.priority",
            value=spec.priority,
            fix="leave spec.priority out and name a PriorityClass in spec.priorityClassName",
        )
    if policy is not None and spec.preemption_policy not in (None, policy):
        raise ConfigError(
            f"the pod's preemptionPolicy isn't that of its PriorityClass ({policy})",
            where=f"pod {pod.key} spec.preemptionPolicy",
            value=spec.preemption_policy,
            fix="leave spec.preemptionPolicy out",
        )
    resolved = msgspec.structs.replace(
        spec,
        priority=priority,
        priority_class_name=name,
        preemption_policy=policy or spec.preemption_policy,
    )
    return msgspec.structs.replace(pod, spec=resolved)


def _class_of(pod: Pod, classes: Mapping[str, PriorityClass]) -> tuple[str, int, str | None]:
    """The name, value and policy of the pod's class; the global default's where it names none."""
    name = pod.spec.priority_class_name
    if name in classes:
        return name, classes[name].value, _policy(classes[name])
    if name in SYSTEM_PRIORITIES:
        return name, SYSTEM_PRIORITIES[name], PREEMPT_LOWER_PRIORITY
    if name:
        raise ConfigError(
            "no such PriorityClass",
            where=f"pod {pod.key} spec.priorityClassName",
            value=name,
            fix=f"add it, or use one of {', '.join(sorted({*classes, *SYSTEM_PRIORITIES}))}",
        )
    # Tie: Kubernetes takes the lowest of several global defaults; of equal ones, we the first name.
    defaults = sorted(
        (item.value, item.metadata.name) for item in classes.values() if item.global_default
    )
    if not defaults:
        return "", 0, PREEMPT_LOWER_PRIORITY
    value, default_name = defaults[0]
    return default_name, value, _policy(classes[default_name])


def _policy(priority_class: PriorityClass) -> str:
    return priority_class.preemption_policy or PREEMPT_LOWER_PRIORITY


def _default_container(container: Container, is_host_network: bool) -> Container:
    """Requests where there are limits only, a protocol, and host ports in the host's network."""
    limits = _rounded_up(container.resources.limits)
    requests = {**limits, **_rounded_up(container.resources.requests)}
    resources = container.resources
    if limits or requests:
        resources = msgspec.structs.replace(resources, limits=limits, requests=requests)
    ports = tuple(
        msgspec.structs.replace(
            port,
            protocol=port.protocol or "TCP",
            host_port=port.host_port or (port.container_port if is_host_network else 0),
        )
        for port in container.ports
    )
    return msgspec.structs.replace(container, resources=resources, ports=ports)


def _default_pod_level(pod: Pod, own: ResourceRequirements) -> ResourceRequirements:
    """The pod's own resources, completed from its containers and from its limits.

    Pod-level limits without requests take the containers' sum where there is one, else the limit.
    Huge pages can't be over-committed, so there the limit comes first, and then the request.
    """
    limits, requests = _rounded_up(own.limits), _rounded_up(own.requests)
    if limits or requests:
        for name, nano in aggregate_container_limits(pod).items():
            if name.startswith("hugepages-") and name not in requests:
                limits.setdefault(name, _text(nano))
    if limits:
        for name, nano in aggregate_container_requests(pod).items():
            if is_pod_level(name) and not name.startswith("hugepages-"):
                requests.setdefault(name, _text(nano))
        for name, raw in limits.items():
            if is_pod_level(name):
                requests.setdefault(name, raw)
    return msgspec.structs.replace(own, limits=limits, requests=requests)


def _default_node(node: Node) -> Node:
    status = node.status
    capacity, allocatable = _rounded_up(status.capacity), _rounded_up(status.allocatable)
    status = msgspec.structs.replace(
        status, capacity=capacity, allocatable=allocatable or dict(capacity)
    )
    return msgspec.structs.replace(node, status=status)


def _rounded_up(given: ResourceMap) -> ResourceMap:
    """The same resources with every quantity rounded up to thousandths, as the API stores them."""
    rounded: ResourceMap = {}
    for name, raw in given.items():
        nano = parse_quantity(raw).nano
        if nano % _NANO_PER_MILLI == 0:
            rounded[name] = raw
        else:
            milli = -(-abs(nano) // _NANO_PER_MILLI)
            rounded[name] = _text((milli if nano > 0 else -milli) * _NANO_PER_MILLI)
    return rounded


def _text(nano: int) -> str:
    """The canonical quantity of so many billionths."""
    return str(Quantity(nano, NANO_EXPONENT))


def _merge_affinity(affinity: Affinity | None, labels: Mapping[str, str]) -> Affinity | None:
    """The affinity with its terms' label keys merged into their selectors."""
    if affinity is None:
        return None
    return msgspec.structs.replace(
        affinity,
        pod_affinity=_merge_terms(affinity.pod_affinity, labels),
        pod_anti_affinity=_merge_terms(affinity.pod_anti_affinity, labels),
    )


def _merge_terms(affinity: PodAffinity | None, labels: Mapping[str, str]) -> PodAffinity | None:
    if affinity is None:
        return None
    return msgspec.structs.replace(
        affinity,
        required=tuple(_merge_term(term, labels) for term in affinity.required),
        preferred=tuple(
            msgspec.structs.replace(
                item, pod_affinity_term=_merge_term(item.pod_affinity_term, labels)
            )
            for item in affinity.preferred
        ),
    )


def _merge_term(term: PodAffinityTerm, labels: Mapping[str, str]) -> PodAffinityTerm:
    selector = _merged(term.label_selector, term.match_label_keys, IN, labels)
    selector = _merged(selector, term.mismatch_label_keys, NOT_IN, labels)
    return msgspec.structs.replace(term, label_selector=selector)


def _merge_spread(
    constraint: TopologySpreadConstraint, labels: Mapping[str, str]
) -> TopologySpreadConstraint:
    selector = _merged(constraint.label_selector, constraint.match_label_keys, IN, labels)
    return msgspec.structs.replace(constraint, label_selector=selector)


def _merged(
    selector: LabelSelector | None, keys: Iterable[str], operator: str, labels: Mapping[str, str]
) -> LabelSelector | None:
    """The selector with one requirement more for each of the keys that the pod's labels have."""
    if selector is None:
        return None
    added = tuple(
        LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))
        for key in keys
        if key in labels
    )
    return msgspec.structs.replace(
        selector, match_expressions=(*selector.match_expressions, *added)
    )


def _with_namespace(thing: _ObjectT) -> _ObjectT:
    """The object in the namespace `default` where it names none and its kind has one."""
    metadata: ObjectMeta = thing.metadata
    if metadata.namespace or type(thing).__name__ in CLUSTER_SCOPED:
        return thing
    metadata = msgspec.structs.replace(metadata, namespace=DEFAULT_NAMESPACE)
    return msgspec.structs.replace(thing, metadata=metadata)
