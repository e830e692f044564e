"""Everything that the runtime has, mixed by chance, with a ledger of each unit of work."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from herz import runtime
from herz.runtime import (
    Cancelled,
    Channel,
    Connection,
    Event,
    Mutex,
    Portal,
    Semaphore,
    Task,
    TaskGroup,
    WaitGroup,
    deadline,
    go,
    go_map,
    lock_thread,
    relay,
    run,
    sleep,
    yield_now,
)

JOBS = 24
"""Jobs of one round, which run beside each other."""
ROUNDS = 10
"""Rounds of one run of the runtime."""


class Ledger:
    """What became of each unit of work: begun once, ended once, cancelled only if asked."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.asked: set[int] = set()
        self.ended: Counter[str] = Counter()

    def enter(self) -> int:
        """A unit that somebody is to do."""
        unit = len(self.states)
        self.states[unit] = "due"
        return unit

    def move(self, unit: int, before: str, after: str) -> None:
        """It was there, and is here now."""
        state = self.states[unit]
        assert state == before, f"unit {unit} became {after} when it was {state}, not {before}"
        self.states[unit] = after

    def close(self) -> None:
        """All have ended."""
        lost = {unit: state for unit, state in self.states.items() if state in ("due", "begun")}
        assert not lost, f"units were lost: {lost}"
        cancelled = {unit for unit, state in self.states.items() if state == "cancelled"}
        assert cancelled <= self.asked, f"cancelled unasked: {cancelled - self.asked}"
        self.ended.update(self.states.values())
        self.states.clear()
        self.asked.clear()


