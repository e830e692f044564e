"""What another engine decides is told difference by difference, with what may have made it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from herz import engine as engines
from herz.commit.audit.crossed import changed_parts
from herz.commit.audit.entry import Engine, Start, encode, opened, seal
from herz.front.cli.entry import main
from herz.model.journal import Kind
from herz.place.plugins.noderesources import NodeResourcesFit
from tests.support.journal import entries_of, forge, golden

GOLDEN = sorted((Path(__file__).parents[2] / "data" / "journals").glob("*.tar.gz"))
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    golden(tmp_path / "journal", 3)
    return tmp_path / "journal"


def cross(folder: Path, captured: Captured) -> tuple[int, dict[str, object]]:
    """Exit code and answer."""
    options = ["--journal", str(folder), "--cross-version", "--output", "json"]
    code = main(["audit", "replay", *options])
    return code, json.loads(captured.readouterr().out)


def by_another(folder: Path, **fields: object) -> None:
    """Have the journal say that another engine decided."""
    entries = entries_of(folder)
    start = opened(entries[0])[1]
    assert isinstance(start, Start)
    other = replace(start, engine=replace(start.engine, digest="0" * 96, **fields))
    entries[0] = seal(Kind.START, encode(other), entries[0].salt)
    forge(folder, entries, is_tree_kept=False)


def test_the_same_engine_decides_the_same(folder: Path, capsys: Captured) -> None:
    code, found = cross(folder, capsys)
    assert (code, found["changed"], found["differences"]) == (0, [], [])
    assert found["same"] == found["decisions"] == 12


def test_what_changed_and_what_it_moved_is_told(
    folder: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = dict(engines.engine().parts)
    parts = tuple((name, "1" * 96 if name == "place" else one) for name, one in place.items())
    by_another(folder, parts=parts, python="3.10.0")
    plain = NodeResourcesFit.code

    def reworded(rule: NodeResourcesFit, *given: object) -> int:
        code: int = plain(rule, *given)  # type: ignore[arg-type]
        verdict = rule._book.verdict(code)
        return rule._book.code(verdict.kind, rule.name, tuple(map(str.upper, verdict.reasons)))

    monkeypatch.setattr(NodeResourcesFit, "code", reworded)
    code, found = cross(folder, capsys)
    assert code == 1
    changed = found["changed"]
    assert isinstance(changed, list)
    assert [part["name"] for part in changed] == ["place", "python"]
    differences = found["differences"]
    assert isinstance(differences, list)
    assert {one["pod"].split("/")[1][:5] for one in differences} == {"large"}
    for one in differences:
        assert one["components"] == ["place", "python"]
        assert one["rules"] == ["NodeResourcesFit"]
        assert {"message", "path", "rejections"} <= set(one["fields"])
        assert "INSUFFICIENT CPU" in one["now"]["message"]


def test_another_engine_without_a_difference_is_a_yes(folder: Path, capsys: Captured) -> None:
    by_another(folder, parts=())
    code, found = cross(folder, capsys)
    assert (code, found["differences"]) == (0, [])
    changed = found["changed"]
    assert isinstance(changed, list)
    assert {"place", "native", "wiring"} <= {part["name"] for part in changed}
    assert main(["audit", "replay", "--journal", str(folder)]) == 2
    assert "--cross-version" in capsys.readouterr().err


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_golden_journals_are_decided_by_this_version(
    path: Path, tmp_path: Path, capsys: Captured
) -> None:
    with tarfile.open(path) as file:
        file.extractall(tmp_path, filter="data")
    code, found = cross(tmp_path, capsys)
    assert found["decisions"] == 12
    if "outcomes" not in path.name:  # The others are older than what this version decides with.
        assert found["changed"]
    assert code in (0, 1)
    if code == 1:
        differences = found["differences"]
        assert isinstance(differences, list)
        assert all(one["components"] for one in differences)


def test_engines_of_which_nothing_is_known_differ_as_a_whole() -> None:
    one = Engine(digest="a", herz="1", python="3")
    assert [part.name for part in changed_parts(one, replace(one, digest="b"))] == ["engine"]
    assert changed_parts(one, one) == ()


@pytest.mark.parametrize("option", [("--from", "3"), ("--policy", "bestfit")])
def test_it_goes_with_no_other_question(
    folder: Path, option: tuple[str, str], capsys: Captured
) -> None:
    arguments = ["audit", "replay", "--journal", str(folder), "--cross-version", *option]
    assert main(arguments) == 2
    assert option[0] in capsys.readouterr().err
