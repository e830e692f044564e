"""The columns that `kubectl get` shows, computed here as in Kubernetes: the Table form of answers.

Source: pkg/printers/internalversion/printers.go (facts).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.labels import compile_selector
from herz.model.meta import LabelSelector
from herz.world.apiserver.objects.kinds import EVENTS_GROUP, Kind
from herz.world.apiserver.objects.podstatus import ready_of, restarts_of, status_of
from herz.world.apiserver.registry.times import age_s, now

Content = dict[str, Any]
Cell = str | int | bool

NONE = "<none>"
UNKNOWN = "<unknown>"


class Column(NamedTuple):
    """A column; those of priority 1 are shown with `-o wide`."""

    name: str
    cell: Callable[[Content], Cell]
    type: str = "string"
    priority: int = 0
    format: str = ""

    @property
    def definition(self) -> dict[str, Any]:
        """As it stands in a Table."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": f"{self.name} of the object.",
            "priority": self.priority,
        }


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The kind's columns; name and age where it has none of its own."""
    return _COLUMNS.get(kind.stored, (_NAME, _AGE))


def row_of(kind: Kind, content: Content) -> list[Cell]:
    """The object's cells. An object of events.k8s.io must come in its stored form."""
    assert kind.group != EVENTS_GROUP or "note" not in content
    return [column.cell(content) for column in columns_of(kind)]


def human_duration(seconds: float) -> str:
    """A duration as kubectl writes it: two units where that matters, else one."""
    if seconds < -1:
        return "<invalid>"
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    years = days // 365
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{whole % 60}s" if whole % 60 else "")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return f"{years}y" + (f"{days % 365}d" if days % 365 else "")
    return f"{years}y"


def since(text: str | None, at: datetime | None = None) -> str:
    """How long ago a time of an object is."""
    return human_duration(age_s(text, at or now())) if text else UNKNOWN


# ---- cells ----------------------------------------------------------------------------------


def _at(path: str, absent: Cell = NONE) -> Callable[[Content], Cell]:
    """A cell that shows one field."""
    parts = path.split(".")

    def cell(content: Content) -> Cell:
        found: Any = content
        for part in parts:
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(absent, str):
            return absent if found in (None, "") else str(found)
        return found if isinstance(found, int) else absent

    return cell


def _age(content: Content) -> str:
    return since(content["metadata"].get("creationTimestamp"))


def _name(content: Content) -> str:
    return str(content["metadata"]["name"])


def _labels_text(labels: Content | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _selector(content: Content) -> str:
    selector = content.get("spec", {}).get("selector")
    if not selector:
        return NONE
    if set(selector) <= {"matchLabels", "matchExpressions"}:
        try:
            return str(compile_selector(convert(LabelSelector, selector)))
        except ConfigError:
            return "<error>"
    return _labels_text(selector)


def _from_template(field: str) -> Callable[[Content], Cell]:
    def cell(content: Content) -> Cell:
        template = content.get("spec", {}).get("template", {})
        containers = template.get("spec", {}).get("containers", ())
        return ",".join(item.get(field, "") for item in containers)

    return cell


_NAME = Column("Name", _name, format="name")
_AGE = Column("Age", _age)
_TEMPLATE = (
    Column("Containers", _from_template("name"), priority=1),
    Column("Images", _from_template("image"), priority=1),
    Column("Selector", _selector, priority=1),
)


def _number(name: str, path: str) -> Column:
    return Column(name, _at(path, 0), "integer")


def _wide(name: str, path: str, absent: str = NONE) -> Column:
    return Column(name, _at(path, absent), priority=1)


# ---- pods and nodes -------------------------------------------------------------------------


def _gates(pod: Content) -> str:
    gates = pod.get("spec", {}).get("readinessGates", ())
    if not gates:
        return NONE
    conditions = pod.get("status", {}).get("conditions", ())
    true = {item.get("type") for item in conditions if item.get("status") == "True"}
    met = sum(gate.get("conditionType") in true for gate in gates)
    return f"{met}/{len(gates)}"


def _node_status(node: Content) -> str:
    conditions = node.get("status", {}).get("conditions", ())
    ready = [item for item in conditions if item.get("type") == "Ready"]
    status = "Unknown"
    if ready:
        status = "Ready" if ready[0].get("status") == "True" else "NotReady"
    return status + (",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else "")


def _node_roles(node: Content) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels", {})
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles - {""})) or NONE


