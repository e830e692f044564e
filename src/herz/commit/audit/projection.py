"""What of an event reaches machine and journal: what rules may read, and nothing else.

An object has only the fields that are known here (`herz.model`). Annotations are anybody's notes,
and hold whole specs with their secrets: those are let through that scheduling reads, by the
prefix of their keys, and those that a rule names (`annotations` of its class).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from herz.model.events import Event, ObjectApplied, ObjectDeleted

PREFIXES: Final = (
    "herz.dev/",
    "pv.kubernetes.io/",
    "scheduling.k8s.io/",
    "storage.alpha.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "volume.kubernetes.io/",
)
"""Of the keys of annotations that rules of ours read, and that Herz writes."""


def projected(event: Event, named: Collection[str] = ()) -> Event:
    """The event without annotations that nothing reads.

    Args:
        event: the event.
        named: further keys that rules read.
    """
    # Asked so: a union of classes is made anew each time, and this is asked of every event.
    if not isinstance(event, (ObjectApplied, ObjectDeleted)):
        return event
    thing = event.object
    annotations = thing.metadata.annotations
    if not annotations:
        return event
    kept = {
        key: value for key, value in annotations.items() if key.startswith(PREFIXES) or key in named
    }
    if len(kept) == len(annotations):
        return event
    meta = replace(thing.metadata, annotations=kept)
    return replace(event, object=replace(thing, metadata=meta))
