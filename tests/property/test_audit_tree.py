"""The tree's laws: one definition, proofs that verify, and nothing else that does."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herz.commit.audit.tree import (
    Nodes,
    TileHashes,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    tiles_between,
)
from herz.errors import AuditError

entries = st.lists(st.binary(max_size=4), min_size=1, max_size=80)


def definition(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 over hashes of leaves."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha256(b"\x01" + definition(hashes[:k]) + definition(hashes[k:])).digest()


@given(entries)
def test_tree_nodes_and_definition_agree(given_entries: list[bytes]) -> None:
    hashes = [leaf_hash(entry) for entry in given_entries]
    tree = Tree()
    for leaf in hashes:
        tree.append(leaf)
    assert tree.root() == root_of(Nodes(hashes), len(hashes)) == definition(hashes)


@given(entries, st.data())
def test_a_changed_proof_index_or_leaf_never_verifies(
    given_entries: list[bytes], data: st.DataObject
) -> None:
    hashes = [leaf_hash(b"%d " % at + entry) for at, entry in enumerate(given_entries)]
    size = len(hashes)
    nodes = Nodes(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(nodes, index, size), root_of(nodes, size)
    check_inclusion(hashes[index], index, size, proof, root)
    blob = bytearray(b"".join([hashes[index], *proof, root]))
    at = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[at // 8] ^= 1 << at % 8
    leaf, *changed, new_root = (bytes(blob[i : i + 32]) for i in range(0, len(blob), 32))
    with pytest.raises(AuditError):
        check_inclusion(leaf, index, size, changed, new_root)


@given(st.integers(1, 80), st.data())
def test_a_rewritten_beginning_is_never_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    changed_at = data.draw(st.integers(0, old - 1))
    hashes = [leaf_hash(b"%d" % at) for at in range(size)]
    rewritten = list(hashes)
    rewritten[changed_at] = leaf_hash(b"another")
    before, after = Nodes(hashes), Nodes(rewritten)
    old_root = root_of(before, old)
    check_consistency(
        old, size, consistency_proof(before, old, size), old_root, root_of(before, size)
    )
    # Neither with the honest hashes nor with those of the rewritten tree.
    for nodes in (before, after):
        proof = consistency_proof(nodes, old, size)
        with pytest.raises(AuditError):
            check_consistency(old, size, proof, old_root, root_of(after, size))


@given(st.integers(1, 600), st.integers(0, 600))
def test_tiles_written_as_the_tree_grows_give_every_proof(first: int, more: int) -> None:
    hashes = [leaf_hash(b"%d" % at) for at in range(first + more)]
    levels: dict[int, list[bytes]] = {0: hashes}
    tree = Tree(on_tile_hash=lambda level, found: levels.setdefault(level, []).append(found))
    files: dict[str, bytes] = {}
    for old, new in ((0, first), (first, first + more)):
        for leaf in hashes[old:new]:
            tree.append(leaf)
        for tile in tiles_between(old, new):
            found = levels[tile.level][tile.index * 256 :][: tile.width]
            files[tile.path] = b"".join(found)
    size = first + more
    read = TileHashes(lambda tile: files[tile.path], size)
    assert root_of(read, size) == tree.root()
    proof = consistency_proof(read, first, size)
    check_consistency(first, size, proof, root_of(read, first), tree.root())
