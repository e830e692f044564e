"""Entries in groups: what a native kernel sees of many at once, without the interpreter.

It commits to salts and payloads again and hashes leaves and records. It only says how many
entries, from the first, are sound: why one is not is for `entry` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from herz._native import check_entries
from herz.errors import AuditError
from herz.model.journal import COMMITMENT_BYTES, Kind, Sealed

ENTRIES_MAX: Final = 256
"""Bound of a group: what it holds stays in the processor's caches until it is looked at."""
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


def grouped(entries: Iterable[tuple[int, Sealed]]) -> Iterator[Group]:
    """Entries in groups; where they cannot be read on, that is told after those before it.

    Args:
        entries: each with its index, in order.

    Raises:
        AuditError: as `entries`.
    """
    rest, failed = iter(entries), None
    while failed is None:
        found: list[tuple[int, Sealed]] = []
        try:
            _fill(found, rest)
        except AuditError as error:
            failed = error
        if found:
            group = [entry for _, entry in found]
            sound, hashes, digests = check_entries(group, Kind.RECORD)
            said = digests.hex()
            named = [said[at : at + _HEX] for at in range(0, len(said), _HEX)]
            yield Group(found[0][0], group, sound, hashes, named)
        elif failed is None:
            return
    raise failed


def checked(entries: Iterable[tuple[int, Sealed]]) -> Iterator[tuple[int, Sealed, bool]]:
    """Entries, and whether each is known to be what its leaf commits to, or is erased.

    Raises:
        AuditError: as `entries`.
    """
    for group in grouped(entries):
        for at, entry in enumerate(group.entries):
            yield group.first + at, entry, at < group.sound


def _fill(found: list[tuple[int, Sealed]], rest: Iterator[tuple[int, Sealed]]) -> None:
    held = 0
    for one in islice(rest, ENTRIES_MAX):
        found.append(one)
        held += len(one[1].payload)
        if held > _BYTES_MAX:
            return
