"""`herz audit key`, `sign`, `cosign`, `witness`, `prove`, `check`, and `verify --trust`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from herz.front.cli import main
from herz.front.cli.failure import Exit
from herz.world.store.files import Reader
from tests.support.journal import GOLDEN_SCENARIO, SMALL, simulated
from tests.support.tpm import missing, software_tpm

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]
NAME = "herz.dev/journal"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a log's and a witness' key beside it, and nothing signed."""
    folder = tmp_path_factory.mktemp("trust")
    simulated(folder / "journal")
    passphrase = folder / "pass"
    passphrase.touch(0o600)
    passphrase.write_text("correct horse battery\n")
    for name, more in (("log", ["--name", NAME]), ("w1", ["--name", "w.example", "--witness"])):
        code = main(
            [
                *("audit", "key", "create", str(folder / f"{name}.key")),
                *(*more, "--passphrase-file", str(passphrase)),
            ]
        )
        assert code == Exit.DONE
    return folder


@pytest.fixture
def here(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(base, tmp_path / "all")
    monkeypatch.chdir(tmp_path / "all")
    return tmp_path / "all"


def asked(capsys: Captured, *arguments: str, code: int = Exit.DONE) -> Any:
    """The answer of a command as JSON."""
    capsys.readouterr()
    assert main(["audit", *arguments, "--output", "json"]) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    return json.loads(out or err)


SIGN = ("sign", "--journal", "journal", "--key", "log.key", "--passphrase-file", "pass")
SECRET = ("--passphrase-file", "pass")
CREATE = ["key", "create", "a", "--name", "a"]
VERIFY = ("verify", "--journal", "journal", "--trust", "trust.toml")


def keys(capsys: Captured, file: str) -> list[str]:
    return [each["key"] for each in asked(capsys, "key", "show", file)["keys"]]


def write_trust(capsys: Captured, *, url: str = "", quorum: int = 1) -> None:
    lines = ['format = "herz-trust/1"', f"quorum = {quorum}"]
    for text in keys(capsys, "log.key"):
        lines += ["[[log]]", f'key = "{text}"']
    if quorum:
        lines += ["[[witness]]", f'key = "{keys(capsys, "w1.key")[0]}"', f'url = "{url}"']
    Path("trust.toml").write_text("\n".join(lines))


@pytest.fixture
def witness(here: Path, capsys: Captured) -> Iterator[str]:
    """The address of a witness in a process of its own."""
    write_trust(capsys, quorum=0)
    shutil.copy("trust.toml", "logs.toml")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "herz.front.cli", "audit", "witness", "--key", "w1.key"),
            *("--trust", "logs.toml", "--memory", "w1.sqlite", "--port", "0"),
            *("--passphrase-file", "pass"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    process.stdout.close()


def test_signed_cosigned_proved_and_checked(here: Path, witness: str, capsys: Captured) -> None:
    write_trust(capsys, url=witness)
    signed = asked(capsys, *SIGN)
    assert signed["checkpoint"].startswith(f"{NAME}\n{signed['size']}\n")
    before = asked(capsys, *VERIFY, code=Exit.NO)
    assert (before["verdict"], before["vouched"]) == (
        "internally consistent; origin not verified",
        0,
    )
    cosigned = asked(capsys, "cosign", "--journal", "journal", "--trust", "trust.toml")
    assert "— w.example " in cosigned["checkpoint"]
    after = asked(capsys, *VERIFY)
    assert (after["verdict"], after["vouched"]) == ("verifies", signed["size"])
    (shown,) = asked(capsys, "show", "5", "--journal", "journal", "--trust", "trust.toml")
    assert shown["logged"]["after_s"] == 0
    assert shown["logged"]["before_s"] > 1_700_000_000
    pod = shown["record"]["pod"]["name"]
    assert main(["explain", pod, "--journal", "journal", "--trust", "trust.toml"]) == Exit.DONE
    assert "logged after an unknown time and before 20" in capsys.readouterr().out
    prove = ("prove", "5", "--journal", "journal", "--trust", "trust.toml", "--to", "a.proof")
    assert asked(capsys, *prove)["decision"] == 5
    shutil.rmtree("journal")
    told = asked(capsys, "check", "a.proof", "--trust", "trust.toml")
    assert json.loads(told["payload"])["sequence"] == 5
    assert told["witnesses"][0]["name"] == "w.example"


def test_a_simulated_day_is_signed_as_it_is_written(here: Path, capsys: Captured) -> None:
    write_trust(capsys, quorum=0)
    shutil.rmtree("journal")
    sign = ("--key", "log.key", *SECRET)
    assert main(["simulate", str(SMALL), "--journal", "journal", *sign]) == Exit.DONE
    found = asked(capsys, *VERIFY)
    assert (found["verdict"], found["vouched"]) == ("verifies", found["size"])
    assert found["checkpoints"] >= found["size"] // 2000
    assert main(["simulate", str(SMALL), *sign]) == Exit.USAGE
    assert "there is no journal to sign" in capsys.readouterr().err


def test_a_changed_proof_or_other_keys_do_not_hold(here: Path, capsys: Captured) -> None:
    write_trust(capsys, quorum=0)
    asked(capsys, *SIGN)
    asked(capsys, "prove", "5", "--journal", "journal", "--to", "a.proof")
    proof = Path("a.proof").read_text()
    Path("a.proof").write_text(proof.replace("index 5", "index 6"))
    asked(capsys, "check", "a.proof", "--trust", "trust.toml", code=Exit.NO)
    Path("a.proof").write_text(proof)
    asked(capsys, "check", "a.proof", "--trust", "trust.toml")
    write_trust(capsys)
    said = asked(capsys, "check", "a.proof", "--trust", "trust.toml", code=Exit.NO)
    assert "cosigned by 0 known witnesses" in said["error"]["what"]


def test_keys_are_rotated_and_each_counts_for_its_time(here: Path, capsys: Captured) -> None:
    asked(capsys, "key", "create", "new.key", "--name", NAME, *SECRET)
    rotate = ("key", "rotate", "log.key", "new.key", "--journal", "journal", "--actor", "ops")
    done = asked(capsys, *rotate, "--reason", "yearly", *SECRET)
    assert len(done["keys"]) == 2
    assert done["checkpoint"].count("\n— ") == 4
    lines = ['format = "herz-trust/1"']
    for each in done["keys"]:
        lines += ["[[log]]", f'key = "{each["old"]}"', f"until = {done['size'] + 1}"]
        lines += ["[[log]]", f'key = "{each["new"]}"', f"from = {done['size']}"]
    Path("trust.toml").write_text("\n".join(lines))
    found = asked(capsys, *VERIFY)
    assert (found["verdict"], found["vouched"]) == ("verifies", done["size"])
    asked(capsys, "key", "create", "w2.key", "--name", "other.example", *SECRET)
    rotate = ("key", "rotate", "new.key", "w2.key", *rotate[4:])
    said = asked(capsys, *rotate, "--reason", "x", *SECRET, code=Exit.USAGE)
    assert "not of the same log" in said["error"]["what"]


def test_a_new_log_takes_the_place_of_one_whose_key_was_stolen(
    here: Path, capsys: Captured
) -> None:
    write_trust(capsys, quorum=0)
    Path("last.note").write_text(asked(capsys, *SIGN)["checkpoint"], encoding="utf-8")
    asked(capsys, "key", "create", "new.key", "--name", "herz.example/anew", *SECRET)
    run = ["simulate", str(GOLDEN_SCENARIO), "--journal", "anew", "--key", "new.key", *SECRET]
    assert main(run) == Exit.DONE
    succeed = ("key", "succeed", "new.key", "--journal", "anew", "--after", "last.note")
    why = ("--trust", "trust.toml", "--actor", "ops", "--reason", "the key was stolen", *SECRET)
    done = asked(capsys, *succeed, *why)
    assert (done["follows"], done["quorum"], len(done["keys"])) == (NAME, 0, 2)
    found = asked(capsys, "verify", "--journal", "anew", "--integrity-only")
    assert found["follows"] == f"{NAME}, after its first {done['after']} entries"
    assert found["covered"] == found["size"], "signed with the new keys"
    # Of the old log itself, with a key of another log, and by nobody's word.
    said = asked(capsys, *succeed[:3], "--journal", "journal", *succeed[5:], *why, code=Exit.USAGE)
    assert "cannot follow itself" in said["error"]["what"]
    forged = Path("last.note").read_text(encoding="utf-8").replace(NAME, "herz.dev/other", 1)
    Path("last.note").write_text(forged, encoding="utf-8")
    asked(capsys, *succeed, *why, code=Exit.NO)


def test_nothing_is_signed_over_a_log_that_was_changed(here: Path, capsys: Captured) -> None:
    asked(capsys, *SIGN)
    reader = Reader(Path("journal"))
    (_, path), *_ = reader.segments()
    data = path.read_bytes()
    from tests.support.journal import simulated as again

    shutil.move("journal/checkpoints", "kept")
    shutil.rmtree("journal")
    again(Path("journal"))  # The same decisions, other salts: another log under the same name.
    shutil.move("kept", "journal/checkpoints")
    assert path.read_bytes() != data
    said = asked(capsys, *SIGN, code=Exit.NO)
    assert "nothing is signed over a changed log" in said["error"]["what"]


def test_a_checkpoint_of_another_log_among_the_journals_is_found(
    here: Path, capsys: Captured
) -> None:
    write_trust(capsys, quorum=0)
    asked(capsys, *SIGN)
    reader = Reader(Path("journal"))
    (note,) = reader.notes()
    reader.keep_note(note.replace(b"herz.dev/journal\n", b"other.example\n", 1))
    said = asked(capsys, *VERIFY, code=Exit.NO)
    assert "a checkpoint is of the log 'other.example'" in said["problem"]["what"]


def test_a_remembered_checkpoint_finds_another_log(here: Path, capsys: Captured) -> None:
    write_trust(capsys, quorum=0)
    signed = asked(capsys, *SIGN)
    Path("remembered").write_text(signed["checkpoint"])
    asked(capsys, *VERIFY, "--since", "remembered")
    shutil.rmtree("journal")
    simulated(Path("journal"))
    asked(capsys, *SIGN)
    asked(capsys, *VERIFY)  # Signed with the key: without memory nobody sees it.
    said = asked(capsys, *VERIFY, "--since", "remembered", code=Exit.NO)
    assert "the given checkpoint" in said["problem"]["what"]


def test_a_witness_that_knows_another_history_is_told_with_exit_1(
    here: Path, witness: str, capsys: Captured
) -> None:
    write_trust(capsys, url=witness)
    asked(capsys, *SIGN)
    cosign = ("cosign", "--journal", "journal", "--trust", "trust.toml")
    asked(capsys, *cosign)
    shutil.rmtree("journal")
    simulated(Path("journal"))
    asked(capsys, *SIGN)
    asked(capsys, *cosign, code=Exit.NO)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["key", "create", "a", "--name", "a b", "--passphrase-file", "pass"], "not a name"),
        (CREATE, "one passphrase is needed"),
        ([*CREATE, "--passphrase-fd", "x"], "not an integer"),
        (["key", "create", "log.key", "--name", "a", "--passphrase-file", "pass"], "there already"),
        (
            [*CREATE, "--tpm-handle", "x", *SECRET],
            "not a handle",
        ),
        (
            [*CREATE, "--witness", "--tpm", "device:/dev/tpm0", *SECRET],
            "a witness without a TPM",
        ),
        (["key", "show", "pass"], "not a key file"),
        (
            ["sign", "--journal", "journal", "--key", "w1.key", *SECRET],
            "witness",
        ),
        (
            ["sign", "--journal", "none", "--key", "log.key", "--passphrase-file", "pass"],
            "no journal",
        ),
        (["cosign", "--journal", "journal", "--trust", "none"], "cannot be read"),
        (["prove", "5", "--journal", "journal", "--to", "none/a"], "folder does not exist"),
        (["check", "none", "--trust", "none"], "cannot be read"),
        (["verify", "--journal", "journal", "--since", "pass"], "not a checkpoint"),
    ],
)
def test_bad_input_is_told(here: Path, capsys: Captured, arguments: list[str], what: str) -> None:
    said = asked(capsys, *arguments, code=Exit.USAGE)
    assert what in said["error"]["what"]


