"""Checks a quote: what a TPM says of its PCRs, bound to a checkpoint.

Says nothing of who made the attestation key: that is for the key's certificate, which Herz does
not check.

Source: TCG TPM 2.0 Library, part 2 section 10.12 (TPMS_ATTEST).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA384

from herz.errors import AuditError

_MAGIC: Final = 0xFF544347
_QUOTE: Final = 0x8018
_SHA256: Final = 0x000B


@dataclass(frozen=True, slots=True)
class Stated:
    """What a TPM stated.

    Args:
        pcrs: whose values are in `digest`.
        digest: over those values, by the key's hash.
        resets: how often the machine was reset, and resumed, in the TPM's life.
        firmware: the TPM's own version.
    """

    pcrs: tuple[int, ...]
    digest: bytes
    resets: tuple[int, int]
    firmware: int


def check_quote(attest: bytes, signature: bytes, public: bytes, extra: bytes) -> Stated:
    """Check a quote by an attestation key.

    Args:
        attest: the TPMS_ATTEST.
        signature: r and s, 48 bytes each, over its SHA-384.
        public: the attestation key, an uncompressed point of P-384.
        extra: what it must be bound to: the SHA3-384 digest of a checkpoint's text.

    Raises:
        AuditError: it is not this key's quote, or of something else.
    """
    try:
        r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), public)
        key.verify(utils.encode_dss_signature(r, s), attest, ec.ECDSA(SHA384()))
    except (InvalidSignature, ValueError) as error:
        raise AuditError("the quote's signature does not verify") from error
    try:
        magic, kind = struct.unpack_from(">IH", attest)
        _signer, at = _sized(attest, 6)
        bound, at = _sized(attest, at)
        _clock, reset, restart, _safe, firmware, selections = struct.unpack_from(
            ">QIIBQI", attest, at
        )
        hash_, length = struct.unpack_from(">HB", attest, at + 29)
        mask = int.from_bytes(attest[at + 32 : at + 32 + length], "little")
        digest, end = _sized(attest, at + 32 + length)
    except struct.error as error:
        raise AuditError("the quote is cut off") from error
    if (magic, kind, selections, hash_) != (_MAGIC, _QUOTE, 1, _SHA256) or end != len(attest):
        raise AuditError("not a quote over SHA-256 PCRs")
    if bound != extra:
        raise AuditError("the quote is bound to another checkpoint")
    pcrs = tuple(index for index in range(mask.bit_length()) if mask >> index & 1)
    return Stated(pcrs, digest, (reset, restart), firmware)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    """A buffer with its length before it, and where it ends."""
    (length,) = struct.unpack_from(">H", data, at)
    end = at + 2 + length
    if end > len(data):
        raise struct.error
    return data[at + 2 : end], end