def _node_address(wanted: str) -> Callable[[Content], Cell]:
    def cell(node: Content) -> Cell:
        addresses = node.get("status", {}).get("addresses", ())
        found = [item.get("address", "") for item in addresses if item.get("type") == wanted]
        return found[0] if found else NONE

    return cell


# ---- workloads ------------------------------------------------------------------------------


def _ready_of_wanted(content: Content) -> str:
    ready = content.get("status", {}).get("readyReplicas", 0)
    return f"{ready}/{content.get('spec', {}).get('replicas', 0)}"


def _job_status(job: Content) -> str:
    true = {
        item.get("type")
        for item in job.get("status", {}).get("conditions", ())
        if item.get("status") == "True"
    }
    for name in ("Complete", "Failed"):
        if name in true:
            return name
    if "deletionTimestamp" in job["metadata"]:
        return "Terminating"
    for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if name in true:
            return name
    return "Running"


def _job_completions(job: Content) -> str:
    spec, done = job.get("spec", {}), job.get("status", {}).get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism", 1)
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _job_duration(job: Content) -> str:
    status = job.get("status", {})
    begun = status.get("startTime")
    if not begun:
        return ""
    ended = status.get("completionTime")
    at = now() if ended is None else None
    seconds = age_s(begun, at) if at else age_s(begun, now()) - age_s(ended, now())
    return human_duration(seconds)


# ---- others ---------------------------------------------------------------------------------


def _ports(service: Content) -> str:
    shown = []
    for port in service.get("spec", {}).get("ports", ()):
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def _external(service: Content) -> str:
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    addresses = list(spec.get("externalIPs", ()))
    if spec.get("type") == "LoadBalancer" and not addresses:
        return "<pending>"
    return ",".join(addresses) or NONE


def _data_count(content: Content) -> int:
    return len(content.get("data", {})) + len(content.get("binaryData", {}))


def _event_seen(event: Content) -> str:
    series = event.get("series", {}).get("lastObservedTime")
    return since(series or event.get("lastTimestamp") or event.get("eventTime"))


def _event_first(event: Content) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"))


def _event_count(event: Content) -> str:
    return str(event.get("series", {}).get("count") or event.get("count") or 1)


def _event_object(event: Content) -> str:
    about = event.get("involvedObject", {})
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(event: Content) -> str:
    source = event.get("source", {})
    name = source.get("component") or event.get("reportingComponent", "")
    return f"{name}, {source['host']}" if source.get("host") else name


def _limit(name: str) -> Callable[[Content], Cell]:
    return _at(f"spec.{name}", "N/A")


def _modes(content: Content) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    modes = content.get("spec", {}).get("accessModes", ())
    return ",".join(short.get(mode, mode) for mode in modes)


def _claim(volume: Content) -> str:
    reference = volume.get("spec", {}).get("claimRef")
    return f"{reference.get('namespace')}/{reference.get('name')}" if reference else ""


def _drivers(csi_node: Content) -> int:
    return len(csi_node.get("spec", {}).get("drivers", ()))


_REPLICATED = (
    _NAME,
    _number("Desired", "spec.replicas"),
    _number("Current", "status.replicas"),
    _number("Ready", "status.readyReplicas"),
    _AGE,
    *_TEMPLATE,
)

