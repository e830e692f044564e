"""A witness: cosigns what only grows, and refuses forks and rollbacks (C2SP tlog-witness).

`answer` takes the body of an `add-checkpoint` request and gives the HTTP answer; `cosign` is the
client's side. Neither has a socket or a clock.

Source: c2sp.org/tlog-witness.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from herz.commit.audit.checkpoint import SIZE, Checkpoint, largest_first, parse_signed
from herz.commit.audit.note import (
    Note,
    NoteKey,
    NoteSignature,
    from_base64,
    parse_signatures,
    to_base64,
)
from herz.commit.audit.signing import Cosigner
from herz.commit.audit.tree import (
    EMPTY_ROOT,
    PROOF_HASHES_MAX,
    HashReader,
    check_consistency,
    consistency_proof,
)
from herz.commit.audit.trust import Trust
from herz.errors import AuditError, WorldError
from herz.ports import WitnessMemory

REQUEST_BYTES_MAX: Final = 65_536
ANSWER_BYTES_MAX: Final = 65_536
"""Bounds of what is read from the other side."""

SIZE_TYPE: Final = "text/x.tlog.size"
_PLAIN: Final = "text/plain; charset=utf-8"
_TRIES_MAX: Final = 3
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, body, and its media type."""

    status: int
    body: bytes
    media: str = _PLAIN


