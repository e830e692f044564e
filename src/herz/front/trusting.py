"""Wires keys, witnesses and trust files to journals, for the commands of `herz audit`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from herz.commit.audit.checkpoint import Checkpoint, parse_checkpoint, parse_signed
from herz.commit.audit.entry import Key, Start, opened
from herz.commit.audit.log import Log
from herz.commit.audit.note import Note, NoteSignature, joined_signatures, parse_note
from herz.commit.audit.rotation import following, key_change
from herz.commit.audit.signing import LogSigner
from herz.commit.audit.tree import (
    HashReader,
    Nodes,
    leaf_hash,
    root_of,
)
from herz.commit.audit.trust import Trust, Witness
from herz.commit.audit.witness import Answer, cosign, sized
from herz.errors import AuditError, ConfigError, HerzError, WorldError
from herz.front.vouched import hashes_of
from herz.ports import Algorithm, Signer
from herz.world.signer.keyfile import (
    Held,
    KeyFile,
    SoftKey,
    create_key_file,
    new_secret,
    open_key_file,
)
from herz.world.signer.secret import passphrase_from
from herz.world.signer.tpm import AUTH_BYTES, HANDLE_DEFAULT, Tpm, TpmKey
from herz.world.store.evidence import Evidence
from herz.world.store.where import Where, reader_of, writer_of

P384: Final[Algorithm] = "ecdsa-p384-sha3-384"

Clock = Callable[[], int]
"""Gives nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a passphrase comes from: a file, or an open file descriptor."""

    file: str | None
    descriptor: int | None

    def read(self) -> bytes:
        """The passphrase.

        Raises:
            ConfigError: there is none.
            WorldError: it cannot be read.
        """
        return passphrase_from(self.file, self.descriptor)


# ---- keys -----------------------------------------------------------------------------------


def create_keys(
    path: Path,
    *,
    name: str,
    use: Literal["log", "witness"],
    secret: Secret,
    tpm: str = "",
    handle: int = HANDLE_DEFAULT,
) -> KeyFile:
    """Make a key file: Ed25519, and for a log a P-384 key in it or in a TPM.

    Raises:
        ConfigError: something is there already, or the TPM's handle is taken.
        WorldError: the disk or the TPM failed.
    """
    if path.exists():
        raise ConfigError(
            "something is there already", where="FILE", value=str(path), fix="name a new file"
        )
    passphrase = secret.read()
    keys = [_new("ed25519")]
    if tpm:
        auth = os.urandom(AUTH_BYTES)
        public = Tpm(tpm).create(handle, auth)
        keys.append((Held(P384, public, tpm, handle), auth))
    elif use == "log":
        keys.append(_new(P384))
    return create_key_file(path, name=name, use=use, keys=tuple(keys), passphrase=passphrase)


def signers_of(file: KeyFile) -> list[Signer]:
    """The signers of a key file, in its order: those in it first, those in a TPM after.

    Raises:
        ConfigError: a TPM holds another key, or cannot be used here.
        WorldError: it cannot be reached.
    """
    found: list[Signer] = [*file.soft_keys()]
    for held, auth in file.tpm_keys():
        found.append(TpmKey(Tpm(held.tpm), held.handle, auth, held.public))
    return found


def log_signer(path: str, secret: Secret) -> LogSigner:
    """The signer of a log's key file.

    Raises:
        ConfigError: it does not open, or is a witness'.
        WorldError: it cannot be read, or a TPM cannot be reached.
    """
    file = open_key_file(Path(path), secret.read(), use="log")
    return LogSigner(file.head.name, signers_of(file))


def _new(algorithm: Algorithm) -> tuple[Held, bytes]:
    secret = new_secret(algorithm)
    return Held(algorithm, SoftKey(algorithm, secret).public), secret


# ---- checkpoints of a journal ---------------------------------------------------------------


def origin_of(reader: Evidence) -> str:
    """The log's name, by its first entry.

    Raises:
        AuditError: the first entry is not the start of a machine.
    """
    for _, entry in reader.read(0, 1):
        content = opened(entry)[1]
        if isinstance(content, Start):
            return content.origin
    raise AuditError("entry 0 is not the start of a machine")


def sign_journal(where: Where, signer: LogSigner) -> Note:
    """Sign a checkpoint over all that a journal holds, and keep it there.

    Raises:
        ConfigError: the key is another log's.
        AuditError: the entries contradict a checkpoint that was signed before.
        WorldError: the signer or the disk failed.
    """
    reader = reader_of(where)
    _check_origin(reader, signer)
    leaves = [leaf_hash(entry.leaf) for _, entry in reader.read()]
    nodes, size = Nodes(leaves), len(leaves)
    for data in reader.notes():
        before = parse_signed(data)[0]
        if before.size > size or root_of(nodes, before.size) != before.root:
            raise AuditError(
                f"the entries are not those of the checkpoint of {before.size} entries that was "
                "signed before: nothing is signed over a changed log"
            )
    reader.make_certain()
    note = signer.sign(Checkpoint(signer.origin, size, root_of(nodes, size)).text)
    reader.keep_note(note.data)
    return note


def succeed(
    where: Where,
    new: KeyFile,
    last: Checkpoint,
    *,
    actor: str,
    reason: str,
    clock: Clock = time.time_ns,
) -> tuple[Note, tuple[Key, ...]]:
    """Enter the first keys of a log that takes the place of one whose key was stolen, and sign.

    Args:
        where: the new log's journal.
        new: its keys.
        last: the other log's last checkpoint that outside memory covers.
        actor: who does it.
        reason: why.
        clock: the time.

    Raises:
        ConfigError: the keys are not the journal's, or it is the same log.
        AuditError: the entries contradict a checkpoint that was signed before.
        WorldError: a key, or the disk, failed.
    """
    start = opened(next(reader_of(where).read())[1])[1]
    assert isinstance(start, Start), "a journal begins so"
    if new.head.name != start.origin or last.origin == start.origin:
        fix = "begin the new journal with new keys of another name: --journal DIR --key NEW"
        what = f"{new.head.name}, for the journal of {start.origin}, after {last.origin}"
        raise ConfigError("a log cannot follow itself, nor sign for another", value=what, fix=fix)
    signers, told = signers_of(new), following(last, reason)
    store = writer_of(where, reader_of(where).leader_term())
    try:
        log = Log(store, os.urandom, start.origin)
        entries = tuple(
            key_change(start.origin, None, one, actor=actor, reason=told, time_ns=clock())
            for one in signers
        )
        for entry in entries:
            log.write(entry)
        log.commit()
    finally:
        store.close()
    return sign_journal(where, LogSigner(start.origin, signers)), entries


def rotate_keys(
    where: Where,
    old: KeyFile,
    new: KeyFile,
    *,
    actor: str,
    reason: str,
    clock: Clock = time.time_ns,
) -> tuple[Note, tuple[Key, ...]]:
    """Enter the change of a log's keys, and sign a checkpoint over it with both.

    Returns:
        The checkpoint: from its size on the new keys sign. And the entries.

    Raises:
        ConfigError: the keys are another log's, or not of the same kinds.
        AuditError: the entries contradict a checkpoint that was signed before.
        WorldError: a key, or the disk, failed.
    """
    before, after = signers_of(old), signers_of(new)
    kinds = [[each.algorithm for each in signers] for signers in (before, after)]
    if old.head.name != new.head.name or kinds[0] != kinds[1]:
        raise ConfigError(
            "the new keys are not of the same log and kinds",
            where="NEW",
            value=f"{new.head.name}: {', '.join(kinds[1])}",
            fix=f"make them for {old.head.name}: {', '.join(kinds[0])}",
        )
    signer = LogSigner(old.head.name, before)
    sign_journal(where, signer)
    store = writer_of(where, reader_of(where).leader_term())
    try:
        log = Log(store, os.urandom, signer.origin)
        entries = tuple(
            key_change(signer.origin, was, now, actor=actor, reason=reason, time_ns=clock())
            for was, now in zip(before, after, strict=True)
        )
        for entry in entries:
            log.write(entry)
        log.commit()
    finally:
        store.close()
    note = sign_journal(where, signer)
    both = joined_signatures(note.text, [note, LogSigner(signer.origin, after).sign(note.text)])
    reader_of(where).keep_note(both.data)
    return both, entries


def latest_note(reader: Evidence) -> Note:
    """The journal's largest checkpoint with all signatures that were kept over it.

    Raises:
        ConfigError: there is none.
    """
    notes = [parse_note(data) for data in reader.notes()]
    if not notes:
        raise ConfigError(
            "no checkpoint is signed",
            where="--journal",
            value=reader.name,
            fix="sign one: herz audit sign",
        )
    largest = max(notes, key=lambda note: parse_checkpoint(note.text).size)
    return joined_signatures(largest.text, [each for each in notes if each.text == largest.text])


def _check_origin(reader: Evidence, signer: LogSigner) -> None:
    origin = origin_of(reader)
    if origin != signer.origin:
        raise ConfigError(
            "the key is another log's",
            where="--key",
            value=signer.origin,
            fix=f"use a key that was made with --name {origin}",
        )


# ---- witnesses ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request to one witness.

    Args:
        name: the witness'.
        line: its cosignature; None where there is none.
        error: why there is none.
    """

    name: str
    line: NoteSignature | None
    error: HerzError | None = None


