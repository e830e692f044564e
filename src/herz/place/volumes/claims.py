"""Claims, volumes and classes: what Kubernetes reads of them, in its own words.

Source: component-helpers `storage/volume` (helpers.go, pv_helpers.go) and `storage/ephemeral`.
"""

from __future__ import annotations

from typing import Final

from herz.model.quantity import Quantity, parse_quantity
from herz.model.storage import (
    CSIStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from herz.model.volumes import Mount, MountKind
from herz.plugin import View

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
WAIT_FOR_FIRST_CONSUMER: Final = "WaitForFirstConsumer"
READ_WRITE_ONCE_POD: Final = "ReadWriteOncePod"
STORAGE: Final = "storage"

_BETA_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_NOTHING: Final = parse_quantity(0)


def claim_class(claim: PersistentVolumeClaim) -> str:
    """The class that the claim asks for; empty when it asks for none."""
    found = claim.metadata.annotations.get(_BETA_CLASS)
    return (claim.spec.storage_class_name or "") if found is None else found


def volume_class(volume: PersistentVolume) -> str:
    """The volume's class; empty when it has none."""
    found = volume.metadata.annotations.get(_BETA_CLASS)
    return volume.spec.storage_class_name if found is None else found


def group_of(thing: object) -> str | None:
    """The group under which `View.objects_of` finds the object; None when it has none."""
    if isinstance(thing, PersistentVolume):
        return volume_class(thing)
    if isinstance(thing, VolumeAttachment):
        return thing.spec.node_name
    if isinstance(thing, CSIStorageCapacity):
        return thing.storage_class_name
    return None


def is_fully_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether the volume controller has finished binding the claim."""
    return bool(claim.spec.volume_name) and BIND_COMPLETED in claim.metadata.annotations


def is_bound_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is bound, or bound ahead, to this very claim."""
    reference, meta = volume.spec.claim_ref, claim.metadata
    if reference is None or (reference.namespace, reference.name) != (meta.namespace, meta.name):
        return False
    return reference.uid in ("", meta.uid)


def is_of_pod(claim: PersistentVolumeClaim, owner: str) -> bool:
    """Whether the pod of this uid controls the claim."""
    return any(one.controller and one.uid == owner for one in claim.metadata.owner_references)


def size_asked(claim: PersistentVolumeClaim) -> Quantity:
    """How much storage the claim asks for; nothing when it does not say."""
    asked = claim.spec.resources.requests.get(STORAGE)
    return _NOTHING if asked is None else parse_quantity(asked)


def size_of(volume: PersistentVolume) -> Quantity:
    """How much storage the volume has."""
    offered = volume.spec.capacity.get(STORAGE)
    return _NOTHING if offered is None else parse_quantity(offered)


def not_found(kind: str, name: str) -> str:
    """How the API says that an object is not there."""
    return f'{kind} "{name}" not found'


def claim_problem(mount: Mount, claim: PersistentVolumeClaim | None) -> str:
    """Why the pod cannot use its claim, as VolumeBinding says it; empty when it can."""
    if claim is None and mount.kind is MountKind.EPHEMERAL:
        return (
            "waiting for ephemeral volume controller to create the"
            f' persistentvolumeclaim "{mount.name}"'
        )
    if claim is None:
        return not_found("persistentvolumeclaim", mount.name)
    name = claim.metadata.name
    if claim.status.phase == "Lost":
        return (
            f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
            f' "{claim.spec.volume_name}"'
        )
    if claim.metadata.deletion_timestamp is not None:
        return f'persistentvolumeclaim "{name}" is being deleted'
    return ""


def not_owned(mount: Mount, pod_key: str) -> str:
    """What is said of an ephemeral claim that another made."""
    return f"PVC {mount.id} was not created for pod {pod_key} (pod is not owner)"


def is_delayed(claim: PersistentVolumeClaim, view: View) -> bool | None:
    """Whether the claim's class waits for the first consumer; None when the class doesn't say."""
    name = claim_class(claim)
    found = view.object(StorageClass, name) if name else None
    if found is None:
        return False
    if found.volume_binding_mode is None:
        return None
    return found.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
