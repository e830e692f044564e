"""What an object gets that its maker left out, so that clients read what Kubernetes would serve.

What changes a placement (requests, priority, selectors) comes from `herz.model.defaults`; here are
the fields that only people and controllers read.

Source: pkg/apis/*/v1/defaults.go, registry strategies (facts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from herz.model.decode import convert
from herz.model.defaults import default_pod
from herz.model.meta import PriorityClass
from herz.model.pod import Pod
from herz.model.quantity import quantity_nano
from herz.world.apiserver.objects.kinds import Kind

Content = dict[str, Any]

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_DEFAULT_MODE = 0o644


def apply_defaults(kind: Kind, content: Content) -> None:
    """Fill in what is missing, in place; a complete object stays as it is."""
    make = _DEFAULTS.get(kind.qualified)
    if make is not None:
        make(content)


def admit_pod(content: Content, classes: Mapping[str, PriorityClass]) -> Content:
    """A new pod with what creation alone decides: requests, priority, service account, QoS.

    Raises:
        ConfigError: the pod is no pod, or its priority is not that of its class.
    """
    spec = content["spec"]
    spec.setdefault("serviceAccountName", spec.get("serviceAccount") or "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    _tolerate_lost_nodes(spec)
    # Without its new uid: one that has a uid counts as stored, and keeps what it claims.
    metadata = {name: item for name, item in content["metadata"].items() if name != "uid"}
    pod = default_pod(convert(Pod, {**content, "metadata": metadata}), classes)
    known = msgspec.json.decode(msgspec.json.encode(pod))
    content["spec"] = _overlaid(spec, known.get("spec", {}))
    content["status"] = {"phase": "Pending", "qosClass": _qos_class(content["spec"])}
    if content["spec"].get("schedulingGates"):
        gated = {**_GATED, "lastTransitionTime": content["metadata"].get("creationTimestamp")}
        content["status"]["conditions"] = [gated]
    return content


_GATED: Final = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None,
}
"""The condition of a pod that is made with scheduling gates; no scheduler writes it."""


def pod_spec(spec: Content) -> None:
    """The defaults of a pod's spec, also of one in a template."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for name in ("containers", "initContainers"):
        for container in spec.get(name, ()):
            _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Content) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    is_moving = "@" not in image and tag in ("", "latest")
    container.setdefault("imagePullPolicy", "Always" if is_moving else "IfNotPresent")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            for field, value in _PROBE.items():
                probe.setdefault(field, value)
            if "httpGet" in probe:
                probe["httpGet"].setdefault("path", "/")
                probe["httpGet"].setdefault("scheme", "HTTP")
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def _volume(volume: Content) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", _DEFAULT_MODE)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")


def _pod(content: Content) -> None:
    spec = content.setdefault("spec", {})
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)


def _tolerate_lost_nodes(spec: Content) -> None:
    """What the admission plug-in DefaultTolerationSeconds adds to each pod."""
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(
            item.get("key") in (key, None, "") and item.get("effect", "NoExecute") == "NoExecute"
            for item in tolerations
        ):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


def _qos_class(spec: Content) -> str:
    """Guaranteed, Burstable or BestEffort, by requests and limits of cpu and memory."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    every = [item.get("resources", {}) for item in containers]
    asked = [
        (given.get("requests", {}).get(name), given.get("limits", {}).get(name))
        for given in every
        for name in ("cpu", "memory")
    ]
    pairs = [(quantity_nano(request or 0), quantity_nano(limit or 0)) for request, limit in asked]
    if not any(request or limit for request, limit in pairs):
        return "BestEffort"
    is_guaranteed = all(limit and request == limit for request, limit in pairs)
    return "Guaranteed" if is_guaranteed else "Burstable"


def _overlaid(content: Any, known: Any) -> Any:
    """The content with what the model says; fields that the model does not have stay."""
    if isinstance(content, dict) and isinstance(known, dict):
        return {
            **content,
            **{key: _overlaid(content.get(key), item) for key, item in known.items()},
        }
    if isinstance(content, list) and isinstance(known, list):
        pairs = zip(content, known, strict=False)
        return [_overlaid(*pair) for pair in pairs] + known[len(content) :]
    return known


# ---- workloads ------------------------------------------------------------------------------


def _template(content: Content) -> None:
    template = content.setdefault("spec", {}).setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _deployment(content: Content) -> None:
    _template(content)
    spec = content["spec"]
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _replica_set(content: Content) -> None:
    _template(content)
    content["spec"].setdefault("replicas", 1)


def _replication_controller(content: Content) -> None:
    _replica_set(content)
    labels = content["spec"]["template"]["metadata"].get("labels", {})
    content["spec"].setdefault("selector", dict(labels))


def _stateful_set(content: Content) -> None:
    _replica_set(content)
    spec = content["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


def _daemon_set(content: Content) -> None:
    _template(content)
    spec = content["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    rolling = {"maxUnavailable": 1, "maxSurge": 0}
    spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": rolling})


def _job(content: Content) -> None:
    _template(content)
    spec = content["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")


def select_own_pods(job: Content) -> None:
    """Give a new job the selector that no other job has: its uid."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    names = {
        "batch.kubernetes.io/controller-uid": metadata["uid"],
        "batch.kubernetes.io/job-name": metadata["name"],
        "controller-uid": metadata["uid"],
        "job-name": metadata["name"],
    }
    labels = spec["template"]["metadata"].setdefault("labels", {})
    labels |= names
    key = "batch.kubernetes.io/controller-uid"
    spec.setdefault("selector", {"matchLabels": {key: metadata["uid"]}})


# ---- the rest -------------------------------------------------------------------------------


def _service(content: Content) -> None:
    spec = content.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    content.setdefault("status", {"loadBalancer": {}})


def _namespace(content: Content) -> None:
    metadata = content["metadata"]
    labels = metadata.setdefault("labels", {})
    if "name" in metadata:
        labels["kubernetes.io/metadata.name"] = metadata["name"]
    content.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    content.setdefault("status", {}).setdefault("phase", "Active")


def _node(content: Content) -> None:
    content.setdefault("spec", {})
    status = content.setdefault("status", {})
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _budget(content: Content) -> None:
    content.setdefault("spec", {})
    counts = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
    status = content.setdefault("status", {})
    for name in counts:
        status.setdefault(name, 0)


def _priority_class(content: Content) -> None:
    content.setdefault("value", 0)
    content.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _secret(content: Content) -> None:
    content.setdefault("type", "Opaque")


def _storage_class(content: Content) -> None:
    content.setdefault("reclaimPolicy", "Delete")
    content.setdefault("volumeBindingMode", "Immediate")


def _claim(content: Content) -> None:
    content.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    content.setdefault("status", {}).setdefault("phase", "Pending")


def _volume_object(content: Content) -> None:
    spec = content.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    content.setdefault("status", {}).setdefault("phase", "Pending")


def _csi_driver(content: Content) -> None:
    spec = content.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("storageCapacity", False)
    spec.setdefault("podInfoOnMount", False)
    spec.setdefault("volumeLifecycleModes", ["Persistent"])


_DEFAULTS: dict[str, Callable[[Content], None]] = {
    "pods": _pod,
    "services": _service,
    "namespaces": _namespace,
    "nodes": _node,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume_object,
    "replicationcontrollers": _replication_controller,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "jobs.batch": _job,
    "poddisruptionbudgets.policy": _budget,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "storageclasses.storage.k8s.io": _storage_class,
    "csidrivers.storage.k8s.io": _csi_driver,
}
