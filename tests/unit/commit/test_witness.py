"""A witness' answers by the protocol, and the client that asks it."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from herz.commit.audit.checkpoint import Checkpoint, parse_signed
from herz.commit.audit.note import Note, NoteSignature, parse_note, parse_signatures
from herz.commit.audit.tree import consistency_proof
from herz.commit.audit.trust import parse_trust
from herz.commit.audit.witness import (
    Answer,
    Request,
    WitnessServer,
    cosign,
    parse_request,
    sized,
)
from herz.errors import AuditError, WorldError
from herz.ports import WitnessMemory
from tests.support.trust import ORIGIN, SmallLog, cosigned, cosigner, log_signer, trust_text

SIGNER = log_signer(1)
WITNESS = cosigner(101)
LOG = SmallLog(40)
FORK = SmallLog(40, fork_at=3)
NOW = 1_700_000_000


class Memory(WitnessMemory):
    """In a dict."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}

    def latest(self, origin: str) -> bytes | None:
        return self.notes.get(origin)

    def latest_by_hash(self, origin_hash: str) -> bytes | None:
        found = [o for o in self.notes if hashlib.sha256(o.encode()).hexdigest() == origin_hash]
        return self.notes[found[0]] if found else None

    def replace(self, origin: str, old: bytes | None, new: bytes) -> bool:
        if self.notes.get(origin) != old:
            return False
        self.notes[origin] = new
        return True


def server(memory: Memory | None = None) -> WitnessServer:
    trust = parse_trust(trust_text(SIGNER).encode())
    return WitnessServer(WITNESS, trust, memory if memory is not None else Memory())


def request(size: int, old: int = 0, *, log: SmallLog = LOG, note: Note | None = None) -> bytes:
    signed = note or SIGNER.sign(log.checkpoint(size).text)
    proof = consistency_proof(log.nodes, min(old, size), size)
    return Request(old, tuple(proof), signed.data).data


def test_a_growing_log_is_cosigned_and_remembered() -> None:
    memory = Memory()
    witness = server(memory)
    for old, size in ((0, 5), (5, 5), (5, 12), (12, 40)):
        answer = witness.answer(request(size, old), NOW + size)
        assert (answer.status, answer.media) == (200, "text/plain; charset=utf-8")
        (line,) = parse_signatures(answer.body)
        note = SIGNER.sign(LOG.checkpoint(size).text).signed(line)
        assert [each.time_s for each in note.verified([WITNESS.key])] == [NOW + size]
        kept = parse_note(memory.notes[ORIGIN])
        assert len(kept.verified([WITNESS.key, *SIGNER.keys])) == 2
        latest = witness.latest(hashlib.sha256(ORIGIN.encode()).hexdigest())
        assert latest.body == kept.data
    assert witness.latest("0" * 64).status == 404


def test_a_fork_is_refused_with_422_whatever_proof_comes_with_it() -> None:
    memory = Memory()
    witness = server(memory)
    assert witness.answer(request(12), NOW).status == 200
    before = dict(memory.notes)
    fork = SIGNER.sign(FORK.checkpoint(20).text)
    honest = consistency_proof(LOG.nodes, 12, 20)
    for proof in (honest, consistency_proof(FORK.nodes, 12, 20), [], [b"\x00" * 32] * 5):
        assert witness.answer(Request(12, tuple(proof), fork.data).data, NOW).status == 422
    same_size = SIGNER.sign(FORK.checkpoint(12).text)
    assert witness.answer(Request(12, (), same_size.data).data, NOW).status == 422
    assert memory.notes == before


def test_a_rollback_is_refused_with_the_size_that_it_knows() -> None:
    witness = server()
    witness.answer(request(12), NOW)
    for size, old in ((5, 0), (5, 5), (20, 0), (20, 7), (20, 13)):
        answer = witness.answer(request(size, old), NOW)
        assert answer == Answer(409, b"12\n", "text/x.tlog.size")


def test_each_refusal_has_the_status_of_the_protocol() -> None:
    witness = server()
    good = SIGNER.sign(LOG.checkpoint(5).text)
    foreign = log_signer(1, origin="other.example").sign(
        LOG.checkpoint(5, origin="other.example").text
    )
    unsigned = log_signer(2).sign(good.text)
    key = SIGNER.keys[0]
    forged = Note(good.text, (NoteSignature(key.name, key.key_id, b"\x01" * 64),))
    beside = good.signed(*forged.signatures)
    for note, status in ((foreign, 404), (unsigned, 403), (forged, 403), (beside, 403)):
        assert witness.answer(request(5, note=note), NOW).status == status
    assert witness.answer(request(5, 6), NOW).status == 400
    proof = Request(0, (b"\x00" * 32,), good.data).data
    assert witness.answer(proof, NOW).status == 422


