"""Two checkers that share no code agree on every proof, whole or changed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.entry import Step, encode, seal
from herz.commit.audit.proof import Proof, check_proof, covering, make_proof, parse_proof
from herz.commit.audit.tree import Nodes, leaf_hash, root_of
from herz.commit.audit.trust import parse_trust
from herz.errors import AuditError
from herz.model.journal import Kind, Sealed
from tests.support import stranger
from tests.support.trust import ORIGIN, cosigned, cosigner, log_signer, trust_text

SIGNER = log_signer(1, has_p384=True)
WITNESSES = [cosigner(101), cosigner(102)]
TRUST = trust_text(SIGNER, *WITNESSES).encode()
ENTRIES = [
    seal(Kind.STEP, encode(Step(limit=1, now_ns=at)), at.to_bytes(32, "big")) for at in range(40)
]
NODES = Nodes(leaf_hash(entry.leaf) for entry in ENTRIES)


def note(size: int) -> bytes:
    checkpoint = Checkpoint(ORIGIN, size, root_of(NODES, size))
    return cosigned(SIGNER.sign(checkpoint.text), *WITNESSES).data


NOTES = {size: note(size) for size in (1, 2, 7, 8, 33, 40)}


def ours(data: bytes, trust: bytes) -> bytes | None:
    try:
        return check_proof(data, parse_trust(trust))[0].payload
    except AuditError:
        return None


def theirs(data: bytes, trust: bytes) -> bytes | None:
    try:
        return stranger.check(data, trust)
    except (ValueError, InvalidSignature):
        return None


@st.composite
def proofs(draw: st.DrawFn) -> tuple[int, Proof]:
    size = draw(st.sampled_from(sorted(NOTES)))
    index = draw(st.integers(0, size - 1))
    return index, make_proof(index, ENTRIES[index], NODES, NOTES[size])


@given(proofs())
def test_every_proof_holds_for_both(given_proof: tuple[int, Proof]) -> None:
    index, proof = given_proof
    assert parse_proof(proof.data) == proof
    payload = encode(Step(limit=1, now_ns=index))
    assert ours(proof.data, TRUST) == theirs(proof.data, TRUST) == payload


@given(proofs(), st.data())
def test_no_changed_proof_holds_for_either(
    given_proof: tuple[int, Proof], data: st.DataObject
) -> None:
    changed = bytearray(given_proof[1].data)
    at = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[at // 8] ^= 1 << at % 8
    assert ours(bytes(changed), TRUST) is None
    assert theirs(bytes(changed), TRUST) is None


@given(proofs(), st.sampled_from(["log", "witness", "quorum", "until", "origin"]))
def test_trust_decides_for_both(given_proof: tuple[int, Proof], what: str) -> None:
    data = given_proof[1].data
    other = {
        "log": trust_text(log_signer(2), *WITNESSES),
        "witness": trust_text(SIGNER, WITNESSES[0], cosigner(103)),
        "quorum": trust_text(SIGNER, *WITNESSES, cosigner(103)),
        "until": TRUST.decode().replace("[[log]]", "[[log]]\nuntil = 1"),
        "origin": TRUST.decode().replace("[[log]]", '[[log]]\norigin = "other"'),
    }[what].encode()
    assert ours(data, other) is None
    assert theirs(data, other) is None


def test_the_other_checker_is_short_and_shares_nothing() -> None:
    source = Path(stranger.__file__).read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) < 100
    names = [
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert not any(name.startswith(("herz", "tests")) for name in names)


def test_the_smallest_checkpoint_that_is_vouched_for_is_taken() -> None:
    unseen = SIGNER.sign(Checkpoint(ORIGIN, 5, root_of(NODES, 5)).text).data
    trust = parse_trust(TRUST)
    assert covering([unseen, NOTES[8], NOTES[40]], 3, trust) == NOTES[8]
    assert covering([NOTES[2], unseen], 1, trust) == NOTES[2]
    assert covering([unseen, NOTES[8]], 4, None) == max(
        unseen, NOTES[8], key=lambda note: note.count(b"\n\xe2\x80\x94 ")
    )
    with pytest.raises(AuditError, match="no checkpoint covers entry 4"):
        covering([], 4, None)
    with pytest.raises(AuditError, match="no checkpoint that the trust file vouches for"):
        covering([unseen], 4, trust)


def test_an_erased_entry_is_not_proved() -> None:
    with pytest.raises(AuditError, match="erased"):
        make_proof(3, Sealed(ENTRIES[3].leaf, b"", b""), NODES, NOTES[8])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + NOTES[1],
        b"c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\n" + NOTES[1],
        b"c2sp.org/tlog-proof@v1\nextra \xff\nindex 0\n\n" + NOTES[1],
        b"c2sp.org/tlog-proof@v1\n",
        b"x" * (16 * 1024 * 1024 + 1),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(AuditError):
        parse_proof(data)


def test_the_golden_proof_holds_for_both() -> None:
    # Written by the first version that made proofs; never made anew.
    folder = Path(__file__).parents[1] / "data" / "proofs"
    proof, trust = ((folder / name).read_bytes() for name in ("v1.tlog-proof", "v1-trust.toml"))
    expected = encode(Step(limit=1, now_ns=5))
    assert ours(proof, trust) == theirs(proof, trust) == expected
