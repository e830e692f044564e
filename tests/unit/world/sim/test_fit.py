"""The independent check: what a pod takes, and whether a node has room for it."""

from __future__ import annotations

import pytest

from herz.errors import InvariantError
from herz.model.decode import convert
from herz.model.objects import Node, Pod
from herz.world.sim.fit import (
    Needs,
    Room,
    devices_in,
    is_fully_judged,
    needs_of,
    static_refusal,
)


def node(**more: object) -> Node:
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "3", "herz.dev/gpu-count": "2"}
    content = {"metadata": {"name": "n", "labels": {"zone": "a", "size": "7"}}}
    return convert(Node, {**content, "status": {"allocatable": allocatable}, **more})


def pod(requests: dict[str, object] | None = None, **spec: object) -> Pod:
    container = {"name": "c", "resources": {"requests": requests or {}}}
    return convert(
        Pod,
        {
            "metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {"containers": [container], **spec},
        },
    )


def test_needs_take_the_larger_of_start_and_run() -> None:
    def container(cpu: str, **more: object) -> dict[str, object]:
        return {"name": "x", "resources": {"requests": {"cpu": cpu}}, **more}

    asked = pod(
        containers=[container("1"), container("500m")],
        initContainers=[container("200m", restartPolicy="Always"), container("3")],
        overhead={"cpu": "100m"},
    )
    assert dict(needs_of(asked).amounts)["cpu"] == 3300


def test_room_refuses_what_is_too_much_and_gives_back_what_it_took() -> None:
    room, needs = Room.of(node()), needs_of(pod({"cpu": "3"}))
    assert room.refusal(needs, ()) == ""
    room.take("a", needs, ())
    assert room.refusal(needs, ()) == "Insufficient cpu"
    with pytest.raises(InvariantError):
        room.take("a", needs, ())
    assert room.give("a") == needs
    assert room.give("a") is None
    assert room.refusal(needs, ()) == ""


def test_room_counts_each_device() -> None:
    room = Room.of(node())
    needs = needs_of(pod({"herz.dev/gpu-milli": 600}))
    assert (needs.gpu_milli, needs.gpu_count) == (600, 1)
    assert room.refusal(needs, ()) != ""
    assert room.refusal(needs, (2,)) == "there is no device 2"
    room.take("a", needs, (0,))
    assert "device 0" in room.refusal(needs, (0,))
    assert room.first_devices(needs) == (1,)
    whole = needs_of(pod({"herz.dev/gpu-milli": 1000, "herz.dev/gpu-count": 2}))
    assert room.first_devices(whole) is None
    assert room.refusal(whole, (1, 1)) != ""


def test_room_knows_host_ports_and_the_pod_count() -> None:
    room = Room.of(node())
    ports = Needs(amounts=(), ports=(("10.0.0.1", "TCP", 80),))
    room.take("a", ports, ())
    assert room.refusal(Needs(amounts=(), ports=(("0.0.0.0", "TCP", 80),)), ()) != ""
    assert room.refusal(Needs(amounts=(), ports=(("10.0.0.2", "TCP", 80),)), ()) == ""
    assert room.refusal(Needs(amounts=(), ports=(("0.0.0.0", "UDP", 80),)), ()) == ""
    room.take("b", Needs(amounts=()), ())
    room.take("c", Needs(amounts=()), ())
    assert room.refusal(Needs(amounts=()), ()) == "Too many pods"


def test_resize_keeps_what_is_on_the_node() -> None:
    room, needs = Room.of(node()), needs_of(pod({"cpu": "3"}))
    room.take("a", needs, ())
    room.resize(node(status={"allocatable": {"cpu": "2", "pods": "9"}}))
    assert room.used["cpu"] == 3000
    assert room.refusal(needs_of(pod({"cpu": "1m"})), ()) == "Insufficient cpu"


def test_taints_keep_away_who_does_not_tolerate_them() -> None:
    tainted = node(spec={"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})
    assert "untolerated" in static_refusal(pod(), tainted)
    assert static_refusal(pod(tolerations=[{"key": "k", "operator": "Exists"}]), tainted) == ""
    assert static_refusal(pod(tolerations=[{"key": "k", "value": "v"}]), tainted) == ""
    assert static_refusal(pod(), node(spec={"unschedulable": True})) != ""


@pytest.mark.parametrize(
    ("operator", "values", "fits"),
    [
        ("In", ["a", "b"], True),
        ("In", ["b"], False),
        ("NotIn", ["b"], True),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
    ],
)
def test_required_affinity(operator: str, values: list[str], fits: bool) -> None:
    term = {"matchExpressions": [{"key": "zone", "operator": operator, "values": values}]}
    required = {"nodeSelectorTerms": [term]}
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    asked = pod(affinity={"nodeAffinity": {key: required}})
    assert (static_refusal(asked, node()) == "") is fits


def test_devices_come_from_the_annotation() -> None:
    assert devices_in([("herz.dev/gpu-devices", "0,3")]) == (0, 3)
    assert devices_in([("herz.dev/gpu-devices", "x")]) == ()
    assert devices_in([]) == ()


def test_pods_with_rules_beyond_the_check_are_told() -> None:
    assert is_fully_judged(pod())
    assert not is_fully_judged(pod(volumes=[{"name": "v", "persistentVolumeClaim": {}}]))
