"""One kind of objects as the API has it: a list, then a watch from there on.

What goes out is each object as it is now, and each that is gone; also what a gap in the watch has
hidden, found by comparing a new list with what was known. While there may be a gap the view is
not fresh, and its owner binds nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final, Protocol

import msgspec

from herz.errors import ConfigError, WorldError
from herz.model.decode import decode, decode_pod
from herz.model.objects import KubernetesObject, Pod
from herz.world.kube.kinds import Watched
from herz.world.kube.limits import RETRY_AFTER_SECONDS_MAX, retry_after
from herz.world.kube.transport import NoAnswerError, Reply, Transport

PAGE: Final = 500
"""Objects of one page of a list."""
LIST_SECONDS: Final = 60.0
OPEN_SECONDS: Final = 10.0
WATCH_SECONDS: Final = (300, 600)
"""How long a watch lasts at the server: one of these, at random, so that not all end at once."""
BACKOFF_SECONDS: Final = (0.2, 5.0)
"""Between attempts: doubled, with jitter. One scheduler's few watches are no load for a server."""
TURN: Final = 8
"""Objects that are taken in before others have a turn on the loop: about a millisecond."""
HEALTHY_SECONDS: Final = 120.0
"""A watch that lasted for so long ends the back-off's growth."""

UNREADABLE: Final = (ValueError, RecursionError)
"""Reading foreign JSON raises: it is none, no UTF-8, has other types, is nested too deeply."""

_log = logging.getLogger("herz.kube")


class Sink(Protocol):
    """Who takes what an informer sees."""

    def applied(self, thing: KubernetesObject, unlisted: tuple[str, ...]) -> None:
        """The object exists in this form."""

    def deleted(self, thing: KubernetesObject) -> None:
        """The object is gone; its last known form."""

    def freshness_changed(self) -> None:
        """An informer's `is_fresh` is another now."""


class _ListMeta(msgspec.Struct, frozen=True):
    resourceVersion: str = ""  # noqa: N815
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMeta = _ListMeta()
    items: list[msgspec.Raw] | None = None


class _Change(msgspec.Struct, frozen=True):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class _Meta(msgspec.Struct, frozen=True):
    resourceVersion: str = ""  # noqa: N815


class _Place(msgspec.Struct, frozen=True):
    namespace: str = ""
    name: str = ""


class _Named(msgspec.Struct, frozen=True):
    """Of an object, no more than where it is."""

    metadata: _Place = _Place()


class _Mark(msgspec.Struct, frozen=True):
    """A bookmark's object, or a Status."""

    metadata: _Meta = _Meta()
    code: int = 0
    reason: str = ""
    message: str = ""


_PAGE: Final = msgspec.json.Decoder(_Page)
_CHANGE: Final = msgspec.json.Decoder(_Change)
_MARK: Final = msgspec.json.Decoder(_Mark)
_NAMED: Final = msgspec.json.Decoder(_Named)


class RefusedError(WorldError):
    """The API server answered a list or a watch with something else than the objects.

    Args:
        what: the request.
        status: HTTP's number, or the code of a Status in a watch.
        message: the server's words.
        wait_seconds: how long it wants to be left alone.
    """

    def __init__(self, what: str, status: int, message: str, wait_seconds: float = 0) -> None:
        self.status = status
        self.wait_seconds = wait_seconds
        super().__init__(f"{what}: {status} {message}".rstrip(), is_retryable=status >= 429)