GOOD = request(5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"old 0\n",
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old"),
        GOOD.replace(b"old 0", b"new 0"),
        GOOD.replace(b"old 0\n", b"old 0\n!\n"),
        GOOD.replace(b"old 0\n", b"old 0\n\xff\n"),
        GOOD.replace(b"old 0\n", b"old 0\n" + b"AAAA\n" * 64),
        GOOD[:-1],
        GOOD + b"x" * 65_536,
        GOOD.replace(b"\n5\n", b"\n05\n"),
    ],
)
def test_a_request_that_is_malformed_is_refused_with_400(data: bytes) -> None:
    memory = Memory()
    assert server(memory).answer(data, NOW).status == 400
    assert memory.notes == {}


def test_a_request_is_read_as_it_was_written() -> None:
    assert parse_request(GOOD).data == GOOD
    longer = request(40, 7)
    assert parse_request(longer).data == longer


def test_of_two_that_race_one_is_told_the_new_size() -> None:
    class Overtaken(Memory):
        def replace(self, origin: str, old: bytes | None, new: bytes) -> bool:
            longer = cosigned(SIGNER.sign(LOG.checkpoint(30).text), WITNESS)
            self.notes[origin] = longer.data
            return super().replace(origin, old, new)

    memory = Overtaken()
    answer = server(memory).answer(request(5), NOW)
    assert (answer.status, answer.body) == (409, b"30\n")
    assert parse_signed(memory.notes[ORIGIN])[0].size == 30


# ---- the client -----------------------------------------------------------------------------


class Asked:
    """A witness that is asked without a network, and counts."""

    def __init__(self, witness: WitnessServer) -> None:
        self.witness = witness
        self.count = 0

    async def __call__(self, body: bytes) -> Answer:
        self.count += 1
        return self.witness.answer(body, NOW)


def ask(post: object, size: int, *, log: SmallLog = LOG, known: int = 0) -> NoteSignature:
    note = SIGNER.sign(log.checkpoint(size).text)
    checkpoint = log.checkpoint(size)
    found = cosign(note, checkpoint, log.nodes, WITNESS.key, post, known=known)  # type: ignore[arg-type]
    return asyncio.run(found)


def test_the_client_learns_the_size_that_the_witness_knows() -> None:
    post = Asked(server())
    assert ask(post, 12).name == WITNESS.key.name
    assert (ask(post, 20, known=12).name, post.count) == (WITNESS.key.name, 2)
    assert (ask(post, 40, known=12).name, post.count) == (WITNESS.key.name, 4)


def test_the_client_tells_a_fork_and_a_rollback() -> None:
    post = Asked(server())
    ask(post, 12)
    with pytest.raises(AuditError, match="another history"):
        ask(post, 20, log=FORK)
    with pytest.raises(AuditError, match="tree of 12 entries; ours has 5"):
        ask(post, 5)


@pytest.mark.parametrize(
    ("answer", "error", "what"),
    [
        (Answer(404, b"unknown log\n"), WorldError, "refused with 404: unknown log"),
        (Answer(500, b"\xff"), WorldError, "refused with 500"),
        (Answer(409, b"many\n"), AuditError, "without a size"),
        (Answer(409, b"0\n"), WorldError, "refused with 409"),
        (Answer(200, b""), AuditError, "signature lines"),
        (Answer(200, "— other AAAAAAA=\n".encode()), AuditError, "without its own"),
    ],
)
def test_the_client_refuses_what_it_does_not_understand(
    answer: Answer, error: type[Exception], what: str
) -> None:
    async def post(body: bytes) -> Answer:
        return answer

    with pytest.raises(error, match=what):
        ask(post, 5)


def test_the_client_checks_the_cosignature() -> None:
    async def post(body: bytes) -> Answer:
        return Answer(200, cosigner(101).cosign(b"another text\n", NOW).line)

    with pytest.raises(AuditError, match="does not verify"):
        ask(post, 5)


def test_what_a_witness_cosigned_last_is_known_from_the_history() -> None:
    notes = [cosigned(SIGNER.sign(LOG.checkpoint(at).text), WITNESS).data for at in (5, 12)]
    notes.append(SIGNER.sign(LOG.checkpoint(20).text).data)
    assert sized(notes, WITNESS.key) == 12
    assert sized([], WITNESS.key) == 0


def test_a_checkpoint_of_no_entries_is_cosigned_once_it_is_that_of_the_empty_tree() -> None:
    empty = SIGNER.sign(LOG.checkpoint(0).text)
    witness = server()
    assert witness.answer(Request(0, (), empty.data).data, NOW).status == 200
    assert witness.answer(request(5, 0), NOW).status == 200
    assert Checkpoint(ORIGIN, 0, LOG.checkpoint(0).root).size == 0
