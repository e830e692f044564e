"""Whether what is known is what the API holds: the caches of the watches beside new lists.

A watch is always a moment behind, so one look proves nothing: what differs is looked at again a
little later, and only what differs in the same way is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from herz.world.kube.informer import Informer

SETTLE_SECONDS: Final = 3.0
"""Between the two looks: longer than a watch is behind."""
TOLD_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One object that is another here and there.

    Args:
        kind: its plural.
        name: namespace and name.
        known: uid and version as the watch told; empty: it told of none.
        held: uid and version as the API lists; empty: it lists none.
    """

    kind: str
    name: str
    known: str
    held: str


@dataclass(slots=True)
class Comparison:
    """What came of it.

    Args:
        objects: how many the API holds, by plural.
        differences: `TOLD_MAX` at most.
    """

    objects: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


class _Meta(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815


class _Item(msgspec.Struct, frozen=True):
    metadata: _Meta = _Meta()


_ITEM: Final = msgspec.json.Decoder(_Item)


async def compared(informers: Sequence[Informer]) -> Comparison:
    """Compare all kinds.

    Raises:
        WorldError: a list cannot be had.
    """
    found = Comparison()
    first = {difference for one in informers for difference in await _look(one, found)}
    if not first:
        return found
    await asyncio.sleep(SETTLE_SECONDS)
    kinds = {difference.kind for difference in first}
    for informer in informers:
        if informer.watched.plural in kinds:
            again = await _look(informer, found)
            found.differences += sorted(one for one in again if one in first)
    del found.differences[TOLD_MAX:]
    return found


async def _look(informer: Informer, found: Comparison) -> list[Difference]:
    plural = informer.watched.plural
    _, items = await informer.listed()
    held: dict[str, str] = {}
    for raw in items:
        meta = _ITEM.decode(raw).metadata
        key = f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
        held[key] = f"{meta.uid} {meta.resourceVersion}"
    found.objects[plural] = len(held)
    known = {
        key: f"{thing.metadata.uid} {thing.metadata.resource_version}"
        for key, thing in informer.objects.items()
    }
    names = sorted(known.keys() | held.keys())
    return [
        Difference(plural, name, known.get(name, ""), held.get(name, ""))
        for name in names
        if known.get(name) != held.get(name)
    ]
