"""Pods with volumes in the chaos scenario: their claims and volumes, and what nodes can hold.

Few pods have volumes: one costs as much as several others, and each claim has a controller behind.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from herz.model.node import (
    CSIDriverAllocatable,
    CSINode,
    CSINodeDriver,
    CSINodeSpec,
)
from herz.model.objects import (
    KubernetesObject,
    LabelSelector,
    Node,
    NodeSelectorTerm,
    ObjectMeta,
    ResourceRequirements,
)
from herz.model.objects import NodeSelector as Selector
from herz.model.storage import (
    ClaimSpec,
    CSIDriver,
    CSIDriverSpec,
    CSIStorageCapacity,
    CSIVolumeSource,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeNodeAffinity,
    VolumeSpec,
)
from herz.world.sim.chaos.draft import Draft
from herz.world.sim.chaos.nodes import ZONES
from herz.world.sim.fit import ZONE
from herz.world.sim.make import HOSTNAME, one_of

DRIVER = "csi.chaos.dev"
LOCAL, LATER, AT_ONCE = "local", "later", "at-once"
"""Classes: static volumes of one node; made when a pod has a node; made at once, anywhere."""
HOSTS = 50
"""Nodes that every seed has, `node-000` and on: local volumes lie on some of them."""


def local(draft: Draft) -> None:
    """Claims that wait for one of the volumes that lie on single nodes: a few too few of them."""
    if not _takes_part(draft):
        return
    for number in range(draft.replicas):
        draft.objects.append(_claim(draft, number, LOCAL, size=draft.generator.choice((1, 2))))
    for number in range(draft.replicas - draft.generator.randrange(3)):
        host = f"node-{draft.generator.randrange(HOSTS):03d}"
        spec = VolumeSpec(
            capacity={"storage": f"{draft.generator.choice((1, 2, 3))}Gi"},
            access_modes=("ReadWriteOnce",),
            storage_class_name=LOCAL,
            node_affinity=_near(HOSTNAME, host),
        )
        draft.objects.append(_volume(f"{draft.app}-local-{number:02d}", spec))


def zonal(draft: Draft) -> None:
    """Claims that are bound from the start, to volumes of one zone that a driver attaches.

    Some pods have two of them, which is more than many nodes can attach.
    """
    if not _takes_part(draft):
        return
    claims = []
    for number in range(draft.replicas):
        zone, count = draft.generator.choice(ZONES), draft.generator.choice((1, 2))
        numbers = [number, draft.replicas + number][:count]
        draft.objects += [one for at in numbers for one in _bound(draft, at, zone)]
        claims.append(tuple(_name(draft, at) for at in numbers))
    draft.claims = tuple(claims)


def _bound(draft: Draft, number: int, zone: str) -> tuple[PersistentVolumeClaim, PersistentVolume]:
    """A claim and its volume in a zone."""
    claim = _claim(draft, number, "", volume=f"{draft.app}-zonal-{number:02d}")
    # The older way to say where a volume is, which another rule reads, is its label.
    is_labelled = draft.chance(50)
    spec = VolumeSpec(
        capacity={"storage": "1Gi"},
        access_modes=("ReadWriteOnce",),
        claim_ref=ObjectReference(
            namespace=draft.namespace, name=claim.metadata.name, uid=claim.metadata.uid
        ),
        node_affinity=None if is_labelled else _near(ZONE, zone),
        csi=CSIVolumeSource(driver=DRIVER, volume_handle=claim.spec.volume_name),
    )
    return claim, _volume(claim.spec.volume_name, spec, {ZONE: zone} if is_labelled else {})


def dynamic(draft: Draft) -> None:
    """Claims for which volumes are made: where the pod goes, or at once."""
    if not _takes_part(draft):
        return
    for number in range(draft.replicas):
        name = LATER if draft.chance(75) else AT_ONCE
        # One in ten asks for more than one of the zones has.
        size = 40 if draft.chance(10) else 1
        draft.objects.append(_claim(draft, number, name, size=size))


def sole(draft: Draft) -> None:
    """Claims that one pod only may use, each of which two pods name."""
    if not _takes_part(draft):
        return
    owners = (draft.replicas + 1) // 2
    draft.claims = tuple((_name(draft, number % owners),) for number in range(draft.replicas))
    for number in range(owners):
        draft.objects.append(_claim(draft, number, LATER, mode="ReadWriteOncePod"))


def make_storage(generator: random.Random, nodes: list[Node]) -> Iterator[KubernetesObject]:
    """Classes, the driver, what each node can attach, and how much is left in each zone."""
    waits = "WaitForFirstConsumer"
    for name, provisioner, mode in (
        (LOCAL, "kubernetes.io/no-provisioner", waits),
        (LATER, DRIVER, waits),
        (AT_ONCE, DRIVER, "Immediate"),
    ):
        meta = ObjectMeta(name=name)
        yield StorageClass(metadata=meta, provisioner=provisioner, volume_binding_mode=mode)
    yield CSIDriver(metadata=ObjectMeta(name=DRIVER), spec=CSIDriverSpec(storage_capacity=True))
    for zone, size in zip(ZONES, generator.sample((10, 50, 100), len(ZONES)), strict=True):
        yield CSIStorageCapacity(
            metadata=ObjectMeta(name=f"left-{zone}", namespace="kube-system"),
            storage_class_name=LATER,
            node_topology=LabelSelector(match_labels={ZONE: zone}),
            capacity=f"{size}Gi",
        )
    for node in nodes:
        limit = CSIDriverAllocatable(count=generator.choice((1, 1, 2, 3)))
        driver = CSINodeDriver(name=DRIVER, node_id=node.name, allocatable=limit)
        yield CSINode(metadata=ObjectMeta(name=node.name), spec=CSINodeSpec(drivers=(driver,)))


def _takes_part(draft: Draft) -> bool:
    """Make it few pods, each with one claim of its own; not where they have claims already."""
    if draft.claims:
        return False
    draft.replicas = draft.generator.randrange(8, 13)
    draft.claims = tuple((_name(draft, number),) for number in range(draft.replicas))
    return True


def _name(draft: Draft, number: int) -> str:
    return f"{draft.app}-data-{number:02d}"


def _claim(
    draft: Draft,
    number: int,
    storage_class: str,
    *,
    size: int = 1,
    mode: str = "ReadWriteOnce",
    volume: str = "",
) -> PersistentVolumeClaim:
    name = _name(draft, number)
    spec = ClaimSpec(
        access_modes=(mode,),
        resources=ResourceRequirements(requests={"storage": f"{size}Gi"}),
        storage_class_name=storage_class,
        volume_name=volume,
    )
    meta = ObjectMeta(name=name, namespace=draft.namespace, uid=f"{draft.namespace}-{name}")
    return PersistentVolumeClaim(metadata=meta, spec=spec)


def _volume(name: str, spec: VolumeSpec, labels: dict[str, str] | None = None) -> PersistentVolume:
    meta = ObjectMeta(name=name, uid=f"volume-{name}", labels=labels or {})
    return PersistentVolume(metadata=meta, spec=spec)


def _near(key: str, value: str) -> VolumeNodeAffinity:
    term = NodeSelectorTerm(match_expressions=(one_of(key, (value,)),))
    return VolumeNodeAffinity(required=Selector(node_selector_terms=(term,)))
