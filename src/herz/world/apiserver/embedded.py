"""The embedded cluster as a whole: store, server, and what lives beside them, started in order."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from herz.errors import ConfigError
from herz.world.apiserver.controllers.budgets import Budgets
from herz.world.apiserver.controllers.collecting import (
    Events,
    GarbageCollector,
    Namespaces,
    PodCollector,
)
from herz.world.apiserver.controllers.deployments import Deployments
from herz.world.apiserver.controllers.jobs import Jobs
from herz.world.apiserver.controllers.loop import Loop
from herz.world.apiserver.controllers.plan import Controller
from herz.world.apiserver.controllers.workloads import ReplicaSets
from herz.world.apiserver.credentials import Credentials, credentials
from herz.world.apiserver.http.server import ApiServer, Limits
from herz.world.apiserver.kubelets import Kubelets, Shape
from herz.world.apiserver.registry import Registry
from herz.world.apiserver.registry.times import now
from herz.world.apiserver.store import Store
from herz.world.apiserver.store.versions import HISTORY_MAX
from herz.world.apiserver.system import make_system_objects, register

DATABASE = "cluster.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the embedded cluster is to be.

    Args:
        folder: where everything that lasts lies; made if it is missing.
        host: the address to listen on.
        port: 0 for a free one.
        is_open: whether the address may be another than this machine's own.
        history_max: changes that a watch can resume from.
        limits: of the server.
        nodes: the simulated nodes; none without.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    is_open: bool = False
    history_max: int = HISTORY_MAX
    limits: Limits = field(default_factory=Limits)
    nodes: Shape | None = None

    def __post_init__(self) -> None:
        if not self.is_open and not _is_loopback(self.host):
            raise ConfigError(
                "the address can be reached from outside",
                where="host",
                value=self.host,
                fix="use 127.0.0.1, or say that it is meant so",
            )


class Embedded:
    """A running cluster; made by `start_embedded`.

    Args:
        settings: how it is.
        registry: its objects.
        server: its face.
        access: its credentials.
        loop: its controllers.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        server: ApiServer,
        access: Credentials,
        loop: Loop,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.access = access
        self._server = server
        self._loop = loop

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and clients."""
        return self.access.kubeconfig

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def stop(self) -> None:
        """End in order: controllers, watches and requests, then the store."""
        await self._loop.stop()
        await self._server.stop()
        await self.registry.store.close()


async def start_embedded(settings: Settings) -> Embedded:
    """Start a cluster from its data folder; a new folder is a new cluster.

    Raises:
        WorldError: the folder, the file or the address cannot be used.
    """
    access = credentials(settings.folder, settings.host)
    store = Store(settings.folder / DATABASE, history_max=settings.history_max)
    try:
        registry = Registry(store)
        await make_system_objects(registry)
        loop = await start_loop(registry, settings.nodes)
        server = ApiServer(
            registry, token=access.token, tls=access.context(), limits=settings.limits
        )
        await server.start(settings.host, settings.port)
    except BaseException:
        await store.close()
        raise
    access.write_kubeconfig(settings.host, server.port)
    return Embedded(settings, registry, server, access, loop)


async def start_loop(registry: Registry, nodes: Shape | None) -> Loop:
    """The controllers, and the kubelets of the nodes if there are any."""
    controllers: list[Controller] = [
        Namespaces(),
        Deployments(),
        ReplicaSets(),
        Jobs(),
        Budgets(),
        PodCollector(),
        GarbageCollector(),
        Events(),
    ]
    if nodes is None:
        loop = Loop(registry, controllers)
        loop.start()
        return loop
    kubelets = Kubelets(nodes)
    await register(registry, kubelets.nodes(now()))
    loop = Loop(registry, [*controllers, kubelets])
    loop.start()
    for key in kubelets.first_keys():
        loop.wake(kubelets, key)
    return loop


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
