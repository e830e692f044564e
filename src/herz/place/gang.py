"""Gangs: pods that are placed together or not at all.

Both kinds of PodGroup are one model here: so many pods must be placed at once, and until then
none holds anything, so that two gangs never wait for each other's half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from herz.model.objects import PodGroup
from herz.model.podinfo import PodInfo
from herz.model.volumes import VolumePlan
from herz.place.advice import Advices
from herz.place.cluster import Cluster
from herz.place.explain import rejected_everywhere
from herz.place.framework import Framework
from herz.place.outcome import Choice, NoFit
from herz.plugin import Kind, Verdict

RULE: Final = "GangScheduling"
TOGETHER: Final = "Together"
"""What rejects a pod that fits by itself, while too few of its gang do."""
TIMEOUT_SECONDS: Final = 300
"""How long part of a gang may be bound before it is told, where the group says nothing; as
Kubernetes' Permit."""

_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Gang:
    """A gang whose turn it is.

    Args:
        key: its group.
        needed: how many more of its pods must be placed at once; 0 when enough are.
        members: its pods that are known and hold no node, by uid.
        note: what is to be told of its time-out; empty when there is nothing.
    """

    key: str
    needed: int
    members: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A row that is held for a pod of a gang.

    Args:
        choice: the node.
        devices: the shared accelerators.
        plan: the volumes to be bound first.
        nominated: the node that the pod was nominated to; empty when it was to none.
        is_kept: that nomination was for its long wait.
    """

    choice: Choice
    devices: tuple[int, ...]
    plan: VolumePlan
    nominated: str
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Together:
    """What became of a gang's pods: reserved, or refused.

    Args:
        placed: what is held, by uid.
        refused: by uid, why not.
    """

    placed: dict[str, Held]
    refused: dict[str, NoFit]

    def why(self, pods: Sequence[PodInfo]) -> NoFit:
        """The refusal that names most rules: what kept the gang from being placed."""
        return max((self.refused[pod.uid] for pod in pods), key=lambda one: len(one.rejected_by))


class Gangs:
    """The groups' living pods, and the placing of them."""

    def __init__(self, cluster: Cluster, frameworks: Sequence[Framework], advice: Advices) -> None:
        self._cluster = cluster
        self._frameworks = frameworks
        self._advice = advice
        self._members: dict[str, dict[str, PodInfo]] = {}
        # When a pod of the gang was first found placed while others that it needs were not.
        self._split_ns: dict[str, int] = {}
        self._told: set[str] = set()

    def see(self, pod: PodInfo) -> bool:
        """A pod of a group came or changed; says whether it is new."""
        members = self._members.setdefault(pod.pod_group, {})
        is_new = pod.uid not in members
        members[pod.uid] = pod
        return is_new

    def forget(self, pod: PodInfo) -> None:
        """A pod is gone; one of no group is passed over."""
        members = self._members.get(pod.pod_group, {})
        members.pop(pod.uid, None)
        if not members:
            self._members.pop(pod.pod_group, None)
            self._end_split(pod.pod_group)

    def judge(self, pod: PodInfo, now_ns: int) -> Gang | NoFit | None:
        """Whether the pod's gang can be placed now; None when its pods are placed one by one."""
        key = pod.pod_group
        group = self._cluster.catalog.get(PodGroup, key)
        if group is None:
            return self._wait(f'waiting for pod group "{_name(key)}" to appear')
        if refusal := _refusal(group):
            return self._no_fit(Kind.NEVER_FITS, f'pod group "{_name(key)}" {refusal}')
        if group.min_count <= 1:
            return None
        members = self._members.get(key, {})
        if len(members) < group.min_count:
            there = f"{len(members)} of {group.min_count} are there"
            return self._wait(f'waiting for the pods of pod group "{_name(key)}": {there}')
        ledger = self._cluster.ledger
        # Uids in order: which pod came first decides nothing here.
        waiting = tuple(uid for uid in sorted(members) if ledger.get(uid) is None)
        if len(self._frameworks) > 1 and (mixed := _mixed([members[uid] for uid in waiting])):
            return self._no_fit(Kind.ERROR, mixed)
        placed = len(members) - len(waiting)
        needed = max(group.min_count - placed, 0)
        note = self._split(key, group, placed, needed, now_ns)
        return Gang(key, needed, waiting, note)

    def place(self, gang: Gang, pods: Sequence[PodInfo], now_ns: int) -> Together:
        """Decide and reserve one after another; undo it all when fewer fit than are needed."""
        placed: dict[str, Held] = {}
        volumes: set[str] = set()
        refused: dict[str, NoFit] = {}
        for pod in pods:
            found = self._reserve(pod, volumes, now_ns)
            if isinstance(found, NoFit):
                refused[pod.uid] = found
            else:
                placed[pod.uid] = found
                volumes.update(volume.metadata.name for _, volume in found.plan.static)
        if len(placed) >= gang.needed:
            return Together(placed, refused)
        for pod in pods:
            if pod.uid in placed:
                self._cluster.forget(pod.uid)
                held = placed[pod.uid]
                if held.nominated:
                    self._cluster.nominations.put(pod, held.nominated, is_kept=held.is_kept)
        first = next((pod for pod in pods if pod.uid in refused), None)
        why = f" {first.key}: {refused[first.uid].message}" if first is not None else ""
        text = (
            f'pod group "{_name(gang.key)}" needs {gang.needed} more pods at once and '
            f"{len(placed)} fit together;{why}{gang.note}"
        )
        whole = self._no_fit(Kind.UNFIT, text.rstrip(";"))
        return Together({}, {pod.uid: _with_rules(whole, refused.get(pod.uid)) for pod in pods})

    def _reserve(self, pod: PodInfo, volumes: set[str], now_ns: int) -> Held | NoFit:
        """Decide and hold; `volumes` are those that go to other pods of the gang."""
        framework = self._frameworks[pod.profile]
        found = framework.decide(pod)
        if isinstance(found, NoFit):
            found = self._advice.again(pod, found, now_ns)
        if isinstance(found, NoFit):
            return found
        devices = framework.choose_devices(pod, found.row)
        if isinstance(devices, NoFit):
            return devices
        plan = framework.plan_volumes(pod, found.row)
        if isinstance(plan, NoFit):
            return plan
        if any(volume.metadata.name in volumes for _, volume in plan.static):
            taken = "another pod of the pod group takes the same volume"
            return replace(self._no_fit(Kind.UNFIT, taken), rejected_by=(TOGETHER,))
        if not self._cluster.reserve(pod, found.row, devices):
            return framework.no_room(found)
        # What holds the room now is the reservation: the others need not leave it twice.
        nominations = self._cluster.nominations
        is_kept = nominations.is_kept(pod.uid)
        return Held(found, devices, plan, nominations.drop(pod.uid), is_kept)

    def _split(self, key: str, group: PodGroup, placed: int, needed: int, now_ns: int) -> str:
        """Notes since when only part of the gang is placed; words once that is too long."""
        if not placed or not needed:
            self._end_split(key)
            return ""
        since = self._split_ns.setdefault(key, now_ns)
        limit = group.spec.schedule_timeout_seconds or TIMEOUT_SECONDS
        if now_ns - since < limit * _SECOND_NS:
            return ""
        return f" ({placed} of {group.min_count} pods are placed; timed out after {limit} s)"

    def timed_out(self, gang: Gang) -> bool:
        """Whether the gang's time-out is to be told now: once for each time that it is split."""
        if not gang.note or gang.key in self._told:
            return False
        self._told.add(gang.key)
        return True

    def _end_split(self, key: str) -> None:
        self._split_ns.pop(key, None)
        self._told.discard(key)

    def _wait(self, reason: str) -> NoFit:
        return self._no_fit(Kind.WAIT, reason)

    def _no_fit(self, kind: Kind, reason: str) -> NoFit:
        return rejected_everywhere(Verdict(kind, RULE, (reason,)), self._cluster.nodes.count)


