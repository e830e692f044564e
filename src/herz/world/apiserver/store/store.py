"""The store: stages writes, commits them in batches, then lets the world see them.

A write is staged at once and in order: whoever stages next sees it through `latest`, which makes
a read, a check and a write without an `await` between them one atomic step. Readers and watches
see only what is on the disk. While one batch is being written the next one gathers, so that a
crowd of writers shares each wait for the disk.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from herz.errors import WorldError
from herz.world.apiserver.refusal import too_large, too_old, unavailable
from herz.world.apiserver.store.database import Database, Row
from herz.world.apiserver.store.feed import BUFFER_MAX, Feed
from herz.world.apiserver.store.versions import HISTORY_MAX, Change, Key, Version, Versions

_ENCODER = msgspec.json.Encoder()
_Staged = tuple[Change, "asyncio.Future[Version]"]


class Store:
    """All objects of the cluster. Every method is for the thread of one event loop.

    Args:
        path: of the SQLite file.
        history_max: how many changes a watch can resume from.
        buffer_max: how many changes a reader may be behind.

    Raises:
        WorldError: the file cannot be opened or read.
    """

    def __init__(
        self, path: Path, *, history_max: int = HISTORY_MAX, buffer_max: int = BUFFER_MAX
    ) -> None:
        self._database = Database(path)
        self._versions = _loaded(self._database, history_max)
        self._buffer_max = buffer_max
        self._next = self._versions.revision + 1
        self._staged: dict[Key, Change] = {}
        self._batch: list[_Staged] = []
        self._feeds: dict[Feed, None] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="herz-store")
        self._flushing: asyncio.Task[None] | None = None
        self._dead: list[int] = []
        self._is_closed = False

    # ---- reading ----------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The last change that is on the disk."""
        return self._versions.revision

    @property
    def compacted(self) -> int:
        """The newest revision that is too old to resume from: only later ones are kept whole."""
        return self._versions.compacted

    def get(self, key: Key) -> Version | None:
        """The object as it is on the disk."""
        return self._versions.get(key)

    def items(self, resource: str, namespace: str = "", *, at: int | None = None) -> list[Version]:
        """The objects of a resource by namespace and name; `at` a revision, or now.

        Raises:
            RefusedError: 410 or 504: the revision is compacted, or not there yet.
        """
        if at is not None:
            self.check(at)
        return self._versions.items(resource, namespace, at=at)

    def resources(self) -> list[str]:
        """The resources that have, or had, objects."""
        return self._versions.resources()

    def latest(self, key: Key) -> Version | None:
        """The object with the writes that are still on their way to the disk."""
        change = self._staged.get(key)
        if change is None:
            return self._versions.get(key)
        return None if change.is_deletion else change.version

    def check(self, revision: int) -> None:
        """Refuse a revision whose state is not known (any more, or yet).

        Raises:
            RefusedError: 410 or 504.
        """
        if revision < self.compacted:
            raise too_old(revision, self.compacted)
        if revision > self.revision:
            raise too_large(revision, self.revision)

    def watch(self, resource: str, since: int) -> Feed:
        """The changes after a revision, those of the past first; `resource` empty for all.

        Raises:
            RefusedError: 410 or 504.
        """
        self.check(since)
        feed = Feed(resource, self.revision, buffer_max=self._buffer_max)
        for change in self._versions.since(since):
            if resource in ("", change.version.key.resource):
                feed.offer(change)
        self._feeds[feed] = None
        return feed

    def forget(self, feed: Feed) -> None:
        """End a watch."""
        feed.close()
        self._feeds.pop(feed, None)

    # ---- writing ----------------------------------------------------------------------------

    def put(self, key: Key, content: dict[str, Any]) -> asyncio.Future[Version]:
        """Stage the object in this form; it belongs to the store from now on.

        Returns:
            Done with the version as soon as it is on the disk; fails with a RefusedError (503)
            where it could not be written, and then the object is what it was.
        """
        return self._stage(key, content, is_deletion=False)

    def remove(self, key: Key, content: dict[str, Any]) -> asyncio.Future[Version]:
        """Stage the object's end; `content` is its last form, which watches show."""
        return self._stage(key, content, is_deletion=True)

    async def close(self) -> None:
        """Write what is staged, end all watches and let go of the file."""
        self._is_closed = True
        if self._flushing is not None:
            await self._flushing
        for feed in list(self._feeds):
            self.forget(feed)
        self._writer.shutdown()
        if self._dead:
            self._database.commit([], self._dead, {"compacted": self.compacted})
        self._database.close()

    def _stage(
        self, key: Key, content: dict[str, Any], *, is_deletion: bool
    ) -> asyncio.Future[Version]:
        if self._is_closed:
            raise unavailable("the server is ending")
        previous = self.latest(key)
        content["metadata"]["resourceVersion"] = str(self._next)
        version = Version(key, self._next, _ENCODER.encode(content), content)
        self._next += 1
        change = Change(version, previous, is_deletion)
        self._staged[key] = change
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Version] = loop.create_future()
        self._batch.append((change, done))
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        return done

    async def _flush(self) -> None:
        """Write batch after batch until nothing is staged."""
        loop = asyncio.get_running_loop()
        # Bound: ends with the first moment in which nobody has staged anything.
        while self._batch:
            batch, self._batch = self._batch, []
            rows = [_row(change) for change, _ in batch]
            settings = {"revision": rows[-1].revision, "compacted": self.compacted}
            try:
                await loop.run_in_executor(
                    self._writer, self._database.commit, rows, self._dead, settings
                )
            except WorldError as error:
                self._fail(batch, error)
                continue
            self._publish(batch)
            self._dead = self._versions.compact()
        self._flushing = None

    def _publish(self, batch: list[_Staged]) -> None:
        for change, done in batch:
            key = change.version.key
            self._versions.record(change)
            if self._staged.get(key) is change:
                del self._staged[key]
            for feed in self._feeds:
                if feed.resource in ("", key.resource):
                    feed.offer(change)
            if not done.cancelled():
                done.set_result(change.version)
        for feed in self._feeds:
            feed.advance(self.revision)

    def _fail(self, batch: list[_Staged], error: WorldError) -> None:
        """Give up the batch, and what was staged upon it meanwhile."""
        batch += self._batch
        self._batch = []
        self._staged.clear()
        for _, done in batch:
            if not done.cancelled():
                done.set_exception(unavailable(f"the store cannot write: {error}"))


def _row(change: Change) -> Row:
    version = change.version
    previous = None if change.previous is None else change.previous.revision
    is_deletion = int(change.is_deletion)
    return Row(version.revision, previous, *version.key, is_deletion, version.data)


def _loaded(database: Database, history_max: int) -> Versions:
    """The state and history of the file.

    Compaction runs a commit behind, so versions that are dead already may be found: those are
    not in the history, and are put where their successors replace them.
    """
    compacted = database.setting("compacted", 0)
    versions = Versions(history_max=history_max, revision=compacted)
    known: dict[int, Version] = {}
    for row in database.rows():
        key = Key(row.resource, row.namespace, row.name)
        version = Version(key, row.revision, row.data, msgspec.json.decode(row.data))
        known[row.revision] = version
        if row.revision <= compacted:
            if not row.is_deletion:
                versions.put_base(version)
            continue
        previous = None if row.previous is None else known.get(row.previous)
        versions.record(Change(version, previous, bool(row.is_deletion)))
    versions.revision = max(versions.revision, database.setting("revision", 0))
    return versions
