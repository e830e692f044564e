"""Erasure: payloads and salts go for good, their leaves stay, and an entry says who did it and why.

Only what tells of pods and nodes can be erased: events, records, answers, states. What tells of
the journal itself stays, and so does the last record, from which the chain goes on. What is held
is refused whole. The entry is durable before the first byte goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from herz.commit.audit.entry import Erasure, Hold, State, opened
from herz.commit.audit.log import Log
from herz.errors import ConfigError
from herz.model.journal import Kind, Sealed

ERASABLE: Final = (Kind.INPUT, Kind.OUTCOME, Kind.RECORD, Kind.STATE)

Range = tuple[int, int]
"""First and last entry."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure takes.

    Args:
        entries: indexes, ascending.
        blobs: digests of the blobs of states that go with them.
        held: (first, last, actor) of holds that are in its way.
    """

    entries: tuple[int, ...]
    blobs: tuple[str, ...]
    held: tuple[tuple[int, int, str], ...]

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The entries as ranges without gaps."""
        found: list[list[int]] = []
        for index in self.entries:
            if found and found[-1][1] == index - 1:
                found[-1][1] = index
            else:
                found.append([index, index])
        return tuple((first, last) for first, last in found)


def planned(
    entries: Iterable[tuple[int, Sealed]], first: int, last: int, kinds: Iterable[Kind] = ERASABLE
) -> Plan:
    """What can be erased of the entries from `first` to `last`.

    Args:
        entries: of the whole journal: a hold may stand anywhere.
        first: the first entry to erase.
        last: the last one.
        kinds: of which kinds.

    Raises:
        AuditError: an entry is damaged.
    """
    wanted = frozenset(kinds) & frozenset(ERASABLE)
    chosen: list[int] = []
    blobs: dict[str, None] = {}
    holds: dict[Range, str] = {}
    last_record = -1
    for index, entry in entries:
        kind = entry.leaf[1]
        if kind == Kind.RECORD:
            last_record = index
        if entry.is_erased:
            continue
        if kind == Kind.HOLD:
            hold = opened(entry)[1]
            assert isinstance(hold, Hold), "as its kind says"
            for ends in hold.ranges:
                holds.pop(ends, None)
                if hold.is_held:
                    holds[ends] = hold.actor
        if first <= index <= last and kind in wanted:
            chosen.append(index)
            if kind == Kind.STATE:
                state = opened(entry)[1]
                assert isinstance(state, State), "as its kind says"
                blobs[state.blob] = None
    held = tuple(
        (*ends, actor) for ends, actor in holds.items() if ends[0] <= last and first <= ends[1]
    )
    return Plan(tuple(index for index in chosen if index != last_record), tuple(blobs), held)


def erase(log: Log, plan: Plan, *, actor: str, reason: str, time_ns: int) -> int:
    """Erase what is planned; the index of the entry that tells of it.

    Raises:
        ConfigError: there is nothing to erase, or some of it is held; nothing was done.
        WorldError: the disk refused; the entry may tell of more than is gone: erase it again.
    """
    if plan.held:
        first, last, who = plan.held[0]
        raise ConfigError(
            "entries are held",
            where=f"entries {first} to {last}, by {who}",
            fix="have the hold ended first: herz audit hold --release",
        )
    if not plan.entries:
        fix = f"name entries of the kinds {', '.join(kind.name.lower() for kind in ERASABLE)}"
        raise ConfigError("nothing to erase", where="--from, --to", fix=fix)
    told = log.write(
        Erasure(actor=actor, blobs=plan.blobs, ranges=plan.ranges, reason=reason, time_ns=time_ns)
    )
    log.commit()
    log.store.erase(plan.entries, plan.blobs)
    return told