def _with_rules(whole: NoFit, own: NoFit | None) -> NoFit:
    """The gang's answer, woken by what would help this pod as well."""
    if own is None:
        # It would leave its room to another of the gang if it could go elsewhere.
        return replace(whole, rejected_by=(TOGETHER,))
    by = tuple(sorted({*whole.rejected_by, *own.rejected_by}))
    return NoFit(
        kind=whole.kind,
        message=whole.message,
        rejections=(*whole.rejections, *own.rejections),
        rejected_by=by,
        pending_by=own.pending_by,
        path=own.path,
        alone=own.alone,
    )


def _name(key: str) -> str:
    return key.rpartition(":")[2]


def _mixed(pods: Sequence[PodInfo]) -> str:
    """Why the pods are not decided together; empty when one profile decides them all.

    Source: kube-scheduler 1.36 `frameworkForPodGroup`, an error there as well.
    """
    if len({pod.profile for pod in pods}) <= 1:
        return ""
    names = " and ".join(f'"{name}"' for name in sorted({p.pod.spec.scheduler_name for p in pods}))
    same = "all pods in a single pod group should have the same .spec.schedulerName set"
    return f"{same}, got: {names}"


def _refusal(group: PodGroup) -> str:
    """What of the group is not understood; empty when all is."""
    spec = group.spec
    if spec.resource_claims:
        return "has dynamic resource claims, which Herz does not support"
    if spec.scheduling_constraints is not None and spec.scheduling_constraints.topology:
        return "has topology constraints, which Herz does not support"
    return ""