def cosign_journal(where: Where, trust: Trust) -> tuple[Note, list[Asked]]:
    """Ask every witness that has an address to cosign the largest checkpoint; keep what they give.

    Raises:
        ConfigError: there is no checkpoint, or no witness to ask.
        AuditError: entries and checkpoint contradict each other.
        WorldError: the disk failed.
    """
    reader = reader_of(where)
    note = latest_note(reader)
    checkpoint = parse_checkpoint(note.text)
    witnesses = [each for each in trust.witnesses if each.url]
    if not witnesses:
        raise ConfigError(
            "no witness has an address",
            where="--trust",
            fix='give a [[witness]] its url = "https://…"',
        )
    read = hashes_of(reader, checkpoint.size, checkpoint.root)
    notes = reader.notes()

    async def ask_all() -> list[Asked]:
        return list(
            await asyncio.gather(
                *(ask(each, note, read, sized(notes, each.key)) for each in witnesses)
            )
        )

    asked = asyncio.run(ask_all())
    cosigned = note.signed(*(each.line for each in asked if each.line is not None))
    if cosigned != note:
        reader.keep_note(cosigned.data)
    return cosigned, asked


async def ask(witness: Witness, note: Note, read: HashReader, known: int) -> Asked:
    """Ask one witness to cosign a checkpoint.

    Args:
        witness: it has an address.
        note: the signed checkpoint.
        read: the log's tree.
        known: the size that it cosigned last, as far as we know.
    """
    # Imported here: aiohttp would make every other command slower to start.
    from herz.world.witness.client import Poster  # noqa: PLC0415

    poster = Poster(witness.url)

    async def post(body: bytes) -> Answer:
        return Answer(*await poster.post(body))

    checkpoint = parse_checkpoint(note.text)
    try:
        line = await cosign(note, checkpoint, read, witness.key, post, known=known)
        return Asked(witness.key.name, line)
    except (AuditError, WorldError) as error:
        return Asked(witness.key.name, None, error)
    finally:
        await poster.close()
