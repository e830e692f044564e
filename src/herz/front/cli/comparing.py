"""The live side of `herz debug compare`: SIGUSR2 has caches compared with new lists."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from herz.errors import WorldError
from herz.front.atomic import write_whole
from herz.front.cli.debugging import COMPARED, PROCESS
from herz.world.kube.compare import Comparison, compared
from herz.world.kube.driver import Driver

_log = logging.getLogger("herz.kube")


@contextmanager
def comparable(driver: Driver, folder: Path) -> Iterator[None]:
    """On SIGUSR2, compare, log it, and leave the answer in the journal's folder."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def begin() -> None:
        if not tasks:
            task = loop.create_task(_compare(driver, folder))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGUSR2, begin)
    write_whole(folder / PROCESS, f"{os.getpid()}\n")
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGUSR2)
        (folder / PROCESS).unlink(missing_ok=True)
        for task in tasks:
            task.cancel()


async def _compare(driver: Driver, folder: Path) -> None:
    try:
        found = await compared(driver.informers)
    except WorldError as error:
        _log.warning("not compared: %s", error)
        answer: dict[str, Any] = {"error": str(error)}
    else:
        answer = {**asdict(found), "ready": driver.ready, "pending_writes": driver.writer.pending}
        _tell(found, answer)
    with suppress(OSError):
        write_whole(folder / COMPARED, json.dumps(answer))


def _tell(found: Comparison, answer: dict[str, Any]) -> None:
    counts = ", ".join(f"{count} {plural}" for plural, count in found.objects.items() if count)
    level = logging.WARNING if found.differences else logging.INFO
    _log.log(
        level,
        "compared: %s; %s differ; %s pods ready, %s writes under way",
        *(counts, len(found.differences), answer["ready"], answer["pending_writes"]),
    )
    for one in found.differences:
        held, known = one.held or "nothing", one.known or "nothing"
        _log.warning("%s %s: known as %s, the API holds %s", one.kind, one.name, known, held)
