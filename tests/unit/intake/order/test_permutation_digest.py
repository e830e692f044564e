"""The permutation digest, and why it is a sum."""

from __future__ import annotations

from functools import reduce

import pytest

from herz.intake.order.digest import (
    DIGEST_MASK,
    EMPTY_DIGEST,
    digest_of,
    with_key,
    without_key,
)


def polynomial_hash(keys: list[int]) -> int:
    """The hash that the digest is not: its value depends on the order of the keys."""
    return reduce(lambda total, key: (total * 31 + key) & DIGEST_MASK, keys, 0)


def test_polynomial_hash_is_the_counter_example() -> None:
    assert polynomial_hash([1, 2]) == 33
    assert polynomial_hash([2, 1]) == 63
    assert digest_of([1, 2]) == digest_of([2, 1]) == 3


def test_digest_is_kept_in_step_as_keys_come_and_go() -> None:
    keys = [(1 << 64) - 1, 5, 1 << 63, 5]
    digest = EMPTY_DIGEST
    for key in keys:
        digest = with_key(digest, key)
    assert digest == digest_of(reversed(keys))
    for key in sorted(keys):
        digest = without_key(digest, key)
    assert digest == EMPTY_DIGEST


def test_digest_sees_a_lost_and_a_doubled_key() -> None:
    assert digest_of([3, 5, 7]) != digest_of([3, 5])
    assert digest_of([3, 5, 7]) != digest_of([3, 5, 5])
    assert digest_of([3, 5, 5, 5]) != digest_of([3, 5])  # XOR would see no difference


def test_digest_wraps_at_128_bits_and_refuses_longer_keys() -> None:
    assert with_key(DIGEST_MASK, 2) == 1
    assert without_key(1, 2) == DIGEST_MASK
    with pytest.raises(AssertionError):
        with_key(0, 1 << 64)
