"""Trust: whose keys count, and from when to when; and whether a checkpoint deserves it.

Trust comes from outside the journal, in a file that its reader keeps (docs/reference/proof.md).
A checkpoint is vouched for when a key of every algorithm that the file lists for its origin and
size has signed it, and as many witnesses as the file's quorum have cosigned it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec

from herz.commit.audit.checkpoint import Checkpoint, largest_first, parse_signed
from herz.commit.audit.note import KeyKind, Note, NoteKey, parse_key
from herz.errors import AuditError, ConfigError
from herz.model.journal import SIZE_MAX
from herz.model.toml_text import parse_toml

FORMAT: Final = "herz-trust/1"
TRUST_BYTES_MAX: Final = 1_000_000
KEYS_MAX: Final = 1_000
"""Bounds of a trust file."""

_Size = Annotated[int, msgspec.Meta(ge=0, le=SIZE_MAX)]


class _LogTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"first": "from"}):
    key: str
    origin: str = ""
    first: _Size = 0
    until: _Size = SIZE_MAX


class _WitnessTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    url: str = ""


class _TrustTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["herz-trust/1"]
    log: tuple[_LogTable, ...]
    quorum: Annotated[int, msgspec.Meta(ge=0, le=KEYS_MAX)] = 0
    witness: tuple[_WitnessTable, ...] = ()


class LogTrust(msgspec.Struct, frozen=True):
    """A key that signs a log's checkpoints.

    Args:
        origin: the log.
        key: the key.
        first: the smallest tree for which it counts.
        until: the smallest tree for which it counts no longer.
    """

    origin: str
    key: NoteKey
    first: int
    until: int


class Witness(msgspec.Struct, frozen=True):
    """Somebody outside who cosigns, and where to ask; the address may be empty."""

    key: NoteKey
    url: str


class Vouched(msgspec.Struct, frozen=True):
    """A checkpoint that deserves trust.

    Args:
        checkpoint: what is vouched for.
        log: the log's keys that signed it.
        witnesses: (name, seconds since 1970) of each witness that cosigned it, latest time of
            each, by name.
    """

    checkpoint: Checkpoint
    log: tuple[NoteKey, ...]
    witnesses: tuple[tuple[str, int], ...]

    @property
    def by(self) -> str:
        """Who, in words."""
        names = ", ".join(f"{name} at {time_s} s" for name, time_s in self.witnesses)
        signed = f"{self.checkpoint.origin} ({len(self.log)} keys)"
        return f"{signed}, cosigned by {names}" if names else f"{signed}, no witness"


class Trust(msgspec.Struct, frozen=True):
    """Whose keys count.

    Args:
        logs: keys of logs.
        witnesses: who may cosign.
        quorum: how many of them must have.
    """

    logs: tuple[LogTrust, ...]
    witnesses: tuple[Witness, ...] = ()
    quorum: int = 0

    def keys_of(self, checkpoint: Checkpoint) -> list[NoteKey]:
        """The log's keys that count for a checkpoint."""
        return [
            each.key
            for each in self.logs
            if each.origin == checkpoint.origin and each.first <= checkpoint.size < each.until
        ]

    def vouched(self, note: bytes) -> Vouched:
        """Check a signed checkpoint.

        Raises:
            AuditError: it does not deserve trust, with the reason.
        """
        checkpoint, parsed = parse_signed(note)
        # First, because most checkpoints are cosigned by nobody, and it costs nothing to see.
        cosigned: dict[str, int] = {}
        for each in parsed.verified(witness.key for witness in self.witnesses):
            cosigned[each.key.name] = max(each.time_s, cosigned.get(each.key.name, 0))
        if len(cosigned) < self.quorum:
            raise AuditError(
                f"checkpoint of {checkpoint.size} entries: cosigned by {len(cosigned)} known "
                f"witnesses, {self.quorum} are asked for"
            )
        log = self.signed(checkpoint, parsed)
        return Vouched(checkpoint, log, tuple(sorted(cosigned.items())))

    def judge(self, note: bytes) -> str:
        """Who vouches for a signed checkpoint, in words.

        Raises:
            AuditError: nobody whom we trust.
        """
        return self.vouched(note).by

    def signed(self, checkpoint: Checkpoint, note: Note) -> tuple[NoteKey, ...]:
        """The log's keys that signed; one of each algorithm that is listed must have.

        Raises:
            AuditError: one has not, or a signature is wrong.
        """
        what = f"checkpoint of {checkpoint.size} entries of {checkpoint.origin!r}"
        keys = self.keys_of(checkpoint)
        if not keys:
            raise AuditError(f"{what}: no key is trusted for that origin and size")
        signed = [each.key for each in note.verified(keys)]
        for kind in KeyKind:
            if any(key.kind is kind for key in keys) and all(k.kind is not kind for k in signed):
                raise AuditError(f"{what}: no trusted key has signed it with {kind.name}")
        return tuple(signed)


class Bracket(msgspec.Struct, frozen=True):
    """When an entry was logged, by the clocks of witnesses; seconds since 1970, 0: not known.

    Args:
        after_s: a checkpoint without it was cosigned then.
        before_s: a checkpoint with it was cosigned then.
    """

    after_s: int
    before_s: int


def bracket(without: Iterable[bytes], having: Iterable[bytes], trust: Trust) -> Bracket:
    """Between which times an entry came into the log.

    Args:
        without: the log's signed checkpoints that do not cover the entry, largest first.
        having: those that do, smallest first.
        trust: whose clocks count.
    """
    after, before = _times(without, trust), _times(having, trust)
    return Bracket(max(after, default=0), min(before, default=0))


