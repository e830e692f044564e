"""In-tree disks as the CSI volumes that they have become.

Source: k8s.io/csi-translation-lib (translate.go, plugins/*.go); which plugins are migrated by
default: nodevolumelimits/utils.go, volumebinding/binder.go (`isCSIMigrationOnForPlugin`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from msgspec.structs import replace

from herz.model.meta import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from herz.model.node import CSINode
from herz.model.storage import PersistentVolume
from herz.model.volumes import Mount, MountKind

ZONE: Final = "topology.kubernetes.io/zone"
REGION: Final = "topology.kubernetes.io/region"
BETA_ZONE: Final = "failure-domain.beta.kubernetes.io/zone"
BETA_REGION: Final = "failure-domain.beta.kubernetes.io/region"
ZONES_APART: Final = "__"
"""Between the zones of one label's value."""
MIGRATED_ANNOTATION: Final = "storage.alpha.kubernetes.io/migrated-plugins"
"""On a CSINode: the in-tree plugins that its node has handed over to CSI drivers."""


class Plugin(NamedTuple):
    """An in-tree plugin that is migrated.

    Attributes:
        name: its name.
        driver: the CSI driver in its place.
        topology_key: the label that stands for the zone; empty when the zone stays as it is.
    """

    name: str
    driver: str
    topology_key: str = ""


PLUGINS: Final = {
    MountKind.GCE: Plugin("kubernetes.io/gce-pd", "pd.csi.storage.gke.io", "topology.gke.io/zone"),
    MountKind.AWS: Plugin(
        "kubernetes.io/aws-ebs", "ebs.csi.aws.com", "topology.ebs.csi.aws.com/zone"
    ),
    MountKind.AZURE: Plugin("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    MountKind.CINDER: Plugin(
        "kubernetes.io/cinder",
        "cinder.csi.openstack.org",
        "topology.cinder.csi.openstack.org/zone",
    ),
    MountKind.PORTWORX: Plugin("kubernetes.io/portworx-volume", "pxd.portworx.com"),
}
DRIVERS: Final = {plugin.name: plugin.driver for plugin in PLUGINS.values()}
"""By in-tree provisioner: the driver in its place."""
NOT_MIGRATED: Final = ("kubernetes.io/azure-file", "kubernetes.io/vsphere-volume")
"""In-tree provisioners that could be migrated and are not: their volumes are not counted."""

_AWS_VOLUME: Final = re.compile(r"vol-[^/]*", re.DOTALL)


def inline_handle(mount: Mount) -> str | None:
    """The handle of a disk that the pod names itself; None when its name is malformed."""
    if mount.kind is MountKind.GCE:
        return _gce_zonal("UNSPECIFIED", mount.id)
    return _aws_handle(mount.id) if mount.kind is MountKind.AWS else mount.id


def in_tree(volume: PersistentVolume) -> MountKind | None:
    """The kind of an in-tree volume that is migrated; None for all others."""
    spec = volume.spec
    sources = (
        (MountKind.GCE, spec.gce_persistent_disk),
        (MountKind.AWS, spec.aws_elastic_block_store),
        (MountKind.AZURE, spec.azure_disk),
        (MountKind.CINDER, spec.cinder),
        (MountKind.PORTWORX, spec.portworx_volume),
    )
    return next((kind for kind, source in sources if source is not None), None)


def volume_handle(volume: PersistentVolume) -> str | None:
    """The handle of a migrated volume; None when it cannot be told."""
    spec = volume.spec
    if spec.gce_persistent_disk is not None:
        return _gce_handle(volume.metadata.labels, spec.gce_persistent_disk.pd_name)
    if spec.aws_elastic_block_store is not None:
        return _aws_handle(spec.aws_elastic_block_store.volume_id)
    if spec.azure_disk is not None:
        return spec.azure_disk.disk_uri
    if spec.cinder is not None:
        return spec.cinder.volume_id
    return None if spec.portworx_volume is None else spec.portworx_volume.volume_id


def translated_affinity(volume: PersistentVolume, topology_key: str) -> NodeSelector | None:
    """The volume's node affinity once its zone is the CSI driver's."""
    affinity = volume.spec.node_affinity
    required = None if affinity is None else affinity.required
    if not topology_key:
        return required
    zone, region = _topology_labels(volume, required)
    if required is not None and _values(required, zone):
        translated: NodeSelector | None = _renamed(required, zone, topology_key)
    else:
        translated = _with_zones(required, volume.metadata.labels.get(zone), topology_key)
    if translated is not None and region == BETA_REGION and _values(translated, region):
        return _renamed(translated, BETA_REGION, REGION)
    return translated


def migrated_on(node: CSINode) -> frozenset[str]:
    """The plugins that the node has handed over."""
    told = node.metadata.annotations.get(MIGRATED_ANNOTATION, "")
    return frozenset(told.split(",")) if told else frozenset()


def _gce_handle(labels: dict[str, str], name: str) -> str | None:
    zones = (labels.get(BETA_ZONE) or labels.get(ZONE, "")).split(ZONES_APART)
    if len(zones) == 1:
        return _gce_zonal(zones[0] or "UNSPECIFIED", name)
    parts = [zone.split("-") for zone in zones]
    region = "-".join(parts[0][:2])
    if any(len(part) != 3 or "-".join(part[:2]) != region for part in parts):
        return None
    return f"projects/UNSPECIFIED/regions/{region}/disks/{name}"


def _gce_zonal(zone: str, name: str) -> str:
    return f"projects/UNSPECIFIED/zones/{zone}/disks/{name}"


def _aws_handle(name: str) -> str | None:
    """The volume's id, out of `aws://zone/vol-1` or as it is."""
    if not name.startswith("aws://"):
        return name
    found = name.removeprefix("aws://").partition("/")[2].strip("/")
    return found if _AWS_VOLUME.fullmatch(found) else None


def _topology_labels(volume: PersistentVolume, required: NodeSelector | None) -> tuple[str, str]:
    """Whether the volume speaks of its zone in today's labels or in the old ones."""
    keys = set() if required is None else {item.key for item in _items(required)}
    labels = volume.metadata.labels
    for there in (keys, labels):
        if ZONE in there:
            return ZONE, REGION
        if BETA_ZONE in there:
            return BETA_ZONE, BETA_REGION
    return ZONE, REGION


def _items(selector: NodeSelector) -> list[NodeSelectorRequirement]:
    return [item for term in selector.node_selector_terms for item in term.match_expressions]


def _values(selector: NodeSelector, key: str) -> bool:
    return any(item.key == key and item.values for item in _items(selector))


def _renamed(selector: NodeSelector, old: str, new: str) -> NodeSelector:
    return NodeSelector(
        node_selector_terms=tuple(
            replace(
                term,
                match_expressions=tuple(
                    replace(item, key=new) if item.key == old else item
                    for item in term.match_expressions
                ),
            )
            for term in selector.node_selector_terms
        )
    )


def _with_zones(
    selector: NodeSelector | None, label: str | None, topology_key: str
) -> NodeSelector | None:
    """Every term with the zones of the volume's label; as it was when there are none."""
    zones = {zone.strip() for zone in (label or "").split(ZONES_APART)} - {""}
    if not zones:
        return selector
    item = NodeSelectorRequirement(key=topology_key, operator="In", values=tuple(sorted(zones)))
    terms = selector.node_selector_terms if selector is not None else ()
    return NodeSelector(
        node_selector_terms=tuple(
            replace(term, match_expressions=(*term.match_expressions, item))
            for term in terms or (NodeSelectorTerm(),)
        )
    )
