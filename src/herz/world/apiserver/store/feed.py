"""One watch: the changes of a resource from a revision on, in a bounded buffer."""

from __future__ import annotations

import asyncio
from collections import deque

from herz.world.apiserver.store.versions import Change

BUFFER_MAX = 10_000
"""Bound: changes that a slow reader may be behind. It is then cut off, and resumes or relists."""


class Feed:
    """Changes on their way to one reader.

    Args:
        resource: of which; empty for all.
        revision: the reader has everything up to it.
        buffer_max: how far the reader may fall behind.
    """

    def __init__(self, resource: str, revision: int, *, buffer_max: int = BUFFER_MAX) -> None:
        self.resource = resource
        self.revision = revision
        self._buffer_max = buffer_max
        self._waiting: deque[Change] = deque()
        self._bell = asyncio.Event()
        self.is_closed = False
        self.is_overrun = False

    def offer(self, change: Change) -> None:
        """Hand over a change; a full buffer closes the feed."""
        if self.is_closed:
            return
        if len(self._waiting) >= self._buffer_max:
            self.is_overrun = True
            self.close()
            return
        self._waiting.append(change)
        self._bell.set()

    def advance(self, revision: int) -> None:
        """Everything up to the revision has been offered: a bookmark may say so."""
        self.revision = max(self.revision, revision)

    def close(self) -> None:
        """Offer nothing more; the reader still gets what is waiting, then an end."""
        self.is_closed = True
        self._bell.set()

    async def take(self, timeout_s: float) -> list[Change] | None:
        """What has been offered since the last call.

        Returns:
            An empty list where nothing came in time; None where nothing will come any more.
        """
        if not self._waiting and not self.is_closed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._bell.wait()
            except TimeoutError:
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        if not self.is_closed:
            self._bell.clear()
        return None if not taken and self.is_closed else taken
