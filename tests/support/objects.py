"""Nodes and pods for tests, with as little said as the test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from herz.model.decode import convert
from herz.model.objects import Node, Pod

MEBIBYTE = 1024 * 1024


def make_node(
    name: str,
    *,
    cpu: str = "4",
    memory: str = "8Gi",
    pods: str = "110",
    more: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    taints: Sequence[tuple[str, str, str]] = (),
    unschedulable: bool = False,
    images: Mapping[str, int] | None = None,
    features: Sequence[str] = (),
    status: Mapping[str, Any] | None = None,
) -> Node:
    """A node; `taints` are (key, value, effect), `images` name to bytes, `more` resources."""
    content = {
        "metadata": {
            "name": name,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "unschedulable": unschedulable,
            "taints": [{"key": k, "value": v, "effect": e} for k, v, e in taints],
        },
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **(more or {})},
            "images": [{"names": [n], "sizeBytes": size} for n, size in (images or {}).items()],
            "declaredFeatures": list(features),
            **(status or {}),
        },
    }
    return convert(Node, content)


def make_pod(
    name: str,
    requests: Mapping[str, str] | None = None,
    *,
    uid: str = "",
    node: str = "",
    phase: str = "",
    ports: Sequence[tuple[int, str, str]] = (),
    image: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    gates: Sequence[str] = (),
    priority: int | None = None,
    scheduler: str = "",
    is_terminating: bool = False,
    spec: Mapping[str, Any] | None = None,
) -> Pod:
    """A pod of one container; `ports` are (host port, protocol, host address)."""
    container = {
        "name": "main",
        "image": image,
        "resources": {"requests": dict(requests or {})},
        "ports": [{"hostPort": port, "protocol": p, "hostIP": ip} for port, p, ip in ports],
    }
    content = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid or f"uid-{name}",
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "deletionTimestamp": "2026-01-01T00:00:00Z" if is_terminating else None,
        },
        "spec": {
            "nodeName": node,
            "containers": [container],
            "schedulingGates": [{"name": gate} for gate in gates],
            "priority": priority,
            "schedulerName": scheduler,
            **(spec or {}),
        },
        "status": {"phase": phase},
    }
    return convert(Pod, content)
