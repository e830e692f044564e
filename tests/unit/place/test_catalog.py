"""The catalogue: its digest is over what is there, and only what counts is an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from herz.model.decode import convert
from herz.model.objects import (
    CSIDriver,
    CSINode,
    CSIStorageCapacity,
    KubernetesObject,
    Namespace,
    NodeSignals,
    PersistentVolume,
    PersistentVolumeClaim,
    PodDisruptionBudget,
    PodGroup,
    ReplicaSet,
    ReplicationController,
    Service,
    ServiceProfile,
    SLAClass,
    StatefulSet,
    StorageClass,
    VolumeAttachment,
)
from herz.place.catalog import ASPECTS, Catalog
from herz.place.columns import NodeTable
from herz.place.snapshot import SnapshotDigest
from herz.plugin import Change, EventKind, Reads

SPACED = {
    ServiceProfile,
    Service,
    ReplicationController,
    ReplicaSet,
    StatefulSet,
    PersistentVolumeClaim,
    CSIStorageCapacity,
    PodGroup,
    PodDisruptionBudget,
}
SPACELESS = {
    Namespace,
    PersistentVolume,
    StorageClass,
    CSINode,
    CSIDriver,
    VolumeAttachment,
    SLAClass,
    NodeSignals,
}
KINDS = sorted(SPACED | SPACELESS, key=lambda kind: kind.__name__)
APIS = ("scheduling.k8s.io/v1alpha2", "scheduling.x-k8s.io/v1alpha1")


class Kept:
    """A catalogue with its parts in reach."""

    def __init__(self) -> None:
        self.snapshot = SnapshotDigest()
        self.nodes = NodeTable()
        self.catalog = Catalog(self.nodes, self.snapshot)

    @property
    def digest(self) -> bytes:
        return self.snapshot.digest(b"")

    def changes(self) -> int:
        """What readers are told of, so far."""
        return self.nodes.changes.end


def made(kind: type[Any], name: str = "one", **meta: Any) -> Any:
    space = {"namespace": "shop"} if kind in SPACED else {}
    return convert(kind, {"metadata": {"name": name, **space, **meta}})


def test_every_kind_that_is_kept_is_tested() -> None:
    assert set(KINDS) == set(ASPECTS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_digest_returns_when_an_object_goes(kind: type[Any]) -> None:
    kept = Kept()
    empty = kept.digest
    came = kept.catalog.apply(made(kind))
    assert came == Change(EventKind.OBJECT_ADD, ASPECTS[kind], None, made(kind))
    one = kept.digest
    assert one != empty
    changed = kept.catalog.apply(made(kind, labels={"x": "1"}))
    assert changed is not None
    assert (changed.kind, changed.aspects) == (EventKind.OBJECT_UPDATE, ASPECTS[kind])
    assert kept.digest not in (empty, one)
    assert kept.catalog.apply(made(kind)) is not None
    assert kept.digest == one
    gone = kept.catalog.remove(made(kind))
    assert gone == Change(EventKind.OBJECT_DELETE, ASPECTS[kind], made(kind), None)
    assert kept.digest == empty
    assert list(kept.catalog.all(kind)) == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_every_write_moves_is_no_event(kind: type[Any]) -> None:
    kept = Kept()
    kept.catalog.apply(made(kind, resourceVersion="1"))
    digest, changes = kept.digest, kept.changes()
    again: list[Callable[[], KubernetesObject]] = [
        lambda: made(kind, resourceVersion="1"),
        lambda: made(kind, resourceVersion="2", generation=7),
    ]
    for make in again:
        assert kept.catalog.apply(make()) is None
    assert (kept.digest, kept.changes()) == (digest, changes)
    key = "shop/one" if kind in SPACED else "one"
    shown = kept.catalog.get(kind, key)
    assert shown is not None
    assert shown.metadata.resource_version == "2", "the newest copy is shown"


def test_the_removal_of_what_is_not_known_is_no_event() -> None:
    kept = Kept()
    empty = kept.digest
    assert kept.catalog.remove(made(Service)) is None
    kept.catalog.apply(made(Service))
    assert kept.catalog.remove(made(Service, "other")) is None
    assert kept.catalog.remove(made(Service)) is not None
    assert kept.catalog.remove(made(Service)) is None
    assert (kept.digest, kept.changes()) == (empty, 2)


def test_the_digest_does_not_depend_on_the_order_of_arrival() -> None:
    one, other = Kept(), Kept()
    things = [made(kind) for kind in KINDS]
    for thing in things:
        one.catalog.apply(thing)
    for thing in reversed(things):
        other.catalog.apply(thing)
    assert one.digest == other.digest


def test_objects_of_one_name_and_several_kinds_or_namespaces_are_several() -> None:
    kept = Kept()
    bank = made(Service)
    bank = replace(bank, metadata=replace(bank.metadata, namespace="bank"))
    for thing in (made(Service), bank, made(ReplicaSet)):
        kept.catalog.apply(thing)
    assert [one.metadata.namespace for one in kept.catalog.all(Service)] == ["bank", "shop"]
    kept.catalog.remove(bank)
    assert kept.catalog.get(Service, "shop/one") == made(Service)
    assert kept.catalog.get(ReplicaSet, "shop/one") == made(ReplicaSet)


def test_groups_of_the_two_apis_do_not_take_each_others_place() -> None:
    kept = Kept()
    groups = [replace(made(PodGroup), api_version=api) for api in APIS]
    empty = kept.digest
    for group in groups:
        change = kept.catalog.apply(group)
        assert change is not None
        assert (change.kind, change.aspects) == (EventKind.OBJECT_ADD, Reads.GROUPS)
    assert len(list(kept.catalog.all(PodGroup))) == 2
    assert kept.catalog.get(PodGroup, "shop/one") == groups[0]
    assert kept.catalog.get(PodGroup, "scheduling.x-k8s.io:shop/one") == groups[1]
    kept.catalog.remove(groups[0])
    assert kept.catalog.get(PodGroup, "shop/one") is None
    assert kept.catalog.get(PodGroup, "scheduling.x-k8s.io:shop/one") == groups[1]
    kept.catalog.remove(groups[1])
    assert kept.digest == empty


def test_a_group_of_another_version_of_its_api_is_the_same_group() -> None:
    kept = Kept()
    kept.catalog.apply(replace(made(PodGroup), api_version=APIS[0]))
    change = kept.catalog.apply(replace(made(PodGroup), api_version="scheduling.k8s.io/v1"))
    assert change is None or change.kind is EventKind.OBJECT_UPDATE
    assert len(list(kept.catalog.all(PodGroup))) == 1
