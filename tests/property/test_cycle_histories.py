"""Random lives of a cluster: after every event the machine's parts agree with each other."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herz.commit.audit.chain import NO_RECORD
from herz.intake.queue.lifecycle import State
from herz.model.effects import Bind
from herz.model.outcomes import BindOutcome
from herz.place.snapshot import SnapshotDigest, node_element, placement_element
from tests.support import strategies as some
from tests.support.machine import SECOND, Harness, only
from tests.support.objects import make_node, make_pod

NODES = [f"n{number}" for number in range(4)]
PODS = st.integers(0, 9)

steps = st.one_of(
    st.sampled_from(NODES).flatmap(lambda name: st.tuples(st.just("node"), some.nodes(name))),
    st.tuples(st.just("drop"), st.sampled_from(NODES)),
    st.tuples(
        st.just("pod"),
        PODS,
        st.sampled_from(["", "", "", "gate", "bad", "odd", "label", "ending", "ended"]),
    ),
    st.tuples(st.just("pod"), PODS, st.just("")),
    st.tuples(st.just("bound"), PODS, st.sampled_from(NODES)),
    st.tuples(st.just("gone"), PODS),
    st.tuples(st.just("step"), st.integers(0, 20), st.integers(1, 6)),
    st.tuples(st.just("step"), st.integers(0, 400), st.integers(1, 6)),
    st.tuples(st.just("answer"), st.integers(0, 5), st.sampled_from(list(BindOutcome))),
)


def pod_of(number: int, form: str = "", node: str = "") -> Any:
    requests, others = some.KINDS[number % len(some.KINDS)]
    requests = {"memory": "1 GB"} if form == "bad" else requests
    return make_pod(
        f"p{number}",
        requests,
        node=node,
        gates=["wait"] if form == "gate" else [],
        labels={"x": "1"} if form == "label" else {},
        annotations={"herz.dev/after": "p1=x"} if form == "odd" else {},
        is_terminating=form == "ending",
        phase="Succeeded" if form == "ended" else "",
        **{key: value for key, value in others.items() if key != "labels"},
    )


def act(harness: Harness, binds: list[Bind], step: tuple[Any, ...]) -> None:
    match step:
        case ("node", node):
            harness.apply(node)
        case ("drop", name):
            harness.delete(make_node(name))
        case ("pod", number, form):
            held = harness.cluster.ledger.get(f"uid-p{number}")
            if held is None or not held.is_bound or form == "ended":
                harness.apply(pod_of(number, form))
        case ("bound", number, name):
            held = harness.cluster.ledger.get(f"uid-p{number}")
            harness.apply(pod_of(number, node=held.node if held else name))
        case ("gone", number):
            harness.delete(pod_of(number))
        case ("step", seconds, limit):
            binds += only(Bind, harness.step(seconds * SECOND, limit))
        case ("answer", index, outcome):
            if binds:
                harness.answer(binds.pop(index % len(binds)), outcome, "because")


def check(harness: Harness) -> None:
    harness.queue.verify()
    cluster, ledger = harness.cluster, harness.cluster.ledger
    expected = SnapshotDigest()
    for node in cluster.nodes.nodes:
        if node is not None:
            expected.add("nodes", node_element(node))
    held = 0
    for queued in harness.queue:
        placed = ledger.get(queued.item.uid)
        is_reserved = queued.state in (State.RESERVED, State.BINDING)
        if placed is None or not placed.is_bound:
            expected.add("queue", queued.item.digest)  # type: ignore[attr-defined]
        if placed is None:
            assert not is_reserved
            assert queued.state is not State.BOUND
            continue
        held += 1
        assert placed.is_bound == (queued.state is State.BOUND)
        assert is_reserved == (not placed.is_bound)
        part = "pods" if placed.is_bound else "reservations"
        expected.add(part, placement_element(placed.pod, placed.node, placed.devices))
    assert held == len(ledger), "who holds room is known to the queue"
    assert harness.snapshot.digest(b"") == expected.digest(b"")
    check_chain(harness)


def check_chain(harness: Harness) -> None:
    previous = NO_RECORD
    for number, line in enumerate(harness.kept.lines, 1):
        record = json.loads(line)
        assert (record["sequence"], record["previous"]) == (number, previous)
        previous = hashlib.sha3_384(line).hexdigest()
    assert harness.chain.head == previous


@pytest.mark.slow
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=3, max_size=50))
def test_the_parts_agree_after_every_event_and_the_history_replays(history: list[Any]) -> None:
    first, second = Harness(), Harness()
    binds: tuple[list[Bind], list[Bind]] = ([], [])
    for step in history:
        act(first, binds[0], step)
        act(second, binds[1], step)
        check(first)
    assert first.kept.lines == second.kept.lines
    assert first.counters == second.counters


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=3, max_size=50))
def test_nothing_is_left_when_all_is_gone(history: list[Any]) -> None:
    harness, binds = Harness(), list[Bind]()
    for step in history:
        act(harness, binds, step)
    for number in range(10):
        harness.delete(pod_of(number))
    for name in NODES:
        harness.delete(make_node(name))
    assert len(harness.queue) == len(harness.cluster.ledger) == harness.cluster.nodes.count == 0
    assert harness.snapshot.digest(b"") == SnapshotDigest().digest(b"")
    assert not harness.cluster.nodes.usage.requested.any()
    assert not harness.cluster.nodes.usage.nonzero.any()
    assert harness.cluster.nodes.usage.ports == {}
    assert harness.queue.next_wake_ns() is None
    assert harness.chain._told == {}
