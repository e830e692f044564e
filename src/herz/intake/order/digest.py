"""The permutation digest: equal for two orders of the same pods, unequal when a pod is lost.

Step: queue. The digest of a collection is the sum of its members' keyed 64-bit hashes modulo
2^128. A sum does not depend on the order of its terms, so that

- the queue keeps its digest in O(1) as pods come (`with_key`) and go (`without_key`), and
- the digest of an ordered batch, accumulated in the pass that reads it, can be compared in O(1)
  with the queue's: equal means that the order is a permutation of what was queued.

An order-dependent polynomial hash (h = h·x + key) cannot do this. For keys 1, 2 and x = 31 it
gives 1·31 + 2 = 33 for (1, 2) and 2·31 + 1 = 63 for (2, 1): every true reordering would look
like a loss, and taking a pod out of the middle would need all the powers behind it. XOR would be
order-free as well, but a pod counted twice would vanish from it; in a sum it shows.

The digest finds faults of our own code and of comparators. It is no proof against someone who
chooses the keys at will: records use the snapshot digest of DESIGN §4 for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DIGEST_BITS: Final = 128
DIGEST_MASK: Final = (1 << DIGEST_BITS) - 1
KEY_BITS: Final = 64

EMPTY_DIGEST: Final = 0


def with_key(digest: int, key: int) -> int:
    """The digest after a pod with this 64-bit key came.

    Cost: O(1). With fewer than 2^64 pods the sum stays below 2^128 and the mask changes nothing,
    which is why `Buckets` leaves it out on the hot path.
    """
    assert 0 <= key < 1 << KEY_BITS
    return (digest + key) & DIGEST_MASK


def without_key(digest: int, key: int) -> int:
    """The digest after a pod with this 64-bit key went; the inverse of `with_key`."""
    assert 0 <= key < 1 << KEY_BITS
    return (digest - key) & DIGEST_MASK


def digest_of(keys: Iterable[int]) -> int:
    """The digest of a whole collection; EMPTY_DIGEST for none. Cost: O(n), summed in C."""
    return sum(keys) & DIGEST_MASK
