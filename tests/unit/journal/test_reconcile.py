"""The journal beside the cluster: each disagreement is named, and agreement is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz.front.cli import main
from herz.front.cli.failure import Exit
from herz.model.decode import encode
from herz.model.effects import Bind
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.objects import Pod
from tests.support.journal import Written
from tests.support.objects import make_node, make_pod

Captured = pytest.CaptureFixture[str]


def versioned(pod: Pod, version: str, node: str = "") -> Pod:
    """The pod at a resourceVersion, on a node."""
    return msgspec.structs.replace(
        pod,
        metadata=msgspec.structs.replace(pod.metadata, resource_version=version),
        spec=msgspec.structs.replace(pod.spec, node_name=node or pod.spec.node_name),
    )


class Case:
    """A journal in which three pods are bound, and what the cluster says of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        written = Written(folder / "journal")
        written.apply(make_node("a"), make_node("b"))
        self.pods: dict[str, Pod] = {}
        for number in range(3):
            pod = versioned(make_pod(f"p{number}"), str(10 + number))
            written.apply(pod)
            (bind,) = written.bound([e for e in written.step(after=1) if isinstance(e, Bind)])
            self.pods[pod.metadata.name] = versioned(pod, str(20 + number), bind.node)
        last = self.pods["p2"]
        written.apply(last)
        self.written = written
        self.events = [self.binding(pod) for pod in self.pods.values()]

    def binding(self, pod: Pod, **more: object) -> dict[str, Any]:
        """The event of the API server's log for a pod's binding."""
        meta = pod.metadata
        ref = {"resource": "pods", "subresource": "binding", "name": meta.name}
        return {
            "kind": "Event",
            "auditID": f"id-{meta.name}",
            "verb": "create",
            "stage": "ResponseComplete",
            "responseStatus": {"code": 201},
            "objectRef": {**ref, "namespace": meta.namespace, "uid": meta.uid},
            "requestObject": {"target": {"kind": "Node", "name": pod.spec.node_name}},
            **more,
        }

    def run(self, capsys: Captured, *, has_log: bool = True, code: int) -> list[dict[str, Any]]:
        """The findings of the command."""
        self.written.close()
        items = [json.loads(encode(pod)) for pod in self.pods.values()]
        pods, log = self.folder / "pods.json", self.folder / "audit.log"
        pods.write_text(json.dumps({"kind": "List", "items": items}))
        log.write_text("".join(f"{json.dumps(event)}\n" for event in self.events))
        arguments = ["--journal", str(self.folder / "journal"), "--pods", str(pods)]
        arguments += ["--audit-log", str(log)] if has_log else []
        assert main(["audit", "reconcile", *arguments, "--output", "json"]) == code
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
        return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_a_cluster_that_agrees_is_told(case: Case, capsys: Captured) -> None:
    assert case.run(capsys, code=Exit.DONE) == []


def test_a_binding_without_a_record_is_named(case: Case, capsys: Captured) -> None:
    case.pods["p9"] = make_pod("p9", node="a", scheduler="herz")
    case.pods["theirs"] = make_pod("theirs", node="a", scheduler="other")
    case.pods["waits"] = make_pod("waits", scheduler="herz")
    (found,) = case.run(capsys, has_log=False, code=Exit.NO)
    assert (found["fault"], found["pod"]) == ("binding without a record", "shop/p9")
    assert found["what"] == "it is on a; the journal places it nowhere"


def test_a_pod_on_another_node_is_named_from_both_sides(case: Case, capsys: Captured) -> None:
    there = case.pods["p0"].spec.node_name
    other = "b" if there == "a" else "a"
    case.pods["p0"] = versioned(case.pods["p0"], "30", other)
    found = case.run(capsys, has_log=False, code=Exit.NO)
    assert [each["fault"] for each in found] == [
        "binding without a record",
        "record without a binding",
    ]
    assert f"it is on {other}; the journal places it {there}" in found[0]["what"]


