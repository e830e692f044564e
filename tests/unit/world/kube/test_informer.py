"""Lists and watches: behaviours 7 to 13 of Kubernetes' API, and 40, from the client's side."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from herz.model.objects import Node, Pod
from herz.world.kube import informer as module
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import WATCHED, Watched
from herz.world.kube.transport import NoAnswerError, Reply
from tests.support.fake_api import FakeApi, Feed, Request, Seen, lost, meta, reply, status

NODES = Watched(Node, "v1", "nodes")
PODS = next(one for one in WATCHED if one.kind is Pod)
Content = dict[str, Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.001, 0.002))


def listed(*names: str, version: str = "10", token: str = "") -> Reply:
    items = [{"metadata": meta(name)} for name in names]
    return reply(200, {"metadata": {"resourceVersion": version, "continue": token}, "items": items})


class Story:
    """An informer with a scripted server."""

    def __init__(self, answers: list[Reply | NoAnswerError], watched: Watched = NODES) -> None:
        self.answers = answers
        self.api = FakeApi(self._answer)
        self.seen = Seen()
        self.informer = Informer(watched, self.api, self.seen, random.Random(1))
        self.seen.is_fresh = lambda: self.informer.is_fresh

    def _answer(self, asked: Request) -> Reply | NoAnswerError | None:
        return self.answers.pop(0) if self.answers else None

    def feed(self) -> Feed:
        feed = Feed()
        self.api.feeds.put_nowait(feed)
        return feed

    def watches(self) -> list[str]:
        """The versions that watches began with."""
        return [one.query["resourceVersion"] for one in self.api.of("WATCH")]

    async def told(self, *expected: tuple[str, str]) -> None:
        await self.seen.until(lambda: len(self.seen.told) >= len(expected))
        assert [(verb, name) for verb, name, _ in self.seen.told] == list(expected)
        self.seen.told.clear()


def play(
    work: Callable[[Story], Awaitable[None]],
    *answers: Reply | NoAnswerError,
    watched: Watched = NODES,
) -> None:
    async def main() -> None:
        story = Story(list(answers), watched)
        running = asyncio.ensure_future(story.informer.run())
        try:
            await asyncio.wait_for(work(story), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()

    asyncio.run(main())


def test_07_the_watch_goes_on_from_the_list_and_bookmarks_move_it() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"), ("applied", "b"))
        feed.give("ADDED", {"metadata": meta("c", version="opaque-11")})
        feed.give("BOOKMARK", {"kind": "Node", "metadata": {"resourceVersion": "x12"}})
        feed.give("DELETED", {"metadata": meta("a", version="x13")})
        await story.told(("applied", "c"), ("deleted", "a"))
        feed.give("BOOKMARK", {"kind": "Node", "metadata": {"resourceVersion": "x14"}})
        # A close is normal: the watch goes on, and nothing is listed.
        feed.end()
        story.feed()
        await story.api.until(lambda: len(story.watches()) == 2)
        assert story.watches() == ["10", "x14"]
        query = story.api.of("WATCH")[0].query
        assert query["allowWatchBookmarks"] == "true"
        assert 300 <= int(query["timeoutSeconds"]) <= 600
        assert len(story.api.of("GET")) == 1
        assert "resourceVersion" not in story.api.of("GET")[0].query
        assert story.informer.is_fresh

    play(work, listed("a", "b"))


def test_08_a_410_as_a_status_leads_to_a_list_whose_difference_is_told() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"), ("applied", "b"))
        await story.api.until(story.watches)
        gone = Feed(status=410, body=reply(410, status(410, "Expired", "too old")).body)
        story.api.feeds.put_nowait(gone)
        feed.give("BOOKMARK", {"metadata": {"resourceVersion": "11"}})
        feed.end()
        # `b` came and went while nobody looked, `c` is new; `a` did not change.
        await story.told(("applied", "c"), ("deleted", "b"))
        story.feed()
        await story.api.until(lambda: len(story.watches()) == 3)
        assert story.watches() == ["10", "11", "20"]
        assert story.seen.fresh == [True, False, True]
        assert story.informer.lists == 2

    play(work, listed("a", "b"), listed("a", "c", version="20"))


def test_08_a_410_inside_a_stream_does_the_same() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        feed.give("ERROR", status(410, "Expired", "too old resource version"))
        await story.told(("deleted", "a"))
        assert story.seen.fresh == [True, False, True]

    play(work, listed("a"), listed(version="20"))


def test_08_a_version_that_the_server_does_not_know_yet_is_no_gap_for_ever() -> None:
    async def work(story: Story) -> None:
        large = status(504, "Timeout", "Too large resource version: 99, current: 10")
        story.api.feeds.put_nowait(Feed(status=504, body=reply(504, large).body))
        story.feed()
        await story.api.until(lambda: len(story.watches()) == 2)
        assert story.watches() == ["99", "100"]

    play(work, listed("a", version="99"), listed("a", version="100"))


def test_09_a_dropped_watch_is_resumed_and_one_that_cannot_be_is_a_gap() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        feed.give("MODIFIED", {"metadata": meta("a", version="11")})
        await story.told(("applied", "a"))
        second = story.feed()
        feed.end(lost())
        await story.api.until(lambda: len(story.watches()) == 2)
        assert story.watches() == ["10", "11"]
        assert story.seen.fresh == [True]
        # It cannot be opened again: until a list is there, the view is not fresh.
        story.api.feeds.put_nowait(lost(is_sent=False))
        second.give("BOOKMARK", {"metadata": {"resourceVersion": "12"}})
        second.end(lost())
        await story.told(("applied", "b"), ("deleted", "a"))
        assert story.seen.fresh == [True, False, True]

    play(work, listed("a"), listed("b", version="20"))


def test_09_a_watch_that_ends_at_once_without_a_word_is_a_gap() -> None:
    async def work(story: Story) -> None:
        story.feed().end()
        await story.seen.until(lambda: story.seen.fresh == [True, False, True])

    play(work, listed("a"), listed("a"))


def test_09_attempts_are_further_and_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(module, "BACKOFF_SECONDS", (0.2, 5.0))

    async def work(story: Story) -> None:
        monkeypatch.setattr(asyncio, "sleep", noted)
        story.feed()
        await story.told(("applied", "a"))
        monkeypatch.setattr(asyncio, "sleep", sleep)

    play(work, *(lost() for _ in range(8)), listed("a"))
    assert len(waits) == 8
    assert all(0.1 <= waits[0] <= 0.2 for _ in waits[:1])
    assert waits[-1] >= 2.5
    assert max(waits) <= 5
    assert len(set(waits)) == 8, "they have jitter"


def test_10_lists_come_in_pages_and_start_over_when_the_pages_ran_out() -> None:
    async def work(story: Story) -> None:
        story.feed()
        await story.told(("applied", "a"), ("applied", "b"))
        asked = [one.query for one in story.api.of("GET")]
        assert asked == [
            {"limit": "500"},
            {"limit": "500", "continue": "more"},
            {},
        ]

    gone = reply(410, status(410, "Expired"))
    play(work, listed("a", token="more"), gone, listed("a", "b"))


def test_12_it_is_synced_only_after_its_first_list_was_told() -> None:
    async def work(story: Story) -> None:
        assert not story.informer.is_synced
        story.feed()
        await story.told(("applied", "a"))
        await story.seen.until(lambda: story.informer.is_synced)

    play(work, reply(500, status(500)), listed("a"))


def test_13_a_name_with_another_uid_is_a_deletion_and_an_addition() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        feed.give("MODIFIED", {"metadata": meta("a", uid="other", version="12")})
        await story.seen.until(lambda: len(story.seen.told) == 2)
        assert story.seen.told == [("deleted", "a", "uid-a"), ("applied", "a", "other")]

    play(work, listed("a"))


def test_19_pods_that_ended_are_not_asked_for() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        # One that ends leaves the selection, and the watch tells so.
        feed.give("DELETED", {"metadata": meta("a"), "status": {"phase": "Succeeded"}})
        await story.told(("deleted", "a"))
        for asked in story.api.asked:
            assert asked.query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"

    play(work, listed("a"), watched=PODS)


def test_40_a_throttled_list_waits_as_long_as_the_server_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async def work(story: Story) -> None:
        monkeypatch.setattr(asyncio, "sleep", noted)
        story.feed()
        await story.told(("applied", "a"))
        monkeypatch.setattr(asyncio, "sleep", sleep)
        assert 7 in waits

    play(work, reply(429, status(429), retry_after="7"), listed("a"))


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"type":"ADDED"',
        b"[]",
        b'{"type":"ERROR","object":[]}',
        b"\xff",
        b'{"type":"\xff"}',
        b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_a_line_that_is_no_change_is_a_gap(line: bytes) -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        feed.lines_given.put_nowait(line)
        await story.seen.until(lambda: story.seen.fresh == [True, False, True])

    play(work, listed("a"), listed("a"))


def test_an_object_that_cannot_be_read_is_said_and_the_others_are_told() -> None:
    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"))
        feed.give("ADDED", {"metadata": {"name": ["no text"]}})
        feed.give("ADDED", {"metadata": meta("b")})
        await story.told(("applied", "b"))
        assert "cannot be read" in story.informer.problem

    play(work, listed("a"))


def test_an_object_that_cannot_be_read_any_more_is_not_taken_for_gone() -> None:
    """A list that holds it in an unreadable form says that it is there: its node stays taken."""
    broken = {"metadata": {**meta("b"), "labels": ["no map"]}}
    relisted = reply(200, {"metadata": {"resourceVersion": "20"}, "items": [broken]})

    async def work(story: Story) -> None:
        feed = story.feed()
        await story.told(("applied", "a"), ("applied", "b"))
        feed.give("ERROR", status(410, "Expired", "too old"))
        await story.told(("deleted", "a"))
        story.feed()
        await story.api.until(lambda: story.informer.lists == 2)
        assert list(story.informer.objects) == ["default/b"]

    play(work, listed("a", "b"), relisted)


def test_what_is_waited_for_is_said() -> None:
    async def work(story: Story) -> None:
        await story.api.until(lambda: len(story.api.asked) > 2)
        assert story.informer.problem == "waiting for nodes: /api/v1/nodes: 403 no"
        assert not story.informer.is_synced

    play(work, *(reply(403, status(403, "Forbidden", "no")) for _ in range(10_000)))


class Batch(Feed):
    """A watch that gives all lines at once."""

    async def batches(self, silence_seconds: float) -> AsyncIterator[list[bytes]]:
        lines = []
        while not self.lines_given.empty():
            line = self.lines_given.get_nowait()
            assert isinstance(line, bytes)
            lines.append(line)
        yield lines
        await asyncio.Event().wait()


def test_many_objects_leave_turns_to_others() -> None:
    """However much a list or a watch shows at once, nobody waits for more than `TURN` of it."""
    count = 10 * module.TURN
    names = [f"n{number:03}" for number in range(count)]

    async def work(story: Story) -> None:
        told = story.seen.told
        shown: list[int] = []

        async def look() -> None:
            while True:
                shown.append(len(told))
                await asyncio.sleep(0)

        looking = asyncio.ensure_future(look())
        await story.seen.until(lambda: story.informer.is_fresh)
        assert len(told) == count
        batch = Batch()
        for name in names:
            batch.give("MODIFIED", {"metadata": meta(name, version="11")})
        story.api.feeds.put_nowait(batch)
        await story.seen.until(lambda: len(told) == 2 * count)
        looking.cancel()
        steps = [after - before for before, after in pairwise(shown)]
        assert max(steps) <= module.TURN
        assert sum(step > 0 for step in steps) >= 2 * count // module.TURN - 2

    play(work, listed(*names))
