"""Drives a Machine against a live cluster: what is watched goes in, what is decided goes out.

One task, the pump, asks the machine to decide; informers and answers apply events between its
steps. The pump rests while the view of the cluster has a gap that matters to all pods
(`herz.world.kube.staleness`), while another replica leads, and while too many writes are under way.
It knows a `Machine`, and not what is in it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast

from herz.errors import ConfigError, HerzError
from herz.model.effects import DeletePod, Effect, EmitEvent, Evict, WakeAt
from herz.model.events import ObjectApplied, ObjectDeleted, WorldEvent
from herz.model.objects import KubernetesObject, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.ports import Deferring, Machine
from herz.world.collecting import Automatic, GarbageCollector
from herz.world.kube.effects import Writer
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import Watched
from herz.world.kube.limits import Calls, Limits
from herz.world.kube.metrics import Observer
from herz.world.kube.posting import Posting
from herz.world.kube.staleness import BUDGETS, stops_all, withheld
from herz.world.kube.standby import Kept
from herz.world.kube.transport import Transport

STEP_NS_MAX: Final = 5_000_000
"""What a step should stay under, so that watches are read in time."""
STEP_PODS_MAX: Final = 64
TURNS: Final = 3
"""Of the loop between two steps. What came meanwhile is read in the first and wakes who waits for
it, who applies it in the second; the third is for who stands in line behind the pump."""
PENDING_MAX: Final = 512
"""Writes that are not done; while there are so many, nothing is decided."""
QUIET_SECONDS: Final = 1.0
"""For how long nothing was decided or written when what stops everything for a while is done."""
STOP_SECONDS: Final = 20.0
"""How long a stop waits for binds that are under way, and then for events."""
_CONTROLLER: Final = "herz"
ObjectT = TypeVar("ObjectT")

_IDLE_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.05

_log = logging.getLogger("herz.kube")


class Leading(Protocol):
    """Whether this replica may act."""

    @property
    def write_timeout_seconds(self) -> float:
        """After how long every write is given up, for another replica may lead then."""

    def may_write(self) -> bool:
        """Asked before each step, and right before each write leaves."""


class Always:
    """One replica: nobody else leads."""

    write_timeout_seconds = math.inf

    def may_write(self) -> bool:
        """See `Leading`."""
        return True


@dataclass(frozen=True, slots=True)
class Settings:
    """How the driver behaves.

    Args:
        scheduler_names: whose pods are decided; None: everybody's.
        binds: limits of binds, patches and deletions.
        events: limits of events.
        controller: how events call who reports them.
    """

    scheduler_names: Collection[str] | None
    binds: Limits = field(default_factory=Limits)
    events: Limits = field(default_factory=lambda: Limits(in_flight_max=8))
    controller: str = _CONTROLLER


@dataclass(slots=True)
class Pace:
    """Picks how many pods a step may take, by what the last ones took.

    The measurement reaches the machine as the count alone, which is in the journal.
    """

    limit: int = 8
    longest_ns: int = 0
    steps: int = 0
    deciding: int = 0
    """Steps that decided something."""
    over: int = 0
    """Steps that took longer than `STEP_NS_MAX`."""

    def took(self, took_ns: int, decided: int) -> None:
        """A step of so many pods took so long."""
        self.steps += 1
        self.deciding += decided > 0
        self.longest_ns = max(self.longest_ns, took_ns)
        if took_ns > STEP_NS_MAX:
            self.over += 1
            if decided:
                self.limit = max(1, min(self.limit, decided) * STEP_NS_MAX // took_ns)
        elif decided >= self.limit and took_ns < STEP_NS_MAX * 3 // 5:
            self.limit = min(self.limit + max(1, self.limit // 4), STEP_PODS_MAX)


def _nothing(pods: Mapping[str, Pod], now_ns: int) -> Sequence[WorldEvent]:  # noqa: ARG001
    return ()


async def _followed(running: asyncio.Task[None]) -> None:
    await running


class Driver:
    """One scheduler on one cluster.

    Args:
        machine: decides.
        transport: to the API server.
        kinds: what is watched.
        settings: how it behaves.
        leading: whether this replica may act.
        observer: told of what it does, for metrics.
        first: what is to be told of the pods that are there, by uid, before anything is decided.
        garbage: told when garbage may be collected; None: Python decides.
        kept: informers of some of the kinds that run already (`herz.world.kube.standby`).
    """

    def __init__(
        self,
        machine: Machine,
        transport: Transport,
        kinds: Sequence[Watched],
        settings: Settings,
        leading: Leading | None = None,
        observer: Observer | None = None,
        first: Callable[[Mapping[str, Pod], int], Sequence[WorldEvent]] = _nothing,
        garbage: GarbageCollector | None = None,
        kept: Sequence[Kept] = (),
    ) -> None:
        self._machine = machine
        # Asked once: such a check reads every property, and `held` costs as much as there are pods.
        self._deferring = machine if isinstance(machine, Deferring) else None
        self._garbage = garbage or Automatic(freezes=True)
        self._first = first
        self._transport = transport
        self._settings = settings
        self._leading = leading or Always()
        names = settings.scheduler_names
        self._names = None if names is None else frozenset(names)
        rng = random.Random()
        self._kept = {one.informer: one.running for one in kept}
        taken = {one.watched.path: one for one in self._kept}
        self.informers = tuple(
            taken.get(kind.path) or Informer(kind, transport, self, rng) for kind in kinds
        )
        self._pods = next(one for one in self.informers if one.watched.kind is Pod)
        self._observer = observer
        self.posting = Posting(self._calls(settings.events), settings.controller)
        self.writer = Writer(
            self._calls(settings.binds),
            self.posting,
            self._apply,
            self._pod_of,
            self.now_ns,
        )
        self.pace = Pace()
        self.refused_events = 0
        self.withheld = 0
        """Effects that were taken back, for a kind that they follow from had a gap."""
        self._held: list[tuple[DeletePod | Evict, str]] = []
        self.synced = asyncio.Event()
        """Set when every first list has been taken in."""
        # Wall time, but never backwards: times in the journal are for people, too.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._turn = asyncio.Event()
        self._synced_some = asyncio.Event()
        self._wake_ns: int | None = None
        self._is_stopping = False
        self._is_stepping = False
        self._failure: BaseException | None = None

    def _calls(self, limits: Limits) -> Calls:
        leading = self._leading
        return Calls(
            self._transport,
            limits,
            leading.may_write,
            write_seconds_max=leading.write_timeout_seconds,
            observer=self._observer,
        )

    # ---- what others ask --------------------------------------------------------------------

    def now_ns(self) -> int:
        """The driver's time."""
        return self._epoch_ns + time.monotonic_ns()

    @property
    def address(self) -> str:
        """The server's URL."""
        return self._transport.address

    def known(self, kind: type[ObjectT]) -> list[ObjectT]:
        """The objects of a kind that there are now."""
        return [
            thing
            for one in self.informers
            if one.watched.kind is kind
            for thing in one.objects.values()
            if isinstance(thing, kind)
        ]

    def tell(self, event: EmitEvent) -> None:
        """Write an event that follows from no decision."""
        self.posting.post(event)

    def counted(self, plural: str) -> int:
        """How many objects of a kind there are now."""
        return sum(len(one.objects) for one in self.informers if one.watched.plural == plural)

    @property
    def pods(self) -> list[Pod]:
        """All pods that have not ended."""
        return list(self._pods_known.values())

    @property
    def ready(self) -> int:
        """Pods that could be decided now."""
        return self._machine.ready

    @property
    def stale(self) -> tuple[str, ...]:
        """The kinds whose watches have a gap, each by its plural."""
        return tuple(one.watched.plural for one in self.informers if not one.is_fresh)

    @property
    def waits_for(self) -> list[str]:
        """Why nothing is decided now, in words; empty while it is."""
        found = [
            one.problem or f"waiting for the list of {one.watched.plural}"
            for one in self.informers
            if not one.is_fresh
        ]
        if not self._leading.may_write():
            found.append("another replica leads")
        return found

    # ---- its life ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Schedule until `stop`.

        Raises:
            HerzError: the machine or its journal failed: nothing is bound any more.
        """
        works = (self._watch_all(), self._pump(), self._tidy())
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            self.writer.cancel()
            self.posting.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.synced.is_set():
                self._garbage.end()

    def stop(self) -> None:
        """Decide nothing more; finish or confirm what is under way; then `run` returns."""
        self._is_stopping = True
        self._turn.set()

    async def _watch_all(self) -> None:
        """Each kind by a task of its own, pods after the others' first lists."""
        async with asyncio.TaskGroup() as group:
            others = [one for one in self.informers if one is not self._pods]
            for informer in others:
                if informer not in self._kept:
                    group.create_task(informer.run())
            for informer, running in self._kept.items():
                await informer.hand_over(self)
                group.create_task(_followed(running))
            while not all(one.is_synced for one in others):
                self._synced_some.clear()
                await self._synced_some.wait()
            group.create_task(self._pods.run())
            while not self._pods.is_synced:
                self._synced_some.clear()
                await self._synced_some.wait()
            self._tell_first()
            self._garbage.begin()
            _log.info("synced: %s", self._inventory())
            self.synced.set()
            self._turn.set()

    def _tell_first(self) -> None:
        """What is to be told of the pods that are there.

        Whoever calls it waits for as long as the driver lives, and must not hold them.
        """
        found = {
            one.metadata.uid: one for one in self._pods.objects.values() if isinstance(one, Pod)
        }
        for event in self._first(found, self.now_ns()):
            self._apply(event)

    def _inventory(self) -> str:
        counts = [(one.watched.plural, len(one.objects)) for one in self.informers]
        return ", ".join(f"{count} {plural}" for plural, count in counts if count)

    # ---- what is seen -----------------------------------------------------------------------

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """See `herz.world.kube.informer.Sink`."""
        if isinstance(thing, Pod):
            if thing.is_assigned:
                self.writer.seen(thing)
            elif self._names is not None and thing.spec.scheduler_name not in self._names:
                return
        self._apply(ObjectApplied(time_ns=self.now_ns(), object=thing, unlisted=unlisted))

    def deleted(self, thing: KubernetesObject) -> None:
        """See `herz.world.kube.informer.Sink`."""
        if self._observer is not None and isinstance(thing, Pod):
            self._observer.left(thing.metadata.uid)
        self._apply(ObjectDeleted(time_ns=self.now_ns(), object=thing))

    def freshness_changed(self) -> None:
        """See `herz.world.kube.informer.Sink`."""
        if self._observer is not None:
            for one in self.informers:
                self._observer.kept(one.watched.plural, one.lists, is_fresh=one.is_fresh)
        self._synced_some.set()
        self._turn.set()
        if BUDGETS.isdisjoint(self.stale):
            # Told now, and not as they were held: their pods would choose victims again at once.
            held, self._held = self._held, []
            for effect, reason in held:
                self.writer.take_back(effect, reason)

    @property
    def _pods_known(self) -> Mapping[str, Pod]:
        return cast("Mapping[str, Pod]", self._pods.objects)

    def _pod_of(self, key: str) -> Pod | None:
        return self._pods_known.get(key)

    def _apply(self, event: WorldEvent) -> None:
        if self._observer is not None and isinstance(event, BindFinished):
            if event.outcome is BindOutcome.BOUND:
                self._observer.bound(event.uid)
            elif event.outcome is BindOutcome.REFUSED:
                self._observer.refused(event.uid)
        try:
            self._machine.apply(event)
        except ConfigError as error:
            # The machine refuses the object; what it knew of it stays.
            self.refused_events += 1
            _log.warning("refused: %s", error)
        except HerzError as error:
            # Raised where an informer or a write delivers it, it would end only that one.
            if self._failure is None:
                self._failure = error
        self._turn.set()

    # ---- what is decided --------------------------------------------------------------------

    async def _pump(self) -> None:
        await self.synced.wait()
        while not self._is_stopping:  # Bound: the driver's life.
            await self._rest()
            if self._failure is not None:
                raise self._failure
            if self._may_act():
                await self._step(min(self.pace.limit, PENDING_MAX - self.writer.pending))
            for turn in range(TURNS):
                if turn == 1:
                    # Others have their turn between a step and this, and between this and a step.
                    self._garbage.between()
                await asyncio.sleep(0)
        await self._finish()

    async def _tidy(self) -> None:
        """What stops everything for a while is done where nobody has waited for a moment."""
        await self.synced.wait()
        quiet, steps = 0.0, 0
        pause = QUIET_SECONDS / 4
        while True:  # Bound: the driver's life; `run` cancels it.
            await asyncio.sleep(pause)
            is_busy = self._is_stepping or self._machine.ready or self.writer.pending
            if is_busy or self.pace.deciding != steps:
                quiet, steps = 0.0, self.pace.deciding
                continue
            quiet += pause
            if quiet >= QUIET_SECONDS:
                self._garbage.between(is_idle=True)
                if self._deferring is not None:
                    self._deferring.rest()

    async def _rest(self) -> None:
        """Until something was applied, or it is time; at once while pods are ready."""
        may_act = self._may_act()
        if may_act and (self._turn.is_set() or self._machine.ready):
            self._turn.clear()
            return
        wait = _IDLE_SECONDS
        if may_act and self._wake_ns is not None:
            wait = min(max(self._wake_ns - self.now_ns(), 0) / 1e9, wait)
        if not may_act:
            # A write that ends, a list or a lease lets it go on; none of them is told here.
            wait = _RETRY_SECONDS
        self._turn.clear()
        try:
            async with asyncio.timeout(wait):
                await self._turn.wait()
        except TimeoutError:
            return

    def _may_act(self) -> bool:
        is_there_room = self.writer.pending < PENDING_MAX
        return (
            is_there_room
            and not self._is_stopping
            and not stops_all(self.stale)
            and self._leading.may_write()
        )

    async def _step(self, limit: int) -> None:
        """Decide; then let the effects leave, once what led to them is on the disk."""
        before, now_ns = self._machine.ready, self.now_ns()
        if self._wake_ns is not None and self._wake_ns <= now_ns:
            self._wake_ns = None
        sync, stale = None, self.stale
        if self._deferring is not None:
            effects, sync = self._deferring.decide(now_ns, limit)
        else:
            effects = self._machine.step(now_ns, limit)
        took_ns, decided = self.now_ns() - now_ns, min(before, limit)
        self.pace.took(took_ns, decided)
        if self._observer is not None:
            self._observer.stepped(decided, took_ns)
        if sync is not None:
            # The disk's time is the watches': what they show is applied meanwhile.
            self._is_stepping = True
            try:
                await asyncio.to_thread(sync)
            finally:
                self._is_stepping = False
        for effect in effects:
            if isinstance(effect, WakeAt):
                self._wake_ns = effect.time_ns
            elif stale and (reason := withheld(effect, self._pods_known, stale)):
                self._withhold(effect, reason)
            else:
                self.writer.carry_out(effect)

    def _withhold(self, effect: Effect, reason: str) -> None:
        """Take back what follows from a kind that may be out of date."""
        self.withheld += 1
        if isinstance(effect, DeletePod | Evict):
            # Bound: the victims of what one gap lets be decided; each is a victim once.
            self._held.append((effect, reason))
        else:
            self.writer.take_back(effect, reason)

    async def _finish(self) -> None:
        """Binds that are under way are finished or confirmed, and their events written."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while True:  # Bound: the time; what is finished here may end a pod's wait.
                    await self.writer.idle.wait()
                    await self._step(0)
                    if not self.writer.pending:
                        break
                await self.posting.idle.wait()
        except TimeoutError:
            _log.warning(
                "stopped with %s writes under way: the next start reads what came of them",
                self.writer.pending,
            )
