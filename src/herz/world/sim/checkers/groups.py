"""Groups: all of a group's members that must be placed together are, or none is."""

from __future__ import annotations

from collections.abc import Sequence

from herz.model.effects import Bind, Effect
from herz.model.events import BindFinished, ObjectApplied, PatchRefused, RemovalRefused, WorldEvent
from herz.model.objects import COSCHEDULING_GROUP_LABEL, Pod, PodGroup
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror


class GroupChecker:
    """Judges the effects of a step together: the binds of a group leave in one step.

    Rule: when a member of a group is bound, the members that are bound or on their way after this
    step are at least the group's minimum.
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
            key = event.object.metadata.key
            if isinstance(event, ObjectApplied):
                self._groups[key] = event.object
            else:
                self._groups.pop(key, None)

    def judge(self, effects: Sequence[Effect]) -> None:
        """Check a step's binds, after the mirror counted them."""
        if not self._groups:
            return
        touched: dict[str, None] = {}
        for effect in effects:
            if isinstance(effect, Bind) and effect.uid in self._mirror.pods:
                touched[_group_of(self._mirror.pods[effect.uid])] = None
        for key in touched:
            group = self._groups.get(key)
            if group is not None:
                self._count(key, group)

    def _count(self, key: str, group: PodGroup) -> None:
        held = sum(_group_of(held.pod) == key for held in self._mirror.held.values())
        if held < group.min_count:
            self._history.fail(f"half a group: {held} of {key} are placed, not {group.min_count}")


def _group_of(pod: Pod) -> str:
    """The key of the pod's group; empty where it has none."""
    meta, group = pod.metadata, pod.spec.scheduling_group
    name = meta.labels.get(COSCHEDULING_GROUP_LABEL, "")
    if group is not None and group.pod_group_name:
        name = group.pod_group_name
    return f"{meta.namespace}/{name}" if name else ""
