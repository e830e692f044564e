"""Histories of one log, true and rewritten, and what each adversary can do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from herz.commit.audit.checkpoint import Checkpoint, parse_signed
from herz.commit.audit.note import Note
from herz.commit.audit.signing import LogSigner
from herz.commit.audit.tree import Nodes, leaf_hash
from herz.commit.audit.trust import Trust, parse_trust
from herz.commit.audit.verify import Verification, Verified
from herz.commit.audit.witness import Answer, WitnessServer, cosign
from herz.world.store.files import Reader
from tests.support.journal import ORIGIN, Written
from tests.support.objects import make_node, make_pod
from tests.support.trust import cosigned, cosigner, log_signer, trust_text

SIGNER = log_signer(1, origin=ORIGIN, has_p384=True)
WITNESS = cosigner(101)
UNWITNESSED = parse_trust(trust_text(SIGNER).encode())
WITNESSED = parse_trust(trust_text(SIGNER, WITNESS).encode())


def history(
    folder: Path, pods: Sequence[str], *, signer: LogSigner | None = SIGNER, sign_after: int = 2
) -> Path:
    """A journal in which these pods were bound; signed after some of them, and at its end."""

    def notary(checkpoint: Checkpoint) -> bytes:
        assert signer is not None
        return signer.sign(checkpoint.text).data

    written = Written(folder, notary=None if signer is None else notary)
    written.apply(make_node("a"), make_node("b"))
    for number, pod in enumerate(pods, 1):
        written.apply(make_pod(pod))
        written.bound(written.step(after=1))
        if number == sign_after:
            written.log.commit()
            written.log.sign()
    written.close()
    return folder


def last_note(folder: Path) -> Note:
    """The journal's largest checkpoint."""
    notes = [parse_signed(data) for data in Reader(folder).notes()]
    return max(notes, key=lambda each: each[0].size)[1]


def have_cosigned(folder: Path) -> None:
    """The witness cosigns the largest checkpoint, and the journal keeps it."""
    Reader(folder).keep_note(cosigned(last_note(folder), WITNESS).data)


def verified(folder: Path, trust: Trust, *, since: Checkpoint | None = None) -> Verified:
    """What `herz audit verify` comes to."""
    return Verification(Reader(folder), since=since, judge=trust.judge).run()


def is_accepted(found: Verified) -> bool:
    """Whether `herz audit verify --trust` would end with exit code 0."""
    return found.problem is None and found.vouched > 0


def ask(witness: WitnessServer, folder: Path) -> None:
    """Have the largest checkpoint cosigned over the protocol.

    Raises AuditError where the witness knows another history.
    """

    async def post(body: bytes) -> Answer:
        return witness.answer(body, 1_700_000_000)

    note = last_note(folder)
    nodes = Nodes(leaf_hash(entry.leaf) for _, entry in Reader(folder).read())
    checkpoint = parse_signed(note.data)[0]
    asyncio.run(cosign(note, checkpoint, nodes, WITNESS.key, post, known=0))
