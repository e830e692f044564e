"""The active queue: the ready pods, and the batch that is being decided.

Step: queue. Without a comparator and without dependencies the buckets are the order: a pop takes
the head of the highest bucket, no batch is made, no graph is built. Else the first `batch_max`
pods are ordered once by the ladder and popped one after another. A batch ends when it is used
up, when its next pod has a lower priority than one that became ready meanwhile, or when the
priority of a ready pod changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from herz.errors import InvariantError
from herz.intake.order.comparator import Comparator, ComparatorFault
from herz.intake.order.ladder import RUNG_SORTED, RUNG_TOPOLOGICAL, OrderResult, order_batch
from herz.intake.queue.buckets import Buckets
from herz.intake.queue.item import QueuedPod, QueueItem
from herz.intake.queue.ring import Ring
from herz.intake.queue.settings import QueueSettings

# Bound: how often one batch is ordered anew because a comparator changed the queue meanwhile.
# The last order is then used as it is, without the pods that left.
ORDER_TRIES_MAX: Final = 2

# Lower than any priority of Kubernetes, which are 32-bit.
_NO_CHALLENGER: Final = -(1 << 63)


class ActiveQueue:
    """The ready pods.

    Attributes:
        result: what the ladder said of the batch of the pod popped last; None when that pod came
            without a batch (rung 1, straight from the buckets), or nothing came.
        fault: why the comparator is out of service; None while it serves or none is configured.
        batch_count: batches ordered by the ladder.
        descents: how often a batch was decided on rung 2 or lower, by rung (index 2 and 3).
        overflow_count: pods that had to wait over the bound, each time counted.

    Bound: `active_max` pods in the buckets. Those beyond wait in `_overflow`, first come first
    served whatever their priority, and enter as pods leave; none is lost or refused. The default
    is twice what Herz is built for, so a count above 0 is an alarm, not a mode of work.
    Invariant: every pod of `_plan` is in `_buckets`.
    """

    __slots__ = (
        "_buckets",
        "_challenger",
        "_comparator",
        "_dependents",
        "_is_stale",
        "_overflow",
        "_plan",
        "_room",
        "_rung_min",
        "_sequence",
        "_settings",
        "batch_count",
        "descents",
        "fault",
        "overflow_count",
        "result",
    )

    def __init__(self, settings: QueueSettings, comparator: Comparator | None) -> None:
        self._settings = settings
        # Pods in the buckets from which on a ready pod is held: the bound, or 0 while others are
        # held already, which go first.
        self._room = settings.active_max
        self._comparator = comparator
        self._buckets = Buckets()
        self._overflow: Ring[QueuedPod] = Ring()
        # The highest priority that became ready since the batch was taken.
        self._challenger = _NO_CHALLENGER
        # The rest of the batch, last to first, so that `popitem` gives the next pod and a pod
        # that vanishes leaves nothing behind.
        self._plan: dict[str, QueuedPod] = {}
        self._dependents = 0
        self._is_stale = False
        self._rung_min = RUNG_SORTED
        self._sequence = 0
        self.result: OrderResult | None = None
        self.fault: ComparatorFault | None = None
        self.batch_count = 0
        self.descents = [0, 0, 0, 0]
        self.overflow_count = 0

    def __len__(self) -> int:
        return self._buckets.count + len(self._overflow)

    @property
    def digest(self) -> int:
        """The permutation digest of the pods in the buckets."""
        return self._buckets.digest

    @property
    def overflow(self) -> int:
        """The pods that wait over the bound now."""
        return len(self._overflow)

    @property
    def planned(self) -> int:
        """The pods left of the current batch; 0 when the buckets are the order."""
        return len(self._plan)

    @property
    def last_sequence(self) -> int:
        """The last sequence given."""
        return self._sequence

    def enter(self, pod: QueuedPod) -> None:
        """A pod became ready: it gets a new sequence and goes behind its peers. Cost: O(1)."""
        self._sequence = pod.sequence = self._sequence + 1
        buckets = self._buckets
        if buckets.count >= self._room:
            self._hold(pod)
            return
        buckets.add(pod)
        item = pod.item
        if item.after:
            self._dependents += 1
        self._challenger = max(self._challenger, item.priority)

    def skip_ahead(self, pod: QueuedPod) -> None:
        """A pod goes straight into its cycle (early pop); it gets its sequence here."""
        self._sequence = pod.sequence = self._sequence + 1

    def leave(self, pod: QueuedPod) -> None:
        """Takes a given pod out, before its item changes. Cost: O(1) amortised."""
        if pod.ring is self._overflow:
            self._overflow.remove(pod.place)
            pod.ring = None
            if self._overflow.is_sparse:
                self._overflow.compact()
                for place, held in enumerate(self._overflow, self._overflow.head):
                    held.place = place
            if not self._overflow:
                self._room = self._settings.active_max
            return
        self._buckets.remove(pod)
        if pod.item.after:
            self._dependents -= 1
        self._plan.pop(pod.item.uid, None)
        self._refill()

    def replace(self, pod: QueuedPod, item: QueueItem) -> None:
        """Gives a ready pod its new item. A changed priority or dependency ends the batch.

        The pod keeps its sequence: its age counts among its new peers, as in Kubernetes.
        """
        old = pod.item
        if pod.ring is self._overflow or (
            old.priority == item.priority and old.after == item.after
        ):
            pod.item = item
            return
        self._buckets.remove(pod)
        self._dependents += bool(item.after) - bool(old.after)
        pod.item = item
        self._buckets.add_in_sequence(pod)
        self._end_batch()
        self._is_stale = True

    def pop(self) -> QueuedPod | None:
        """Takes out the next pod of the batch; None when nothing is ready.

        Cost: O(1) from the buckets; the first pop of an ordered batch pays for its order.
        """
        if self._plan or self._dependents or self._comparator is not None:
            return self._pop_planned()
        self.result = None
        pod = self._buckets.pop()
        if not self._room:
            self._refill()
        return pod

    def begin_on_rung(self, rung: int) -> None:
        """The driver's wall-clock limit, as a logged input: the next batch begins on this rung."""
        assert RUNG_SORTED <= rung <= len(self.descents) - 1, "a rung of the ladder"
        self._rung_min = rung
        self._end_batch()

    def __iter__(self) -> Iterator[QueuedPod]:
        """The ready pods in bucket order, then those over the bound."""
        yield from self._buckets
        yield from self._overflow

    def plan(self) -> tuple[QueuedPod, ...]:
        """The rest of the current batch, next first."""
        return tuple(reversed(self._plan.values()))

    def _pop_planned(self) -> QueuedPod | None:
        """The next pod of the batch; makes a new batch first where there is none."""
        plan = self._plan
        if plan and next(reversed(plan.values())).item.priority < self._challenger:
            self._end_batch()
        if not plan and self._buckets.count:
            self._make_plan()
        if plan:
            _, pod = plan.popitem()
        else:
            # Nothing is ready, or a comparator emptied the batch while it was asked.
            ready = self._buckets.first(1)
            self.result = None
            if not ready:
                return None
            pod = ready[0]
        self._buckets.remove(pod)
        if pod.item.after:
            self._dependents -= 1
        self._refill()
        return pod

    def _end_batch(self) -> None:
        """What is left of the batch will be ordered anew, with what came since."""
        self._plan.clear()
        self._challenger = _NO_CHALLENGER

    def _make_plan(self) -> None:
        """Orders the first pods of the buckets.

        A comparator that changes the queue while it is asked cannot disturb the sort, which
        works on a snapshot; but the order may then be of yesterday's priorities, so it is made
        anew, a bounded number of times.
        """
        for _ in range(ORDER_TRIES_MAX):
            self._is_stale = False
            self._challenger = _NO_CHALLENGER
            batch = self._buckets.first(self._settings.batch_max)
            by_uid = {pod.item.uid: pod for pod in batch}
            result = order_batch(
                [pod.candidate for pod in batch],
                self._comparator,
                self._settings.order,
                rung_min=self._rung_min,
            )
            self._count(result)
            if not self._is_stale:
                break
        self._rung_min = RUNG_SORTED
        for candidate in reversed(result.order):
            pod = by_uid[candidate.item.uid]
            if pod.sequence == candidate.sequence and pod.ring not in (None, self._overflow):
                self._plan[candidate.item.uid] = pod

    def _count(self, result: OrderResult) -> None:
        """Keeps the result, counts a descent, and takes a faulty comparator out of service."""
        self.result = result
        self.batch_count += 1
        if result.rung >= RUNG_TOPOLOGICAL:
            self.descents[result.rung] += 1
        if result.fault is not None:
            self.fault = result.fault
            self._comparator = None

    def _hold(self, pod: QueuedPod) -> None:
        """Keeps a ready pod over the bound."""
        pod.ring = self._overflow
        pod.place = self._overflow.append(pod)
        self._room = 0
        self.overflow_count += 1

    def _refill(self) -> None:
        """Lets pods from over the bound in. Bound: the free room, nearly always one pod."""
        if self._room:
            return
        while self._overflow and self._buckets.count < self._settings.active_max:
            pod = self._overflow.popleft()
            self._buckets.add_in_sequence(pod)
            if pod.item.after:
                self._dependents += 1
            self._challenger = max(self._challenger, pod.item.priority)
        if not self._overflow:
            self._room = self._settings.active_max

    def verify(self) -> None:
        """Checks the invariants that cost O(pods). Raises InvariantError."""
        dependents = sum(bool(pod.item.after) for pod in self._buckets)
        digest = sum(pod.item.order_key for pod in self._buckets)
        if dependents != self._dependents or digest != self._buckets.digest:
            raise InvariantError("the active queue's counters do not match its pods")
        if bool(self._overflow) != (self._room == 0):
            raise InvariantError("pods wait over the bound though there is room, or the reverse")
        inside = {pod.item.uid for pod in self._buckets}
        if not inside.issuperset(self._plan):
            raise InvariantError("the batch has a pod that is not ready")
