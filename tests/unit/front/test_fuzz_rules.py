"""`herz fuzz plugin`: planted faults are found, sound rules keep their contract."""

from __future__ import annotations

import ast
import json
import random
import re
from pathlib import Path

import pytest

from herz import builtin
from herz.errors import ConfigError
from herz.front.cli import main
from herz.front.fuzz.rule_work import read_with
from herz.front.fuzz.rules import RuleWish, fuzz_rule
from herz.intake.fuzz import words_of
from herz.place.fuzz import Clause, RuleCase, check_case

ROOT = Path(__file__).parents[3]
PLANTED = ROOT / "tests" / "data" / "rules" / "planted_rules.py"
SEED = "depends on the process or its hash seed"
EXPECTED: dict[str, set[str]] = {
    "WrongType": {Clause.SHAPE},
    "UnknownCode": {Clause.RANGE},
    "OnlyWhole": {Clause.ROWS},
    "Undeclared": {Clause.READS},
    "Unsigned": {Clause.READS},
    "Early": {Clause.READS, Clause.OVERLAY},
    "Greedy": {Clause.MUTATION},
    "Chancy": {Clause.PURE, Clause.ROWS},
    "Timely": {Clause.PURE},
    "TooHot": {Clause.RANGE},
    "Relative": {Clause.NORMALIZE},
    "Hashed": {SEED, Clause.READS, Clause.PURE},
    "Stops": {Clause.RAISES},
    "Counting": {Clause.PURE, Clause.ROWS, Clause.READS},
    "Blind": {Clause.OVERLAY, Clause.PURE, Clause.READS},
    "Stale": {Clause.PURE},
    "Relabelling": {Clause.MUTATION, Clause.ROWS, Clause.PURE},
    "Several": {SEED},
    "Dear": {Clause.COST},
}


def test_every_planted_rule_is_expected() -> None:
    tree = ast.parse(PLANTED.read_text(encoding="utf-8"))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if not name.startswith("_")] == list(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_is_found(name: str) -> None:
    report = fuzz_rule(RuleWish(f"{PLANTED}:{name}", {}, 10, seed=5), lambda text: None)
    assert report.clause in EXPECTED[name], report
    assert report.is_confirmed, report


@pytest.mark.slow
@pytest.mark.parametrize("name", builtin.PLUGINS)
def test_a_rule_of_ours_keeps_its_contract(name: str) -> None:
    make = builtin.PLUGINS[name]
    case = RuleCase(make, {}, words_of(make).texts, read_with)
    for number in range(30):
        check_case(case, random.Random(number), 1 + number // 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NoSpotForBatch", "PreferCold"])
def test_the_rules_of_the_guide_keep_their_contract(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/howto/write-a-plugin.md").read_text(encoding="utf-8")
    found = re.search(r"```python spot_rules.py\n(.*?)```", page, re.S)
    assert found is not None
    (tmp_path / "spot_rules.py").write_text(found[1])
    given = ["fuzz", "plugin", f"{tmp_path}/spot_rules.py:{name}", "--seconds", "2"]
    assert main([*given, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "none"
    assert told["cases"] > 5
    assert set(told["by_row_ns"]) == {"512", "4096"}


@pytest.mark.slow
def test_one_case_repeats_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["fuzz", "plugin", f"{PLANTED}:UnknownCode", "--seconds", "4", "--output", "json"]
    assert main(given) == 1
    told = json.loads(capsys.readouterr().out)
    line = told["reproduce"].split()
    assert main([*line[1:], "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["says"] == told["says"]


@pytest.mark.parametrize(
    ("text", "target", "what"),
    [
        ("class C: pass", "y.py:C", "not a rule"),
        ("C = 3", "y.py:C", "not a rule"),
        ("", "y.py:C", "y.py has no C"),
    ],
)
def test_what_is_no_rule_is_refused(
    text: str, target: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y.py").write_text(text + "\n")
    with pytest.raises(ConfigError, match=what):
        fuzz_rule(RuleWish(target, {}, 1, seed=0), lambda text: None)


def test_arguments_are_a_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "plugin", f"{PLANTED}:TooHot", "--args", "[1]"]) == 2
    assert "--args" in capsys.readouterr().err
