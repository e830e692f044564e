"""`herz sla`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from herz.front.cli import main
from tests.support.promises import as_csv, interference_rows

pytest.importorskip("xgboost", reason="the extra `sla` is not installed")
pytestmark = pytest.mark.slow

FORMAT = ("--format", "nginx-interference")
OBJECTIVE = ("--objective", "p99_ms<=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with outcomes to learn from, others, and a model."""
    path = tmp_path_factory.mktemp("sla")
    (path / "runs.csv.gz").write_bytes(gzip.compress(as_csv(interference_rows(6)).encode()))
    other = [
        {**row, "FolderID": row["FolderID"].replace("Made", "Later")}
        for row in interference_rows(3, seed=7)
    ]
    (path / "later.csv").write_text(as_csv(other), encoding="utf-8")
    given = ("train", "--data", str(path / "runs.csv.gz"), *FORMAT, *OBJECTIVE)
    assert main(["sla", *given, "-o", str(path / "p99.model"), "--output", "json"]) == 0
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """The exit code, the JSON on stdout, and stderr."""
    capsys.readouterr()
    code = main(["sla", *arguments, "--output", "json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_evaluate_gives_the_figures_of_rows_not_seen(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", str(folder / "p99.model"))
    code, found, _ = run(capsys, "evaluate", *model, "--data", str(folder / "later.csv"), *FORMAT)
    assert code == 0
    assert found["n"] == 45
    assert found["groups"] == 15
    assert found["sessions"] == 3
    assert found["feature_set"] == "counters+probe"
    assert found["seen"] == 0
    assert found["auc"] > 0.8
    assert found["auc_interval"][0] <= found["auc"] <= found["auc_interval"][1]
    assert 0 < found["brier"] < found["base_rate"]
    assert set(found["baselines"]) >= {
        "load_only",
        "logistic",
        "probe_p99_alone",
        "logistic_probe",
    }
    assert set(found["baselines"]["logistic"]) == {"auc", "brier"}
    assert set(found["paired_difference"]) == {"against", "mean", "low", "high"}
    assert sum(each["n"] for each in found["reliability"]) == 45


def test_evaluate_refuses_rows_that_were_trained_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(folder / "runs.csv.gz"))
    given = ("evaluate", "--model", str(folder / "p99.model"), *FORMAT, *data)
    code, found, _ = run(capsys, *given)
    assert code == 1
    assert found == {"seen": 90, "n": 90, "refused": "rows that the model was trained on"}
    code, found, _ = run(capsys, *given, "--allow-seen")
    assert code == 0
    assert found["seen"] == 90


def test_train_judges_by_the_unit_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(folder / "runs.csv.gz"))
    code, found, _ = run(capsys, "train", *data, *FORMAT, *OBJECTIVE, "--cv", "family")
    assert code == 0
    assert found["cv"] == "family"
    assert found["n"] == 90
    assert "model" not in found


def test_predict_says_what_moved_each_answer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", str(folder / "p99.model"))
    code, found, _ = run(capsys, "predict", *model, "--data", str(folder / "later.csv"), *FORMAT)
    assert code == 0
    assert len(found["rows"]) == 45
    for row in found["rows"]:
        assert 0 <= row["probability_basis_points"] <= 10_000
        assert len(row["moved_by"]) == 3
    assert main(["sla", "predict", *model, "--data", str(folder / "later.csv"), *FORMAT]) == 0
    assert "moved by" in capsys.readouterr().out


def test_card_tells_figures_and_shows_plots(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", str(folder / "p99.model"), "--data", str(folder / "runs.csv.gz"))
    target = folder / "card.md"
    code, found, _ = run(capsys, "card", *model, *FORMAT, "-o", str(target))
    assert code == 0
    text = target.read_text(encoding="utf-8")
    for part in ("90 outcomes in 30 groups", "6 sessions", "One service on one machine type"):
        assert part in text
    assert found["plots"] == ["card-session.svg"]
    assert "card-session.svg" in text
    drawing = ElementTree.fromstring((folder / "card-session.svg").read_text(encoding="utf-8"))
    circles = drawing.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(found["figures"][0]["reliability"])


BAD: list[tuple[tuple[str, ...], str]] = [
    (("train", "--objective", "p99<=1", "-o", "x"), "not an objective"),
    (("train", *OBJECTIVE), "nothing to do"),
    (("train", *OBJECTIVE, "--cv", "row"), "no such cut"),
    (("train", *OBJECTIVE, "--features", "magic", "-o", "x"), "no such features"),
    (("train", "--objective", "p99_ms<=1000", "-o", "x"), "every promise was kept"),
    (("train", "--objective", "p99_ms<=0.001", "-o", "x"), "no promise was kept"),
]


@pytest.mark.parametrize(("arguments", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_train_refuses_what_cannot_be_done(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(folder)
    code, found, err = run(capsys, *arguments, "--data", str(folder / "runs.csv.gz"), *FORMAT)
    assert code == 2
    assert found is None
    error = json.loads(err)["error"]
    assert problem in error["what"]
    assert error["fix"]
    assert not (folder / "x").exists()


def test_files_that_are_no_models_or_data_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", str(folder / "later.csv"), *FORMAT)
    (folder / "torn.model").write_bytes((folder / "p99.model").read_bytes()[:999])
    for name, problem in (("none", "no such file"), ("torn.model", "not JSON")):
        code, _, err = run(capsys, "evaluate", "--model", str(folder / name), *data)
        assert code == 2
        assert problem in json.loads(err)["error"]["what"]
    (folder / "torn.gz").write_bytes((folder / "runs.csv.gz").read_bytes()[:999])
    (folder / "empty.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    for name, problem in (("torn.gz", "cut off"), ("empty.csv", "a column is missing")):
        model = ("--model", str(folder / "p99.model"))
        code, _, err = run(capsys, "evaluate", *model, "--data", str(folder / name), *FORMAT)
        assert code == 2
        assert problem in json.loads(err)["error"]["what"]
