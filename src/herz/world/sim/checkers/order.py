"""Priority order: nobody is decided while a pod of higher priority has not had its first turn."""

from __future__ import annotations

from collections.abc import Sequence

from herz.model.events import ObjectApplied, WorldEvent
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, PatchRefused, RemovalRefused
from herz.model.record import Record
from herz.world.sim.checkers.groups import group_of
from herz.world.sim.checkers.history import History
from herz.world.sim.checkers.mirror import Mirror

_FINAL = ("Succeeded", "Failed")
_AFTER = "herz.dev/after"


class OrderChecker:
    """Follows the records of each step.

    A pod is ready from the event that first shows it, ungated and without a node, until its first
    decision. What backs off after a decision is left out: only the queue knows when that is over.
    Pods with dependencies and members of groups have another order, and are left out as well.
    """

    def __init__(self, mirror: Mirror, history: History) -> None:
        self._mirror = mirror
        self._history = history
        # Bound: pods that are there.
        self._ready: dict[str, int] = {}
        self._decided: set[str] = set()

    def see(self, event: WorldEvent) -> None:
        """Take an event in, after the mirror."""
        if isinstance(event, BindFinished | PatchRefused | RemovalRefused):
            return
        if not isinstance(event.object, Pod):
            return
        pod = event.object
        uid = pod.metadata.uid
        if not isinstance(event, ObjectApplied) or pod.status.phase in _FINAL:
            self._ready.pop(uid, None)
            self._decided.discard(uid)
        elif pod.is_assigned or pod.is_terminating or pod.is_gated or uid in self._decided:
            self._ready.pop(uid, None)
        elif _AFTER not in pod.metadata.annotations and not group_of(pod):
            self._ready[uid] = pod.priority

    def judge(self, records: Sequence[Record]) -> None:
        """Check the decisions of one step, in order."""
        if not self._ready:
            return
        # Pods whose name came back with a new uid are gone, though no deletion was told.
        ready = {uid: high for uid, high in self._ready.items() if uid in self._mirror.pods}
        waiting = sorted(ready.items(), key=lambda item: item[1])
        for record in records:
            uid = record.pod.uid
            ready.pop(uid, None)
            self._decided.add(uid)
            while waiting and waiting[-1][0] not in ready:
                waiting.pop()
            pod = self._mirror.pods.get(uid)
            if waiting and pod is not None and pod.priority < waiting[-1][1]:
                first, priority = waiting[-1]
                self._history.fail(
                    f"wrong order: {pod.key} ({uid}) of priority {pod.priority} is decided while "
                    f"{first} of priority {priority} waits for its first turn"
                )
        self._ready = ready

    @property
    def is_anybody_ready(self) -> bool:
        """Whether somebody waits for a first turn."""
        return bool(self._ready)

    def check_idle(self) -> None:
        """The machine says that nothing is ready: everybody had a first turn."""
        for uid in self._ready:
            pod = self._mirror.pods.get(uid)
            if pod is not None:
                self._history.fail(f"pod {pod.key} ({uid}) was lost: it never had its turn")