class Informer:
    """The objects of one kind.

    Args:
        watched: the kind.
        transport: to the API server.
        sink: who is told.
        rng: of the jitter; no decision depends on it.
    """

    def __init__(
        self, watched: Watched, transport: Transport, sink: Sink, rng: random.Random | None = None
    ) -> None:
        self.watched = watched
        self._transport = transport
        self._sink = sink
        self._rng = rng or random.Random()
        # By namespace and name. Bound: what the cluster holds.
        self._objects: dict[str, KubernetesObject] = {}
        self._version = ""
        self._is_fresh = False
        self.is_synced = False
        """Whether the first list has been told."""
        self.lists = 0
        """How many lists were read to their end."""
        self.problem = ""
        """What it waits for, in words; empty while all is well."""

    @property
    def is_fresh(self) -> bool:
        """Whether there is no gap between what was told and what the API holds, but for latency."""
        return self._is_fresh

    @property
    def objects(self) -> dict[str, KubernetesObject]:
        """By namespace and name, each as it was last told; not to be changed."""
        return self._objects

    async def run(self) -> None:
        """List and watch until it is cancelled."""
        loop = asyncio.get_running_loop()
        backoff = BACKOFF_SECONDS[0]
        while True:  # Bound: the owner cancels it.
            began = loop.time()
            wait = 0.0
            try:
                if not self._version:
                    await self.relist()
                await self._watch()
                backoff = BACKOFF_SECONDS[0]
                continue
            except RefusedError as error:
                self._note(error)
                wait = error.wait_seconds
            except WorldError as error:
                self._note(error)
            if loop.time() - began > HEALTHY_SECONDS:
                backoff = BACKOFF_SECONDS[0]
            await asyncio.sleep(max(wait, backoff * self._rng.uniform(0.5, 1)))
            backoff = min(backoff * 2, BACKOFF_SECONDS[1])

    async def hand_over(self, sink: Sink) -> None:
        """Tell somebody else from now on, and all that is known already; `run` goes on meanwhile.

        Of pods it does not know what was unlisted: they are not handed over.
        """
        assert self.watched.kind is not Pod, "a new leader lists them"
        self._sink = sink
        for number, (key, thing) in enumerate(list(self._objects.items()), 1):
            # What has changed meanwhile was told, and so was what is gone.
            if self._objects.get(key) is thing:
                sink.applied(thing, ())
            if not number % TURN:
                await asyncio.sleep(0)
        sink.freshness_changed()

    async def relist(self) -> None:
        """Read everything, and tell what differs from what was known.

        Raises:
            RefusedError: the server answered something else.
            NoAnswerError: no answer came.
        """
        version, items = await self.listed()
        found: set[str] = set()
        for number, raw in enumerate(items, 1):
            thing = self._take(raw)
            # What cannot be read is there all the same: its last known form stays.
            found.add(_key(raw) if thing is None else thing.metadata.key)
            if not number % TURN:
                await asyncio.sleep(0)
        gone = [key for key in self._objects if key not in found]
        for number, key in enumerate(gone, 1):
            self._sink.deleted(self._objects.pop(key))
            if not number % TURN:
                await asyncio.sleep(0)
        self.lists += 1
        self._version = version
        self.is_synced = True
        self._set_fresh(is_fresh=True)

    async def listed(self) -> tuple[str, list[msgspec.Raw]]:
        """What the API holds now: the version, and the objects.

        The version is left out of the request: it is a read of what is agreed on, not of a cache.

        Raises:
            RefusedError: the server answered something else.
            NoAnswerError: no answer came.
        """
        items: list[msgspec.Raw] = []
        query = {**self.watched.selector, "limit": str(PAGE)}
        while True:  # Bound: the pages of what is there.
            reply = await self._transport.request(
                "GET", self.watched.path, query=query, timeout_seconds=LIST_SECONDS
            )
            if reply.status == 410 and "continue" in query:
                # The pages have run out of time: all at once.
                items, query = [], dict(self.watched.selector)
                continue
            self._check(reply.status, reply)
            try:
                page = _PAGE.decode(reply.body)
            except UNREADABLE as error:
                raise RefusedError(self._what, reply.status, f"no list: {error}") from error
            items += page.items or ()
            if not page.metadata.continue_:
                return page.metadata.resourceVersion, items
            query["continue"] = page.metadata.continue_

    # ---- the watch --------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Follow the changes until the watch ends.

        Raises:
            RefusedError: the server answered something else.
            NoAnswerError: it cannot be opened.
        """
        loop = asyncio.get_running_loop()
        opened = loop.time()
        query = {
            **self.watched.selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(self._rng.randint(*WATCH_SECONDS)),
        }
        try:
            async with self._transport.stream(
                self.watched.path, query=query, timeout_seconds=OPEN_SECONDS
            ) as stream:
                if stream.status != 200:
                    body = await stream.read(OPEN_SECONDS)
                    self._check(stream.status, Reply(stream.status, stream.headers, body))
                self.problem = ""
                is_busy = False
                try:
                    async for lines in stream.batches(self.watched.silence_seconds):
                        for number, line in enumerate(lines, 1):
                            is_busy = self._see(line) or is_busy
                            if not number % TURN:
                                await asyncio.sleep(0)
                except NoAnswerError as error:
                    # A change is told whole or not at all: the watch goes on where it stood.
                    _log.debug("%s", error)
                if is_busy or loop.time() - opened > 1:
                    return
                # A watch that ends at once, without a word, is a sign that something is wrong.
                raise RefusedError(self._what, 500, "the watch ended at once")
        except RefusedError as error:
            if error.status != 429:
                self._version = ""
            self._set_fresh(is_fresh=False)
            raise
        except WorldError:
            # The watch cannot be resumed now: what happens meanwhile is found by a list.
            self._version = ""
            self._set_fresh(is_fresh=False)
            raise

    def _see(self, line: bytes) -> bool:
        """Tell one line of the watch; whether it said anything.

        Raises:
            RefusedError: it is an error of the server's.
        """
        if not line.strip():
            return False
        try:
            change = _CHANGE.decode(line)
            if change.type in ("BOOKMARK", "ERROR"):
                mark = _MARK.decode(change.object)
        except UNREADABLE as error:
            # Whatever the line was, it is lost: only a list can tell.
            raise RefusedError(self._what, 500, f"no change: {error}") from error
        if change.type == "ERROR":
            code = 410 if mark.reason in ("Expired", "Gone") else mark.code
            raise RefusedError(self._what, code, mark.message or mark.reason)
        if change.type == "BOOKMARK":
            self._version = mark.metadata.resourceVersion or self._version
            return True
        if change.type == "DELETED":
            thing = self._decoded(change.object)
            if thing is not None:
                self._objects.pop(thing[0].metadata.key, None)
                self._sink.deleted(thing[0])
                self._version = thing[0].metadata.resource_version or self._version
            return True
        taken = self._take(change.object)
        if taken is not None:
            self._version = taken.metadata.resource_version or self._version
        return True

    def _take(self, raw: msgspec.Raw) -> KubernetesObject | None:
        """Tell an object that is there, if it was not told in this form; None: it is unreadable."""
        read = self._decoded(raw)
        if read is None:
            return None
        thing, unlisted = read
        meta = thing.metadata
        known = self._objects.get(meta.key)
        if known is not None and known.metadata.uid != meta.uid:
            # Deleted and made anew, and the watch, or a gap, has merged the two.
            self._sink.deleted(known)
        elif known is not None and known.metadata.resource_version == meta.resource_version:
            return thing
        self._objects[meta.key] = thing
        self._sink.applied(thing, unlisted)
        return thing

    def _decoded(self, raw: msgspec.Raw) -> tuple[KubernetesObject, tuple[str, ...]] | None:
        try:
            if self.watched.kind is Pod:
                return decode_pod(raw)
            return decode(self.watched.kind, raw), ()
        except ConfigError as error:
            # The API server checks types: this is another version's object, or a proxy's words.
            self.problem = f"an object of {self._what} cannot be read: {error}"
            _log.error("%s", self.problem)
            return None

    # ---- what goes wrong --------------------------------------------------------------------

    @property
    def _what(self) -> str:
        return self.watched.path

    def _check(self, status: int, reply: Reply) -> None:
        if status == 200:
            return
        wait = min(retry_after(reply), RETRY_AFTER_SECONDS_MAX) if status in (429, 503) else 0.0
        raise RefusedError(self._what, status, said(reply), wait)

    def _note(self, error: WorldError) -> None:
        text = f"waiting for {self.watched.plural}: {error}"
        level = logging.DEBUG if text == self.problem else logging.WARNING
        self.problem = text
        _log.log(level, "%s", text)

    def _set_fresh(self, *, is_fresh: bool) -> None:
        if is_fresh is not self._is_fresh:
            self._is_fresh = is_fresh
            self._sink.freshness_changed()


def _key(raw: msgspec.Raw) -> str:
    """As `ObjectMeta.key`; empty where not even that can be read."""
    try:
        place = _NAMED.decode(raw).metadata
    except UNREADABLE:
        return ""
    return f"{place.namespace}/{place.name}" if place.namespace else place.name


def said(reply: Reply) -> str:
    """The message of a Status; of anything else, the beginning."""
    try:
        mark = _MARK.decode(reply.body)
    except UNREADABLE:
        return reply.body[:200].decode(errors="replace")
    return mark.message or mark.reason
