"""Signs checkpoints as a log, and cosigns them as a witness, with keys that are kept elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from herz.commit.audit.note import (
    KeyKind,
    Note,
    NoteKey,
    NoteSignature,
    cosignature,
    cosigned_message,
)
from herz.errors import ConfigError
from herz.ports import Signer

_KINDS: Final = MappingProxyType({"ed25519": KeyKind.ED25519, "ecdsa-p384-sha3-384": KeyKind.P384})


class LogSigner:
    """Signs under the log's name with each of its keys.

    Args:
        origin: the log's name; its keys bear it.
        signers: the first is Ed25519, which every C2SP client reads; others add lines.

    Raises:
        ConfigError: there is no Ed25519 key, or the name cannot be one.
    """

    def __init__(self, origin: str, signers: Sequence[Signer]) -> None:
        if not signers or signers[0].algorithm != "ed25519":
            raise ConfigError(
                "a log needs an Ed25519 key",
                where=origin,
                fix="make one: herz audit key create",
            )
        self.origin = origin
        self._signers = tuple(signers)
        self.keys = tuple(log_key(origin, signer) for signer in signers)

    def sign(self, text: bytes) -> Note:
        """The note over this text, with a line of each key.

        Raises:
            WorldError: a key cannot be used now.
        """
        pairs = zip(self.keys, self._signers, strict=True)
        lines = [NoteSignature(key.name, key.key_id, one.sign(text)) for key, one in pairs]
        return Note(text, tuple(lines))


class Cosigner:
    """Cosigns checkpoints as a witness.

    Args:
        name: the witness'.
        signer: Ed25519, used for nothing else: a cosignature does not name the witness.
    """

    def __init__(self, name: str, signer: Signer) -> None:
        if signer.algorithm != "ed25519":
            raise ConfigError(
                "a witness needs an Ed25519 key",
                where=name,
                value=signer.algorithm,
                fix="make one: herz audit key create --witness",
            )
        self.key = NoteKey(name, KeyKind.COSIGNATURE, signer.public)
        self._signer = signer

    def cosign(self, text: bytes, time_s: int) -> NoteSignature:
        """The cosignature of a checkpoint's text at this time, in seconds since 1970.

        Raises:
            WorldError: the key cannot be used now.
        """
        return cosignature(self.key, time_s, self._signer.sign(cosigned_message(text, time_s)))


def log_key(origin: str, signer: Signer) -> NoteKey:
    """The public key of a log's signer, as notes and trust files refer to it."""
    return NoteKey(origin, _KINDS[signer.algorithm], signer.public)
