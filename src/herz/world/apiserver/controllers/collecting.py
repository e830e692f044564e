"""What goes with something else: owned objects, a namespace's content, lost pods, old events."""

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
    is_deleted,
    owners,
)
from herz.world.apiserver.objects.kinds import BY_STORED, Kind, kind_of
from herz.world.apiserver.registry.deletion import FOREGROUND, ORPHAN, Deletion
from herz.world.apiserver.registry.times import age_s
from herz.world.apiserver.store import Change, Key, Version

Content = dict[str, Any]

EVENT_TTL_S = 3600
"""How long an event is kept, as kube-apiserver does."""
LOST_S = 40
"""How long a pod keeps a node that is not there, as kube-controller-manager's pod GC does."""
_SERVICE_ACCOUNTS = kind_of("serviceaccounts")
_NAMESPACES = kind_of("namespaces")
_EVENTS = kind_of("events")
_PODS = kind_of("pods")


class GarbageCollector:
    """Deletes what nobody owns any more, and lets owners go that wait for what they own."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The object, what it owned, and its owners that wait to go."""
        version = change.version
        found = {version.key: None}
        if change.is_deletion:
            found |= dict.fromkeys(item.key for item in view.owned(version.uid))
        before = [] if change.previous is None else list(owners(change.previous.content))
        for reference in (*owners(version.content), *before):
            key = view.key_of(str(reference.get("uid")))
            owner = None if key is None else view.get(key)
            if owner is not None and is_deleted(owner):
                found[owner.key] = None
        return list(found)

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:  # noqa: ARG002
        """Delete it, let go of its owners, or let it go itself."""
        version = view.get(key)
        kind = BY_STORED.get(key.resource)
        if version is None or kind is None:
            return Plan()
        finalizers = version.metadata.get("finalizers", ())
        if is_deleted(version) and ORPHAN in finalizers:
            return Plan(_orphan(kind, version, view))
        if is_deleted(version) and FOREGROUND in finalizers:
            return Plan(_delete_owned_first(kind, version, view))
        if is_deleted(version):
            return Plan()
        return Plan(_collect(kind, version, view))


def _collect(kind: Kind, version: Version, view: View) -> list[Action]:
    """Delete an object whose owners are all gone; forget those that are gone of several."""
    references = list(owners(version.content))
    if not references:
        return []
    there = [view.key_of(str(reference.get("uid"))) for reference in references]
    living = [item for item, key in zip(references, there, strict=True) if key is not None]
    if not living:
        how = Deletion(policy="Background", uid=version.uid)
        return [Delete(kind, version.key.namespace, version.key.name, how)]
    if len(living) < len(references):
        metadata = {**version.metadata, "ownerReferences": living}
        return [Write(kind, version, {**version.content, "metadata": metadata})]
    return []


def _orphan(kind: Kind, version: Version, view: View) -> list[Action]:
    """Take the owner out of what it owns; then let it go."""
    actions: list[Action] = []
    for item in view.owned(version.uid):
        own = BY_STORED[item.key.resource]
        left = [one for one in owners(item.content) if one.get("uid") != version.uid]
        metadata = {**item.metadata, "ownerReferences": left}
        actions.append(Write(own, item, {**item.content, "metadata": metadata}))
    return actions or [_without(kind, version, ORPHAN)]


def _delete_owned_first(kind: Kind, version: Version, view: View) -> list[Action]:
    """Delete what blocks the owner; when nothing does, let it go."""
    owned = view.owned(version.uid)
    blocking = [item for item in owned if _blocks(item, version.uid)]
    if not blocking:
        return [_without(kind, version, FOREGROUND)]
    actions: list[Action] = []
    for item in owned:
        if not is_deleted(item):
            policy = "Foreground" if view.owned(item.uid) else "Background"
            own, how = BY_STORED[item.key.resource], Deletion(policy=policy, uid=item.uid)
            actions.append(Delete(own, item.key.namespace, item.key.name, how))
    return actions


def _blocks(item: Version, uid: str) -> bool:
    return any(
        one.get("uid") == uid and one.get("blockOwnerDeletion") for one in owners(item.content)
    )


