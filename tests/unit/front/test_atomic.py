"""Reports are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from herz.errors import ConfigError, WorldError
from herz.front.atomic import checked_target, write_whole


def test_write_whole_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    write_whole(target, "new é\n")
    assert target.read_bytes() == "new é\n".encode()
    assert os.listdir(tmp_path) == ["report.html"]


def test_write_whole_that_fails_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def refuse(source: object, destination: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WorldError, match="No space left on device"):
        write_whole(target, "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_write_whole_into_a_vanished_folder_is_a_world_error(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot write"):
        write_whole(tmp_path / "gone" / "report.html", "x")


@pytest.mark.parametrize("text", ["", "/dev/null", "missing/report.html", ".", "a\0b"])
def test_checked_target_refuses(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        checked_target(text, option="--report")
    assert caught.value.where == "--report"
    assert caught.value.fix


def test_checked_target_follows_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.html"
    real.write_text("old")
    link = tmp_path / "link.html"
    link.symlink_to(real)
    write_whole(checked_target(str(link), option="--report"), "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
