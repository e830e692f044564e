"""What another engine decides: the answer of `herz audit replay --cross-version`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from herz.commit.audit.crossed import Crossing, Part
from herz.commit.audit.otherwise import Pair
from herz.model.record import Record

SHOWN_MAX: Final = 1_000
"""Bound: of more differences, the first are shown; all are counted."""
_DIGEST_SHOWN: Final = 16


@dataclass(slots=True)
class Crossed:
    """What the comparison came to.

    Args:
        decisions: how many were compared.
        same: how many are the same.
        parts: the components that changed, of any machine of the journal.
        differences: the first ones.
    """

    decisions: int = 0
    same: int = 0
    parts: dict[Part, None] = field(default_factory=dict)
    differences: list[Crossing] = field(default_factory=list)

    @property
    def more(self) -> int:
        """Differences that are counted and not shown."""
        return self.decisions - self.same - len(self.differences)


def crossed(found: Iterable[tuple[tuple[Part, ...], Pair, Crossing | None]]) -> Crossed:
    """Count what `herz.comparing.crossed` finds."""
    told = Crossed()
    for parts, _, one in found:
        told.decisions += 1
        told.same += one is None
        told.parts.update(dict.fromkeys(parts))
        if one is not None and len(told.differences) < SHOWN_MAX:
            told.differences.append(one)
    return told


def plain(told: Crossed) -> dict[str, Any]:
    """The answer as plain values."""
    return {
        "decisions": told.decisions,
        "same": told.same,
        "changed": [asdict(part) for part in told.parts],
        "differences": [
            {
                "time_ns": one.pair.time_ns,
                "sequence": 0 if one.pair.logged is None else one.pair.logged.sequence,
                "pod": one.pair.pod,
                "fields": list(one.fields),
                "rules": list(one.rules),
                "components": list(one.components),
                "logged": _verdict(one.pair.logged),
                "now": _verdict(one.pair.other),
            }
            for one in told.differences
        ],
    }


def rows(told: Crossed) -> list[tuple[str, ...]]:
    """A row for each difference."""
    return [
        (
            str(one.pair.logged.sequence) if one.pair.logged is not None else "none",
            one.pair.pod,
            _said(one.pair.logged),
            _said(one.pair.other),
            ", ".join(one.fields) or "all",
            ", ".join((*one.components, *one.rules)),
        )
        for one in told.differences
    ]


def notes(told: Crossed) -> list[str]:
    """The counts, and what changed."""
    found = [f"{told.same} of {told.decisions} decisions are the same"]
    found += [f"changed: {p.name}, {_short(p.then)} then, {_short(p.now)} now" for p in told.parts]
    return [*found, *([f"note: {told.more} more differ"] if told.more else [])]


def _short(text: str) -> str:
    return text[:_DIGEST_SHOWN] or "nothing"


def _verdict(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {"decided": str(record.decided), "node": record.node, "message": record.message}


def _said(record: Record | None) -> str:
    return "nothing" if record is None else f"{record.decided} {record.node}".rstrip()
