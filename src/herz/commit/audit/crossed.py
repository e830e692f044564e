"""What this engine decides where another one decided: each difference, and what may have made it.

Both are asked about the cluster as the journal tells it (`otherwise`), so one difference makes no
others. A component is what an engine's digest is over, part by part (`Engine.parts`): those that
changed and that the fields which differ follow from are named, and the rules that say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import msgspec

from herz.commit.audit.entry import Engine
from herz.commit.audit.otherwise import Pair
from herz.model.record import Record

_OWN: Final = frozenset({"engine", "previous", "sequence", "repeats", "repeated"})
"""What follows from the records before, or from which engine it is, and from no decision."""
_EVERYWHERE: Final = ("herz", "numpy", "python", "rules", "wiring")
_FOLLOWS_FROM: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "order": ("config", "intake", "model", "native"),
        "pod": ("model",),
        "policy": ("config",),
        "snapshot": ("intake", "model", "native", "place"),
    }
)
_DECIDING: Final = ("config", "intake", "model", "native", "place", "plugin")
"""What all other fields follow from."""


@dataclass(frozen=True, slots=True)
class Part:
    """A component that is not what it was: its digest, or its version, then and now."""

    name: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """A decision that is another one now.

    Args:
        pair: the two.
        fields: those of the record that differ; empty: one engine decided nothing.
        rules: the rules that refuse, or score, otherwise.
        components: those that changed and that the fields follow from.
    """

    pair: Pair
    fields: tuple[str, ...]
    rules: tuple[str, ...]
    components: tuple[str, ...]


def changed_parts(then: Engine, now: Engine) -> tuple[Part, ...]:
    """The components in which two engines differ, by name."""
    if then.digest == now.digest:
        return ()
    old, new = _parts(then), _parts(now)
    found = [
        Part(name, old.get(name, ""), new.get(name, ""))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    return tuple(found) or (Part("engine", then.digest, now.digest),)


def crossing(pair: Pair, changed: Sequence[str]) -> Crossing | None:
    """How the two decisions differ; None where they do not.

    Args:
        pair: what the journal says, and what this engine says.
        changed: names of the components that changed.
    """
    one, two = pair.logged, pair.other
    if one is None or two is None:
        return Crossing(pair, (), (), tuple(changed))
    fields = tuple(name for name in Record.__struct_fields__ if _differ(one, two, name))
    if not fields:
        return None
    causes = {name for field in fields for name in _FOLLOWS_FROM.get(field, _DECIDING)}
    causes.update(_EVERYWHERE)
    # What changed and explains nothing is not left out where nothing else is there.
    components = tuple(name for name in changed if name in causes) or tuple(changed)
    return Crossing(pair, fields, _rules(one, two), components)


def _parts(engine: Engine) -> dict[str, str]:
    """Its parts, with the versions that people know where there are such."""
    found = dict(engine.parts)
    found |= {f"package {name}": version for name, version in engine.packages}
    return found | {"herz": engine.herz, "python": engine.python}


def _differ(one: Record, two: Record, field: str) -> bool:
    if field in _OWN:
        # That a verdict came again is said of two equal verdicts.
        return field == "repeats" and bool(one.repeats) != bool(two.repeats)
    return bool(getattr(one, field) != getattr(two, field))


def _rules(one: Record, two: Record) -> tuple[str, ...]:
    """The rules whose refusals, or points of the same node, are others."""
    refusals = {msgspec.json.encode(item): item.plugin for item in one.rejections}
    others = {msgspec.json.encode(item): item.plugin for item in two.rejections}
    found = {{**refusals, **others}[key] for key in refusals.keys() ^ others.keys()}
    before, now = _points(one), _points(two)
    for place in before.keys() & now.keys():
        if before[place] != now[place]:
            found.add(place[1])
    found.update(set(one.plugins) ^ set(two.plugins) if one.plugins and two.plugins else ())
    return tuple(sorted(found))


def _points(record: Record) -> dict[tuple[str, str], Any]:
    """Points by node and rule."""
    return {
        (candidate.node, rule): points
        for candidate in record.top
        for rule, points in zip(record.plugins, candidate.scores, strict=False)
    }
