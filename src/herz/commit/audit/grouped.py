"""Entries in groups: what a native kernel sees of many at once, without the interpreter.

It commits to salts and payloads again and hashes leaves and records. It only says how many
entries, from the first, are sound: why one is not is for `entry` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from herz._native import check_entries
from herz.errors import AuditError
from herz.model.journal import COMMITMENT_BYTES, Kind, Sealed

ENTRIES_MAX: Final = 1_024
"""Bound of a group; most have a megabyte then."""
_BYTES_MAX: Final = 8 << 20
_HEX: Final = 2 * COMMITMENT_BYTES


class Group(NamedTuple):
    """Entries that follow each other.

    Args:
        first: the index of the first.
        entries: the entries; at least one.
        sound: how many, from the first, are what their leaves commit to, or are erased.
        hashes: the hashes of their leaves, end to end.
        digests: of the records among them, SHA3-384 of the payloads, hex.
    """

    first: int
    entries: list[Sealed]
    sound: int
    hashes: bytes
    digests: list[str]


def grouped(entries: Iterator[tuple[int, Sealed]], first: int) -> Iterator[Group]:
    """Entries in groups; where they cannot be read on, that is told after those before it.

    Raises:
        AuditError: as `entries`.
    """
    failed: AuditError | None = None
    while failed is None:
        group: list[Sealed] = []
        try:
            _fill(group, entries)
        except AuditError as error:
            failed = error
        if group:
            sound, hashes, digests = check_entries(group, Kind.RECORD)
            said = digests.hex()
            named = [said[at : at + _HEX] for at in range(0, len(said), _HEX)]
            yield Group(first, group, sound, hashes, named)
            first += len(group)
        elif failed is None:
            return
    raise failed


def _fill(group: list[Sealed], entries: Iterator[tuple[int, Sealed]]) -> None:
    held = 0
    for _, entry in islice(entries, ENTRIES_MAX):
        group.append(entry)
        held += len(entry.payload)
        if held > _BYTES_MAX:
            return
