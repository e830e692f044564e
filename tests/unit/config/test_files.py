"""Files of settings: which kind a file is of, and which of its policies is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.config import (
    Configuration,
    Policies,
    Policy,
    pick_policies,
    pick_policy,
    read_settings,
    split_profile,
)
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
    with pytest.raises(ConfigError, match="no such profile") as caught:
        pick_policies(settings, "a.yaml", "b")
    assert caught.value.fix == "pick one: a.yaml#default-scheduler"


TWO = "profiles: [{schedulerName: b}, {schedulerName: a}]\n"


def test_all_profiles_are_picked_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD + TWO)
    settings = read_settings(tmp_path / "a.yaml", KNOWN)
    found = pick_policies(settings, "a.yaml", "")
    assert isinstance(found, Policies)
    assert [profile.scheduler_name for profile in found.profiles] == ["a", "b"]
    assert pick_policies(settings, "a.yaml", "b") == pick_policy(settings, "a.yaml", "b")
    with pytest.raises(ConfigError, match="several profiles"):
        pick_policy(settings, "a.yaml", "")


def test_the_order_in_the_file_is_in_no_digest(tmp_path: Path) -> None:
    digests = set()
    for text in (TWO, "profiles: [{schedulerName: a}, {schedulerName: b}]\n"):
        (tmp_path / "a.yaml").write_text(HEAD + text)
        digests.add(pick_policies(read_settings(tmp_path / "a.yaml", KNOWN), "", "").digest)
    assert len(digests) == 1


OWN = """\
[queue]
batch_max = 7
[[profiles]]
name = "b"
ties = "name"
plugins = [{ name = "NodeName" }]
[[profiles]]
name = "a"
plugins = [{ name = "NodeName" }, { name = "NodePorts" }]
"""


def test_a_file_of_our_own_may_list_policies(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    found = read_settings(tmp_path / "own.toml", KNOWN)
    assert isinstance(found, Policies)
    assert [profile.policy.name for profile in found.profiles] == ["a", "b"]
    assert {profile.policy.queue.batch_max for profile in found.profiles} == {7}
    assert pick_policy(found, "own.toml", "b").ties == "name"
    assert pick_policies(found, "own.toml", "") == found
    (tmp_path / "one.yaml").write_text("profiles: [{name: a, plugins: [{name: NodeName}]}]")
    one = read_settings(tmp_path / "one.yaml", KNOWN)
    assert isinstance(one, Policy)
    assert one.name == "a"


BAD = [
    ("none", "profiles: []", "own.yaml profiles"),
    ("no list", "profiles: {name: a}", "own.yaml profiles"),
    ("many", "profiles: [" + "{}," * 101 + "]", "own.yaml profiles"),
    ("another key", "profiles: [{name: a, plugins: [{name: N}]}]\nname: x", "own.yaml name"),
    ("no policy", "profiles: [a]", "own.yaml profiles[0]"),
    ("no name", "profiles: [{plugins: [{name: N}]}]", "own.yaml profiles[0]"),
    ("empty name", "profiles: [{name: '', plugins: [{name: N}]}]", "own.yaml profiles[0] name"),
    ("no rules", "profiles: [{name: a, plugins: []}]", "own.yaml profiles[0] plugins"),
    (
        "a name twice",
        "profiles: [{name: a, plugins: [{name: N}]}, {name: a, plugins: [{name: M}]}]",
        "own.yaml profiles[1] name",
    ),
    (
        "a queue inside",
        "profiles: [{name: a, plugins: [{name: N}], queue: {}}]",
        "own.yaml profiles[0] queue",
    ),
    (
        "a wrong queue",
        "profiles: [{name: a, plugins: [{name: N}]}]\nqueue: {flush_seconds: 0}",
        "own.yaml profiles[0] queue",
    ),
    (
        "a wrong rule",
        "profiles: [{name: a, plugins: [{name: N}]}, {name: b, plugins: [{name: N, x: 1}]}]",
        "own.yaml profiles[1] plugins[0]",
    ),
]


@pytest.mark.parametrize(("text", "place"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_wrong_list_of_policies_is_refused_by_place(
    tmp_path: Path, text: str, place: str
) -> None:
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "own.yaml", KNOWN)
    assert caught.value.where.endswith(place)
    assert caught.value.what
    assert caught.value.fix
