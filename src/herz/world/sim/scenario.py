"""A scenario: the cluster, the pods that come, what goes wrong, and when it ends.

A value: built from a name or a file by `herz.world.sim.catalogue`, run by `herz.world.sim.run`.
What it holds for a seed is made by `open`, lazily for the pods, from randomness of its own: the
same seed brings the same pods and nodes whatever the scheduler does with them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from herz.model.mix import PodShape
from herz.model.objects import KubernetesObject, Node, Pod, Taint
from herz.world.sim.faults import Faults
from herz.world.sim.make import SCHEDULER_NAME
from herz.world.sim.promises.truth import Setup
from herz.world.sim.result import SECOND_NS

MILLISECOND_NS = 1_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
CLASS_LABEL = "herz.dev/sla-class"


class Protocol(StrEnum):
    """How pods and changes are fed to the machine."""

    ORDINARY = "ordinary"
    """As they come in virtual time, up to `Limits.step_limit` a step."""
    ONE_BY_ONE = "one-by-one"
    """Pods only arrive; each is decided before the next is told of, and dropped when not placed.
    Binds land at once. A checker holds the machine to it (the openb protocol)."""
    CHANGE_BETWEEN = "change-between"
    """A step decides one pod, and a node or a pod changes between every two steps."""


class AfterEnd(StrEnum):
    """What a pod's controller does when the pod is lost (its node failed, was drained, refused)."""

    NOTHING = "nothing"
    REPLACE = "replace"
    """Makes another pod under a new name (a deployment)."""
    RECREATE = "recreate"
    """Makes another pod under the same name with a new uid (a stateful set)."""


