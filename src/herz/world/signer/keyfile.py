"""Keys in an encrypted file: Ed25519, and P-384 where no TPM holds it.

The file is JSON. Its secrets are sealed with ChaCha20-Poly1305 under a key that scrypt makes of
the passphrase; all other fields are authenticated with them, so that nobody without the
passphrase can change a name, a use or a public key.

Source: RFC 7914 (scrypt), RFC 8439; docs/reference/proof.md has the fields.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA3_384
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from herz.errors import ConfigError, WorldError
from herz.ports import Algorithm, Signer
from herz.world.signer.secret import read_secret, write_secret

FORMAT: Final = "herz-keys/1"
SCRYPT_N: Final = 2**16
SCRYPT_N_MAX: Final = 2**20
"""Work of scrypt with r = 8, p = 2: 64 MiB; and the most that a file may ask of a reader."""

_OPTION: Final = "--key"
_P384_BYTES: Final = 48


Use = Literal["log", "witness", "quote"]
"""What the keys of a file may sign."""


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of the file as everybody may see it.

    Args:
        algorithm: how it signs.
        public: its public half.
        tpm: how the TPM that holds it is reached (a TCTI string); empty: it is in this file.
        handle: the TPM's persistent handle.
    """

    algorithm: Algorithm
    public: bytes
    tpm: str = ""
    handle: int = 0


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is authenticated, but not secret.

    Args:
        format: `herz-keys/1`.
        keys: the keys; a log's first is Ed25519.
        n: scrypt's work; r is 8, p is 2.
        name: the log's origin, the witness' name, or the quoted log's origin.
        nonce: of ChaCha20-Poly1305, 12 bytes.
        salt: of scrypt, 32 bytes.
        use: what the keys may sign.
    """

    format: Literal["herz-keys/1"]
    keys: tuple[Held, ...]
    n: Annotated[int, msgspec.Meta(ge=2, le=SCRYPT_N_MAX)]
    name: str
    nonce: Annotated[bytes, msgspec.Meta(min_length=12, max_length=12)]
    salt: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    use: Use


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    head: Head
    sealed: bytes


class SoftKey(Signer):
    """A private key in this process' memory."""

    def __init__(self, algorithm: Algorithm, secret: bytes) -> None:
        """Take a key by its secret: a seed of 32 bytes, or a scalar of 48."""
        self._algorithm: Algorithm = algorithm
        self._private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "ed25519":
            self._private = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
            self._public = self._private.public_key().public_bytes_raw()
        else:
            number = int.from_bytes(secret, "big")
            self._private = ec.derive_private_key(number, ec.SECP384R1())
            self._public = self._private.public_key().public_bytes(
                Encoding.X962, PublicFormat.UncompressedPoint
            )

    @property
    def algorithm(self) -> Algorithm:
        return self._algorithm

    @property
    def public(self) -> bytes:
        return self._public

    @property
    def keeper(self) -> str:
        return "key file"

    def sign(self, message: bytes) -> bytes:
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        return raw_signature(self._private.sign(message, ec.ECDSA(SHA3_384())))


class KeyFile:
    """An opened key file.

    Args:
        head: what everybody may see.
        secrets: of the keys in order; for a key in a TPM, what it asks before it signs.
    """

    def __init__(self, head: Head, secrets: tuple[bytes, ...]) -> None:
        self.head = head
        self._secrets = secrets

    def soft_keys(self) -> list[SoftKey]:
        """The signers of the keys that are in the file."""
        pairs = zip(self.head.keys, self._secrets, strict=True)
        return [SoftKey(held.algorithm, secret) for held, secret in pairs if not held.tpm]

    def tpm_keys(self) -> list[tuple[Held, bytes]]:
        """The keys that are in a TPM, each with its authorisation value."""
        pairs = zip(self.head.keys, self._secrets, strict=True)
        return [(held, secret) for held, secret in pairs if held.tpm]


def new_secret(algorithm: Algorithm) -> bytes:
    """The secret of a new key, from the system's randomness."""
    if algorithm == "ed25519":
        return ed25519.Ed25519PrivateKey.generate().private_bytes_raw()
    number = ec.generate_private_key(ec.SECP384R1()).private_numbers().private_value
    return number.to_bytes(_P384_BYTES, "big")


def create_key_file(
    path: Path,
    *,
    name: str,
    use: Use,
    keys: tuple[tuple[Held, bytes], ...],
    passphrase: bytes,
) -> KeyFile:
    """Seal keys in a new file of mode 0600.

    Args:
        path: the file; it must not exist.
        name: the log's origin, or the witness' name.
        use: what they may sign.
        keys: each with its secret.
        passphrase: what opens it again.

    Raises:
        ConfigError: something is there already.
        WorldError: it cannot be written.
    """
    held = tuple(each for each, _ in keys)
    head = Head(FORMAT, held, SCRYPT_N, name, os.urandom(12), os.urandom(32), use)
    secrets = tuple(secret for _, secret in keys)
    sealed = _cipher(head, passphrase).encrypt(
        head.nonce, msgspec.json.encode(secrets), msgspec.json.encode(head)
    )
    data = msgspec.json.format(msgspec.json.encode(_File(head, sealed)), indent=2) + b"\n"
    write_secret(path, data, option=_OPTION)
    return KeyFile(head, secrets)


def read_head(path: Path) -> Head:
    """What everybody may see of a key file; nothing of it is authenticated."""
    return _read(path).head


def open_key_file(path: Path, passphrase: bytes, *, use: Use | None = None) -> KeyFile:
    """Open a key file.

    Args:
        path: the file.
        passphrase: what it was sealed with.
        use: what its keys are wanted for; None where the file is only made again.

    Raises:
        ConfigError: the passphrase is another one, the file was changed, or it is for another
            use.
        WorldError: it cannot be read.
    """
    file = _read(path)
    head = file.head
    if use not in (None, head.use):
        raise ConfigError(
            f"its keys are for a {head.use}, not for a {use}",
            where=_OPTION,
            value=str(path),
            fix="a key signs one kind of thing: make another with herz audit key create",
        )
    try:
        opened = _cipher(head, passphrase).decrypt(
            head.nonce, file.sealed, msgspec.json.encode(head)
        )
    except InvalidTag:
        raise ConfigError(
            "the passphrase does not open it, or it was changed",
            where=_OPTION,
            value=str(path),
            fix="give the passphrase that it was made with, or restore the file",
        ) from None
    found = KeyFile(head, msgspec.json.decode(opened, type=tuple[bytes, ...]))
    soft = [held for held in head.keys if not held.tpm]
    for held, key in zip(soft, found.soft_keys(), strict=True):
        if held.public != key.public:
            raise ConfigError("a public key is not its secret's", where=_OPTION, value=str(path))
    return found


def raw_signature(der: bytes) -> bytes:
    """An ECDSA signature as r and s of fixed length."""
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(_P384_BYTES, "big") + s.to_bytes(_P384_BYTES, "big")


def _read(path: Path) -> _File:
    data = read_secret(path, option=_OPTION)
    try:
        return msgspec.json.decode(data, type=_File)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"not a key file of the format {FORMAT}: {error}",
            where=_OPTION,
            value=str(path),
            fix="make one: herz audit key create",
        ) from error


def _cipher(head: Head, passphrase: bytes) -> ChaCha20Poly1305:
    try:
        key = Scrypt(head.salt, length=32, n=head.n, r=8, p=2).derive(passphrase)
    except (ValueError, MemoryError) as error:
        raise WorldError(f"the key file asks for {head.n} steps of scrypt: {error}") from error
    return ChaCha20Poly1305(key)
