"""A witness for the fuzzed servers: it knows one log, and has cosigned its first three entries."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from herz.commit.audit.checkpoint import Checkpoint
from herz.commit.audit.signing import Cosigner, LogSigner
from herz.commit.audit.tree import Nodes, consistency_proof, leaf_hash, root_of
from herz.commit.audit.trust import LogTrust, Trust
from herz.commit.audit.witness import Request, WitnessServer
from herz.model.journal import SIZE_MAX
from herz.world.signer.keyfile import SoftKey
from herz.world.witness.memory import SqliteMemory
from herz.world.witness.server import Witness

ORIGIN: Final = "fuzz.example/log"
KNOWN: Final = 3
"""Entries that it has cosigned before."""
ENTRIES: Final = 7
_SIGNER: Final = LogSigner(ORIGIN, [SoftKey("ed25519", bytes(32))])
_TREE: Final = Nodes(leaf_hash(b"%d" % number) for number in range(ENTRIES))


class Memory(SqliteMemory):
    """The real one without a disk, which can begin anew."""

    def __init__(self) -> None:
        super().__init__(Path(":memory:"))
        self._first = note(KNOWN)
        self.replace(ORIGIN, None, self._first)

    def begin(self) -> None:
        """Forget what came after the first checkpoint."""
        now = self.latest(ORIGIN)
        if now != self._first:
            assert self.replace(ORIGIN, now, self._first)


def runner(memory: SqliteMemory) -> web.AppRunner:
    """The server."""
    logs = Trust(tuple(LogTrust(ORIGIN, key, 0, SIZE_MAX) for key in _SIGNER.keys))
    cosigner = Cosigner("witness.example", SoftKey("ed25519", b"w" * 32))
    server = WitnessServer(cosigner, logs, memory)
    return Witness(server.answer, server.latest).runner()


def note(size: int) -> bytes:
    """The log's signed checkpoint over so many entries."""
    return _SIGNER.sign(Checkpoint(ORIGIN, size, root_of(_TREE, size)).text).data


def request(old: int, size: int) -> bytes:
    """The body that asks to cosign it, with the proof that the log only grew."""
    return Request(old, tuple(consistency_proof(_TREE, old, size)), note(size)).data


def signed_again(body: bytes) -> bytes:
    """The same body, with the log's signature over what its checkpoint says now."""
    head, blank, rest = body.partition(b"\n\n")
    text, _, _ = rest.partition(b"\n\n")
    return head + blank + _SIGNER.sign(text + b"\n").data if blank else body
