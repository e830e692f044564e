"""`herz audit` and `herz explain --journal`: answers, exit codes, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from herz.commit.audit.entry import Start, encode, opened, seal
from herz.front.cli.entry import main
from herz.front.cli.failure import Exit
from herz.model.journal import Kind
from herz.model.record import Record
from herz.world.store.files import Reader
from tests.support.journal import SMALL, Written, entries_of, forge, simulated
from tests.support.objects import make_node, make_pod

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command: its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a small simulated day."""
    folder = tmp_path_factory.mktemp("day") / "journal"
    simulated(folder)
    return folder


@pytest.fixture
def copy(day: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(day, tmp_path / "journal"))


def test_simulate_writes_a_journal_that_verifies(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("simulate", SMALL, "--journal", tmp_path / "j", "--output", "json")
    assert code == Exit.DONE
    code, told, _ = run(
        "audit", "verify", "--journal", tmp_path / "j", "--integrity-only", "--output", "json"
    )
    assert code == Exit.DONE
    assert json.loads(told)["records"] == json.loads(out)["decisions"]
    code, _, err = run("simulate", SMALL, "--journal", tmp_path / "j")
    assert (code, "there is a journal" in err) == (Exit.USAGE, True)


def test_bad_input_leaves_no_journal(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("simulate", "nothing", "--journal", tmp_path / "j")
    assert (code, list(tmp_path.iterdir())) == (Exit.USAGE, [])


def test_several_runs_have_no_journal(run: Run, tmp_path: Path) -> None:
    code, _, err = run("simulate", SMALL, "--journal", tmp_path / "j", "--runs", "2")
    assert (code, "several runs" in err) == (Exit.USAGE, True)
    code, _, err = run("simulate", SMALL, "--journal", tmp_path / "no" / "j")
    assert (code, "does not exist" in err) == (Exit.USAGE, True)


def test_verify_without_trust_says_so(run: Run, day: Path) -> None:
    code, out, _ = run("audit", "verify", "--journal", day)
    assert (code, "origin not verified" in out) == (Exit.NO, True)
    code, out, _ = run("audit", "verify", "--journal", day, "--integrity-only")
    assert (code, "who has the key can have rewritten" in out) == (Exit.DONE, True)


def test_verify_names_the_entry_that_was_changed(run: Run, copy: Path) -> None:
    entries = entries_of(copy)
    at = next(at for at, entry in enumerate(entries) if entry.leaf[1] == Kind.RECORD)
    entries[at] = seal(Kind.RECORD, entries[at].payload, os.urandom(32))
    forge(copy, entries)
    code, out, _ = run("audit", "verify", "--journal", copy, "--integrity-only", "--output", "json")
    assert (code, json.loads(out)["problem"]["first"]) == (Exit.NO, at)


@pytest.mark.parametrize("command", [["verify"], ["replay"], ["show", "1"], ["export"]])
def test_no_journal_is_bad_input(run: Run, tmp_path: Path, command: list[str]) -> None:
    code, _, err = run("audit", *command, "--journal", tmp_path / "none")
    assert (code, "no journal" in err) == (Exit.USAGE, True)


def test_replay_gives_the_same(run: Run, day: Path) -> None:
    code, out, _ = run("audit", "replay", "--journal", day, "--output", "json")
    assert code == Exit.DONE
    found = json.loads(out)
    assert (found["is_same"], found["tail"], found["machines"]) == (True, 0, 1)


@pytest.mark.parametrize("seed", ["1", "77"])
def test_replay_does_not_depend_on_the_hash_seed(day: Path, seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "herz.front.cli", "audit", "replay", "--journal", str(day)],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.DONE, done.stderr
    assert "the same" in done.stdout


def test_replay_names_the_first_record_that_differs(run: Run, copy: Path) -> None:
    entries = entries_of(copy)
    places = [at for at, entry in enumerate(entries) if entry.leaf[1] == Kind.RECORD]
    at = places[7]
    record = opened(entries[at])[1]
    assert isinstance(record, Record)
    payload = encode(replace(record, node="elsewhere"))
    entries[at] = seal(Kind.RECORD, payload, os.urandom(32))
    forge(copy, entries)
    code, out, _ = run("audit", "replay", "--journal", copy, "--output", "json")
    found = json.loads(out)
    assert (code, found["records"], found["first"]["entry"]) == (Exit.NO, 7, at)
    assert json.loads(found["first"]["logged"])["node"] == "elsewhere"


def test_replay_on_another_engine_is_refused(run: Run, copy: Path) -> None:
    entries = entries_of(copy)
    start = opened(entries[0])[1]
    assert isinstance(start, Start)
    other = replace(start, engine=replace(start.engine, digest="ab" * 48, image="herz:0.0.9"))
    entries[0] = seal(Kind.START, encode(other), os.urandom(32))
    forge(copy, entries)
    code, _, err = run("audit", "replay", "--journal", copy)
    assert (code, "the image herz:0.0.9" in err) == (Exit.USAGE, True)


def test_a_kill_in_the_middle_leaves_a_journal_that_replays(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "journal"
    command = [sys.executable, "-m", "herz.front.cli", "simulate", str(SMALL)]
    with subprocess.Popen([*command, "--journal", str(folder)], stdout=subprocess.DEVNULL) as child:
        while child.poll() is None and _size(folder) < 200_000:
            pass  # Bound: the run ends by itself.
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert run("audit", "verify", "--journal", folder, "--integrity-only")[0] == Exit.DONE
    code, out, _ = run("audit", "replay", "--journal", folder, "--output", "json")
    assert (code, json.loads(out)["records"] > 10) == (Exit.DONE, True)


def _size(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for _, path in Reader(folder).segments())
    except (OSError, ValueError):
        return 0


# ---- what it says -------------------------------------------------------------------------


def test_show_gives_a_decision_with_its_outcome(run: Run, day: Path) -> None:
    code, out, _ = run("audit", "show", "1", "--journal", day, "--output", "json")
    assert code == Exit.DONE
    (found,) = json.loads(out)
    record = opened(entries_of(day)[found["entry"]])[1]
    assert isinstance(record, Record)
    assert (record.sequence, found["record"]["pod"]["name"]) == (1, record.pod.name)
    assert [one["outcome"] for one in found["outcomes"]] == ["bound"]
    code, out, _ = run("audit", "show", record.pod.name, "--journal", day)
    assert (code, record.pod.digest[:40] in out) == (Exit.DONE, True)


@pytest.mark.parametrize(
    ("asked", "what"),
    [("0", "out of range"), ("99999999", "no such decision"), ("nobody", "no decision about")],
)
def test_show_refuses_what_is_not_there(run: Run, day: Path, asked: str, what: str) -> None:
    code, _, err = run("audit", "show", asked, "--journal", day)
    assert (code, what in err) == (Exit.USAGE, True)


def test_pods_of_several_namespaces_must_be_told_apart(run: Run, tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"))
    for namespace in ("one", "two"):
        pod = make_pod("p")
        meta = replace(pod.metadata, namespace=namespace, uid=namespace)
        written.apply(replace(pod, metadata=meta))
    written.step()
    written.close()
    code, _, err = run("explain", "p", "--journal", tmp_path)
    assert (code, "one/p, two/p" in err) == (Exit.USAGE, True)
    assert run("explain", "two/p", "--journal", tmp_path)[0] == Exit.DONE


def test_explain_says_the_same_from_the_journal_as_from_the_run(run: Run, day: Path) -> None:
    pods = [
        record.pod.name
        for entry in entries_of(day)
        if isinstance(record := opened(entry)[1], Record) and record.repeats
    ]
    arguments = ["explain", pods[0], "--output", "json"]
    _, run_again, _ = run(*arguments, "--scenario", SMALL, "--seed", "5")
    code, told, _ = run(*arguments, "--journal", day)
    assert code == Exit.DONE
    found: dict[str, Any] = json.loads(told)
    assert len(found.pop("outcomes")) == len(found["decisions"])
    assert found == json.loads(run_again)


def test_an_index_that_is_gone_or_damaged_is_made_anew(run: Run, copy: Path) -> None:
    expected = run("audit", "show", "2", "--journal", copy)
    path = copy / "index.sqlite"
    for damage in (b"", b"nothing", path.read_bytes()[:5000] + b"\xff" * 5000):
        path.write_bytes(damage)
        assert run("audit", "show", "2", "--journal", copy) == expected
    path.unlink()
    assert run("audit", "show", "2", "--journal", copy) == expected


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_export_has_every_decision(run: Run, day: Path, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"decisions.{form}"
    code, _, _ = run("audit", "export", "--journal", day, "--format", form, "--to", path)
    assert code == Exit.DONE
    rows = _rows(path)
    records = [
        record for entry in entries_of(day) if isinstance(record := opened(entry)[1], Record)
    ]
    assert [int(row["sequence"]) for row in rows] == [record.sequence for record in records]
    assert [row["node"] for row in rows] == [record.node for record in records]
    assert {row["outcome"] for row in rows} >= {"", "bound"}


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with open(path, encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def test_parquet_needs_a_file_and_its_package(
    run: Run, day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("audit", "export", "--journal", day, "--format", "parquet")
    assert (code, "--to" in err) == (Exit.USAGE, True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run(
        "audit", "export", "--journal", day, "--format", "parquet", "--to", tmp_path / "a"
    )
    assert (code, "pip install pyarrow" in err) == (Exit.USAGE, True)


# ---- another policy -------------------------------------------------------------------------


def test_the_same_policy_would_have_decided_the_same(run: Run, day: Path) -> None:
    arguments = ["audit", "replay", "--journal", day, "--policy", "default"]
    code, out, _ = run(*arguments, "--output", "json")
    found = json.loads(out)
    assert code == Exit.DONE
    assert found["same"] == found["decisions"] > 300
    assert found["placed"] == found["placed_otherwise"]
    assert found["differences"] == []


def test_another_policy_is_asked_about_the_cluster_as_it_was(run: Run, day: Path) -> None:
    arguments = ["audit", "replay", "--journal", day, "--policy", "bestfit"]
    code, out, _ = run(*arguments, "--output", "json")
    found = json.loads(out)
    assert code == Exit.DONE
    assert 0 < found["same"] < found["decisions"]
    assert abs(found["placed"] - found["placed_otherwise"]) < found["placed"] // 5
    one = found["differences"][0]
    assert one["logged"] != one["other"]
    code, out, _ = run(*arguments)
    assert (code, "decisions are the same" in out) == (Exit.DONE, True)


def test_another_policy_has_no_state_to_begin_with(run: Run, day: Path) -> None:
    arguments = ["audit", "replay", "--journal", day]
    code, _, err = run(*arguments, "--policy", "bestfit", "--from", "9")
    assert (code, "--from with --policy" in err) == (Exit.USAGE, True)
    code, _, err = run(*arguments, "--policy", "nothing")
    assert (code, "unknown policy" in err) == (Exit.USAGE, True)
