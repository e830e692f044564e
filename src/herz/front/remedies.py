"""What would let a refused pod be scheduled, by the rule that refused nodes: for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from herz.model.record import Record, Rejection

REMEDIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DefaultPreemption": "a higher priority, or pods of lower priority there",
        "GangScheduling": "room for all of its gang at once",
        "GpuShare": "a GPU with as much free, or a smaller share",
        "InterPodAffinity": "the pods that it asks for there, those gone that it or they keep off, "
        "or other terms of podAffinity and podAntiAffinity",
        "LoadAware": "less load there, or a higher limit in the policy",
        "NodeAffinity": "nodes with the labels that nodeSelector and nodeAffinity ask for, "
        "or other terms",
        "NodeDeclaredFeatures": "nodes whose kubelet declares the features, or a pod without them",
        "NodeName": "the node of spec.nodeName, or a pod without it",
        "NodePorts": "the pods with these host ports gone, other host ports, or more nodes",
        "NodeUnschedulable": "kubectl uncordon, or a toleration of unschedulable nodes",
        "NodeVolumeLimits": "nodes that can attach more volumes, or fewer volumes there",
        "Nominations": "the nominated pods placed, or gone",
        "PodTopologySpread": "room in the domains that have fewer of these pods, a larger maxSkew, "
        "or whenUnsatisfiable: ScheduleAnyway",
        "SLAClasses": "the class that its label names, or another label",
        "SLARefuse": "nodes on which its promise is likelier to be kept, or a lower minimum "
        "probability in its class",
        "SchedulingGates": "its scheduling gates removed",
        "TaintToleration": "a toleration of their taints, or the taints removed",
        "Understood": "a pod without what is named",
        "VolumeBinding": "volumes or a storage class that can be had there",
        "VolumeRestrictions": "the other users of its volumes gone, or a shared access mode",
        "VolumeZone": "nodes in the zones of its volumes",
    }
)
"""By rule; of a rule that is not here, its own words must do."""
_INSUFFICIENT: Final = "Insufficient "


def remedy(rejection: Rejection) -> str:
    """What would help where a rule refused nodes for a reason.

    Returns:
        Words for people; of a rule that Herz does not know, that its reason no longer holds.
    """
    if rejection.reason.startswith(_INSUFFICIENT):
        what = rejection.reason.removeprefix(_INSUFFICIENT)
        return (
            f"more {what} free on one node (pods that leave, a larger node), or a smaller request"
        )
    if rejection.plugin == "NodeResourcesFit":
        return "fewer pods there, or more nodes"
    return REMEDIES.get(rejection.plugin, f"that {rejection.plugin} no longer refuses them")


def remedies(record: Record) -> list[dict[str, str | int]]:
    """What would make a pod schedulable, as far as its record tells.

    A node is refused by the first rule that does; another one may refuse it after that. To ask
    all rules of a node, recompute it: `herz explain POD --journal DIR --node NODE`.
    """
    if record.node or record.repeats:
        return []
    return [
        {
            "plugin": one.plugin,
            "reason": one.reason,
            "nodes": one.count,
            "would_help": remedy(one),
        }
        for one in record.rejections
    ]
