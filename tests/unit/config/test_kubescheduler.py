"""KubeSchedulerConfiguration files: every field, its default, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from herz.config import (
    BYTES_MAX,
    BackoffPolicy,
    ClientConnectionConfiguration,
    KubeSchedulerConfiguration,
    LeaderElection,
    complete_configuration,
    is_configuration,
    parse_configuration,
)
from herz.config.wire import Plugins
from herz.errors import ConfigError
from tests.unit.config.rules import HEAD, KNOWN, read

SECOND = 1_000_000_000


def told(text: str) -> list[str]:
    """The warnings but those about plugins."""
    return [warning for warning in read(text).warnings if ".plugins." not in warning]


# ---- fields -----------------------------------------------------------------------------


def test_an_empty_configuration_has_kube_schedulers_defaults() -> None:
    found = read("")
    assert [profile.scheduler_name for profile in found.profiles] == ["default-scheduler"]
    assert found.profiles[0].policy.name == "default-scheduler"
    assert found.profiles[0].policy.queue.backoff == BackoffPolicy(1, 10)
    seconds = (15 * SECOND, 10 * SECOND, 2 * SECOND)
    place = ("leases", "kube-system", "kube-scheduler")
    assert found.leader_election == LeaderElection(True, *seconds, *place)
    assert found.client == ClientConnectionConfiguration(
        content_type="application/vnd.kubernetes.protobuf", qps=50, burst=100
    )
    complete = found.complete
    assert complete.parallelism == 16
    assert complete.enable_profiling is complete.enable_contention_profiling is True
    assert complete.percentage_of_nodes_to_score == 0
    assert told("") == []
    assert complete_configuration(KubeSchedulerConfiguration(), KNOWN) == found


EVERYTHING = """
parallelism: 4
leaderElection:
  leaderElect: false
  leaseDuration: 1m30s
  renewDeadline: 1m
  retryPeriod: 500ms
  resourceLock: leases
  resourceName: herz
  resourceNamespace: infra
clientConnection:
  kubeconfig: path/to/config
  acceptContentTypes: application/json
  contentType: application/json
  qps: 12.5
  burst: 30
enableProfiling: false
enableContentionProfiling: true
percentageOfNodesToScore: 100
podInitialBackoffSeconds: 3
podMaxBackoffSeconds: 30
delayCacheUntilActive: true
profiles:
- schedulerName: one
  percentageOfNodesToScore: 30
- schedulerName: two
extenders:
- urlPrefix: http://one
  filterVerb: filter
  preemptVerb: preempt
  prioritizeVerb: prioritize
  weight: 3
  bindVerb: bind
  enableHTTPS: true
  tlsConfig: {insecure: true, serverName: a, certFile: b, keyFile: c, caFile: d, certData: ZQ==,
    keyData: Zg==, caData: Zw==}
  httpTimeout: 5s
  nodeCacheCapable: true
  managedResources: [{name: example.com/a, ignoredByScheduler: true}]
  ignorable: true
