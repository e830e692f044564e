"""The back-off: how long a pod waits after a rejection or an error, and where.

Step: queue. Durations are 1 s, 2 s, 4 s, … up to 10 s, counted apart for rejections by rules and
for errors in a row, as in kube-scheduler. The end is aligned to one-second windows: a pod is
ready at the first whole second after its duration; inside a window the order is the active
queue's. Limits are optional; a pod that meets one is parked.
Source: kubernetes 1.36 pkg/scheduler/backend/queue/backoff_queue.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from herz.errors import ConfigError
from herz.intake.queue.buckets import Buckets
from herz.intake.queue.item import QueuedPod

SECOND_NS: Final = 1_000_000_000

# A count above this has long met the maximum; it keeps 2^count from growing without end.
_DOUBLINGS_MAX: Final = 62


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Durations and limits, in nanoseconds and counts.

    Attributes:
        initial_ns: the first duration.
        max_ns: the longest duration.
        window_ns: ends are aligned to multiples of this.
        retries_max: returns from the cycle, of both kinds, after which the pod is parked; None
            for no limit.
        backoff_ns_max: back-off in all after which the pod is parked; None for no limit.
    """

    initial_ns: int = SECOND_NS
    max_ns: int = 10 * SECOND_NS
    window_ns: int = SECOND_NS
    retries_max: int | None = None
    backoff_ns_max: int | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be meant.

        Raises:
            ConfigError: names the setting and its remedy.
        """
        if not 0 < self.initial_ns <= self.max_ns:
            raise ConfigError(
                "initial back-off out of range",
                where="queue.backoff.initial_ns",
                value=self.initial_ns,
                fix=f"use 1 to max_ns ({self.max_ns})",
            )
        if self.window_ns < 1:
            raise ConfigError(
                "window out of range",
                where="queue.backoff.window_ns",
                value=self.window_ns,
                fix="use 1 or more; 1000000000 as Kubernetes",
            )
        for name, limit in (
            ("retries_max", self.retries_max),
            ("backoff_ns_max", self.backoff_ns_max),
        ):
            if limit is not None and limit < 0:
                raise ConfigError(
                    "negative limit",
                    where=f"queue.backoff.{name}",
                    value=limit,
                    fix="use 0 or more, or leave it out for no limit",
                )

    def duration_ns(self, count: int) -> int:
        """The back-off after `count` (1 or more) failures: initial · 2^(count-1), at most max."""
        assert count > 0, "a pod without a failure does not back off"
        return min(self.initial_ns << min(count - 1, _DOUBLINGS_MAX), self.max_ns)

    def ready_at_ns(self, now_ns: int, count: int) -> int:
        """When a pod that failed now for the `count`-th time is ready: a multiple of the window.

        kube-scheduler cuts the end down to its window and keeps the pod until that window is
        over, so the pod is ready at the next multiple strictly after now + duration's window
        start. Herz does the same.
        """
        end = now_ns + self.duration_ns(count)
        return (end // self.window_ns + 1) * self.window_ns

    def impose(self, pod: QueuedPod, now_ns: int) -> None:
        """Sets the end of the pod's back-off from its counters, and adds it to its total."""
        count = pod.error_count or pod.unschedulable_count
        pod.ready_at_ns = self.ready_at_ns(now_ns, count)
        pod.backoff_ns += self.duration_ns(count)

    def parked_because(self, pod: QueuedPod) -> str | None:
        """The limit that the pod has met, in words for its condition; None for none."""
        if self.retries_max is not None and pod.retry_count > self.retries_max:
            return f"it failed {pod.retry_count} times, and the limit is {self.retries_max} retries"
        if self.backoff_ns_max is not None and pod.backoff_ns > self.backoff_ns_max:
            return (
                f"it backed off {pod.backoff_ns // 1_000_000} ms in all,"
                f" over the limit of {self.backoff_ns_max // 1_000_000} ms"
            )
        return None


