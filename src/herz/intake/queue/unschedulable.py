"""The unschedulable pods, grouped by the plugins that rejected them.

Step: queue. An event asks the rules once a group, and the pods only of the groups that it
concerns. A pod that no event wakes for 5 minutes is flushed, which shows a missing hint.
"""

from __future__ import annotations

from collections.abc import Iterator

from herz.intake.queue.hints import Hints, Outcome, QueueEvent
from herz.intake.queue.item import QueuedPod

# The plugins that rejected, and those that asked to wait.
_Key = tuple[tuple[str, ...], tuple[str, ...]]


class UnschedulablePods:
    """Pods that wait for an event.

    Attributes:
        count: the pods inside.

    Bound: the pods known to the queue.
    Invariant: a group that exists holds a pod; `_due` counts the pods of each flush time.
    """

    __slots__ = ("_due", "_groups", "count")

    def __init__(self) -> None:
        self._groups: dict[_Key, dict[str, QueuedPod]] = {}
        self._due: dict[int, int] = {}
        self.count = 0

    def __len__(self) -> int:
        return self.count

    def add(self, pod: QueuedPod) -> None:
        """Puts a pod in, by its rejecting plugins and its `flush_at_ns`. Cost: O(1)."""
        self._groups.setdefault(_key(pod), {})[pod.item.uid] = pod
        self._due[pod.flush_at_ns] = self._due.get(pod.flush_at_ns, 0) + 1
        self.count += 1

    def remove(self, pod: QueuedPod) -> None:
        """Takes a given pod out, before its plugins or its flush time change. Cost: O(1)."""
        key = _key(pod)
        group = self._groups[key]
        del group[pod.item.uid]
        if not group:
            del self._groups[key]
        left = self._due[pod.flush_at_ns] - 1
        if left:
            self._due[pod.flush_at_ns] = left
        else:
            del self._due[pod.flush_at_ns]
        self.count -= 1

    def woken_by(self, event: QueueEvent, hints: Hints) -> list[tuple[QueuedPod, Outcome]]:
        """The pods that the event may help, in the order of their sequence; they stay inside.

        Cost: O(groups) and one question a pod of the groups that the event concerns.
        """
        found: list[tuple[QueuedPod, Outcome]] = []
        for (rejected_by, pending_by), group in self._groups.items():
            if not hints.concerns(rejected_by, pending_by, event.kind):
                continue
            for pod in group.values():
                outcome = hints.outcome(pod, event)
                if outcome is not Outcome.STAY:
                    found.append((pod, outcome))
        # Tie: none, sequences are unique. Woken pods keep the order of their arrival.
        found.sort(key=lambda pair: pair[0].sequence)
        return found

    def due(self, now_ns: int) -> list[QueuedPod]:
        """The pods whose flush time has come, in the order of their sequence; they stay inside.

        Cost: O(flush times) when nothing is due, else O(pods inside).
        """
        if not self._due or min(self._due) > now_ns:
            return []
        return sorted(
            (pod for pod in self if pod.flush_at_ns <= now_ns), key=lambda pod: pod.sequence
        )

    def next_ns(self) -> int | None:
        """The next flush time; None for no pod."""
        return min(self._due, default=None)

    def __iter__(self) -> Iterator[QueuedPod]:
        """All the pods, group by group."""
        for group in self._groups.values():
            yield from group.values()


def _key(pod: QueuedPod) -> _Key:
    """The pod's group."""
    return pod.rejected_by, pod.pending_by
