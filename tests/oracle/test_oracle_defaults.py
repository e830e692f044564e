"""A pod as submitted becomes the pod as stored; what it asks for decides as Kubernetes decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from herz.model.decode import convert
from herz.model.defaults import default_pod
from herz.model.objects import Node, Pod
from herz.model.quantity import parse_quantity
from herz.model.resources import HostPort, host_ports, node_allocatable, pod_requests
from tests.oracle.oracle import Case, cases

_FAMILIES = (
    "resources",
    "taints",
    "nodeaffinity",
    "spread",
    "podaffinity",
    "ports_images",
    "mixed",
    "preemption",
    "volumes",
)
_RESOURCE_MAPS = frozenset(("requests", "limits", "overhead"))
# What the recorder dropped from the stored pod, or took over from elsewhere (its README says so).
_NOT_RECORDED = ("restartPolicy", "schedulerName", "terminationGracePeriodSeconds", "priority",
                 "preemptionPolicy", "priorityClassName")  # fmt: skip


def _comparable(content: Any, key: str = "") -> Any:
    """Plain values with quantities as numbers, so that spellings don't matter."""
    if isinstance(content, dict):
        if key in _RESOURCE_MAPS:
            return {name: parse_quantity(raw).nano for name, raw in content.items()}
        return {name: _comparable(item, name) for name, item in content.items()}
    if isinstance(content, list | tuple):
        return [_comparable(item) for item in content]
    return content


def _stored(pod: Pod) -> Any:
    content = _comparable(msgspec.to_builtins(pod))
    content.pop("status", None)
    for name in _NOT_RECORDED:
        content["spec"].pop(name, None)
    return content


@pytest.mark.parametrize("family", _FAMILIES)
def test_submitted_pod_becomes_the_stored_pod(family: str) -> None:
    for case in cases(family):
        stored = convert(Pod, case["pod"])
        if "pod_submitted" in case:
            submitted = convert(Pod, case["pod_submitted"])
            assert _stored(default_pod(submitted)) == _stored(stored), case["id"]
            assert pod_requests(default_pod(submitted)) == pod_requests(stored), case["id"]
            assert host_ports(default_pod(submitted)) == host_ports(stored), case["id"]


def _shortages(case: Case, node: Node, incoming: dict[str, int]) -> set[str]:
    """NodeResourcesFit's reasons, from requests and allocatable alone."""
    held: dict[str, int] = {}
    count = 0
    for item in case["pods"]:
        if item["spec"].get("nodeName") == node.name:
            count += 1
            for name, amount in pod_requests(convert(Pod, item)).items():
                held[name] = held.get(name, 0) + amount
    room = node_allocatable(node)
    short = {
        f"Insufficient {name}"
        for name, amount in incoming.items()
        if amount > 0 and amount > room.get(name, 0) - held.get(name, 0)
    }
    return short | ({"Too many pods"} if count + 1 > room.get("pods", 0) else set())


def test_requests_decide_fit_as_kubernetes_does() -> None:
    checked = 0
    for case in cases("resources"):
        if "config" in case or case["prefilter"]:
            continue
        incoming = pod_requests(convert(Pod, case["pod"]))
        for content in case["nodes"]:
            node = convert(Node, content)
            verdict = case["filter"].get(node.name, {})
            reasons = set(verdict.get("reasons", ()))
            assert verdict.get("plugin", "NodeResourcesFit") == "NodeResourcesFit", case["id"]
            assert _shortages(case, node, incoming) == reasons, (case["id"], node.name)
            checked += 1
    assert checked > 0


def test_host_ports_decide_conflicts_as_kubernetes_does() -> None:
    checked = 0
    for case in cases("ports_images"):
        if case["prefilter"]:
            continue
        wanted = host_ports(convert(Pod, case["pod"]))
        for content in case["nodes"]:
            name = content["metadata"]["name"]
            used = [
                port
                for item in case["pods"]
                if item["spec"].get("nodeName") == name
                for port in host_ports(convert(Pod, item))
            ]
            clashes = any(_conflict(mine, theirs) for mine in wanted for theirs in used)
            seen = case["filter"].get(name, {}).get("plugin") == "NodePorts"
            assert clashes is seen, (case["id"], name)
            checked += 1
    assert checked > 0


def _conflict(mine: HostPort, theirs: HostPort) -> bool:
    if (mine.protocol, mine.port) != (theirs.protocol, theirs.port):
        return False
    return mine.ip == theirs.ip or "0.0.0.0" in (mine.ip, theirs.ip)
