"""Files of settings: which kind a file is of, and which of its policies is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.config import Configuration, Policy, pick_policy, read_settings, split_profile
from herz.errors import ConfigError
from tests.unit.config.rules import HEAD, KNOWN


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.yaml", HEAD, Configuration),
        ("a", HEAD, Configuration),
        ("a.conf", f"# Our scheduler.\n{HEAD}", Configuration),
        ("a.json", '{"name": "x", "plugins": [{"name": "NodeName"}]}', Policy),
        ("a.yaml", "name: x\nplugins: [{name: KubeSchedulerConfiguration}]\n", Policy),
    ],
)
def test_a_files_kind_is_seen_from_its_content(
    tmp_path: Path, name: str, text: str, kind: type
) -> None:
    (tmp_path / name).write_text(text)
    assert isinstance(read_settings(tmp_path / name, KNOWN), kind)


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD)
    assert read_settings(None, KNOWN) == read_settings(tmp_path / "a.yaml", KNOWN)


@pytest.mark.parametrize("name", ["absent.yaml", "", "nul\0"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read") as caught:
        read_settings(tmp_path / name, KNOWN)
    assert caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.yaml", ("a.yaml", "")),
        ("a.yaml#b", ("a.yaml", "b")),
        ("a#b.yaml#c", ("a#b.yaml", "c")),
        ("#b", ("#b", "")),
    ],
)
def test_a_profile_is_named_after_the_last_sign(text: str, parts: tuple[str, str]) -> None:
    assert split_profile(text) == parts


def test_a_profile_that_is_not_there_is_answered_with_those_that_are() -> None:
    settings = read_settings(None, KNOWN)
    assert pick_policy(settings, "a.yaml", "").name == "default-scheduler"
    with pytest.raises(ConfigError, match="no such profile") as caught:
        pick_policy(settings, "a.yaml", "b")
    assert caught.value.fix == "pick one: a.yaml#default-scheduler"
