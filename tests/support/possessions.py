"""What pods hold besides room, in random lives for the hints: volumes and shared accelerators."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from msgspec.structs import replace

from herz.model.objects import KubernetesObject, Node, PersistentVolume, PersistentVolumeClaim
from tests.support.lives import LITTLE, Kind
from tests.support.storage import (
    COMPLETED,
    DRIVER,
    DYNAMIC,
    IMMEDIATE,
    LOCAL,
    make_attachment,
    make_capacity,
    make_claim,
    make_class,
    make_csi_node,
    make_driver,
    make_volume,
)

COUNT, MILLI = "herz.dev/gpu-count", "herz.dev/gpu-milli"
CLAIMS = ("c0", "c1", "c2")
VOLUMES = ("v0", "v1", "v2")
GCE = {"gcePersistentDisk": {"pdName": "disk"}}
AWS = {"awsElasticBlockStore": {"volumeID": "vol-1"}}
ONCE = ("ReadWriteOncePod",)
PLUGIN = "kubernetes.io/gce-pd"


def mounting(*claims: str, disks: tuple[Mapping[str, Any], ...] = ()) -> Kind:
    """A pod with these claims and disks."""
    found: list[dict[str, Any]] = [
        {"name": f"v{at}", "persistentVolumeClaim": {"claimName": claim}}
        for at, claim in enumerate(claims)
    ]
    found += [{"name": f"w{at}", **disk} for at, disk in enumerate(disks)]
    return LITTLE, {"spec": {"volumes": found}}


KINDS: Mapping[str, tuple[Kind, ...]] = {
    "VolumeBinding": (mounting("c0"), mounting("c1"), mounting("c0", "c1"), mounting("c2")),
    "VolumeZone": (mounting("c0"), mounting("c1"), mounting("c0", "c2")),
    "VolumeRestrictions": (
        mounting("c0"),
        mounting("c1"),
        mounting(disks=(GCE,)),
        mounting(disks=(AWS,)),
        mounting(disks=({"gcePersistentDisk": {"pdName": "disk", "readOnly": True}},)),
    ),
    "NodeVolumeLimits": (
        mounting("c0"),
        mounting("c1"),
        mounting("c0", "c1", "c2"),
        mounting(disks=(GCE,)),
        (LITTLE, {"spec": {"volumes": [{"name": "own", "ephemeral": {}}]}}),
    ),
    "GpuShare": (
        ({MILLI: "1000"}, {}),
        ({MILLI: "600"}, {}),
        ({MILLI: "300"}, {}),
        ({MILLI: "500", COUNT: "2"}, {}),
    ),
}
"""Kinds of pods by the rule that is to reject them."""
EVERY = tuple(kind for kinds in KINDS.values() for kind in kinds)
"""All of them."""


def with_devices(chance: Random, node: Node) -> Node:
    """The node, with a few shared accelerators, or none."""
    devices = chance.choice([0, 1, 1, 2])
    more = {COUNT: str(devices), MILLI: str(1000 * devices)} if devices else {}
    allocatable = {**node.status.allocatable, **more}
    return replace(node, status=replace(node.status, allocatable=allocatable))


def storage_of(chance: Random, hosts: list[str]) -> KubernetesObject:
    """An object that the volume rules read. Of each claim and volume there are few forms."""
    host, zone = chance.choice(hosts), chance.choice("ab")
    limits: dict[str, int | None] = chance.choice([{}, {DRIVER: 1}, {DRIVER: 2}, {DRIVER: None}])
    limits = limits | chance.choice([{}, {"pd.csi.storage.gke.io": 1}])
    kinds: tuple[tuple[int, KubernetesObject], ...] = (
        (6, _claim(chance)),
        (5, _volume(chance, zone)),
        (2, make_csi_node(host, limits, migrated=chance.choice(["", PLUGIN]))),
        (3, _class(chance)),
        (1, make_driver(has_capacity=chance.choice([True, False]))),
        (2, make_capacity(chance.choice("pq"), zone, chance.choice([None, "1Gi", "2Gi"]))),
        (2, make_attachment(chance.choice("xy"), host, chance.choice(VOLUMES))),
    )
    return chance.choices([thing for _, thing in kinds], [weight for weight, _ in kinds])[0]


def _claim(chance: Random) -> PersistentVolumeClaim:
    # The class of a claim never changes, nor does the volume that it is bound to.
    name = chance.choice(CLAIMS)
    storage_class = {"c0": LOCAL, "c1": DYNAMIC, "c2": chance.choice([IMMEDIATE, LOCAL])}[name]
    modes = ONCE if name == "c1" and chance.random() < 0.5 else ("ReadWriteOnce",)
    bound = f"v{name[1:]}" if chance.random() < 0.4 else ""
    return make_claim(
        name,
        storage_class,
        volume=bound,
        modes=modes,
        size=chance.choice(["1Gi", "2Gi"]),
        phase=chance.choice(["", "", "", "Lost"]),
        is_deleted=chance.random() < 0.05,
    )


def _volume(chance: Random, zone: str) -> PersistentVolume:
    name = chance.choice(VOLUMES)
    labels: dict[str, str] = chance.choice([{}, {"topology.kubernetes.io/zone": zone}])
    return make_volume(
        name,
        chance.choice([LOCAL, LOCAL, IMMEDIATE]),
        claim=chance.choice(["", "", f"c{name[1:]}"]),
        zone=chance.choice(["", zone]),
        labels=labels,
        size=chance.choice(["1Gi", "2Gi"]),
        phase=chance.choice(["", "", "Released"]),
        handle=chance.choice(["", name]),
        modes=("ReadWriteOnce", *ONCE),
    )


def _class(chance: Random) -> KubernetesObject:
    if chance.random() < 0.5:
        return make_class(LOCAL, "kubernetes.io/no-provisioner")
    zones: tuple[str, ...] = chance.choice([(), ("a",), ("b",)])
    return make_class(chance.choice([DYNAMIC, IMMEDIATE]), zones=zones)


def completed(claim: PersistentVolumeClaim, volume: str, notes: Mapping[str, str]) -> Any:
    """The claim, bound to a volume."""
    meta = claim.metadata
    annotated = {**meta.annotations, **notes, COMPLETED: "yes"}
    return replace(
        claim,
        metadata=replace(meta, annotations=annotated),
        spec=replace(claim.spec, volume_name=volume),
    )
