"""How much of a log nobody could miss: what is unsigned, what is unwitnessed, and for how long.

A proof mode bounds it. The writer tells what it appended and what was signed and cosigned, and
asks before anything is bound; when a bound is met nothing is bound until it is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

CHECKPOINT_ENTRIES_MAX: Final = 1_000
CHECKPOINT_NS_MAX: Final = 1_000_000_000
"""A checkpoint is due after so many entries, or so long after the first of them."""

RESOLUTION_NS: Final = 100_000_000
"""Entries of one tenth of a second have the time of the first of them."""

_SECOND_NS: Final = 1_000_000_000
ModeName = Literal["relaxed", "strict", "witnessed"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries that something does not cover yet.

    Args:
        entries: how many.
        age_ns: since when there are any; 0 where there are none.
    """

    entries: int
    age_ns: int


class _Cover:
    """How far one kind of cover reaches, and when what lies beyond it was appended."""

    def __init__(self, size: int) -> None:
        self.covered = size
        self._size = size
        # (first entry, time). Bound: a mark each RESOLUTION_NS until the mode's bound is met.
        self._marks: deque[tuple[int, int]] = deque()

    def append(self, size: int, now_ns: int) -> None:
        if size > self._size:
            if not self._marks or now_ns - self._marks[-1][1] >= RESOLUTION_NS:
                self._marks.append((self._size, now_ns))
            self._size = size

    def cover(self, size: int) -> None:
        self.covered = max(self.covered, min(size, self._size))
        while len(self._marks) > 1 and self._marks[1][0] <= self.covered:
            self._marks.popleft()
        if self.covered == self._size:
            self._marks.clear()

    def gap(self, now_ns: int) -> Gap:
        if not self._marks:
            return Gap(0, 0)
        return Gap(self._size - self.covered, max(0, now_ns - self._marks[0][1]))


class Exposure:
    """What no signature and what no witness covers.

    Args:
        size: entries that are there already.
        signed: how many of them a checkpoint covers.
        witnessed: how many of them a quorum has cosigned.
        now_ns: the driver's time.
    """

    def __init__(self, size: int, signed: int, witnessed: int, now_ns: int) -> None:
        self._signed = _Cover(min(signed, size))
        self._witnessed = _Cover(min(witnessed, size))
        self.appended(size, now_ns)

    def appended(self, size: int, now_ns: int) -> None:
        """The log has `size` entries now."""
        self._signed.append(size, now_ns)
        self._witnessed.append(size, now_ns)

    def signed(self, size: int) -> None:
        """A checkpoint of `size` entries is signed and kept."""
        self._signed.cover(size)

    def witnessed(self, size: int) -> None:
        """A quorum has cosigned a checkpoint of `size` entries."""
        self._witnessed.cover(size)

    def unsigned(self, now_ns: int) -> Gap:
        """What no checkpoint covers."""
        return self._signed.gap(now_ns)

    def unwitnessed(self, now_ns: int) -> Gap:
        """What no quorum of witnesses covers."""
        return self._witnessed.gap(now_ns)

    def is_checkpoint_due(self, now_ns: int) -> bool:
        """Whether a checkpoint must be signed now."""
        gap = self.unsigned(now_ns)
        return gap.entries >= CHECKPOINT_ENTRIES_MAX or (
            gap.entries > 0 and gap.age_ns >= CHECKPOINT_NS_MAX
        )


@dataclass(frozen=True, slots=True)
class ProofMode:
    """What may be bound while signer or witnesses are away.

    Args:
        name: `relaxed`, `strict` or `witnessed`.
        unsigned_ns_max: how old the first unsigned entry may be.
        unwitnessed_ns_max: how old the first unwitnessed entry may be, where there are witnesses.
    """

    name: ModeName
    unsigned_ns_max: int
    unwitnessed_ns_max: int

    def refusal(self, exposure: Exposure, now_ns: int, *, has_witnesses: bool) -> str:
        """Why nothing may be bound now; empty where it may.

        Args:
            exposure: what is not covered.
            now_ns: the driver's time.
            has_witnesses: whether any are configured; `witnessed` needs them.
        """
        gap = exposure.unsigned(now_ns)
        if gap.age_ns > self.unsigned_ns_max:
            return self._said("unsigned", gap, self.unsigned_ns_max)
        gap = exposure.unwitnessed(now_ns)
        is_asked = has_witnesses or self.name == "witnessed"
        if is_asked and gap.age_ns > self.unwitnessed_ns_max:
            return self._said("unwitnessed", gap, self.unwitnessed_ns_max)
        return ""

    def _said(self, what: str, gap: Gap, bound_ns: int) -> str:
        return (
            f"proof mode {self.name}: {gap.entries} entries {what} for "
            f"{gap.age_ns // _SECOND_NS} s; at most {bound_ns // _SECOND_NS} s"
        )


RELAXED_NS_MAX: Final = 3600 * _SECOND_NS
STRICT_NS_MAX: Final = 5 * _SECOND_NS
WITNESSED_NS_MAX: Final = 120 * _SECOND_NS

MODES: Final[Mapping[str, ProofMode]] = MappingProxyType(
    {
        "relaxed": ProofMode("relaxed", RELAXED_NS_MAX, RELAXED_NS_MAX),
        "strict": ProofMode("strict", STRICT_NS_MAX, RELAXED_NS_MAX),
        "witnessed": ProofMode("witnessed", STRICT_NS_MAX, WITNESSED_NS_MAX),
    }
)
