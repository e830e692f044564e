"""Behaviour 11: caches beside lists; what is only late is no difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from herz.model.objects import Node
from herz.world.kube import compare as module
from herz.world.kube.compare import Comparison, compared
from herz.world.kube.informer import Informer
from herz.world.kube.kinds import Watched
from tests.support.fake_api import FakeApi, Seen, meta, reply


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0)


def play(*lists: dict[str, str]) -> Comparison:
    """The informer knows the first list (versions by name); each look gets the next one."""
    answers = [
        [{"metadata": meta(name, version=version)} for name, version in names.items()]
        for names in lists
    ]

    def script(_: Any) -> Any:
        items = answers.pop(0)
        return reply(200, {"metadata": {"resourceVersion": "9"}, "items": items})

    async def main() -> Comparison:
        informer = Informer(Watched(Node, "v1", "nodes"), FakeApi(script), Seen())
        await informer.relist()
        found = await compared([informer])
        assert answers == []
        return found

    return asyncio.run(main())


def test_11_what_is_the_same_is_the_same() -> None:
    found = play({"a": "1", "b": "2"}, {"a": "1", "b": "2"})
    assert found.differences == []
    assert found.objects == {"nodes": 2}


def test_11_what_stays_different_is_told() -> None:
    other = {"a": "1", "b": "7", "d": "1"}
    found = play({"a": "1", "b": "2", "c": "3"}, other, other)
    told = [(one.name, one.known[-1:], one.held[-1:]) for one in found.differences]
    assert told == [("default/b", "2", "7"), ("default/c", "3", ""), ("default/d", "", "1")]


def test_11_what_is_only_late_is_not_told() -> None:
    # The object changes all the time: each look finds another version.
    found = play({"a": "1"}, {"a": "2"}, {"a": "3"})
    assert found.differences == []