_COLUMNS: dict[str, tuple[Column, ...]] = {
    "pods": (
        _NAME,
        Column("Ready", ready_of),
        Column("Status", status_of),
        Column("Restarts", restarts_of),
        _AGE,
        _wide("IP", "status.podIP"),
        _wide("Node", "spec.nodeName"),
        _wide("Nominated Node", "status.nominatedNodeName"),
        Column("Readiness Gates", _gates, priority=1),
    ),
    "nodes": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        _wide("OS-Image", "status.nodeInfo.osImage", UNKNOWN),
        _wide("Kernel-Version", "status.nodeInfo.kernelVersion", UNKNOWN),
        _wide("Container-Runtime", "status.nodeInfo.containerRuntimeVersion", UNKNOWN),
    ),
    "namespaces": (_NAME, Column("Status", _at("status.phase")), _AGE),
    "events": (
        Column("Last Seen", _event_seen),
        Column("Type", _at("type", "")),
        Column("Reason", _at("reason", "")),
        Column("Object", _event_object),
        _wide("Subobject", "involvedObject.fieldPath", ""),
        Column("Source", _event_source, priority=1),
        Column("Message", _at("message", "")),
        Column("First Seen", _event_first, priority=1),
        Column("Count", _event_count, priority=1),
        Column("Name", _name, priority=1, format="name"),
    ),
    "services": (
        _NAME,
        Column("Type", _at("spec.type")),
        Column("Cluster-IP", _at("spec.clusterIP")),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        _AGE,
        Column("Selector", _selector, priority=1),
    ),
    "configmaps": (_NAME, Column("Data", _data_count, "integer"), _AGE),
    "secrets": (
        _NAME,
        Column("Type", _at("type")),
        Column("Data", _data_count, "integer"),
        _AGE,
    ),
    "replicationcontrollers": _REPLICATED,
    "replicasets.apps": _REPLICATED,
    "deployments.apps": (
        _NAME,
        Column("Ready", _ready_of_wanted),
        _number("Up-to-date", "status.updatedReplicas"),
        _number("Available", "status.availableReplicas"),
        _AGE,
        *_TEMPLATE,
    ),
    "statefulsets.apps": (_NAME, Column("Ready", _ready_of_wanted), _AGE, *_TEMPLATE[:2]),
    "daemonsets.apps": (
        _NAME,
        _number("Desired", "status.desiredNumberScheduled"),
        _number("Current", "status.currentNumberScheduled"),
        _number("Ready", "status.numberReady"),
        _number("Up-to-date", "status.updatedNumberScheduled"),
        _number("Available", "status.numberAvailable"),
        _AGE,
        *_TEMPLATE,
    ),
    "jobs.batch": (
        _NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        _AGE,
        *_TEMPLATE,
    ),
    "leases.coordination.k8s.io": (_NAME, Column("Holder", _at("spec.holderIdentity", "")), _AGE),
    "poddisruptionbudgets.policy": (
        _NAME,
        Column("Min Available", _limit("minAvailable")),
        Column("Max Unavailable", _limit("maxUnavailable")),
        _number("Allowed Disruptions", "status.disruptionsAllowed"),
        _AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        _NAME,
        _number("Value", "value"),
        Column("Global-Default", lambda item: bool(item.get("globalDefault")), "boolean"),
        _AGE,
        Column("PreemptionPolicy", _at("preemptionPolicy", "")),
    ),
    "persistentvolumes": (
        _NAME,
        Column("Capacity", _at("spec.capacity.storage", "")),
        Column("Access Modes", _modes),
        Column("Reclaim Policy", _at("spec.persistentVolumeReclaimPolicy", "")),
        Column("Status", _at("status.phase", "")),
        Column("Claim", _claim),
        Column("StorageClass", _at("spec.storageClassName", "")),
        _AGE,
    ),
    "persistentvolumeclaims": (
        _NAME,
        Column("Status", _at("status.phase", "")),
        Column("Volume", _at("spec.volumeName", "")),
        Column("Capacity", _at("status.capacity.storage", "")),
        Column("Access Modes", _modes),
        Column("StorageClass", _at("spec.storageClassName", "")),
        _AGE,
    ),
    "storageclasses.storage.k8s.io": (
        _NAME,
        Column("Provisioner", _at("provisioner")),
        Column("ReclaimPolicy", _at("reclaimPolicy")),
        Column("VolumeBindingMode", _at("volumeBindingMode")),
        _AGE,
    ),
    "csinodes.storage.k8s.io": (_NAME, Column("Drivers", _drivers, "integer"), _AGE),
}
