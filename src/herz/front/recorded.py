"""What a journal says of a decision or a pod, found through its index and checked by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict

from herz._native import sha3_384
from herz.commit.audit.entry import opened
from herz.errors import AuditError, ConfigError
from herz.model.outcomes import BindFinished, Outcome
from herz.model.record import Record
from herz.world.store.evidence import Place
from herz.world.store.index import Index

EXAMPLES_MAX: Final = 3
RESOLVED: Final = {
    "read": "found out by reading the pod again",
    "restart": "found out after a restart",
}
RECORDS_MAX: Final = 1_000
"""Bound: of a pod with more records, the last ones are shown."""


class Told(NamedTuple):
    """A decision, as the journal has it.

    Args:
        entry: the index of its entry.
        record: what was decided.
        digest: SHA3-384 of the record, hex.
        outcomes: (entry, what the API answered).
    """

    entry: int
    record: Record
    digest: str
    outcomes: list[tuple[int, Outcome]]


class Logged(NamedTuple):
    """Between which times an entry was logged, by the clocks of witnesses.

    Args:
        plain: for programs.
        words: for people.
    """

    plain: dict[str, int]
    words: str


def logged(index: Index, told: Sequence[Told], trust: str) -> list[Logged]:
    """When each decision was logged, by the witnesses of a trust file.

    Raises:
        ConfigError: it is no trust file.
        AuditError: a checkpoint is damaged.
    """
    # Imported here: who asks for no time does not wait for it.
    from herz.front import vouched  # noqa: PLC0415

    trusted = vouched.read_trust(trust)
    times = [vouched.logged(index, one.entry, trusted) for one in told]
    return [Logged(asdict(one), vouched.logged_text(one)) for one in times]


def decision(index: Index, sequence: int) -> Told:
    """One decision by its number.

    Raises:
        ConfigError: there is none of that number.
        AuditError: its entry is damaged or erased.
    """
    place = index.decision(sequence)
    if place is None:
        fix = f"give a number from 1 to {index.decisions}"
        raise ConfigError("no such decision", where="DECISION", value=sequence, fix=fix)
    return _told(index, place)


def of_pod(index: Index, asked: str) -> tuple[str, list[Told]]:
    """The pod as namespace/name, and the decisions about it, in order.

    Raises:
        ConfigError: no such pod was decided, or several have the name.
        AuditError: an entry is damaged or erased.
    """
    namespace, slash, name = asked.rpartition("/")
    found = index.of_pod(name, namespace if slash else None, RECORDS_MAX)
    if not found:
        fix = "name a pod that was decided"
        if others := index.some_pods(EXAMPLES_MAX):
            fix = f"{fix}, such as {', '.join(others)}"
        raise ConfigError("no decision about this pod", where="POD", value=asked, fix=fix)
    namespaces = sorted({one for one, _ in found})
    if len(namespaces) > 1:
        fix = f"say which: {', '.join(f'{one}/{name}' for one in namespaces)}"
        raise ConfigError("pods of several namespaces", where="POD", value=asked, fix=fix)
    return f"{namespaces[0]}/{name}", [_told(index, place) for _, place in found]


def plain(told: Told) -> dict[str, Any]:
    """A decision as plain values."""
    return {
        "entry": told.entry,
        "digest": told.digest,
        "record": msgspec.to_builtins(told.record),
        "outcomes": [
            {"entry": entry, **msgspec.to_builtins(outcome)} for entry, outcome in told.outcomes
        ],
    }


def rows(told: Told) -> list[tuple[str, str]]:
    """A decision as rows of a table: field, value."""
    found = [("entry", str(told.entry)), ("digest", told.digest)]
    for name, value in msgspec.to_builtins(told.record).items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        found.append((name, text))
    found += [(f"outcome, entry {entry}", said(outcome)) for entry, outcome in told.outcomes]
    return found


def said(outcome: Outcome) -> str:
    """What the API answered, in words."""
    code = getattr(outcome, "code", UNSET)
    status = "" if code is UNSET else str(code)
    if not isinstance(outcome, BindFinished):
        parts = ["refused", status, getattr(outcome, "message", "")]
        return ": ".join(part for part in parts if part)
    said = ": ".join(part for part in (str(outcome.outcome), status, outcome.message) if part)
    if outcome.resource_version is not UNSET:
        said += f", resourceVersion {outcome.resource_version}"
    if outcome.resolved is not UNSET:
        said += f", {RESOLVED[outcome.resolved]}"
    return said


def _told(index: Index, place: Place) -> Told:
    entry = index.entry(place)
    try:
        _, record = opened(entry)
    except AuditError as error:
        raise AuditError(f"entry {place.entry}: {error}") from error
    if not isinstance(record, Record):
        raise AuditError(f"entry {place.entry} is no decision: remove the index, it is made anew")
    digest = sha3_384(entry.payload).hex()
    outcomes: list[tuple[int, Any]] = [
        (one.entry, opened(index.entry(one))[1]) for one in index.outcomes(record.sequence)
    ]
    return Told(place.entry, record, digest, outcomes)
