"""The list of the rules that come with Herz, and the policies made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from herz.config import PluginEntry, Policy
from herz.place.plugins.default_preemption import DefaultPreemption
from herz.place.plugins.gang_scheduling import GangScheduling
from herz.place.plugins.gpu_bestfit import GpuBestFit
from herz.place.plugins.gpu_fragmentation import (
    GpuFragmentation,
    make_fragmentation,
)
from herz.place.plugins.gpu_share import GpuShare
from herz.place.plugins.herz_pack import HerzPack
from herz.place.plugins.image_locality import ImageLocality
from herz.place.plugins.inter_pod_affinity import InterPodAffinity
from herz.place.plugins.load_aware import LoadAware
from herz.place.plugins.node_affinity import NodeAffinity
from herz.place.plugins.node_declared_features import NodeDeclaredFeatures
from herz.place.plugins.node_name import NodeName
from herz.place.plugins.node_ports import NodePorts
from herz.place.plugins.node_unschedulable import NodeUnschedulable
from herz.place.plugins.node_volume_limits import NodeVolumeLimits
from herz.place.plugins.noderesources import NodeResourcesBalancedAllocation, NodeResourcesFit
from herz.place.plugins.pod_topology_spread import PodTopologySpread
from herz.place.plugins.priority_sort import PrioritySort
from herz.place.plugins.scheduling_gates import SchedulingGates
from herz.place.plugins.sla_classes import SLAClasses
from herz.place.plugins.sla_fit import SLAFit, SLARefuse, make_sla_fit
from herz.place.plugins.taint_toleration import TaintToleration
from herz.place.plugins.understood import Understood
from herz.place.plugins.volume_binding import VolumeBinding
from herz.place.plugins.volume_restrictions import VolumeRestrictions
from herz.place.plugins.volume_zone import VolumeZone
from herz.plugin import Plugin, ReasonBook

Maker = Callable[[Mapping[str, Any], ReasonBook], Plugin]
"""Makes a rule from its arguments."""
PLUGINS: Final[Mapping[str, Maker]] = {
    rule.name: rule
    for rule in (
        SchedulingGates,
        PrioritySort,
        Understood,
        NodeUnschedulable,
        NodeName,
        TaintToleration,
        NodeAffinity,
        NodePorts,
        NodeResourcesFit,
        VolumeRestrictions,
        NodeVolumeLimits,
        VolumeBinding,
        VolumeZone,
        PodTopologySpread,
        InterPodAffinity,
        DefaultPreemption,
        NodeDeclaredFeatures,
        GangScheduling,
        NodeResourcesBalancedAllocation,
        ImageLocality,
        GpuShare,
        GpuBestFit,
        HerzPack,
        SLAClasses,
        LoadAware,
        SLARefuse,
    )
} | {GpuFragmentation.name: make_fragmentation, SLAFit.name: make_sla_fit}
"""The rules that come with Herz."""

WEIGHTS: Final = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
}
"""Kubernetes' default weights; those that are not here are 1."""

DEFAULT_RULES: Final = tuple(list(PLUGINS)[: list(PLUGINS).index(GpuShare.name) + 1])
"""Kubernetes' rules, and shared accelerators, which Kubernetes does not have."""

_SCORING: Final = (
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
)
_SCORING_ONLY: Final = ("NodeResourcesBalancedAllocation", "ImageLocality")
_NOT_PACKING: Final = (*_SCORING_ONLY, GpuShare.name, DefaultPreemption.name)
_SHARE: Final = PluginEntry(GpuShare.name)


def _packing(name: str, *rules: PluginEntry, ties: Literal["hash", "name"] = "hash") -> Policy:
    """Kubernetes' filters without its scores and its preemption, and the rules."""
    kept = [rule for rule in DEFAULT_RULES if rule not in _NOT_PACKING]
    filters = [PluginEntry(rule, weight=0 if rule in _SCORING else None) for rule in kept]
    return Policy(name=name, plugins=(*filters, *rules), ties=ties)


BUILT_IN: Final[Mapping[str, Policy]] = {
    policy.name: policy
    for policy in (
        Policy(
            name="default",
            plugins=tuple(PluginEntry(name) for name in DEFAULT_RULES),
        ),
        Policy(
            name="hard-budgets",
            plugins=tuple(
                PluginEntry(name, args={"budgets": "hard"})
                if name == DefaultPreemption.name
                else PluginEntry(name)
                for name in DEFAULT_RULES
            ),
        ),
        _packing("bestfit", PluginEntry(GpuBestFit.name), _SHARE),
        # Its coarse points tie often, and the published runs break ties by name.
        _packing("fgd", PluginEntry(GpuFragmentation.name), _SHARE, ties="name"),
        _packing("random", PluginEntry(GpuShare.name, args={"devices": "hashed"})),
        _packing("herz-pack", PluginEntry(HerzPack.name), _SHARE),
    )
}
"""The policies that `--policy NAME` knows."""
