"""Completeness: the journal beside the cluster's pods and the API server's own audit log.

Names bindings without a record, records without a binding, and inputs that the cluster
contradicts. Whoever controls the API server controls both lists: what they agree on is not proved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from herz.commit.audit.entry import Content, Start, opened
from herz.errors import AuditError, ConfigError
from herz.model.decode import encode
from herz.model.events import ObjectApplied, ObjectDeleted
from herz.model.journal import Sealed
from herz.model.objects import Pod
from herz.model.outcomes import BindFinished, BindOutcome
from herz.model.record import Decided, Record


class Fault(StrEnum):
    """What is wrong with a pod."""

    UNRECORDED = "binding without a record"
    UNBOUND = "record without a binding"
    CONTRADICTED = "input that the cluster contradicts"


class Finding(NamedTuple):
    """One disagreement.

    Args:
        fault: which kind.
        pod: namespace/name.
        uid: the pod's.
        entry: the entry of the journal that it is about; -1: there is none.
        what: in words.
    """

    fault: Fault
    pod: str
    uid: str
    entry: int
    what: str


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding that the API server's audit log tells of.

    Args:
        audit_id: of the request.
        namespace: the pod's.
        name: the pod's.
        uid: the pod's; empty where the log's level leaves it out.
        node: likewise.
    """

    audit_id: str
    namespace: str
    name: str
    uid: str
    node: str


class _Placed(NamedTuple):
    entry: int
    sequence: int
    node: str


class _Seen(NamedTuple):
    entry: int
    pod: Pod


@dataclass(slots=True)
class Reconciled:
    """What came out.

    Args:
        pods: bound pods of the cluster that are the journal's to explain.
        bound: pods whose binding the journal says was confirmed, and that are not gone.
        erased: entries that can say nothing any more.
        findings: disagreements, by pod.
    """

    pods: int
    bound: int
    erased: int
    findings: list[Finding]


