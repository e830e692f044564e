"""Logs, witnesses and trust files for tests: keys from small numbers, so that runs are alike."""

from __future__ import annotations

from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.note import Note
from herz.commit.audit.signing import Cosigner, LogSigner
from herz.commit.audit.tree import Nodes, leaf_hash, root_of
from herz.ports import Algorithm
from herz.world.signer.keyfile import SoftKey

ORIGIN = "herz.example/log"


def soft_key(number: int, algorithm: Algorithm = "ed25519") -> SoftKey:
    """The key with this number."""
    length = 32 if algorithm == "ed25519" else 48
    return SoftKey(algorithm, number.to_bytes(length, "big"))


def log_signer(number: int = 1, *, origin: str = ORIGIN, has_p384: bool = False) -> LogSigner:
    """A log's signer; its keys have this number."""
    more = [soft_key(number, "ecdsa-p384-sha3-384")] if has_p384 else []
    return LogSigner(origin, [soft_key(number), *more])


def cosigner(number: int = 101) -> Cosigner:
    """A witness; its name and key have this number."""
    return Cosigner(f"witness.example/w{number}", soft_key(number))


class SmallLog:
    """A log of entries that say their number."""

    def __init__(self, size: int, *, fork_at: int | None = None) -> None:
        entries = [b"%d" % at if at != fork_at else b"another" for at in range(size)]
        self.nodes = Nodes(leaf_hash(entry) for entry in entries)
        self.size = size

    def checkpoint(self, size: int | None = None, *, origin: str = ORIGIN) -> Checkpoint:
        """The checkpoint at a size."""
        at = self.size if size is None else size
        return Checkpoint(origin, at, root_of(self.nodes, at))


def cosigned(note: Note, *witnesses: Cosigner, time_s: int = 1_700_000_000) -> Note:
    """The note with the cosignatures of these witnesses."""
    return note.signed(*(each.cosign(note.text, time_s) for each in witnesses))


def trust_text(
    signer: LogSigner, *witnesses: Cosigner, quorum: int | None = None, more: str = ""
) -> str:
    """A trust file for one log."""
    asked = len(witnesses) if quorum is None else quorum
    lines = ['format = "herz-trust/1"', f"quorum = {asked}"]
    for key in signer.keys:
        lines += ["", "[[log]]", f'key = "{key.text}"'.replace("\n", "\\n")]
    for witness in witnesses:
        lines += ["", "[[witness]]", f'key = "{witness.key.text}"']
    return "\n".join([*lines, more, ""])
