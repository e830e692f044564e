"""Limits of requests: who may write, for how long, and what the observer is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from herz.world.kube.limits import Calls, Limits
from herz.world.kube.transport import NoAnswerError, Reply


class Server:
    """Takes requests in the transport's place, and answers each with the next status."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: list[tuple[str, str, float]] = []
        self.queries: list[Mapping[str, str]] = []

    async def request(self, method: str, path: str, **more: Any) -> Reply:
        self.asked.append((method, path, more["timeout_seconds"]))
        self.queries.append(more["query"])
        status = self.statuses.pop(0)
        if not status:
            raise NoAnswerError("none", is_sent=True)
        headers: Mapping[str, str] = {"retry-after": "0"}
        return Reply(status, headers, b"{}")


class Observer:
    """Keeps what it is told of writes."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, str]] = []

    def wrote(self, effect: str, code: str, duration_ns: int) -> None:
        assert duration_ns >= 0
        self.writes.append((effect, code))


def calls(server: Server, **more: Any) -> Calls:
    return Calls(server, Limits(), **more)  # type: ignore[arg-type]  # a stand-in


def ask(made: Calls, method: str, path: str, seconds: float = 10) -> Reply:
    return asyncio.run(made.request(method, path, timeout_seconds=seconds))


def test_a_write_is_given_up_before_another_replica_may_lead() -> None:
    server = Server(200, 201, 201)
    made = calls(server, write_seconds_max=5)
    ask(made, "GET", "/api/v1/nodes")
    ask(made, "POST", "/api/v1/namespaces/d/pods/p/binding")
    ask(made, "POST", "/api/v1/namespaces/d/pods/p/binding", 2)
    assert [seconds for _, _, seconds in server.asked] == [10, 5, 2]
    # The server gives them up sooner: none is carried out when nobody waits for it any more.
    assert [query.get("timeout") for query in server.queries] == [None, "4000ms", "1600ms"]


def test_whether_it_may_write_is_asked_before_every_try() -> None:
    turns = [True, False]
    server = Server(429, 201)
    made = calls(server, may_write=lambda: turns.pop(0))
    with pytest.raises(NoAnswerError, match="another replica may lead") as error:
        ask(made, "POST", "/api/v1/namespaces/d/pods/p/binding")
    assert not error.value.is_sent
    assert len(server.asked) == 1, "the second try did not leave"
    reading = Server(200)
    assert ask(calls(reading, may_write=lambda: False), "GET", "/api/v1/pods").status == 200


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/api/v1/namespaces/d/pods/p/binding", "binding"),
        ("POST", "/api/v1/namespaces/d/pods/p/eviction", "eviction"),
        ("PATCH", "/api/v1/namespaces/d/pods/p/status", "status"),
        ("DELETE", "/api/v1/namespaces/d/pods/p", "delete pods"),
        ("PATCH", "/api/v1/persistentvolumes/v", "persistentvolumes"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/d/events", "events"),
        ("PATCH", "/apis/events.k8s.io/v1/namespaces/d/events/e", "events"),
    ],
)
def test_the_observer_is_told_of_each_write_by_name(method: str, path: str, name: str) -> None:
    observer = Observer()
    made = calls(Server(429, 0), observer=observer)
    with pytest.raises(NoAnswerError):
        ask(made, method, path)
    assert observer.writes == [(name, "429"), (name, "none")]


def test_the_observer_is_told_of_no_reads() -> None:
    observer = Observer()
    ask(calls(Server(200), observer=observer), "GET", "/api/v1/pods")
    assert not observer.writes
