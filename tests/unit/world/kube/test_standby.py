"""A standby keeps what a new leader need not read anew, and hands it over without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from herz import app
from herz.cycle import Cycle
from herz.model.objects import KubernetesObject, Service
from herz.ports import Machine
from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.kubelets import Shape
from herz.world.kube import discovery
from herz.world.kube.driver import Driver
from herz.world.kube.driver import Settings as DriverSettings
from herz.world.kube.informer import TURN
from herz.world.kube.kinds import WATCHED
from herz.world.kube.kubeconfig import Access
from herz.world.kube.standby import Standby
from tests.support.cluster import Client, running
from tests.support.fake_api import FakeApi, Feed, Request, meta, reply
from tests.support.live import PODS, node_of, pod, until
from tests.support.recording import Recording

SERVICES = tuple(one for one in WATCHED if one.plural == "services")
Content = dict[str, Any]


class Leader:
    """Takes over; remembers what it was told, with the version."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.changes = 0

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        assert unlisted == ()
        self.told.append(f"{thing.metadata.name} {thing.metadata.resource_version}")

    def deleted(self, thing: KubernetesObject) -> None:
        self.told.append(f"{thing.metadata.name} gone")

    def freshness_changed(self) -> None:
        self.changes += 1


def service(name: str, version: str = "1") -> Content:
    return {"metadata": meta(name, version=version)}


def test_what_changes_while_it_is_handed_over_is_told_once_and_last() -> None:
    names = [f"s{number}" for number in range(16 * TURN)]

    def answer(asked: Request) -> Any:
        listed = [service(name) for name in names]
        return reply(200, {"metadata": {"resourceVersion": "1"}, "items": listed})

    async def main() -> None:
        api, feed, leader = FakeApi(answer), Feed(), Leader()
        api.feeds.put_nowait(feed)
        async with Standby(api, SERVICES).running() as (kept,):
            while not kept.informer.is_fresh:
                await asyncio.sleep(0)
            taking = asyncio.ensure_future(kept.informer.hand_over(leader))
            while not leader.told:
                await asyncio.sleep(0)
            assert len(leader.told) == TURN, "others have a turn"
            feed.give("MODIFIED", service(names[-1], "2"))
            feed.give("DELETED", service(names[-2], "2"))
            feed.give("MODIFIED", service(names[0], "2"))
            # The watch is one that the standby has opened: nothing is asked again.
            while f"{names[0]} 2" not in leader.told:
                await asyncio.sleep(0)
            await taking
            assert len(api.of("GET")) == 1
        first, *others, gone, changed = names
        told = [f"{first} 1", *(f"{name} 1" for name in others), f"{changed} 2", f"{gone} gone"]
        assert sorted(leader.told) == sorted([*told, f"{first} 2"])
        assert leader.changes == 1
        assert kept.running.cancelled()

    asyncio.run(asyncio.wait_for(main(), 20))


@asynccontextmanager
async def driven(driver: Driver) -> AsyncIterator[None]:
    """The driver, while this lasts."""
    task = asyncio.ensure_future(driver.run())
    try:
        yield
        driver.stop()
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def with_transport(
    folder: Path, work: Callable[[Recording, Client, Machine], Awaitable[None]]
) -> None:
    """Over an embedded cluster of three nodes, of which one service takes pods."""

    async def main(kubeconfig: Path) -> None:
        transport = Recording(Access(kubeconfig))
        machine = app.build_machine(app.load_policies("default"), 0, [])
        try:
            await work(transport, Client(kubeconfig), machine)
        finally:
            await transport.closed()

    with running(Settings(folder / "cluster", nodes=Shape(3, cpu="8"))) as cluster:
        asyncio.run(asyncio.wait_for(main(cluster.kubeconfig), 60))


def test_a_new_leader_lists_pods_and_nodes_and_nothing_else(tmp_path: Path) -> None:
    async def work(transport: Recording, api: Client, machine: Machine) -> None:
        kinds, _ = await discovery.served(transport, WATCHED)
        ports = {"ports": [{"port": 80}], "selector": {"app": "web"}}
        body = {"metadata": {"name": "web"}, "spec": ports}
        made = await asyncio.to_thread(api.post, "/api/v1/namespaces/default/services", body)
        assert made.code == 201
        async with Standby(transport, kinds).running() as kept:
            while not all(one.informer.is_fresh for one in kept):
                await asyncio.sleep(0)
            await asyncio.to_thread(api.post, PODS, pod("p"))
            asked = len(transport.asked)
            driver = Driver(machine, transport, kinds, DriverSettings({"herz"}), kept=kept)
            async with driven(driver):
                await driver.synced.wait()
                reads = [target for verb, target in transport.asked[asked:] if verb == "GET"]
                lists = [target.partition("?")[0] for target in reads if "watch=" not in target]
                assert sorted(lists) == ["/api/v1/nodes", "/api/v1/pods"]
                assert isinstance(machine, Cycle)
                assert "web" in [one.metadata.name for one in machine._cluster.catalog.all(Service)]
                # The other watches go on: what comes now is told by those of the standby.
                await asyncio.to_thread(until, api, lambda found: bool(node_of(found["p"])))

    with_transport(tmp_path, work)
