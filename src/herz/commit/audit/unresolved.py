"""Binds that were asked for and whose end no entry tells: what a restart must find out.

A process may die between a bind and its answer. Who begins after it reads the pods that this
names, and tells what the API holds; the answers are entries that point at the old records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from herz.commit.audit.entry import opened
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.journal import Kind, Sealed
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Decided, Record


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A placement without an end.

    Args:
        decision: the number of its record.
        uid: of the pod.
        pod: as namespace/name.
        node: where it was to go.
    """

    decision: int
    uid: str
    pod: str
    node: str


def unresolved(entries: Iterable[tuple[int, Sealed]]) -> list[Unresolved]:
    """The placements of these entries that nothing tells the end of, in order.

    An end is an answer (bound or refused), or that the pod was seen with a node, or was deleted.
    Erased entries tell nothing.

    Raises:
        AuditError: an entry is damaged.
    """
    found: dict[str, Unresolved] = {}
    for _, entry in entries:
        if entry.leaf[1] not in _TELLING or entry.is_erased:
            continue
        match opened(entry)[1]:
            case Record(decided=Decided.PLACE, pod=pod) as record:
                key = f"{pod.namespace}/{pod.name}"
                found[pod.uid] = Unresolved(record.sequence, pod.uid, key, record.node)
            case BindFinished(uid=uid, outcome=outcome):
                if outcome is not BindOutcome.UNKNOWN:
                    found.pop(uid, None)
            case ObjectApplied(object=Pod() as pod) if pod.is_assigned or pod.is_terminal:
                found.pop(pod.metadata.uid, None)
            case ObjectDeleted(object=Pod() as pod):
                found.pop(pod.metadata.uid, None)
            case _:
                pass
    return list(found.values())


def resolved(
    asked: Iterable[Unresolved], pods: Mapping[str, Pod], now_ns: int
) -> list[BindFinished]:
    """What the API holds of them, as events for a journal.

    Args:
        asked: the placements.
        pods: the pods that the API has now, by uid.
        now_ns: the driver's time.
    """
    return [_answer(one, pods.get(one.uid), now_ns) for one in asked]


def _answer(one: Unresolved, pod: Pod | None, now_ns: int) -> BindFinished:
    node = "" if pod is None else pod.spec.node_name
    is_bound = pod is not None and node == one.node
    message = f"the pod is on {node}" if node else "the pod has no node"
    if pod is None:
        message = "the pod is gone"
    return BindFinished(
        time_ns=now_ns,
        uid=one.uid,
        decision=one.decision,
        outcome=BindOutcome.BOUND if is_bound else BindOutcome.REFUSED,
        message="" if is_bound else message,
        resource_version=pod.metadata.resource_version if is_bound and pod else UNSET,
        resolved="restart",
    )


_TELLING = frozenset({Kind.RECORD, Kind.OUTCOME, Kind.INPUT})
