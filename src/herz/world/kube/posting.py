"""Events about pods, and classes, as kube-scheduler writes them: what repeats is a series.

Events are for people, and may be lost: what waits is bounded, and what does not fit is counted.
What was decided, and why, is in the journal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from herz.errors import WorldError
from herz.model.effects import EmitEvent
from herz.world.kube.informer import said
from herz.world.kube.limits import Calls
from herz.world.kube.transport import NoAnswerError

QUEUE_MAX: Final = 10_000
WORKERS: Final = 8
SERIES_MAX: Final = 4_096
"""Events that are remembered, so that a repetition is told as one."""
SERIES_SECONDS: Final = 360.0
"""After so long without a repetition a series has ended: what comes then is a new event."""
REFRESH_SECONDS: Final = 1_800.0
"""How often a series that goes on is written."""
POST_SECONDS: Final = 10.0
TRIES_MAX: Final = 5
NOTE_BYTES_MAX: Final = 1_024
NAME_BYTES_MAX: Final = 128
_POD: Final = ("v1", "Pod")
"""The only objects of a namespace that events are written about."""
_PATH: Final = "/apis/events.k8s.io/v1/namespaces/{}/events"
_ENCODER: Final = msgspec.json.Encoder()

_log = logging.getLogger("herz.kube")


@dataclass(slots=True)
class _Series:
    """An event that may repeat."""

    name: str
    count: int
    seen: float
    written: float


class Posting:
    """Writes events.

    Args:
        calls: requests within limits.
        controller: `reportingController`: the scheduler's name.
        instance: `reportingInstance`; None: the controller's name with the host's.
    """

    def __init__(self, calls: Calls, controller: str, instance: str | None = None) -> None:
        self._calls = calls
        self._controller = controller
        self._instance = (instance or f"{controller}-{socket.gethostname()}")[:NAME_BYTES_MAX]
        # Bound: `QUEUE_MAX`.
        self._waiting: deque[EmitEvent] = deque()
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self._origin = f"{os.getpid():x}{os.urandom(5).hex()}"
        self.posted = 0
        self.dropped = 0
        """Events that were lost: too many waited, or the server refused them."""
        self.idle = asyncio.Event()
        """Set while nothing waits."""
        self.idle.set()

    def post(self, effect: EmitEvent) -> None:
        """Write the event, as soon as others before it are."""
        if len(self._waiting) >= QUEUE_MAX:
            self.dropped += 1
            return
        self._waiting.append(effect)
        self.idle.clear()
        self._begin()

    def cancel(self) -> None:
        """Write nothing more."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def _begin(self) -> None:
        if len(self._tasks) < WORKERS:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._waiting:
            # Posted after the task had looked for the last time, and before it was known to end.
            self._begin()
        elif not self._tasks:
            self.idle.set()

    async def _work(self) -> None:
        while self._waiting:
            effect = self._waiting.popleft()
            try:
                await self._write(effect)
            except WorldError as error:
                self.dropped += 1
                _log.info("event %s: %s", effect.reason, error)

    async def _write(self, effect: EmitEvent) -> None:
        now = asyncio.get_running_loop().time()
        what = (effect.type, effect.reason, effect.action, effect.note)
        key = (*effect.about, effect.name, effect.uid, *what)
        known = self._series.pop(key, None)
        if known is not None and now - known.seen < SERIES_SECONDS:
            self._series[key] = known
            await self._repeat(effect, known, now)
            return
        self._number += 1
        name = f"{effect.name[:200]}.{self._origin}{self._number:x}"
        self._series[key] = _Series(name, 1, now, now)
        while len(self._series) > SERIES_MAX:
            self._series.popitem(last=False)
        body = _ENCODER.encode(self._content(effect, name))
        for left in range(TRIES_MAX - 1, -1, -1):
            try:
                reply = await self._calls.request(
                    "POST", _PATH.format(effect.namespace), body=body, timeout_seconds=POST_SECONDS
                )
                if reply.status < 500:
                    break
            except NoAnswerError as error:
                if not left or not error.is_retryable:
                    raise
            await asyncio.sleep(1)
        # 409: a try whose answer was lost had landed.
        if reply.is_success or reply.status == 409:
            self.posted += 1
        else:
            self.dropped += 1
            _log.info("event %s: %s %s", effect.reason, reply.status, said(reply))

    async def _repeat(self, effect: EmitEvent, series: _Series, now: float) -> None:
        """Tell that it happened again: at once for the first time, later now and then."""
        series.count += 1
        series.seen = now
        if series.count > 2 and now - series.written < REFRESH_SECONDS:
            return
        series.written = now
        content = {"series": {"count": series.count, "lastObservedTime": _micro_time()}}
        reply = await self._calls.request(
            "PATCH",
            f"{_PATH.format(effect.namespace)}/{series.name}",
            body=_ENCODER.encode(content),
            content_type="application/merge-patch+json",
            timeout_seconds=POST_SECONDS,
        )
        if reply.status == 404:
            # It has expired at the server: the next one is new.
            series.seen = float("-inf")
        elif not reply.is_success:
            self.dropped += 1

    def _content(self, effect: EmitEvent, name: str) -> dict[str, Any]:
        version, kind = effect.about
        about = {"apiVersion": version, "kind": kind, "name": effect.name}
        if effect.about == _POD:
            about["namespace"] = effect.namespace
        if effect.uid:
            about["uid"] = effect.uid
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": effect.namespace},
            "eventTime": _micro_time(),
            "reportingController": self._controller[:NAME_BYTES_MAX],
            "reportingInstance": self._instance,
            "action": effect.action[:NAME_BYTES_MAX],
            "reason": effect.reason[:NAME_BYTES_MAX],
            "regarding": about,
            "note": _cut(effect.note),
            "type": effect.type,
        }


def _cut(note: str) -> str:
    """The note within the API's limit, whatever made it."""
    data = note.encode()
    if len(data) <= NOTE_BYTES_MAX:
        return note
    return data[: NOTE_BYTES_MAX - 3].decode(errors="ignore") + "..."


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
