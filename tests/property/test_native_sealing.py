"""The native framing and growing do what the plain functions say, whatever the entries."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from herz._native import (
    check_entries,
    grow_tree,
    is_ed25519,
    open_entries,
    seal_entries,
    sha3_384,
    sha256,
)
from herz.commit.audit.entry import check_commitment, seal
from herz.commit.audit.tree import Tree, leaf_hash
from herz.errors import AuditError
from herz.model.journal import VERSION, Kind
from herz.world.store.frames import framed

ENTRIES = st.lists(
    st.tuples(st.sampled_from(Kind), st.binary(min_size=32, max_size=32), st.binary(max_size=999)),
    max_size=8,
)


@given(message=st.binary(max_size=300), times=st.sampled_from([1, 8]))
def test_hashes_are_those_of_the_standard_library(message: bytes, times: int) -> None:
    whole = message * times  # A long one is hashed without the interpreter.
    assert sha256(whole) == hashlib.sha256(whole).digest()
    assert sha3_384(whole) == hashlib.sha3_384(whole).digest()


PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
# One, minus one and zero on the curve's y, spelled as they are and, where it goes, with the prime
# added; and what is no point.
ODD_KEYS = [
    (y + more * PRIME | sign << 255).to_bytes(32, "little")
    for y, more in [(1, 0), (1, 1), (PRIME - 1, 0), (0, 0), (0, 1), (2, 0)]
    for sign in (0, 1)
]


def _holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """The same by OpenSSL."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@given(
    secret=st.binary(min_size=32, max_size=32),
    message=st.binary(max_size=200),
    bit=st.integers(0, 8 * (32 + 64) - 1),
)
def test_a_signature_holds_or_not_as_openssl_says(secret: bytes, message: bytes, bit: int) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    whole = key.public_key().public_bytes_raw() + key.sign(message)
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    # The scalar plus the group's order means the same, and must be refused.
    scalar = int.from_bytes(whole[64:], "little") + ORDER
    longer = whole[:64] + scalar.to_bytes(32, "little")
    assert is_ed25519(whole[:32], message, whole[32:])
    for other in (bytes(flipped), longer):
        assert not is_ed25519(other[:32], message, other[32:])
        assert not _holds(other[:32], message, other[32:])
    assert not is_ed25519(whole[:32], message + b"x", whole[32:])


@pytest.mark.parametrize("nonce", ODD_KEYS)
@pytest.mark.parametrize("public", ODD_KEYS)
def test_odd_points_are_taken_as_openssl_takes_them(public: bytes, nonce: bytes) -> None:
    for scalar in (0, 1, ORDER):
        for message in (b"", b"a", b"b", b"c"):
            signature = nonce + scalar.to_bytes(32, "little")
            assert is_ed25519(public, message, signature) == _holds(public, message, signature)


@pytest.mark.parametrize(("public", "signature"), [(31, 64), (32, 63), (33, 64), (32, 65)])
def test_a_key_and_a_signature_have_their_lengths(public: int, signature: int) -> None:
    with pytest.raises(ValueError, match="length"):
        is_ed25519(bytes(public), b"", bytes(signature))


@given(entries=ENTRIES)
def test_entries_are_sealed_as_one_by_one(entries: list[tuple[Kind, bytes, bytes]]) -> None:
    kinds = bytes(kind for kind, _, _ in entries)
    salts = b"".join(salt for _, salt, _ in entries)
    payloads = [payload for _, _, payload in entries]
    frames, hashes = seal_entries(VERSION, kinds, salts, payloads)
    plain = [seal(kind, payload, salt) for kind, salt, payload in entries]
    assert frames == framed(plain).frames
    assert hashes == b"".join(leaf_hash(one.leaf) for one in plain)
    found = open_entries(frames, 0, len(entries) + 1)
    assert [parts for parts, _ in found] == [tuple(one) for one in plain]
    assert [end for _, end in found[-1:]] == [len(frames)][: len(plain)]
    sound, again, digests = check_entries(plain, Kind.RECORD)
    assert (sound, again) == (len(plain), hashes)
    records = [payload for kind, _, payload in entries if kind is Kind.RECORD]
    assert digests == b"".join(hashlib.sha3_384(payload).digest() for payload in records)


@given(entries=ENTRIES.filter(len), data=st.data())
def test_the_first_entry_that_is_not_what_its_leaf_says_is_named(
    entries: list[tuple[Kind, bytes, bytes]], data: st.DataObject
) -> None:
    kept = [seal(kind, payload, salt) for kind, salt, payload in entries]
    at = data.draw(st.integers(0, len(kept) - 1))
    part = data.draw(st.sampled_from(["salt", "payload", "commitment"]))
    one = kept[at]
    if part == "commitment":
        other = one._replace(leaf=one.leaf[:2] + flipped(one.leaf[2:], data))
    elif part == "salt":
        other = one._replace(salt=flipped(one.salt, data))
    else:
        other = one._replace(payload=flipped(one.payload or b"\0", data))
    kept[at] = other
    assert check_entries(kept, Kind.RECORD)[0] == at
    with pytest.raises(AuditError, match="not what its leaf commits to"):
        check_commitment(other)
    kept[at] = one._replace(salt=b"", payload=b"")  # Erased.
    assert check_entries(kept, Kind.RECORD)[0] == len(kept)


def flipped(whole: bytes, data: st.DataObject) -> bytes:
    """With one bit flipped."""
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


@given(sizes=st.lists(st.integers(0, 300), max_size=5))
def test_a_tree_grows_as_leaf_by_leaf(sizes: list[int]) -> None:
    told: list[tuple[int, bytes]] = []
    others: list[tuple[int, bytes]] = []
    one = Tree(on_tile_hash=lambda level, found: told.append((level, found)))
    two = Tree(on_tile_hash=lambda level, found: others.append((level, found)))
    for size in sizes:
        leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(size)]
        for leaf in leaves:
            one.append(leaf)
        two.extend(b"".join(leaves))
        assert (one.size, one.peaks, one.root()) == (two.size, two.peaks, two.root())
    assert told == others


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="each payload"):
        seal_entries(1, b"\1", bytes(31), [b""])
    with pytest.raises(ValueError, match="peaks"):
        grow_tree(3, [bytes(32)], b"")
