"""Watch streams: one JSON object a line, from a revision on, until time, client or server end it.

Every event that the selection lets through is sent; one that leaves the selection is sent as a
deletion. A revision that is compacted is an ERROR event with a 410, as Kubernetes' watch cache
sends it; a reader that is too slow is cut off, and finds out when it resumes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from herz.world.apiserver.http.forms import Form, Shape, bookmark, one, version
from herz.world.apiserver.http.parameters import ListOptions
from herz.world.apiserver.http.paths import Target
from herz.world.apiserver.objects.selection import Selection
from herz.world.apiserver.refusal import RefusedError, too_large
from herz.world.apiserver.store import Change, Feed, Store, Version

BOOKMARK_S = 10.0
"""Seconds between bookmarks, which say how far the watch is even if it shows nothing."""
TIMEOUT_S = (1800, 3600)
"""How long a watch lasts that names no time: in between, so that not all end at once."""
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True, slots=True)
class Watch:
    """What a client watches, and how it wants to see it."""

    target: Target
    selection: Selection
    options: ListOptions
    shape: Shape


class Stream:
    """The lines of one watch.

    Args:
        store: where it happens.
        watch: what is watched.
        bookmark_s: see BOOKMARK_S.
    """

    def __init__(self, store: Store, watch: Watch, *, bookmark_s: float = BOOKMARK_S) -> None:
        self._store = store
        self._watch = watch
        self._bookmark_s = bookmark_s
        self._is_first_row = True

    def check(self) -> None:
        """Refuse before the stream begins what a stream cannot say.

        Raises:
            RefusedError: 504: the revision is to come.
        """
        asked = self._watch.options.revision
        if asked is not None and asked > self._store.revision:
            raise too_large(asked, self._store.revision)

    async def lines(self) -> AsyncIterator[bytes]:
        """Chunks of whole lines."""
        asked = self._watch.options.revision or 0
        has_initial = self._watch.options.sends_initial
        begins = has_initial if has_initial is not None else asked == 0
        try:
            since = self._store.revision if begins else asked
            initial = self._initial() if begins else b""
            feed = self._store.watch(self._watch.target.kind.stored, since)
        except RefusedError as error:
            yield _line("ERROR", msgspec.json.encode(error.status))
            return
        try:
            if initial:
                yield initial
            if begins and has_initial and self._watch.options.has_bookmarks:
                yield self._bookmark(since, _INITIAL_END)
            async for chunk in self._follow(feed, since):
                yield chunk
        finally:
            self._store.forget(feed)

    def _initial(self) -> bytes:
        """What is there, as if it had just been added."""
        target, selection = self._watch.target, self._watch.selection
        found = self._store.items(target.kind.stored, target.namespace)
        return b"".join(
            _line("ADDED", self._shown(item)) for item in found if selection.matches(item.content)
        )

    async def _follow(self, feed: Feed, sent: int) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        timeout_s = self._watch.options.timeout_s
        if timeout_s is None:
            timeout_s = random.randint(*TIMEOUT_S)
        end = loop.time() + timeout_s
        next_mark = loop.time() + self._bookmark_s
        # Bound: the stream's time.
        while True:
            time = loop.time()
            if time >= end:
                return
            changes = await feed.take(min(end, max(next_mark, time)) - time)
            if changes is None:
                return
            # Read before the next wait: everything up to it has just been taken.
            revision = feed.revision
            chunk = b"".join(map(self._event, changes))
            if chunk:
                yield chunk
            if loop.time() >= next_mark:
                next_mark = loop.time() + self._bookmark_s
                if self._watch.options.has_bookmarks and revision > sent:
                    yield self._bookmark(revision, {})
                    sent = revision

    def _event(self, change: Change) -> bytes:
        """The change as the selection sees it; nothing where it sees none."""
        target = self._watch.target
        if target.namespace and change.version.key.namespace != target.namespace:
            return b""
        before = change.previous
        was_in = before is not None and self._watch.selection.matches(before.content)
        is_in = not change.is_deletion and self._watch.selection.matches(change.version.content)
        if is_in:
            return _line("MODIFIED" if was_in else "ADDED", self._shown(change.version))
        if not was_in or before is None:
            return b""
        if change.is_deletion:
            return _line("DELETED", self._shown(change.version))
        # It has left the selection: its last form inside, under the revision at which it left.
        last: dict[str, Any] = before.copy()
        last["metadata"]["resourceVersion"] = str(change.revision)
        return _line("DELETED", one(target.kind, self._watch.shape, last, has_columns=False))

    def _shown(self, found: Version) -> bytes:
        kind, shape = self._watch.target.kind, self._watch.shape
        if shape.form is not Form.TABLE:
            return version(kind, shape, found)
        shown = one(kind, shape, found.content, has_columns=self._is_first_row)
        self._is_first_row = False
        return shown

    def _bookmark(self, revision: int, annotations: dict[str, str]) -> bytes:
        kind, shape = self._watch.target.kind, self._watch.shape
        return _line("BOOKMARK", bookmark(kind, shape, revision, annotations))


def _line(event: str, encoded: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (event.encode(), encoded)
