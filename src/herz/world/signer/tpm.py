"""A P-384 key in a TPM 2.0, real or `swtpm`, through tpm2-pytss (the extra `tpm`).

No TPM that we know has SHA3. The key is unrestricted with the scheme ECDSA-SHA384 and is given
the 48 bytes of a SHA3-384 digest, so that what it signs verifies as ECDSA over SHA3-384. A TPM
keeps the key from being carried away, not from being used by who is root on its machine.

Source: TCG TPM 2.0 Library, part 1 section 11 and part 3 (Create, EvictControl, Sign, Quote).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha3_384
from typing import Any, Final, TypeVar

from herz.errors import ConfigError, WorldError
from herz.ports import Algorithm, Signer

HANDLE_DEFAULT: Final = 0x81000100
HANDLES: Final = range(0x81000000, 0x81800000)
"""Persistent handles of the owner."""

AUTH_BYTES: Final = 32
PCRS: Final = "sha256:0,1,2,3,4,5,6,7,10"
"""What a quote covers: firmware and boot loader, and what IMA measured."""

_KEPT = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign"
_Got = TypeVar("_Got")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a TPM says of its state.

    Args:
        attest: the TPMS_ATTEST as it was signed.
        signature: r and s of the attestation key, ECDSA over SHA-384.
        public: the attestation key, an uncompressed point.
        keeper: what made it, in words for a report.
    """

    attest: bytes
    signature: bytes
    public: bytes
    keeper: str


class Tpm:
    """A connection to one TPM, whose only user we are while a call lasts.

    Args:
        tcti: how it is reached: `device:/dev/tpmrm0`, `swtpm:host=127.0.0.1,port=2321`.

    Raises:
        ConfigError: tpm2-pytss is not installed.
    """

    def __init__(self, tcti: str) -> None:
        self._library = _library()
        self._tcti = tcti
        self._context: Any = None

    def close(self) -> None:
        """Give the connection up; the next call makes another."""
        context, self._context = self._context, None
        if context is not None:
            with suppress(self._library.TSS2_Exception):
                context.close()

    def keeper(self) -> str:
        """What it says that it is.

        Raises:
            WorldError: it cannot be reached.
        """
        return self._asked("ask the TPM what it is", self._described)

    def create(self, handle: int, auth: bytes, *, is_restricted: bool = False) -> bytes:
        """Make a key that never leaves, and keep it at a persistent handle.

        Args:
            handle: one of HANDLES, where nothing is yet.
            auth: what is asked before it signs.
            is_restricted: it signs only what the TPM itself states (an attestation key).

        Returns:
            The public half, an uncompressed point.

        Raises:
            ConfigError: the handle is out of range, or something is there.
            WorldError: the TPM refused, or cannot be reached.
        """
        self._check_free(handle)
        return self._asked(
            f"make a key at {handle:#x}",
            lambda tpm: self._created(tpm, handle, auth, is_restricted=is_restricted),
        )

    def remove(self, handle: int) -> None:
        """Take a key away for good: the end of a rotation.

        Raises:
            WorldError: there is none, or the TPM cannot be reached.
        """
        self._asked(f"remove the key at {handle:#x}", lambda tpm: self._removed(tpm, handle))

    def public(self, handle: int) -> bytes:
        """The public half of the key at a handle, an uncompressed point.

        Raises:
            WorldError: there is none, or it is no P-384 key.
        """

        def read(tpm: Any) -> bytes:
            return self._point(tpm.read_public(tpm.tr_from_tpmpublic(handle))[0])

        return self._asked(f"read the key at {handle:#x}", read)

    def sign(self, handle: int, auth: bytes, digest: bytes) -> bytes:
        """Sign a digest of 48 bytes; r and s, 48 bytes each.

        Raises:
            WorldError: the TPM refused, or cannot be reached.
        """

        def sign(tpm: Any) -> bytes:
            key = self._opened(tpm, handle, auth)
            library = self._library
            scheme = library.TPMT_SIG_SCHEME(scheme=library.TPM2_ALG.ECDSA)
            scheme.details.any.hashAlg = library.TPM2_ALG.SHA384
            return self._raw(tpm.sign(key, digest, scheme))

        return self._asked(f"sign with the key at {handle:#x}", sign)

    def quote(self, handle: int, auth: bytes, extra: bytes) -> Quote:
        """What the TPM says of its PCRs 0 to 7 and 10, bound to `extra`.

        Args:
            handle: of a restricted key.
            auth: its authorisation value.
            extra: at most 64 bytes: the SHA3-384 digest of a checkpoint's text.

        Raises:
            WorldError: the TPM refused, or cannot be reached.
        """

        def quote(tpm: Any) -> Quote:
            attest, signature = tpm.quote(self._opened(tpm, handle, auth), PCRS, extra)
            public = self._point(tpm.read_public(tpm.tr_from_tpmpublic(handle))[0])
            stated = bytes(attest.attestationData)
            return Quote(stated, self._raw(signature), public, self._described(tpm))

        return self._asked(f"quote with the key at {handle:#x}", quote)

    def _check_free(self, handle: int) -> None:
        if handle not in HANDLES:
            raise ConfigError(
                "not a persistent handle of the owner",
                where="--tpm-handle",
                value=f"{handle:#x}",
                fix=f"give one from {HANDLES.start:#x} to {HANDLES.stop - 1:#x}",
            )
        if self._asked("list the TPM's keys", lambda tpm: self._is_taken(tpm, handle)):
            raise ConfigError(
                "the TPM holds something there",
                where="--tpm-handle",
                value=f"{handle:#x}",
                fix="name another handle: a key is never overwritten",
            )

    def _is_taken(self, tpm: Any, handle: int) -> bool:
        _, found = tpm.get_capability(self._library.TPM2_CAP.HANDLES, handle, 1)
        return handle in [int(each) for each in found.data.handles]

    def _created(self, tpm: Any, handle: int, auth: bytes, *, is_restricted: bool) -> bytes:
        library = self._library
        attributes = f"{_KEPT}|restricted" if is_restricted else _KEPT
        wanted = library.TPM2B_PUBLIC.parse("ecc384:ecdsa-sha384:null", attributes)
        sensitive = library.TPM2B_SENSITIVE_CREATE(
            library.TPMS_SENSITIVE_CREATE(userAuth=library.TPM2B_AUTH(auth))
        )
        parent, *_ = tpm.create_primary(library.TPM2B_SENSITIVE_CREATE(), "ecc256:aes128cfb")
        try:
            private, public, *_ = tpm.create(parent, sensitive, wanted)
            key = tpm.load(parent, private, public)
            try:
                tpm.evict_control(library.ESYS_TR.OWNER, key, handle)
            finally:
                tpm.flush_context(key)
        finally:
            # swtpm has no resource manager: what is left loaded stays so.
            tpm.flush_context(parent)
        return self._point(public)

    def _removed(self, tpm: Any, handle: int) -> None:
        tpm.evict_control(self._library.ESYS_TR.OWNER, tpm.tr_from_tpmpublic(handle), handle)

    def _opened(self, tpm: Any, handle: int, auth: bytes) -> Any:
        key = tpm.tr_from_tpmpublic(handle)
        tpm.tr_set_auth(key, auth)
        return key

    def _described(self, tpm: Any) -> str:
        # The manufacturer's four letters, and in the four properties after it the model's name.
        first = int(self._library.TPM2_PT.MANUFACTURER)
        maker, *parts = (self._text(tpm, first + at) for at in range(5))
        model = "".join(parts).strip()
        said = " ".join(filter(None, [maker.strip(), model]))
        if model.startswith("SW") or self._tcti.startswith(("swtpm", "mssim")):
            return f"TPM 2.0 ({said}): a program, no hardware root"
        return f"TPM 2.0 ({said}); that it is genuine was not checked"

    def _text(self, tpm: Any, property_: int) -> str:
        _, found = tpm.get_capability(self._library.TPM2_CAP.TPM_PROPERTIES, property_, 1)
        value = int(found.data.tpmProperties[0].value)
        characters = value.to_bytes(4, "big").decode("ascii", "replace")
        return "".join(each for each in characters if each.isprintable())

    def _point(self, public: Any) -> bytes:
        unique = public.publicArea.unique.ecc
        return b"\x04" + b"".join(bytes(each).rjust(48, b"\x00") for each in (unique.x, unique.y))

    def _raw(self, signature: Any) -> bytes:
        found = signature.signature.ecdsa
        r, s = bytes(found.signatureR), bytes(found.signatureS)
        return r.rjust(48, b"\x00") + s.rjust(48, b"\x00")

    def _asked(self, what: str, ask: Callable[[Any], _Got]) -> _Got:
        """Ask over the connection, made anew if the last one failed.

        Raises:
            WorldError: the TPM refused, or cannot be reached.
        """
        try:
            if self._context is None:
                self._context = self._library.ESAPI(self._tcti)
            return ask(self._context)
        except self._library.TSS2_Exception as error:
            self.close()
            raise WorldError(f"cannot {what} ({self._tcti}): {error}", is_retryable=True) from error


