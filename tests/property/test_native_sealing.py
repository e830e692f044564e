"""The native framing and growing do what the plain functions say, whatever the entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz._native import grow_tree, open_entries, seal_entries
from herz.commit.audit.entry import committed, seal
from herz.commit.audit.tree import Tree, leaf_hash
from herz.model.journal import VERSION, Kind
from herz.world.store.frames import framed

ENTRIES = st.lists(
    st.tuples(st.sampled_from(Kind), st.binary(min_size=32, max_size=32), st.binary(max_size=300)),
    max_size=8,
)


@given(entries=ENTRIES)
def test_entries_are_sealed_as_one_by_one(entries: list[tuple[Kind, bytes, bytes]]) -> None:
    kinds = bytes(kind for kind, _, _ in entries)
    salts = b"".join(salt for _, salt, _ in entries)
    payloads = [payload for _, _, payload in entries]
    frames, hashes = seal_entries(VERSION, kinds, committed(payloads, salts), salts, payloads)
    plain = [seal(kind, payload, salt) for kind, salt, payload in entries]
    assert frames == framed(plain).frames
    assert hashes == b"".join(leaf_hash(one.leaf) for one in plain)
    found, again = open_entries(frames, 0, len(entries) + 1)
    assert found == [(one.leaf, one.salt + one.payload) for one in plain]
    assert again == hashes


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
        seal_entries(1, b"\1", bytes(48), bytes(31), [b""])
    with pytest.raises(ValueError, match="peaks"):
        grow_tree(3, [bytes(32)], b"")
