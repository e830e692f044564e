"""Claims, volumes and what goes with them, for tests, with as little said as the test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from herz.model.decode import convert
from herz.model.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    StorageClass,
    VolumeAttachment,
)
from tests.support.objects import make_pod

DRIVER = "csi.example.com"
SELECTED = "volume.kubernetes.io/selected-node"
COMPLETED = "pv.kubernetes.io/bind-completed"
LOCAL, DYNAMIC, IMMEDIATE = "local", "dynamic", "immediate"


def make_claim(
    name: str,
    storage_class: str = DYNAMIC,
    *,
    size: str = "1Gi",
    volume: str = "",
    uid: str = "",
    version: str = "",
    selected: str = "",
    modes: Sequence[str] = ("ReadWriteOnce",),
    owner: str = "",
    phase: str = "",
    annotations: Mapping[str, str] | None = None,
    is_deleted: bool = False,
    spec: Mapping[str, Any] | None = None,
) -> PersistentVolumeClaim:
    """A claim of the namespace of `make_pod`; with a volume, it is fully bound."""
    notes = dict(annotations or {})
    notes |= {SELECTED: selected} if selected else {}
    notes |= {COMPLETED: "yes"} if volume else {}
    owners = [{"uid": owner, "controller": True}] if owner else []
    content = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid or f"uid-{name}",
            "annotations": notes,
            "resourceVersion": version,
            "ownerReferences": owners,
            "deletionTimestamp": "2026-01-01T00:00:00Z" if is_deleted else None,
        },
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": size} if size else {}},
            "storageClassName": storage_class,
            "volumeName": volume,
            **(spec or {}),
        },
        "status": {"phase": phase or ("Bound" if volume else "Pending")},
    }
    return convert(PersistentVolumeClaim, content)


def make_volume(
    name: str,
    storage_class: str = LOCAL,
    *,
    size: str = "1Gi",
    claim: str = "",
    claim_uid: str | None = None,
    zone: str = "",
    host: str = "",
    labels: Mapping[str, str] | None = None,
    modes: Sequence[str] = ("ReadWriteOnce",),
    phase: str = "",
    version: str = "",
    handle: str = "",
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> PersistentVolume:
    """A volume, in reach of the nodes with the label `zone`, or `host`; all when not said."""
    reference = None
    if claim:
        uid = f"uid-{claim}" if claim_uid is None else claim_uid
        reference = {"namespace": "shop", "name": claim, "uid": uid}
    wanted = [
        {"key": k, "operator": "In", "values": [v]}
        for k, v in (("zone", zone), ("host", host))
        if v
    ]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}
    content = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
            "resourceVersion": version,
        },
        "spec": {
            "accessModes": list(modes),
            "capacity": {"storage": size},
            "storageClassName": storage_class,
            "claimRef": reference,
            "nodeAffinity": affinity if wanted else None,
            "csi": {"driver": DRIVER, "volumeHandle": handle} if handle else None,
            **(spec or {}),
        },
        "status": {"phase": phase or ("Bound" if claim else "Available")},
    }
    return convert(PersistentVolume, content)


def make_class(
    name: str, provisioner: str = DRIVER, *, mode: str | None = "", zones: Sequence[str] = ()
) -> StorageClass:
    """A class that waits for the first consumer, unless its name is that of the other kind."""
    usual = "Immediate" if name == IMMEDIATE else "WaitForFirstConsumer"
    terms = [{"matchLabelExpressions": [{"key": "zone", "values": list(zones)}]}]
    content = {
        "metadata": {"name": name},
        "provisioner": provisioner,
        "volumeBindingMode": usual if mode == "" else mode,
        "allowedTopologies": terms if zones else [],
    }
    return convert(StorageClass, content)


def make_csi_node(
    name: str, limits: Mapping[str, int | None] | None = None, migrated: str = ""
) -> CSINode:
    """A node's drivers, each with its limit."""
    drivers = [
        {"name": driver, "allocatable": None if count is None else {"count": count}}
        for driver, count in (limits or {}).items()
    ]
    notes = {"storage.alpha.kubernetes.io/migrated-plugins": migrated} if migrated else {}
    content = {"metadata": {"name": name, "annotations": notes}, "spec": {"drivers": drivers}}
    return convert(CSINode, content)


def make_driver(name: str = DRIVER, *, has_capacity: bool | None = True) -> CSIDriver:
    """A driver that reports its capacity."""
    content = {"metadata": {"name": name}, "spec": {"storageCapacity": has_capacity}}
    return convert(CSIDriver, content)


def make_capacity(
    name: str,
    zone: str | None,
    size: str | None,
    *,
    largest: str | None = None,
    storage_class: str = DYNAMIC,
) -> CSIStorageCapacity:
    """How much is left of a class in a zone; None: nowhere."""
    content = {
        "metadata": {"name": name, "namespace": "kube-system"},
        "storageClassName": storage_class,
        "nodeTopology": None if zone is None else {"matchLabels": {"zone": zone}},
        "capacity": size,
        "maximumVolumeSize": largest,
    }
    return convert(CSIStorageCapacity, content)


def make_attachment(name: str, node: str, volume: str, attacher: str = DRIVER) -> VolumeAttachment:
    """A volume that is attached to a node."""
    source = {"persistentVolumeName": volume or None}
    content = {
        "metadata": {"name": name},
        "spec": {"attacher": attacher, "nodeName": node, "source": source},
    }
    return convert(VolumeAttachment, content)


def using(
    name: str, *claims: str, node: str = "", volumes: Sequence[Any] = (), **given: Any
) -> Pod:
    """A pod with these claims, and other volumes as Kubernetes writes them."""
    asked = [
        {"name": f"v{number}", "persistentVolumeClaim": {"claimName": claim}}
        for number, claim in enumerate(claims)
    ]
    asked += [{"name": f"w{number}", **volume} for number, volume in enumerate(volumes)]
    return make_pod(name, node=node, spec={"volumes": asked}, **given)
