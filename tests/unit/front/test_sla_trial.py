"""`herz sla trial`: a candidate judged on rows of a file, and again from a journal."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz.front.cli import main
from herz.knowledge.sla.learning.dataset import parse_objective
from herz.knowledge.sla.learning.tables import read_records
from herz.knowledge.sla.rows import head_line, latency_of, row_line
from herz.knowledge.sla.state import FEATURES, NAMES
from tests.support.metering import lived, mostly_kept
from tests.support.promises_model import made_model, made_of
from tests.unit.front.test_metering import reasons
from tests.unit.journal.test_promoted import other_model

ROWS = 1_200
QUIET_NS = 25_000_000


def rows(count: int = ROWS, sessions: int = 40) -> bytes:
    """Outcomes of which the made model knows the truth, nine times in ten."""
    chance, lines = random.Random(4711), [head_line()]
    at = NAMES.index("expected_bandwidth")
    for number in range(count):
        features = [100] * len(FEATURES)
        features[at] = chance.choice([1_000, 9_000])
        is_kept = (features[at] < 5_000) == (chance.random() < 0.9)
        outcome = latency_of(50_000_000 if is_kept else 200_000_000, QUIET_NS)
        session = f"s{number % sessions}"
        who = {"service": "online", "family": "f", "machine": "m"}
        lines.append(row_line(features, outcome, session=session, **who))
    return b"\n".join(lines) + b"\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Models, and outcomes."""
    for name, model in {"good": made_model(), "bad": other_model()}.items():
        (tmp_path / f"{name}.model").write_bytes(model.dump())
    (tmp_path / "rows.jsonl").write_bytes(rows())
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, Any]:
    """The exit code, and the JSON on stdout and stderr."""
    capsys.readouterr()
    code = main(["sla", "trial", *arguments, "--output", "json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, json.loads(err) if err else None


def files(folder: Path, candidate: str, incumbent: str) -> list[str]:
    models = ["--candidate", f"{folder}/{candidate}.model"]
    models += ["--incumbent", f"{folder}/{incumbent}.model"]
    return [*models, "--data", f"{folder}/rows.jsonl", "--format", "records"]


def test_better_candidate_would_be_promoted_on_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = run(capsys, *files(folder, "good", "bad"))
    assert code == 0
    assert (found["says"], found["number"], found["error"]) == ("promote", 1, 0.025)
    assert (found["outcomes"], found["clusters"]) == (1_000, 40), "judged once, at the first enough"
    assert 0 < found["low"] < found["brier_improvement"]
    assert (found["candidate"], found["incumbent"]) == (made_model().digest, other_model().digest)
    _, later, _ = run(capsys, *files(folder, "good", "bad"), "--number", "9")
    assert later["error"] == 0.05 / 90
    assert later["low"] < found["low"]


def test_candidate_that_is_not_better_or_too_little_known_ends_with_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = run(capsys, *files(folder, "bad", "good"))
    assert (code, found["says"]) == (1, "keep")
    assert found["brier_improvement"] < 0
    (folder / "rows.jsonl").write_bytes(rows(900))
    code, found, _ = run(capsys, *files(folder, "good", "bad"))
    assert (code, found["says"], found["outcomes"]) == (1, "wait", 900)
    assert (found["brier_improvement"], found["low"]) == (None, None), "no look before the end"
    (folder / "rows.jsonl").write_bytes(rows(sessions=20))
    code, found, _ = run(capsys, *files(folder, "good", "bad"))
    assert (code, found["says"], found["clusters"]) == (1, "wait", 20)


def test_rows_that_a_model_was_trained_on_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = read_records(rows().decode(), "rows", parse_objective("p99_ms<=100"))
    manifest = msgspec.structs.replace(
        made_model().body.manifest, seen=tuple(sorted(set(data.digests.tolist())))[:30]
    )
    (folder / "good.model").write_bytes(made_model(manifest=manifest).dump())
    code, found, _ = run(capsys, *files(folder, "good", "bad"))
    assert code == 1
    assert found["refused"] == "rows that a model was trained on"
    assert found["seen"] >= 30
    assert found["n"] == ROWS


@pytest.mark.slow
def test_journal_gives_the_verdict_that_was_given_live(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived(folder / "up", other_model(), made_model(), mostly_kept)
    code, found, _ = run(capsys, "--journal", f"{folder}/up")
    assert (code, found["says"], found["number"]) == (0, "promote", 1)
    ((name, reason),) = reasons(folder / "up")
    assert (found["candidate"], found["incumbent"]) == (name, other_model().digest)
    live = f"Brier improvement {found['brier_improvement']:.5f}, at least {found['low']:.5f} "
    assert f"trial 1: {live}" in reason
    assert f"{found['outcomes']} outcomes, {found['violations']} violations" in reason
    models = ["--candidate", f"{folder}/good.model", "--incumbent", f"{folder}/bad.model"]
    assert run(capsys, "--journal", f"{folder}/up", *models)[1] == found
    code, _, told = run(capsys, "--journal", f"{folder}/up", "--candidate", f"{folder}/bad.model")
    assert (code, told["error"]["what"]) == (2, "no such trial")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no outcomes"),
        (["--data", "rows.jsonl", "--journal", "j"], "outcomes of two places"),
        (["--data", "rows.jsonl", "--format", "records"], "an option is missing"),
        (["--number", "0"], "out of range"),
        (["--journal", "j", "--format", "records"], "options of a file"),
        (["--journal", "j"], "no journal"),
        (["--data", "rows.jsonl", "--candidate", "gone.model"], "no such file"),
        (["--data", "rows.jsonl", "--candidate", "rows.jsonl"], "not JSON"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(folder)
    code, _, told = run(capsys, *given)
    assert code == 2
    assert said in told["error"]["what"]
    assert told["error"]["fix"]


def test_model_of_another_kind_or_of_other_features_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "jobs.model").write_bytes(made_of("completion", "batch").dump())
    code, _, told = run(capsys, *files(folder, "good", "jobs"))
    assert (code, told["error"]["what"]) == (2, "another kind of promise")
    (folder / "rows.csv").write_text("session,p99_ms,load,wait\na,1,1,1\nb,200,1,1\n")
    given = [*files(folder, "good", "bad")[:4], "--data", f"{folder}/rows.csv", "--format", "csv"]
    code, _, told = run(capsys, *given)
    assert (code, told["error"]["what"]) == (2, "other features")
