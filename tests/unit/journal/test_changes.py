"""Another policy is an entry with its actor; `herz audit changes` shows who changed what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herz.app import load_policies
from herz.commit.audit.entry import Configuration, Start, opened
from herz.front.cli import main
from herz.journaling import Change, continued, replayed, verified
from herz.model.events import ObjectApplied
from tests.support.journal import entries_of
from tests.support.objects import make_node, make_pod

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal of four processes; the last two have another policy."""
    started = (("default", "ann"), ("default", "ben"), ("bestfit", "cleo"), ("bestfit", "dan"))
    for number, (policy, actor) in enumerate(started):
        change = Change(actor, "fewer nodes", 7_000 + number)
        with continued(tmp_path / "journal", change=change) as make:
            machine = make(load_policies(policy))
            machine.apply(ObjectApplied(time_ns=0, object=make_node("n0")))
            machine.apply(ObjectApplied(time_ns=0, object=make_pod(f"w{number}", {"cpu": "100m"})))
            machine.step(number, 10)
    return tmp_path / "journal"


def test_only_another_policy_is_a_change_and_its_start_follows(folder: Path) -> None:
    said = [opened(one)[1] for one in entries_of(folder)]
    (at,) = (number for number, one in enumerate(said) if isinstance(one, Configuration))
    change, start = said[at], said[at + 1]
    assert isinstance(change, Configuration)
    assert isinstance(start, Start)
    assert (change.actor, change.reason, change.time_ns) == ("cleo", "fewer nodes", 7_002)
    assert (change.policy, change.policy_blob) == (start.policy, start.policy_blob)
    assert start.policy == load_policies("bestfit").digest


def test_a_journal_with_a_change_verifies_and_replays(folder: Path) -> None:
    assert verified(folder).problem is None
    found = replayed(folder)
    assert (found.first, found.starts, found.records) == (None, 4, 4)


def test_changes_are_shown_in_order(folder: Path, capsys: Captured) -> None:
    assert main(["audit", "changes", "--journal", str(folder), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in told] == ["start", "start", "configuration", "start", "start"]
    assert [one["entry"] for one in told] == sorted(one["entry"] for one in told)
    assert told[2]["actor"] == "cleo"
    assert main(["audit", "changes", "--journal", str(folder)]) == 0
    shown = capsys.readouterr().out
    for text in ("configuration", "cleo", "fewer nodes", told[2]["policy"][:20]):
        assert text in shown


def test_there_must_be_a_journal(tmp_path: Path, capsys: Captured) -> None:
    assert main(["audit", "changes", "--journal", str(tmp_path / "none")]) == 2
    assert "no journal" in capsys.readouterr().err


def test_a_change_that_was_edited_is_told(folder: Path, capsys: Captured) -> None:
    (segment,) = (folder / "segments").iterdir()
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"actor":"cleo"', b'"actor":"anna"'))
    assert main(["audit", "changes", "--journal", str(folder)]) == 1
    assert "entry" in capsys.readouterr().err
