"""What controllers read and what they answer: a view of the store, and a plan of actions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from herz.world.apiserver.objects.kinds import Kind
from herz.world.apiserver.registry.deletion import Deletion
from herz.world.apiserver.store import Change, Key, Store, Version

Content = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object; that it exists already is no failure."""

    kind: Kind
    namespace: str
    content: Content


@dataclass(frozen=True, slots=True)
class Write:
    """Put an object in this form if it is still the one that was read.

    Args:
        kind: the object's.
        old: as it was read.
        content: as it is to be.
        part: `status`, `finalize`, or empty for the rest.
    """

    kind: Kind
    old: Version
    content: Content
    part: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; that it is gone already is no failure."""

    kind: Kind
    namespace: str
    name: str
    how: Deletion


_ADOPTED = ("pods", "replicasets.apps")
"""What a controller takes over if it matches and has no owner."""
Action: TypeAlias = Create | Write | Delete


@dataclass(slots=True)
class Plan:
    """What is to be done, in order, and when to look again.

    Args:
        actions: none where everything is as it should be.
        again_s: seconds until the next look; None where only a change asks for one.
    """

    actions: list[Action] = field(default_factory=list)
    again_s: float | None = None


class View:
    """The store as controllers read it, with two indexes that follow the changes.

    Args:
        store: where the objects are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._owned: dict[str, dict[Key, None]] = {}
        self._on_node: dict[str, dict[Key, None]] = {}
        self._keys: dict[str, Key] = {}

    def follow(self, change: Change) -> None:
        """Take a change into the indexes."""
        key = change.version.key
        if change.previous is not None:
            for uid in _owner_uids(change.previous):
                self._owned.get(uid, {}).pop(key, None)
            self._on_node.get(_node(change.previous), {}).pop(key, None)
        if change.is_deletion:
            self._keys.pop(change.version.uid, None)
            return
        self._keys[change.version.uid] = key
        for uid in _owner_uids(change.version):
            self._owned.setdefault(uid, {})[key] = None
        node = _node(change.version)
        if node:
            self._on_node.setdefault(node, {})[key] = None

    def get(self, key: Key) -> Version | None:
        """An object."""
        return self._store.get(key)

    def items(self, resource: str, namespace: str = "") -> list[Version]:
        """All objects of a resource, sorted."""
        return self._store.items(resource, namespace)

    def resources(self) -> list[str]:
        """The resources of which there are objects."""
        return self._store.resources()

    def key_of(self, uid: str) -> Key | None:
        """Where the object of a uid is; None where there is none."""
        return self._keys.get(uid)

    def owned(self, uid: str, resource: str = "") -> list[Version]:
        """The objects that name the uid as an owner, sorted; of one resource or of all."""
        return self._found(self._owned.get(uid, {}), resource)

    def orphans(self, resource: str, namespace: str) -> list[Version]:
        """The pods, or replica sets, of a namespace that nobody owns, sorted."""
        found = self._found(self._owned.get("", {}), resource)
        return [item for item in found if item.key.namespace == namespace]

    def on_node(self, name: str) -> list[Version]:
        """The pods that have the node, sorted."""
        return self._found(self._on_node.get(name, {}), "pods")

    def _found(self, keys: Iterable[Key], resource: str) -> list[Version]:
        wanted = sorted(key for key in keys if resource in ("", key.resource))
        found = (self._store.get(key) for key in wanted)
        return [version for version in found if version is not None]


class Controller(Protocol):
    """One concern: which objects a change makes it look at, and what it then wants."""

    def concerned(self, change: Change, view: View) -> Iterable[Key]:
        """The objects to look at because of a change; they need not exist."""
        ...

    def reconcile(self, key: Key, view: View, at: datetime) -> Plan:
        """What is to be done about an object. Writes nothing."""
        ...


def owners(content: Content) -> Iterator[Content]:
    """The owner references of an object."""
    yield from content["metadata"].get("ownerReferences", ())


def controller_uid(content: Content) -> str:
    """The uid of the owner that manages the object; empty where none does."""
    for reference in owners(content):
        if reference.get("controller"):
            return str(reference.get("uid", ""))
    return ""


def owner_reference(kind: Kind, owner: Version) -> Content:
    """The reference by which a controller marks what it makes."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_deleted(version: Version) -> bool:
    """Whether the object is on its way out."""
    return "deletionTimestamp" in version.metadata


def is_active(pod: Version) -> bool:
    """Whether the pod has neither ended nor is being deleted."""
    phase = pod.content.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not is_deleted(pod)


def condition_of(content: Content, name: str) -> Content:
    """A condition of the status; an empty one where it is absent."""
    for condition in content.get("status", {}).get("conditions", ()):
        if condition.get("type") == name:
            return dict(condition)
    return {}


def is_ready(pod: Version) -> bool:
    """Whether the pod's condition Ready is true."""
    return condition_of(pod.content, "Ready").get("status") == "True"


def status_write(kind: Kind, old: Version, status: Content) -> list[Action]:
    """The write that gives the object this status; none where it has it."""
    if old.content.get("status", {}) == status:
        return []
    return [Write(kind, old, {**old.content, "status": status}, "status")]


def _owner_uids(version: Version) -> list[str]:
    """The uids under which the object is found; what might be adopted stands under none."""
    found = [str(reference.get("uid", "")) for reference in owners(version.content)]
    return found if found or version.key.resource not in _ADOPTED else [""]


def _node(version: Version) -> str:
    """The pod's node; empty for one that has none, and for all that is no pod."""
    if version.key.resource != "pods":
        return ""
    return str(version.content["spec"].get("nodeName", ""))
