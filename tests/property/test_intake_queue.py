"""The scheduling queue against a simple model, over random lives of random pods."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from herz.intake.order.candidate import Candidate
from herz.intake.order.comparator import Comparator
from herz.intake.order.digest import digest_of
from herz.intake.queue.backoff import BackoffPolicy
from herz.intake.queue.hints import HintRule
from herz.intake.queue.item import QueuedPod
from herz.intake.queue.lifecycle import State
from herz.intake.queue.scheduling import SchedulingQueue
from herz.intake.queue.settings import QueueSettings
from tests.unit.intake.intake_pods import SECOND, Event, Item, make_item

NAMES = st.sampled_from([f"p{number}" for number in range(8)])
AFTER = st.sampled_from(["", "", "", "p1", "p2=0.5,p0"])
PLUGINS = st.sampled_from([("Fit",), ("Taints",), ("Fit", "Taints"), ("Unheard",)])
KINDS = st.sampled_from(["Node/Add", "Node/Update", "Service/Add", "*"])


def by_name(one: Candidate, two: Candidate) -> bool:
    return one.item.name < two.item.name


class QueueMachine(RuleBasedStateMachine):
    """The watch, the cycle, the clock, and cluster events, in any interleaving."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.living: dict[str, Item] = {}
        self.handles: list[QueuedPod] = []
        self.is_plain = True

    @initialize(
        kind=st.sampled_from(["default", "comparator"]),
        active_max=st.sampled_from([2, 1000]),
        batch_max=st.sampled_from([1, 3, 1024]),
        retries_max=st.sampled_from([None, 2]),
    )
    def start(self, kind: str, active_max: int, batch_max: int, retries_max: int | None) -> None:
        backoff = BackoffPolicy(retries_max=retries_max)
        self.is_plain = kind == "default" and active_max == 1000
        self.queue = SchedulingQueue(
            QueueSettings(
                batch_max=batch_max, active_max=active_max, events_max=3, backoff=backoff
            ),
            hints=[HintRule("Fit", ("Node/Add",)), HintRule("Taints", ("Node/Update",))],
            comparator=Comparator("by-name", by_name) if kind == "comparator" else None,
        )

    @rule(name=NAMES, priority=st.integers(0, 2), is_gated=st.booleans(), after=AFTER)
    def see(self, name: str, priority: int, is_gated: bool, after: str) -> None:
        item = make_item(name, priority, after=after, gates=("gate",) if is_gated else ())
        self.queue.add(item, self.now_ns)
        self.living[item.uid] = item

    @rule(name=NAMES)
    def see_changed_without_concern(self, name: str) -> None:
        item = self.living.get(f"uid-{name}")
        if item is not None:
            self.queue.update(item, self.now_ns, changes=())

    @rule(name=NAMES)
    def see_bound(self, name: str) -> None:
        item = self.living.setdefault(f"uid-{name}", make_item(name))
        self.queue.adopt(item)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        known = self.living.pop(f"uid-{name}", None)
        state = self.queue.delete(f"uid-{name}")
        assert (state is not None) == (known is not None)

    @rule(name=NAMES)
    def preempt(self, name: str) -> None:
        state = self.queue.preempt(f"uid-{name}")
        assert (state is not None) == (f"uid-{name}" in self.living)

    @rule()
    def pop(self) -> None:
        ready = [pod for pod in self.queue if pod.state is State.QUEUED]
        pod = self.queue.pop()
        if pod is None:
            assert not ready
            return
        self.handles.append(pod)
        if not ready:
            return
        if self.is_plain and not any(other.item.after for other in ready):
            assert pod is min(ready, key=lambda p: (-p.item.priority, p.sequence))

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), plugins=PLUGINS, is_pending=st.booleans())
    def go_on(self, data: st.DataObject, plugins: tuple[str, ...], is_pending: bool) -> None:
        pod = data.draw(st.sampled_from(self.handles))
        queue, state = self.queue, pod.state
        is_living = state is not State.GONE
        calls = {
            State.IN_CYCLE: [queue.reserved],
            State.RESERVED: [queue.waiting, queue.binding],
            State.WAITING: [queue.binding],
            State.BINDING: [queue.bound],
            State.BOUND: [queue.bound],
            State.GONE: [queue.reserved, queue.waiting, queue.binding, queue.bound],
        }
        returning = (State.IN_CYCLE, State.RESERVED, State.WAITING, State.BINDING, State.GONE)
        if state in returning and data.draw(st.booleans()):
            pending = plugins if is_pending else ()
            ended = data.draw(st.sampled_from(["reject", "fail"]))
            if ended == "fail":
                after = queue.fail(pod, self.now_ns)
            else:
                after = queue.reject(pod, plugins, self.now_ns, pending_by=pending)
            assert (after is State.GONE) == (not is_living)
            if is_living:
                self.handles.remove(pod)
        elif state in calls:
            call = data.draw(st.sampled_from(calls[state]))
            assert call(pod) == is_living
        else:
            self.handles.remove(pod)

    @rule(kind=KINDS)
    def event(self, kind: str) -> None:
        self.queue.on_event(Event(kind), self.now_ns)

    @rule(seconds=st.sampled_from([0, 1, 3, 20, 400]))
    def advance(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND
        self.queue.advance(self.now_ns)
        wake = self.queue.next_wake_ns()
        assert wake is None or wake > self.now_ns

    @rule(rung=st.integers(1, 3))
    def limit(self, rung: int) -> None:
        self.queue.active.begin_on_rung(rung)

    @invariant()
    def every_pod_is_in_exactly_one_place(self) -> None:
        if not hasattr(self, "queue"):
            return
        self.queue.verify()
        assert {pod.item.uid for pod in self.queue} == set(self.living)
        assert sum(self.queue.counts()) == len(self.living) == len(self.queue)
        for uid, item in self.living.items():
            pod = self.queue.get(uid)
            assert pod is not None
            assert pod.item == item
            if pod.state in (State.QUEUED, State.BACKING_OFF, State.UNSCHEDULABLE):
                assert not item.gates
        inside = [pod for pod in self.queue.active if pod.ring is not self.queue.active._overflow]
        assert self.queue.digest == digest_of(pod.item.order_key for pod in inside)
        sequences = [pod.sequence for pod in self.queue.active]
        assert len(set(sequences)) == len(sequences)

    def teardown(self) -> None:
        """No entry outlives its pod: when all are deleted, nothing is left anywhere."""
        if not hasattr(self, "queue"):
            return
        for uid in self.living:
            self.queue.delete(uid)
        queue = self.queue
        assert sum(queue.counts()) == len(queue) == queue.digest == 0
        assert (queue.events.in_flight, len(queue.events)) == (0, 0)
        assert queue.active.planned == queue.active.overflow == 0
        assert queue.next_wake_ns() is None
        assert not queue.rooms.unschedulable._groups


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=120, stateful_step_count=50)
