"""Defaults: the API server's answers on a small table of our own."""

from __future__ import annotations

from typing import Any

import pytest

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.defaults import apply_defaults, default_pod
from herz.model.objects import Namespace, Node, Pod, PriorityClass, ReplicationController


def _pod(spec: dict[str, Any], **metadata: Any) -> Pod:
    spec = {"containers": [{"name": "c"}], **spec}
    return convert(Pod, {"metadata": {"name": "p", **metadata}, "spec": spec})


def _classes() -> dict[str, PriorityClass]:
    high = {"metadata": {"name": "high"}, "value": 100, "preemptionPolicy": "Never"}
    usual = {"metadata": {"name": "usual"}, "value": 10, "globalDefault": True}
    more = {"metadata": {"name": "more"}, "value": 20, "globalDefault": True}
    found = [convert(PriorityClass, item) for item in (more, high, usual)]
    return {item.metadata.name: item for item in found}


def test_limits_become_requests_rounded_up_to_thousandths() -> None:
    resources = {"limits": {"cpu": "100n", "memory": "1Gi"}, "requests": {"memory": "1"}}
    pod = default_pod(_pod({"containers": [{"name": "c", "resources": resources}]}))
    assert pod.spec.containers[0].resources.requests == {"cpu": "1m", "memory": "1"}


def test_ports_get_a_protocol_and_in_the_hosts_network_a_host_port() -> None:
    containers = [{"name": "c", "ports": [{"containerPort": 80}]}]
    port = default_pod(_pod({"containers": containers})).spec.containers[0].ports[0]
    assert (port.protocol, port.host_port) == ("TCP", 0)
    spec = {"containers": containers, "hostNetwork": True}
    assert default_pod(_pod(spec)).spec.containers[0].ports[0].host_port == 80


def test_plain_fields_get_their_defaults() -> None:
    pod = default_pod(_pod({}))
    spec = pod.spec
    assert (spec.restart_policy, spec.scheduler_name) == ("Always", "default-scheduler")
    assert (pod.metadata.namespace, spec.termination_grace_period_seconds) == ("default", 30)
    assert (spec.priority, spec.preemption_policy) == (0, "PreemptLowerPriority")
    assert spec.tolerations == ()


def test_label_keys_are_merged_where_there_is_a_selector() -> None:
    term = {"topologyKey": "z", "matchLabelKeys": ["a", "b"], "mismatchLabelKeys": ["c"]}
    affinity = {
        "requiredDuringSchedulingIgnoredDuringExecution": [{**term, "labelSelector": {}}, term]
    }
    pod = default_pod(_pod({"affinity": {"podAffinity": affinity}}, labels={"a": "1", "c": "2"}))
    assert pod.spec.affinity is not None
    assert pod.spec.affinity.pod_affinity is not None
    with_selector, without = pod.spec.affinity.pod_affinity.required
    assert with_selector.label_selector is not None
    seen = [
        (item.key, item.operator, item.values)
        for item in with_selector.label_selector.match_expressions
    ]
    assert seen == [("a", "In", ("1",)), ("c", "NotIn", ("2",))]
    assert without.label_selector is None


@pytest.mark.parametrize(
    ("spec", "name", "priority", "policy"),
    [
        ({"priorityClassName": "high"}, "high", 100, "Never"),
        ({}, "usual", 10, "PreemptLowerPriority"),
        (
            {"priorityClassName": "system-node-critical"},
            "system-node-critical",
            2_000_001_000,
            "PreemptLowerPriority",
        ),
    ],
)
def test_priority_comes_from_the_class(
    spec: dict[str, Any], name: str, priority: int, policy: str
) -> None:
    resolved = default_pod(_pod(spec), _classes()).spec
    seen = (resolved.priority_class_name, resolved.priority, resolved.preemption_policy)
    assert seen == (name, priority, policy)


@pytest.mark.parametrize(
    "spec",
    [
        {"priorityClassName": "none"},
        {"priority": 5},
        {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
    ],
)
def test_priority_that_disagrees_with_the_class_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="PriorityClass"):
        default_pod(_pod(spec), _classes())


def test_stored_pod_keeps_its_priority() -> None:
    assert default_pod(_pod({"priority": 5}, uid="u"), _classes()).spec.priority == 5


def test_pod_level_limits_complete_its_requests() -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "250m"}}}
    own = {"limits": {"cpu": "2", "memory": "1Gi"}}
    pod = default_pod(_pod({"containers": [container], "resources": own}))
    assert pod.spec.resources is not None
    assert pod.spec.resources.requests == {"cpu": "250m", "memory": "1Gi"}


def test_other_kinds_get_what_matters() -> None:
    node = apply_defaults(convert(Node, {"status": {"capacity": {"cpu": "2"}}}))
    assert isinstance(node, Node)
    assert node.status.allocatable == {"cpu": "2"}
    assert node.metadata.namespace == ""
    space = apply_defaults(convert(Namespace, {"metadata": {"name": "a"}}))
    assert space.metadata.labels == {"kubernetes.io/metadata.name": "a"}
    template = {"template": {"metadata": {"labels": {"a": "b"}}}}
    controller = apply_defaults(convert(ReplicationController, {"spec": template}))
    assert isinstance(controller, ReplicationController)
    assert controller.spec.selector == {"a": "b"}
    assert controller.metadata.namespace == "default"
