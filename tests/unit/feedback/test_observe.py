"""Observe: placements are paired with what became of their promises, each window once."""

from __future__ import annotations

import pytest

from herz import signals
from herz.feedback.observe import promises as observing
from herz.feedback.observe.promises import PromiseObserver
from herz.knowledge.sla.classes import CLASS_LABEL
from tests.support.machine import Harness, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import arguments, profile, sample

RULES = ("Understood", "NodeResourcesFit", "SLAClasses", "SLARefuse", "SLAFit")


@pytest.fixture
def observer() -> PromiseObserver:
    """Has seen three pods placed: a and b with a promise, c without."""
    made = Harness(make_policy(RULES, {"SLAFit": arguments(), "SLARefuse": arguments()}))
    made.apply(make_node("n0"), sample("n0"), profile("web", cpu_used=100, bandwidth_used=100))
    for name in ("a", "b"):
        made.place(make_pod(name, labels={"app": "web", CLASS_LABEL: "online"}))
    made.place(make_pod("c"))
    found = PromiseObserver()
    for record in made.kept.records:
        found.append(record, b"", b"")
    return found


def test_outcome_has_what_was_predicted(observer: PromiseObserver) -> None:
    found = observer.outcome("uid-a", 7, is_kept=False, latency_ns=120_000_000)
    assert found is not None
    assert (found.placement.sequence, found.placement.node) == (1, "n0")
    assert found.placement.probability > 9_000
    assert found.placement.policy.startswith("@sha256:")
    assert (found.is_kept, found.latency_ns) == (False, 120_000_000)
    assert observer.counters == {signals.PROMISE_OUTCOMES.format(outcome="broken"): 1}


def test_window_counts_once_and_an_older_one_never(observer: PromiseObserver) -> None:
    assert observer.outcome("uid-a", 7, is_kept=True) is not None
    assert observer.outcome("uid-a", 7, is_kept=False) is None
    assert observer.outcome("uid-a", 6, is_kept=False) is None
    assert observer.outcome("uid-a", 8, is_kept=True) is not None
    assert observer.outcome("uid-b", 7, is_kept=False) is not None
    kept, broken = (signals.PROMISE_OUTCOMES.format(outcome=one) for one in ("kept", "broken"))
    assert (observer.counters[kept], observer.counters[broken]) == (2, 1)


def test_who_promised_nothing_or_is_gone_has_no_outcome(observer: PromiseObserver) -> None:
    assert observer.outcome("uid-c", 1, is_kept=True) is None
    observer.gone("uid-a")
    assert observer.outcome("uid-a", 1, is_kept=True) is None


def test_placements_are_bounded(observer: PromiseObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "PLACEMENTS_MAX", 1)
    made = Harness(make_policy(RULES, {"SLAFit": arguments(), "SLARefuse": arguments()}))
    made.apply(make_node("n0"), sample("n0"))
    made.place(make_pod("d", labels={CLASS_LABEL: "online"}))
    observer.append(made.kept.records[-1], b"", b"")
    assert observer.counters[signals.PROMISES_FORGOTTEN] == 2
    assert observer.outcome("uid-d", 1, is_kept=True) is not None
    assert observer.outcome("uid-a", 1, is_kept=True) is None
