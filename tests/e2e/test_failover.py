"""Two replicas, one journal in PostgreSQL: leaders are paused and killed; one chain stays."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from herz.commit.audit.entry import Start, opened
from herz.journaling import replayed, verified
from herz.model.journal import Kind
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Decided, Record
from herz.world.store.where import reader_of, where_of
from tests.faults.processes import Replica, Server
from tests.support import postgres
from tests.support.cluster import Client
from tests.support.live import PODS, node_of, pod
from tests.support.proxy import pause

WAIT_S = 90.0


@contextmanager
def cluster(folder: Path) -> Iterator[Server]:
    made = Server(folder, 4)
    made.start()
    try:
        asyncio.run(made.ready())
        yield made
    finally:
        made.stop()


class Pair:
    """Two replicas, of which one leads."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.replicas = [Replica(folder, f"r{at}", server.kubeconfig) for at in range(2)]
        self.api = Client(server.kubeconfig)
        self.count = 0

    def schedule(self, count: int) -> None:
        """So many pods come, and are bound by whoever leads."""
        names = [f"p{self.count + at}" for at in range(count)]
        self.count += count
        for name in names:
            assert self.api.post(PODS, pod(name)).code == 201

        def are_bound() -> bool:
            items = self.api.get(PODS).content["items"]
            found = {item["metadata"]["name"]: node_of(item) for item in items}
            return all(found[name] for name in names)

        wait(are_bound)

    @property
    def leader(self) -> Replica:
        """Who holds the lease."""
        lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/herz"
        holder = str(self.api.get(lease).content["spec"]["holderIdentity"])
        (found,) = (one for one in self.replicas if f'"identity": "{holder}"' in one.said)
        return found


def wait(is_so: Callable[[], bool]) -> None:
    """Until it is so."""

    async def ask() -> None:
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                await pause(0.1)

    asyncio.run(ask())


def everybody(replica: Replica) -> list[int]:
    """The replica's processes."""
    return [replica.id, *replica.children]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())
def test_paused_and_killed_leaders_leave_one_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with postgres.server() as database, cluster(tmp_path) as server:
        url = database.url()
        monkeypatch.setenv("HERZ_JOURNAL", url)
        pair = Pair(tmp_path, server)
        try:
            for one in pair.replicas:
                one.start()
            pair.schedule(8)

            paused = pair.leader
            stopped = everybody(paused)
            for number in stopped:
                os.kill(number, signal.SIGSTOP)
            pair.schedule(8)  # The other one leads, once the lease has ended.
            for number in reversed(stopped):
                os.kill(number, signal.SIGCONT)
            assert paused._process is not None
            assert paused._process.wait(WAIT_S) == 3, paused.said

            paused.start()
            for number in everybody(pair.leader):
                os.kill(number, signal.SIGKILL)
            pair.schedule(8)
            last = pair.leader
            last.send(signal.SIGTERM)
            assert last._process is not None
            assert last._process.wait(WAIT_S) == 0, last.said
        finally:
            for one in pair.replicas:
                for number in [] if one.has_ended else everybody(one):
                    os.kill(number, signal.SIGKILL)
                one.stop()
        for one in pair.replicas:
            assert postgres.PASSWORD not in one.said
        check(url, pair)


def check(url: str, pair: Pair) -> None:
    """One chain, that verifies and replays; each pod bound once, where a record has it."""
    where = where_of(url)
    found = verified(where)
    assert found.problem is None
    assert replayed(where).first is None
    terms: list[int] = []
    bound: Counter[str] = Counter()
    placed: dict[str, set[str]] = {}
    for _, entry in reader_of(where).read():
        if entry.leaf[1] not in (Kind.START, Kind.OUTCOME, Kind.RECORD):
            continue
        match opened(entry)[1]:
            case Start(term=term):
                terms.append(term)
            case BindFinished(outcome=BindOutcome.BOUND, uid=uid, resolved=resolved):
                bound[uid] += not resolved
            case Record(decided=Decided.PLACE, pod=one, node=node):
                placed.setdefault(one.uid, set()).add(node)
            case _:
                pass
    assert len(terms) == 3
    assert terms == sorted(set(terms))
    pods = pair.api.get(PODS).content["items"]
    assert len(pods) == pair.count
    for item in pods:
        uid = item["metadata"]["uid"]
        assert node_of(item) in placed[uid]
        assert bound[uid] <= 1, "each is confirmed once"
