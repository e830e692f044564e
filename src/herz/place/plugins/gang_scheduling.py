"""GangScheduling: the events that may help pods whose gang could not be placed.

The placing itself is `herz.place.gang`: it decides several pods at once, which no filter can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from herz.model.podinfo import PodInfo
from herz.place.gang import RULE
from herz.place.plugins.arguments import NoArguments, read_arguments
from herz.plugin import Change, EventKind, Hint, Hints, Reads, ReasonBook


class GangScheduling(Hints):
    """Wakes a gang when its group or one more of its pods comes."""

    name: ClassVar[str] = RULE

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        read_arguments(self.name, args, NoArguments)

    def hints(self) -> Mapping[EventKind, Hint | None]:
        """The group or a pod of it came or changed."""
        return {
            EventKind.OBJECT_ADD: _is_its_group,
            EventKind.OBJECT_UPDATE: _is_its_group,
            EventKind.UNSCHEDULED_POD_ADD: _is_of_its_gang,
            EventKind.ASSIGNED_POD_ADD: _is_of_its_gang,
            EventKind.ASSIGNED_POD_UPDATE: _is_of_its_gang,
            EventKind.UNSCHEDULED_POD_UPDATE: None,
        }


def together_hints() -> Mapping[EventKind, Hint | None]:
    """What may help pods that fit by themselves, while too few of their gang do.

    Whatever lets such a pod go to another node may help the rest of its gang: no rule rejected
    it, so none is asked.
    """
    own: dict[EventKind, Hint | None] = dict.fromkeys(EventKind)
    return own | {
        EventKind.ASSIGNED_POD_ADD: _is_company,
        EventKind.UNSCHEDULED_POD_ADD: _is_of_its_gang,
    }


def _is_company(pod: PodInfo, change: Change) -> bool:
    """A pod takes room, unless others of the gang are drawn to it, or it is one of them."""
    return bool(pod.terms or pod.pod.spec.topology_spread_constraints) or _is_of_its_gang(
        pod, change
    )


def _is_its_group(pod: PodInfo, change: Change) -> bool:
    if not change.aspects & Reads.GROUPS:
        return False
    meta = change.new.metadata
    return pod.pod_group.endswith(f"{meta.namespace}/{meta.name}")


def _is_of_its_gang(pod: PodInfo, change: Change) -> bool:
    return bool(pod.pod_group) and pod.pod_group == change.new.pod_group
