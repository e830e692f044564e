"""A TPM's quote of a checkpoint, as a file: made, checked offline, and refused where changed."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from herz.errors import WorldError
from herz.front.cli.entry import main
from herz.front.cli.failure import Exit
from herz.front.quoting import FORMAT, HANDLE
from herz.world.signer.tpm import Tpm
from tests.support.journal import Written, golden
from tests.support.tpm import missing, software_tpm

needs_swtpm = pytest.mark.skipif(bool(missing()), reason=missing() or "there is all")
Captured = pytest.CaptureFixture[str]


def make(folder: Path, name: str, *more: str, key: str = "quote.key") -> tuple[int, Path]:
    """Run the command; the file."""
    file, passphrase = folder.parent / name, folder.parent / "pass"
    passphrase.touch(0o600)
    passphrase.write_text("correct horse battery\n")
    options = ["--journal", str(folder), "--to", str(file), "--passphrase-file", str(passphrase)]
    options += ["--key", str(folder.parent / key), *more]
    return main(["audit", "quote", *options, "--output", "json"]), file


def check(file: Path, captured: Captured, *more: str) -> tuple[int, dict[str, object]]:
    """Exit code and answer."""
    captured.readouterr()
    code = main(["audit", "quote-check", str(file), *more, "--output", "json"])
    out, err = captured.readouterr()
    return code, json.loads(out or err)


@needs_swtpm
def test_a_quote_is_made_and_checked_offline(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "journal"
    golden(folder, 3)
    with software_tpm() as tcti:
        code, file = make(folder, "one", "--create", "--tpm", tcti)
        assert code == Exit.DONE
        made = json.loads(capsys.readouterr().out)
        assert "no hardware root" in made["keeper"]
        assert make(folder, "two")[0] == Exit.DONE
        assert make(folder, "three", "--create", "--tpm", tcti)[0] == Exit.USAGE
        assert "already" in capsys.readouterr().err
        again = make(folder, "four", "--create", "--tpm", tcti, key="other.key")
        assert again[0] == Exit.USAGE
        # Who has the TPM alone has nothing to quote with.
        for auth in (b"", bytes(32)):
            tpm = Tpm(tcti)
            with pytest.raises(WorldError, match="auth"):
                tpm.quote(HANDLE, auth, bytes(48))
            tpm.close()
    code, found = check(file, capsys, "--key", made["key"])
    assert (code, found["verdict"], found["size"]) == (Exit.DONE, "verifies", 58)
    assert found["pcrs"] == [0, 1, 2, 3, 4, 5, 6, 7, 10]
    code, found = check(file, capsys)
    assert code == Exit.NO
    assert "whose key it is was not said" in str(found["verdict"])
    content = json.loads(file.read_text(encoding="utf-8"))
    for change in (
        {"checkpoint": content["checkpoint"].replace("58\n", "57\n", 1)},
        {"signature": b64encode(bytes(96)).decode()},
        {"attest": content["attest"][:-4] + "AAAA"},
        {"attest": "?"},
    ):
        file.write_text(json.dumps(content | change), encoding="utf-8")
        assert check(file, capsys, "--key", made["key"])[0] == Exit.NO, change
    file.write_text(json.dumps(content), encoding="utf-8")
    assert check(file, capsys, "--key", "AAAA")[0] == Exit.USAGE
    assert check(file, capsys, "--key", b64encode(bytes(97)).decode())[0] == Exit.NO


@pytest.mark.parametrize(
    "content", ["", "{}", json.dumps({"format": FORMAT}), json.dumps({"format": 7}), "\xff"]
)
def test_what_is_no_quote_is_refused(tmp_path: Path, content: str, capsys: Captured) -> None:
    file = tmp_path / "quote"
    file.write_text(content, encoding="latin-1")
    code, found = check(file, capsys)
    assert code == Exit.USAGE
    assert "not a quote" in json.dumps(found)


def test_a_quote_needs_a_checkpoint(tmp_path: Path, capsys: Captured) -> None:
    Written(tmp_path / "journal").close()
    new = ("--create", "--tpm", "swtpm:path=nowhere")
    assert make(tmp_path / "journal", "one", *new)[0] == Exit.USAGE
    assert "herz audit sign" in capsys.readouterr().err
    assert make(tmp_path / "journal", "one", *new, "--tpm-handle", "x")[0] == Exit.USAGE
    assert "--tpm-handle" in capsys.readouterr().err
    assert make(tmp_path / "journal", "one", "--create")[0] == Exit.USAGE
    assert "belong together" in capsys.readouterr().err
