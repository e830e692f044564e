"""What the API refuses in an object of each kind, new or changed. Raises, changes nothing.

Placement's own rules are `herz.model.validate`; here is what only an API server asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from herz.errors import ConfigError
from herz.model.checks import (
    INT32_MAX,
    check_metadata,
    check_namespace,
    check_one_of,
    check_range,
    check_required,
    check_selector,
)
from herz.model.decode import convert
from herz.model.labels import compile_selector, label_key_problem
from herz.model.meta import LabelSelector, Namespace, ObjectMeta, PriorityClass
from herz.model.node import CSINode, Node
from herz.model.objects import KubernetesObject
from herz.model.pod import Pod
from herz.model.storage import (
    CSIDriver,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from herz.model.validate import validate
from herz.model.validate_pod import validate_pod
from herz.model.workload import (
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Service,
    StatefulSet,
)
from herz.world.apiserver.objects.kinds import EVENTS_GROUP, Kind

Content = dict[str, Any]

ANNOTATION_BYTES_MAX = 256 * 1024
NOTE_BYTES_MAX = 1024
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_IMMUTABLE = "field is immutable"
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_MODELS: dict[str, type[KubernetesObject]] = {
    "pods": Pod,
    "nodes": Node,
    "namespaces": Namespace,
    "services": Service,
    "persistentvolumeclaims": PersistentVolumeClaim,
    "persistentvolumes": PersistentVolume,
    "replicationcontrollers": ReplicationController,
    "replicasets.apps": ReplicaSet,
    "statefulsets.apps": StatefulSet,
    "poddisruptionbudgets.policy": PodDisruptionBudget,
    "priorityclasses.scheduling.k8s.io": PriorityClass,
    "storageclasses.storage.k8s.io": StorageClass,
    "csidrivers.storage.k8s.io": CSIDriver,
    "csinodes.storage.k8s.io": CSINode,
    "csistoragecapacities.storage.k8s.io": CSIStorageCapacity,
    "volumeattachments.storage.k8s.io": VolumeAttachment,
}


def check_new(kind: Kind, content: Content) -> None:
    """Refuse an object with values that it must not have.

    Raises:
        ConfigError: the first field that is wrong.
    """
    _check_metadata(kind, content["metadata"])
    model = _MODELS.get(kind.qualified)
    if model is not None:
        validate(convert(model, content))
    check = _CHECKS.get(kind.qualified)
    if check is not None:
        check(content)


def check_change(kind: Kind, old: Content, new: Content) -> None:
    """Refuse a change that the kind does not allow; `new` has passed `check_new`.

    Raises:
        ConfigError: the first field that must stay as it is.
    """
    if kind.qualified == "pods":
        _check_pod_change(old["spec"], new["spec"])
    for path in _FIXED.get(kind.qualified, ()):
        before, after = _at(old, path), _at(new, path)
        if before is not None and before != after:
            raise ConfigError(_IMMUTABLE, where=path, value=after, fix=f"it is {before!r}")
    if kind.name in ("ConfigMap", "Secret") and old.get("immutable"):
        for name in ("data", "binaryData", "immutable"):
            if old.get(name) != new.get(name):
                raise ConfigError("field is immutable when `immutable` is set", where=name)


def _check_metadata(kind: Kind, metadata: Content) -> None:
    meta = convert(ObjectMeta, metadata)
    check_metadata(meta)
    if kind.name == "Namespace":
        check_namespace(meta.name, "metadata.name")
    if kind.name == "Service" and not _SERVICE_NAME.fullmatch(meta.name):
        fix = "use lower-case letters, digits and '-', beginning with a letter"
        raise ConfigError("not a service's name", where="metadata.name", value=meta.name, fix=fix)
    size = 0
    for key, value in meta.annotations.items():
        if problem := label_key_problem(key.lower()):
            raise ConfigError(problem, where="metadata.annotations", value=key)
        size += len(key.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace"))
    if size > ANNOTATION_BYTES_MAX:
        fix = f"at most {ANNOTATION_BYTES_MAX} bytes"
        raise ConfigError("too long", where="metadata.annotations", value=size, fix=fix)
    for index, owner in enumerate(metadata.get("ownerReferences", ())):
        for name in ("apiVersion", "kind", "name", "uid"):
            check_required(owner.get(name), f"metadata.ownerReferences[{index}].{name}")
    for finalizer in meta.finalizers:
        if problem := label_key_problem(finalizer):
            raise ConfigError(problem, where="metadata.finalizers", value=finalizer)


# ---- pods -----------------------------------------------------------------------------------


def _check_pod(content: Content) -> None:
    _check_pod_spec(content["spec"], "spec")


def _check_pod_spec(spec: Content, where: str) -> None:
    for name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(name, ())):
            path = f"{where}.{name}[{index}]"
            check_namespace(container.get("name", ""), f"{path}.name")
            check_required(container.get("image"), f"{path}.image")
            policies = ("Always", "IfNotPresent", "Never")
            check_one_of(container.get("imagePullPolicy"), policies, f"{path}.imagePullPolicy")
            volumes = {item.get("name") for item in spec.get("volumes", ())}
            for at, mount in enumerate(container.get("volumeMounts", ())):
                if mount.get("name") not in volumes:
                    place = f"{path}.volumeMounts[{at}].name"
                    fix = "name one of spec.volumes"
                    raise ConfigError("Not found", where=place, value=mount.get("name"), fix=fix)
    check_one_of(spec.get("dnsPolicy"), _DNS_POLICIES, f"{where}.dnsPolicy")
    check_range(spec.get("activeDeadlineSeconds"), 1, INT32_MAX, f"{where}.activeDeadlineSeconds")


def _check_template(content: Content) -> None:
    """A workload's selector, and the pods that it would make."""
    spec = content["spec"]
    template = spec["template"]
    labels = template["metadata"].get("labels", {})
    selector = spec.get("selector")
    if "matchLabels" in (selector or {}) or "matchExpressions" in (selector or {}):
        matcher = convert(LabelSelector, selector)
        check_selector(matcher, "spec.selector")
        is_matching = compile_selector(matcher).matches(labels)
    elif content.get("kind") == "ReplicationController":
        is_matching = bool(selector) and all(labels.get(key) == selector[key] for key in selector)
    else:
        raise ConfigError("missing", where="spec.selector", fix="write the labels of its pods")
    if not is_matching:
        what = "`selector` does not match template `labels`"
        raise ConfigError(what, where="spec.template.metadata.labels", value=labels)
    named = {**template["metadata"], "name": "template", "namespace": "default"}
    try:
        validate_pod(convert(Pod, {"metadata": named, "spec": template["spec"]}))
    except ConfigError as error:
        where = f"spec.template.{error.where}"
        raise ConfigError(error.what, where=where, value=error.value, fix=error.fix) from error
    _check_pod_spec(template["spec"], "spec.template.spec")
    if template["spec"].get("schedulingGates") and content.get("kind") == "DaemonSet":
        raise ConfigError("not allowed here", where="spec.template.spec.schedulingGates")
    for name in ("replicas", "minReadySeconds", "revisionHistoryLimit", "parallelism"):
        check_range(spec.get(name), 0, INT32_MAX, f"spec.{name}")


