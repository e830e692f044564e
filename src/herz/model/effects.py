"""Effects: what a decision asks of the outside. A closed union of frozen values.

A driver carries them out, in order, and feeds the answers back as events. An effect never
leaves before the record that justifies it is in the log (prove before act).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class _Effect(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """The base: `kind` tells effects apart on the wire (`type` is an event's own field)."""


class Bind(_Effect, frozen=True, tag="Bind", kw_only=True):
    """Bind the pod to the node; the annotations are merged into the pod by the API.

    Args:
        uid: precondition: a pod of this name with another uid must not be bound.
        decision: sequence of the record; comes back in `BindFinished`.
        annotations: pairs sorted by key (`herz.dev/decision`, chosen devices).
    """

    namespace: str
    name: str
    uid: str
    node: str
    decision: int
    annotations: tuple[tuple[str, str], ...] = ()


class PatchPodStatus(
    msgspec.Struct, frozen=True, tag="PatchPodStatus", tag_field="kind", kw_only=True
):
    """Set the pod's PodScheduled condition to False with this reason.

    Args:
        reason: `Unschedulable` (autoscalers key on it), `SchedulerError` or a Herz reason.
        message: the text for people; Kubernetes' own form for unschedulable pods.
    """

    namespace: str
    name: str
    uid: str
    reason: str
    message: str


class EmitEvent(_Effect, frozen=True, tag="EmitEvent", kw_only=True):
    """Write an event about an object, mostly a pod (events.k8s.io/v1 semantics).

    Args:
        namespace: the object's; of one that has none, the namespace that the event is written to.
        uid: the object's; empty: it is not known, or the object is not there.
        about: API version and kind of the object.
        type: Normal or Warning.
        reason: CamelCase reason, at most 128 bytes (`Scheduled`, `FailedScheduling`).
        action: what was being done (`Binding`, `Scheduling`).
        note: the text, at most 1,024 bytes.
    """

    namespace: str
    name: str
    uid: str
    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    note: str
    about: tuple[str, str] = ("v1", "Pod")


class Nominate(_Effect, frozen=True, tag="Nominate", kw_only=True):
    """Set the pod's `status.nominatedNodeName`: room is being made for it there.

    Args:
        node: the node; empty ends the nomination.
    """

    namespace: str
    name: str
    uid: str
    node: str


class DeletePod(_Effect, frozen=True, tag="DeletePod", kw_only=True):
    """Delete a pod that is preempted, with its own grace.

    Before that its condition DisruptionTarget is set to True, reason PreemptionByScheduler. When
    the API refuses, the driver answers with `RemovalRefused`; a pod that is gone is no refusal.

    Args:
        uid: precondition: a pod of this name with another uid must not be deleted.
        message: the condition's.
    """

    namespace: str
    name: str
    uid: str
    message: str


class Evict(_Effect, frozen=True, tag="Evict", kw_only=True):
    """Evict a pod that is preempted: a deletion that the API refuses where it breaks a budget.

    A refusal (429, 500) comes back as `RemovalRefused`.

    Args:
        uid: precondition, as for `DeletePod`.
    """

    namespace: str
    name: str
    uid: str


class PatchClaim(_Effect, frozen=True, tag="PatchClaim", kw_only=True):
    """Merge annotations into a PersistentVolumeClaim: the node on which its volume is to be made.

    Args:
        uid: precondition, as is `resource_version`: what was decided on must not have changed.
        annotations: pairs sorted by key.
        pod: uid of the pod that waits for it.
        decision: sequence of the record.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    annotations: tuple[tuple[str, str], ...]
    pod: str
    decision: int


class PatchVolume(_Effect, frozen=True, tag="PatchVolume", kw_only=True):
    """Bind a PersistentVolume ahead: set its `spec.claimRef` to the claim, and annotations.

    Args:
        uid: precondition, as is `resource_version`: another may have taken the volume.
        annotations: pairs sorted by key; empty when the claim was named by hand before.
        pod: uid of the pod that waits for it.
        decision: sequence of the record.
    """

    name: str
    uid: str
    resource_version: str
    claim_namespace: str
    claim_name: str
    claim_uid: str
    annotations: tuple[tuple[str, str], ...]
    pod: str
    decision: int


class WakeAt(_Effect, frozen=True, tag="WakeAt", kw_only=True):
    """Call `step` again no later than this time, even if no event comes.

    Args:
        time_ns: on the same clock as the events' times.
    """

    time_ns: int


Effect: TypeAlias = (
    Bind
    | PatchPodStatus
    | EmitEvent
    | Nominate
    | DeletePod
    | Evict
    | PatchClaim
    | PatchVolume
    | WakeAt
)
