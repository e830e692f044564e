"""Volumes of a pod, and the cluster's storage objects that decide where such a pod can run.

Kinds of pod volumes that can't change a placement (configMap, emptyDir, nfs, ...) are skipped while
decoding: their `PodVolume` has a name only.
"""

from __future__ import annotations

import msgspec

from herz.model.meta import (
    LabelSelector,
    NodeSelector,
    ObjectMeta,
    RawQuantity,
    ResourceMap,
    ResourceRequirements,
    Wire,
)


class ClaimVolumeSource(Wire, frozen=True, kw_only=True):
    """A pod volume that is a claim of the pod's namespace."""

    claim_name: str = ""
    read_only: bool = False


class GCEDiskSource(Wire, frozen=True, kw_only=True):
    """A Google disk; two pods may share it only read-only."""

    pd_name: str = ""
    read_only: bool = False


class AWSDiskSource(Wire, frozen=True, kw_only=True):
    """An Amazon disk; two pods never share it."""

    volume_id: str = msgspec.field(default="", name="volumeID")
    read_only: bool = False


class AzureDiskSource(Wire, frozen=True, kw_only=True):
    """An Azure disk; counts towards attach limits."""

    disk_name: str = ""
    disk_uri: str = msgspec.field(default="", name="diskURI")
    read_only: bool = False


class CinderDiskSource(Wire, frozen=True, kw_only=True):
    """An OpenStack disk; counts towards attach limits."""

    volume_id: str = msgspec.field(default="", name="volumeID")
    read_only: bool = False


class PortworxSource(Wire, frozen=True, kw_only=True):
    """A Portworx volume; counts towards attach limits."""

    volume_id: str = msgspec.field(default="", name="volumeID")
    read_only: bool = False


class ISCSISource(Wire, frozen=True, kw_only=True):
    """An iSCSI disk; two pods may share an IQN only read-only."""

    iqn: str = ""
    lun: int = 0
    target_portal: str = ""
    read_only: bool = False


class RBDSource(Wire, frozen=True, kw_only=True):
    """A Ceph image; two pods may share it only read-only."""

    monitors: tuple[str, ...] = ()
    image: str = ""
    pool: str = ""
    read_only: bool = False


class InlineCSISource(Wire, frozen=True, kw_only=True):
    """A CSI volume that lives and dies with the pod."""

    driver: str = ""
    read_only: bool = False


class ImageVolumeSource(Wire, frozen=True, kw_only=True):
    """An image mounted as a volume; ImageLocality counts it."""

    reference: str = ""


class ClaimSpec(Wire, frozen=True, kw_only=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: ResourceRequirements = ResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None


class ClaimTemplate(Wire, frozen=True, kw_only=True):
    """The claim that an ephemeral volume makes, named `<pod>-<volume>`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()


class EphemeralVolumeSource(Wire, frozen=True, kw_only=True):
    """A claim made for the pod and owned by it."""

    volume_claim_template: ClaimTemplate | None = None


class PodVolume(Wire, frozen=True, kw_only=True):
    """A volume of a pod: at most one source is set, none for the kinds that don't matter."""

    name: str = ""
    persistent_volume_claim: ClaimVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    image: ImageVolumeSource | None = None
    csi: InlineCSISource | None = None
    gce_persistent_disk: GCEDiskSource | None = None
    aws_elastic_block_store: AWSDiskSource | None = None
    azure_disk: AzureDiskSource | None = None
    cinder: CinderDiskSource | None = None
    portworx_volume: PortworxSource | None = None
    iscsi: ISCSISource | None = None
    rbd: RBDSource | None = None


class ClaimStatus(Wire, frozen=True, kw_only=True):
    """How far a claim has come."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: ResourceMap = msgspec.field(default_factory=dict)


class PersistentVolumeClaim(
    Wire, frozen=True, kw_only=True, tag_field="kind", tag="PersistentVolumeClaim"
):
    """A claim (v1 PersistentVolumeClaim)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class ObjectReference(Wire, frozen=True, kw_only=True):
    """A reference to an object; a volume's `claimRef` binds it to that claim."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class VolumeNodeAffinity(Wire, frozen=True, kw_only=True):
    """Which nodes can reach a volume."""

    required: NodeSelector | None = None


class CSIVolumeSource(Wire, frozen=True, kw_only=True):
    """A CSI volume; its driver's attach limit counts it."""

    driver: str = ""
    volume_handle: str = ""
    read_only: bool = False


class VolumeSpec(Wire, frozen=True, kw_only=True):
    """What a persistent volume is and where it can be reached."""

    capacity: ResourceMap = msgspec.field(default_factory=dict)
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    storage_class_name: str = ""
    volume_mode: str | None = None
    volume_attributes_class_name: str | None = None
    node_affinity: VolumeNodeAffinity | None = None
    csi: CSIVolumeSource | None = None
    gce_persistent_disk: GCEDiskSource | None = None
    aws_elastic_block_store: AWSDiskSource | None = None
    azure_disk: AzureDiskSource | None = None
    cinder: CinderDiskSource | None = None
    portworx_volume: PortworxSource | None = None


class VolumeStatus(Wire, frozen=True, kw_only=True):
    """Available, Bound, Released or Failed."""

    phase: str = ""


class PersistentVolume(Wire, frozen=True, kw_only=True, tag_field="kind", tag="PersistentVolume"):
    """A volume of the cluster (v1 PersistentVolume)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


class TopologyLabelRequirement(Wire, frozen=True, kw_only=True):
    """One of the values of a node label."""

    key: str = ""
    values: tuple[str, ...] = ()


class TopologySelectorTerm(Wire, frozen=True, kw_only=True):
    """A conjunction of label requirements."""

    match_label_expressions: tuple[TopologyLabelRequirement, ...] = ()


class StorageClass(Wire, frozen=True, kw_only=True, tag_field="kind", tag="StorageClass"):
    """How claims of a class are provisioned and bound (storage.k8s.io/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    volume_binding_mode: str | None = None
    allowed_topologies: tuple[TopologySelectorTerm, ...] = ()


class CSIDriverSpec(Wire, frozen=True, kw_only=True):
    """What the scheduler must know of a CSI driver."""

    attach_required: bool | None = None
    storage_capacity: bool | None = None
    prevent_pod_scheduling_if_missing: bool | None = None


class CSIDriver(Wire, frozen=True, kw_only=True, tag_field="kind", tag="CSIDriver"):
    """A CSI driver (storage.k8s.io/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CSIDriverSpec = CSIDriverSpec()


class CSIStorageCapacity(
    Wire, frozen=True, kw_only=True, tag_field="kind", tag="CSIStorageCapacity"
):
    """How much storage of a class is left in a topology segment (storage.k8s.io/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    storage_class_name: str = ""
    node_topology: LabelSelector | None = None
    capacity: RawQuantity | None = None
    maximum_volume_size: RawQuantity | None = None


class AttachmentSource(Wire, frozen=True, kw_only=True):
    """The volume of an attachment."""

    persistent_volume_name: str | None = None


class AttachmentSpec(Wire, frozen=True, kw_only=True):
    """Which volume is attached, or being attached, to which node."""

    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = AttachmentSource()


class VolumeAttachment(Wire, frozen=True, kw_only=True, tag_field="kind", tag="VolumeAttachment"):
    """A volume's attachment to a node (storage.k8s.io/v1)."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AttachmentSpec = AttachmentSpec()