class Round:
    """One round: its chance, its ledger, and what jobs are made of."""

    def __init__(self, chance: random.Random, ledger: Ledger, portal: Portal) -> None:
        self.chance, self.ledger, self.portal = chance, ledger, portal
        self.first = threading.main_thread().ident
        self.threads: list[threading.Thread] = []

    # ---- units of work ---------------------------------------------------------------------------

    def go(self, coroutine: Coroutine[Any, Any, Any], **how: Any) -> Task[Any]:
        """Starts a unit."""
        return go(self._unit(self.ledger.enter(), coroutine), **how)

    async def _unit(self, unit: int, coroutine: Coroutine[Any, Any, Any]) -> Any:
        self.ledger.move(unit, "due", "begun")
        try:
            value = await coroutine
        except Cancelled:
            self.ledger.move(unit, "begun", "cancelled")
            raise
        self.ledger.move(unit, "begun", "done")
        return value

    def function(self, value: int) -> int:
        """A unit of its own, on whichever thread."""
        unit = self.ledger.enter()
        self.ledger.move(unit, "due", "begun")
        self.ledger.move(unit, "begun", "done")
        return value + 1

    async def cancelled(self, coroutine: Coroutine[Any, Any, Any], after: int) -> bool:
        """Starts a unit and asks for its end after so many turns; whether it came to that."""
        unit = self.ledger.enter()
        task = go(self._unit(unit, coroutine))
        for _ in range(after):
            await yield_now()
        self.ledger.asked.add(unit)
        task.cancel()
        try:
            await task
        except Cancelled:
            return True
        return False

    def some(self, most: int) -> int:
        """A number from 1."""
        return self.chance.randint(1, most)

    # ---- jobs ------------------------------------------------------------------------------------

    async def turns(self) -> None:
        tasks = [self.go(self._turns(self.some(30))) for _ in range(self.some(20))]
        for task in tasks:
            await task

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await yield_now()

    async def sleeps(self) -> None:
        for _ in range(self.some(5)):
            seconds = self.chance.random() / 200
            ends = time.monotonic_ns() + int(seconds * 1e9)
            await sleep(seconds)
            assert time.monotonic_ns() >= ends, "a sleep ended early"

    async def channel(self) -> None:
        channel: Channel[tuple[int, int]] = Channel(self.chance.choice([0, 1, 5, None]))
        senders, each = self.some(4), self.some(30)
        got: list[list[tuple[int, int]]] = []
        left = WaitGroup()
        left.add(senders)

        async def send(sender: int) -> None:
            for number in range(each):
                await channel.send((sender, number))
            left.done()

        async def receive() -> None:
            own: list[tuple[int, int]] = []
            got.append(own)
            async for value in channel:
                own.append(value)

        tasks = [self.go(receive()) for _ in range(self.some(4))]
        tasks += [self.go(send(sender)) for sender in range(senders)]
        await left.wait()
        channel.close()
        for task in tasks:
            await task
        for own in got:
            for sender in range(senders):
                numbers = [number for who, number in own if who == sender]
                assert numbers == sorted(numbers), "values of one sender changed their order"
        values = sorted(value for own in got for value in own)
        assert values == [(s, n) for s in range(senders) for n in range(each)], "values were lost"

    async def mutex(self) -> None:
        mutex, inside, total = Mutex(), [0], [0]

        async def count() -> None:
            for _ in range(5):
                async with mutex:
                    inside[0] += 1
                    assert inside[0] == 1, "two hold a mutex"
                    before = total[0]
                    await yield_now()
                    total[0] = before + 1
                    inside[0] -= 1

        tasks = [self.go(count()) for _ in range(self.some(6))]
        for task in tasks:
            await task
        assert total[0] == 5 * len(tasks)

    async def permits(self) -> None:
        """However many are cancelled while they wait or hold, no permit is lost or doubled."""
        count = self.some(3)
        semaphore = Semaphore(count)

        async def hold(turns: int) -> None:
            async with semaphore:
                await self._turns(turns)

        tasks = [self.go(hold(self.some(5))) for _ in range(self.some(8))]
        ends = [self.go(self.cancelled(hold(9), self.some(9) - 1)) for _ in range(self.some(8))]
        for task in tasks + ends:
            await task
        for _ in range(count):
            await semaphore.acquire()
        assert semaphore.locked(), "there is a permit too many"

    async def cancels(self) -> None:
        never = Event()
        channel: Channel[int] = Channel()
        waits: list[Callable[[], Awaitable[Any]]] = [
            lambda: sleep(60),
            never.wait,
            channel.receive,
            lambda: channel.send(1),
            lambda: go(self._turns(3)),
            lambda: self._turns(100_000),
        ]

        async def wait(how: Callable[[], Awaitable[Any]]) -> None:
            await how()

        for how in self.chance.choices(waits, k=5):
            await self.cancelled(wait(how), self.some(4) - 1)

    async def detached(self) -> None:
        reader, writer = os.pipe()

        async def block() -> bytes:
            return os.read(reader, 1)

        async def free() -> None:
            os.write(writer, b"x")

        blocked = self.go(block())
        await self.go(free())
        assert await blocked == b"x"
        os.close(reader)
        os.close(writer)

    async def burns(self) -> None:
        async def burn() -> None:
            until = time.monotonic() + 0.008
            while time.monotonic() < until:
                pass

        await self.go(burn())

    async def functions(self) -> None:
        tasks = [go(self.function, number) for number in range(self.some(5))]
        assert [await task for task in tasks] == list(range(1, len(tasks) + 1))
        count = self.some(50)
        results = await go_map(self.function, range(count), workers=self.some(3))
        assert results == list(range(1, count + 1))

    async def portals(self) -> None:
        async def answer(value: int) -> int:
            await yield_now()
            return value * 2

        future_of: list[Any] = []

        def call() -> None:
            future_of.append(self.portal.call(answer, 21).result(60))

        thread = threading.Thread(target=call)
        thread.start()
        while not future_of:
            await sleep(0.000_2)
        assert future_of == [42]
        await go(thread.join)

    async def deadlines(self) -> None:
        try:
            async with deadline(self.chance.random() / 200):
                await sleep(60)
        except TimeoutError:
            return
        raise AssertionError("a deadline was not kept")

    async def groups(self) -> None:
        async def fail() -> None:
            await self._turns(self.some(5))
            raise LookupError

        try:
            async with TaskGroup() as group:
                for _ in range(self.some(4)):
                    group.go(sleep_long())
                group.go(fail())
        except BaseExceptionGroup as errors:
            if errors.subgroup(LookupError) is not None:
                return
        raise AssertionError("a group lost its error")

    async def threads_kept(self) -> None:
        async def locked() -> None:
            with lock_thread():
                own = {threading.get_ident()}
                for _ in range(self.some(4)):
                    await yield_now()
                    own.add(threading.get_ident())
                assert len(own) == 1, "a locked task changed its thread"

        async def pinned() -> None:
            for _ in range(self.some(4)):
                assert threading.get_ident() == self.first, "a pinned task left its thread"
                await yield_now()

        tasks = [self.go(locked()), self.go(pinned(), pinned=True)]
        for task in tasks:
            await task

    async def abandoned(self) -> None:
        reader, writer = os.pipe()
        task = go(os.read, reader, 1, abandon=True)
        await self._turns(self.some(3))
        task.cancel()
        with suppress(Cancelled):
            await task
        os.write(writer, b"x")
        os.close(writer)
        # Closed by whoever reads last, or it would be another's descriptor by then.
        await go(self._closed, reader)

    @staticmethod
    def _closed(reader: int) -> None:
        while os.read(reader, 1):
            pass
        os.close(reader)

    async def generators(self) -> None:
        ended: list[int] = []

        async def numbers() -> AsyncIterator[int]:
            try:
                for number in range(9):
                    await yield_now()
                    yield number
            finally:
                await yield_now()
                ended.append(1)

        async for number in numbers():
            if number == 3:
                break
        while not ended:
            await yield_now()

    async def relays(self) -> None:
        (first, one), (second, other) = connections(), connections()
        data = [self.chance.randbytes(self.some(200_000)) for _ in range(2)]

        async def relayed() -> None:
            assert await relay(one, other, idle_seconds=60) == (len(data[0]), len(data[1]))

        async def receive(connection: Connection, expected: bytes) -> None:
            assert await connection.receive_exactly(len(expected)) == expected, "bytes were lost"

        async def send(connection: Connection, sent: bytes) -> None:
            await connection.send_all(sent)
            connection.close_write()

        tasks = [self.go(relayed())]
        tasks += [self.go(send(first, data[0])), self.go(send(second, data[1]))]
        tasks += [self.go(receive(first, data[1])), self.go(receive(second, data[0]))]
        for task in tasks:
            await task
        (third, one), (fourth, other) = connections(), connections()
        await third.send_all(b"x")

        async def endless() -> None:
            await relay(one, other)

        assert await self.cancelled(endless(), self.some(4) - 1), "nobody ended the relay"
        for connection in (first, second, third, fourth, one, other):
            connection.close()


