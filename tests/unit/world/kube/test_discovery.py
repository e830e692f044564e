"""What a server has is found by discovery; what is needed and not there is one error."""

from __future__ import annotations

import asyncio

import pytest

from herz.errors import WorldError
from herz.model.objects import Node, Pod
from herz.world.kube import discovery
from herz.world.kube.kinds import WATCHED, Watched
from herz.world.kube.transport import NoAnswerError, Reply
from tests.support.fake_api import FakeApi, lost, reply, status

KINDS = tuple(one for one in WATCHED if one.kind in (Node, Pod))


def asked_of(answers: dict[str, Reply | NoAnswerError]) -> FakeApi:
    return FakeApi(lambda asked: answers.get(asked.path))


def found(*names: str) -> Reply:
    verbs = ["get", "list", "watch"]
    return reply(200, {"resources": [{"name": name, "verbs": verbs} for name in names]})


def test_an_api_that_is_absent_is_found_and_one_that_is_needed_is_an_error() -> None:
    kinds = (*KINDS, Watched(Node, "storage.k8s.io/v1", "csinodes"))

    async def main() -> None:
        api = asked_of({"/api/v1": found("nodes", "pods")})
        present, absent = await discovery.served(api, kinds)
        assert [one.plural for one in present] == ["nodes", "pods"]
        assert [one.plural for one in absent] == ["csinodes"]
        with pytest.raises(WorldError, match="serves no /api/v1/pods"):
            await discovery.served(asked_of({"/api/v1": found("nodes")}), kinds)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            reply(200, {"major": "1", "minor": "33", "gitVersion": "v1.33.2"}),
            "v1.33.2; 1.34 to 1.36",
        ),
        (reply(200, {"major": "2", "minor": "0"}), r"2\.0; 1\.34"),
        (reply(200, ["web page"]), "is no Kubernetes API server"),
        (reply(401, status(401, "Unauthorized")), "refuses us: 401"),
        (NoAnswerError("bad certificate", is_sent=False, is_retryable=False), "bad certificate"),
    ],
)
def test_a_server_that_is_not_to_be_used_is_one_error(
    answer: Reply | NoAnswerError, words: str
) -> None:
    async def main() -> None:
        with pytest.raises(WorldError, match=words):
            await discovery.reached(asked_of({"/version": answer}), print)

    asyncio.run(main())


def test_a_server_that_cannot_be_reached_is_waited_for_and_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "_WAIT_SECONDS", (0.001, 0.001))
    version = reply(200, {"major": "1", "minor": "37+", "gitVersion": "v1.37.0"})
    answers: list[Reply | NoAnswerError] = [lost(is_sent=False), lost(is_sent=False), version]
    told: list[str] = []

    async def main() -> None:
        api = FakeApi(lambda _: answers.pop(0))
        assert await discovery.reached(api, told.append) == "v1.37.0"
        gone = FakeApi(lambda _: lost(is_sent=False))
        with pytest.raises(WorldError, match="not sent"):
            await discovery.reached(gone, told.append, waits=False)

    asyncio.run(main())
    assert told == [
        "waiting for the API server: lost; it was not sent",
        "Kubernetes v1.37.0 is newer than 1.36, the newest that was tested",
    ]


def test_36_what_we_may_not_read_is_named() -> None:
    refusal = reply(403, status(403, "Forbidden", "cannot list resource"))

    async def main() -> None:
        api = asked_of(
            {
                "/api/v1/nodes": refusal,
                "/api/v1/pods": reply(200, {"metadata": {"resourceVersion": "1"}, "items": []}),
            }
        )
        with pytest.raises(WorldError, match="does not let us read /api/v1/nodes: cannot list"):
            await discovery.permitted(api, KINDS)

    asyncio.run(main())
