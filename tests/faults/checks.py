"""What must hold after a round, each as a list of what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from herz.model.quantity import quantity_milli
from tests.support.chart import granted, kept, objects
from tests.support.proxy import Seen

Content = dict[str, Any]


def bound_twice(seen: Sequence[Seen]) -> list[str]:
    """Pods whose binding the server took more than once."""
    taken = Counter(one.uid for one in seen if one.uid and one.status == 201)
    return [f"pod {uid} was bound {count} times" for uid, count in taken.items() if count > 1]


def unbound(pods: Sequence[Content]) -> list[str]:
    """Pods without a node."""
    return [f"{name(pod)} has no node" for pod in pods if not pod["spec"].get("nodeName")]


def overfull(nodes: Sequence[Content], pods: Sequence[Content]) -> list[str]:
    """Nodes that hold more than they may, and pods that their kubelets refused for that."""
    used: Counter[str] = Counter()
    problems = []
    for pod in pods:
        status = pod.get("status", {})
        if str(status.get("reason", "")).startswith("OutOf"):
            problems.append(f"{name(pod)} was refused by {pod['spec']['nodeName']}")
        if status.get("phase") not in ("Succeeded", "Failed"):
            used[pod["spec"].get("nodeName", "")] += cpu(pod)
    for node in nodes:
        there, most = used[node["metadata"]["name"]], node["status"]["allocatable"]["cpu"]
        if there > quantity_milli(most):
            problems.append(f"{name(node)} holds {there}m of {most}")
    return problems


def free(node: Content, pods: Sequence[Content]) -> int:
    """The thousandths of a CPU that are left on the node."""
    there = sum(
        cpu(pod)
        for pod in pods
        if pod["spec"].get("nodeName") == node["metadata"]["name"]
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    )
    return quantity_milli(node["status"]["allocatable"]["cpu"]) - there


def cpu(pod: Content) -> int:
    """Thousandths of a CPU that the pod asks for."""
    return sum(
        quantity_milli(one.get("resources", {}).get("requests", {}).get("cpu", "0"))
        for one in pod["spec"]["containers"]
    )


def name(thing: Content) -> str:
    """For messages."""
    return str(thing["metadata"]["name"])


DISCOVERY = ("/version", "/api", "/apis")
"""Paths that every client may read (system:discovery)."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def asked(one: Seen) -> tuple[str, str, str] | None:
    """Verb, group and resource of a request, as RBAC sees it; None for discovery."""
    parts = one.path.strip("/").split("/")
    if parts[0] == "version" or len(parts) <= (2 if parts[0] == "api" else 3):
        return None
    group = "" if parts[0] == "api" else parts[1]
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    resource = rest[0] + (f"/{rest[2]}" if len(rest) > 2 else "")
    verb = _VERBS.get(one.method, "get" if len(rest) > 1 else "list")
    if verb == "list" and one.query.get("watch", ["0"])[0] in ("1", "true"):
        verb = "watch"
    return verb, group, resource


def beyond_grants(seen: Sequence[Seen], values: str = "default") -> list[str]:
    """Requests that the chart's roles do not allow."""
    allowed = granted(objects(kept(values)))
    wanted = {found for one in seen if (found := asked(one)) is not None}
    return [f"{' '.join(one)} is not granted" for one in sorted(wanted - allowed)]


def told_secrets(logs: Mapping[str, str], secrets: Sequence[str]) -> list[str]:
    """Logs that hold a credential."""
    return [
        f"the log of {who} holds a credential"
        for who, text in logs.items()
        if any(secret in text for secret in secrets)
    ]