def connections() -> tuple[Connection, Connection]:
    """Both ends of one."""
    one, other = socket.socketpair()
    return Connection.from_socket(one), Connection.from_socket(other)


async def sleep_long() -> None:
    """Ends by being cancelled."""
    await sleep(60)


KINDS = {
    **dict.fromkeys(("turns", "channel", "mutex", "permits", "cancels", "functions"), 4),
    **dict.fromkeys(("sleeps", "portals", "deadlines", "groups", "generators", "relays"), 3),
    **dict.fromkeys(("detached", "threads_kept", "abandoned"), 1),
    "burns": 0.3,
}
"""Each kind of job, and how often it is chosen."""


async def rounds(seed: str, ledger: Ledger, ends: float) -> None:
    """Some rounds in one runtime."""
    with Portal() as portal:
        for number in range(ROUNDS):
            if time.monotonic() >= ends:
                return
            chance = random.Random(f"{seed}-{number}")
            each = Round(chance, ledger, portal)
            kinds = chance.choices(list(KINDS), list(KINDS.values()), k=JOBS)
            jobs = [each.go(getattr(each, kind)()) for kind in kinds]
            for job in jobs:
                await job
            ledger.close()
            # What closes a generator ends a moment after it has closed it.
            async with deadline(60):
                while len(runtime.tasks()) > 2:  # this one, and the deadline's
                    await yield_now()


def soak(seed: int, seconds: float) -> Counter[str]:
    """Runs rounds for so long; what became of the units.

    There are more workers than blocking calls of one round, or these could wait for each other.

    Raises:
        AssertionError: a unit was lost, done twice, or cancelled unasked, or a job found a fault;
            its text names the seed.
    """
    ends = time.monotonic() + seconds
    ledger = Ledger()
    number = 0
    while time.monotonic() < ends:
        options = random.Random(f"{seed}-{number}-options")
        what = f"{seed}-{number}"
        try:
            workers, processors = options.choice([32, 64]), options.choice([1, 2, 4])
            run(rounds(what, ledger, ends), max_workers=workers, processors=processors)
        except BaseException as error:
            raise AssertionError(f"the soak failed with seed {what}: {error!r}") from error
        number += 1
    return ledger.ended
