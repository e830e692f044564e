"""What of a pod the API server would refuse, where the wrong value would change its placement."""

from __future__ import annotations

from collections.abc import Iterator

from herz.errors import ConfigError
from herz.model.checks import (
    INT32_MAX,
    check_label_key,
    check_label_value,
    check_labels,
    check_metadata,
    check_namespace,
    check_node_selector,
    check_node_term,
    check_one_of,
    check_range,
    check_required,
    check_resources,
    check_selector,
    check_unique,
)
from herz.model.meta import LabelSelector, ResourceRequirements
from herz.model.pod import (
    Container,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from herz.model.quantity import parse_quantity
from herz.model.resources import is_counted, is_pod_level
from herz.model.storage import PodVolume
from herz.model.taints import NO_EXECUTE, TAINT_EFFECTS

_RESTART = ("Always", "OnFailure", "Never")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_pod(pod: Pod) -> None:
    """Refuse a pod that the API server would refuse, as far as placement reads it.

    Raises:
        ConfigError: the first field that is wrong, by its path in the manifest.
    """
    spec = pod.spec
    check_metadata(pod.metadata)
    check_required(spec.containers, "spec.containers")
    _check_containers(spec)
    _check_own_resources(spec)
    check_resources(spec.overhead, "spec.overhead")
    check_labels(spec.node_selector, "spec.nodeSelector")
    _check_affinity(spec)
    for index, toleration in enumerate(spec.tolerations):
        _check_toleration(toleration, f"spec.tolerations[{index}]")
    _check_spread(spec)
    _check_volumes(spec.volumes)
    _check_scheduling(spec)
    for path, allocated in _held(pod):
        check_resources(allocated, path)


def _check_containers(spec: PodSpec) -> None:
    for field, containers in (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
    ):
        for index, container in enumerate(containers):
            _check_container(container, f"spec.{field}[{index}]", spec.host_network)
    names = [item.name for item in (*spec.containers, *spec.init_containers)]
    check_unique(names, "a container's name", "spec.containers")
    taken = [
        (port.host_ip, port.protocol or "TCP", port.host_port)
        for container in spec.containers
        for port in container.ports
        if port.host_port
    ]
    check_unique(taken, "a host port", "spec.containers")


def _check_container(container: Container, where: str, is_host_network: bool) -> None:
    check_required(container.name, f"{where}.name")
    check_one_of(container.restart_policy, _RESTART, f"{where}.restartPolicy")
    _check_requirements(container.resources, f"{where}.resources")
    for index, port in enumerate(container.ports):
        path = f"{where}.ports[{index}]"
        check_range(port.container_port, 1, 65535, f"{path}.containerPort")
        check_range(port.host_port, 0, 65535, f"{path}.hostPort")
        check_one_of(port.protocol, _PROTOCOLS, f"{path}.protocol")
        if is_host_network and port.host_port not in (0, port.container_port):
            fix = "make it equal to containerPort, or leave it out"
            what = "another host port in the host's network"
            raise ConfigError(what, where=f"{path}.hostPort", value=port.host_port, fix=fix)


def _check_requirements(resources: ResourceRequirements, where: str) -> None:
    """Quantities read, names are resources, and no request is above its limit."""
    requests, limits = resources.requests, resources.limits
    for field, given in (("limits", limits), ("requests", requests)):
        check_resources(given, f"{where}.{field}")
        for name in given:
            if not is_counted(name) or name == "pods":
                fix = "use cpu, memory, ephemeral-storage, hugepages-... or example.com/device"
                path = f"{where}.{field}"
                raise ConfigError("not a resource of containers", where=path, value=name, fix=fix)
    for name, raw in requests.items():
        asked = parse_quantity(raw)
        limit = parse_quantity(limits[name]) if name in limits else None
        path = f"{where}.requests.{name}"
        if limit is not None and asked > limit:
            fix = "lower it, or raise the limit"
            raise ConfigError("the request is above the limit", where=path, value=raw, fix=fix)
        is_shared = "/" not in name and not name.startswith("hugepages-")
        if not is_shared and asked != limit and "kubernetes.io/" not in name:
            fix = "set the limit to the same amount: it can't be over-committed"
            raise ConfigError("the request isn't the limit", where=path, value=raw, fix=fix)


def _check_own_resources(spec: PodSpec) -> None:
    own = spec.resources
    if own is None:
        return
    for field, given in (("requests", own.requests), ("limits", own.limits)):
        path = f"spec.resources.{field}"
        check_resources(given, path)
        for name in given:
            if not is_pod_level(name):
                fix = "use cpu, memory or hugepages-..."
                raise ConfigError("not a resource of pods", where=path, value=name, fix=fix)
    for name, raw in own.requests.items():
        if name in own.limits and parse_quantity(raw) > parse_quantity(own.limits[name]):
            path = f"spec.resources.requests.{name}"
            fix = "lower it, or raise the limit"
            raise ConfigError("the request is above the limit", where=path, value=raw, fix=fix)


def _check_affinity(spec: PodSpec) -> None:
    if spec.affinity is None:
        return
    node = spec.affinity.node_affinity
    if node is not None:
        where = "spec.affinity.nodeAffinity"
        if node.required is not None:
            check_node_selector(node.required, f"{where}.{_REQUIRED}")
        for index, preferred in enumerate(node.preferred):
            path = f"{where}.{_PREFERRED}[{index}]"
            check_range(preferred.weight, 1, 100, f"{path}.weight")
            check_node_term(preferred.preference, f"{path}.preference", are_values_labels=False)
    for name, affinity in (
        ("podAffinity", spec.affinity.pod_affinity),
        ("podAntiAffinity", spec.affinity.pod_anti_affinity),
    ):
        if affinity is not None:
            _check_pod_affinity(affinity, f"spec.affinity.{name}")


def _check_pod_affinity(affinity: PodAffinity, where: str) -> None:
    for index, term in enumerate(affinity.required):
        _check_affinity_term(term, f"{where}.{_REQUIRED}[{index}]")
    for index, weighted in enumerate(affinity.preferred):
        path = f"{where}.{_PREFERRED}[{index}]"
        check_range(weighted.weight, 1, 100, f"{path}.weight")
        _check_affinity_term(weighted.pod_affinity_term, f"{path}.podAffinityTerm")


def _check_affinity_term(term: PodAffinityTerm, where: str) -> None:
    check_selector(term.label_selector, f"{where}.labelSelector")
    check_selector(term.namespace_selector, f"{where}.namespaceSelector")
    check_required(term.topology_key, f"{where}.topologyKey")
    check_label_key(term.topology_key, f"{where}.topologyKey")
    for name in term.namespaces:
        check_namespace(name, f"{where}.namespaces")
    for field, keys in (
        ("matchLabelKeys", term.match_label_keys),
        ("mismatchLabelKeys", term.mismatch_label_keys),
    ):
        _check_label_keys(keys, term.label_selector, f"{where}.{field}")
    both = sorted(set(term.match_label_keys) & set(term.mismatch_label_keys))
    if both:
        path = f"{where}.matchLabelKeys"
        raise ConfigError("a key to match and not to match", where=path, value=both, fix="drop one")


def _check_label_keys(keys: tuple[str, ...], selector: LabelSelector | None, where: str) -> None:
    if keys and selector is None:
        fix = "add a labelSelector"
        raise ConfigError("label keys without a selector", where=where, value=list(keys), fix=fix)
    for key in keys:
        check_label_key(key, where)


def _check_toleration(toleration: Toleration, where: str) -> None:
    check_one_of(toleration.operator, ("Exists", "Equal"), f"{where}.operator")
    check_one_of(toleration.effect, TAINT_EFFECTS, f"{where}.effect")
    if toleration.key:
        check_label_key(toleration.key, f"{where}.key")
    elif toleration.operator != "Exists":
        fix = 'write a key, or "operator: Exists" to tolerate every taint'
        path = f"{where}.operator"
        raise ConfigError("no key", where=path, value=toleration.operator, fix=fix)
    if toleration.operator == "Exists" and toleration.value:
        fix = "leave the value out"
        path = f"{where}.value"
        raise ConfigError("Exists takes no value", where=path, value=toleration.value, fix=fix)
    check_label_value(toleration.value, f"{where}.value")
    if toleration.toleration_seconds is not None and toleration.effect != NO_EXECUTE:
        fix = f"set the effect to {NO_EXECUTE}"
        what = "tolerationSeconds without the effect that it limits"
        raise ConfigError(what, where=f"{where}.effect", value=toleration.effect, fix=fix)


def _check_spread(spec: PodSpec) -> None:
    where = "spec.topologySpreadConstraints"
    constraints = spec.topology_spread_constraints
    for index, constraint in enumerate(constraints):
        _check_constraint(constraint, f"{where}[{index}]")
    pairs = [(item.topology_key, item.when_unsatisfiable) for item in constraints]
    check_unique(pairs, "a topologyKey with its whenUnsatisfiable", where)


def _check_constraint(constraint: TopologySpreadConstraint, where: str) -> None:
    check_range(constraint.max_skew, 1, INT32_MAX, f"{where}.maxSkew")
    check_required(constraint.topology_key, f"{where}.topologyKey")
    check_label_key(constraint.topology_key, f"{where}.topologyKey")
    path = f"{where}.whenUnsatisfiable"
    check_required(constraint.when_unsatisfiable, path)
    check_one_of(constraint.when_unsatisfiable, ("DoNotSchedule", "ScheduleAnyway"), path)
    check_range(constraint.min_domains, 1, INT32_MAX, f"{where}.minDomains")
    if constraint.min_domains is not None and constraint.when_unsatisfiable != "DoNotSchedule":
        fix = "leave it out, or use DoNotSchedule"
        what = "minDomains binds only with DoNotSchedule"
        raise ConfigError(what, where=f"{where}.minDomains", value=constraint.min_domains, fix=fix)
    policies = ("Honor", "Ignore")
    check_one_of(constraint.node_affinity_policy, policies, f"{where}.nodeAffinityPolicy")
    check_one_of(constraint.node_taints_policy, policies, f"{where}.nodeTaintsPolicy")
    check_selector(constraint.label_selector, f"{where}.labelSelector")
    keys = constraint.match_label_keys
    _check_label_keys(keys, constraint.label_selector, f"{where}.matchLabelKeys")


def _check_volumes(volumes: tuple[PodVolume, ...]) -> None:
    for index, volume in enumerate(volumes):
        where = f"spec.volumes[{index}]"
        check_required(volume.name, f"{where}.name")
        if volume.persistent_volume_claim is not None:
            claim = volume.persistent_volume_claim.claim_name
            check_required(claim, f"{where}.persistentVolumeClaim.claimName")
        if volume.ephemeral is not None:
            template = volume.ephemeral.volume_claim_template
            path = f"{where}.ephemeral.volumeClaimTemplate"
            if template is None:
                raise ConfigError("missing", where=path, fix="write the claim's template")
            check_resources(template.spec.resources.requests, f"{path}.spec.resources.requests")
    check_unique([volume.name for volume in volumes], "a volume's name", "spec.volumes")


def _check_scheduling(spec: PodSpec) -> None:
    """Gates, priority, preemption and the rest of what is asked of the scheduler."""
    for index, gate in enumerate(spec.scheduling_gates):
        check_required(gate.name, f"spec.schedulingGates[{index}].name")
    check_unique([gate.name for gate in spec.scheduling_gates], "a gate", "spec.schedulingGates")
    if spec.scheduling_gates and spec.node_name:
        fix = "leave out one of the two"
        what = "a gated pod can't have a node"
        raise ConfigError(what, where="spec.nodeName", value=spec.node_name, fix=fix)
    check_one_of(spec.restart_policy, _RESTART, "spec.restartPolicy")
    policies = ("Never", "PreemptLowerPriority")
    check_one_of(spec.preemption_policy, policies, "spec.preemptionPolicy")
    check_range(spec.priority, -INT32_MAX - 1, INT32_MAX, "spec.priority")
    grace = spec.termination_grace_period_seconds
    check_range(grace, 0, 2**63 - 1, "spec.terminationGracePeriodSeconds")
    group = spec.scheduling_group
    if group is not None:
        check_required(group.pod_group_name, "spec.schedulingGroup.podGroupName")


def _held(pod: Pod) -> Iterator[tuple[str, dict[str, str | int]]]:
    """The resources that a running pod's status reports, with their paths."""
    status = pod.status
    for field, statuses in (
        ("containerStatuses", status.container_statuses),
        ("initContainerStatuses", status.init_container_statuses),
    ):
        for index, item in enumerate(statuses):
            path = f"status.{field}[{index}]"
            yield f"{path}.allocatedResources", item.allocated_resources
            if item.resources is not None:
                yield f"{path}.resources.requests", item.resources.requests
    for index, claim in enumerate(status.node_allocatable_resource_claim_statuses):
        yield f"status.nodeAllocatableResourceClaimStatuses[{index}].resources", claim.resources
    yield "status.allocatedResources", status.allocated_resources
    if status.resources is not None:
        yield "status.resources.requests", status.resources.requests
