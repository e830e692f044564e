"""What every cluster has before anybody made anything: namespaces and priority classes."""

from __future__ import annotations

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


async def _ensure(registry: Registry, stored: str, namespace: str, content: dict[str, Any]) -> None:
    try:
        await registry.create(kind_of(stored), namespace, content)
    except RefusedError as error:
        if error.reason != "AlreadyExists":
            raise
