"""A cluster without a network, for tests of controllers: a registry, its loop, a plain binder."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from herz.world.apiserver.embedded import start_loop
from herz.world.apiserver.kubelets import Shape
from herz.world.apiserver.objects.kinds import Kind, kind_of
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.registry import Registry
from herz.world.apiserver.registry.subresources import bind
from herz.world.apiserver.store import Key, Store, Version
from herz.world.apiserver.system import make_system_objects

Content = dict[str, Any]

PODS = kind_of("pods")
DEPLOYMENTS = kind_of("deployments.apps")
REPLICA_SETS = kind_of("replicasets.apps")
JOBS = kind_of("jobs.batch")
BUDGETS = kind_of("poddisruptionbudgets.policy")
WAIT_S = 20


class Small:
    """The cluster, with what tests ask of it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store

    async def create(self, kind: Kind, content: Content, namespace: str = "default") -> Content:
        return await self.registry.create(kind, namespace, content)

    async def change(self, kind: Kind, name: str, change: Callable[[Content], None]) -> Content:
        def apply(old: Content) -> Content:
            change(old)
            return old

        return await self.registry.patch(kind, "default", name, apply)

    def items(self, kind: Kind) -> list[Version]:
        return self.store.items(kind.stored, "default" if kind.is_namespaced else "")

    def get(self, kind: Kind, name: str) -> Content | None:
        found = self.store.get(Key(kind.stored, "default" if kind.is_namespaced else "", name))
        return None if found is None else found.content

    def running(self) -> list[str]:
        """The pods that run, and are not about to end."""
        return [
            pod.key.name
            for pod in self.items(PODS)
            if pod.content["status"].get("phase") == "Running"
            and "deletionTimestamp" not in pod.metadata
        ]

    async def until(self, is_so: Callable[[], object]) -> None:
        """Wait for the changes that make it so."""
        feed = self.store.watch("", self.store.revision)
        try:
            async with asyncio.timeout(WAIT_S):
                while not is_so():
                    if await feed.take(WAIT_S) is None:
                        self.store.forget(feed)
                        feed = self.store.watch("", self.store.revision)
        finally:
            self.store.forget(feed)


@asynccontextmanager
async def small_cluster(
    folder: Path, *, nodes: int = 3, binds: bool = True, buffer_max: int = 10_000
) -> AsyncIterator[Small]:
    """The cluster; `binds`: every pod gets the next node, whatever it asks."""
    registry = Registry(Store(folder / "cluster.db", buffer_max=buffer_max))
    await make_system_objects(registry)
    loop = await start_loop(registry, Shape(nodes))
    binder = asyncio.ensure_future(_bind_all(registry, nodes)) if binds else None
    try:
        yield Small(registry)
    finally:
        await loop.stop()
        if binder is not None:
            binder.cancel()
            await asyncio.gather(binder, return_exceptions=True)
        await registry.store.close()


async def _bind_all(registry: Registry, nodes: int) -> None:
    names = itertools.cycle(Shape(nodes).names)
    store = registry.store
    # Bound: the test's life; a feed that was cut off is taken up again from a list.
    while True:
        feed = store.watch("pods", store.revision)
        for pod in store.items("pods"):
            await _bind_one(registry, pod, names)
        while (changes := await feed.take(WAIT_S)) is not None:
            for change in changes:
                await _bind_one(registry, change.version, names)
        store.forget(feed)


async def _bind_one(registry: Registry, pod: Version, names: Iterator[str]) -> None:
    if pod.content["spec"].get("nodeName"):
        return
    binding = {"metadata": {"uid": pod.uid}, "target": {"name": next(names)}}
    try:
        await bind(registry, pod.key.namespace, pod.key.name, binding)
    except RefusedError as error:
        if error.code not in (404, 409):
            raise
