"""Requests, ports and features of pods on small cases whose answer can be done by hand."""

from __future__ import annotations

from typing import Any

import pytest

from herz.errors import ConfigError
from herz.model.decode import convert
from herz.model.features import needed_features
from herz.model.objects import Node, Pod
from herz.model.quantity import INT64_MAX
from herz.model.resources import (
    HostPort,
    host_ports,
    is_counted,
    node_allocatable,
    pod_requests,
    pod_requests_nonzero,
    pod_scoring_requests,
)
from herz.model.validate_pod import validate_pod

_MIB = 1024 * 1024


def _container(name: str = "c", **requests: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": requests}}


def _pod(spec: dict[str, Any], status: dict[str, Any] | None = None) -> Pod:
    return convert(Pod, {"metadata": {"name": "p"}, "spec": spec, "status": status or {}})


def test_sums_are_rounded_once() -> None:
    pod = _pod({"containers": [_container(cpu="100n", memory="1"), _container(cpu="100n")]})
    assert pod_requests(pod) == {"cpu": 1, "memory": 1}


def test_init_containers_count_at_their_peak_with_the_sidecars_before_them() -> None:
    sidecar = {**_container("s", cpu="1"), "restartPolicy": "Always"}
    late = {**_container("t", cpu="2"), "restartPolicy": "Always"}
    init = [_container("a", cpu="3"), sidecar, _container("b", cpu="5"), late]
    # Peak while starting: 5 with the first sidecar; in the end: 1 + 1 + 2.
    assert pod_requests(_pod({"containers": [_container(cpu="1")], "initContainers": init})) == {
        "cpu": 6000
    }


def test_pod_level_requests_override_and_overhead_is_added() -> None:
    spec = {
        "containers": [_container(cpu="1", memory="1Mi", **{"example.com/gpu": "2"})],
        "resources": {"requests": {"cpu": "3"}},
        "overhead": {"cpu": "250m"},
    }
    assert pod_requests(_pod(spec)) == {"cpu": 3250, "memory": _MIB, "example.com/gpu": 2}


@pytest.mark.parametrize(("reason", "cpu"), [("Deferred", 4000), ("Infeasible", 3000)])
def test_resize_counts_the_largest_but_not_an_infeasible_wish(reason: str, cpu: int) -> None:
    held = {"name": "c", "resources": {"requests": {"cpu": "2"}}, "allocatedResources": {"cpu": 3}}
    status = {
        "containerStatuses": [held],
        "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
    }
    assert pod_requests(_pod({"containers": [_container(cpu="4")]}, status)) == {"cpu": cpu}


def _claimed(**resources: Any) -> dict[str, Any]:
    """A claim, as kube-scheduler tells of it in the status of a pod that it binds."""
    return {"resourceClaimName": "c", "containers": ["c"], "resources": resources}


def test_what_claims_hold_of_a_node_is_added_where_the_pod_does_not_say_it_for_all() -> None:
    claims = [_claimed(cpu="2", **{"hugepages-2Mi": "4Mi"}), _claimed(cpu="500m", memory="1Mi")]
    status = {"nodeAllocatableResourceClaimStatuses": claims}
    spec = {"containers": [_container(cpu="1"), _container("d")], "overhead": {"cpu": "250m"}}
    held = {"hugepages-2Mi": 4 * _MIB, "memory": _MIB}
    assert pod_requests(_pod(spec, status)) == {"cpu": 3750, **held}
    assert pod_requests(_pod(spec)) == {"cpu": 1250}
    assert pod_requests_nonzero(_pod(spec, status)) == (3850, 401 * _MIB)
    own = {**spec, "resources": {"requests": {"cpu": "4"}}}
    assert pod_requests(_pod(own, status)) == {"cpu": 4250, **held}
    resized = {"name": "c", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {}}
    assert pod_requests(_pod(spec, {**status, "containerStatuses": [resized]}))["cpu"] == 5750


def test_what_a_claim_holds_is_an_error_where_it_cannot_be_read() -> None:
    status = {"nodeAllocatableResourceClaimStatuses": [_claimed(cpu="two")]}
    pod = _pod({"containers": [_container(cpu="1")]}, status)
    with pytest.raises(ConfigError, match="cpu"):
        pod_requests(pod)
    where = r"status\.nodeAllocatableResourceClaimStatuses\[0\]\.resources"
    with pytest.raises(ConfigError, match=where):
        validate_pod(pod)


def test_scoring_counts_something_for_every_silent_container() -> None:
    pod = _pod({"containers": [_container(cpu="0"), _container("d")]})
    assert pod_requests_nonzero(pod) == (100, 400 * _MIB)
    assert pod_requests(pod) == {"cpu": 0}


def test_pod_level_requests_differ_for_incoming_and_placed_pods_when_scored() -> None:
    spec = {
        "containers": [_container(cpu="1"), _container("d")],
        "resources": {"requests": {"memory": "1Mi"}},
    }
    pod = _pod(spec)
    assert pod_requests_nonzero(pod) == (1000, _MIB)
    assert pod_scoring_requests(pod) == {"cpu": 1100, "memory": 400 * _MIB}


def test_unreadable_request_is_an_error_never_zero() -> None:
    with pytest.raises(ConfigError, match="memory"):
        pod_requests(_pod({"containers": [_container(memory="1GB")]}))


def test_absurd_request_fits_nowhere() -> None:
    pod = _pod({"containers": [_container(cpu="9223372036854775807"), _container(cpu="9E")]})
    assert pod_requests(pod) == {"cpu": INT64_MAX}


def test_allocatable_is_read_and_capacity_only_where_there_is_none() -> None:
    status = {"capacity": {"cpu": "4"}, "allocatable": {"cpu": "3500m", "pods": 110, "foo": 1}}
    assert node_allocatable(convert(Node, {"status": status})) == {"cpu": 3500, "pods": 110}
    assert node_allocatable(convert(Node, {"status": {"capacity": {"cpu": 4}}})) == {"cpu": 4000}


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("cpu", True),
        ("hugepages-2Mi", True),
        ("example.com/gpu", True),
        ("kubernetes.io/thing", True),
        ("attachable-volumes-csi", True),
        ("foo", False),
        ("requests.example.com/gpu", False),
        ("example.com/-", False),
    ],
)
def test_only_some_names_are_resources_of_placement(name: str, counted: bool) -> None:
    assert is_counted(name) is counted


def test_host_ports_are_those_of_sidecars_and_containers() -> None:
    port = {"containerPort": 1, "hostPort": 53, "protocol": "UDP", "hostIP": "10.0.0.1"}
    ended = {"name": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}
    sidecar = {"name": "s", "ports": [port], "restartPolicy": "Always"}
    main = {"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 2, "hostPort": 2}]}
    pod = _pod({"containers": [main], "initContainers": [ended, sidecar]})
    assert host_ports(pod) == (HostPort("10.0.0.1", "UDP", 53), HostPort("0.0.0.0", "TCP", 2))


def test_features_are_inferred_from_the_spec() -> None:
    rule = {"action": "RestartAllContainers"}
    init = [{"name": "i", "restartPolicyRules": [rule]}]
    assert needed_features(_pod({})) == ()
    assert needed_features(_pod({"hostNetwork": True})) == ()
    spec = {"initContainers": init, "hostNetwork": True, "hostUsers": False}
    assert needed_features(_pod(spec)) == (
        "RestartAllContainersOnContainerExits",
        "UserNamespacesHostNetworkSupport",
    )