class Timetable:
    """Pods by the window in which their back-off ends; by active order within a window.

    Attributes:
        count: the pods inside.

    Bound: the pods known to the queue; the windows at once are at most
    max_ns / window_ns + 2, since every end lies that near.
    """

    __slots__ = ("_times", "_windows", "count")

    def __init__(self) -> None:
        self._windows: dict[int, Buckets] = {}
        # Tie: none. Each time is pushed once while its window exists, so the times are unique.
        self._times: list[int] = []
        self.count = 0

    def add(self, pod: QueuedPod) -> None:
        """Puts a pod into the window of its `ready_at_ns`. Cost: O(1)."""
        window = self._windows.get(pod.ready_at_ns)
        if window is None:
            window = self._windows[pod.ready_at_ns] = Buckets()
            heappush(self._times, pod.ready_at_ns)
        window.add(pod)
        self.count += 1

    def remove(self, pod: QueuedPod) -> None:
        """Takes a given pod out. Cost: O(1) amortised."""
        self._windows[pod.ready_at_ns].remove(pod)
        self.count -= 1
        self._drop_empty()

    def pop_due(self, now_ns: int) -> QueuedPod | None:
        """Takes out the first pod whose back-off is over; None when there is none."""
        if not self._times or self._times[0] > now_ns:
            return None
        return self.pop()

    def pop(self) -> QueuedPod | None:
        """Takes out the pod that is ready first, though its back-off is not over."""
        if not self._times:
            return None
        pod = self._windows[self._times[0]].pop()
        assert pod is not None, "the first window is never empty"
        self.count -= 1
        self._drop_empty()
        return pod

    def next_ns(self) -> int | None:
        """When the first pod is ready; None for no pod."""
        return self._times[0] if self._times else None

    def __iter__(self) -> Iterator[QueuedPod]:
        """The pods, by window, then by active order."""
        for time in sorted(self._windows):
            yield from self._windows[time]

    def _drop_empty(self) -> None:
        """Drops the windows at the front that hold nothing. Bound: the windows.

        An empty window further back keeps its place in the heap until it comes to the front.
        """
        while self._times and not self._windows[self._times[0]]:
            del self._windows[heappop(self._times)]


class BackoffQueue:
    """The two timetables: rejections by rules, and errors.

    They are apart because an empty active queue may take early only from the first: an error
    (an API that fails) is not to be answered by asking it more often.
    """

    __slots__ = ("errors", "rejections")

    def __init__(self) -> None:
        self.rejections = Timetable()
        self.errors = Timetable()

    def __len__(self) -> int:
        return self.rejections.count + self.errors.count

    def add(self, pod: QueuedPod) -> None:
        """Puts a pod in, by the kind of its last failure and its `ready_at_ns`."""
        self._of(pod).add(pod)

    def remove(self, pod: QueuedPod) -> None:
        """Takes a given pod out, before its counters or its item change."""
        self._of(pod).remove(pod)

    def pop_due(self, now_ns: int) -> QueuedPod | None:
        """Takes out one pod whose back-off is over: rejections first, as kube-scheduler does."""
        return self.rejections.pop_due(now_ns) or self.errors.pop_due(now_ns)

    def pop_early(self) -> QueuedPod | None:
        """Takes out the rejected pod that would be ready first; errors wait."""
        return self.rejections.pop()

    def next_ns(self) -> int | None:
        """When the next pod is ready; None for no pod."""
        return earliest(self.rejections.next_ns(), self.errors.next_ns())

    def __iter__(self) -> Iterator[QueuedPod]:
        """All the pods: rejections, then errors."""
        yield from self.rejections
        yield from self.errors

    def _of(self, pod: QueuedPod) -> Timetable:
        """The timetable for the kind of the pod's last failure."""
        return self.errors if pod.error_count else self.rejections


def earliest(*times: int | None) -> int | None:
    """The first of the times; None when there is none."""
    first: int | None = None
    for time in times:
        if time is not None and (first is None or time < first):
            first = time
    return first
