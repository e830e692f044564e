"""The driver with machines that say when they are asked: behaviours 12, 15, 18, 19, 38 and 40."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from herz.commit.audit.unresolved import Unresolved, resolved
from herz.errors import ConfigError, WorldError
from herz.model.effects import Bind, DeletePod, Effect, EmitEvent
from herz.model.events import Event, ObjectApplied
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished, RemovalRefused
from herz.ports import Sync
from herz.world.kube import driver as module
from herz.world.kube import informer as informer_module
from herz.world.kube import staleness
from herz.world.kube.driver import STEP_NS_MAX, Driver, Pace, Settings
from herz.world.kube.kinds import WATCHED, Watched
from herz.world.kube.transport import NoAnswerError, Reply
from tests.support.fake_api import FakeApi, Feed, Request, lost, meta, reply

KINDS = tuple(one for one in WATCHED if one.kind in (Node, Pod))
Content = dict[str, Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "BACKOFF_SECONDS", (0.001, 0.002))
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.004)


class Plain:
    """A machine that binds every pod to one node, and tells of each bind."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.limits: list[int] = []
        self._waiting: list[Pod] = []
        self._effects: list[Effect] = []
        self.fails: Exception | None = None

    def wants(self, effect: Effect) -> None:
        """Have the next step give it."""
        self._effects.append(effect)

    @property
    def ready(self) -> int:
        return len(self._waiting)

    @property
    def held(self) -> Mapping[str, str]:
        return {}

    def apply(self, event: Event) -> None:
        if self.fails is not None:
            raise self.fails
        self.events.append(event)
        if isinstance(event, ObjectApplied) and isinstance(event.object, Pod):
            if not event.object.is_assigned:
                self._waiting.append(event.object)
        elif isinstance(event, BindFinished):
            note = f"{event.uid} {event.outcome}"
            self._effects.append(
                EmitEvent(
                    namespace="default",
                    name="p",
                    uid=event.uid,
                    type="Normal",
                    reason="Scheduled",
                    action="Binding",
                    note=note,
                )
            )

    def step(self, now_ns: int, limit: int) -> list[Effect]:
        self.limits.append(limit)
        for number, pod in enumerate(self._waiting[:limit]):
            meta = pod.metadata
            self._effects.append(
                Bind(
                    namespace=meta.namespace,
                    name=meta.name,
                    uid=meta.uid,
                    node="n",
                    decision=number,
                )
            )
        del self._waiting[:limit]
        effects, self._effects = self._effects, []
        return effects


class Garbage:
    """Notes when collections may run."""

    def __init__(self, machine: Plain) -> None:
        self._machine = machine
        self.moments: list[str] = []

    def begin(self) -> None:
        self.moments.append(f"begin, {len(self._machine.limits)} steps")

    def between(self, *, is_idle: bool = False) -> None:
        self.moments.append("idle" if is_idle else "busy")

    def end(self) -> None:
        self.moments.append("end")


class Scene:
    """A driver, its machine, and a scripted server."""

    def __init__(
        self,
        pods: list[Content],
        kinds: Sequence[Watched] = KINDS,
        machine: Plain | None = None,
    ) -> None:
        self.pods = pods
        self.machine = machine or Plain()
        self.hold: asyncio.Event | None = None
        self.api = FakeApi(self._answer)
        self.left: list[Unresolved] = []
        first = partial(resolved, self.left)
        self.garbage = Garbage(self.machine)
        self.driver = Driver(
            *(self.machine, self.api, kinds, Settings({"herz"})),
            first=first,
            garbage=self.garbage,
        )
        self.feeds: dict[str, Feed] = {}

    def _answer(self, asked: Request) -> Reply | NoAnswerError | None:
        if asked.method == "GET" and asked.path == "/api/v1/nodes":
            return listing([{"metadata": meta("n")}])
        if asked.method == "GET" and asked.path == "/api/v1/pods":
            return listing(self.pods)
        if asked.method == "GET" and "namespaces/" not in asked.path:
            return listing([])
        return reply(201) if asked.method == "POST" else None

    def feed(self) -> Feed:
        """A watch for whoever opens one next."""
        feed = Feed()
        self.api.feeds.put_nowait(feed)
        return feed

    def binds(self) -> list[str]:
        return [one.path.split("/")[-2] for one in self.api.of("POST") if "/binding" in one.path]

    def hold_binds(self) -> asyncio.Event:
        """No bind is answered before the event is set."""
        answered, ask = asyncio.Event(), self.api.request

        async def held(method: str, path: str, **more: Any) -> Reply:
            if path.endswith("/binding"):
                await answered.wait()
            return await ask(method, path, **more)

        self.api.request = held  # type: ignore[method-assign]
        return answered

    def notes(self) -> list[str]:
        return [one.content["note"] for one in self.api.of("POST") if "/events" in one.path]


