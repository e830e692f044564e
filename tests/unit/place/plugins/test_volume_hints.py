"""Which events wake the pods that the volume rules rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from herz.model.objects import KubernetesObject, Pod
from tests.support.machine import Harness, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.storage import (
    DRIVER,
    IMMEDIATE,
    LOCAL,
    make_attachment,
    make_capacity,
    make_claim,
    make_class,
    make_csi_node,
    make_driver,
    make_volume,
    using,
)
from tests.unit.place.plugins.volume_cases import CLASSES, LIMIT_1, disk, ephemeral

Event = Callable[[Harness], Any]


def comes(*things: KubernetesObject) -> Event:
    return lambda harness: harness.apply(*things)


def leaves(*things: KubernetesObject) -> Event:
    return lambda harness: harness.delete(*things)


ONCE = {"modes": ["ReadWriteOncePod"]}
HOLDS = disk("x", "gcePersistentDisk", "a", pdName="d")
WANTS = disk("p", "gcePersistentDisk", pdName="d")
ZONED: list[Any] = [
    make_claim("c", LOCAL, volume="pv"),
    make_volume("pv", claim="c", labels={"topology.kubernetes.io/zone": "y"}),
    make_node("a", labels={"topology.kubernetes.io/zone": "x"}),
]
FILLED: list[Any] = [LIMIT_1, make_claim("c"), make_claim("d"), using("x", "d", node="a")]
MINE = using("p", "c")

HINTS: list[tuple[str, str, list[Any], Pod, Event, bool]] = [
    # ---- VolumeRestrictions
    ("disk freed", "VolumeRestrictions", [HOLDS], WANTS, leaves(HOLDS), True),
    (
        "other pod left",
        "VolumeRestrictions",
        [HOLDS, using("y", node="a")],
        WANTS,
        leaves(using("y", node="a")),
        False,
    ),
    ("disk, node came", "VolumeRestrictions", [HOLDS], WANTS, comes(make_node("b")), True),
    (
        "disk, label",
        "VolumeRestrictions",
        [HOLDS],
        WANTS,
        comes(make_node("a", labels={"q": ""})),
        False,
    ),
    ("claim came", "VolumeRestrictions", [], MINE, comes(make_claim("c")), True),
    ("other claim came", "VolumeRestrictions", [], MINE, comes(make_claim("d")), False),
    # ---- NodeVolumeLimits
    (
        "pod with claim left",
        "NodeVolumeLimits",
        FILLED,
        MINE,
        leaves(using("x", "d", node="a")),
        True,
    ),
    (
        "pod with its claim came",
        "NodeVolumeLimits",
        FILLED,
        MINE,
        comes(using("y", "c", node="a")),
        True,
    ),
    (
        "pod with another claim came",
        "NodeVolumeLimits",
        FILLED,
        MINE,
        comes(using("y", "d", node="a")),
        False,
    ),
    (
        "plain pod left",
        "NodeVolumeLimits",
        [*FILLED, make_pod("y", node="a")],
        MINE,
        leaves(make_pod("y", node="a")),
        False,
    ),
    ("limit rose", "NodeVolumeLimits", FILLED, MINE, comes(make_csi_node("a", {DRIVER: 2})), True),
    ("limit fell", "NodeVolumeLimits", FILLED, MINE, comes(make_csi_node("a", {DRIVER: 0})), False),
    (
        "CSINode came",
        "NodeVolumeLimits",
        FILLED,
        MINE,
        comes(make_csi_node("b", {DRIVER: 2})),
        True,
    ),
    (
        "attachment gone",
        "NodeVolumeLimits",
        [*FILLED, make_attachment("t", "a", "v")],
        MINE,
        leaves(make_attachment("t", "a", "v")),
        True,
    ),
    (
        "attachment came",
        "NodeVolumeLimits",
        FILLED,
        MINE,
        comes(make_attachment("t", "a", "v")),
        False,
    ),
    # ---- VolumeZone
    (
        "zone of node",
        "VolumeZone",
        ZONED,
        MINE,
        comes(make_node("a", labels={"topology.kubernetes.io/zone": "y"})),
        True,
    ),
    ("zone, node came", "VolumeZone", ZONED, MINE, comes(make_node("b")), True),
    (
        "zone, node grew",
        "VolumeZone",
        ZONED,
        MINE,
        comes(make_node("a", cpu="9", labels={"topology.kubernetes.io/zone": "x"})),
        False,
    ),
    ("zone of volume", "VolumeZone", ZONED, MINE, comes(make_volume("pv", claim="c")), True),
    (
        "volume, otherwise",
        "VolumeZone",
        ZONED,
        MINE,
        comes(
            make_volume("pv", claim="c", size="9Gi", labels={"topology.kubernetes.io/zone": "y"})
        ),
        False,
    ),
    ("zone, claim", "VolumeZone", ZONED, MINE, comes(make_claim("c", LOCAL, volume="other")), True),
    ("zone, other claim", "VolumeZone", ZONED, MINE, comes(make_claim("d", LOCAL)), False),
    ("class that waits", "VolumeZone", ZONED, MINE, comes(make_class("new")), True),
    (
        "class that does not",
        "VolumeZone",
        ZONED,
        MINE,
        comes(make_class("new", mode="Immediate")),
        False,
    ),
    # ---- VolumeBinding
    (
        "volume came",
        "VolumeBinding",
        [make_claim("c", LOCAL)],
        MINE,
        comes(make_volume("pv")),
        True,
    ),
    (
        "volume changed",
        "VolumeBinding",
        [make_claim("c", LOCAL), make_volume("pv", phase="Pending")],
        MINE,
        comes(make_volume("pv")),
        True,
    ),
    (
        "my claim",
        "VolumeBinding",
        [make_claim("c", IMMEDIATE)],
        MINE,
        comes(make_claim("c", IMMEDIATE, volume="pv")),
        True,
    ),
    (
        "not my claim",
        "VolumeBinding",
        [make_claim("c", IMMEDIATE)],
        MINE,
        comes(make_claim("d", IMMEDIATE)),
        False,
    ),
    (
        "my ephemeral claim",
        "VolumeBinding",
        [],
        ephemeral(),
        comes(make_claim("p-data", owner="uid-p")),
        True,
    ),
    ("class came", "VolumeBinding", [make_claim("c", LOCAL)], MINE, comes(make_class("new")), True),
    (
        "topologies",
        "VolumeBinding",
        [make_class("z", zones=["q"]), make_claim("c", "z")],
        MINE,
        comes(make_class("z", zones=["q", "a"])),
        True,
    ),
    (
        "class, otherwise",
        "VolumeBinding",
        [make_class("z", zones=["q"]), make_claim("c", "z")],
        MINE,
        comes(make_class("z", "other", zones=["q"])),
        False,
    ),
    (
        "label",
        "VolumeBinding",
        [make_claim("c", LOCAL)],
        MINE,
        comes(make_node("a", labels={"q": ""})),
        True,
    ),
    (
        "size of node",
        "VolumeBinding",
        [make_claim("c", LOCAL)],
        MINE,
        comes(make_node("a", cpu="9")),
        False,
    ),
    (
        "binding, node came",
        "VolumeBinding",
        [make_claim("c", LOCAL)],
        MINE,
        comes(make_node("b")),
        True,
    ),
    (
        "capacity came",
        "VolumeBinding",
        [make_driver(), make_claim("c")],
        MINE,
        comes(make_capacity("k", "a", "1")),
        True,
    ),
    (
        "capacity grew",
        "VolumeBinding",
        [make_driver(), make_claim("c"), make_capacity("k", "a", "1")],
        MINE,
        comes(make_capacity("k", "a", "2")),
        True,
    ),
    (
        "capacity shrank",
        "VolumeBinding",
        [make_driver(), make_claim("c"), make_capacity("k", "a", "2")],
        MINE,
        comes(make_capacity("k", "a", "1")),
        False,
    ),
    (
        "capacity is not asked for",
        "VolumeBinding",
        [make_driver(), make_claim("c")],
        MINE,
        comes(make_driver(has_capacity=False)),
        True,
    ),
    ("driver came", "VolumeBinding", [make_claim("c", LOCAL)], MINE, comes(make_driver()), False),
    (
        "driver with capacities is gone",
        "VolumeBinding",
        [make_driver(), make_claim("c")],
        MINE,
        leaves(make_driver()),
        True,
    ),
    ("limits are gone", "NodeVolumeLimits", FILLED, MINE, leaves(LIMIT_1), True),
    ("limit is said no more", "NodeVolumeLimits", FILLED, MINE, comes(make_csi_node("a")), True),
    (
        "plugins moved",
        "VolumeBinding",
        [make_csi_node("a"), make_claim("c", LOCAL)],
        MINE,
        comes(make_csi_node("a", migrated="x")),
        True,
    ),
    (
        "drivers moved",
        "VolumeBinding",
        [make_csi_node("a"), make_claim("c", LOCAL)],
        MINE,
        comes(make_csi_node("a", {DRIVER: 3})),
        False,
    ),
    (
        "binding, pod left",
        "VolumeBinding",
        [make_claim("c", LOCAL), make_pod("y", node="a")],
        MINE,
        leaves(make_pod("y", node="a")),
        False,
    ),
]


@pytest.mark.parametrize(
    ("rule", "objects", "pod", "event", "is_woken"),
    [one[1:] for one in HINTS],
    ids=[o[0] for o in HINTS],
)
def test_volume_hints_wake_as_the_source_says(
    rule: str,
    objects: list[Any],
    pod: Pod,
    event: Event,
    is_woken: bool,
) -> None:
    """EventsToRegister and the isSchedulableAfter functions of each plugin."""
    harness = Harness(make_policy([rule])).apply(make_node("a"), *CLASSES, *objects, pod)
    harness.step()
    assert harness.state("p") == "unschedulable"
    event(harness)
    assert (harness.state("p") != "unschedulable") == is_woken
