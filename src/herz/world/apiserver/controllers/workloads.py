"""ReplicaSets: so many pods of a template, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from herz.world.apiserver.controllers.plan import (
    Action,
    Create,
    Delete,
    Plan,
    View,
    Write,
    condition_of,
    controller_uid,
    is_active,
    is_deleted,
    is_ready,
    owner_reference,
    owners,
    status_write,
)
from herz.world.apiserver.objects.kinds import Kind, kind_of
from herz.world.apiserver.registry.deletion import Deletion
from herz.world.apiserver.registry.subresources import matcher_of
from herz.world.apiserver.registry.times import age_s
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

PODS = kind_of("pods")
REPLICA_SETS = kind_of("replicasets.apps")
BURST_MAX = 500
"""Bound: pods that are made or deleted in one step, as in kube-controller-manager."""
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


class ReplicaSets:
    """Keeps the pods of each ReplicaSet at its replicas."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The set itself, the set that manages the pod, or sets that might take it over."""
        return concerned_owner(change, view, REPLICA_SETS, "pods")

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Make or delete pods, and say how it stands."""
        owner = view.get(key)
        if owner is None:
            return Plan()
        if adoptions := adopted(REPLICA_SETS, owner, PODS, view):
            return Plan(adoptions)
        pods = managed(view, owner, "pods")
        active = [pod for pod in pods if is_active(pod)]
        plan = Plan()
        if not is_deleted(owner):
            wanted = int(owner.content["spec"].get("replicas", 1))
            plan.actions += _towards(owner, active, wanted)
        status, plan.again_s = _status(owner, pods, at)
        plan.actions += status_write(REPLICA_SETS, owner, status)
        return plan


def concerned_owner(change: Change, view: View, kind: Kind, below: str) -> list[Key]:
    """The object of a change, the one of the kind that manages it, or those that would adopt it."""
    resource, key = kind.stored, change.version.key
    if key.resource == resource:
        return [key]
    if (
        key.resource == below
        and not change.is_deletion
        and not list(owners(change.version.content))
    ):
        labels = change.version.metadata.get("labels", {})
        there = view.items(resource, key.namespace)
        return [one.key for one in there if matcher_of(kind, one.content).matches(labels)]
    versions = [change.version] if change.previous is None else [change.version, change.previous]
    found = [view.key_of(controller_uid(version.content)) for version in versions]
    return [one for one in found if one is not None and one.resource == resource]


def adopted(kind: Kind, owner: Version, below: Kind, view: View) -> list[Action]:
    """The writes that take over what matches the owner's selector and belongs to nobody."""
    orphans = [] if is_deleted(owner) else view.orphans(below.stored, owner.key.namespace)
    actions: list[Action] = []
    for item in orphans:
        is_wanted = not is_deleted(item) and (below.stored != "pods" or is_active(item))
        labels = item.metadata.get("labels", {})
        if is_wanted and matcher_of(kind, owner.content).matches(labels):
            metadata = {**item.metadata, "ownerReferences": [owner_reference(kind, owner)]}
            actions.append(Write(below, item, {**item.content, "metadata": metadata}))
    return actions


def managed(view: View, owner: Version, resource: str) -> list[Version]:
    """The objects that the owner manages."""
    found = view.owned(owner.uid, resource)
    return [item for item in found if controller_uid(item.content) == owner.uid]


def pod_of(kind: Kind, owner: Version, template: Content) -> Create:
    """A new pod of a template, with a generated name."""
    metadata = {
        "generateName": f"{owner.key.name}-",
        "labels": dict(template.get("metadata", {}).get("labels", {})),
        "annotations": dict(template.get("metadata", {}).get("annotations", {})),
        "finalizers": list(template.get("metadata", {}).get("finalizers", [])),
        "ownerReferences": [owner_reference(kind, owner)],
    }
    metadata = {name: value for name, value in metadata.items() if value}
    # The version's content is nobody's to change, and creating fills in defaults: so a copy.
    content = {"metadata": metadata, "spec": owner.copy()["spec"]["template"]["spec"]}
    return Create(PODS, owner.key.namespace, content)


def _towards(owner: Version, active: list[Version], wanted: int) -> list[Action]:
    missing = wanted - len(active)
    template = owner.content["spec"]["template"]
    if missing > 0:
        return [pod_of(REPLICA_SETS, owner, template) for _ in range(min(missing, BURST_MAX))]
    # Tie: of pods that nothing tells apart the first name goes.
    unwanted = sorted(active, key=_rank)[: min(-missing, BURST_MAX)]
    return [
        Delete(PODS, pod.key.namespace, pod.key.name, Deletion(uid=pod.uid)) for pod in unwanted
    ]


def _rank(pod: Version) -> tuple[Any, ...]:
    """Which pods go first: without a node, not running, not ready, cheap, young."""
    spec, status = pod.content["spec"], pod.content.get("status", {})
    cost = pod.metadata.get("annotations", {}).get(_DELETION_COST, "0")
    is_number = cost.removeprefix("-").isascii() and cost.removeprefix("-").isdigit()
    # The youngest first: its time's characters, counted down.
    born = [-ord(sign) for sign in pod.metadata.get("creationTimestamp", "")]
    return (
        bool(spec.get("nodeName")),
        {"Pending": 0, "Running": 2}.get(status.get("phase", ""), 1),
        is_ready(pod),
        int(cost) if is_number else 0,
        born,
        pod.key.name,
    )


def _status(owner: Version, pods: list[Version], at: datetime) -> tuple[Content, float | None]:
    """The set's status, and when a ready pod becomes an available one."""
    least_s = int(owner.content["spec"].get("minReadySeconds", 0))
    labels = owner.content["spec"]["template"].get("metadata", {}).get("labels", {})
    active = [pod for pod in pods if is_active(pod)]
    ready = [pod for pod in active if is_ready(pod)]
    waits = [least_s - _ready_s(pod, at) for pod in ready] if least_s else [0.0] * len(ready)
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(
            labels.items() <= pod.metadata.get("labels", {}).items() for pod in active
        ),
        "readyReplicas": len(ready),
        "availableReplicas": sum(wait <= 0 for wait in waits),
        "terminatingReplicas": sum(is_deleted(pod) for pod in pods),
    }
    status: Content = {name: count for name, count in counts.items() if count}
    status["replicas"] = len(active)
    status["observedGeneration"] = owner.metadata.get("generation", 0)
    later = [wait for wait in waits if wait > 0]
    return status, min(later) if later else None


def _ready_s(pod: Version, at: datetime) -> float:
    return age_s(condition_of(pod.content, "Ready").get("lastTransitionTime"), at)
