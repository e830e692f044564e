"""The process of a live scheduler: what it is made of, its life, and its end by a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from herz.commit.audit.journaled import Journaled
from herz.commit.audit.unresolved import Unresolved, resolved
from herz.cycle import Cycle
from herz.feedback.observe.promises import PromiseObserver
from herz.front.cli.comparing import comparable
from herz.front.cli.deciding import Deciding
from herz.front.cli.metering import Metering, metering_source
from herz.front.cli.operating import Operations
from herz.front.cli.options import Garbage
from herz.front.cli.proving import Prover, Proving
from herz.front.cli.waiting import patiently
from herz.journaling import ORIGIN, Change, continued, last_time
from herz.ports import Machine
from herz.world.collecting import Automatic, BetweenSteps, Full, GarbageCollector
from herz.world.kube import discovery
from herz.world.kube.driver import Driver, Settings
from herz.world.kube.kinds import WATCHED, Watched
from herz.world.kube.kubeconfig import Access
from herz.world.kube.standby import Kept, Standby
from herz.world.kube.transport import Transport
from herz.world.memory import keep_large_apart
from herz.world.prometheus.client import Settings as MetricsSettings
from herz.world.store.where import Where, beside

if TYPE_CHECKING:
    from herz.world.spans import Spans

ResultT = TypeVar("ResultT")
_READ_SECONDS: Final = 0.005

_log = logging.getLogger("herz.garbage")


@dataclass(frozen=True, slots=True)
class Live:
    """How a live scheduler runs.

    Args:
        what: decides, about whose pods.
        kubeconfig: None: as `herz.world.kube.kubeconfig.Access` finds one.
        context: of the kubeconfig; None: its current one.
        journal: where it is.
        change: who starts it, and why.
        waits: whether a server that cannot be reached is waited for.
        tell: shows a person what happens.
        started: told once, when it schedules.
        operations: what its operators see.
        garbage: when Python collects it.
        proving: who signs its journal; None: nobody does.
        kinds: what is watched, if the server has it.
        metrics: where nodes are measured; None: they are not.
        spans: of pods; None: there are none.
    """

    what: Deciding
    kubeconfig: Path | None
    context: str | None
    journal: Where
    change: Change
    waits: bool
    tell: Callable[[str], None]
    started: Callable[[Driver, str], None]
    operations: Operations
    garbage: Garbage
    proving: Proving | None = None
    kinds: tuple[Watched, ...] = field(default=WATCHED)
    metrics: MetricsSettings | None = None
    spans: Spans | None = None


async def live(settings: Live, end: asyncio.Event) -> None:
    """Schedule until the end is set; then finish what is under way.

    Raises:
        ConfigError: the kubeconfig or the journal cannot be used.
        WorldError: the server is not to be used, or the journal cannot be written any more.
    """
    transport = Transport(Access(settings.kubeconfig, settings.context))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(transport.closed)
        operations, spans = settings.operations, settings.spans
        if spans is not None:
            stack.push_async_callback(asyncio.to_thread, spans.close)
        await stack.enter_async_context(operations.served())
        stack.enter_context(operations.pauses.watched())
        version = await unless_ended(
            discovery.reached(transport, settings.tell, waits=settings.waits), end
        )
        if version is None:
            return
        kinds, absent = await discovery.served(transport, settings.kinds)
        if absent:
            paths = ", ".join(kind.path for kind in absent)
            settings.tell(f"the server has no {paths}: pods that need them are refused")
        await discovery.permitted(transport, kinds)
        kept: tuple[Kept, ...] = ()
        if operations.guarded is not None:
            kept = await stack.enter_async_context(Standby(transport, kinds).running())
        term = await unless_ended(operations.leading(), end)
        if term is None:
            return
        asked: list[Unresolved] = []
        observer, prover = PromiseObserver(), None
        if settings.proving is not None:
            prover = Prover(settings.proving, settings.tell)
        with continued(
            settings.journal,
            change=settings.change,
            origin=ORIGIN if settings.proving is None else settings.proving.signer.origin,
            notary=None if prover is None else prover.notary,
            term=term,
            sinks=(operations.metrics, observer, *(() if spans is None else (spans,))),
            made_known=partial(_seen, operations, spans),
            left=asked.extend,
        ) as make:
            making = patiently(
                lambda: make(settings.what.policy), settings.tell, waits=settings.waits
            )
            if (machine := await unless_ended(making, end)) is None:
                return
            machine.tell(settings.what.check)
            guarded = None
            if prover is not None:
                guarded = prover.guarded(machine, last_time(settings.journal))
            driver = _driver(settings, transport, (kinds, kept), guarded or machine, asked)
            operations.watch(driver, guarded)
            async with AsyncExitStack() as running:
                if prover is not None and guarded is not None:
                    proving = prover.run(machine, guarded, driver.now_ns)
                    running.push_async_callback(_ended, asyncio.ensure_future(proving))
                if settings.metrics is not None:
                    _meter(settings, settings.metrics, driver, machine, observer, running)
                with comparable(driver, beside(settings.journal)):
                    await _run(settings, driver, version, end)


def _seen(operations: Operations, spans: Spans | None, machine: Machine) -> None:
    """The machine is made: its counters are shown, and its verbs have spans."""
    operations.see(machine)
    if spans is not None:
        assert isinstance(machine, Cycle), "it was made by the app"
        machine.watch = spans.entered


def _meter(
    settings: Live,
    asked: MetricsSettings,
    driver: Driver,
    machine: Journaled,
    observer: PromiseObserver,
    running: AsyncExitStack,
) -> None:
    """Measure nodes and promises until the stack ends."""
    server, source = metering_source(asked)
    running.push_async_callback(server.close)
    settings.operations.also(source.counters, observer.counters)
    metering = Metering(
        *(source, driver, machine, observer),
        *(settings.what.policy, settings.journal, settings.tell),
        nullcontext if settings.spans is None else settings.spans.adjusting,
    )
    work = metering.run(asked.every_seconds)
    running.push_async_callback(_ended, asyncio.ensure_future(work))


async def _ended(task: asyncio.Future[None]) -> None:
    """Cancel the task; what it failed with is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _driver(
    settings: Live,
    transport: Transport,
    seen: tuple[tuple[Watched, ...], tuple[Kept, ...]],
    machine: Machine,
    asked: list[Unresolved],
) -> Driver:
    what = settings.what
    if settings.spans is not None:
        machine = settings.spans.around(machine)
    return Driver(
        machine,
        transport,
        seen[0],
        Settings(what.names, what.limits, what.event_limits, what.names[0]),
        settings.operations.guarded,
        settings.operations.metrics,
        partial(resolved, asked),
        collector(settings.garbage),
        seen[1],
    )


