"""A shadow's journal: its records name all nodes, it replays, and it is no scheduler's."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from herz.app import load_policy
from herz.commit.audit.entry import Start, decode, encode, opened
from herz.commit.audit.log import Log
from herz.errors import AuditError, ConfigError, WorldError
from herz.front.cli import main
from herz.front.cli.failure import Exit
from herz.journaling import SHADOW_TOP, Change, continued, replayed, verified
from herz.model.journal import Kind
from herz.model.record import Record
from herz.ports import Machine, RecordSink
from herz.world.kube.shadow import Shadow
from tests.support.fake_api import FakeApi
from tests.support.journal import entries_of, simulated
from tests.support.objects import make_node, make_pod
from tests.support.storage import DYNAMIC, make_claim, make_class, using

NODES = 7
CHANGE = Change("ann", "to see", 7)
Captured = pytest.CaptureFixture[str]


@contextmanager
def shadowing(folder: Path, state_every: int = 2) -> Iterator[Shadow]:
    """A shadow of seven nodes, in a journal."""
    sinks: list[RecordSink] = []
    with continued(
        folder, change=CHANGE, sinks=sinks, state_every=state_every, is_shadow=True
    ) as begin:

        def make(sink: RecordSink) -> Machine:
            sinks.append(sink)
            return begin(load_policy("default"))

        shadow = Shadow(make, FakeApi(lambda _: None), ())
        for number in range(NODES):
            shadow.applied(make_node(f"n{number}", unschedulable=number == 6), ())
        shadow.applied(make_class(DYNAMIC), ())
        shadow.applied(make_claim("data"), ())
        shadow.synced.set()
        yield shadow


def watched(shadow: Shadow, name: str, node: str, cpu: str = "1") -> None:
    """A pod is seen, and bound by somebody else."""
    shadow.applied(make_pod(name, {"cpu": cpu}), ())
    shadow.applied(make_pod(name, {"cpu": cpu}, node=node), ())


def day(shadow: Shadow, first: int = 0) -> None:
    """Pods that are put where Herz would put them, elsewhere, and where it would put none."""
    for number in range(first, first + 6):
        watched(shadow, f"p{number}", "n0")
    watched(shadow, f"big{first}", "n1", cpu="64")
    watched(shadow, f"off{first}", "n6")
    shadow.applied(using(f"keep{first}", "data"), ())
    shadow.applied(using(f"keep{first}", "data", node="n2"), ())
    shadow.applied(make_pod(f"gone{first}", {"cpu": "1"}), ())
    shadow.deleted(make_pod(f"gone{first}", {"cpu": "1"}))
    shadow.deleted(make_pod(f"p{first}", {"cpu": "1"}, node="n0"))


def contents(folder: Path, kind: Kind) -> list[object]:
    return [opened(one)[1] for one in entries_of(folder) if one.leaf[1] == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The journal of two shadows, one after the other."""
    for first in (0, 10):
        with shadowing(tmp_path / "j") as shadow:
            day(shadow, first)
            assert shadow.agreement.pods == 9
    return tmp_path / "j"


def test_a_shadows_journal_verifies_and_gives_the_same_records_and_states(folder: Path) -> None:
    assert verified(folder).problem is None
    found = replayed(folder)
    records = [one for one in contents(folder, Kind.RECORD) if isinstance(one, Record)]
    assert (found.first, found.starts, found.records) == (None, 2, len(records))
    assert found.states == len(contents(folder, Kind.STATE)) >= 4
    placed = [one for one in records if one.node and len(one.top) > 1]
    assert {len(one.top) for one in placed} >= {6}, "all nodes that are left, not five"
    again = replayed(folder, first=found.records)
    assert again.first is None
    assert 0 < again.records < found.records


def test_what_a_shadow_asked_for_is_answered_in_its_journal(folder: Path) -> None:
    answers = [str(one) for one in contents(folder, Kind.OUTCOME)]
    assert any("PatchClaim" in one for one in answers)
    assert sum("BindFinished" in one for one in answers) >= 8


def test_another_policy_is_asked_by_a_shadows_journal(folder: Path, capsys: Captured) -> None:
    where = ["--journal", str(folder)]
    assert main(["audit", "replay", *where]) == Exit.DONE
    capsys.readouterr()
    assert main(["audit", "replay", *where, "--policy", "default", "--output", "json"]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["decisions"] == found["same"] > 0
    assert main(["explain", "p1", *where, "--node", "n6"]) == Exit.DONE
    assert "NodeUnschedulable" in capsys.readouterr().out


def test_a_scheduler_and_a_shadow_have_journals_of_their_own(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    size = len(entries_of(folder))
    with (
        pytest.raises(ConfigError, match="the journal is a shadow's"),
        continued(folder, change=CHANGE) as make,
    ):
        make(load_policy("default"))
    simulated(tmp_path / "day")
    with (
        pytest.raises(ConfigError, match="the journal is a scheduler's"),
        shadowing(tmp_path / "day"),
    ):
        pass
    assert len(entries_of(folder)) == size
    with shadowing(folder):
        pass  # Nothing is left locked.
    (tmp_path / "pods.json").write_text('{"items": []}', encoding="utf-8")
    asked = ["--journal", str(folder), "--pods", str(tmp_path / "pods.json")]
    assert main(["audit", "reconcile", *asked]) == Exit.USAGE
    assert "the journal is a shadow's" in capsys.readouterr().err


def test_a_start_without_the_count_is_what_it_was_and_a_count_is_one_or_more(
    folder: Path, tmp_path: Path
) -> None:
    start = contents(folder, Kind.START)[0]
    assert isinstance(start, Start)
    assert start.top == SHADOW_TOP
    simulated(tmp_path / "day")
    payload = next(one.payload for one in entries_of(tmp_path / "day"))
    assert b'"top"' not in payload
    assert encode(decode(Kind.START, payload)) == payload
    plain = msgspec.json.decode(encode(start))
    for wrong in (0, -1, "7", None, 1.5):
        data = msgspec.json.encode({**plain, "top": wrong}, order="sorted")
        with pytest.raises(AuditError, match="not an entry of the kind start"):
            decode(Kind.START, data)


@pytest.mark.parametrize("act", ["applied", "deleted"])
def test_a_journal_that_fails_ends_the_shadow(
    tmp_path: Path, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise WorldError("the disk is full")

    async def fail(shadow: Shadow) -> None:
        task = asyncio.ensure_future(shadow.run())
        await shadow.synced.wait()
        with monkeypatch.context() as patched:
            patched.setattr(Log, "add", refuse)
            if act == "applied":
                shadow.applied(make_node("n9"), ())
            else:
                shadow.deleted(make_node("n1"))
        with pytest.raises(WorldError, match="the disk is full"):
            await asyncio.wait_for(task, 10)

    with shadowing(tmp_path / "j") as shadow:
        asyncio.run(fail(shadow))


def test_a_shadow_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    with shadowing(tmp_path / "j", state_every=1_000) as shadow:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", asked.append)
            day(shadow)
            assert shadow.agreement.pods == 9
        assert asked == []
        there = [opened(one)[1] for one in entries_of(tmp_path / "j")]
        assert sum(isinstance(one, Record) for one in there) >= 9, "what it decided is written"
