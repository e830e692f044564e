"""The proof of one entry: a C2SP tlog-proof whose extra data opens the leaf.

The core of `herz audit check` is `check_proof`; docs/reference/proof.md is enough to write another.

Source: c2sp.org/tlog-proof.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from herz._native import sha3_384
from herz.commit.audit.checkpoint import parse_signed
from herz.commit.audit.note import from_base64, to_base64
from herz.commit.audit.tree import (
    PROOF_HASHES_MAX,
    HashReader,
    check_inclusion,
    inclusion_proof,
    leaf_hash,
)
from herz.commit.audit.trust import Trust, Vouched
from herz.errors import AuditError
from herz.model.journal import LEAF_BYTES, SALT_BYTES, Sealed

HEADER: Final = "c2sp.org/tlog-proof@v1"
COVERING_MAX: Final = 1_000
"""Bound: checkpoints that are looked at for the one with most signatures."""
PROOF_BYTES_MAX: Final = 16 << 20
"""Bound of a proof that is read."""

_HEAD_BYTES: Final = 2
_LINE: Final = "\n\u2014 ".encode()
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)


class Proof(msgspec.Struct, frozen=True):
    """One entry with all that shows it to be in a log.

    Args:
        extra: the leaf's version and kind, its salt, its payload.
        index: the entry.
        path: the hashes from its sibling to the root.
        note: the signed checkpoint.
    """

    extra: bytes
    index: int
    path: tuple[bytes, ...]
    note: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf: version, kind, and what commits to salt and payload."""
        return self.extra[:_HEAD_BYTES] + sha3_384(self.extra[_HEAD_BYTES:])

    @property
    def payload(self) -> bytes:
        """What the entry says."""
        return self.extra[_HEAD_BYTES + SALT_BYTES :]

    @property
    def data(self) -> bytes:
        """The proof as a file."""
        lines = [HEADER, f"extra {to_base64(self.extra)}", f"index {self.index}"]
        lines += [*map(to_base64, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note


def check_proof(data: bytes, trust: Trust) -> tuple[Proof, Vouched]:
    """Check a proof with nothing else than the keys that are trusted.

    Raises:
        AuditError: it does not show what it says, or nobody whom we trust vouches for it.
    """
    proof = parse_proof(data)
    vouched = trust.vouched(proof.note)
    checkpoint = vouched.checkpoint
    leaf = leaf_hash(proof.leaf)
    check_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
    return proof, vouched


def parse_proof(data: bytes) -> Proof:
    """Read a proof's file; strict, and checks nothing.

    Raises:
        AuditError: it is none.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise AuditError(f"a proof of more than {PROOF_BYTES_MAX} bytes")
    head, blank, note = data.partition(b"\n\n")
    try:
        header, extra, index, *path = head.decode("ascii").split("\n")
    except ValueError as error:
        raise AuditError("a proof begins with three lines of ASCII") from error
    match = _INDEX.fullmatch(index)
    if header != HEADER or not extra.startswith("extra ") or not blank or match is None:
        raise AuditError(f"not a proof of the form {HEADER} with extra data")
    opened = from_base64(extra.removeprefix("extra "))
    if len(opened) < _HEAD_BYTES + SALT_BYTES or len(path) > PROOF_HASHES_MAX:
        raise AuditError("a proof's extra data is version, kind, salt and payload of the entry")
    return Proof(opened, int(match[1]), tuple(map(from_base64, path)), note)


def make_proof(index: int, entry: Sealed, read: HashReader, note: bytes) -> Proof:
    """The proof of an entry in a checkpoint that covers it.

    Raises:
        AuditError: the entry is erased, or what is made does not verify.
    """
    if entry.is_erased or len(entry.leaf) != LEAF_BYTES:
        raise AuditError(f"entry {index} is erased: there is nothing to prove")
    checkpoint = parse_signed(note)[0]
    path = inclusion_proof(read, index, checkpoint.size)
    extra = entry.leaf[:_HEAD_BYTES] + entry.salt + entry.payload
    proof = Proof(extra, index, tuple(path), note)
    check_inclusion(leaf_hash(proof.leaf), index, checkpoint.size, path, checkpoint.root)
    return proof


def covering(notes: Iterable[bytes], index: int, trust: Trust | None) -> bytes:
    """The smallest checkpoint to prove an entry with.

    Args:
        notes: the log's signed checkpoints that cover it, smallest first.
        index: the entry.
        trust: whose keys count; None: of the first `COVERING_MAX`, the first with most signatures
            is taken.

    Raises:
        AuditError: no checkpoint covers it.
    """
    if trust is None:
        found = list(islice(notes, COVERING_MAX))
        if found:
            return max(found, key=lambda note: note.count(_LINE))
        raise AuditError(f"no checkpoint covers entry {index}: sign one")
    for note in notes:
        try:
            trust.vouched(note)
        except AuditError:
            continue
        return note
    raise AuditError(
        f"no checkpoint that the trust file vouches for covers entry {index}: sign one, and have "
        "it cosigned"
    )
