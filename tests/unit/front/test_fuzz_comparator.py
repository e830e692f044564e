"""`herz fuzz comparator`: planted faults are found, sound comparators are not accused."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from herz.errors import ConfigError
from herz.front.cli import main
from herz.front.fuzz.run import CONFIRM_SECONDS, LOAD_SECONDS, Report, Wish, fuzz_comparator
from herz.intake.fuzz import Flaw

DATA = Path(__file__).parents[2] / "data" / "comparators"
PLANTED, SOUND = DATA / "planted.py", DATA / "sound.py"
LAWS = {Flaw.IRREFLEXIVE, Flaw.ASYMMETRIC, Flaw.TRANSITIVE, Flaw.INCOMPARABLE}
HIDDEN = {Flaw.STATE, Flaw.IDENTITY, Flaw.CHANCE, Flaw.SORT}
EXPECTED: dict[str, set[Flaw]] = {
    "not_strict": {Flaw.IRREFLEXIVE},
    "stone_paper_scissors": LAWS,
    "tolerant": {Flaw.INCOMPARABLE},
    "nan_is_no_number": {Flaw.INCOMPARABLE},
    "fails_on_empty": {Flaw.RAISED, Flaw.ONE_SIDED},
    "one_sided": {Flaw.RAISED, Flaw.ONE_SIDED, *LAWS},
    "shuffles_its_arguments": {Flaw.MUTATION},
    "by_address": HIDDEN,
    "by_hash": {Flaw.SEED},
    "says_one": {Flaw.ANSWER},
    "rare_circle": {Flaw.TRANSITIVE, Flaw.INCOMPARABLE},
    "at_night": {Flaw.TIME},
    "tires": HIDDEN,
    "uses_a_scratch": {Flaw.THREADS},
    "past_the_mantissa": LAWS,
    "one_hash_in_many": LAWS,
    "deep": {Flaw.RAISED, Flaw.ONE_SIDED},
    "lucky": HIDDEN,
    "mixes_its_keys": LAWS,
    "forgets_a_request": {Flaw.MUTATION, *HIDDEN},
    "leaves": {Flaw.RAISED},
    "ends_the_process": {Flaw.DIED},
    "never_ends": {Flaw.HANG},
    "squared": {Flaw.HANG},
    "asks_for_the_world": {Flaw.RAISED, Flaw.ONE_SIDED},
    "none_of_it": {Flaw.RAISED},
    "naive_case": LAWS,
    "partly": {Flaw.INCOMPARABLE},
    "by_the_variable": {Flaw.ENVIRONMENT},
    "ages": {Flaw.TIME},
    "remembers": {Flaw.MEMORY},
    "caches_by_address": HIDDEN,
    "compare_with_a_bias": LAWS,
    "changing_key": HIDDEN,
    "in_a_set": {Flaw.SEED},
}


def names_in(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for name in found if not name.startswith("_")]


def fuzzed(target: str, seconds: float = 10, type_text: str | None = None) -> Report:
    wish = Wish(target, type_text, seconds, seed=3, is_hostile=False)
    return fuzz_comparator(wish, lambda text: None)


def test_every_planted_fault_is_expected() -> None:
    assert names_in(PLANTED) == list(EXPECTED)
    assert len(names_in(SOUND)) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_planted_fault_is_found(name: str) -> None:
    report = fuzzed(f"{PLANTED}:{name}")
    assert report.fault is not None, report.tried
    assert report.fault.flaw in EXPECTED[name], report.fault
    assert report.fault.says


@pytest.mark.slow
@pytest.mark.parametrize("name", names_in(SOUND))
def test_a_sound_comparator_is_not_accused(name: str) -> None:
    report = fuzzed(f"{SOUND}:{name}", seconds=4)
    assert report.fault is None, report.fault
    assert report.tried["calls"] > 1_000


@pytest.mark.slow
def test_the_counter_example_is_the_smallest_and_can_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def order(a: int, b: int) -> bool:\n    return a <= b\n")
    assert main(["fuzz", "comparator", "mine.py:order", "--output", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["fault"]["flaw"], told["fault"]["shown"]) == (Flaw.IRREFLEXIVE.value, ["0"])
    assert told["fault"]["is_confirmed"]
    log = json.loads((tmp_path / told["crash_log"]).read_text())
    assert log["seed"] == 0
    words = log["reproduce"].split()
    assert words[0] == "herz"
    assert main(words[1:]) == 1
    (tmp_path / "mine.py").write_text("def order(a: int, b: int) -> bool:\n    return a < b\n")
    assert main(words[1:]) == 0
    assert "seen again" in capsys.readouterr().out


SLOW = """
def order(a: list[int], b: list[int]) -> bool:
    for _ in range(30_000):
        pass
    return a < b
"""


@pytest.mark.slow
def test_a_slow_comparator_has_its_verdict_in_time_and_what_was_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its seconds begin when it is loaded; without their end this takes over a minute."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SLOW)
    report = fuzzed("mine.py:order", 2)
    assert report.fault is None
    assert "other processes" in report.cut_short
    assert "a sort of a million" in report.not_tried
    assert report.elapsed_ms < 1_000 * (2 + LOAD_SECONDS + CONFIRM_SECONDS)


@pytest.mark.slow
def test_values_outside_the_type_are_told_and_are_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target = f"{SOUND}:by_number"
    given = ["fuzz", "comparator", target, "--hostile", "--seconds", "3", "--output", "json"]
    assert main(given) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "none"
    assert any("TypeError" in one["says"] for one in told["robustness"])


@pytest.mark.parametrize(
    ("text", "target", "what"),
    [
        ("def f(a, b): return a < b", "x.py:f", "the argument types are not known"),
        ("def f(a: object, b: object): return True", "x.py:f", "the argument types are not known"),
        ("def f(a: int): return a", "x.py:g", "x.py has no g"),
        ("def f(a: int, b: str) -> bool: return True", "x.py:f", "arguments of two types"),
        ("def f(a: int, b: int, c: int) -> bool: return True", "x.py:f", "not a comparator"),
        ("raise SystemExit(0)", "x.py:f", "its module cannot be loaded"),
        ("import os; os._exit(0)", "x.py:f", "its module ends the process"),
        ("class C: pass\ndef f(a: C, b: C) -> bool: return True", "x.py:f", "no values of this"),
        ("class C: pass", "x.py:C", "the class orders nothing"),
        ("f = 3", "x.py:f", "nothing to call"),
        ("", "x.py", "no module and name"),
        ("", "y.py:f", "no such file"),
        ("", "no_such_module_here:f", "no such module"),
    ],
)
def test_what_cannot_be_fuzzed_is_refused(
    text: str, target: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text(text + "\n")
    with pytest.raises(ConfigError, match=what) as refused:
        fuzzed(target, seconds=2)
    assert refused.value.fix


def test_an_unknown_type_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "comparator", f"{SOUND}:by_number", "--type", "floot"]) == 2
    assert "unknown type" in capsys.readouterr().err


def test_a_replay_needs_a_crash_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text("{}")
    given = ["fuzz", "comparator", f"{SOUND}:by_number", "--replay", str(tmp_path / "log")]
    assert main(given) == 2
    assert "no crash log" in capsys.readouterr().err
