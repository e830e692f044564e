"""Objects in all their versions: what is now, what was at a revision, what has happened since.

One counter, the revision, numbers every change of every object, as etcd does; it is what clients
see as `resourceVersion`. The history is bounded: what falls out of it is compacted, and a client
that asks for it gets 410.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from herz.errors import InvariantError

HISTORY_MAX = 20_000
"""Bound: changes that a watch can resume from."""
_SLACK = 8
"""A compaction drops an eighth of the history at once, so that it is rare."""


class Key(NamedTuple):
    """What names an object: `resource` is qualified by its group (`deployments.apps`)."""

    resource: str
    namespace: str
    name: str


class Version(msgspec.Struct, frozen=True, eq=False):
    """One object in one version.

    Args:
        revision: the change that made it.
        data: the object's JSON, with its `resourceVersion`.
        content: the same as plain values; nobody may change it.
    """

    key: Key
    revision: int
    data: bytes
    content: dict[str, Any]

    def copy(self) -> dict[str, Any]:
        """The content, free to be changed."""
        copied: dict[str, Any] = msgspec.json.decode(self.data)
        return copied

    @property
    def metadata(self) -> dict[str, Any]:
        """The object's metadata."""
        found: dict[str, Any] = self.content["metadata"]
        return found

    @property
    def uid(self) -> str:
        """What tells the object from another of the same name."""
        return str(self.metadata.get("uid", ""))


class Change(msgspec.Struct, frozen=True, eq=False):
    """One step of the history.

    Args:
        version: the object after it; of a deletion, its last form under the deletion's revision.
        previous: the object before it; None where it was created.
        is_deletion: whether the object is gone.
    """

    version: Version
    previous: Version | None
    is_deletion: bool

    @property
    def revision(self) -> int:
        """Its place in the history."""
        return self.version.revision


class Versions:
    """The committed state and its history.

    Args:
        history_max: how many changes are kept.
        revision: where the counter starts: nothing at or before it can be resumed from.
    """

    def __init__(self, *, history_max: int = HISTORY_MAX, revision: int = 0) -> None:
        self._history_max = history_max
        self._now: dict[str, dict[tuple[str, str], Version]] = {}
        # Bound: history_max and an eighth of it; `compact` is called after every commit.
        self._history: deque[Change] = deque()
        self.revision = revision
        self.compacted = revision

    def get(self, key: Key) -> Version | None:
        """The object now."""
        return self._now.get(key.resource, {}).get((key.namespace, key.name))

    def put_base(self, version: Version) -> None:
        """Take over a version from before the history, while loading."""
        self._now.setdefault(version.key.resource, {})[version.key[1:]] = version

    def record(self, change: Change) -> None:
        """Let a change happen.

        Raises:
            InvariantError: it is not the newest of all.
        """
        if change.revision <= self.revision:
            raise InvariantError(f"revision {change.revision} after {self.revision}")
        key = change.version.key
        if change.is_deletion:
            self._now[key.resource].pop(key[1:])
        else:
            self._now.setdefault(key.resource, {})[key[1:]] = change.version
        self._history.append(change)
        self.revision = change.revision

    def items(self, resource: str, namespace: str = "", *, at: int | None = None) -> list[Version]:
        """The objects of a resource by namespace and name, now or as they were at a revision.

        Args:
            resource: by its store's name.
            namespace: only of this one; empty for all.
            at: a revision that is not compacted; None for now.
        """
        found = self._now.get(resource, {})
        if at is not None and at < self.revision:
            found = self._at(resource, at)
        if namespace:
            return [found[key] for key in sorted(found) if key[0] == namespace]
        return [found[key] for key in sorted(found)]

    def resources(self) -> list[str]:
        """The resources of which there is, or has been, an object."""
        return sorted(self._now)

    def since(self, revision: int) -> Iterator[Change]:
        """The changes after a revision, oldest first."""
        missed: list[Change] = []
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            missed.append(change)
        return reversed(missed)

    def compact(self) -> list[int]:
        """Drop the oldest changes where there are too many.

        Returns:
            The revisions of the versions that nobody can ask for any more.
        """
        if len(self._history) <= self._history_max + self._history_max // _SLACK:
            return []
        dead = []
        while len(self._history) > self._history_max:
            change = self._history.popleft()
            self.compacted = change.revision
            if change.previous is not None:
                dead.append(change.previous.revision)
            if change.is_deletion:
                dead.append(change.revision)
        return dead

    def _at(self, resource: str, revision: int) -> dict[tuple[str, str], Version]:
        """The objects as they were: the changes since then, undone from the newest on."""
        found = dict(self._now.get(resource, {}))
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            key = change.version.key
            if key.resource != resource:
                continue
            if change.previous is None:
                found.pop(key[1:], None)
            else:
                found[key[1:]] = change.previous
        return found
