"""Delete objects: at once, with grace, or after their finalizers.

Pods on a node get grace, and end when their kubelet deletes them with none. What a deleted object
owned is the garbage collector's work; what a namespace holds, the namespace controller's.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from herz.world.apiserver.objects.kinds import Kind
from herz.world.apiserver.refusal import bad_request, forbidden
from herz.world.apiserver.registry.registry import Registry, check_preconditions, is_finished
from herz.world.apiserver.registry.times import now, parsed, seconds_text
from herz.world.apiserver.store import Version

Content = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
"""The finalizers by which an owner waits for what it owns."""
GRACE_S_MAX = 10**9
_KEPT_NAMESPACES = ("default", "kube-system", "kube-public")
_POLICIES = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}


@dataclass(frozen=True, slots=True)
class Deletion:
    """How something is to be deleted.

    Args:
        grace_s: seconds of grace; None for the object's own.
        policy: `Background`, `Foreground` or `Orphan`; empty for the kind's default.
        uid: only the object with it; empty for any.
        revision: only this version; empty for any.
        is_dry: whether nothing is to be changed.
    """

    grace_s: int | None = None
    policy: str = ""
    uid: str = ""
    revision: str = ""
    is_dry: bool = False

    def __post_init__(self) -> None:
        if self.policy and self.policy not in _POLICIES:
            raise bad_request(f"invalid propagationPolicy {self.policy[:40]!r}")
        if self.grace_s is not None and not 0 <= self.grace_s <= GRACE_S_MAX:
            raise bad_request("gracePeriodSeconds must be zero or a positive number")


async def delete(
    registry: Registry, kind: Kind, namespace: str, name: str, how: Deletion
) -> tuple[Content, bool]:
    """Delete one object.

    Returns:
        Its last form, and whether it is gone.

    Raises:
        RefusedError: 403, 404 or 409; nothing was changed.
    """
    old = registry.latest(kind, namespace, name)
    check_preconditions(kind, old, how.uid, how.revision)
    if kind.name == "Namespace" and name in _KEPT_NAMESPACES:
        raise forbidden(kind.resource, kind.group, name, "this namespace may not be deleted")
    new = _marked(kind, old, how)
    is_gone = is_finished(new)
    if how.is_dry:
        return new, is_gone
    if is_gone:
        if kind.qualified == "pods" and new["metadata"] != old.metadata:
            # Pods are marked first, and watches see it, even where there is no grace.
            registry.store.put(old.key, copy.deepcopy(new)).add_done_callback(_retrieve)
        return (await registry.store.remove(old.key, new)).content, True
    return await registry.replace(kind, old, new), False


def _retrieve(done: asyncio.Future[Version]) -> None:
    """What fails here fails for the removal too, which is in the same commit."""
    if not done.cancelled():
        done.exception()


def _marked(kind: Kind, old: Version, how: Deletion) -> Content:
    """The object as deleted: a time, a grace, and finalizers by the policy."""
    new = old.copy()
    metadata = new["metadata"]
    grace_s = _grace(kind, old.content, how)
    before = metadata.get("deletionGracePeriodSeconds")
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = seconds_text(now() + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
    elif before is not None and grace_s < before:
        # The time moves to where it would be, had the shorter grace been given at first.
        time = parsed(metadata["deletionTimestamp"]) or now()
        sooner = time - timedelta(seconds=before - grace_s)
        metadata["deletionTimestamp"] = seconds_text(sooner)
        metadata["deletionGracePeriodSeconds"] = grace_s
    finalizers = list(metadata.get("finalizers", ()))
    wanted = _POLICIES.get(how.policy, "") if how.policy else None
    if wanted is not None:
        finalizers = [item for item in finalizers if item not in (FOREGROUND, ORPHAN)]
        finalizers += [wanted] if wanted else []
        metadata.pop("finalizers", None)
        if finalizers:
            metadata["finalizers"] = finalizers
    if kind.name == "Namespace":
        new.setdefault("status", {})["phase"] = "Terminating"
    if kind.has_generation and "generation" in metadata and "deletionTimestamp" not in old.metadata:
        metadata["generation"] += 1
    return new


def _grace(kind: Kind, content: Content, how: Deletion) -> int:
    """Seconds that the object may still take; only pods on nodes take any."""
    if kind.qualified != "pods":
        return 0
    spec, status = content["spec"], content.get("status", {})
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if how.grace_s is not None:
        return how.grace_s
    return max(0, int(spec.get("terminationGracePeriodSeconds", 30)))
