"""What the API may say of a lease: anything, and the election goes on."""

from __future__ import annotations

import asyncio
import json

import pytest

from herz.world.kube.lease import Durations, Elector, Place
from herz.world.kube.transport import Reply

GARBAGE = [
    b"",
    b"<html>",
    b"\xff",
    b"[]",
    b"[" * 5000 + b"]" * 5000,
    b'{"metadata":{},"spec":[]}',
    b'{"metadata":{},"spec":{"leaseTransitions":"many"}}',
    b'{"metadata":{},"spec":{"holderIdentity":"b","leaseDurationSeconds":1.5}}',
]


@pytest.mark.parametrize("broken", ["GET", "POST"])
@pytest.mark.parametrize("garbage", GARBAGE)
def test_an_answer_that_is_no_lease_is_said_and_asked_for_again(
    garbage: bytes, broken: str
) -> None:
    """A proxy's page, as a rule, with the status 200."""
    said: list[str] = []
    bad = [garbage]

    async def ask(method: str, path: str, body: bytes, timeout_ns: int) -> Reply:
        if method == broken and bad:
            return Reply(200, {}, bad.pop())
        if method == "GET":
            return Reply(404, {}, b"{}")
        content = json.loads(body)
        return Reply(201, {}, json.dumps(content).encode())

    async def sleep(time_ns: int) -> None:
        said.append(elector.last_error)

    place = Place(lambda: 0, sleep, lambda: 0.0, lambda: "now")
    elector = Elector("a", ("kube-system", "herz"), ask, place, Durations())
    assert asyncio.run(elector.acquire()) == 1
    assert len(said) == 1
    assert "kube-system/herz" in said[0]
