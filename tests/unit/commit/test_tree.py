"""The tree against RFC 6962's published figures and against its definition, in full."""

from __future__ import annotations

from hashlib import sha256

import pytest

from herz.commit.audit.tree import (
    EMPTY_ROOT,
    Nodes,
    Tile,
    TileHashes,
    Tree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    peaks_of,
    root_of,
    subtree_root,
    tiles_between,
)
from herz.errors import AuditError

# The eight entries and the roots over the first n of them which the implementations of
# Certificate Transparency are tested against.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]


def definition(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + definition(entries[:k]) + definition(entries[k:])).digest()


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % at) for at in range(count)]


def test_hashes_are_those_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert leaf_hash(b"L123456").hex().startswith("395aa064aa4c29f7010acfe3f25db948")
    assert node_hash(b"N123", b"N456").hex().startswith("aa217fe888e47007fa15edab33c2b492")


def test_published_roots_come_out_at_every_size() -> None:
    tree, nodes = Tree(), Nodes()
    assert tree.root() == root_of(nodes, 0) == EMPTY_ROOT
    for size, (entry, root) in enumerate(zip(ENTRIES, ROOTS, strict=True), 1):
        tree.append(leaf_hash(entry))
        nodes.append(leaf_hash(entry))
        assert (tree.size, tree.root()) == (size, root)
        assert root_of(nodes, size) == root
        assert definition(ENTRIES[:size]) == root


def test_published_proofs_come_out() -> None:
    nodes = Nodes(leaf_hash(entry) for entry in ENTRIES)
    assert [each.hex()[:8] for each in inclusion_proof(nodes, 0, 8)] == [
        *("96a296d2", "5f083f0a", "6b47aaf2")
    ]
    assert [each.hex()[:8] for each in inclusion_proof(nodes, 5, 8)] == [
        *("bc1a0643", "ca854ea1", "d37ee418")
    ]
    assert [each.hex()[:8] for each in consistency_proof(nodes, 6, 8)] == [
        *("0ebc5d34", "ca854ea1", "d37ee418")
    ]
    assert [each.hex()[:8] for each in consistency_proof(nodes, 2, 5)] == ["5f083f0a", "bc1a0643"]


def test_a_tree_goes_on_from_its_peaks() -> None:
    whole, nodes = Tree(), Nodes()
    for size, leaf in enumerate(leaves(70)):
        again = Tree(size, whole.peaks)
        assert peaks_of(nodes, size) == whole.peaks
        whole.append(leaf)
        nodes.append(leaf)
        again.append(leaf)
        assert again.root() == whole.root()


@pytest.mark.parametrize(
    ("size", "peaks"), [(1, []), (2, [b"x" * 32] * 2), (3, [b"x" * 32, b"short"]), (-1, [b""])]
)
def test_peaks_that_do_not_fit_the_size_are_refused(size: int, peaks: list[bytes]) -> None:
    with pytest.raises(AuditError, match="does not have these"):
        Tree(size, peaks)


def test_no_proof_where_there_is_no_entry_or_no_beginning() -> None:
    nodes = Nodes(leaves(5))
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(AuditError, match="has no entry"):
            inclusion_proof(nodes, index, size)
    with pytest.raises(AuditError, match="does not begin with"):
        consistency_proof(nodes, 5, 4)
    with pytest.raises(AuditError, match="has no node"):
        inclusion_proof(nodes, 0, 6)


def test_every_proof_of_small_trees_verifies_and_only_for_its_own_entry() -> None:
    hashes = leaves(18)
    nodes = Nodes(hashes)
    for size in range(1, 19):
        root = root_of(nodes, size)
        for index in range(size):
            proof = inclusion_proof(nodes, index, size)
            check_inclusion(hashes[index], index, size, proof, root)
            for other in range(size + 2):
                if other != index:
                    with pytest.raises(AuditError):
                        check_inclusion(hashes[index], other, size, proof, root)
        for old in range(size + 1):
            proof = consistency_proof(nodes, old, size)
            check_consistency(old, size, proof, root_of(nodes, old), root)


def test_consistency_needs_both_roots_and_the_very_proof() -> None:
    nodes = Nodes(leaves(11))
    old, new = root_of(nodes, 6), root_of(nodes, 11)
    proof = consistency_proof(nodes, 6, 11)
    wrong = b"\x00" * 32
    for bad in ([], proof[1:], proof[:-1], [*proof, wrong], [wrong, *proof], [wrong, *proof[1:]]):
        with pytest.raises(AuditError):
            check_consistency(6, 11, bad, old, new)
    for roots in ((wrong, new), (old, wrong), (new, old)):
        with pytest.raises(AuditError):
            check_consistency(6, 11, proof, *roots)
    # A proof holds no size: only sizes with another path are told apart. Checkpoints bind sizes.
    for sizes in ((5, 11), (7, 11), (6, 17), (6, 8), (12, 11)):
        with pytest.raises(AuditError):
            check_consistency(*sizes, proof, old, new)


