"""What nothing reads gets neither to the machine nor into the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.app import load_policy
from herz.commit.audit.projection import projected
from herz.journaling import annotations_of, replayed
from herz.model.events import Event, ObjectApplied, ObjectDeleted, OrderLimited
from herz.model.outcomes import BindFinished, BindOutcome
from herz.place.plugins.node_name import NodeName
from tests.support.journal import Written
from tests.support.objects import make_node, make_pod

SECRET = {"kubectl.kubernetes.io/last-applied-configuration": "password=hunter2"}
READ = {"herz.dev/after": "db", "scheduling.k8s.io/group-name": "g"}


@pytest.mark.parametrize("event", [ObjectApplied, ObjectDeleted])
def test_annotations_that_nothing_reads_are_left_out(event: type[ObjectApplied]) -> None:
    whole = event(time_ns=1, object=make_pod("p", annotations=SECRET | READ))
    assert projected(whole) == event(time_ns=1, object=make_pod("p", annotations=READ))
    named = projected(whole, {next(iter(SECRET))})
    assert named == whole


def test_what_has_nothing_to_leave_out_stays_the_same_object() -> None:
    events: list[Event] = [
        ObjectApplied(time_ns=1, object=make_pod("p")),
        ObjectApplied(time_ns=1, object=make_pod("p", annotations=READ)),
        OrderLimited(time_ns=1, rung=2),
        BindFinished(time_ns=1, uid="u", decision=1, outcome=BindOutcome.BOUND),
    ]
    for event in events:
        assert projected(event) is event


def test_a_secret_in_an_annotation_is_nowhere_on_the_disk(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_pod("p", annotations=SECRET), make_pod("q"))
    written.bound(written.step())
    written.step(after=1)
    assert written.machine.keep_state()
    written.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not any(b"hunter2" in path.read_bytes() for path in files)
    found = replayed(tmp_path)
    assert (found.records, found.states, found.first) == (2, 1, None)


def test_a_rule_names_the_annotations_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy("default")
    assert annotations_of(policy) == frozenset()
    monkeypatch.setattr(NodeName, "annotations", ("example.com/team",), raising=False)
    assert annotations_of(policy) == {"example.com/team"}
