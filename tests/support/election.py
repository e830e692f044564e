"""Replicas that elect a leader in virtual time: skewed clocks, pauses, lost and late answers.

Each replica is the real `Elector`; the loop, the API and the clocks are made here. At every change
all replicas are asked whether they may write, and what one sent before must have been given up.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from herz.errors import WorldError
from herz.world.kube.lease import SECOND_NS, Durations, Elector, Place

Content = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the API answers."""

    status: int
    body: bytes


class Until:
    """An awaitable that ends when somebody says so."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.error: Exception | None = None
        self.value: Any = None
        self.is_done = False

    def end(self, value: Any = None, error: Exception | None = None) -> None:
        if not self.is_done:
            self.is_done, self.value, self.error = True, value, error
            self.wake()

    def __await__(self) -> Generator[Until, None, Any]:
        yield self
        if self.error is not None:
            raise self.error
        return self.value


class World:
    """Virtual time, and the one Lease of the API."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0
        self.lease: Content | None = None
        self.version = 0
        self.is_faulty = True
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.checks: list[Callable[[], None]] = []

    def at(self, time: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(int(time), self.now), next(self._count), call))

    def run(self, end: int) -> None:
        while self._heap and self._heap[0][0] <= end:
            self.now, _, call = heapq.heappop(self._heap)
            call()
            for check in self.checks:
                check()
        self.now = end

    def serve(self, method: str, body: bytes) -> Reply:
        """What the API does with a request, at once."""
        if method == "GET":
            if self.lease is None:
                return Reply(404, b'{"message":"not found"}')
            return Reply(200, json.dumps(self.lease).encode())
        content = json.loads(body)
        given = content["metadata"].get("resourceVersion")
        if method == "POST":
            if self.lease is not None:
                return Reply(409, b'{"message":"already exists"}')
        elif self.lease is None:
            return Reply(404, b'{"message":"not found"}')
        elif given != self.lease["metadata"]["resourceVersion"]:
            return Reply(409, b'{"message":"conflict"}')
        self.version += 1
        content["metadata"]["resourceVersion"] = str(self.version)
        self.lease = content
        return Reply(200, json.dumps(content).encode())


@dataclass
class Replica:
    """One process: its clock, its pauses, its elector.

    Args:
        world: what it lives in.
        name: what its processes are named after; a loss ends the process, and another starts.
        rate: how fast its clock goes.
        offset: what its clock shows at time 0.
    """

    world: World
    name: str
    durations: Durations
    rate: float
    offset: int
    faults: float = 0.15
    paused_until: int = 0
    given_up_ns: int = 0
    """Until when, in real time, a write that it sent may still be waited for."""
    terms: list[int] = field(default_factory=list)
    is_dead: bool = False

    def __post_init__(self) -> None:
        self.elector = self.fresh()

    def fresh(self) -> Elector:
        """The elector of a new process."""
        place = Place(self.clock, self.sleep, self.world.random.random, lambda: str(self.clock()))
        name = f"{self.name}_{self.world.random.getrandbits(64)}"
        return Elector(name, ("kube-system", "herz"), self.ask, place, self.durations)

    def clock(self) -> int:
        return self.offset + int(self.world.now * self.rate)

    def real(self, local: int) -> float:
        return (local - self.offset) / self.rate

    def start(self) -> None:
        self.step(self.life())

    async def life(self) -> None:
        while not self.is_dead:
            self.terms.append(await self.elector.acquire())
            self.world.at(self.real(self.elector.write_from_ns) + 1, lambda: None)
            await self.elector.hold(lambda: None)
            if self.world.random.random() < 0.3:
                await self.elector.release()
            self.elector = self.fresh()

    def sleep(self, time_ns: int) -> Awaitable[None]:
        until = Until()
        self.world.at(self.world.now + time_ns / self.rate, until.end)
        return until

    async def ask(self, method: str, path: str, body: bytes, timeout_ns: int) -> Reply:
        chance, world = self.world.random, self.world
        until, timeout = Until(), timeout_ns / self.rate
        error = WorldError("no answer in time", is_retryable=True)
        world.at(world.now + timeout, lambda: until.end(error=error))
        is_bad = world.is_faulty and chance.random() < self.faults
        # Late: the request has its effect after its sender has given it up.
        there = chance.random() * (3 * timeout if is_bad else 0.2 * SECOND_NS)
        back = chance.random() * 0.2 * SECOND_NS
        is_lost = is_bad and chance.random() < 0.3
        is_answer_lost = is_bad and chance.random() < 0.5

        def arrive() -> None:
            reply = world.serve(method, body)
            if not is_answer_lost:
                world.at(world.now + back, lambda: until.end(reply))

        if not is_lost:
            world.at(world.now + there, arrive)
        reply: Reply = await until
        return reply

    def step(self, life: Coroutine[Until, None, None]) -> None:
        """Go on with its life until it waits for something, unless the process is paused."""
        if self.is_dead:
            life.close()
            return
        if self.paused_until > self.world.now:
            self.world.at(self.paused_until, lambda: self.step(life))
            return
        try:
            until = life.send(None)
        except StopIteration:
            return
        if until.is_done:
            self.world.at(self.world.now, lambda: self.step(life))
        else:
            until.wake = lambda: self.world.at(self.world.now, lambda: self.step(life))

    def note_write(self) -> None:
        """Where it may write, it does: the write is waited for until its timeout."""
        if not self.is_dead and self.elector.may_write():
            self.given_up_ns = int(self.world.now + self.durations.write / self.rate)


def check_one_writes(world: World, replicas: list[Replica]) -> Callable[[], None]:
    """Never two that may write, nor one while another's write is still waited for."""

    def check() -> None:
        able = [one for one in replicas if not one.is_dead and one.elector.may_write()]
        names = [f"{one.name} in term {one.elector.term}" for one in able]
        assert len(able) <= 1, f"at {world.now}: {' and '.join(names)} may write"
        for one in able:
            for other in replicas:
                late = other is not one and other.given_up_ns > world.now
                assert not late, f"at {world.now}: {other.name}'s write is waited for"
        for one in able:
            one.note_write()

    return check
