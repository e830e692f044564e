"""The store: revisions, history, watches, and what is left after a kill -9."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from herz.errors import WorldError
from herz.world.apiserver.refusal import RefusedError
from herz.world.apiserver.store import Change, Key, Store
from herz.world.apiserver.store.database import Database

POD = Key("pods", "default", "web")


def content(name: str = "web", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def shown(changes: list[Change]) -> list[tuple[str, int, bool]]:
    return [(item.version.key.name, item.revision, item.is_deletion) for item in changes]


def test_revisions_count_all_resources(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        first = await store.put(POD, content())
        second = await store.put(Key("nodes", "", "n1"), content("n1"))
        assert (first.revision, second.revision, store.revision) == (1, 2, 2)
        assert first.content["metadata"]["resourceVersion"] == "1"
        assert store.get(POD) is first
        await store.close()

    run(test())


def test_staged_writes_are_latest_but_not_yet_readable(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        done = store.put(POD, content(x=1))
        latest = store.latest(POD)
        assert latest is not None
        assert latest.content["x"] == 1
        assert store.get(POD) is None
        gone = store.remove(POD, content())
        assert store.latest(POD) is None
        await asyncio.gather(done, gone)
        assert store.get(POD) is None
        assert store.revision == 2
        await store.close()

    run(test())


def test_watch_resumes_from_the_past_and_follows(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        await store.put(POD, content())
        feed = store.watch("pods", 0)
        other = store.watch("nodes", 0)
        await store.put(POD, content(x=2))
        await store.remove(POD, content(x=2))
        taken = await feed.take(1)
        assert taken is not None
        assert shown(taken) == [("web", 1, False), ("web", 2, False), ("web", 3, True)]
        assert taken[0].previous is None
        assert taken[1].previous is not None
        assert await other.take(0) == []
        assert (feed.revision, other.revision) == (3, 3)
        store.forget(feed)
        assert await feed.take(1) is None
        await store.close()

    run(test())


def test_a_slow_reader_is_cut_off_without_a_gap(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db", buffer_max=3)
        feed = store.watch("pods", 0)
        for number in range(5):
            await store.put(POD, content(x=number))
        taken = await feed.take(1)
        assert taken is not None
        assert [item.revision for item in taken] == [1, 2, 3]
        assert await feed.take(1) is None
        assert feed.is_overrun
        await store.close()

    run(test())


def test_compaction_forgets_the_oldest_and_refuses_them(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db", history_max=16)
        await store.put(Key("pods", "default", "old"), content("old"))
        for number in range(40):
            await store.put(POD, content(x=number))
        assert store.compacted > 1
        with pytest.raises(RefusedError) as refused:
            store.watch("pods", 1)
        assert (refused.value.code, refused.value.reason) == (410, "Expired")
        with pytest.raises(RefusedError) as early:
            store.watch("pods", 1000)
        assert early.value.code == 504
        assert [item.key.name for item in store.items("pods")] == ["old", "web"]
        await store.close()

    run(test())


def test_list_at_a_revision_is_what_was_then(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        await store.put(POD, content(x=1))
        await store.put(Key("pods", "other", "b"), content("b"))
        await store.put(POD, content(x=2))
        await store.remove(Key("pods", "other", "b"), content("b"))
        await store.put(Key("pods", "default", "c"), content("c"))
        then = [(item.key.name, item.content.get("x")) for item in store.items("pods", at=2)]
        assert then == [("web", 1), ("b", None)]
        assert [item.key.name for item in store.items("pods", "default", at=2)] == ["web"]
        assert [item.key.name for item in store.items("pods")] == ["c", "web"]
        await store.close()

    run(test())


def test_reopened_store_has_objects_history_and_counter(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db", history_max=16)
        for number in range(60):
            await store.put(Key("pods", "default", f"p{number % 7}"), content(x=number))
        await store.remove(Key("pods", "default", "p3"), content())
        before = [(item.key, item.data) for item in store.items("pods")]
        revision, compacted = store.revision, store.compacted
        await store.close()

        again = Store(tmp_path / "a.db", history_max=16)
        assert [(item.key, item.data) for item in again.items("pods")] == before
        assert (again.revision, again.compacted) == (revision, compacted)
        changes = await again.watch("pods", compacted).take(1)
        assert changes is not None
        assert [item.revision for item in changes] == list(range(compacted + 1, revision + 1))
        assert all(item.previous is not None for item in changes)
        assert (await again.put(POD, content())).revision == revision + 1
        await again.close()

    run(test())


def test_the_file_does_not_grow_with_what_is_compacted(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db", history_max=8)
        for number in range(200):
            await store.put(POD, content(x=number))
        await store.close()
        database = Database(tmp_path / "a.db")
        assert len(list(database.rows())) <= 8 + 8 // 8 + 2
        database.close()

    run(test())


def test_a_failed_commit_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        await store.put(POD, content(x=1))
        connection = store._database._connection
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON versions BEGIN "
            "SELECT RAISE(ABORT, 'disk full'); END"
        )
        failed = [store.put(POD, content(x=2)), store.put(POD, content(x=3))]
        for outcome in await asyncio.gather(*failed, return_exceptions=True):
            assert isinstance(outcome, RefusedError)
            assert outcome.code == 503
        connection.execute("DROP TRIGGER full")
        latest = store.latest(POD)
        assert latest is not None
        assert latest.content["x"] == 1
        assert (await store.put(POD, content(x=4))).revision > 1
        await store.close()

    run(test())


def test_two_servers_cannot_share_a_file(tmp_path: Path) -> None:
    first = Database(tmp_path / "a.db")
    with pytest.raises(WorldError, match="in use"):
        Database(tmp_path / "a.db")
    first.close()


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.db")
    database.commit([], [], {"format": 99})
    database.close()
    with pytest.raises(WorldError, match="format 99"):
        Database(tmp_path / "a.db")


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    command = [sys.executable, "-m", "tests.support.store_writer", str(path)]
    seen: list[tuple[int, str, int]] = []
    for count in (60, 130, 11):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        seen = []
        for _ in range(count):
            revision, name, round_ = child.stdout.readline().split()
            seen.append((int(revision), name, int(round_)))
        child.kill()
        # What was written to the pipe before the kill was acknowledged, too.
        for line in child.stdout.read().splitlines(keepends=True):
            if line.endswith("\n"):
                revision, name, round_ = line.split()
                seen.append((int(revision), name, int(round_)))
        child.wait()
        child.stdout.close()
        asyncio.run(_holds(path, seen))


async def _holds(path: Path, seen: list[tuple[int, str, int]]) -> None:
    store = Store(path, history_max=50)
    assert store.revision >= seen[-1][0]
    changes = await store.watch("pods", store.compacted).take(1)
    assert changes is not None
    known = {
        item.revision: (item.version.key.name, item.version.content["round"]) for item in changes
    }
    assert sorted(known) == list(range(store.compacted + 1, store.revision + 1))
    for revision, name, round_ in seen:
        if revision > store.compacted:
            assert known[revision] == (name, round_)
    await store.close()
