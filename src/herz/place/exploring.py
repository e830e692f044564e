"""Exploration: a few placements go to another of the best nodes, so that there is to learn from.

Which ones is decided by a keyed hash of the pod: nobody can choose to be one, and a replay has the
same. How likely each node was to be taken (its propensity) is in the record, so that who judges by
what came of it can weigh it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from herz._native import mix64
from herz.model.record import Promise

PARTS: Final = 1_000_000
"""A propensity of 1."""
_STREAM: Final = 0x6865727A_6578706C
"""Tells this use of the key from that of ties."""


def propensities(count: int, exploration_basis_points: int) -> list[int]:
    """By node, the best first: how likely it is to be taken, in parts of a million.

    Explored placements are spread evenly over all of them, the best one too.

    Returns:
        -1 for all where nothing is explored.
    """
    if not exploration_basis_points or count < 2:
        return [-1] * count
    each = exploration_basis_points * (PARTS // 10_000) // count
    return [PARTS - each * (count - 1), *([each] * (count - 1))]


def taken(promises: Sequence[Promise], key: int) -> str:
    """The node that the draw falls on; empty: nothing is explored, the best node is taken.

    Args:
        promises: of the best nodes, best first.
        key: of the pod, mixed with the log's.
    """
    if not promises or promises[0].propensity < 0:
        return ""
    # Tie: none; the modulus of 64 bits favours no part by more than one in 10^13.
    rest = mix64(key ^ _STREAM) % PARTS
    for one in promises:
        if rest < one.propensity:
            return one.node
        rest -= one.propensity
    return promises[0].node