"""


def test_every_field_of_v1_is_read() -> None:
    found = read(EVERYTHING)
    assert [profile.scheduler_name for profile in found.profiles] == ["one", "two"]
    assert {profile.policy.queue.backoff for profile in found.profiles} == {BackoffPolicy(3, 30)}
    times = (90 * SECOND, 60 * SECOND, SECOND // 2)
    assert found.leader_election == LeaderElection(False, *times, "leases", "infra", "herz")
    json = "application/json"
    assert found.client == ClientConnectionConfiguration(
        kubeconfig="path/to/config",
        accept_content_types=json,
        content_type=json,
        qps=12.5,
        burst=30,
    )
    assert found.complete.leader_election.lease_duration == "1m30s"
    assert found.complete.extenders[0].managed_resources[0].name == "example.com/a"


def test_what_is_taken_and_not_used_is_told_by_field() -> None:
    assert told(EVERYTHING) == [
        "percentageOfNodesToScore: 100 is accepted; Herz looks at all nodes",
        "parallelism: 4 is accepted; Herz decides in one thread",
        "enableProfiling: false is accepted; Herz serves no profiles",
        "enableContentionProfiling: true is accepted; Herz serves no profiles",
        "delayCacheUntilActive: true is accepted; Herz always watches",
        "extenders[0]: http://one is ignorable, and Herz does not ask it",
        "profiles[0].percentageOfNodesToScore: 30 is accepted; Herz looks at all nodes",
    ]


def test_zero_and_empty_mean_the_default_where_they_do_for_kube_scheduler() -> None:
    zero = read(
        "clientConnection: {qps: 0, burst: 0, contentType: ''}\n"
        "leaderElection: {leaseDuration: 0s, renewDeadline: '0', retryPeriod: 0s, "
        "resourceLock: '', resourceName: '', resourceNamespace: ''}\n"
    )
    assert zero.client == read("").client
    assert zero.leader_election == read("").leader_election


def test_null_means_that_a_field_is_absent() -> None:
    assert read("parallelism: null\nprofiles: null\nleaderElection: {leaseDuration: ~}") == read("")


def test_json_is_read_as_well() -> None:
    given = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    data = msgspec.json.encode({**given, "profiles": [{"schedulerName": "a"}]})
    found = parse_configuration(data, KNOWN, source="file.json")
    assert found.profiles == read("profiles: [{schedulerName: a}]").profiles
    with pytest.raises(ConfigError) as caught:
        parse_configuration(msgspec.json.encode({**given, "x": 1}), KNOWN, source="file.json")
    assert caught.value.where == "file.json x"


def test_profiling_of_locks_follows_profiling() -> None:
    assert read("enableProfiling: false").complete.enable_contention_profiling is False


def test_leader_elections_times_do_not_matter_when_it_is_off() -> None:
    off = "leaderElection: {leaderElect: false, leaseDuration: 1s, resourceLock: endpoints}"
    assert not read(off).leader_election.is_on


# ---- bad input --------------------------------------------------------------------------

MANY = str((1 << 31) - 1 + 1)
BAD: list[tuple[str, str, str]] = [
    ("unknown field", "healthzBindAddress: 0.0.0.0:1", "3 healthzBindAddress"),
    ("unknown in a profile", "profiles:\n- schedulerNam: a", "4 profiles[0].schedulerNam"),
    ("unknown in plugins", "profiles:\n- plugins: {filters: {}}", "4 profiles[0].plugins.filters"),
    (
        "unknown in a set",
        "profiles: [{plugins: {filter: {enable: []}}}]",
        "3 profiles[0].plugins.filter.enable",
    ),
    (
        "unknown in a plugin",
        "profiles: [{plugins: {filter: {enabled: [{name: a, wait: 1}]}}}]",
        "3 profiles[0].plugins.filter.enabled[0].wait",
    ),
    (
        "unknown in arguments",
        "profiles: [{pluginConfig: [{nam: a}]}]",
        "3 profiles[0].pluginConfig",
    ),
    ("unknown in election", "leaderElection:\n  leader: true", "4 leaderElection.leader"),
    ("unknown in client", "clientConnection:\n  qs: 1", "4 clientConnection.qs"),
    ("unknown in extender", "extenders: [{urlPrefix: a, filter: b}]", "3 extenders[0].filter"),
    (
        "unknown in tls",
        "extenders: [{urlPrefix: a, tlsConfig: {cert: b}}]",
        "3 extenders[0].tlsConfig.cert",
    ),
    (
        "unknown in a resource",
        "extenders: [{urlPrefix: a, managedResources: [{name: b, c: d}]}]",
        "3 extenders[0].managedResources[0].c",
    ),
    ("parallelism 0", "parallelism: 0", "3 parallelism"),
    ("parallelism too high", f"parallelism: {MANY}", "3 parallelism"),
    ("parallelism as text", "parallelism: '4'", "3 parallelism"),
    ("parallelism as a fraction", "parallelism: 1.5", "3 parallelism"),
    ("percentage", "percentageOfNodesToScore: 101", "3 percentageOfNodesToScore"),
    ("percentage below", "percentageOfNodesToScore: -1", "3 percentageOfNodesToScore"),
    (
        "percentage of a profile",
        "profiles: [{percentageOfNodesToScore: 101}]",
        "3 profiles[0].percentageOfNodesToScore",
    ),
    ("no back-off", "podInitialBackoffSeconds: 0", "3 podInitialBackoffSeconds"),
    ("much back-off", f"podInitialBackoffSeconds: {MANY}", "3 podInitialBackoffSeconds"),
    ("less at most", "podInitialBackoffSeconds: 11", "podMaxBackoffSeconds"),
    ("too much at most", f"podMaxBackoffSeconds: {MANY}", "3 podMaxBackoffSeconds"),
    ("lease", "leaderElection:\n  leaseDuration: 15", "4 leaderElection.leaseDuration"),
    ("lease as text", "leaderElection: {leaseDuration: soon}", "3 leaderElection.leaseDuration"),
    ("lease below", "leaderElection: {leaseDuration: -1s}", "3 leaderElection.leaseDuration"),
    ("short lease", "leaderElection: {leaseDuration: 10s}", "3 leaderElection.leaseDuration"),
    ("deadline", "leaderElection: {renewDeadline: 1 s}", "3 leaderElection.renewDeadline"),
    ("deadline below", "leaderElection: {renewDeadline: -1s}", "3 leaderElection.renewDeadline"),
    ("retry", "leaderElection: {retryPeriod: 2x}", "3 leaderElection.retryPeriod"),
    ("retry below", "leaderElection: {retryPeriod: -2s}", "3 leaderElection.retryPeriod"),
    ("lock", "leaderElection: {resourceLock: endpoints}", "3 leaderElection.resourceLock"),
    ("elect", "leaderElection: {leaderElect: 1}", "3 leaderElection.leaderElect"),
    ("lock's name", "leaderElection: {resourceName: 1}", "3 leaderElection.resourceName"),
    ("lock's space", "leaderElection: {resourceNamespace: []}", "3 leaderElection.resourceNamesp"),
    ("burst", "clientConnection: {burst: -1}", "3 clientConnection.burst"),
    ("much burst", f"clientConnection: {{burst: {MANY}}}", "3 clientConnection.burst"),
    ("qps", "clientConnection: {qps: fast}", "3 clientConnection.qps"),
    ("kubeconfig", "clientConnection: {kubeconfig: 1}", "3 clientConnection.kubeconfig"),
    ("content", "clientConnection: {contentType: 1}", "3 clientConnection.contentType"),
    ("accept", "clientConnection: {acceptContentTypes: 1}", "3 clientConnection.acceptContentT"),
    ("profiling", "enableProfiling: 1", "3 enableProfiling"),
    ("lock profiling", "enableContentionProfiling: a", "3 enableContentionProfiling"),
    ("cache", "delayCacheUntilActive: a", "3 delayCacheUntilActive"),
    ("profiles", "profiles: {}", "3 profiles"),
    ("a profile", "profiles: [a]", "3 profiles[0]"),
    ("no name", "profiles: [{schedulerName: ''}]", "3 profiles[0].schedulerName"),
    ("many", "profiles: [" + "{}," * 101 + "]", "3 profiles"),
    ("names missing", "profiles: [{schedulerName: a}, {}]", "3 profiles[1]"),
    ("one name", "profiles: [{schedulerName: a}, {schedulerName: a}]", "profiles[1].schedulerName"),
    (
        "orders",
        "profiles: [{schedulerName: a}, {schedulerName: b, plugins: {queueSort: "
        "{disabled: [{name: PrioritySort}], enabled: [{name: MySort}]}}}]",
        "3 profiles[1].plugins.queueSort",
    ),
    ("extender", "extenders:\n- urlPrefix: http://one", "4 extenders[0]"),
    (
        "second extender",
        "extenders: [{urlPrefix: a, ignorable: true}, {urlPrefix: b, ignorable: false}]",
        "3 extenders[1]",
    ),
    ("extender without address", "extenders: [{ignorable: true}]", "3 extenders[0]"),
]


@pytest.mark.parametrize(("text", "place"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_wrong_field_is_refused_by_line_and_path(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert place in caught.value.where
    assert caught.value.where.startswith("file.yaml")
    assert caught.value.what
    assert caught.value.fix


def test_a_value_is_shown_with_its_error() -> None:
    with pytest.raises(ConfigError) as caught:
        read("parallelism: '4'")
    assert caught.value.value == "4"


def test_queue_sorts_arguments_must_agree() -> None:
    sort = "plugins: {queueSort: {disabled: [{name: '*'}], enabled: [{name: MySort}]}}"
    args = "pluginConfig: [{name: MySort, args: {up: %s}}]"
    text = "profiles: [{schedulerName: a, %s, %s}, {schedulerName: b, %s, %s}]"
    assert len(read(text % (sort, args % "true", sort, args % "true")).profiles) == 2
    with pytest.raises(ConfigError, match="another order"):
        read(text % (sort, args % "true", sort, args % "false"))


WHOLE: list[tuple[str, bytes, str]] = [
    ("older", HEAD.replace("/v1", "/v1beta3").encode(), "v1beta3 has the same fields"),
    ("much older", HEAD.replace("/v1", "/v1beta1").encode(), "apiVersion: kubescheduler"),
    ("another group", HEAD.replace("kubescheduler", "kubelet").encode(), "apiVersion"),
    ("no version", b"kind: KubeSchedulerConfiguration", "apiVersion"),
    ("no kind", b"apiVersion: kubescheduler.config.k8s.io/v1", "kind"),
    ("a list", b"[]", "give a KubeSchedulerConfiguration"),
    ("two", f"{HEAD}---\n{HEAD}".encode(), "one document"),
    ("none", b"# nothing", "one document"),
    ("a key twice", f"{HEAD}parallelism: 1\nparallelism: 2".encode(), ""),
    ("too large", HEAD.encode() + b"#" * BYTES_MAX, "1 MiB"),
    ("no text", b"\xff\xfe", ""),
]


@pytest.mark.parametrize(("data", "fix"), [c[1:] for c in WHOLE], ids=[c[0] for c in WHOLE])
def test_a_file_that_is_none_is_refused(data: bytes, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_configuration(data, KNOWN, source="file.yaml")
    assert caught.value.where.startswith("file.yaml")
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (HEAD, True),
        ('{"kind": "KubeSchedulerConfiguration"}', True),
        ('{"apiVersion": "a",\n "kind":"KubeSchedulerConfiguration"}', True),
        ("apiVersion: kubescheduler.config.k8s.io/v1beta2", True),
        ("kind: KubeSchedulerConfiguration\n\t: broken", True),
        ("# kind: KubeSchedulerConfiguration", False),
        ("args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: NodeAffinityArgs}", False),
        ("kind: KubeSchedulerConfigurations", False),
        ("name: KubeSchedulerConfiguration", False),
        ("", False),
    ],
)
def test_a_configuration_is_told_from_a_policy(data: str, is_one: bool) -> None:
    assert is_configuration(data.encode()) is is_one


@pytest.mark.parametrize("name", [field.encode_name for field in msgspec.structs.fields(Plugins)])
def test_every_extension_point_takes_lists(name: str) -> None:
    text = f"profiles: [{{plugins: {{{name}: {{enabled: [], disabled: [{{name: NodeName}}]}}}}}}]"
    plugins: Any = read(text).complete.profiles[0].plugins
    assert plugins.at(name).disabled[0].name == "NodeName"
