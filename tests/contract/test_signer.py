"""What every binding of the port `Signer` keeps: key file and TPM."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA3_384

from herz.commit.audit.note import Note, parse_key, parse_note
from herz.commit.audit.signing import log_key
from herz.ports import Algorithm, Signer
from herz.world.signer.keyfile import SoftKey, new_secret
from herz.world.signer.tpm import HANDLE_DEFAULT, Tpm, TpmKey
from tests.support.tpm import missing, software_tpm

AUTH = b"\x07" * 32
ED25519: Algorithm = "ed25519"
P384: Algorithm = "ecdsa-p384-sha3-384"


@pytest.fixture(scope="module")
def tpm() -> Iterator[Tpm]:
    if missing():
        pytest.skip(missing())
    with software_tpm() as tcti:
        found = Tpm(tcti)
        yield found
        found.close()


@pytest.fixture(scope="module", params=["file Ed25519", "file P-384", "TPM P-384"])
def signer(request: pytest.FixtureRequest) -> Signer:
    if request.param == "TPM P-384":
        found: Tpm = request.getfixturevalue("tpm")
        public = found.create(HANDLE_DEFAULT, AUTH)
        return TpmKey(found, HANDLE_DEFAULT, AUTH, public)
    algorithm = ED25519 if request.param == "file Ed25519" else P384
    return SoftKey(algorithm, new_secret(algorithm))


def verifies(signer: Signer, message: bytes, signature: bytes) -> bool:
    """By the package `cryptography` alone."""
    try:
        if signer.algorithm == ED25519:
            public = ed25519.Ed25519PublicKey.from_public_bytes(signer.public)
            public.verify(signature, message)
        else:
            r, s = (int.from_bytes(signature[at : at + 48], "big") for at in (0, 48))
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), signer.public)
            point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA3_384()))
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("message", [b"", b"text\n", bytes(range(256)) * 300])
def test_a_signature_verifies_for_its_message_and_no_other(signer: Signer, message: bytes) -> None:
    signature = signer.sign(message)
    assert len(signature) == (64 if signer.algorithm == ED25519 else 96)
    assert verifies(signer, message, signature)
    assert not verifies(signer, message + b" ", signature)


def test_the_public_half_stays_and_makes_a_line_of_a_note(signer: Signer) -> None:
    key = log_key("herz.example/log", signer)
    assert key == log_key("herz.example/log", signer) == parse_key(key.text)
    text = b"herz.example/log\n0\nroot\n"
    line = f"— {key.name} ".encode()
    assert parse_note(text + b"\n" + line + _blob(key.key_id + signer.sign(text))).verified([key])
    assert Note(text).verified([key]) == []


def test_it_says_what_keeps_the_key(signer: Signer) -> None:
    assert signer.keeper == "key file" or "no hardware root" in signer.keeper


def _blob(data: bytes) -> bytes:
    import base64

    return base64.b64encode(data) + b"\n"
