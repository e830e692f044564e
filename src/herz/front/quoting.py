"""Quotes as files: what a TPM says of the machine, bound to a checkpoint of a journal."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha3_384
from pathlib import Path
from typing import Final

import msgspec

from herz.commit.audit.checkpoint import largest_first, parse_signed
from herz.commit.audit.quote import Stated, check_quote
from herz.errors import AuditError, ConfigError
from herz.world.signer.keyfile import Held, KeyFile, create_key_file
from herz.world.signer.tpm import AUTH_BYTES, HANDLE_DEFAULT, Tpm
from herz.world.store.where import Where, reader_of

HANDLE: Final = HANDLE_DEFAULT + 1
"""Where the attestation key is, beside the one that signs."""
FORMAT: Final = "herz-quote/1"
POINT_BYTES: Final = 97


class QuoteFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quote as it is handed on. Bytes are Base64.

    Args:
        format: FORMAT.
        checkpoint: the signed checkpoint, whole.
        attest: what the TPM signed (TPMS_ATTEST).
        signature: r and s, 48 bytes each.
        key: the attestation key, an uncompressed point of P-384.
        keeper: what the TPM calls itself; nobody signed it.
    """

    format: str
    checkpoint: str
    attest: str
    signature: str
    key: str
    keeper: str

    @property
    def data(self) -> str:
        """The file."""
        return msgspec.json.format(msgspec.json.encode(self)).decode() + "\n"


def create_quote_key(where: Where, path: Path, tcti: str, handle: int, passphrase: bytes) -> None:
    """Make an attestation key in a TPM, and keep what the TPM asks before it quotes in a file.

    Args:
        where: the journal, whose name the file gets.
        path: the file.
        tcti: how the TPM is reached.
        handle: where the TPM keeps the key.
        passphrase: seals the file.

    Raises:
        ConfigError: the file is there already, or the handle is taken, or there is no checkpoint.
        WorldError: the TPM refused, or the disk did.
    """
    origin = parse_signed(_note(where))[0].origin
    if path.exists():
        fix = "name a new file, or leave --create out"
        raise ConfigError("something is there already", where="--key", value=str(path), fix=fix)
    auth = os.urandom(AUTH_BYTES)
    tpm = Tpm(tcti)
    try:
        public = tpm.create(handle, auth, is_restricted=True)
    finally:
        tpm.close()
    held = Held("ecdsa-p384-sha3-384", public, tcti, handle)
    create_key_file(path, name=origin, use="quote", keys=((held, auth),), passphrase=passphrase)


def make_quote(where: Where, key: KeyFile) -> QuoteFile:
    """Have a TPM quote its PCRs, bound to the journal's last checkpoint.

    Args:
        where: the journal.
        key: of the attestation key.

    Raises:
        ConfigError: there is no journal, or no checkpoint, or the TPM holds another key.
        WorldError: the TPM refused, or cannot be reached.
    """
    note = _note(where)
    ((held, auth),) = key.tpm_keys()
    tpm = Tpm(held.tpm)
    try:
        quote = tpm.quote(held.handle, auth, _extra(note))
    finally:
        tpm.close()
    if quote.public != held.public:
        fix = "name the key file that was made with it"
        raise ConfigError("the TPM holds another key", where="--key", fix=fix)
    return QuoteFile(
        format=FORMAT,
        checkpoint=note.decode(),
        attest=b64encode(quote.attest).decode(),
        signature=b64encode(quote.signature).decode(),
        key=b64encode(quote.public).decode(),
        keeper=quote.keeper,
    )


def _note(where: Where) -> bytes:
    """The journal's last checkpoint, signed."""
    note = next(iter(largest_first(reader_of(where).notes())), None)
    if note is None:
        fix = "sign one first: herz audit sign"
        raise ConfigError("no checkpoint to bind a quote to", where="--journal", fix=fix)
    return note


def read_quote(data: bytes) -> QuoteFile:
    """The quote in a file.

    Raises:
        ConfigError: it is none.
    """
    try:
        found = msgspec.json.decode(data, type=QuoteFile)
    except (ValueError, RecursionError) as error:
        fix = "name a file that herz audit quote wrote"
        raise ConfigError(f"not a quote: {error}", where="FILE", fix=fix) from error
    if found.format != FORMAT:
        fix = f"this release reads {FORMAT}"
        raise ConfigError("not a quote", where="FILE format", value=found.format, fix=fix)
    return found


def checked(quote: QuoteFile, key: str | None) -> Stated:
    """What the TPM stated of the checkpoint in the file.

    Args:
        quote: the file.
        key: the attestation key that must have signed; None: the one in the file.

    Raises:
        AuditError: it is not that key's quote, or is bound to another checkpoint.
        ConfigError: the key is none.
    """
    if key is not None and len(_decoded(key)) != POINT_BYTES:
        fix = "give the Base64 text that herz audit quote printed"
        raise ConfigError("not an attestation key", where="--key", value=key, fix=fix)
    note = quote.checkpoint.encode()
    attest, signature = _decoded(quote.attest), _decoded(quote.signature)
    return check_quote(attest, signature, _decoded(key or quote.key), _extra(note))


def _extra(note: bytes) -> bytes:
    """What a quote of a signed checkpoint is bound to."""
    return sha3_384(parse_signed(note)[0].text).digest()


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError) as error:
        raise AuditError("the quote is not in Base64") from error
