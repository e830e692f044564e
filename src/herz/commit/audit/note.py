"""Signed notes (C2SP signed-note): text, and lines that say who signed it.

Three kinds of signature are understood: Ed25519 (0x01), the timestamped cosignature of a
checkpoint (0x04), and Herz' own ECDSA P-384 over SHA3-384 (0xff and a name; see
docs/reference/proof.md). Others are carried along and never counted.

Nothing here holds a private key; who signs gives the raw signature.

Source: c2sp.org/signed-note, c2sp.org/tlog-cosignature; RFC 8032; SEC 1 section 2.3.3.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from herz._native import is_ed25519, sha256
from herz.errors import AuditError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

NOTE_BYTES_MAX: Final = 1_000_000
SIGNATURES_MAX: Final = 100
NAME_CHARACTERS_MAX: Final = 255
"""Bounds of a note that is read."""

TIMESTAMP_MAX: Final = 2**63 - 1
_TIMESTAMP_BYTES: Final = 8
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH: Final = "\u2014 "


class KeyKind(Enum):
    """What a key signs, and how; the value is its type as a verifier key has it."""

    ED25519 = b"\x01"
    COSIGNATURE = b"\x04"
    P384 = b"\xffherz.dev/ecdsa-p384-sha3-384/v1\n"

    @property
    def public_bytes(self) -> int:
        """Length of the public key: 32 bytes, or an uncompressed point of P-384."""
        return 97 if self is KeyKind.P384 else 32

    @property
    def signature_bytes(self) -> int:
        """Length of a signature, after the key's id."""
        return {KeyKind.ED25519: 64, KeyKind.COSIGNATURE: 72, KeyKind.P384: 96}[self]


class NoteKey(msgspec.Struct, frozen=True):
    """A public key under the name by which notes refer to it.

    Args:
        name: the signer's; for a log its origin, as a rule.
        kind: what it signs.
        public: 32 bytes of Ed25519, or 97 of a P-384 point.

    Raises:
        AuditError: it cannot be such a key.
    """

    name: str
    kind: KeyKind
    public: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise AuditError(f"not a key name: {self.name!r}")
        if len(self.public) != self.kind.public_bytes:
            raise AuditError(
                f"a public key of {self.name} has {len(self.public)} bytes, "
                f"not {self.kind.public_bytes}"
            )
        if self.kind is KeyKind.P384:
            try:
                _point(self)
            except ValueError as error:
                raise AuditError(f"not a public key of {self.name}: {error}") from error

    @property
    def key_id(self) -> bytes:
        """The four bytes that a signature line has before the signature; no strong hash."""
        return sha256(self.name.encode() + b"\n" + self.kind.value + self.public)[:4]

    @property
    def text(self) -> str:
        """The key as one line of text, a C2SP verifier key."""
        material = to_base64(self.kind.value + self.public)
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verify(self, text: bytes, signature: bytes) -> int:
        """Check a signature over a note's text.

        Args:
            text: the note's text with its last newline.
            signature: what stands after the key's id.

        Returns:
            The time in seconds since 1970 at which a cosignature was given; 0 for other kinds.

        Raises:
            AuditError: it is not this key's signature over this text.
        """
        is_whole = len(signature) == self.kind.signature_bytes
        time_s = _verified(self, text, signature) if is_whole else None
        if time_s is None:
            raise AuditError(f"the signature of {self.text} does not verify")
        return time_s


def parse_key(text: str) -> NoteKey:
    """The key of a verifier key's text.

    Raises:
        AuditError: it is none, its id is not that of the key, or its kind is not understood.
    """
    name, plus, rest = text.partition("+")
    key_id, second, material = rest.partition("+")
    if not plus or not second or re.fullmatch(r"[0-9a-f]{8}", key_id, re.ASCII) is None:
        raise AuditError(f"not a verifier key (name+id+key): {text[:120]!r}")
    data = from_base64(material)
    for kind in KeyKind:
        if data.startswith(kind.value) and len(data) == len(kind.value) + kind.public_bytes:
            key = NoteKey(name, kind, data[len(kind.value) :])
            if key.key_id.hex() != key_id:
                raise AuditError(f"the id {key_id} is not that of the key of {name}")
            return key
    raise AuditError(f"the key of {name} is of a kind that is not understood")


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line: whose, and the bytes after the key's id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> bytes:
        """The line with its newline."""
        blob = to_base64(self.key_id + self.signature)
        return f"{_DASH}{self.name} {blob}\n".encode()


class Verified(msgspec.Struct, frozen=True):
    """A signature that was checked: by which key, and when if it says so (else 0)."""

    key: NoteKey
    time_s: int


class Note(msgspec.Struct, frozen=True):
    """A text and who signed it.

    Args:
        text: ends in a newline; the blank line after it is not part of it.
        signatures: at least one where the note is to be read again.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...] = ()

    @property
    def data(self) -> bytes:
        """The note as bytes."""
        return self.text + b"\n" + b"".join(each.line for each in self.signatures)

    def signed(self, *more: NoteSignature) -> Note:
        """The note with more signatures; a line that is there already is not added again."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *more))))

    def verified(self, keys: Iterable[NoteKey]) -> list[Verified]:
        """The signatures of known keys, each checked; those of others are left out.

        Args:
            keys: whom we know.

        Raises:
            AuditError: a known key's signature does not verify: the note is refused whole.
        """
        known = {(key.name, key.key_id): key for key in keys}
        found = []
        for each in self.signatures:
            key = known.get((each.name, each.key_id))
            if key is not None:
                found.append(Verified(key, key.verify(self.text, each.signature)))
        return found