class PodArrival(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A pod that comes.

    Args:
        time_ns: when the API accepts it.
        pod: as it is created. One that has a node already runs there and is never decided on.
        run_ns: from its start to its successful end; None runs on.
        lifetime_ns: from arrival to its deletion by its controller, bound or not; None stays.
        class_name: the class in which its wait is reported.
        after_end: what its controller does when it is lost.
        ungate_ns: from arrival to the removal of its scheduling gates; None never.
        unlisted: top-level fields of its spec that this release does not know.
        patience_ns: from arrival to its deletion if it has no node by then; None waits on.
        relabel_ns: from arrival to a change of its labels to `labels`; None never.
        labels: what they are then.
    """

    time_ns: int
    pod: Pod
    run_ns: int | None = None
    lifetime_ns: int | None = None
    class_name: str = "default"
    after_end: AfterEnd = AfterEnd.NOTHING
    ungate_ns: int | None = None
    unlisted: tuple[str, ...] = ()
    patience_ns: int | None = None
    relabel_ns: int | None = None
    labels: dict[str, str] = {}


class NodeChange(StrEnum):
    """What happens to a node."""

    ADD = "add"
    """The node of `NodeAction.node` joins."""
    FAIL = "fail"
    """Taken for dead: tainted as unreachable at once; its pods are lost after
    `Timing.evict_ns`; it stays in the API."""
    RETURN = "return"
    """A failed, drained or deleted node is back, empty and clean."""
    DRAIN = "drain"
    """Cordoned, and its pods evicted one after another."""
    DELETE = "delete"
    """Gone from the API, with its pods."""
    CORDON = "cordon"
    """No new pods; those that are there stay."""
    TAINT = "taint"
    """The taints are added."""
    UNTAINT = "untaint"
    """The taints are taken away."""
    LABEL = "label"
    """The labels are set; an empty value takes the label away."""
    ALLOCATABLE = "allocatable"
    """The allocatable amounts are set."""


class NodeAction(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happens to a node at a time; fields beyond `name` as the kind needs them."""

    time_ns: int
    kind: NodeChange
    name: str
    node: Node | None = None
    taints: tuple[Taint, ...] = ()
    labels: dict[str, str] = {}
    allocatable: dict[str, str | int] = {}


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in nanoseconds; pairs are the least and the most, drawn evenly.

    Args:
        bind_ns: from a Bind to its answer; it lands half-way.
        watch_ns: from a change to its delivery.
        start_ns: from the landed bind to the running pod.
        grace_ns: from the deletion of a running pod to its end.
        keep_ns: from a pod's completion to its removal from the API.
        evict_ns: from a node's failure to the loss of its pods.
        replace_ns: from a pod's loss to the pod that its controller makes instead.
        drain_gap_ns: between two evictions of a drain.
        timeout_ns: after which a request is given up; nothing lands later than that.
        retry_after_ns: what a 429 asks a client to wait.
        confirm_ns: from a given-up request to the read that tells what became of it.
        slow_factor: how much longer a slow answer takes.
        stall_ns: how long a stalled watch stands still.
        recover_ns: after which a random node change is undone.
        is_start_shown: whether the machine sees pods turn from Pending to Running.
        is_echoed: whether the machine sees its own status patches come back as pod updates.
    """

    bind_ns: tuple[int, int] = (4 * MILLISECOND_NS, 4 * MILLISECOND_NS)
    watch_ns: int = 3 * MILLISECOND_NS
    start_ns: tuple[int, int] = (2 * SECOND_NS, 2 * SECOND_NS)
    grace_ns: int = 2 * SECOND_NS
    keep_ns: int = 30 * SECOND_NS
    evict_ns: int = 300 * SECOND_NS
    replace_ns: int = SECOND_NS
    drain_gap_ns: int = 200 * MILLISECOND_NS
    timeout_ns: int = 5 * SECOND_NS
    retry_after_ns: int = SECOND_NS
    confirm_ns: int = SECOND_NS
    slow_factor: int = 50
    stall_ns: int = 400 * MILLISECOND_NS
    recover_ns: tuple[int, int] = (60 * SECOND_NS, 600 * SECOND_NS)
    is_start_shown: bool = True
    is_echoed: bool = True

    @classmethod
    def instant(cls) -> Timing:
        """Nothing takes any time: for protocols that decide pods one by one."""
        return cls(
            bind_ns=(0, 0),
            watch_ns=0,
            start_ns=(0, 0),
            grace_ns=0,
            is_start_shown=False,
            is_echoed=False,
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a run.

    Args:
        time_ns_max: the run ends here in virtual time ("time"); nothing is wrong with that.
        steps_max: calls of `step`; passing it is an error.
        steps_at_once_max: calls of `step` at one instant; passing it is an error.
        step_limit: pods that a step may decide; 1 where the protocol feeds them singly.
        idle_ns: after the world's last change the machine has so long to end its retries;
            then the run ends ("drained"). Longer than the queue's flush of five minutes.
        history_max: events kept for the message of a violated checker.
        samples_max: points of the time series.
    """

    time_ns_max: int = DAY_NS
    steps_max: int = 50_000_000
    steps_at_once_max: int = 2_000_000
    step_limit: int = 1024
    idle_ns: int = 11 * MINUTE_NS
    history_max: int = 200
    samples_max: int = 512


@dataclass(frozen=True, slots=True)
class Content:
    """What a scenario holds for one seed.

    Args:
        nodes: there from the start.
        arrivals: in order of time; taken one by one.
        pods_expected: how many arrivals there are, for progress; 0 where unknown.
        objects: other objects that are there from the start (priority classes, namespaces).
        actions: what happens to nodes, in any order.
        notes: facts that the reader of the result must know.
        gpu_arrivals_capacity: openb: GPU-milli that 100 percent of load means; 0 elsewhere.
    """

    nodes: tuple[Node, ...]
    arrivals: Iterator[PodArrival]
    pods_expected: int = 0
    objects: tuple[KubernetesObject, ...] = ()
    actions: tuple[NodeAction, ...] = ()
    notes: tuple[str, ...] = ()
    gpu_arrivals_capacity: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Args:
        name: as it is reported.
        description: one sentence.
        open: the content for a generator that belongs to it alone.
        protocol: how the machine is fed.
        faults: what goes wrong.
        timing: how long things take.
        limits: when it ends.
        classes: the classes of its pods, in the order of the report.
        schedulers: which schedulers its pods ask for (`spec.schedulerName`).
        is_every_fit_expected: whether a pod that waits at the end of a drained run though the
            independent check finds room for it counts as lost.
        is_strict: whether the machine is held to every default rule of Kubernetes, to priority
            order and to its own account of what it holds: for policies that have these rules.
        is_budget_hard: whether preemption must hold to disruption budgets, as the policy says.
        truth: how pods disturb each other and what they promise; None: nobody feels anybody.
        workload: shapes of the pods and how often they come, where the source publishes that:
            policies that are defined over a known workload are given it.
    """

    name: str
    description: str
    open: Callable[[random.Random], Content]
    protocol: Protocol = Protocol.ORDINARY
    faults: Faults = field(default_factory=Faults)
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    classes: tuple[str, ...] = ("default",)
    schedulers: tuple[str, ...] = (SCHEDULER_NAME,)
    is_every_fit_expected: bool = True
    is_strict: bool = False
    is_budget_hard: bool = False
    truth: Setup | None = None
    workload: tuple[tuple[PodShape, int], ...] = ()

    def __post_init__(self) -> None:
        """Check what no type says."""
        assert self.limits.step_limit >= 1, "a step decides at least one pod"
        assert self.limits.idle_ns > 0, "a run needs time to come to rest"
