"""The process of `herz up`: a cluster, with a scheduler unless told otherwise, until a signal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from herz import journaling
from herz.errors import WorldError
from herz.front.cli.demo import Demo, Row
from herz.front.cli.options import Output
from herz.front.cli.printing import print_answer
from herz.front.cli.scheduling import Scheduler, start_scheduler
from herz.world.apiserver.embedded import Embedded, Settings, start_embedded
from herz.world.kube.kubeconfig import Access
from herz.world.kube.transport import Transport

JOURNAL: Final = "journal"


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, beside the cluster.

    Args:
        settings: the cluster.
        policy: the scheduler's; empty: there is no scheduler.
        has_demo: whether the demo is shown.
        is_once: whether all ends with it.
        output: the answer's form.
    """

    settings: Settings
    policy: str
    has_demo: bool
    is_once: bool
    output: Output

    @property
    def journal(self) -> Path:
        """The scheduler's."""
        return self.settings.folder / JOURNAL


def serve(serving: Serving) -> None:
    """Start the cluster, say where it is, and run it until SIGINT or SIGTERM.

    Raises:
        ConfigError: the address is not this machine's own.
        WorldError: the folder or the address cannot be used; or the scheduler ended.
    """
    asyncio.run(_serve(serving))


@contextmanager
def folder_of(named: Path | None) -> Iterator[Path]:
    """The data folder; without a name, one that is gone afterwards."""
    if named is not None:
        yield named
        return
    folder = tempfile.mkdtemp(prefix="herz-demo-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(serving: Serving) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    cluster = await start_embedded(serving.settings)
    scheduler: Scheduler | None = None
    try:
        if serving.policy:
            scheduler = await start_scheduler(cluster.kubeconfig, serving.journal, serving.policy)
        if not serving.is_once:
            _tell(cluster, serving, scheduler)
        if serving.has_demo:
            await _show(cluster, serving)
        if not serving.is_once:
            await _rest(end, scheduler)
    finally:
        if scheduler is not None:
            await scheduler.stop()
        await cluster.stop()
    if serving.is_once:
        _prove(serving)


async def _rest(end: asyncio.Event, scheduler: Scheduler | None) -> None:
    """Until the end.

    Raises:
        WorldError: the scheduler ended before.
    """
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(end.wait())]
    if scheduler is not None:
        waits.append(asyncio.ensure_future(scheduler.ended()))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    if not end.is_set() and scheduler is not None:
        raise WorldError(f"the scheduler ended: exit code {await scheduler.ended()}")


async def _show(cluster: Embedded, serving: Serving) -> None:
    """The demo, and a table of what became of it."""
    api = Transport(Access(cluster.kubeconfig))
    try:
        demo = Demo(api, _say)
        rows = await demo.run()
    finally:
        await api.closed()
    _tell_rows(rows, serving)


def _say(text: str) -> None:
    sys.stderr.write(f"demo: {text}\n")
    sys.stderr.flush()


def _tell_rows(rows: list[Row], serving: Serving) -> None:
    print_answer(
        {
            "pods": [
                {"pod": row.pod, "node": row.node, "decision": row.decision, "why": row.why}
                for row in rows
            ]
        },
        serving.output,
        title="the demo's pods",
        columns=("pod", "node", "decision", "why"),
        rows=[(row.pod, row.node, row.decision, row.why) for row in rows],
        after=[] if serving.is_once else [f"journal: {serving.journal}", "Ctrl-C stops it."],
    )


def _prove(serving: Serving) -> None:
    """Decide everything in the journal again: the answer that the demo is about.

    Raises:
        WorldError: a decision is another.
    """
    found = journaling.replayed(serving.journal)
    if found.first is not None:
        raise WorldError(f"decided anew, entry {found.first.entry} is another")
    text = f"{found.records} decisions were recomputed from the journal: all the same"
    sys.stderr.write(f"demo: {text}\n")


def _tell(cluster: Embedded, serving: Serving, scheduler: Scheduler | None) -> None:
    settings = cluster.settings
    shape = settings.nodes
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    answer: dict[str, object] = {
        "kubeconfig": str(cluster.kubeconfig),
        "server": f"https://{host}:{cluster.port}",
        "data": str(settings.folder),
        "nodes": 0 if shape is None else shape.count,
        "process": os.getpid(),
    }
    if scheduler is not None:
        answer |= {name: scheduler.said[name] for name in ("scheduler names", "policy", "journal")}
        answer["scheduler process"] = scheduler.said["process"]
    hint = "kubectl create deployment web --image=x --replicas=5"
    if scheduler is None:
        hint = "No scheduler runs: pods stay pending until somebody binds them."
    print_answer(
        answer,
        serving.output,
        title="herz up",
        columns=("what", "value"),
        rows=[(name, str(value)) for name, value in answer.items()],
        after=[
            f"export KUBECONFIG={cluster.kubeconfig}",
            hint,
            "Ctrl-C stops it; everything is kept for the next start.",
        ],
    )