def test_a_record_without_a_binding_is_named_unless_a_deletion_was_logged(
    case: Case, capsys: Captured
) -> None:
    gone = case.pods.pop("p0")
    case.written.machine.apply(ObjectDeleted(time_ns=case.written.now, object=gone))
    missing = case.pods.pop("p1")
    (found,) = case.run(capsys, code=Exit.NO)
    assert (found["fault"], found["uid"]) == ("record without a binding", missing.metadata.uid)
    assert "no deletion was logged" in found["what"]
    assert found["entry"] > 0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda pod: versioned(pod, "5"), "saw resourceVersion 22; the cluster is at 5"),
        (
            lambda pod: msgspec.structs.replace(
                pod, metadata=msgspec.structs.replace(pod.metadata, labels={"a": "b"})
            ),
            "told something else of resourceVersion 22",
        ),
        (
            lambda pod: msgspec.structs.replace(
                pod, metadata=msgspec.structs.replace(pod.metadata, name="renamed")
            ),
            "told that this uid is shop/p2",
        ),
    ],
)
def test_an_input_that_the_cluster_contradicts_is_named(
    case: Case, capsys: Captured, change: Any, what: str
) -> None:
    case.pods["p2"] = change(case.pods["p2"])
    (found,) = case.run(capsys, has_log=False, code=Exit.NO)
    assert found["fault"] == "input that the cluster contradicts"
    assert what in found["what"]


def test_a_pod_that_was_logged_as_gone_and_is_there_is_named(case: Case, capsys: Captured) -> None:
    case.written.machine.apply(ObjectDeleted(time_ns=case.written.now, object=case.pods["p2"]))
    (found,) = case.run(capsys, has_log=False, code=Exit.NO)
    assert "says that it is gone" in found["what"]


def test_the_api_servers_log_is_compared_both_ways(case: Case, capsys: Captured) -> None:
    case.events[0] = case.binding(case.pods["p0"], responseStatus={"code": 409})
    deleted = make_pod("deleted-since", node="b", scheduler="herz")
    foreign = make_pod("theirs", node="b", scheduler="other")
    case.pods["theirs"] = foreign
    case.events += [case.binding(deleted), case.binding(foreign), {"verb": "get"}]
    found = case.run(capsys, code=Exit.NO)
    assert [(each["pod"], each["fault"]) for each in found] == [
        ("shop/deleted-since", "binding without a record"),
        ("shop/p0", "record without a binding"),
    ]
    assert found[0]["what"] == "request id-deleted-since bound it to b"


def test_an_event_without_bodies_is_matched_by_name(case: Case, capsys: Captured) -> None:
    for event in case.events:
        del event["requestObject"], event["objectRef"]["uid"]
    assert case.run(capsys, code=Exit.DONE) == []


def test_another_scheduler_may_be_the_journals(case: Case, capsys: Captured) -> None:
    case.pods["p9"] = make_pod("p9", node="a", scheduler="mine")
    assert case.run(capsys, has_log=False, code=Exit.DONE) == []
    arguments = ["--journal", str(case.folder / "journal"), "--scheduler", "mine"]
    pods = ["--pods", str(case.folder / "pods.json")]
    assert main(["audit", "reconcile", *arguments, *pods]) == Exit.NO
    assert "binding without a record" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "text", "what"),
    [
        ("--pods", None, "not a list of pods"),
        ("--pods", "{}", "not a list of pods"),
        ("--pods", "[1]", "not a list of pods"),
        ("--pods", '{"items": [{"metadata": {"name": "a"}}]}', "a pod without uid"),
        ("--pods", '{"items": [{"metadata": 7}]}', "items[0]"),
        ("--audit-log", None, "cannot be read"),
        ("--audit-log", "{\n", "audit.k8s.io"),
        ("--audit-log", '{"verb": 7}\n', "audit.k8s.io"),
    ],
)
def test_bad_input_is_told(
    case: Case, capsys: Captured, option: str, text: str | None, what: str
) -> None:
    case.written.close()
    files = {"--pods": '{"items": []}', "--audit-log": ""}
    arguments = ["--journal", str(case.folder / "journal")]
    for name, content in files.items():
        path = case.folder / name.strip("-")
        chosen = text if name == option else content
        if chosen is not None:
            path.write_text(chosen)
        arguments += [name, str(path)]
    assert main(["audit", "reconcile", *arguments]) == Exit.USAGE
    assert what in capsys.readouterr().err


def test_an_object_that_is_no_pod_does_not_disturb(case: Case, capsys: Captured) -> None:
    case.written.machine.apply(ObjectApplied(time_ns=case.written.now, object=make_node("c")))
    assert case.run(capsys, code=Exit.DONE) == []