def _times(notes: Iterable[bytes], trust: Trust) -> list[int]:
    """When the first checkpoint that is vouched for by a witness was cosigned."""
    names = [witness.key.name.encode() for witness in trust.witnesses]
    for note in notes:
        # There may be one a second, and few are cosigned: those have the witness' name in them.
        if not any(name in note for name in names):
            continue
        try:
            times = [time_s for _, time_s in trust.vouched(note).witnesses]
        except AuditError:
            continue
        if times:
            return times
    return []


class Coverage(msgspec.Struct, frozen=True):
    """What outside memory covers of a log.

    Args:
        size: entries of the log.
        signed: how many of them, from the first, a trusted key has signed for.
        vouched: how many a quorum of witnesses vouches for, too.
        last: the checkpoint that does; None where none does.
        refused: why larger checkpoints than `last` deserve no trust, each reason once.
    """

    size: int
    signed: int
    vouched: int
    last: Vouched | None
    refused: tuple[str, ...]

    @property
    def statement(self) -> str:
        """What no outside memory covers, in words."""
        if self.vouched >= self.size:
            return f"all {self.size} entries are covered by {self._whom}"
        rest = self.size - self.vouched
        what = f"no outside memory covers entries {self.vouched} to {self.size - 1} ({rest})"
        if self.vouched == 0:
            return f"{what}: who has the key can rewrite them unseen"
        return f"{what}; the {self.vouched} before them are covered by {self._whom}"

    @property
    def _whom(self) -> str:
        return "nothing" if self.last is None else self.last.by


def coverage(notes: Sequence[bytes], size: int, trust: Trust) -> Coverage:
    """What outside memory covers, by the log's own history of checkpoints.

    The history is not proof of itself: roots are compared with the tree by `verify`. A trust
    file without a quorum names no outside memory, so that nothing is covered by it.

    Args:
        notes: signed checkpoints, in any order.
        size: entries of the log.
        trust: whose keys count.
    """
    signed, last = 0, None
    refused: dict[str, None] = {}
    for note in largest_first(notes):  # Until one is found that is vouched for.
        try:
            checkpoint, parsed = parse_signed(note)
            if not signed:
                trust.signed(checkpoint, parsed)
                signed = min(checkpoint.size, size)
            if trust.quorum:
                last = trust.vouched(note)
            break
        except AuditError as error:
            refused[str(error)] = None
    covered = 0 if last is None else min(last.checkpoint.size, size)
    return Coverage(size, signed, covered, last, tuple(refused))


def parse_trust(data: bytes, *, where: str = "--trust") -> Trust:
    """Read a trust file.

    Raises:
        ConfigError: it is not one, with the place.
    """
    try:
        if len(data) > TRUST_BYTES_MAX:
            raise ValueError(f"more than {TRUST_BYTES_MAX} bytes")
        table = msgspec.convert(parse_toml(data.decode()), _TrustTable, strict=True)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"not a trust file: {error}",
            where=where,
            fix=f'TOML with format = "{FORMAT}"; see docs/reference/proof.md',
        ) from error
    logs = tuple(_log(each, f"{where} log[{at}]") for at, each in enumerate(table.log))
    witnesses = tuple(
        Witness(_key(each.key, (KeyKind.COSIGNATURE,), f"{where} witness[{at}].key"), each.url)
        for at, each in enumerate(table.witness)
    )
    _check(logs, witnesses, table.quorum, where)
    return Trust(logs, witnesses, table.quorum)


def _log(table: _LogTable, where: str) -> LogTrust:
    key = _key(table.key, (KeyKind.ED25519, KeyKind.P384), f"{where}.key")
    if table.first >= table.until:
        raise ConfigError(
            "a key that never counts", where=f"{where}.until", value=table.until, fix="from < until"
        )
    return LogTrust(table.origin or key.name, key, table.first, table.until)


def _key(text: str, kinds: tuple[KeyKind, ...], where: str) -> NoteKey:
    fix = "copy it from herz audit key show"
    try:
        key = parse_key(text)
    except AuditError as error:
        raise ConfigError(str(error), where=where, fix=fix) from error
    if key.kind not in kinds:
        what = f"a key of the kind {key.kind.name} cannot be trusted for this"
        raise ConfigError(what, where=where, value=text, fix=fix)
    return key


def _check(logs: Sequence[LogTrust], witnesses: Sequence[Witness], quorum: int, where: str) -> None:
    if not logs:
        raise ConfigError("no log is trusted", where=where, fix="add a [[log]] with its key")
    if len(logs) + len(witnesses) > KEYS_MAX:
        raise ConfigError(f"more than {KEYS_MAX} keys", where=where, fix="drop what is past")
    publics = [each.key.public for each in witnesses]
    names = [each.key.name for each in witnesses]
    if len(set(publics)) < len(publics) or len(set(names)) < len(names):
        raise ConfigError(
            "a witness twice", where=f"{where} witness", fix="a witness counts once: one table each"
        )
    if not set(publics).isdisjoint(each.key.public for each in logs):
        raise ConfigError(
            "a log's own key as a witness",
            where=f"{where} witness",
            fix="a witness is somebody else, with a key of its own",
        )
    if quorum > len(witnesses):
        raise ConfigError(
            f"more than the {len(witnesses)} witnesses that are listed",
            where=f"{where} quorum",
            value=quorum,
            fix="list more witnesses, or ask for fewer",
        )
