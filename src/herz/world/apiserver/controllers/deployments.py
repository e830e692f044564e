"""Deployments: a ReplicaSet for each template, and the way from the old ones to the new.

Source: pkg/controller/deployment (facts): rolling update within surge and unavailability, or all
down and then all up; revisions in annotations, which `kubectl rollout` reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from herz.world.apiserver.controllers.plan import (
    Action,
    Create,
    Delete,
    Plan,
    View,
    Write,
    condition_of,
    is_deleted,
    owner_reference,
    status_write,
)
from herz.world.apiserver.controllers.workloads import (
    REPLICA_SETS,
    adopted,
    concerned_owner,
    managed,
)
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.registry.deletion import Deletion
from herz.world.apiserver.registry.times import age_s, seconds_text
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

DEPLOYMENTS = kind_of("deployments.apps")
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
_NOT_INHERITED = ("kubectl.kubernetes.io/last-applied-configuration", REVISION, _DESIRED)


class Deployments:
    """Leads each Deployment's sets to its template and replicas."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The deployment itself, the one that manages the set, or ones that might take it over."""
        return concerned_owner(change, view, DEPLOYMENTS, REPLICA_SETS.stored)

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Make the new set, scale old and new, and say how it stands."""
        owner = view.get(key)
        if owner is None or is_deleted(owner):
            return Plan()
        if adoptions := adopted(DEPLOYMENTS, owner, REPLICA_SETS, view):
            return Plan(adoptions)
        sets = managed(view, owner, REPLICA_SETS.stored)
        new = _new_set(owner, sets)
        old = [item for item in sets if new is None or item.key != new.key]
        plan = Plan()
        is_paused = bool(owner.content["spec"].get("paused"))
        if new is None and not is_paused:
            plan.actions.append(_make(owner, sets))
        elif new is not None:
            plan.actions += _mark(owner, new, old)
            if not plan.actions:
                plan.actions += _scale(owner, new, old, view, is_paused=is_paused)
        if not plan.actions:
            plan.actions += _forget(owner, old)
        status, plan.again_s = _status(owner, new, sets, at)
        if not any(isinstance(item, Write) and item.old.key == key for item in plan.actions):
            plan.actions += status_write(DEPLOYMENTS, owner, status)
        return plan


def template_hash(template: Content) -> str:
    """A short name of a template, in letters that spell no words."""
    digest = sha256(msgspec.json.encode(template, order="deterministic")).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def _new_set(owner: Version, sets: list[Version]) -> Version | None:
    """The set that has the deployment's template, the oldest if there are several."""
    wanted = owner.content["spec"]["template"]
    found = [item for item in sets if _template(item) == wanted and not is_deleted(item)]
    return min(
        found,
        key=lambda item: (item.metadata["creationTimestamp"], item.key.name),
        default=None,
    )


def _template(replica_set: Version) -> Content:
    """A set's template without what the controller put in."""
    template = replica_set.content["spec"]["template"]
    metadata = dict(template.get("metadata", {}))
    labels = {key: item for key, item in metadata.get("labels", {}).items() if key != HASH}
    metadata.pop("labels", None)
    return {**template, "metadata": {**metadata, **({"labels": labels} if labels else {})}}


def _make(owner: Version, sets: list[Version]) -> Create:
    """The new set. It begins without pods: scaling is a step of its own, with its own bounds."""
    copy = owner.copy()
    spec, template = copy["spec"], copy["spec"]["template"]
    mark = template_hash(template)
    labels = {**template["metadata"].get("labels", {}), HASH: mark}
    template["metadata"]["labels"] = labels
    selector = spec["selector"]
    selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH: mark}
    annotations = _inherited(owner) | {REVISION: str(_last_revision(sets) + 1)}
    metadata = {
        "name": f"{owner.key.name[:242]}-{mark}",
        "labels": labels,
        "annotations": {**annotations, _DESIRED: str(spec["replicas"])},
        "ownerReferences": [owner_reference(DEPLOYMENTS, owner)],
    }
    made = {"replicas": 0, "selector": selector, "template": template}
    if spec.get("minReadySeconds"):
        made["minReadySeconds"] = spec["minReadySeconds"]
    return Create(REPLICA_SETS, owner.key.namespace, {"metadata": metadata, "spec": made})


