"""The fields of a KubeSchedulerConfiguration v1, under Kubernetes' names.

Source: Kubernetes 1.36 k8s.io/kube-scheduler/config/v1/types.go and
k8s.io/component-base/config/v1alpha1/types.go (facts).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

API_GROUP: Final = "kubescheduler.config.k8s.io"
API_VERSION: Final = f"{API_GROUP}/v1"
KIND: Final = "KubeSchedulerConfiguration"

KUBERNETES_POINTS: Final = (
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
    "placementGenerate",
    "placementScore",
)
"""Kubernetes' extension points, in the order of a pod's way through them."""


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The base: an unknown field is refused."""


class Plugin(Wire, frozen=True):
    """A plugin, and the weight of its points."""

    name: str
    weight: int | None = None


class PluginSet(Wire, frozen=True):
    """What is enabled and disabled at one extension point."""

    enabled: tuple[Plugin, ...] = ()
    disabled: tuple[Plugin, ...] = ()


class Plugins(Wire, frozen=True):
    """The plugins by extension point; `multiPoint` is every point that a plugin extends."""

    multi_point: PluginSet = PluginSet()
    pre_enqueue: PluginSet = PluginSet()
    queue_sort: PluginSet = PluginSet()
    pre_filter: PluginSet = PluginSet()
    filter: PluginSet = PluginSet()
    post_filter: PluginSet = PluginSet()
    pre_score: PluginSet = PluginSet()
    score: PluginSet = PluginSet()
    reserve: PluginSet = PluginSet()
    permit: PluginSet = PluginSet()
    pre_bind: PluginSet = PluginSet()
    bind: PluginSet = PluginSet()
    post_bind: PluginSet = PluginSet()
    placement_generate: PluginSet = PluginSet()
    placement_score: PluginSet = PluginSet()

    def at(self, point: str) -> PluginSet:
        """The set at an extension point, or at `multiPoint`."""
        found = getattr(self, _ATTRIBUTES[point])
        assert isinstance(found, PluginSet)
        return found


_ATTRIBUTES: Final = {field.encode_name: field.name for field in msgspec.structs.fields(Plugins)}


class PluginConfig(Wire, frozen=True):
    """The arguments of one plugin."""

    name: str
    args: dict[str, Any] = {}


class KubeSchedulerProfile(Wire, frozen=True):
    """A named set of plugins: pods choose one by `spec.schedulerName`."""

    scheduler_name: str | None = None
    percentage_of_nodes_to_score: int | None = None
    plugins: Plugins = Plugins()
    plugin_config: tuple[PluginConfig, ...] = ()


class LeaderElectionConfiguration(Wire, frozen=True):
    """How replicas agree on who schedules; durations are Go's."""

    leader_elect: bool = True
    lease_duration: str = "15s"
    renew_deadline: str = "10s"
    retry_period: str = "2s"
    resource_lock: str = "leases"
    resource_name: str = "kube-scheduler"
    resource_namespace: str = "kube-system"


class ClientConnectionConfiguration(Wire, frozen=True):
    """How the API server is reached."""

    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = "application/vnd.kubernetes.protobuf"
    qps: float = 50
    burst: int = 100


class ExtenderManagedResource(Wire, frozen=True):
    """A resource that an extender manages."""

    name: str
    ignored_by_scheduler: bool = False


class ExtenderTLSConfig(Wire, frozen=True):
    """How an extender is reached by TLS."""

    insecure: bool = False
    server_name: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    cert_data: str = ""
    key_data: str = ""
    ca_data: str = ""


class Extender(Wire, frozen=True):
    """A process that kube-scheduler asks over HTTP; Herz asks none."""

    url_prefix: str
    filter_verb: str = ""
    preempt_verb: str = ""
    prioritize_verb: str = ""
    weight: int = 0
    bind_verb: str = ""
    enable_https: bool = msgspec.field(default=False, name="enableHTTPS")
    tls_config: ExtenderTLSConfig | None = None
    http_timeout: str = "0s"
    node_cache_capable: bool = False
    managed_resources: tuple[ExtenderManagedResource, ...] = ()
    ignorable: bool = False


class KubeSchedulerConfiguration(Wire, frozen=True):
    """The whole file. Fields that are None were not given, and are told apart from defaults."""

    api_version: str = API_VERSION
    kind: str = KIND
    parallelism: int | None = None
    leader_election: LeaderElectionConfiguration = LeaderElectionConfiguration()
    client_connection: ClientConnectionConfiguration = ClientConnectionConfiguration()
    enable_profiling: bool | None = None
    enable_contention_profiling: bool | None = None
    percentage_of_nodes_to_score: int | None = None
    pod_initial_backoff_seconds: int = 1
    pod_max_backoff_seconds: int = 10
    profiles: tuple[KubeSchedulerProfile, ...] = ()
    extenders: tuple[Extender, ...] = ()
    delay_cache_until_active: bool = False
