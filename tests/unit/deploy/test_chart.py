"""The Helm chart: least grants by feature, no privileges, replicas only with a shared store."""

from __future__ import annotations

import pytest

from herz.front.cli.commands import HERZ
from herz.front.cli.declared import Command, loaded
from herz.front.cli.journals import ENVIRONMENT
from herz.front.cli.parsing import parser_of
from tests.support.chart import (
    KEPT,
    NAMESPACE,
    VALUES,
    Content,
    digest,
    granted,
    helm,
    kept,
    objects,
    template,
)

needs_helm = pytest.mark.skipif(helm() is None, reason="there is no helm here")

READ = ("get", "list", "watch")
READS = {
    ("", "nodes namespaces services replicationcontrollers pods"),
    ("", "persistentvolumes persistentvolumeclaims"),
    ("apps", "replicasets statefulsets"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "storageclasses csinodes csidrivers csistoragecapacities volumeattachments"),
    ("scheduling.herz.dev", "slaclasses serviceprofiles nodesignals"),
}
ALWAYS = {
    (verb, group, resource)
    for group, resources in READS
    for resource in resources.split()
    for verb in READ
} | {
    ("create", "", "pods/binding"),
    ("patch", "", "pods/status"),
    ("create", "events.k8s.io", "events"),
    ("patch", "events.k8s.io", "events"),
}
VOLUMES = {("patch", "", "persistentvolumes"), ("patch", "", "persistentvolumeclaims")}
GANGS = {
    (verb, group, "podgroups")
    for verb in READ
    for group in ("scheduling.k8s.io", "scheduling.x-k8s.io")
}
LEASES = {(verb, "coordination.k8s.io", "leases") for verb in ("create", "get", "update")}
DELETE = {("delete", "", "pods")}
EVICT = {("create", "", "pods/eviction")}


@pytest.fixture(params=sorted(VALUES))
def rendered(request: pytest.FixtureRequest) -> dict[str, Content]:
    return objects(kept(request.param))


def test_what_is_kept_was_rendered_from_this_chart() -> None:
    told = (KEPT / "digest.txt").read_text(encoding="utf-8").strip()
    assert told == digest(), "render it anew: HELM=… python -m tests.support.chart"


@needs_helm
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VALUES))
def test_helm_renders_what_is_kept(name: str) -> None:
    done = template(VALUES[name])
    assert done.returncode == 0, done.stderr
    assert done.stdout == kept(name)


@needs_helm
@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"replicas": 2}, "needs a store that replicas share"),
        ({"store": {"kind": "postgresql"}}, "store.postgresql.urlSecret"),
        ({"store": {"kind": "sqlite"}}, "/store/kind"),
        ({"features": {"preemption": "maybe"}}, "/features/preemption"),
        ({"replica": 1}, "replica"),
        ({"scheduler": {"names": []}}, "/scheduler/names"),
    ],
)
def test_helm_refuses(values: Content, why: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert why in done.stderr


def test_grants_are_the_least_of_what_is_on() -> None:
    assert granted(objects(kept("default"))) == ALWAYS | VOLUMES | GANGS | LEASES | DELETE
    assert granted(objects(kept("least"))) == ALWAYS
    assert granted(objects(kept("most"))) == ALWAYS | VOLUMES | GANGS | LEASES | EVICT


def test_no_rule_is_a_wildcard_and_the_lease_is_one(rendered: dict[str, Content]) -> None:
    assert not [grant for grant in granted(rendered) if "*" in grant]
    for one in rendered.values():
        if one["kind"] == "Role":
            named = [rule for rule in one["rules"] if rule["verbs"] != ["create"]]
            assert [rule["resourceNames"] for rule in named] == [["herz"]]
            assert one["metadata"]["namespace"] == NAMESPACE


def test_the_pod_has_no_privileges(rendered: dict[str, Content]) -> None:
    spec = rendered["Deployment/herz"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] != 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in spec["volumes"]}


def test_replicas_share_a_database_whose_url_is_a_secret_and_no_argument() -> None:
    found = objects(kept("replicas"))
    assert not [key for key in found if key.startswith("PersistentVolumeClaim/")]
    spec = found["Deployment/herz"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    (container,) = spec["template"]["spec"]["containers"]
    secret = {"secretKeyRef": {"name": "journal", "key": "url"}}
    assert container["env"] == [{"name": ENVIRONMENT, "valueFrom": secret}]
    assert not [each for each in container["args"] if each.startswith("--journal")]
    assert "--leader-elect" in container["args"]


def test_names_fit_each_other(rendered: dict[str, Content]) -> None:
    spec = rendered["Deployment/herz"]["spec"]
    account = spec["template"]["spec"]["serviceAccountName"]
    for one in rendered.values():
        for subject in one.get("subjects", ()):
            assert (subject["name"], subject["namespace"]) == (account, NAMESPACE)
        if one["kind"].endswith("RoleBinding"):
            assert f"{one['roleRef']['kind']}/{one['roleRef']['name']}" in rendered
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert rendered["Service/herz"]["spec"]["selector"].items() <= labels.items()
    (port,) = rendered["Service/herz"]["spec"]["ports"]
    (container,) = spec["template"]["spec"]["containers"]
    assert port["targetPort"] in [one["name"] for one in container["ports"]]
    arguments = container["args"]
    has_lease = any(one["kind"] == "Role" for one in rendered.values())
    assert ("--leader-elect" in arguments) == has_lease
    assert f"--secure-port={container['ports'][0]['containerPort']}" in arguments


def test_arguments_are_options_of_the_command(rendered: dict[str, Content]) -> None:
    (container,) = rendered["Deployment/herz"]["spec"]["template"]["spec"]["containers"]
    name, *arguments = container["args"]
    command = HERZ.commands[name]
    assert isinstance(command, Command)
    parser = parser_of(loaded(command)[0], name)
    for argument in arguments:
        # It refuses a flag with a value, and an option without one.
        given, unknown = parser.parse_known_args([argument])
        assert not unknown
        assert len(vars(given)) == 1
