"""A database that is slow holds up what leaves, in its order, and nobody else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import pytest

from herz.app import load_policy
from herz.commit.audit.journaled import Journaled
from herz.commit.audit.log import Log
from herz.errors import WorldError
from herz.journaling import journaled, replayed, verified
from herz.model.effects import Bind, Effect, EmitEvent
from herz.model.events import ObjectApplied
from herz.model.objects import Node, Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.world.kube.driver import Driver, Settings
from herz.world.kube.transport import Reply
from herz.world.store.evidence import StaleWriterError
from herz.world.store.frames import framed
from herz.world.store.postgres import QUEUED_MAX, PostgresStore
from herz.world.store.where import Writer, reader_of, where_of, writer_of
from tests.support import postgres
from tests.support.fake_api import FakeApi, Feed, Request, meta, reply
from tests.support.journal import ORIGIN
from tests.support.objects import make_node, make_pod
from tests.unit.world.kube.test_driver_many import KINDS, answer
from tests.unit.world.store.test_files import entries

pytestmark = [
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing()),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as made:
        yield made


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@contextmanager
def slow(url: str) -> Iterator[None]:
    """While it lasts, no append is answered: somebody else holds the row that each one changes."""
    import psycopg

    with psycopg.connect(url) as base:
        base.execute("UPDATE herz_journal SET size = size")
        yield
        base.rollback()


class Case:
    """A machine in a journal, with a node.

    Args:
        url: the journal's.
        term: the leader's.
    """

    def __init__(self, url: str, term: int = 1) -> None:
        self.store = writer_of(where_of(url), term)
        log = Log(self.store, os.urandom, ORIGIN)
        self.machine: Journaled = journaled(log, load_policy("default"), 1)
        self.apply(make_node("n"))
        assert self.decide() == ([], None)

    def apply(self, *things: Node | Pod) -> None:
        for thing in things:
            self.machine.apply(ObjectApplied(time_ns=0, object=thing))

    def decide(self) -> tuple[list[Effect], Callable[[], None] | None]:
        return self.machine.decide(1, 10)

    def bound(self, effects: list[Effect]) -> None:
        for one in effects:
            if isinstance(one, Bind):
                told = {"uid": one.uid, "decision": one.decision, "outcome": BindOutcome.BOUND}
                self.machine.apply(BindFinished(time_ns=1, **told))  # type: ignore[arg-type]


def test_who_decides_does_not_wait_and_what_leaves_does(server: postgres.Server) -> None:
    url = server.url()
    case = Case(url)
    with ThreadPoolExecutor(1) as elsewhere:
        with slow(url):
            case.apply(make_pod("a"), make_pod("b"))
            effects, kept = case.decide()
            assert sum(isinstance(one, Bind) for one in effects) == 2
            assert kept is not None
            assert case.store.is_behind
            leaving = elsewhere.submit(kept)
            for number in range(3 * QUEUED_MAX):
                # News of the cluster that leads to nothing: it is taken in, and kept later.
                case.apply(make_node("n", cpu=f"{8 + number}"))
                assert case.decide() == ([], None)
            assert not leaving.done()
        leaving.result(30)
    assert case.store.is_for_certain
    records = [one for _, one in reader_of(where_of(url)).read() if one.leaf[1] == 4]
    assert len(records) == 2
    case.bound(effects)
    told, kept = case.decide()
    assert any(isinstance(one, EmitEvent) for one in told)
    assert kept is not None, "not the disk is waited for, but that the server took it"
    kept()
    assert not case.store.is_for_certain
    case.machine.close()
    case.store.close()
    assert verified(where_of(url)).problem is None
    assert replayed(where_of(url)).first is None


def test_what_a_leader_that_was_replaced_decides_or_tells_does_not_leave(
    server: postgres.Server,
) -> None:
    for tells in (False, True):
        url = server.url()
        case = Case(url)
        case.apply(make_pod("a"))
        effects, kept = case.decide()
        assert kept is not None
        kept()
        before = reader_of(where_of(url)).count()
        new = writer_of(where_of(url), 2)
        if tells:
            case.bound(effects)  # An event follows, and no decision.
        else:
            case.apply(make_pod("b"))
        more, kept = case.decide()
        assert more
        assert kept is not None
        with pytest.raises(StaleWriterError, match="term 1 is over: the leader's is 2"):
            kept()
        with pytest.raises(WorldError, match=r"not written any more|nothing more"):
            case.decide()
        case.store.close()
        assert (new.size, reader_of(where_of(url)).count()) == (before, before)
        new.close()


def test_what_was_begun_is_kept_in_order_within_a_bound(server: postgres.Server) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    assert isinstance(store, PostgresStore)
    made, size = entries(3 * QUEUED_MAX + 2), 0
    waits: list[Callable[[], None]] = []
    with slow(url):
        for number in range(QUEUED_MAX):
            some = made[size : size + 1 + number % 3]
            waits.append(store.begin(framed(some), expected=size, sync=number % 4 == 0))
            size += len(some)
        assert not store._room.acquire(blocking=False), "who begins one more waits"
        rest = made[size:]
        last = threading.Thread(
            target=lambda: waits.append(store.begin(framed(rest), expected=size, sync=True))
        )
        last.start()
    last.join(30)
    for wait in reversed(waits):
        wait()
    assert store.is_for_certain
    assert not store.is_behind
    store.close()
    assert [entry for _, entry in reader_of(where_of(url)).read()] == made


def test_what_was_begun_after_a_failure_fails(server: postgres.Server) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    store.append(framed(made := entries(2)), expected=0, sync=True)
    with slow(url):
        begun = [
            store.begin(framed(entries(1, size)), expected=size, sync=size == 3)
            for size in (2, 3, 4)
        ]
        store.put(b"a state")
        # As an administrator would, or a server that restarts.
        server.do(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'herz' AND query LIKE '%turn AS%'"
        )
        with pytest.raises(WorldError, match="cannot write"):
            _called(begun[0])
        for other in begun[1:]:
            with pytest.raises(WorldError, match="nothing more"):
                _called(other)
    with pytest.raises(WorldError, match="nothing more"):
        store.put(b"another")
    store.close()
    reader = reader_of(where_of(url))
    assert [entry for _, entry in reader.read()] == made
    assert reader.blobs() == []


def test_an_append_where_somebody_changed_the_size_changes_nothing(
    server: postgres.Server,
) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    store.append(framed(entries(2)), expected=0, sync=True)
    server.do("UPDATE herz_journal SET size = 7", url)
    with pytest.raises(StaleWriterError, match="2 entries are known, 2 expected, 7 there"):
        store.append(framed(entries(1, 2)), expected=2, sync=True)
    store.close()
    assert server.do("SELECT size FROM herz_journal", url) == [(7,)]
    assert server.do("SELECT sum(entries) FROM herz_batches", url) == [(2,)]


def test_a_close_keeps_what_was_begun(server: postgres.Server) -> None:
    url = server.url()
    store = writer_of(where_of(url))
    made = entries(4)
    with slow(url):
        for size in range(4):
            store.begin(framed(made[size : size + 1]), expected=size, sync=False)
        closing = threading.Thread(target=store.close)
        closing.start()
    closing.join(30)
    assert [entry for _, entry in reader_of(where_of(url)).read()] == made
    store.close()


def test_what_a_close_kept_is_there_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    # The server itself writes nothing to the disk that it is not made to.
    with postgres.server("wal_writer_delay=10s") as server:
        url = server.url()
        store = writer_of(where_of(url))
        assert isinstance(store, PostgresStore)
        made, begun = entries(4), threading.Event()
        drain, write = store._drain, store._write

        def drained() -> None:
            begun.set()
            drain()

        def written(sql: LiteralString, arguments: Sequence[object]) -> None:
            write(sql, arguments)
            begun.set()

        monkeypatch.setattr(store, "_drain", drained)
        monkeypatch.setattr(store, "_write", written)
        with slow(url):
            for size in range(4):
                store.begin(framed(made[size : size + 1]), expected=size, sync=False)
            closing = threading.Thread(target=store.close)
            closing.start()
            assert begun.wait(30), "it waits for what was begun, or says at once that it is there"
        closing.join(30)
        server.kill()
        server.start()
        assert [entry for _, entry in reader_of(where_of(url)).read()] == made


def _called(sync: Callable[[], None] | None) -> None:
    assert sync is not None
    sync()


# ---- a live driver -------------------------------------------------------------------------------


def play(
    url: str, work: Callable[[Driver, FakeApi, Feed], Coroutine[None, None, None]], store: Writer
) -> FakeApi:
    """A driver on an API with a node and two pods; each bind must be in the journal by then."""
    server_says = reader_of(where_of(url))

    def script(asked: Request) -> Reply:
        if asked.path.endswith("/binding"):
            there = [one.payload for _, one in server_says.read() if one.leaf[1] == 4]
            name = asked.path.split("/")[-2]
            assert any(f'"name":"{name}"'.encode() in one for one in there), "first the journal"
            return reply(201)
        if asked.path == "/api/v1/pods":
            return reply(200, {"metadata": {"resourceVersion": "1"}, "items": []})
        return answer(asked)

    api, pods = FakeApi(script), Feed()

    async def main() -> None:
        api.feeds.put_nowait(Feed())
        machine = journaled(Log(store, os.urandom, ORIGIN), load_policy("default"), 1)
        driver = Driver(machine, api, KINDS, Settings({"herz"}))
        running = asyncio.ensure_future(driver.run())
        async with asyncio.timeout(40):
            await api.until(lambda: sum(one.method == "WATCH" for one in api.asked) >= 1)
            api.feeds.put_nowait(pods)
            await driver.synced.wait()
            working = asyncio.ensure_future(work(driver, api, pods))
            await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            driver.stop()
            await running
            await working
        machine.close()

    asyncio.run(main())
    return api


def seen(feed: Feed, name: str) -> None:
    spec = {"schedulerName": "herz", "containers": [{"name": "c"}]}
    feed.give("ADDED", {"metadata": meta(name), "spec": spec})


def binds(api: FakeApi) -> list[str]:
    return [one.path.split("/")[-2] for one in api.asked if one.path.endswith("/binding")]


def test_a_driver_reads_on_while_the_database_does_not_answer(server: postgres.Server) -> None:
    url = server.url()
    store = writer_of(where_of(url))

    async def work(driver: Driver, api: FakeApi, pods: Feed) -> None:
        with slow(url):
            seen(pods, "a")
            while not (store.is_behind and driver._is_stepping):
                await asyncio.sleep(0)
            for name in "bcd":
                seen(pods, name)
            while driver.counted("pods") < 4:
                await asyncio.sleep(0)
            assert driver.ready == 3, "what was seen meanwhile is applied"
            assert binds(api) == []
        await api.until(lambda: len(binds(api)) == 4)
        assert binds(api)[0] == "a"

    play(url, work, store)
    store.close()
    assert replayed(where_of(url)).first is None


def test_a_driver_that_was_replaced_binds_nothing_more(server: postgres.Server) -> None:
    url = server.url()
    old = writer_of(where_of(url), 1)
    asked: list[FakeApi] = []

    async def work(driver: Driver, api: FakeApi, pods: Feed) -> None:
        asked.append(api)
        seen(pods, "a")
        await api.until(lambda: binds(api) == ["a"])
        writer_of(where_of(url), 2).close()
        seen(pods, "b")
        while driver.counted("pods") < 2:
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    with pytest.raises(StaleWriterError, match="term 1 is over"):
        play(url, work, old)
    assert binds(asked[0]) == ["a"]
    old.close()