async def _run(settings: Live, driver: Driver, version: str, end: asyncio.Event) -> None:
    running = asyncio.ensure_future(driver.run())
    ending = asyncio.ensure_future(end.wait())
    synced = asyncio.ensure_future(driver.synced.wait())
    try:
        await asyncio.wait((running, ending, synced), return_when=asyncio.FIRST_COMPLETED)
        if synced.done():
            settings.started(driver, version)
            await asyncio.wait((running, ending), return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and synced.done():
            settings.operations.stopping()
            driver.stop()
            await running
        if running.done():
            running.result()
    finally:
        for task in (running, ending, synced):
            task.cancel()
        await asyncio.gather(running, ending, synced, return_exceptions=True)


def collector(mode: Garbage) -> GarbageCollector:
    """What decides when Python collects garbage; full collections are in the log.

    Asked before anything is loaded: what is loaded is to lie where it can be given back.
    """
    if mode is Garbage.DEFAULT:
        return Automatic(freezes=True)
    keep_large_apart()
    return BetweenSteps(told=_tell_full)


def _tell_full(full: Full) -> None:
    _log.info(
        "full garbage collection (%s): %.0f ms, %s objects found, memory grown by %s %%",
        *(full.why, full.took_ns / 1e6, full.found, full.percent),
    )


async def unless_ended(work: Coroutine[Any, Any, ResultT], end: asyncio.Event) -> ResultT | None:
    """What the work gives; None where the end came before."""
    task = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(end.wait())
    try:
        await asyncio.wait((task, ending), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        ending.cancel()
        await asyncio.gather(task, ending, return_exceptions=True)


def run(settings: Live, held: int | None) -> int:
    """Schedule until a signal ends it, or who holds the other end of the pipe; the exit code."""
    until_signal(lambda end: live(settings, end), held)
    return 0


def until_signal(run: Callable[[asyncio.Event], object], held: int | None = None) -> None:
    """Run a coroutine until SIGINT or SIGTERM ends it; on uvloop where that is installed.

    Args:
        run: makes the coroutine, which ends soon after the event is set.
        held: a pipe's descriptor: its end is an end, too, for the other process is gone.
    """

    async def main() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end.set)
        if held is not None:

            def gone() -> None:
                loop.remove_reader(held)
                end.set()

            loop.add_reader(held, gone)
        work = run(end)
        assert asyncio.iscoroutine(work), "it is one"
        await work

    # Threads of the package that reads kubeconfigs must not delay the loop for long.
    sys.setswitchinterval(_READ_SECONDS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