@dataclass(frozen=True, slots=True)
class Request:
    """The body of `add-checkpoint`.

    Args:
        old: the size that the proof begins with.
        proof: consistency of the checkpoint's tree with the old one.
        note: the signed checkpoint.
    """

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    @property
    def data(self) -> bytes:
        """The body's bytes."""
        lines = [f"old {self.old}", *map(to_base64, self.proof), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note


def parse_request(data: bytes) -> Request:
    """Read the body of `add-checkpoint`; strict.

    Raises:
        AuditError: it is none.
    """
    if len(data) > REQUEST_BYTES_MAX:
        raise AuditError(f"more than {REQUEST_BYTES_MAX} bytes")
    head, blank, note = data.partition(b"\n\n")
    try:
        old, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise AuditError("the lines before the checkpoint are ASCII") from error
    match = _OLD.fullmatch(old)
    if not blank or match is None:
        raise AuditError("the first line is 'old' and a size, and a blank line ends the proof")
    if len(proof) > PROOF_HASHES_MAX:
        raise AuditError(f"more than {PROOF_HASHES_MAX} hashes")
    return Request(int(match[1]), tuple(from_base64(line) for line in proof), note)


class WitnessServer:
    """Cosigns checkpoints of the logs that it knows.

    Args:
        cosigner: its name and key.
        logs: whose checkpoints it cosigns, with their keys; quorum and witnesses do not matter.
        memory: the last checkpoint of each log that it cosigned; outlives the process.
    """

    def __init__(self, cosigner: Cosigner, logs: Trust, memory: WitnessMemory) -> None:
        self._cosigner = cosigner
        self._logs = logs
        self._memory = memory

    def answer(self, body: bytes, now_s: int) -> Answer:
        """Answer an `add-checkpoint` request.

        Args:
            body: the request's.
            now_s: seconds since 1970, for the cosignature.

        Raises:
            WorldError: the memory or the key failed; nothing was cosigned.
        """
        try:
            request = parse_request(body)
            checkpoint, note = parse_signed(request.note)
        except AuditError as error:
            return _refused(400, str(error))
        if all(each.origin != checkpoint.origin for each in self._logs.logs):
            return _refused(404, f"unknown log {checkpoint.origin!r}")
        try:
            self._logs.signed(checkpoint, note)
        except AuditError as error:
            return _refused(403, str(error))
        if request.old > checkpoint.size:
            return _refused(400, f"old size {request.old} is beyond the checkpoint's")
        return self._decide(request, checkpoint, note, now_s)

    def latest(self, origin_hash: str) -> Answer:
        """The last cosigned checkpoint of a log, by the SHA-256 of its origin, hex."""
        note = self._memory.latest_by_hash(origin_hash)
        return _refused(404, "no checkpoint") if note is None else Answer(200, note)

    def _decide(self, request: Request, checkpoint: Checkpoint, note: Note, now_s: int) -> Answer:
        """Compare with what was cosigned last, remember, and only then cosign."""
        known = self._memory.latest(checkpoint.origin)
        last = None if known is None else parse_signed(known)[0]
        size, root = (0, EMPTY_ROOT) if last is None else (last.size, last.root)
        if request.old != size:
            return Answer(409, f"{size}\n".encode(), SIZE_TYPE)
        try:
            check_consistency(size, checkpoint.size, request.proof, root, checkpoint.root)
        except AuditError as error:
            return _refused(422, str(error))
        line = self._cosigner.cosign(note.text, now_s)
        own = (each for each in note.signatures if self._is_known(checkpoint, each))
        kept = Note(note.text, (*own, line)).data
        if not self._memory.replace(checkpoint.origin, known, kept):
            # Somebody else was faster: the size that was compared is no longer the last one.
            now = self._memory.latest(checkpoint.origin)
            now_size = 0 if now is None else parse_signed(now)[0].size
            return Answer(409, f"{now_size}\n".encode(), SIZE_TYPE)
        return Answer(200, line.line)

    def _is_known(self, checkpoint: Checkpoint, line: NoteSignature) -> bool:
        keys = self._logs.keys_of(checkpoint)
        return any((key.name, key.key_id) == (line.name, line.key_id) for key in keys)


def _refused(status: int, why: str) -> Answer:
    return Answer(status, why.encode(errors="replace") + b"\n")


# ---- the client -----------------------------------------------------------------------------

Post = Callable[[bytes], Awaitable[Answer]]
"""Sends the body of `add-checkpoint` to one witness.

Raises WorldError where there is no answer.
"""


async def cosign(
    note: Note, checkpoint: Checkpoint, read: HashReader, key: NoteKey, post: Post, *, known: int
) -> NoteSignature:
    """Ask one witness to cosign a checkpoint.

    Args:
        note: the signed checkpoint.
        checkpoint: the same, read.
        read: the log's tree, for the proof.
        key: the witness' key.
        post: sends a request to it.
        known: the size that it cosigned last, as far as we know.

    Returns:
        Its cosignature, checked.

    Raises:
        AuditError: it has cosigned another history of this log, or answers with something else
            than its cosignature.
        WorldError: it cannot be reached, or does not know the log or its key.
    """
    text, old = Note(note.text, note.signatures[:_LINES_SENT]), min(known, checkpoint.size)
    for _ in range(_TRIES_MAX):
        proof = consistency_proof(read, old, checkpoint.size)
        answer = await post(Request(old, tuple(proof), text.data).data)
        if answer.status == 200:
            return _cosignature(answer.body, note, key)
        if answer.status != 409:
            break
        size = answer.body.decode("ascii", "replace").removesuffix("\n")
        if SIZE.fullmatch(size) is None:
            raise AuditError(f"{key.name} answered 409 without a size")
        if int(size) > checkpoint.size:
            raise AuditError(
                f"{key.name} has cosigned a tree of {size} entries; ours has {checkpoint.size}: "
                "a newer checkpoint is there, or entries were removed"
            )
        old = int(size)
    said = answer.body[:200].decode("utf-8", "replace").strip()
    what = f"{key.name} refused with {answer.status}: {said}"
    if answer.status == 422:
        raise AuditError(f"{what}; it has cosigned another history of this log")
    raise WorldError(what, is_retryable=answer.status == 409 or answer.status >= 500)


_LINES_SENT: Final = 16
"""Signatures that are sent along: what every reader of notes must take."""


def _cosignature(body: bytes, note: Note, key: NoteKey) -> NoteSignature:
    for line in parse_signatures(body):
        if (line.name, line.key_id) == (key.name, key.key_id):
            key.verify(note.text, line.signature)
            return line
    raise AuditError(f"{key.name} answered without its own cosignature")


def sized(notes: Sequence[bytes], key: NoteKey) -> int:
    """The largest size that a witness has cosigned among these checkpoints; 0 where none."""
    for data in largest_first(notes):  # Until one is found.
        checkpoint, note = parse_signed(data)
        if note.verified([key]):
            return checkpoint.size
    return 0
