"""What a record does not say of a node is computed once more, and labelled so."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from herz.commit.audit.entry import opened
from herz.errors import AuditError, ConfigError
from herz.front.cli.entry import main
from herz.model.journal import Kind
from herz.model.record import Decided, Record
from herz.recomputing import recomputed
from herz.world.store.files import FileStore
from tests.support.journal import Written, entries_of, simulated
from tests.support.objects import make_node, make_pod


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a small simulated day."""
    folder = tmp_path_factory.mktemp("day") / "journal"
    simulated(folder, state_every=60)
    return folder


def records(folder: Path) -> list[tuple[int, Record]]:
    """The records of a journal, with their entries."""
    found = []
    for at, entry in enumerate(entries_of(folder)):
        if entry.leaf[1] == Kind.RECORD:
            content = opened(entry)[1]
            assert isinstance(content, Record)
            found.append((at, content))
    return found


@pytest.mark.slow
def test_of_nodes_that_the_record_names_the_same_is_computed(day: Path) -> None:
    told = [(at, one) for at, one in records(day) if len(one.top) > 1 or one.rejections]
    chance = random.Random(3)
    states = set()
    for at, record in chance.sample(told, 16):
        named = {one.node: one for one in record.top[:3]}
        for node, candidate in named.items():
            found = recomputed(day, record, at, node)
            states.add(found.is_state)
            assert found.about is not None
            assert found.about.total == candidate.total
            assert [points for _, points in found.about.points] == list(candidate.scores)
            assert (found.about.rank == 1) == (candidate.total == record.top[0].total)
        for item in record.rejections[:1] if record.decided is Decided.UNSCHEDULABLE else ():
            found = recomputed(day, record, at, item.nodes[0])
            assert found.about is not None
            refusals = dict(found.about.refusals)
            assert item.reason in refusals[item.plugin]
    assert states == {True, False}, "from states, and from the beginning"


def explained(folder: Path, *options: str, captured: pytest.CaptureFixture[str]) -> str:
    assert main(["explain", "p", "--journal", str(folder), *options]) == 0
    return captured.readouterr().out


def test_a_node_outside_the_record_is_labelled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Written(tmp_path)
    one.apply(*(make_node(f"n{at}", cpu="8") for at in range(9)), make_node("small", cpu="1"))
    one.apply(make_pod("q", {"cpu": "1"}), make_pod("p", {"cpu": "2"}))
    one.bound(one.step())
    one.close()
    (_, _), (_, record) = records(tmp_path)
    outside = next(f"n{at}" for at in range(9) if f"n{at}" not in {c.node for c in record.top})
    said = " ".join(explained(tmp_path, "--node", outside, captured=capsys).split())
    assert "recomputed from the start at entry 0, in no record: fits" in said
    assert "of 9 nodes" in said
    options = ("--node", "small", "--output", "json")
    found = json.loads(explained(tmp_path, *options, captured=capsys))["recomputed"]
    assert found["refusals"] == [["NodeResourcesFit", ["Insufficient cpu"]]]
    assert (found["from"], found["from_entry"], found["sequence"]) == ("start", 0, 2)
    assert "there was no such node" in explained(tmp_path, "--node", "nobody", captured=capsys)
    assert "recomputed" not in explained(tmp_path, "--node", record.node, captured=capsys)


def test_a_pod_is_asked_about_when_its_turn_has_come_and_not_before(tmp_path: Path) -> None:
    """Both pods are decided in one step: the second one finds the first one's room taken."""
    one = Written(tmp_path)
    one.apply(make_node("a", cpu="2"), make_node("b", cpu="1"))
    one.apply(make_pod("p", {"cpu": "2"}), make_pod("q", {"cpu": "1"}))
    one.step()
    one.close()
    (first_at, first), (second_at, second) = records(tmp_path)
    assert (first.node, second.node) == ("a", "b")
    before, after = (
        recomputed(tmp_path, record, at, "a").about
        for record, at in ((first, first_at), (second, second_at))
    )
    assert before is not None
    assert before.refusals == ()
    assert after is not None
    assert after.refusals == (("NodeResourcesFit", ("Insufficient cpu",)),)


def test_what_is_erased_or_by_another_engine_is_not_recomputed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Written(tmp_path)
    one.apply(make_node("a"), make_pod("p"))
    one.step()
    one.close()
    ((at, record),) = records(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("herz.journaling.engine_digest", lambda: "0" * 96)
        with pytest.raises(ConfigError, match="another engine"):
            recomputed(tmp_path, record, at, "a")
    store = FileStore.open(tmp_path)
    store.erase([1], [])
    store.close()
    with pytest.raises(AuditError, match="erased"):
        recomputed(tmp_path, record, at, "a")
