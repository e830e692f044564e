"""What a live driver does not do where there are many pods: walk over all of them, or hold them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from herz import app
from herz.model.effects import Effect
from herz.model.events import Event, WorldEvent
from herz.model.objects import Pod
from herz.ports import Deferring, Machine
from herz.world.kube.driver import Driver, Settings
from herz.world.kube.kinds import WATCHED
from herz.world.kube.transport import Reply
from tests.support.fake_api import FakeApi, Feed, Request, meta, reply

KINDS = [one for one in WATCHED if one.plural in ("nodes", "pods")]
ROOM = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}


def listed(*items: Any) -> Reply:
    return reply(200, {"metadata": {"resourceVersion": "1"}, "items": items})


def answer(asked: Request) -> Reply:
    if asked.path == "/api/v1/nodes":
        return listed({"metadata": meta("n"), "status": ROOM})
    if asked.path == "/api/v1/pods":
        spec = {"schedulerName": "herz", "containers": [{"name": "c"}]}
        return listed(*({"metadata": meta(name), "spec": spec} for name in "ab"))
    return reply(201)


def play(
    work: Callable[[Driver, FakeApi], Awaitable[None]],
    machine: Machine,
    first: Callable[[Mapping[str, Pod], int], Sequence[WorldEvent]] = lambda _, __: (),
) -> None:
    async def main() -> None:
        api = FakeApi(answer)
        for _ in KINDS:
            api.feeds.put_nowait(Feed())
        driver = Driver(machine, api, KINDS, Settings({"herz"}), first=first)
        running = asyncio.ensure_future(driver.run())
        async with asyncio.timeout(20):
            await driver.synced.wait()
            await work(driver, api)
            driver.stop()
            await running

    asyncio.run(main())


class Deciding:
    """A machine that can be asked to decide before the disk has answered, as one with a journal."""

    def __init__(self) -> None:
        self._machine = made()
        self.walks = 0

    @property
    def ready(self) -> int:
        return self._machine.ready

    @property
    def held(self) -> Mapping[str, str]:
        self.walks += 1
        return self._machine.held

    def apply(self, event: Event) -> None:
        self._machine.apply(event)

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        return self._machine.step(now_ns, limit)

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], None]:
        return self.step(now_ns, limit), None

    def rest(self) -> None:
        """Nothing is put off."""


def made() -> Machine:
    return app.build_machine(app.load_policy("default"), 1, [])


def test_a_step_does_not_walk_over_all_pods() -> None:
    machine = Deciding()
    assert isinstance(machine, Deferring)

    async def work(driver: Driver, api: FakeApi) -> None:
        before = machine.walks
        await api.until(lambda: sum(one.path.endswith("/binding") for one in api.asked) == 2)
        assert driver.pace.steps
        assert machine.walks == before

    play(work, machine)


def test_the_pods_of_the_first_list_are_not_held_for_as_long_as_the_driver_lives() -> None:
    told: list[Mapping[str, Pod]] = []

    def first(pods: Mapping[str, Pod], now_ns: int) -> tuple[()]:
        del now_ns
        told.append(pods)
        return ()

    async def work(driver: Driver, api: FakeApi) -> None:
        del driver, api
        assert list(told[0]) == ["uid-a", "uid-b"]
        count = sys.getrefcount(told[0])
        assert count == 2, "by this list, and by the call that asks"

    play(work, made(), first)