class Reconciliation:
    """Everything that a journal says of pods, by uid.

    Args:
        entries: the journal's, in order.
        schedulers: whose pods are the journal's to explain, by `spec.schedulerName`.

    Raises:
        AuditError: an entry is not what its leaf commits to: verify first.
        ConfigError: it is the journal of a shadow.
    """

    def __init__(self, entries: Iterable[tuple[int, Sealed]], schedulers: Sequence[str]) -> None:
        self._schedulers = frozenset(schedulers)
        self._placed: dict[str, dict[str, _Placed]] = {}
        self._bound: dict[str, _Placed] = {}
        self._seen: dict[str, _Seen] = {}
        self._gone: dict[str, int] = {}
        self._by_sequence: dict[int, tuple[str, _Placed]] = {}
        self._erased = 0
        for index, entry in entries:
            if entry.is_erased:
                self._erased += 1
                continue
            try:
                self._take(index, opened(entry)[1])
            except AuditError as error:
                raise AuditError(f"entry {index}: {error}") from error

    def run(self, pods: Iterable[Pod], bindings: Sequence[Binding] | None) -> Reconciled:
        """Compare.

        Args:
            pods: all pods of the cluster, taken after the journal's last entry.
            bindings: those that the API server's log tells of; None: it was not given.
        """
        listed = {pod.metadata.uid: pod for pod in pods}
        asked = [pod for pod in listed.values() if pod.spec.node_name and self._is_ours(pod)]
        findings = [*self._of_pods(asked), *self._of_bound(listed), *self._of_inputs(listed)]
        if bindings is not None:
            findings += self._of_log(bindings, listed)
        findings.sort(key=lambda each: (each.pod, each.uid, each.fault, each.what))
        bound = sum(uid not in self._gone for uid in self._bound)
        return Reconciled(len(asked), bound, self._erased, findings)

    def _take(self, index: int, content: Content) -> None:
        match content:
            case Record(decided=Decided.PLACE):
                placed = _Placed(index, content.sequence, content.node)
                self._placed.setdefault(content.pod.uid, {})[content.node] = placed
                self._by_sequence[content.sequence] = (content.pod.uid, placed)
            case BindFinished(outcome=BindOutcome.BOUND):
                found = self._by_sequence.get(content.decision)
                if found is not None and found[0] == content.uid:
                    self._bound[content.uid] = found[1]
            case ObjectApplied(object=Pod() as pod):
                self._seen[pod.metadata.uid] = _Seen(index, pod)
            case ObjectDeleted(object=Pod() as pod):
                self._gone[pod.metadata.uid] = index
            case Start(top=int()):
                fix = "name that of the scheduler: a shadow binds nothing"
                raise ConfigError("the journal is a shadow's", where="--journal", fix=fix)
            case _:
                pass

    def _is_ours(self, pod: Pod) -> bool:
        return pod.metadata.uid in self._placed or pod.spec.scheduler_name in self._schedulers

    def _of_pods(self, pods: Sequence[Pod]) -> Iterator[Finding]:
        for pod in pods:
            uid, node = pod.metadata.uid, pod.spec.node_name
            if node not in self._placed.get(uid, {}):
                others = ", ".join(sorted(self._placed.get(uid, {}))) or "nowhere"
                what = f"it is on {node}; the journal places it {others}"
                yield _finding(Fault.UNRECORDED, pod, -1, what)

    def _of_bound(self, listed: dict[str, Pod]) -> Iterator[Finding]:
        for uid, placed in self._bound.items():
            pod = listed.get(uid)
            if uid in self._gone or (pod is not None and pod.spec.node_name == placed.node):
                continue
            seen = self._seen.get(uid)
            said = f"decision {placed.sequence} bound it to {placed.node}"
            where = (
                f"the cluster has it on {pod.spec.node_name or 'no node'}"
                if pod
                else ("the cluster does not have it, and no deletion was logged")
            )
            shown = pod or (seen.pod if seen else None)
            name = shown.metadata.key if shown else uid
            yield Finding(Fault.UNBOUND, name, uid, placed.entry, f"{said}; {where}")

    def _of_inputs(self, listed: dict[str, Pod]) -> Iterator[Finding]:
        for uid, (entry, logged) in self._seen.items():
            pod = listed.get(uid)
            if pod is None:
                continue
            ours, theirs = (each.metadata.resource_version for each in (logged, pod))
            if uid in self._gone:
                what = f"entry {self._gone[uid]} says that it is gone"
                yield _finding(Fault.CONTRADICTED, pod, self._gone[uid], what)
            elif logged.metadata.key != pod.metadata.key:
                what = f"the journal was told that this uid is {logged.metadata.key}"
                yield _finding(Fault.CONTRADICTED, pod, entry, what)
            elif ours and ours == theirs and encode(logged) != encode(pod):
                what = f"the journal was told something else of resourceVersion {ours}"
                yield _finding(Fault.CONTRADICTED, pod, entry, what)
            elif ours.isdigit() and theirs.isdigit() and int(ours) > int(theirs):
                what = f"the journal saw resourceVersion {ours}; the cluster is at {theirs}"
                yield _finding(Fault.CONTRADICTED, pod, entry, what)

    def _of_log(self, bindings: Sequence[Binding], listed: dict[str, Pod]) -> Iterator[Finding]:
        """The API server's log both ways: what it tells of, and what it does not."""
        names = {
            each.metadata.key: uid
            for uid, each in [*((u, s.pod) for u, s in self._seen.items()), *listed.items()]
        }
        told: set[str] = set()
        for each in bindings:
            key = f"{each.namespace}/{each.name}"
            uid = each.uid or names.get(key, "")
            told.add(uid)
            pod = listed.get(uid) or (self._seen[uid].pod if uid in self._seen else None)
            nodes = self._placed.get(uid, {})
            is_foreign = pod is not None and not self._is_ours(pod)
            if not is_foreign and (each.node not in nodes if each.node else not nodes):
                what = f"request {each.audit_id} bound it to {each.node or 'some node'}"
                yield Finding(Fault.UNRECORDED, key, uid, -1, what)
        for uid, placed in self._bound.items():
            if uid not in told:
                seen = self._seen.get(uid)
                what = f"the API server's log has no binding for decision {placed.sequence}"
                name = seen.pod.metadata.key if seen else uid
                yield Finding(Fault.UNBOUND, name, uid, placed.entry, what)


def _finding(fault: Fault, pod: Pod, entry: int, what: str) -> Finding:
    return Finding(fault, pod.metadata.key, pod.metadata.uid, entry, what)
