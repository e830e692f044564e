"""Erasure: payloads and salts go for good, their leaves stay, and an entry says who did it and why.

Only what tells of pods and nodes can be erased: events, records, answers, states. What tells of
the journal itself stays, and so does the last record, from which the chain goes on. What is held
is refused whole. The entry is durable before the first byte goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from herz.commit.audit.entry import Erasure, Hold, State, Step, opened
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


_TIMED: Final = frozenset({*ERASABLE, Kind.STEP})
"""The kinds that have a time, or the time of what stands before them."""


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
        _note_hold(holds, entry)
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


def outdated(
    read: Callable[[], Iterable[tuple[int, Sealed]]], spans_ns: Mapping[Kind, int]
) -> Plan:
    """What is older than its class is kept for. What is held stays, and is in nobody's way.

    An entry has the driver's time of the last step or event up to it; its age is counted to the
    journal's last step.

    Args:
        read: gives the entries of the whole journal; called three times.
        spans_ns: by kind, how long it is kept; other kinds stay.

    Raises:
        AuditError: an entry is damaged.
    """
    last_ns, holds = _last_time(read()), _held(read())
    chosen: list[int] = []
    blobs: dict[str, None] = {}
    kept: set[str] = set()
    held: dict[tuple[int, int, str], None] = {}
    now_ns, last_record = 0, -1
    for index, entry in read():
        kind = entry.leaf[1]
        if kind == Kind.RECORD:
            last_record = index
        if entry.is_erased or kind not in _TIMED:
            continue
        content: object = opened(entry)[1] if kind != Kind.RECORD else None
        now_ns = max(now_ns, _time_of(content))
        is_old = kind in spans_ns and last_ns - now_ns > spans_ns[Kind(kind)]
        by = _holder(holds, index) if is_old else None
        if by is not None:
            held[by] = None
        if is_old and by is None:
            chosen.append(index)
            if isinstance(content, State):
                blobs[content.blob] = None
        elif isinstance(content, State):
            kept.add(content.blob)
    left = tuple(index for index in chosen if index != last_record)
    return Plan(left, tuple(blob for blob in blobs if blob not in kept), tuple(held))


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


def _note_hold(holds: dict[Range, str], entry: Sealed) -> None:
    """Take a hold, or its end, into account; any other entry changes nothing."""
    if entry.leaf[1] != Kind.HOLD:
        return
    hold = opened(entry)[1]
    assert isinstance(hold, Hold), "as its kind says"
    for ends in hold.ranges:
        holds.pop(ends, None)
        if hold.is_held:
            holds[ends] = hold.actor


def _held(entries: Iterable[tuple[int, Sealed]]) -> dict[Range, str]:
    holds: dict[Range, str] = {}
    for _, entry in entries:
        _note_hold(holds, entry)
    return holds


def _holder(holds: Mapping[Range, str], index: int) -> tuple[int, int, str] | None:
    """The hold that keeps the entry; None where none does."""
    for (first, last), actor in holds.items():
        if first <= index <= last:
            return first, last, actor
    return None


def _last_time(entries: Iterable[tuple[int, Sealed]]) -> int:
    """The time of the last step."""
    last = None
    for _, entry in entries:
        if entry.leaf[1] == Kind.STEP:
            last = entry
    return 0 if last is None else _time_of(opened(last)[1])


def _time_of(content: object) -> int:
    """The driver's time of an event or a step; 0: it has none of its own."""
    if isinstance(content, Step):
        return content.now_ns
    return int(getattr(content, "time_ns", 0))
