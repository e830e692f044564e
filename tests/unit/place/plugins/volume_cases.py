"""Clusters with volumes, and what kube-scheduler says of a pod there, each with its source.

The sources lie below `pkg/scheduler/framework/plugins` or `k8s.io`, at 1.36.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from herz.model.objects import KubernetesObject, Pod
from tests.support.objects import make_node, make_pod
from tests.support.storage import (
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
    using,
)

BINDER = "volumebinding/binder.go"
PLUGIN = "volumebinding/volume_binding.go"
CSI = "nodevolumelimits/csi.go"
MATCHING = "component-helpers/storage/volume/pv_helpers.go FindMatchingVolume"
TRANSLATION = "csi-translation-lib/plugins"

UNMATCHED = "didn't find available persistent volumes to bind"
AWAY = "didn't match PersistentVolume's node affinity"
SHORT = "did not have enough free storage"
FULL = "exceed max volume count"
GCE_ZONE = "topology.gke.io/zone"


class Case(NamedTuple):
    """A cluster of node `a` in zone a and node `b` in zone b, and what is said of a pod.

    Attributes:
        name: of the case.
        source: where it was read.
        objects: besides the nodes; a pod among them is where it says.
        pod: the incoming one.
        fits: the nodes that fit, as letters.
        why: a part of the reason, where there is one.
    """

    name: str
    source: str
    objects: list[KubernetesObject]
    pod: Pod
    fits: str
    why: str = ""


def ephemeral(name: str = "p") -> Pod:
    return make_pod(name, spec={"volumes": [{"name": "data", "ephemeral": {}}]})


def disk(name: str, kind: str, node: str = "", **content: Any) -> Pod:
    return using(name, node=node, volumes=[{kind: content}])


def on_gce(zone_key: str = "topology.kubernetes.io/zone", **labels: str) -> Any:
    """A GCE volume in zone a, by node affinity."""
    term = {"matchExpressions": [{"key": zone_key, "operator": "In", "values": ["a"]}]}
    spec = {
        "gcePersistentDisk": {"pdName": "d"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    return make_volume("pv", claim="c", labels=labels, spec=spec)


CLASSES: list[KubernetesObject] = [
    make_class(LOCAL, "kubernetes.io/no-provisioner"),
    make_class(DYNAMIC),
    make_class(IMMEDIATE),
]
LIMIT_1 = make_csi_node("a", {DRIVER: 1})

CASES = [
    # ---- VolumeBinding, PreFilter
    Case("claim gone", f"{PLUGIN} podHasPVCs", [], using("p", "c"), "", '"c" not found'),
    Case(
        "ephemeral claim not there yet",
        f"{PLUGIN} podHasPVCs",
        [],
        ephemeral(),
        "",
        'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-data"',
    ),
    Case(
        "ephemeral claim of another",
        "component-helpers/storage/ephemeral/ephemeral.go VolumeIsForPod",
        [make_claim("p-data", owner="uid-other")],
        ephemeral(),
        "",
        "PVC shop/p-data was not created for pod shop/p (pod is not owner)",
    ),
    Case(
        "ephemeral claim",
        f"{PLUGIN} PreFilter",
        [make_claim("p-data", owner="uid-p")],
        ephemeral(),
        "ab",
    ),
    Case(
        "claim lost",
        f"{PLUGIN} podHasPVCs",
        [make_claim("c", volume="pv", phase="Lost")],
        using("p", "c"),
        "",
        'persistentvolumeclaim "c" bound to non-existent persistentvolume "pv"',
    ),
    Case(
        "claim being deleted",
        f"{PLUGIN} podHasPVCs",
        [make_claim("c", is_deleted=True)],
        using("p", "c"),
        "",
        'persistentvolumeclaim "c" is being deleted',
    ),
    Case(
        "unbound, immediate",
        f"{PLUGIN} PreFilter",
        [make_claim("c", IMMEDIATE)],
        using("p", "c"),
        "",
        "pod has unbound immediate PersistentVolumeClaims",
    ),
    Case(
        "named ahead by hand is immediate",
        f"{BINDER} GetPodVolumeClaims",
        [make_claim("c", spec={"volumeName": "pv"}), make_volume("pv", DYNAMIC)],
        using("p", "c"),
        "",
        "pod has unbound immediate PersistentVolumeClaims",
    ),
    Case(
        "class without a mode",
        "component-helpers/storage/volume/pv_helpers.go IsDelayBindingMode",
        [make_class("odd", mode=None), make_claim("c", "odd")],
        using("p", "c"),
        "",
        'VolumeBindingMode not set for StorageClass "odd"',
    ),
    # ---- VolumeBinding, bound claims
    Case(
        "bound elsewhere",
        f"{BINDER} checkBoundClaims",
        [make_claim("c", LOCAL, volume="pv"), make_volume("pv", claim="c", zone="a")],
        using("p", "c"),
        "a",
        AWAY,
    ),
    Case(
        "fields of a volume's affinity are not asked about",
        "component-helpers/storage/volume/helpers.go CheckNodeAffinity",
        [
            make_claim("c", LOCAL, volume="pv"),
            make_volume(
                "pv",
                claim="c",
                spec={
                    "nodeAffinity": {
                        "required": {
                            "nodeSelectorTerms": [
                                {
                                    "matchFields": [
                                        {"key": "metadata.name", "operator": "In", "values": ["a"]}
                                    ]
                                }
                            ]
                        }
                    }
                },
            ),
        ],
        using("p", "c"),
        "ab",
    ),
    Case(
        "affinity without terms matches nothing",
        "component-helpers/storage/volume/helpers.go CheckNodeAffinity",
        [
            make_claim("c", LOCAL, volume="pv"),
            make_volume("pv", claim="c", spec={"nodeAffinity": {"required": {}}}),
        ],
        using("p", "c"),
        "",
        AWAY,
    ),
    Case(
        "in-tree volume where its plugin has not moved",
        f"{BINDER} tryTranslatePVToCSI",
        [make_claim("c", LOCAL, volume="pv"), on_gce("zone")],
        using("p", "c"),
        "a",
        AWAY,
    ),
    Case(
        "in-tree volume on a node whose plugin has moved",
        f"{BINDER} tryTranslatePVToCSI, {TRANSLATION}/in_tree_volume.go",
        [
            make_node("c", labels={GCE_ZONE: "a"}),
            make_csi_node("c", migrated="kubernetes.io/aws-ebs,kubernetes.io/gce-pd"),
            make_claim("c", LOCAL, volume="pv"),
            on_gce(),
        ],
        using("p", "c"),
        "c",
        AWAY,
    ),
    # ---- VolumeBinding, volumes that are there
    Case(
        "static, one zone",
        f"{BINDER} findMatchingVolumes",
        [make_claim("c", LOCAL), make_volume("pv", zone="b")],
        using("p", "c"),
        "b",
        UNMATCHED,
    ),
    Case(
        "two claims, two volumes",
        f"{BINDER} findMatchingVolumes",
        [
            *(make_claim("c", LOCAL), make_claim("d", LOCAL)),
            *(make_volume("one", zone="a"), make_volume("two", zone="a")),
            make_volume("three", zone="b"),
        ],
        using("p", "c", "d"),
        "a",
        UNMATCHED,
    ),
    Case(
        "too small",
        MATCHING,
        [make_claim("c", LOCAL, size="2Gi"), make_volume("pv")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "wrong mode",
        MATCHING,
        [make_claim("c", LOCAL, spec={"volumeMode": "Block"}), make_volume("pv")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "wrong access",
        MATCHING,
        [make_claim("c", LOCAL, modes=["ReadWriteMany"]), make_volume("pv")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "not available",
        MATCHING,
        [make_claim("c", LOCAL), make_volume("pv", phase="Released")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "another's",
        MATCHING,
        [make_claim("c", LOCAL), make_volume("pv", claim="d")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "one of the same name before",
        MATCHING,
        [make_claim("c", LOCAL), make_volume("pv", claim="c", claim_uid="old")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "attributes class",
        MATCHING,
        [make_claim("c", LOCAL, spec={"volumeAttributesClassName": "gold"}), make_volume("pv")],
        using("p", "c"),
        "",
        UNMATCHED,
    ),
    Case(
        "selector",
        MATCHING,
        [
            make_claim("c", LOCAL, spec={"selector": {"matchLabels": {"tier": "x"}}}),
            make_volume("one", zone="a", labels={"tier": "x"}),
            make_volume("two", zone="b"),
        ],
        using("p", "c"),
        "a",
        UNMATCHED,
    ),
    Case(
        "bound ahead by hand, whatever its phase and access",
        MATCHING,
        [
            make_claim("c", LOCAL, modes=["ReadWriteMany"]),
            make_volume("mine", claim="c", claim_uid="", zone="a", phase="Pending"),
            make_volume("other", zone="b", modes=["ReadWriteMany"]),
        ],
        using("p", "c"),
        "a",
        UNMATCHED,
    ),
    # ---- VolumeBinding, volumes to be made
    Case(
        "selected before",
        f"{BINDER} FindPodVolumes",
        [make_claim("c", selected="b")],
        using("p", "c"),
        "b",
        UNMATCHED,
    ),
    Case(
        "allowed topologies",
        f"{BINDER} checkVolumeProvisions",
        [make_class("zonal", zones=["a", "x"]), make_claim("c", "zonal")],
        using("p", "c"),
        "a",
        UNMATCHED,
    ),
    Case(
        "capacity by zone",
        f"{BINDER} hasEnoughCapacity",
        [
            *(make_driver(), make_claim("c", size="5Gi")),
            *(make_capacity("one", "a", "5Gi"), make_capacity("two", "b", "4Gi")),
        ],
        using("p", "c"),
        "a",
        SHORT,
    ),
    Case(
        "largest volume counts before capacity",
        f"{BINDER} capacitySufficient",
        [
            *(make_driver(), make_claim("c", size="5Gi")),
            *(
                make_capacity("one", "a", "9Gi", largest="4Gi"),
                make_capacity("two", "b", "1", largest="5Gi"),
            ),
        ],
        using("p", "c"),
        "b",
        SHORT,
    ),
    Case(
        "capacity of no topology is out of reach",
        f"{BINDER} nodeHasAccess",
        [make_driver(), make_claim("c"), make_capacity("one", None, "9Gi")],
        using("p", "c"),
        "",
        SHORT,
    ),
    Case(
        "capacity of another class",
        f"{BINDER} hasEnoughCapacity",
        [make_driver(), make_claim("c"), make_capacity("one", "a", "9Gi", storage_class="other")],
        using("p", "c"),
        "",
        SHORT,
    ),
    Case(
        "driver that reports no capacity",
        f"{BINDER} hasEnoughCapacity",
        [make_driver(has_capacity=None), make_claim("c")],
        using("p", "c"),
        "ab",
    ),
    Case(
        "claim without a size",
        f"{BINDER} hasEnoughCapacity",
        [make_driver(), make_claim("c", size="")],
        using("p", "c"),
        "ab",
    ),
    # ---- NodeVolumeLimits
    Case(
        "attached to the node, by nobody's pod",
        f"{CSI} getNodeVolumeAttachmentInfo",
        [
            *(LIMIT_1, make_claim("c")),
            *(make_volume("old", DYNAMIC, handle="h"), make_attachment("at", "a", "old")),
        ],
        using("p", "c"),
        "b",
        FULL,
    ),
    Case(
        "attachments that count for nothing",
        f"{CSI} getNodeVolumeAttachmentInfo",
        [
            *(LIMIT_1, make_claim("c"), make_volume("local")),
            *(make_volume("old", DYNAMIC, handle="h"), make_attachment("other", "b", "old")),
            *(make_attachment("nameless", "a", ""), make_attachment("gone", "a", "gone")),
            *(make_attachment("local", "a", "local"), make_attachment("nobody's", "a", "old", "")),
        ],
        using("p", "c"),
        "ab",
    ),
    Case(
        "a volume of two pods and its attachment count once",
        f"{CSI} Filter",
        [
            make_csi_node("a", {DRIVER: 1}),
            make_claim("c", volume="pv"),
            make_volume("pv", DYNAMIC, claim="c", handle="h"),
            make_attachment("at", "a", "pv"),
            *(using("x", "c", node="a"), using("y", "c", node="a")),
        ],
        using("p", "c"),
        "ab",
    ),
    Case(
        "unbound claims by their class",
        f"{CSI} getCSIDriverInfoFromSC",
        [LIMIT_1, make_claim("c"), make_claim("d"), using("x", "d", node="a")],
        using("p", "c"),
        "b",
        FULL,
    ),
    Case(
        "no CSINode, no limit",
        f"{CSI} getVolumeLimits",
        [
            make_csi_node("a", {DRIVER: None}),
            make_claim("c"),
            make_claim("d"),
            using("x", "d", node="a"),
        ],
        using("p", "c"),
        "ab",
    ),
    Case(
        "inline disk of a migrated plugin",
        f"{CSI} checkAttachableInlineVolume",
        [make_csi_node("a", {"disk.csi.azure.com": 1}), disk("x", "azureDisk", "a", diskURI="one")],
        disk("p", "azureDisk", diskURI="two"),
        "b",
        FULL,
    ),
    Case(
        "inline disk and in-tree volume are one",
        f"{CSI} getCSIDriverInfo, {TRANSLATION}/openstack_cinder.go",
        [
            make_csi_node("a", {"cinder.csi.openstack.org": 1}),
            make_claim("c", LOCAL, volume="pv"),
            make_volume("pv", claim="c", spec={"cinder": {"volumeID": "v"}}),
            using("x", "c", node="a"),
        ],
        disk("p", "cinder", volumeID="v"),
        "ab",
    ),
    Case(
        "class of an in-tree provisioner",
        f"{CSI} getCSIDriverInfoFromSC",
        [
            *(
                make_class("old", "kubernetes.io/aws-ebs"),
                make_csi_node("a", {"ebs.csi.aws.com": 0}),
            ),
            make_claim("c", "old"),
        ],
        using("p", "c"),
        "b",
        FULL,
    ),
    Case(
        "class of a provisioner that did not move",
        "nodevolumelimits/utils.go isCSIMigrationOn",
        [
            make_class("old", "kubernetes.io/vsphere-volume"),
            *(make_csi_node("a", {"csi.vsphere.vmware.com": 0}), make_claim("c", "old")),
        ],
        using("p", "c"),
        "ab",
    ),
    # ---- VolumeRestrictions
    Case(
        "rbd of other monitors",
        "volumerestrictions/volume_restrictions.go isVolumeConflict",
        [disk("x", "rbd", "a", monitors=["m1"], image="i")],
        disk("p", "rbd", monitors=["m2"], image="i"),
        "ab",
    ),
    Case(
        "ebs, even read-only",
        "volumerestrictions/volume_restrictions.go isVolumeConflict",
        [disk("x", "awsElasticBlockStore", "a", volumeID="v", readOnly=True)],
        disk("p", "awsElasticBlockStore", volumeID="v", readOnly=True),
        "b",
        "had no available disk",
    ),
    # ---- VolumeZone
    Case(
        "several zones, old label",
        "volumezone/volume_zone.go Filter, getPVTopologies",
        [
            make_node("c", labels={"topology.kubernetes.io/zone": "y"}),
            make_node("d", labels={"topology.kubernetes.io/zone": "z"}),
            make_claim("c", LOCAL, volume="pv"),
            make_volume(
                "pv", claim="c", labels={"failure-domain.beta.kubernetes.io/zone": "x__ y"}
            ),
        ],
        using("p", "c"),
        "abc",
        "had no available volume zone",
    ),
    Case(
        "malformed zones say nothing",
        "cloud-provider/volume/helpers/zones.go LabelZonesToSet",
        [
            make_node("c", labels={"topology.kubernetes.io/zone": "z"}),
            make_claim("c", LOCAL, volume="pv"),
            make_volume("pv", claim="c", labels={"topology.kubernetes.io/zone": "x__"}),
        ],
        using("p", "c"),
        "abc",
    ),
]