def _check_always(content: Content) -> None:
    _check_template(content)
    spec = content["spec"]["template"]["spec"]
    check_one_of(spec["restartPolicy"], ("Always",), "spec.template.spec.restartPolicy")


def _check_deployment(content: Content) -> None:
    _check_always(content)
    strategy = content["spec"]["strategy"]
    where = "spec.strategy"
    check_one_of(strategy.get("type"), ("Recreate", "RollingUpdate"), f"{where}.type")
    rolling = strategy.get("rollingUpdate")
    if rolling is None:
        return
    if strategy.get("type") == "Recreate":
        fix = "leave it out"
        raise ConfigError(
            "may not be specified when strategy `type` is 'Recreate'",
            where=f"{where}.rollingUpdate",
            fix=fix,
        )
    amounts = [rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)]
    for name, amount in zip(("maxUnavailable", "maxSurge"), amounts, strict=True):
        _check_amount(amount, f"{where}.rollingUpdate.{name}")
    if all(str(amount).rstrip("%").strip("0") == "" for amount in amounts):
        what = "may not be 0 when `maxSurge` is 0"
        raise ConfigError(what, where=f"{where}.rollingUpdate.maxUnavailable", value=amounts[0])


def _check_amount(amount: int | str, where: str) -> None:
    text = str(amount)
    digits = text.removesuffix("%")
    is_number = digits.isascii() and digits.isdigit() and len(digits) < 10
    if not is_number or (isinstance(amount, str) and not text.endswith("%")):
        fix = 'write a whole number, or a percentage such as "25%"'
        raise ConfigError("not a count or a percentage", where=where, value=amount, fix=fix)