def _without(kind: Kind, version: Version, finalizer: str) -> Write:
    left = [item for item in version.metadata.get("finalizers", ()) if item != finalizer]
    metadata = {**version.metadata, "finalizers": left}
    return Write(kind, version, {**version.content, "metadata": metadata})


class Namespaces:
    """Gives a namespace its service account, and empties one that is being deleted."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The namespace, also when something in one that goes away has changed."""
        key = change.version.key
        if key.resource == _NAMESPACES.stored:
            return [key]
        own = Key(_NAMESPACES.stored, "", key.namespace)
        found = view.get(own) if key.namespace else None
        if found is None or not (is_deleted(found) or _is_account(key)):
            return []
        return [own]

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:  # noqa: ARG002
        """Make the account; or delete what is there, and at last the namespace."""
        found = view.get(key)
        if found is None:
            return Plan()
        if not is_deleted(found):
            account = Key(_SERVICE_ACCOUNTS.stored, key.name, "default")
            if view.get(account) is not None:
                return Plan()
            return Plan([Create(_SERVICE_ACCOUNTS, key.name, {"metadata": {"name": "default"}})])
        actions: list[Action] = []
        is_empty = True
        for resource in view.resources():
            kind = BY_STORED[resource]
            for item in view.items(resource, key.name) if kind.is_namespaced else ():
                is_empty = False
                if not is_deleted(item):
                    how = Deletion(uid=item.uid)
                    actions.append(Delete(kind, key.name, item.key.name, how))
        if is_empty and found.content.get("spec", {}).get("finalizers"):
            emptied = {**found.content, "spec": {"finalizers": []}}
            actions.append(Write(_NAMESPACES, found, emptied, "finalize"))
        return Plan(actions)


def _is_account(key: Key) -> bool:
    return key.resource == _SERVICE_ACCOUNTS.stored and key.name == "default"


class PodCollector:
    """Deletes pods whose node is not there.

    Args:
        lost_s: how long a node may be missing.
    """

    def __init__(self, *, lost_s: float = LOST_S) -> None:
        self._lost_s = lost_s
        # Bound: pods without a node that is there; they leave with the pod, or when it has one.
        self._since: dict[Key, datetime] = {}

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The pod, or the pods of a node that comes or goes."""
        key = change.version.key
        if key.resource == "pods":
            return [key]
        if key.resource == "nodes" and (change.is_deletion or change.previous is None):
            return [item.key for item in view.on_node(key.name)]
        return []

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Delete the pod if its node has been missing for too long."""
        pod = view.get(key)
        node = "" if pod is None else pod.content["spec"].get("nodeName", "")
        if pod is None or not node or view.get(Key("nodes", "", node)) is not None:
            self._since.pop(key, None)
            return Plan()
        waited_s = (at - self._since.setdefault(key, at)).total_seconds()
        if waited_s < self._lost_s:
            return Plan(again_s=self._lost_s - waited_s)
        return Plan([Delete(_PODS, key.namespace, key.name, Deletion(grace_s=0, uid=pod.uid))])


class Events:
    """Deletes events that are older than an hour.

    Args:
        ttl_s: how long an event is kept.
    """

    def __init__(self, *, ttl_s: float = EVENT_TTL_S) -> None:
        self._ttl_s = ttl_s

    def concerned(self, change: Change, view: View) -> Iterable[Key]:  # noqa: ARG002
        """The event, when it is written."""
        is_event = change.version.key.resource == _EVENTS.stored and not change.is_deletion
        return [change.version.key] if is_event else []

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """Delete the event when its time is over."""
        event = view.get(key)
        if event is None:
            return Plan()
        content = event.content
        seen = content.get("series", {}).get("lastObservedTime") or content.get("lastTimestamp")
        since = max(str(seen or ""), event.metadata["creationTimestamp"])
        left_s = self._ttl_s - age_s(since, at)
        if left_s > 0:
            return Plan(again_s=left_s)
        return Plan([Delete(_EVENTS, key.namespace, key.name, Deletion(uid=event.uid))])
