"""What became of a decision is an entry: confirmed, refused, unknown, or found out later."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from herz.commit.audit.entry import decode, encode, opened
from herz.commit.audit.unresolved import Unresolved, resolved
from herz.front.cli.entry import main
from herz.journaling import left_open, replayed, verified
from herz.model.effects import Bind
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.journal import Kind
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, BindOutcome
from tests.support.journal import Written, entries_of
from tests.support.machine import only
from tests.support.objects import make_node, make_pod

PODS = ("confirmed", "refused", "lost", "seen", "gone", "open")


def answer(bind: Bind, outcome: BindOutcome, **more: object) -> BindFinished:
    """An answer of the API."""
    event = BindFinished(time_ns=0, uid=bind.uid, decision=bind.decision, outcome=outcome)
    return replace(event, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A machine that was killed when one bind was confirmed, one refused, and others left open."""
    one = Written(tmp_path, term=1)
    one.apply(make_node("a", cpu="64"), *(make_pod(name) for name in PODS))
    binds = {bind.name: bind for bind in only(Bind, one.step())}
    tell = one.machine.apply
    tell(answer(binds["confirmed"], BindOutcome.BOUND, resource_version="71"))
    tell(answer(binds["refused"], BindOutcome.REFUSED, code=409, message="conflict"))
    tell(answer(binds["lost"], BindOutcome.UNKNOWN, code=504))
    tell(ObjectApplied(time_ns=0, object=make_pod("seen", node="a")))
    tell(ObjectDeleted(time_ns=0, object=make_pod("gone")))
    one.log.commit()
    one.store.close()
    return tmp_path


def test_what_nobody_told_the_end_of_is_left_open(folder: Path) -> None:
    assert [one.pod for one in left_open(folder)] == ["shop/lost", "shop/open"]
    assert {one.node for one in left_open(folder)} == {"a"}


def test_a_restart_tells_what_the_api_holds_and_the_journal_shows_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bound = make_pod("lost", node="a")
    bound = replace(bound, metadata=replace(bound.metadata, resource_version="90"))
    pods = {pod.metadata.uid: pod for pod in (bound, make_pod("open"))}
    left = left_open(folder)
    two = Written(folder, term=2)
    for event in resolved(left, pods, two.now):
        two.machine.apply(event)
    two.apply(make_node("a", cpu="64"), make_pod("open"))
    two.bound(two.step())
    two.close()
    assert left_open(folder) == []
    assert verified(folder).problem is None
    assert replayed(folder).first is None
    said = {}
    for name in PODS:
        options = ["--journal", str(folder), "--output", "json"]
        assert main(["explain", name, *options]) == 0
        said[name] = json.loads(capsys.readouterr().out)["outcomes"]
    assert said["confirmed"][0][0]["resource_version"] == "71"
    assert (said["refused"][0][0]["code"], said["refused"][0][0]["message"]) == (409, "conflict")
    assert [one["outcome"] for one in said["lost"][0]] == ["unknown", "bound"]
    assert said["lost"][0][1]["resolved"] == "restart"
    assert said["lost"][0][1]["resource_version"] == "90"
    assert said["open"][0][0]["message"] == "the pod has no node"
    assert main(["explain", "lost", "--journal", str(folder)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "bound, resourceVersion 90, found out after a restart" in told
    assert "unknown: 504" in told
    assert main(["audit", "export", "--journal", str(folder)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    found = {row["name"]: (row["outcome"], row["code"], row["resource_version"]) for row in rows}
    assert found["refused"] == ("refused", "409", "")
    assert found["confirmed"] == ("bound", "0", "71")


def test_what_the_api_holds_of_a_bind_is_told() -> None:
    asked = [Unresolved(7, "uid-p", "shop/p", "a")]
    pods: list[tuple[Pod | None, str]] = [
        (None, "the pod is gone"),
        (make_pod("p"), "the pod has no node"),
        (make_pod("p", node="b"), "the pod is on b"),
    ]
    for pod, why in pods:
        (found,) = resolved(asked, {} if pod is None else {"uid-p": pod}, 5)
        assert (found.outcome, found.message) == (BindOutcome.REFUSED, why)
        assert (found.decision, found.resolved, found.time_ns) == (7, "restart", 5)
        assert found.resource_version is UNSET


def test_what_is_not_told_is_in_no_entry() -> None:
    event = BindFinished(time_ns=1, uid="u", decision=2, outcome=BindOutcome.BOUND)
    payload = encode(event)
    assert b"code" not in payload
    assert b"resol" not in payload
    assert decode(Kind.OUTCOME, payload) == event
    told = replace(event, code=409, resolved="read", resource_version="3")
    assert decode(Kind.OUTCOME, encode(told)) == told


def test_the_simulators_answers_are_told_in_full(tmp_path: Path) -> None:
    options = ["--seed", "3", "--journal", str(tmp_path / "j"), "--output", "json"]
    assert main(["simulate", "chaos", *options]) == 0
    found = [
        content
        for entry in entries_of(tmp_path / "j")
        if entry.leaf[1] == Kind.OUTCOME
        for content in [opened(entry)[1]]
        if isinstance(content, BindFinished)
    ]
    assert {409, 500, UNSET} == {one.code for one in found}
    assert {"read", UNSET} == {one.resolved for one in found}
    for one in found:
        is_bound = one.outcome is BindOutcome.BOUND
        assert (one.resource_version is not UNSET) == is_bound