def _check_job(content: Content) -> None:
    _check_template(content)
    spec = content["spec"]
    policy = spec["template"]["spec"]["restartPolicy"]
    if policy not in ("OnFailure", "Never"):
        where = "spec.template.spec.restartPolicy"
        fix = "use one of Never, OnFailure"
        raise ConfigError("unknown value", where=where, value=policy, fix=fix)
    names = ("completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    for name in names:
        check_range(spec.get(name), 0, INT32_MAX, f"spec.{name}")
    if spec.get("completionMode") != "NonIndexed":
        fix = "use NonIndexed; the embedded job controller has no indexes"
        where, value = "spec.completionMode", spec.get("completionMode")
        raise ConfigError("unknown value", where=where, value=value, fix=fix)


def _check_pod_change(old: Content, new: Content) -> None:
    """What may change: images, deadlines, tolerations; while gated also gates and node choice."""
    is_gated = bool(old.get("schedulingGates"))
    gates = [gate.get("name") for gate in old.get("schedulingGates", ())]
    for gate in new.get("schedulingGates", ()):
        if gate.get("name") not in gates:
            what = "only deletion is allowed, but found new scheduling gate"
            raise ConfigError(what, where="spec.schedulingGates", value=gate.get("name"))
    before, after = old.get("tolerations", []), new.get("tolerations", [])
    for toleration in before:
        if toleration not in after:
            what = "existing toleration can not be modified except its tolerationSeconds"
            if _without(toleration) not in [_without(item) for item in after]:
                raise ConfigError(what, where="spec.tolerations", value=toleration)
    if is_gated:
        selector = new.get("nodeSelector", {})
        for key, value in old.get("nodeSelector", {}).items():
            if selector.get(key) != value:
                what = "only additions are allowed (no mutations or deletions)"
                raise ConfigError(what, where="spec.nodeSelector", value=selector)
    if _rest_of(old, is_gated=is_gated) != _rest_of(new, is_gated=is_gated):
        changed = sorted(
            name for name in {*old, *new} if old.get(name) != new.get(name) and name not in _MUTABLE
        )
        raise ConfigError(
            "Forbidden: pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)",
            where="spec",
            value=changed,
        )


_MUTABLE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")


def _without(toleration: Content) -> Content:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


def _rest_of(spec: Content, *, is_gated: bool) -> Content:
    """The spec without what may change."""
    loose = (*_MUTABLE, "nodeSelector", "affinity") if is_gated else _MUTABLE
    rest = {name: value for name, value in spec.items() if name not in loose}
    for name in ("containers", "initContainers"):
        if name in rest:
            rest[name] = [{**item, "image": ""} for item in rest[name]]
    return {name: value for name, value in rest.items() if value not in (None, [], {})}


# ---- others ---------------------------------------------------------------------------------


def _check_service(content: Content) -> None:
    spec = content["spec"]
    types = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
    check_one_of(spec.get("type"), types, "spec.type")
    if spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        check_required(spec.get("ports"), "spec.ports")
    for index, port in enumerate(spec.get("ports", ())):
        where = f"spec.ports[{index}]"
        check_required(port.get("port"), f"{where}.port")
        check_range(port.get("port"), 1, 65535, f"{where}.port")
        check_one_of(port.get("protocol"), ("TCP", "UDP", "SCTP"), f"{where}.protocol")
        if len(spec["ports"]) > 1:
            check_required(port.get("name"), f"{where}.name")


def _check_config(content: Content) -> None:
    pattern = re.compile(r"[-._a-zA-Z0-9]{1,253}")
    for name in ("data", "binaryData"):
        for key in content.get(name, {}):
            if not pattern.fullmatch(key):
                fix = "use letters, digits, '-', '_' and '.'"
                raise ConfigError("not a key", where=f"{name}[{key[:40]}]", value=key, fix=fix)


def _check_lease(content: Content) -> None:
    spec = content.get("spec", {})
    for name, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        check_range(spec.get(name), least, INT32_MAX, f"spec.{name}")


def check_event(kind: Kind, content: Content, namespace: str) -> None:
    """An event, as it came in: the newer interface asks for more than the older.

    Raises:
        ConfigError: a field is missing, too long, or not for events of this interface.
    """
    is_new = kind.group == EVENTS_GROUP
    about = content.get("regarding" if is_new else "involvedObject", {})
    where = "regarding.namespace" if is_new else "involvedObject.namespace"
    home = about.get("namespace", "")
    if "eventTime" not in content:
        is_there = namespace == (home or "default")
    else:
        is_there = bool(home) or namespace in ("default", "kube-system")
    if not is_there:
        fix = "use the namespace of the event; default for what has none"
        raise ConfigError("does not match event.namespace", where=where, value=home, fix=fix)
    note = content.get("note" if is_new else "message", "")
    if not is_new and "eventTime" not in content:
        return
    if len(note.encode("utf-8", "replace")) > NOTE_BYTES_MAX:
        fix = f"can have at most {NOTE_BYTES_MAX} bytes"
        raise ConfigError("too long", where="note", value=note, fix=fix)
    if is_new:
        check_required(content.get("eventTime"), "eventTime")
    controller = "reportingController" if is_new else "reportingComponent"
    for name in (controller, "reportingInstance", "action", "reason"):
        check_required(content.get(name), name)
    for name in ("reportingInstance", "action", "reason"):
        if len(content[name]) > 128:
            raise ConfigError("too long", where=name, value=content[name], fix="at most 128 bytes")
    check_required(content.get("type"), "type")
    check_one_of(content.get("type"), ("Normal", "Warning"), "type")
    for name in ("deprecatedCount", "deprecatedFirstTimestamp", "deprecatedLastTimestamp"):
        if name in content:
            raise ConfigError("needs to be unset", where=name, value=content[name])


def _at(content: Content, path: str) -> Any:
    found: Any = content
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


_FIXED = {
    "deployments.apps": ("spec.selector",),
    "replicasets.apps": ("spec.selector",),
    "daemonsets.apps": ("spec.selector",),
    "statefulsets.apps": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy"),
    "jobs.batch": ("spec.selector", "spec.completions", "spec.completionMode", "spec.template"),
    "services": ("spec.clusterIP",),
    "secrets": ("type",),
    "priorityclasses.scheduling.k8s.io": ("value", "preemptionPolicy"),
    "storageclasses.storage.k8s.io": ("provisioner", "parameters", "volumeBindingMode"),
    "persistentvolumeclaims": ("spec.accessModes", "spec.storageClassName", "spec.selector"),
    "volumeattachments.storage.k8s.io": ("spec",),
}

_CHECKS: dict[str, Callable[[Content], None]] = {
    "pods": _check_pod,
    "services": _check_service,
    "configmaps": _check_config,
    "secrets": _check_config,
    "replicationcontrollers": _check_always,
    "replicasets.apps": _check_always,
    "statefulsets.apps": _check_always,
    "daemonsets.apps": _check_always,
    "deployments.apps": _check_deployment,
    "jobs.batch": _check_job,
    "leases.coordination.k8s.io": _check_lease,
}
