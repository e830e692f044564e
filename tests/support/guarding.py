"""A guard and what it guards, as processes of their own: `python -m tests.support.guarding ROLE …`.

`guard KUBECONFIG FOLDER ROLE` guards a `worker FOLDER`, which writes `may` into its folder from
when it may write, and `ended` when it stops in order; or a `stuck FOLDER`, whose loop stands still.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from herz.errors import WorldError
from herz.world.kube import guard as guarding
from herz.world.kube.endpoints import METRICS_TYPE, Serving, start_inside
from herz.world.kube.guard import Guard, Plan, guarded_by_environment
from herz.world.kube.kubeconfig import Access
from herz.world.kube.lease import SECOND_NS, Durations, Elector, asking, here, identity
from herz.world.kube.transport import Transport

LEASE = ("kube-system", "herz")
SHORT = Durations(lease=5 * SECOND_NS, renew=4 * SECOND_NS, retry=SECOND_NS // 2)


async def guard(kubeconfig: Path, folder: Path, role: str) -> int:
    transport = Transport(Access(kubeconfig))
    elector = Elector(identity(), LEASE, asking(transport), here(), SHORT)
    command = [sys.executable, "-m", "tests.support.guarding", role, str(folder)]

    def listening(port: int) -> None:
        note(folder / "port", str(port))

    serving = Serving("127.0.0.1", 0, folder=folder)
    plan = Plan(command, serving, grace_seconds=10, listening=listening)
    try:
        return await Guard(elector, plan).run()
    except WorldError as error:
        note(folder / "error", str(error))
        return 3
    finally:
        await transport.closed()


async def work(folder: Path) -> None:
    guarded = guarded_by_environment()
    assert guarded is not None
    guarded.attach()
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)

    async def metrics() -> bytes:
        return b"worker_metric 1\n"

    inside = await start_inside(guarded.socket_path, {"/metrics": (metrics, METRICS_TYPE)})
    guarded.is_synced = True
    note(folder / "worker", str(os.getpid()))
    term = await guarded.leading()
    assert guarded.may_write()
    note(folder / "may", str(term))
    await end.wait()
    note(folder / "ended", "in order")
    await inside.cleanup()


def note(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    draft = path.with_suffix(".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def stand_still(folder: Path) -> None:
    note(folder / "worker", str(os.getpid()))
    # A loop that computes, as a step without an end would.
    while True:
        time.monotonic()


def main(role: str, *given: str) -> int:
    if role == "worker":
        asyncio.run(work(Path(given[0])))
        return 0
    if role == "stuck":
        stand_still(Path(given[0]))
    if given[2] == "stuck":
        guarding.STALL_NS = 2 * SECOND_NS  # type: ignore[misc]  # a minute is too long to wait for
    return asyncio.run(guard(Path(given[0]), Path(given[1]), given[2]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
