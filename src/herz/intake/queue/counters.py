"""What the queue counts, for metrics: how many pods are where, and what happened so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class QueueCounts(NamedTuple):
    """Pods by place.

    Attributes:
        active: ready, those over the bound included.
        backoff: backing off, after rejections and after errors.
        unschedulable: waiting for an event.
        gated: waiting for their gates to go.
        parked: beyond a limit; Kubernetes' metric counts them as unschedulable.
        in_cycle: popped, and neither bound nor back: in cycle, reserved, waiting, binding, and
            the victims among them and among the bound.
        bound: bound, and not victims.
    """

    active: int
    backoff: int
    unschedulable: int
    gated: int
    parked: int
    in_cycle: int
    bound: int


@dataclass(slots=True)
class QueueCounters:
    """Events in the life of the queue; each only grows.

    Attributes:
        arrived: pods that were not known before.
        woken: pods that an event took out of the unschedulable ones.
        flushed: pods that no event woke for 5 minutes.
        missed_hints: flushed pods that were bound in the attempt which they owe to the flush: some
            plugin's hint is missing (`scheduler_pod_scheduled_after_flush_total`).
        parked: pods that met a retry or back-off limit.
        popped_early: pods taken from the back-off queue because nothing was ready.
        late_reports: reports of a cycle about a pod that was gone, or bound by another, by then.
    """

    arrived: int = 0
    woken: int = 0
    flushed: int = 0
    missed_hints: int = 0
    parked: int = 0
    popped_early: int = 0
    late_reports: int = 0
