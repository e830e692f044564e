"""What the journal is made of, as its writer and its store see it: leaves, salts, payloads.

What a payload means is `herz.commit.audit.entry`; the bytes on disk are `herz.world.store`'s.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from herz.errors import AuditError

VERSION: Final = 1
"""Of the entries' canonical form; the first byte of a leaf."""
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 48
LEAF_BYTES: Final = 2 + COMMITMENT_BYTES
SIZE_MAX: Final = 2**62
"""Bound: entries of a journal."""


class Kind(IntEnum):
    """What an entry tells; the second byte of its leaf. Numbers are never used again."""

    START = 1
    """A machine begins: engine, policy, seed, where the chain of records stands."""
    INPUT = 2
    """An event that reached the machine."""
    STEP = 3
    """The machine was asked to decide: the time, and how many pods at most."""
    RECORD = 4
    """A decision."""
    OUTCOME = 5
    """What the API answered to an effect; an input, too."""
    STATE = 6
    """The digest of the machine's whole state."""
    CONFIGURATION = 7
    """Other settings are in force."""
    MODEL = 8
    """Another model is in force."""
    KEY = 9
    """Another key signs the checkpoints."""
    ERASURE = 10
    """Payloads and salts of earlier entries are gone."""
    MODE = 11
    """Another proof mode is in force."""
    CLOCK = 12
    """The driver's clock stepped back."""
    HOLD = 13
    """A range must not be erased, or may be again."""
    CHECK = 14
    """Comparators and rules were tried before the start."""
    PROMISE = 15
    """What became of promises in a window."""


class Batch(NamedTuple):
    """Entries of one append, as they are kept.

    Args:
        entries: how many.
        frames: their bytes, end to end (docs/reference/journal.md).
    """

    entries: int
    frames: bytes


class Sealed(NamedTuple):
    """An entry as it is kept.

    Args:
        leaf: what the tree holds: version, kind, and SHA3-384(salt ‖ payload); 50 bytes.
        salt: 32 random bytes; empty once erased.
        payload: the entry's canonical bytes; empty once erased.
    """

    leaf: bytes
    salt: bytes
    payload: bytes

    @property
    def is_erased(self) -> bool:
        """Whether payload and salt are gone."""
        return not self.salt


def size_of(note: bytes) -> int:
    """The size that a signed checkpoint names, without reading the rest of it.

    Raises:
        AuditError: it names none.
    """
    start = note.find(b"\n") + 1
    text = note[start : note.find(b"\n", start)]
    if not start or not text.isdigit() or len(text) > len(str(SIZE_MAX)) or int(text) > SIZE_MAX:
        raise AuditError("a signed checkpoint names no size")
    return int(text)
