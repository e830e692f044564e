"""Events have two faces, core/v1 and events.k8s.io/v1, of one stored object (the core one)."""

from __future__ import annotations

from typing import Any

from herz.world.apiserver.objects.kinds import EVENTS_GROUP, Kind

_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


def served(kind: Kind, content: dict[str, Any]) -> dict[str, Any]:
    """The stored object as the kind shows it: the same one where that is the stored kind."""
    if kind.group != EVENTS_GROUP:
        return content
    renamed = {_NEW_NAMES.get(name, name): value for name, value in content.items()}
    return {**renamed, "apiVersion": kind.api_version}


def stored(kind: Kind, content: dict[str, Any]) -> dict[str, Any]:
    """The object of a request as it is stored."""
    if kind.group != EVENTS_GROUP:
        return content
    renamed = {_OLD_NAMES.get(name, name): value for name, value in content.items()}
    return {**renamed, "apiVersion": "v1"}
