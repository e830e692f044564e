"""Key files: what opens them, what does not, and what a secret may come from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import pytest

from herz.errors import ConfigError, WorldError
from herz.world.signer.keyfile import (
    Held,
    KeyFile,
    SoftKey,
    create_key_file,
    new_secret,
    open_key_file,
    read_head,
)
from herz.world.signer.secret import passphrase_from, read_secret

PASSPHRASE = b"correct horse battery"


def made(path: Path, use: Literal["log", "witness"] = "log") -> KeyFile:
    keys = []
    for algorithm in ("ed25519", "ecdsa-p384-sha3-384"):
        secret = new_secret(algorithm)
        keys.append((Held(algorithm, SoftKey(algorithm, secret).public), secret))
    return create_key_file(
        path, name="herz.example/log", use=use, keys=tuple(keys), passphrase=PASSPHRASE
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("keys") / "log.key"
    made(found)
    return found


def changed(path: Path, target: Path, **fields: object) -> Path:
    """The key file with other fields in its head."""
    data = json.loads(path.read_text())
    data["head"].update(fields)
    target.write_text(json.dumps(data))
    target.chmod(0o600)
    return target


@pytest.mark.slow
def test_a_key_file_opens_with_its_passphrase_and_is_its_owners_only(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    opened = open_key_file(path, PASSPHRASE, use="log")
    assert opened.head == read_head(path)
    for held, key in zip(opened.head.keys, opened.soft_keys(), strict=True):
        assert (held.algorithm, held.public) == (key.algorithm, key.public)
        assert key.sign(b"text")


@pytest.mark.slow
def test_another_passphrase_or_a_changed_field_does_not_open_it(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not open it"):
        open_key_file(path, PASSPHRASE + b"!")
    for fields in ({"name": "other"}, {"use": "witness"}, {"n": 2**15}):
        bad = changed(path, tmp_path / "bad.key", **fields)
        with pytest.raises(ConfigError, match="does not open it"):
            open_key_file(bad, PASSPHRASE)


def test_a_key_for_a_log_is_not_used_for_a_witness(path: Path) -> None:
    with pytest.raises(ConfigError, match="for a log, not for a witness"):
        open_key_file(path, PASSPHRASE, use="witness")


@pytest.mark.slow
def test_a_key_file_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="there already"):
        made(path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_secrets_do_not_stand_in_the_file(tmp_path: Path) -> None:
    file = made(tmp_path / "a.key")
    text = (tmp_path / "a.key").read_text()
    assert "sealed" in text
    for key in file.soft_keys():
        assert repr(key).find("secret") == -1
    assert PASSPHRASE.decode() not in text


@pytest.mark.parametrize(
    "fields",
    [{"format": "herz-keys/2"}, {"n": 2**30}, {"more": 1}, {"salt": "AAAA"}, {"use": "both"}],
)
def test_a_field_that_is_not_understood_is_refused(
    path: Path, tmp_path: Path, fields: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match="not a key file of the format herz-keys/1"):
        open_key_file(changed(path, tmp_path / "bad.key", **fields), PASSPHRASE)


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o601])
def test_a_secret_that_others_may_read_is_refused(path: Path, tmp_path: Path, mode: int) -> None:
    open_file = tmp_path / "open.key"
    open_file.write_bytes(path.read_bytes())
    open_file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}"):
        read_secret(open_file, option="--key")


def test_a_secret_is_a_file_that_is_there_and_short(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="No such file"):
        read_secret(tmp_path / "none", option="--key")
    with pytest.raises(ConfigError, match="not a file"):
        read_secret(tmp_path, option="--key")
    long = tmp_path / "long"
    long.write_bytes(b"x" * 65_537)
    long.chmod(0o600)
    with pytest.raises(ConfigError, match="longer than"):
        read_secret(long, option="--key")


def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"x")
    foreign.chmod(0o600)
    os.chown(foreign, 12345, 0)
    with pytest.raises(ConfigError, match="belongs to the user 12345"):
        read_secret(foreign, option="--key")


def test_a_passphrase_comes_from_a_file_or_a_descriptor(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE + b"\n")
    file.chmod(0o400)
    assert passphrase_from(str(file), None) == PASSPHRASE
    reader, writer = os.pipe()
    os.write(writer, PASSPHRASE + b"\n")
    os.close(writer)
    assert passphrase_from(None, reader) == PASSPHRASE


@pytest.mark.parametrize("data", [b"", b"short\n", b"two lines\nof it\n"])
def test_what_is_no_passphrase_is_refused_and_not_shown(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(data)
    file.chmod(0o400)
    with pytest.raises(ConfigError, match="not one line") as caught:
        passphrase_from(str(file), None)
    assert caught.value.value is None


def test_exactly_one_source_and_one_that_is_open(tmp_path: Path) -> None:
    for both in ((None, None), ("file", 3)):
        with pytest.raises(ConfigError, match="one passphrase is needed"):
            passphrase_from(*both)
    with pytest.raises(ConfigError, match="cannot be read"):
        passphrase_from(None, 987)