@pytest.mark.parametrize(
    ("old", "new", "proof", "roots"),
    [
        (0, 3, [b"x" * 32], (EMPTY_ROOT, b"x" * 32)),
        (0, 3, [], (b"y" * 32, b"x" * 32)),
        (0, 0, [], (EMPTY_ROOT, b"x" * 32)),
        (3, 3, [], (b"y" * 32, b"x" * 32)),
        (3, 3, [b"x" * 32], (b"x" * 32, b"x" * 32)),
        (3, 4, [b"short"], (b"x" * 32, b"x" * 32)),
        (3, 4, [b"x" * 32] * 64, (b"x" * 32, b"x" * 32)),
    ],
)
def test_proofs_that_cannot_be_are_refused(
    old: int, new: int, proof: list[bytes], roots: tuple[bytes, bytes]
) -> None:
    with pytest.raises(AuditError):
        check_consistency(old, new, proof, *roots)


# ---- tiles ----------------------------------------------------------------------------------


def tiled(count: int) -> tuple[dict[Tile, bytes], list[bytes]]:
    """The tiles of a tree as its writer makes them, and the leaves."""
    hashes = leaves(count)
    levels: dict[int, list[bytes]] = {0: hashes}
    tree = Tree(on_tile_hash=lambda level, found: levels.setdefault(level, []).append(found))
    for leaf in hashes:
        tree.append(leaf)
    return {
        tile: b"".join(levels[tile.level][tile.index * 256 :][: tile.width])
        for tile in tiles_between(0, count)
    }, hashes


def test_tiles_are_named_as_in_the_specification() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(1, 5, 17).path == "tile/1/005.p/17"
    assert Tile(0, 1000, 3).entries_path == "tile/entries/x001/000.p/3"


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_between(0, 70_000))
    assert [len([t for t in tiles if t.level == level]) for level in range(3)] == [274, 2, 1]
    assert [t for t in tiles if t.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_between(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]


def test_a_growing_tree_writes_only_what_changed() -> None:
    assert list(tiles_between(300, 310)) == [Tile(0, 1, 54)]
    assert list(tiles_between(510, 513)) == [Tile(0, 1), Tile(0, 2, 1), Tile(1, 0, 2)]
    assert list(tiles_between(7, 7)) == []


def test_proofs_from_tiles_are_those_from_memory() -> None:
    tiles, hashes = tiled(700)
    nodes, read = Nodes(hashes), TileHashes(tiles.__getitem__, 700)
    assert root_of(read, 700) == root_of(nodes, 700)
    for index in (0, 1, 255, 256, 511, 512, 698, 699):
        assert inclusion_proof(read, index, 700) == inclusion_proof(nodes, index, 700)
    for old in (1, 255, 256, 257, 512, 640, 699):
        assert consistency_proof(read, old, 700) == consistency_proof(nodes, old, 700)
        assert peaks_of(read, old) == peaks_of(nodes, old)


def test_a_tile_of_a_wrong_length_or_outside_the_tree_is_refused() -> None:
    tiles, _ = tiled(300)
    short = TileHashes(lambda tile: tiles[tile][:-1], 300)
    with pytest.raises(AuditError, match=r"tile/0/000 has 8191 bytes"):
        short(0, 0)
    for level, index in ((0, 300), (0, -1), (8, 1), (9, 0)):
        with pytest.raises(AuditError, match="has no node"):
            TileHashes(tiles.__getitem__, 300)(level, index)


def test_few_tiles_are_kept() -> None:
    tiles, _ = tiled(700)
    asked: list[Tile] = []

    def fetch(tile: Tile) -> bytes:
        asked.append(tile)
        return tiles[tile]

    read = TileHashes(fetch, 700)
    for index in range(256):
        read(0, index)
    assert asked == [Tile(0, 0)]


def test_the_root_over_hashes_is_that_of_their_subtree() -> None:
    hashes = leaves(8)
    assert subtree_root(b"".join(hashes)) == root_of(Nodes(hashes), 8)
    with pytest.raises(AssertionError):
        subtree_root(b"".join(hashes[:3]))
