"""The TPM path against a real swtpm, which the test starts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from hashlib import sha3_384

import pytest

from herz.commit.audit.quote import check_quote
from herz.errors import AuditError, ConfigError, WorldError
from herz.world.signer.tpm import HANDLE_DEFAULT, Tpm, TpmKey
from tests.support.tpm import missing, software_tpm

needs_swtpm = pytest.mark.skipif(bool(missing()), reason=missing() or "there is all")
AUTH = b"\x07" * 32


@pytest.fixture
def tpm() -> Iterator[Tpm]:
    with software_tpm() as tcti:
        found = Tpm(tcti)
        yield found
        found.close()


@needs_swtpm
def test_a_key_persists_over_connections_and_asks_for_its_authorisation(tpm: Tpm) -> None:
    public = tpm.create(HANDLE_DEFAULT, AUTH)
    tpm.close()
    assert tpm.public(HANDLE_DEFAULT) == public
    with pytest.raises(WorldError, match="authorization"):
        TpmKey(tpm, HANDLE_DEFAULT, b"\x08" * 32, public).sign(b"text\n")
    assert TpmKey(tpm, HANDLE_DEFAULT, AUTH, public).sign(b"text\n")


@needs_swtpm
def test_a_handle_in_use_or_out_of_range_is_refused(tpm: Tpm) -> None:
    tpm.create(HANDLE_DEFAULT, AUTH)
    with pytest.raises(ConfigError, match="holds something there"):
        tpm.create(HANDLE_DEFAULT, AUTH)
    with pytest.raises(ConfigError, match="not a persistent handle"):
        tpm.create(0x80000000, AUTH)


@needs_swtpm
def test_a_new_key_is_another_one_and_the_old_one_can_be_removed(tpm: Tpm) -> None:
    old = tpm.create(HANDLE_DEFAULT, AUTH)
    new = tpm.create(HANDLE_DEFAULT + 1, AUTH)
    assert old != new
    with pytest.raises(ConfigError, match="another key"):
        TpmKey(tpm, HANDLE_DEFAULT + 1, AUTH, old)
    tpm.remove(HANDLE_DEFAULT)
    with pytest.raises(WorldError, match="read the key"):
        tpm.public(HANDLE_DEFAULT)
    assert tpm.public(HANDLE_DEFAULT + 1) == new


@needs_swtpm
def test_nothing_stays_loaded_after_many_calls(tpm: Tpm) -> None:
    public = tpm.create(HANDLE_DEFAULT, AUTH)
    key = TpmKey(tpm, HANDLE_DEFAULT, AUTH, public)
    for at in range(8):  # swtpm has room for three.
        key.sign(b"%d" % at)
    assert tpm.create(HANDLE_DEFAULT + 1, AUTH)


@needs_swtpm
def test_a_quote_binds_the_checkpoint_and_only_a_restricted_key_gives_one(tpm: Tpm) -> None:
    checkpoint = sha3_384(b"a checkpoint's text\n").digest()
    public = tpm.create(HANDLE_DEFAULT, AUTH, is_restricted=True)
    quote = tpm.quote(HANDLE_DEFAULT, AUTH, checkpoint)
    assert quote.public == public
    assert "no hardware root" in quote.keeper
    stated = check_quote(quote.attest, quote.signature, public, checkpoint)
    assert stated.pcrs == (0, 1, 2, 3, 4, 5, 6, 7, 10)
    with pytest.raises(AuditError, match="another checkpoint"):
        check_quote(quote.attest, quote.signature, public, sha3_384(b"other\n").digest())
    changed = bytes([*quote.attest[:-1], quote.attest[-1] ^ 1])
    with pytest.raises(AuditError, match="does not verify"):
        check_quote(changed, quote.signature, public, checkpoint)
    with pytest.raises(WorldError, match="sign with the key"):
        tpm.sign(HANDLE_DEFAULT, AUTH, checkpoint)


@needs_swtpm
def test_a_tpm_that_is_not_there_is_told(tpm: Tpm) -> None:
    with pytest.raises(WorldError, match="swtpm:path=nowhere"):
        Tpm("swtpm:path=nowhere").keeper()


def test_without_the_library_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=r"pip install 'herz\[tpm\]'"):
        Tpm("device:/dev/tpmrm0")
