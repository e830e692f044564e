"""What the API server would refuse, where the wrong value would change a placement.

Used for manifests only: what a real API server serves has been through its own validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from herz.errors import ConfigError
from herz.model.checks import (
    INT32_MAX,
    check_label_key,
    check_label_value,
    check_labels,
    check_metadata,
    check_node_selector,
    check_one_of,
    check_quantity,
    check_range,
    check_required,
    check_resources,
    check_selector,
    check_unique,
)
from herz.model.meta import PriorityClass
from herz.model.node import CSINode, Node
from herz.model.objects import KubernetesObject
from herz.model.pod import Pod
from herz.model.service_levels import NodeSignals, ServiceProfile, SLAClass
from herz.model.storage import (
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from herz.model.taints import TAINT_EFFECTS
from herz.model.validate_pod import validate_pod
from herz.model.validate_service_levels import (
    validate_class,
    validate_profile,
    validate_signals,
)
from herz.model.workload import (
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)

USER_PRIORITY_MAX = 1_000_000_000
_ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")


def validate(thing: KubernetesObject) -> None:
    """Refuse an object that the API server would refuse, as far as placement reads it.

    Raises:
        ConfigError: the first field that is wrong, by its path in the manifest.
    """
    check_metadata(thing.metadata)
    check = _CHECKS.get(type(thing))
    if check is not None:
        check(thing)


def _validate_label_map(thing: Service | ReplicationController) -> None:
    check_labels(thing.spec.selector, "spec.selector")


def _validate_owner(thing: ReplicaSet | StatefulSet) -> None:
    check_selector(thing.spec.selector, "spec.selector")
    if thing.spec.selector is None:
        raise ConfigError("missing", where="spec.selector", fix="write the pods' labels")


def _validate_node(node: Node) -> None:
    check_resources(node.status.allocatable, "status.allocatable")
    check_resources(node.status.capacity, "status.capacity")
    taints = node.spec.taints
    for index, taint in enumerate(taints):
        where = f"spec.taints[{index}]"
        check_label_key(taint.key, f"{where}.key")
        check_label_value(taint.value, f"{where}.value")
        check_required(taint.effect, f"{where}.effect")
        check_one_of(taint.effect, TAINT_EFFECTS, f"{where}.effect")
    check_unique([(item.key, item.effect) for item in taints], "a taint", "spec.taints")
    for index, image in enumerate(node.status.images):
        check_range(image.size_bytes, 0, 2**63 - 1, f"status.images[{index}].sizeBytes")


def _validate_priority_class(priority: PriorityClass) -> None:
    is_system = priority.metadata.name.startswith("system-")
    most = INT32_MAX if is_system else USER_PRIORITY_MAX
    check_range(priority.value, -INT32_MAX - 1, most, "value")
    policies = ("Never", "PreemptLowerPriority")
    check_one_of(priority.preemption_policy, policies, "preemptionPolicy")


def _validate_budget(budget: PodDisruptionBudget) -> None:
    spec = budget.spec
    check_selector(spec.selector, "spec.selector")
    if spec.min_available is not None and spec.max_unavailable is not None:
        fix = "leave out one of the two"
        where, value = "spec.maxUnavailable", spec.max_unavailable
        raise ConfigError("both minAvailable and maxUnavailable", where=where, value=value, fix=fix)
    for name, amount in (
        ("minAvailable", spec.min_available),
        ("maxUnavailable", spec.max_unavailable),
    ):
        _check_count_or_percent(amount, f"spec.{name}")
    check_range(budget.status.disruptions_allowed, 0, INT32_MAX, "status.disruptionsAllowed")


def _check_count_or_percent(amount: int | str | None, where: str) -> None:
    if isinstance(amount, int):
        check_range(amount, 0, INT32_MAX, where)
    elif amount is not None:
        digits = amount.removesuffix("%")
        is_percent = amount.endswith("%") and digits.isascii() and digits.isdigit()
        if not is_percent or int(digits) > 100:
            fix = 'write a whole number, or "0%" to "100%"'
            raise ConfigError("not a count or a percentage", where=where, value=amount, fix=fix)


def _validate_claim(claim: PersistentVolumeClaim) -> None:
    spec = claim.spec
    check_required(spec.access_modes, "spec.accessModes")
    for mode in spec.access_modes:
        check_one_of(mode, _ACCESS_MODES, "spec.accessModes")
    check_selector(spec.selector, "spec.selector")
    where = "spec.resources.requests"
    check_resources(spec.resources.requests, where)
    if "storage" not in spec.resources.requests:
        raise ConfigError("missing", where=f"{where}.storage", fix="write how much is wanted")
    check_one_of(spec.volume_mode, ("Filesystem", "Block"), "spec.volumeMode")


def _validate_volume(volume: PersistentVolume) -> None:
    spec = volume.spec
    check_required(spec.access_modes, "spec.accessModes")
    for mode in spec.access_modes:
        check_one_of(mode, _ACCESS_MODES, "spec.accessModes")
    check_resources(spec.capacity, "spec.capacity")
    if "storage" not in spec.capacity:
        raise ConfigError("missing", where="spec.capacity.storage", fix="write the volume's size")
    check_one_of(spec.volume_mode, ("Filesystem", "Block"), "spec.volumeMode")
    if spec.node_affinity is not None and spec.node_affinity.required is not None:
        check_node_selector(spec.node_affinity.required, "spec.nodeAffinity.required")


def _validate_storage_class(storage: StorageClass) -> None:
    check_required(storage.provisioner, "provisioner")
    modes = ("Immediate", "WaitForFirstConsumer")
    check_one_of(storage.volume_binding_mode, modes, "volumeBindingMode")
    for index, term in enumerate(storage.allowed_topologies):
        where = f"allowedTopologies[{index}].matchLabelExpressions"
        for place, item in enumerate(term.match_label_expressions):
            check_label_key(item.key, f"{where}[{place}].key")
            check_required(item.values, f"{where}[{place}].values")
        check_unique([item.key for item in term.match_label_expressions], "a key", where)


def _validate_csi_node(csi_node: CSINode) -> None:
    drivers = csi_node.spec.drivers
    for index, driver in enumerate(drivers):
        where = f"spec.drivers[{index}]"
        check_required(driver.name, f"{where}.name")
        if driver.allocatable is not None:
            check_range(driver.allocatable.count, 0, INT32_MAX, f"{where}.allocatable.count")
    check_unique([driver.name for driver in drivers], "a driver", "spec.drivers")


def _validate_storage_capacity(capacity: CSIStorageCapacity) -> None:
    check_required(capacity.storage_class_name, "storageClassName")
    check_selector(capacity.node_topology, "nodeTopology")
    for name, raw in (
        ("capacity", capacity.capacity),
        ("maximumVolumeSize", capacity.maximum_volume_size),
    ):
        if raw is not None:
            check_quantity(raw, name)


def _validate_pod_group(group: PodGroup) -> None:
    spec = group.spec
    if group.is_coscheduling:
        check_range(spec.min_member, 1, INT32_MAX, "spec.minMember")
        check_resources(spec.min_resources, "spec.minResources")
        return
    policy = spec.scheduling_policy
    if policy is None or (policy.basic is None) is (policy.gang is None):
        fix = "write either basic: {} or gang: {minCount: N}"
        raise ConfigError("not one policy", where="spec.schedulingPolicy", fix=fix)
    if policy.gang is not None:
        where = "spec.schedulingPolicy.gang.minCount"
        check_range(policy.gang.min_count, 1, INT32_MAX, where)
    constraints = spec.scheduling_constraints
    for index, item in enumerate(constraints.topology if constraints else ()):
        check_label_key(item.key, f"spec.schedulingConstraints.topology[{index}].key")
    check_one_of(spec.disruption_mode, ("Pod", "PodGroup"), "spec.disruptionMode")


# Kinds that aren't here (Namespace, CSIDriver, VolumeAttachment) have only metadata to check.
_CHECKS: dict[type[KubernetesObject], Callable[[Any], None]] = {
    Pod: validate_pod,
    Node: _validate_node,
    PriorityClass: _validate_priority_class,
    PodDisruptionBudget: _validate_budget,
    Service: _validate_label_map,
    ReplicationController: _validate_label_map,
    ReplicaSet: _validate_owner,
    StatefulSet: _validate_owner,
    PersistentVolumeClaim: _validate_claim,
    PersistentVolume: _validate_volume,
    StorageClass: _validate_storage_class,
    CSINode: _validate_csi_node,
    CSIStorageCapacity: _validate_storage_capacity,
    PodGroup: _validate_pod_group,
    SLAClass: validate_class,
    NodeSignals: validate_signals,
    ServiceProfile: validate_profile,
}
