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
    """Write an event about a pod (events.k8s.io/v1 semantics).

    Args:
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


class WakeAt(_Effect, frozen=True, tag="WakeAt", kw_only=True):
    """Call `step` again no later than this time, even if no event comes.

    Args:
        time_ns: on the same clock as the events' times.
    """

    time_ns: int


Effect: TypeAlias = Bind | PatchPodStatus | EmitEvent | WakeAt
