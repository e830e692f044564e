"""Step 7, bind: the effects of a decision, in Kubernetes' words.

Nothing here acts: a driver carries the effects out and feeds the answer back.
"""

from __future__ import annotations

from typing import Final

from herz.model.effects import Bind, Effect, EmitEvent, PatchPodStatus
from herz.model.podinfo import PodInfo

DECISION_ANNOTATION: Final = "herz.dev/decision"
"""Sequence of the record that decided the bind."""
DEVICES_ANNOTATION: Final = "herz.dev/gpu-devices"
"""Indices of the shared accelerators that the pod was given, comma-separated."""

NOTE_BYTES_MAX: Final = 1024
"""The API's limit on an event's note."""


def bind(pod: PodInfo, node: str, devices: tuple[int, ...], decision: int) -> Bind:
    """The effect that binds the pod."""
    annotations = [(DECISION_ANNOTATION, str(decision))]
    if devices:
        annotations.append((DEVICES_ANNOTATION, ",".join(map(str, devices))))
    return Bind(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        node=node,
        decision=decision,
        annotations=tuple(annotations),
    )


def scheduled(pod: PodInfo, node: str) -> EmitEvent:
    """The event that tells of a bind which the API confirmed."""
    return EmitEvent(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        type="Normal",
        reason="Scheduled",
        action="Binding",
        note=cut(f"Successfully assigned {pod.key} to {node}"),
    )


def failed(pod: PodInfo, reason: str, message: str) -> tuple[PatchPodStatus, EmitEvent]:
    """Condition and event that tell why a pod was not placed.

    Args:
        pod: the pod.
        reason: the condition's: `Unschedulable` when the rules found no node, `SchedulerError`
            when something failed. Autoscalers act on the former only.
        message: the text.
    """
    condition = PatchPodStatus(
        namespace=pod.namespace, name=pod.name, uid=pod.uid, reason=reason, message=message
    )
    return condition, warning(pod, "FailedScheduling", "Scheduling", message)


def gated(pod: PodInfo) -> tuple[Effect, ...]:
    """Condition and event that tell why a pod is not even queued.

    Of scheduling gates nothing is told: they are there on purpose, and the API server has put the
    condition into the pod as it was made. kube-scheduler is silent about them, too.
    """
    if not pod.gates or pod.pod.is_gated:
        return ()
    return failed(pod, "SchedulingGated", "; ".join(pod.gates))


def warning(pod: PodInfo, reason: str, action: str, note: str) -> EmitEvent:
    """A Warning event about the pod."""
    return EmitEvent(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        type="Warning",
        reason=reason,
        action=action,
        note=cut(note),
    )


def cut(note: str) -> str:
    """The note within the API's limit, cut at a character, with `...` where it was cut."""
    data = note.encode()
    if len(data) <= NOTE_BYTES_MAX:
        return note
    return data[: NOTE_BYTES_MAX - 3].decode(errors="ignore") + "..."


def devices_of(annotations: dict[str, str]) -> tuple[int, ...]:
    """The devices that a bound pod's annotation names; empty when it is absent or malformed.

    A malformed one is somebody else's doing: the pod's share is then counted on no device.
    """
    parts = annotations.get(DEVICES_ANNOTATION, "").split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        return ()
    return tuple(int(part) for part in parts)