def _inherited(owner: Version) -> Content:
    given = owner.metadata.get("annotations", {})
    return {key: value for key, value in given.items() if key not in _NOT_INHERITED}


def _last_revision(sets: list[Version]) -> int:
    return max((_revision(item) for item in sets), default=0)


def _revision(item: Version) -> int:
    text = item.metadata.get("annotations", {}).get(REVISION, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _mark(owner: Version, new: Version, old: list[Version]) -> list[Action]:
    """Revisions: the new set has the highest, and the deployment says the same."""
    revision = max(_revision(new), _last_revision(old) + 1)
    wanted = {**_inherited(owner), REVISION: str(revision)}
    wanted[_DESIRED] = str(owner.content["spec"]["replicas"])
    actions: list[Action] = []
    for kind, item, notes in (
        (REPLICA_SETS, new, wanted),
        (DEPLOYMENTS, owner, {REVISION: str(revision)}),
    ):
        before = item.metadata.get("annotations", {})
        if not notes.items() <= before.items():
            metadata = {**item.metadata, "annotations": {**before, **notes}}
            actions.append(Write(kind, item, {**item.content, "metadata": metadata}))
    return actions


# ---- scaling --------------------------------------------------------------------------------


def _scale(
    owner: Version, new: Version, old: list[Version], view: View, *, is_paused: bool
) -> list[Action]:
    spec = owner.content["spec"]
    wanted = int(spec["replicas"])
    if is_paused:
        # Paused: no way from old to new, but the number still follows where there is only one.
        active = [item for item in [new, *old] if _replicas(item)] or [new]
        return _to(active[0], wanted) if len(active) == 1 else []
    if spec["strategy"]["type"] == "Recreate":
        down = [action for item in old for action in _to(item, 0)]
        is_clear = not any(managed(view, item, "pods") for item in old)
        return down or (_to(new, wanted) if is_clear else [])
    surge, unavailable = _bounds(spec, wanted)
    if _replicas(new) > wanted:
        return _to(new, wanted)
    total = sum(map(_replicas, [new, *old]))
    room = wanted + surge - total
    if _replicas(new) < wanted and room > 0:
        return _to(new, min(wanted, _replicas(new) + room))
    return _shrink(new, old, wanted - unavailable)


def _bounds(spec: Content, wanted: int) -> tuple[int, int]:
    """How many pods more, and how many available ones fewer, there may be on the way."""
    rolling = spec["strategy"].get("rollingUpdate", {})
    surge = _share(rolling.get("maxSurge", "25%"), wanted, rounds_up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, rounds_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted)


def _share(amount: int | str, of: int, *, rounds_up: bool) -> int:
    if isinstance(amount, int):
        return amount
    percent = int(amount.removesuffix("%"))
    return -(-of * percent // 100) if rounds_up else of * percent // 100


def _shrink(new: Version, old: list[Version], available_min: int) -> list[Action]:
    """Take from the old sets: first what does not work anyway, then as far as allowed."""
    left = {item.key: _replicas(item) for item in old}
    new_missing = max(0, _replicas(new) - _available(new))
    spare = _replicas(new) + sum(left.values()) - available_min - new_missing
    for item in sorted(old, key=_age):
        broken = max(0, left[item.key] - _available(item))
        taken = max(0, min(broken, spare))
        left[item.key] -= taken
        spare -= taken
    available = sum(map(_available, [new, *old]))
    spare = min(spare, available - available_min)
    for item in sorted(old, key=_age):
        taken = max(0, min(left[item.key], spare))
        left[item.key] -= taken
        spare -= taken
    return [action for item in old for action in _to(item, left[item.key])]


def _age(item: Version) -> tuple[str, str]:
    return item.metadata["creationTimestamp"], item.key.name


def _replicas(item: Version) -> int:
    return int(item.content["spec"].get("replicas", 0))


def _available(item: Version) -> int:
    return int(item.content.get("status", {}).get("availableReplicas", 0))


def _to(item: Version, replicas: int) -> list[Action]:
    if _replicas(item) == replicas:
        return []
    spec = {**item.content["spec"], "replicas": replicas}
    return [Write(REPLICA_SETS, item, {**item.content, "spec": spec})]


def _forget(owner: Version, old: list[Version]) -> list[Action]:
    """Delete the oldest empty sets beyond the history that is to be kept."""
    limit = int(owner.content["spec"].get("revisionHistoryLimit", 10))
    empty = [
        item
        for item in old
        if not _replicas(item)
        and not item.content.get("status", {}).get("replicas")
        and not is_deleted(item)
    ]
    dead = sorted(empty, key=lambda item: (_revision(item), item.key.name))
    dead = dead[: max(0, len(dead) - limit)]
    return [
        Delete(REPLICA_SETS, item.key.namespace, item.key.name, Deletion(uid=item.uid))
        for item in dead
    ]


# ---- status ---------------------------------------------------------------------------------


def _status(
    owner: Version, new: Version | None, sets: list[Version], at: datetime
) -> tuple[Content, float | None]:
    """The status, and when the progress deadline has to be looked at again."""
    spec = owner.content["spec"]
    wanted = int(spec["replicas"])

    def total(name: str, items: list[Version]) -> int:
        return sum(int(item.content.get("status", {}).get(name, 0)) for item in items)

    replicas = total("replicas", sets)
    updated = total("replicas", [new]) if new is not None else 0
    available = total("availableReplicas", sets)
    counts = {
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": total("readyReplicas", sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, wanted - available),
        "terminatingReplicas": total("terminatingReplicas", sets),
    }
    status: Content = {"observedGeneration": owner.metadata.get("generation", 0)}
    status |= {name: count for name, count in counts.items() if count}
    _, unavailable = _bounds(spec, wanted) if spec["strategy"]["type"] != "Recreate" else (0, 0)
    is_enough = available >= wanted - unavailable
    reason = "MinimumReplicasAvailable" if is_enough else "MinimumReplicasUnavailable"
    text = "has minimum availability." if is_enough else "does not have minimum availability."
    shown = _condition(owner, "Available", reason, f"Deployment {text}", at, is_true=is_enough)
    is_done = updated == replicas == wanted and available >= wanted
    counted = {name: status.get(name, 0) for name in ("updatedReplicas", "availableReplicas")}
    progress, again_s = _progress(owner, new, at, counted, is_done=is_done)
    status["conditions"] = [shown, progress]
    return status, again_s


def _progress(
    owner: Version, new: Version | None, at: datetime, counted: Content, *, is_done: bool
) -> tuple[Content, float | None]:
    """The condition Progressing: done, under way, or given up on."""
    name = new.key.name if new is not None else ""
    before = condition_of(owner.content, "Progressing")
    if is_done:
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(owner, "Progressing", "NewReplicaSetAvailable", text, at), None
    deadline_s = int(owner.content["spec"].get("progressDeadlineSeconds", 600))
    old = owner.content.get("status", {})
    is_moving = any(old.get(key, 0) != value for key, value in counted.items())
    is_new = before.get("reason") == "NewReplicaSetAvailable" or not before
    if not is_moving and not is_new:
        waited_s = age_s(before.get("lastUpdateTime"), at)
        if waited_s >= deadline_s:
            text = f'ReplicaSet "{name}" has timed out progressing.'
            reason = "ProgressDeadlineExceeded"
            return _condition(owner, "Progressing", reason, text, at, is_true=False), None
        return before, max(1.0, deadline_s - waited_s)
    text = f'ReplicaSet "{name}" is progressing.'
    shown = _condition(owner, "Progressing", "ReplicaSetUpdated", text, at)
    return {**shown, "lastUpdateTime": seconds_text(at)}, float(deadline_s)


def _condition(
    owner: Version, kind: str, reason: str, message: str, at: datetime, *, is_true: bool = True
) -> Content:
    """A condition whose times move only when it does."""
    status = "True" if is_true else "False"
    before = condition_of(owner.content, kind)
    if (before.get("status"), before.get("reason")) == (status, reason):
        return {**before, "message": message}
    moved = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": seconds_text(at),
        "lastTransitionTime": moved or seconds_text(at),
        "reason": reason,
        "message": message,
    }