class TpmKey(Signer):
    """A P-384 key that a TPM holds.

    Args:
        tpm: which TPM.
        handle: where it keeps the key.
        auth: what it asks before it signs.
        expected: the public half that must be there.

    Raises:
        ConfigError: another key is there.
        WorldError: the TPM cannot be reached, or there is no key.
    """

    def __init__(self, tpm: Tpm, handle: int, auth: bytes, expected: bytes) -> None:
        self._tpm, self._handle, self._auth = tpm, handle, auth
        self._public = tpm.public(handle)
        if self._public != expected:
            raise ConfigError(
                "the TPM holds another key there than the key file names",
                where="--key",
                value=f"{handle:#x}",
                fix="name the machine's own key file, or rotate: herz audit key rotate",
            )

    @property
    def algorithm(self) -> Algorithm:
        """ECDSA over SHA3-384."""
        return "ecdsa-p384-sha3-384"

    @property
    def public(self) -> bytes:
        """The public half, an uncompressed point."""
        return self._public

    @property
    def keeper(self) -> str:
        """The TPM by its own words."""
        return self._tpm.keeper()

    def sign(self, message: bytes) -> bytes:
        """The signature over the message's SHA3-384 digest."""
        return self._tpm.sign(self._handle, self._auth, sha3_384(message).digest())


def _library() -> Any:
    # The library writes its own log of each refusal to stderr, beside our error.
    os.environ.setdefault("TSS2_LOG", "all+none")
    try:
        return importlib.import_module("tpm2_pytss")
    except ImportError as error:
        raise ConfigError(
            f"the library for TPMs cannot be loaded ({error})",
            where="--tpm",
            fix="apt-get install libtss2-dev libtss2-tcti-swtpm0 libtss2-tcti-device0, "
            "then pip install 'herz[tpm]'",
        ) from error
