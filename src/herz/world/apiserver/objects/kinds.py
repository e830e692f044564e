"""The kinds that are served: names, scope, subresources. The one list; the rest follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

HERZ_GROUP = "scheduling.herz.dev"
EVENTS_GROUP = "events.k8s.io"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and its resource.

    Args:
        group: empty for the core group.
        resource: the plural in paths.
        schema: its type in the table of fields; empty for kinds without one (our own).
        subresources: `status`, `scale` and those that only pods have.
        storage: the resource under whose name it is stored, where that is another kind's.
        has_generation: whether a change of its spec counts.
        selectable: the fields, beside name and namespace, that field selectors may read.
    """

    group: str
    version: str
    resource: str
    name: str
    schema: str = ""
    is_namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    storage: str = ""
    has_generation: bool = False
    selectable: tuple[str, ...] = field(default=())

    @property
    def api_version(self) -> str:
        """As objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The resource with its group."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def stored(self) -> str:
        """The store's name of the resource."""
        return self.storage or self.qualified

    @property
    def singular(self) -> str:
        """The resource's singular, as people type it."""
        return self.name.lower()

    @property
    def has_status(self) -> bool:
        """Whether the status is a subresource, apart from the rest."""
        return "status" in self.subresources


def _core(resource: str, name: str, **more: object) -> Kind:
    return Kind("", "v1", resource, name, name, **more)  # type: ignore[arg-type]  # see Kind


def _storage(resource: str, name: str, **more: object) -> Kind:
    more = {"is_namespaced": False, **more}
    return Kind("storage.k8s.io", "v1", resource, name, name, **more)  # type: ignore[arg-type]


def _own(resource: str, name: str) -> Kind:
    return Kind(
        HERZ_GROUP,
        "v1alpha1",
        resource,
        name,
        is_namespaced=False,
        subresources=("status",),
        has_generation=True,
    )


_OBJECT = tuple(
    f"involvedObject.{name}"
    for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
)
_EVENT_FIELDS = (*_OBJECT, "reason", "reportingComponent", "source", "type")
_ALL = ("all",)
_SCALED = ("status", "scale")

KINDS: tuple[Kind, ...] = (
    _core("configmaps", "ConfigMap", short_names=("cm",)),
    _core("events", "Event", short_names=("ev",), selectable=_EVENT_FIELDS),
    _core(
        "namespaces",
        "Namespace",
        is_namespaced=False,
        short_names=("ns",),
        subresources=("finalize", "status"),
        selectable=("status.phase",),
    ),
    _core(
        "nodes",
        "Node",
        is_namespaced=False,
        short_names=("no",),
        subresources=("status",),
        selectable=("spec.unschedulable",),
    ),
    _core(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        short_names=("pvc",),
        subresources=("status",),
    ),
    _core(
        "persistentvolumes",
        "PersistentVolume",
        is_namespaced=False,
        short_names=("pv",),
        subresources=("status",),
    ),
    _core(
        "pods",
        "Pod",
        short_names=("po",),
        subresources=("binding", "eviction", "log", "status"),
        categories=_ALL,
        has_generation=True,
        selectable=(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
    ),
    _core(
        "replicationcontrollers",
        "ReplicationController",
        short_names=("rc",),
        subresources=_SCALED,
        categories=_ALL,
        has_generation=True,
        selectable=("status.replicas",),
    ),
    _core("secrets", "Secret", selectable=("type",)),
    _core("serviceaccounts", "ServiceAccount", short_names=("sa",)),
    _core(
        "services",
        "Service",
        short_names=("svc",),
        subresources=("status",),
        categories=_ALL,
        selectable=("spec.clusterIP", "spec.type"),
    ),
    Kind(
        "apps",
        "v1",
        "daemonsets",
        "DaemonSet",
        "DaemonSet",
        short_names=("ds",),
        subresources=("status",),
        categories=_ALL,
        has_generation=True,
    ),
    Kind(
        "apps",
        "v1",
        "deployments",
        "Deployment",
        "Deployment",
        short_names=("deploy",),
        subresources=_SCALED,
        categories=_ALL,
        has_generation=True,
    ),
    Kind(
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        "ReplicaSet",
        short_names=("rs",),
        subresources=_SCALED,
        categories=_ALL,
        has_generation=True,
        selectable=("status.replicas",),
    ),
    Kind(
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        "StatefulSet",
        short_names=("sts",),
        subresources=_SCALED,
        categories=_ALL,
        has_generation=True,
    ),
    Kind(
        "batch",
        "v1",
        "jobs",
        "Job",
        "Job",
        subresources=("status",),
        categories=_ALL,
        has_generation=True,
        selectable=("status.successful",),
    ),
    Kind("coordination.k8s.io", "v1", "leases", "Lease", "Lease"),
    Kind(
        EVENTS_GROUP,
        "v1",
        "events",
        "Event",
        "eventsEvent",
        short_names=("ev",),
        storage="events",
        selectable=(
            *(name.replace("involvedObject", "regarding") for name in _OBJECT),
            "reason",
            "reportingController",
            "type",
        ),
    ),
    Kind(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "PodDisruptionBudget",
        short_names=("pdb",),
        subresources=("status",),
        has_generation=True,
    ),
    Kind(
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        "PriorityClass",
        is_namespaced=False,
        short_names=("pc",),
        has_generation=True,
    ),
    _storage("csidrivers", "CSIDriver"),
    _storage("csinodes", "CSINode"),
    _storage("csistoragecapacities", "CSIStorageCapacity", is_namespaced=True),
    _storage("storageclasses", "StorageClass", short_names=("sc",)),
    _storage("volumeattachments", "VolumeAttachment", subresources=("status",)),
    _own("clustertopologies", "ClusterTopology"),
    _own("consistencypolicies", "ConsistencyPolicy"),
    _own("nodesignals", "NodeSignals"),
    Kind(
        HERZ_GROUP,
        "v1alpha1",
        "serviceprofiles",
        "ServiceProfile",
        # No status of its own: what was learned is applied as one file.
        has_generation=True,
    ),
    _own("slaclasses", "SLAClass"),
    _own("topologypolicies", "TopologyPolicy"),
    _own("weightrules", "WeightRule"),
)

BY_PATH = {(kind.group, kind.version, kind.resource): kind for kind in KINDS}
BY_STORED = {kind.stored: kind for kind in KINDS if not kind.storage}
BY_KIND = {(kind.group, kind.name): kind for kind in KINDS}
VERSIONS = {kind.group: kind.version for kind in KINDS}


def kind_of(stored: str) -> Kind:
    """The kind by its store's name, such as `pods` or `deployments.apps`."""
    return BY_STORED[stored]