def test_without_a_checkpoint_nothing_is_proved_or_cosigned(here: Path, capsys: Captured) -> None:
    write_trust(capsys, url="http://127.0.0.1:1")
    prove = ("prove", "5", "--journal", "journal", "--to", "a.proof")
    said = asked(capsys, *prove, code=Exit.NO)
    assert "no checkpoint covers entry" in said["error"]["what"]
    cosign = ("cosign", "--journal", "journal", "--trust", "trust.toml")
    said = asked(capsys, *cosign, code=Exit.USAGE)
    assert said["error"]["what"] == "no checkpoint is signed"
    asked(capsys, *SIGN)
    capsys.readouterr()
    assert main(["audit", *cosign]) == Exit.OUTSIDE
    assert "warning: http://127.0.0.1:1/add-checkpoint" in capsys.readouterr().out


@pytest.mark.skipif(bool(missing()), reason=missing() or "there is all")
def test_a_log_signs_with_a_key_in_a_tpm(here: Path, capsys: Captured) -> None:
    with software_tpm() as tcti:
        made = asked(capsys, "key", "create", "tpm.key", "--name", NAME, "--tpm", tcti, *SECRET)
        assert made["keys"][1]["keeper"] == f"{tcti} 0x81000100"
        shutil.move("tpm.key", "log.key")
        write_trust(capsys, quorum=0)
        asked(capsys, *SIGN)
    assert asked(capsys, *VERIFY)["verdict"] == "verifies"
    said = asked(capsys, *SIGN, code=Exit.OUTSIDE)
    assert tcti in said["error"]["what"]
