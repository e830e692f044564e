"""A shadow tells pods that were bound before it saw them from news of those that it knows."""

from __future__ import annotations

import pytest

from herz import app
from herz.ports import Machine, RecordSink
from herz.world.kube.shadow import Shadow
from tests.support.fake_api import FakeApi
from tests.support.objects import make_node, make_pod


def made(sink: RecordSink) -> Machine:
    return app.build_machine(app.load_policy("default"), 1, [sink])


def test_a_pod_that_comes_with_a_node_is_late_once_and_no_news_costs_a_walk_over_all_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machines: list[Machine] = []

    def make(sink: RecordSink) -> Machine:
        machines.append(made(sink))
        return machines[0]

    shadow = Shadow(make, FakeApi(lambda _: None), ())
    shadow.applied(make_node("a"), ())
    shadow.applied(make_pod("there", node="a"), ())
    shadow.synced.set()

    def walked(_: object) -> dict[str, str]:
        raise AssertionError("a walk over all pods")

    monkeypatch.setattr(type(machines[0]), "held", property(walked))
    shadow.applied(make_pod("there", node="a", phase="Running"), ())
    assert shadow.agreement.late == 0
    for _ in range(2):
        shadow.applied(make_pod("new", node="a"), ())
    assert shadow.agreement.late == 1
    shadow.applied(make_pod("seen"), ())
    shadow.applied(make_pod("seen", node="a"), ())
    shadow.applied(make_pod("seen", node="a", phase="Running"), ())
    assert (shadow.agreement.pods, shadow.agreement.late) == (1, 1)
    shadow.deleted(make_pod("new", node="a"))
    shadow.applied(make_pod("new", node="a"), ())
    assert shadow.agreement.late == 2