def parse_note(data: bytes) -> Note:
    """Read a note; strict, and checks no signature.

    Raises:
        AuditError: it is none.
    """
    if len(data) > NOTE_BYTES_MAX:
        raise AuditError(f"a note of {len(data)} bytes; at most {NOTE_BYTES_MAX}")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise AuditError(f"a note is UTF-8: {error}") from error
    if _CONTROL.search(whole):
        raise AuditError("a note has no control character but the newline")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise AuditError("a note is text, a blank line, and lines of signatures")
    return Note(text.encode() + b"\n", parse_signatures(lines.encode()))


def parse_signatures(data: bytes) -> tuple[NoteSignature, ...]:
    """Read lines of signatures, as a note ends in and a witness answers with.

    Raises:
        AuditError: one is none; there is none; or there are too many.
    """
    try:
        lines = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise AuditError(f"a signature line is UTF-8: {error}") from error
    if not data.endswith(b"\n") or len(lines) > SIGNATURES_MAX:
        raise AuditError(f"from 1 to {SIGNATURES_MAX} signature lines, each with its newline")
    return tuple(_signature(line) for line in lines)


def _signature(line: str) -> NoteSignature:
    name, _, blob = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_key_name(name):
        raise AuditError(f"not a signature line: {line[:120]!r}")
    data = from_base64(blob)
    if len(data) < 5:
        raise AuditError(f"the signature of {name} is too short")
    return NoteSignature(name, data[:4], data[4:])


def is_key_name(name: str) -> bool:
    """Whether it can name a key: no space, no plus, no control character, not empty."""
    is_plain = not any(c.isspace() or c == "+" for c in name) and not _CONTROL.search(name)
    return is_plain and 0 < len(name) <= NAME_CHARACTERS_MAX


def from_base64(text: str) -> bytes:
    """The bytes of standard Base 64 with padding, in its one canonical spelling.

    Raises:
        AuditError: it is spelled otherwise.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise AuditError(f"not Base 64: {text[:120]!r}") from error
    if to_base64(data) != text:
        raise AuditError(f"not canonical Base 64: {text[:120]!r}")
    return data


def to_base64(data: bytes) -> str:
    """The bytes in standard Base 64 with padding."""
    return binascii.b2a_base64(data, newline=False).decode()


def joined_signatures(text: bytes, notes: Sequence[Note]) -> Note:
    """One note with the signatures of several over the same text.

    Raises:
        AuditError: one is over another text.
    """
    if any(note.text != text for note in notes):
        raise AuditError("signatures over different texts cannot be joined")
    return Note(text).signed(*(each for note in notes for each in note.signatures))


# ---- cosignatures ---------------------------------------------------------------------------


def cosigned_message(text: bytes, time_s: int) -> bytes:
    """What a cosignature of kind 0x04 signs.

    Args:
        text: the checkpoint's text.
        time_s: seconds since 1970.
    """
    assert 0 <= time_s <= TIMESTAMP_MAX
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def cosignature(key: NoteKey, time_s: int, raw: bytes) -> NoteSignature:
    """The signature line of a cosignature.

    Args:
        key: the witness', of kind COSIGNATURE.
        time_s: seconds since 1970.
        raw: Ed25519 over `cosigned_message`.
    """
    assert key.kind is KeyKind.COSIGNATURE
    stamped = time_s.to_bytes(_TIMESTAMP_BYTES, "big") + raw
    return NoteSignature(key.name, key.key_id, stamped)


# ---- the primitives -------------------------------------------------------------------------


def _point(key: NoteKey) -> ec.EllipticCurvePublicKey:
    # Imported here: a log without such a key does not wait for the curves.
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    if key.public[:1] != b"\x04":
        raise ValueError("the point must be uncompressed")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), key.public)


def _is_p384(key: NoteKey, text: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA3_384  # noqa: PLC0415

    r, s = (int.from_bytes(signature[at : at + 48], "big") for at in (0, 48))
    try:
        _point(key).verify(utils.encode_dss_signature(r, s), text, ec.ECDSA(SHA3_384()))
    except InvalidSignature:
        return False
    return True


def _verified(key: NoteKey, text: bytes, signature: bytes) -> int | None:
    """The time of a cosignature that holds, 0 for others that do, None for what does not."""
    if key.kind is KeyKind.P384:
        return 0 if _is_p384(key, text, signature) else None
    if key.kind is KeyKind.ED25519:
        return 0 if is_ed25519(key.public, text, signature) else None
    time_s = int.from_bytes(signature[:_TIMESTAMP_BYTES], "big")
    if not 0 < time_s <= TIMESTAMP_MAX:
        return None
    message = cosigned_message(text, time_s)
    return time_s if is_ed25519(key.public, message, signature[_TIMESTAMP_BYTES:]) else None
