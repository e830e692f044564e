"""The ledger: what is on a row is what a recount gives, and reservations never exceed the row."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herz.model.podinfo import PodInfo
from herz.place.usage import NO_DEVICE
from tests.support.machine import World
from tests.support.objects import make_node, make_pod

NODES = ("n0", "n1", "n2", "n3")
PODS = range(10)
GPUS = "herz.dev/gpu-count"
SHARE = "herz.dev/gpu-milli"
LATE = "example.com/late"

amounts = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "1m", "700m", "2"]),
        "memory": st.sampled_from(["1Mi", "900Mi"]),
        LATE: st.sampled_from(["1", "2"]),
        "ephemeral-storage": st.just("1Gi"),
        SHARE: st.sampled_from(["250", "600", "1000"]),
        GPUS: st.sampled_from(["1", "2"]),
    },
)
ports = st.lists(
    st.tuples(
        st.sampled_from([80, 81]),
        st.sampled_from(["TCP", "UDP"]),
        st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
    ),
    max_size=3,
)


@st.composite
def pods(draw: st.DrawFn) -> Any:
    return make_pod(f"p{draw(st.sampled_from(PODS))}", draw(amounts), ports=draw(ports))


@st.composite
def machines(draw: st.DrawFn) -> Any:
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                LATE: st.just("3"),
                GPUS: st.sampled_from(["0", "1", "3"]),
                "ephemeral-storage": st.just("2Gi"),
            },
        )
    )
    name = draw(st.sampled_from(NODES))
    return make_node(name, cpu=draw(st.sampled_from(["1", "2"])), memory="2Gi", more=more)


devices = st.lists(st.integers(0, 3), max_size=2, unique=True).map(tuple)
steps = st.one_of(
    st.tuples(st.just("node"), machines()),
    st.tuples(st.just("drop"), st.sampled_from(NODES)),
    st.tuples(st.just("reserve"), pods(), st.sampled_from(NODES), devices),
    st.tuples(st.just("assign"), pods(), st.sampled_from(NODES), devices),
    st.tuples(st.just("forget"), st.sampled_from(PODS)),
)

Ports = dict[tuple[str, int], dict[int, tuple[str, ...]]]


class Model:
    """The plain truth: who is where."""

    def __init__(self) -> None:
        self.world = World()
        self.placed: dict[str, tuple[PodInfo, str, tuple[int, ...]]] = {}

    @property
    def rows(self) -> dict[str, int]:
        return self.world.cluster.nodes.rows

    def act(self, step: tuple[Any, ...]) -> None:
        cluster = self.world.cluster
        match step:
            case ("node", node):
                cluster.apply_node(node)
            case ("drop", name):
                cluster.remove_node(name)
            case ("reserve", pod, name, wanted):
                if name in self.rows and pod.metadata.uid not in self.placed:
                    self.reserve(self.world.read(pod), name, wanted)
            case ("assign", pod, name, wanted):
                info = self.world.read(pod)
                cluster.assign(info, name, wanted)
                self.placed[info.uid] = (info, name, wanted)
            case ("forget", number):
                cluster.forget(f"uid-p{number}")
                self.placed.pop(f"uid-p{number}", None)

    def reserve(self, info: PodInfo, name: str, wanted: tuple[int, ...]) -> None:
        nodes, row = self.world.cluster.nodes, self.rows[name]
        before = self.columns()
        has_room = all(
            amount <= int(nodes.allocatable[nodes.resource(key), row]) - self.asked(name, key)
            for key, amount in info.requests.items()
        )
        free = self.free_devices(name)
        fits = len(wanted) == info.gpu.count and all(
            free.get(device, NO_DEVICE) >= info.gpu.milli for device in wanted
        )
        is_held = self.world.cluster.reserve(info, row, wanted)
        assert is_held == (has_room and fits)
        if is_held:
            self.placed[info.uid] = (info, name, wanted)
        else:
            assert_same(self.columns(), before)

    def on(self, name: str) -> list[tuple[PodInfo, tuple[int, ...]]]:
        return [(pod, held) for pod, node, held in self.placed.values() if node == name]

    def asked(self, name: str, resource: str) -> int:
        return sum(pod.requests.get(resource, 0) for pod, _ in self.on(name))

    def free_devices(self, name: str) -> dict[int, int]:
        node = self.world.cluster.nodes.nodes[self.rows[name]]
        assert node is not None
        count = int(node.status.allocatable.get(GPUS, "0"))
        free = dict.fromkeys(range(count), 1000)
        for pod, held in self.on(name):
            for device in held:
                if device in free:
                    free[device] -= pod.gpu.milli
        return free

    def columns(self) -> tuple[npt.NDArray[np.int64], ...]:
        usage = self.world.cluster.nodes.usage
        return usage.requested.copy(), usage.nonzero.copy(), usage.devices.copy()

    def check(self) -> None:
        """Every column equals a recount from nothing."""
        nodes = self.world.cluster.nodes
        requested = np.zeros_like(nodes.usage.requested)
        nonzero = np.zeros_like(nodes.usage.nonzero)
        free = np.full_like(nodes.usage.devices, NO_DEVICE)
        taken: dict[tuple[str, int], dict[int, list[str]]] = defaultdict(dict)
        for name, row in self.rows.items():
            for resource, column in nodes.resources.items():
                requested[column, row] = self.asked(name, resource)
            for pod, _ in self.on(name):
                nonzero[:, row] += pod.nonzero
                for port in pod.ports:
                    at = taken[port.protocol, port.port].setdefault(row, [])
                    at.append(port.ip)
            for device, left in self.free_devices(name).items():
                free[row, device] = left
        assert_same(self.columns(), (requested, nonzero, free))
        expected: Ports = {
            key: {row: tuple(sorted(at)) for row, at in rows.items()} for key, rows in taken.items()
        }
        assert nodes.usage.ports == expected
        assert {uid: node for uid, (_, node, _) in self.placed.items()} == {
            uid: held.node for uid in self.placed if (held := self.world.cluster.ledger.get(uid))
        }
        assert len(self.world.cluster.ledger) == len(self.placed)


def assert_same(
    left: tuple[npt.NDArray[np.int64], ...], right: tuple[npt.NDArray[np.int64], ...]
) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(steps, max_size=40))
def test_columns_equal_a_recount_after_any_history(history: list[Any]) -> None:
    model = Model()
    for step in history:
        model.act(step)
    model.check()


@pytest.mark.slow
@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("node"), st.sampled_from(NODES)),
            st.tuples(st.just("drop"), st.sampled_from(NODES)),
            st.tuples(st.just("reserve"), pods(), st.sampled_from(NODES), devices),
            st.tuples(st.just("forget"), st.sampled_from(PODS)),
        ),
        max_size=60,
    )
)
def test_reservations_never_exceed_a_row_whatever_goes_and_returns(history: list[Any]) -> None:
    more = {LATE: "3", GPUS: "2", "ephemeral-storage": "2Gi"}
    model = Model()
    model.world.nodes(make_node("n0", cpu="2", memory="2Gi", more=more))
    for step in history:
        if step[0] == "node":
            model.act(("node", make_node(step[1], cpu="2", memory="2Gi", more=more)))
        else:
            model.act(step)
        nodes = model.world.cluster.nodes
        assert (nodes.usage.requested <= nodes.allocatable).all()
        assert (nodes.usage.requested >= 0).all()
        devices = nodes.usage.devices
        assert (devices[devices != NO_DEVICE] >= 0).all()


@pytest.mark.slow
@settings(max_examples=100)
@given(history=st.lists(steps, max_size=20), pod=pods(), name=st.sampled_from(NODES), held=devices)
def test_release_after_reserve_restores_every_bit_and_both_are_idempotent(
    history: list[Any], pod: Any, name: str, held: tuple[int, ...]
) -> None:
    model = Model()
    model.world.nodes(make_node(name))
    for step in history:
        model.act(step)
    cluster = model.world.cluster
    cluster.forget(pod.metadata.uid)
    row = cluster.nodes.rows.get(name)
    if row is None:
        return
    info = model.world.read(pod)
    before, digest = model.columns(), model.world.snapshot.digest(b"")
    ports = {key: dict(rows) for key, rows in cluster.nodes.usage.ports.items()}
    if cluster.reserve(info, row, held):
        during, held_digest = model.columns(), model.world.snapshot.digest(b"")
        assert cluster.ledger.reserve(info, row, held)
        assert_same(model.columns(), during)
        assert held_digest != digest
        assert cluster.forget(info.uid) is not None
    assert cluster.forget(info.uid) is None
    assert_same(model.columns(), before)
    assert cluster.nodes.usage.ports == ports
    assert model.world.snapshot.digest(b"") == digest


def test_a_second_reserve_of_a_held_pod_is_no_second_element_of_the_digest() -> None:
    world = World().nodes(make_node("n0"))
    info = world.read(make_pod("a", {"cpu": "1"}))
    world.cluster.reserve(info, 0, ())
    once = world.snapshot.digest(b"")
    world.cluster.reserve(info, 0, ())
    assert world.snapshot.digest(b"") == once


def test_a_new_resource_on_a_node_whose_pods_came_first_is_counted_once() -> None:
    world = World()
    world.assign(make_pod("a", {LATE: "2"}), "n0")
    world.nodes(make_node("n0", more={LATE: "3"}))
    nodes = world.cluster.nodes
    assert nodes.usage.requested[nodes.resource(LATE), nodes.rows["n0"]] == 2
    world.cluster.forget("uid-a")
    assert nodes.usage.requested[nodes.resource(LATE), nodes.rows["n0"]] == 0