def listing(items: list[Content]) -> Reply:
    return reply(200, {"metadata": {"resourceVersion": "1"}, "items": items})


def pending(name: str, scheduler: str = "herz") -> Content:
    return {"metadata": meta(name), "spec": {"schedulerName": scheduler}}


def play(
    work: Callable[[Scene], Awaitable[None]],
    *pods: Content,
    kinds: Sequence[Watched] = KINDS,
    machine: Plain | None = None,
) -> None:
    async def main() -> None:
        scene = Scene(list(pods), kinds, machine)
        running = asyncio.ensure_future(scene.driver.run())
        try:
            await asyncio.wait_for(work(scene), 20)
            scene.driver.stop()
            await asyncio.wait_for(running, 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


def test_12_nothing_is_decided_before_every_first_list_was_told() -> None:
    async def work(scene: Scene) -> None:
        scene.feed()
        await scene.driver.synced.wait()
        kinds = [type(one.object).__name__ for one in scene.machine.events]  # type: ignore[union-attr]
        assert kinds == ["Node", "Pod", "Pod"]
        assert scene.machine.limits == []
        scene.feed()
        await scene.api.until(lambda: len(scene.binds()) == 2)

    play(work, pending("a"), pending("b"))


class Resting(Plain):
    """One whose effects leave when a sync has returned; it notes when nobody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0
        self.rests: list[int] = []

    def decide(self, now_ns: int, limit: int) -> tuple[list[Effect], Sync | None]:
        effects = self.step(now_ns, limit)

        def sync() -> None:
            self.syncs += 1

        return effects, sync if effects else None

    def rest(self) -> None:
        self.rests.append(self.syncs)


def test_what_takes_long_is_done_where_nothing_was_decided_for_a_moment() -> None:
    machine = Resting()

    async def work(scene: Scene) -> None:
        answered = scene.hold_binds()
        for _ in range(2):
            scene.feed()
        while not machine.syncs:
            await asyncio.sleep(0)
        end = asyncio.get_running_loop().time() + 20 * module.QUIET_SECONDS
        while asyncio.get_running_loop().time() < end:  # A bind is under way.
            await asyncio.sleep(0)
        assert machine.rests == []
        answered.set()
        while not machine.rests:
            await asyncio.sleep(0)
        # Its event was decided, too, before anybody rested.
        assert (machine.rests[0], scene.driver.writer.pending) == (2, 0)

    play(work, pending("a"), machine=machine)


def test_garbage_is_collected_after_the_first_lists_and_between_steps() -> None:
    scenes: list[Scene] = []

    async def work(scene: Scene) -> None:
        scenes.append(scene)
        answered = scene.hold_binds()
        for _ in range(2):
            scene.feed()
        while "busy" not in scene.garbage.moments:  # Binds are under way.
            await asyncio.sleep(0)
        assert "idle" not in scene.garbage.moments
        answered.set()
        while "idle" not in scene.garbage.moments:
            await asyncio.sleep(0)
        assert len(scene.binds()) == 2

    play(work, pending("a"), pending("b"))
    first, *between, last = scenes[0].garbage.moments
    assert (first, last) == ("begin, 0 steps", "end")
    assert {"busy", "idle"} == set(between)


def test_18_pods_of_others_reach_the_machine_only_once_they_have_a_node() -> None:
    async def work(scene: Scene) -> None:
        for _ in range(2):
            scene.feed()
        await scene.api.until(lambda: scene.binds() == ["a"])
        names = [
            one.object.metadata.name
            for one in scene.machine.events
            if isinstance(one, ObjectApplied)
        ]
        assert names == ["n", "a", "theirs"]

    assigned = pending("theirs", "other")
    assigned["spec"]["nodeName"] = "n"
    play(work, pending("a"), pending("foreign", "other"), assigned)


def test_40_nothing_is_decided_while_a_watch_has_a_gap() -> None:
    async def work(scene: Scene) -> None:
        nodes, pods = scene.feed(), scene.feed()
        await scene.driver.synced.wait()
        await scene.api.until(lambda: len(scene.api.of("WATCH")) == 2)
        # The nodes' watch breaks, and cannot be opened again; meanwhile a pod comes.
        scene.api.feeds.put_nowait(lost(is_sent=False))
        held = asyncio.Event()
        answer = scene.api.script

        def no_lists(asked: Request) -> Reply | NoAnswerError | None:
            if asked.method == "GET":
                held.set()
                return lost()
            return answer(asked)

        scene.api.script = no_lists
        nodes.give("BOOKMARK", {"metadata": {"resourceVersion": "2"}})
        nodes.end(lost())
        await held.wait()
        assert scene.driver.stale == ("nodes",)
        assert scene.driver.waits_for == ["waiting for nodes: lost; its outcome is unknown"]
        pods.give("ADDED", pending("late"))
        count = len(scene.api.asked)
        await scene.api.until(lambda: len(scene.api.asked) > count + 20)
        assert scene.machine.ready == 1
        assert scene.binds() == []
        # The list is there: it goes on.
        scene.api.script = answer
        scene.feed()
        await scene.api.until(lambda: scene.binds() == ["late"])

    play(work)


def pod_with(name: str, **spec: Any) -> Content:
    return {"metadata": meta(name), "spec": {"schedulerName": "herz", **spec}}


CLAIM = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
SECRET = {"name": "s", "secret": {"secretName": "s"}}
VICTIM = DeletePod(namespace="default", name="victim", uid="uid-victim", message="room")
STALE: dict[str, frozenset[str]] = {
    **{kind.plural: frozenset({"plain", "claims", "gang", "victim"}) for kind in WATCHED},
    **dict.fromkeys(staleness.STORAGE, frozenset({"claims"})),
    "podgroups": frozenset({"gang"}),
    "poddisruptionbudgets": frozenset({"victim"}),
}
"""What waits while a kind may be out of date: the rows of docs/reference/live.md."""


@pytest.mark.parametrize("plural", sorted(STALE))
def test_12_a_kind_with_a_gap_holds_up_what_follows_from_it_and_nothing_else(plural: str) -> None:
    held = STALE[plural]

    async def work(scene: Scene) -> None:
        feeds = [scene.feed() for _ in WATCHED]
        await scene.driver.synced.wait()
        await scene.api.until(lambda: len(scene.api.of("WATCH")) == len(WATCHED))
        informers = [one for one in scene.driver.informers if one.watched.plural == plural]
        for informer in informers:
            informer._set_fresh(is_fresh=False)
        scene.machine.wants(VICTIM)
        for pod in (
            pod_with("plain", volumes=[SECRET]),
            pod_with("claims", volumes=[CLAIM]),
            pod_with("gang", schedulingGroup={"podGroupName": "g"}),
        ):
            feeds[-1].give("ADDED", pod)

        def outcomes() -> dict[str, str]:
            told = [one for one in scene.machine.events if isinstance(one, BindFinished)]
            return {one.uid.removeprefix("uid-"): str(one.outcome) for one in told}

        def is_refused() -> bool:
            return any(isinstance(one, RemovalRefused) for one in scene.machine.events)

        pods = {"plain", "claims", "gang"}
        if len(held) == 4:
            while scene.machine.ready < 3:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
            assert (scene.binds(), scene.api.of("DELETE")) == ([], [])
            assert scene.driver.waits_for == [f"waiting for the list of {plural}"] * len(informers)
        else:
            await scene.api.until(lambda: outcomes().keys() == pods)
            expected = {name: "refused" if name in held else "bound" for name in pods}
            assert outcomes() == expected
            if "victim" not in held:
                await scene.api.until(lambda: scene.api.of("DELETE"))
            assert len(scene.api.of("DELETE")) == ("victim" not in held)
            assert not is_refused(), "or its preemptor would choose victims again at once"
            assert scene.driver.withheld == len(held)
        for informer in informers:
            informer._set_fresh(is_fresh=True)
        await scene.api.until(lambda: outcomes().keys() == pods)
        assert is_refused() is (held == {"victim"})

    play(work, kinds=WATCHED)


def test_38_a_stop_finishes_what_is_under_way_with_its_events_and_decides_no_more() -> None:
    async def work(scene: Scene) -> None:
        nodes, pods = scene.feed(), scene.feed()
        del nodes
        await scene.api.until(lambda: len(scene.binds()) == 1)
        scene.driver.stop()
        pods.give("ADDED", pending("late"))
        await scene.api.until(lambda: scene.notes() == ["uid-a bound"])
        assert scene.machine.limits[-1] == 0
        assert scene.binds() == ["a"]

    play(work, pending("a"))


def test_what_came_during_a_step_is_applied_before_the_next() -> None:
    """A watch is read by a callback of the loop, which wakes the informer, which applies it."""
    mine, theirs = socket.socketpair()

    async def work(scene: Scene) -> None:
        scene.feed(), scene.feed()
        loop, applied = asyncio.get_running_loop(), [0]
        came = asyncio.Event()
        waiting: list[bool] = []
        step = scene.machine.step

        def read() -> None:
            mine.recv(1)
            came.set()

        async def inform() -> None:
            while True:
                await came.wait()
                came.clear()
                applied[0] += 1

        def slow(now_ns: int, limit: int) -> list[Effect]:
            waiting.append(applied[0] < len(waiting))
            theirs.send(b"x")
            return step(now_ns, limit)

        scene.machine.step = slow  # type: ignore[method-assign]
        scene.driver.pace.limit = 1
        informing = asyncio.ensure_future(inform())
        loop.add_reader(mine, read)
        try:
            await scene.api.until(lambda: len(scene.binds()) == 20)
        finally:
            informing.cancel()
            loop.remove_reader(mine)
        assert len(waiting) >= 4
        assert not any(waiting)

    with mine, theirs:
        play(work, *(pending(f"p{number:02}") for number in range(20)))


def test_a_failure_of_the_machine_ends_the_driver() -> None:
    async def main() -> None:
        scene = Scene([pending("a")])
        scene.feed(), scene.feed()
        scene.machine.fails = WorldError("the journal is not written any more")
        with pytest.raises(WorldError, match="journal is not written"):
            await asyncio.wait_for(scene.driver.run(), 20)
        assert scene.binds() == []

    asyncio.run(main())


def test_an_object_that_the_machine_refuses_is_counted() -> None:
    async def work(scene: Scene) -> None:
        nodes, pods = scene.feed(), scene.feed()
        del pods
        await scene.api.until(lambda: scene.binds() == ["a"])
        scene.machine.fails = ConfigError("no quantity")
        nodes.give("ADDED", {"metadata": meta("bad")})
        while not scene.driver.refused_events:
            await asyncio.sleep(0)
        scene.machine.fails = None

    play(work, pending("a"))


def test_the_pace_keeps_steps_short_and_grows_back() -> None:
    pace = Pace(limit=32)
    pace.took(2 * STEP_NS_MAX, 32)
    assert pace.limit == 16
    pace.took(100 * STEP_NS_MAX, 16)
    assert pace.limit == 1
    pace.took(100 * STEP_NS_MAX, 0)
    assert pace.limit == 1, "what no decision took says nothing of decisions"
    for _ in range(40):
        pace.took(STEP_NS_MAX // 10, pace.limit)
    assert pace.limit == module.STEP_PODS_MAX
    pace.took(STEP_NS_MAX * 4 // 5, pace.limit)
    assert pace.limit == module.STEP_PODS_MAX
    assert pace.over == 3


# ---- discovery ------------------------------------------------------------------------------


def test_04_what_a_killed_process_left_open_is_told_before_anything_is_decided() -> None:
    async def work(scene: Scene) -> None:
        # Nothing was awaited yet: the driver has not begun.
        scene.left.append(Unresolved(7, "uid-gone", "default/gone", "n"))
        await scene.api.until(lambda: scene.binds() == ["p"])
        told = [one for one in scene.machine.events if isinstance(one, BindFinished)]
        assert (told[0].uid, told[0].decision, told[0].resolved) == ("uid-gone", 7, "restart")
        assert (told[0].outcome, told[0].message) == ("refused", "the pod is gone")

    play(work, pending("p"))
