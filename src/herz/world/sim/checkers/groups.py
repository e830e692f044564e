"""Groups: all of a group's members that must be placed together are, or none is.

What is judged is the decision. After it binds fail, nodes vanish and pods are deleted: then a group
is short of members, and that is nobody's fault until one of its members is placed again.
"""

from __future__ import annotations

from collections.abc import Iterable

from herz.model.events import ObjectApplied, WorldEvent
from herz.model.objects import COSCHEDULING_GROUP_LABEL, Pod, PodGroup
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.model.workload import group_key
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror


class GroupChecker:
    """Judges the decisions of a step together: a group's members are placed in one step.

    Rule: when a member of a group is given a node, then at the end of that step the members that
    hold room are at least the group's minimum. They may be on nodes, on their way, or wait there
    for their volumes; and those that held room before the step count.
    """

    def __init__(self, mirror: Mirror, history: History) -> None:
        self._mirror = mirror
        self._history = history
        self._groups: dict[str, PodGroup] = {}

    def see(self, event: WorldEvent) -> None:
        """Take an event in."""
        if isinstance(event, BindFinished | PatchRefused | RemovalRefused):
            return
        if isinstance(event.object, PodGroup):
            key = _key(event.object)
            if isinstance(event, ObjectApplied):
                self._groups[key] = event.object
            else:
                self._groups.pop(key, None)

    def minimum(self, key: str) -> int | None:
        """How many members must be placed at once; None while there is no such group."""
        group = self._groups.get(key)
        return None if group is None else group.min_count

    def judge(self, placed: Iterable[str]) -> None:
        """Check the groups of the pods (uids) that a step placed, after the mirror counted them."""
        touched: dict[str, None] = {}
        for uid in placed:
            touched[group_of(self._mirror.pods[uid])] = None
        touched.pop("", None)
        for key in touched:
            group = self._groups.get(key)
            if group is None:
                self._history.fail(f"half a group: a member of {key} is placed, which is not there")
            self._count(key, group.min_count)

    def _count(self, key: str, minimum: int) -> None:
        held = sum(group_of(held.pod) == key for held in self._mirror.held.values())
        if held < minimum:
            self._history.fail(f"half a group: {held} of {key} are placed, not {minimum}")


def group_of(pod: Pod) -> str:
    """The key of the pod's group; empty where it has none. A name in the spec goes first."""
    meta, named = pod.metadata, pod.spec.scheduling_group
    if named is not None and named.pod_group_name:
        return group_key(meta.namespace, named.pod_group_name, is_coscheduling=False)
    label = meta.labels.get(COSCHEDULING_GROUP_LABEL, "")
    return group_key(meta.namespace, label, is_coscheduling=True) if label else ""


def _key(group: PodGroup) -> str:
    meta = group.metadata
    return group_key(meta.namespace, meta.name, is_coscheduling=group.is_coscheduling)
