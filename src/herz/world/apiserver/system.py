"""What every cluster has before anybody made anything: namespaces and priority classes."""

from __future__ import annotations

import asyncio
from typing import Any

from herz.model.defaults import SYSTEM_PRIORITIES
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.registry import Registry

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


async def make_system_objects(registry: Registry) -> None:
    """Make what is missing of it.

    Raises:
        RefusedError: 503: the store cannot write.
    """
    for name in NAMESPACES:
        await _ensure(registry, "namespaces", "", {"metadata": {"name": name}})
    for name, value in SYSTEM_PRIORITIES.items():
        content = {
            "metadata": {"name": name},
            "value": value,
            "description": "Used for system critical pods that must not be moved.",
        }
        await _ensure(registry, "priorityclasses.scheduling.k8s.io", "", content)


async def register(registry: Registry, nodes: list[dict[str, Any]]) -> None:
    """Make the nodes, or give those that are there already the status that they report.

    What was done to a node that is there (labels, taints, a cordon) stays.

    Raises:
        RefusedError: 503: the store cannot write.
    """
    kind = kind_of("nodes")
    await asyncio.gather(*(_ensure(registry, "nodes", "", node) for node in nodes))
    for node in nodes:

        def reported(old: dict[str, Any], status: dict[str, Any] = node["status"]) -> Any:
            return {**old, "status": {**old.get("status", {}), **status}}

        await registry.patch(kind, "", node["metadata"]["name"], reported, subresource="status")


async def _ensure(registry: Registry, stored: str, namespace: str, content: dict[str, Any]) -> None:
    try:
        await registry.create(kind_of(stored), namespace, content)
    except RefusedError as error:
        if error.reason != "AlreadyExists":
            raise
