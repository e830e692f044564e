"""Policies from files: what is allowed, what is refused and how, and what the digest covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herz.app import load_policy, policy_names
from herz.builtin import BUILT_IN
from herz.config import (
    BYTES_MAX,
    PLUGINS_MAX,
    WEIGHT_MAX,
    BackoffPolicy,
    OrderPolicy,
    PluginEntry,
    Policy,
    QueuePolicy,
    parse_policy,
    read_policy,
)
from herz.errors import ConfigError
from herz.profiles import queue_settings

TOML = """
name = "mine"
version = "3"
ties = "name"

[[plugins]]
name = "NodeName"

[[plugins]]
name = "NodeResourcesFit"
weight = 7
[plugins.args.scoringStrategy]
type = "MostAllocated"

[queue]
batch_max = 10
flush_seconds = 60
[queue.backoff]
initial_seconds = 2
[queue.order]
rung1_steps_max = 1
"""
YAML = """
name: mine
version: "3"
ties: name
plugins:
  - name: NodeName
  - name: NodeResourcesFit
    weight: 7
    args: {scoringStrategy: {type: MostAllocated}}
queue:
  batch_max: 10
  flush_seconds: 60
  backoff: {initial_seconds: 2}
  order: {rung1_steps_max: 1}
"""
JSON = """
{"name": "mine", "version": "3", "ties": "name",
 "plugins": [{"name": "NodeName"}, {"name": "NodeResourcesFit", "weight": 7,
   "args": {"scoringStrategy": {"type": "MostAllocated"}}}],
 "queue": {"batch_max": 10, "flush_seconds": 60, "backoff": {"initial_seconds": 2},
           "order": {"rung1_steps_max": 1}}}
"""
MINE = Policy(
    "mine",
    (
        PluginEntry("NodeName"),
        PluginEntry("NodeResourcesFit", 7, {"scoringStrategy": {"type": "MostAllocated"}}),
    ),
    "3",
    "name",
    QueuePolicy(10, 60, None, BackoffPolicy(2), OrderPolicy(1)),
)


def write(folder: Path, text: str | bytes, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path) -> ConfigError:
    """The error about a file, after the check that it names a place and a remedy."""
    with pytest.raises(ConfigError) as caught:
        load_policy(str(path))
    assert caught.value.where, caught.value
    assert caught.value.what
    return caught.value


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", TOML), ("a.yaml", YAML), ("a.yml", YAML), ("a.json", JSON)]
)
def test_the_three_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path, text, name)
    assert read_policy(path) == MINE
    assert read_policy(path).digest == MINE.digest
    assert load_policy(str(path)) == MINE


BAD: list[tuple[str, str, str]] = [
    ("unknown key", TOML.replace("ties", "tie"), "tie"),
    ("unknown key of a rule", TOML.replace("weight", "heft"), "heft"),
    ("unknown key of the queue", TOML.replace("batch_max", "batch"), "batch"),
    ("wrong type", TOML.replace("weight = 7", 'weight = "7"'), "plugins"),
    ("a float", TOML.replace("weight = 7", "weight = 7.5"), "plugins"),
    ("a boolean", TOML.replace("batch_max = 10", "batch_max = true"), "queue.batch_max"),
    ("no rules", 'name = "x"\nplugins = []', "plugins"),
    ("no plugins key", 'name = "x"', "plugins"),
    ("no name", TOML.replace('"mine"', '""'), "name"),
    ("name missing", TOML.replace('name = "mine"', ""), "name"),
    ("weight below 0", TOML.replace("weight = 7", "weight = -1"), "plugins[1]"),
    ("weight too high", TOML.replace("weight = 7", f"weight = {WEIGHT_MAX + 1}"), "plugins[1]"),
    ("rule twice", TOML.replace("NodeResourcesFit", "NodeName"), "plugins[1]"),
    ("unknown rule", TOML.replace("NodeName", "NodeNome"), "plugins"),
    ("bad ties", TOML.replace('ties = "name"', 'ties = "random"'), "ties"),
    ("bad argument", TOML.replace("MostAllocated", "Most"), "pluginConfig[NodeResourcesFit]"),
    ("batch of none", TOML.replace("batch_max = 10", "batch_max = 0"), "queue.batch_max"),
    ("batch too large", TOML.replace("batch_max = 10", "batch_max = 65537"), "queue.batch_max"),
    ("flush at once", TOML.replace("flush_seconds = 60", "flush_seconds = 0"), "queue"),
    ("flush never", TOML.replace("flush_seconds = 60", f"flush_seconds = {1 << 40}"), "queue"),
    ("no back-off", TOML.replace("initial_seconds = 2", "initial_seconds = 0"), "queue"),
    ("initial over max", TOML.replace("initial_seconds = 2", "initial_seconds = 11"), "queue"),
    ("retries", TOML.replace("initial_seconds = 2", "retries_max = -1"), "retries_max"),
    ("total", TOML.replace("initial_seconds = 2", "total_seconds_max = -1"), "queue.backoff"),
    ("order", TOML.replace("rung1_steps_max = 1", "rung1_steps_max = 80001"), "rung1_steps_max"),
    ("order nodes", TOML.replace("rung1_steps_max = 1", "graph_nodes_max = -1"), "queue.order"),
    ("order percent", TOML.replace("rung1_steps_max = 1", "dropped_percent_max = 101"), "queue"),
    ("sort not there", TOML.replace("batch_max", 'sort = "PrioritySort"\nbatch_max'), "queue.sort"),
    ("sort that sorts nothing", TOML.replace("batch_max", 'sort = "NodeName"\nbatch_max'), "sort"),
    ("not TOML", "name = ", "policy.toml"),
    ("empty", "", "policy.toml"),
]


@pytest.mark.parametrize(("text", "place"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_wrong_policy_is_refused_by_place_and_with_a_remedy(
    tmp_path: Path, text: str, place: str
) -> None:
    error = refused(write(tmp_path, text))
    assert place in f"{error.where} {error.what}"
    if "parse" not in error.what:
        assert error.fix


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.yaml", b"- a\n- b\n"),
        ("nothing.yaml", b""),
        ("text.json", b'"a"'),
        ("cut.json", b'{"name": '),
        ("tabs.yaml", b"a:\n\t- b"),
        ("object.yaml", b"!!python/object/apply:os.system ['true']"),
        ("keys.yaml", b"{[a]: 1}"),
        ("bytes.toml", b"name = '\xff'"),
        ("deep.json", b"[" * 100_000),
        ("deep.yaml", b"[" * 20_000),
        ("deep.toml", b"a = " + b"[" * 20_000),
        ("date.yaml", b"name: 2001-99-99"),
        ("tag.yaml", b"name: !!bool x"),
        ("moment.yaml", b"name: !!timestamp x"),
        ("number.yaml", b"name: !!int ''"),
        ("digits.toml", b"a = " + b"1" * 5000),
        ("digits.yaml", b"a: " + b"1" * 5000),
        ("half.yaml", b'name: "\\ud83d"'),
        ("half-key.yaml", b'"\\U0000d83d": 1'),
        ("character.yaml", b'a: "\\U9001F600"'),
        ("number.json", b'{"name": "a", "plugins": [{"name": "NodeName", "weight": 1e400}]}'),
    ],
)
def test_a_file_that_is_no_policy_is_refused_by_name(
    tmp_path: Path, name: str, data: bytes
) -> None:
    error = refused(write(tmp_path, data, name))
    assert name in error.where


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    absent = refused(tmp_path / "absent.toml")
    assert "absent.toml" in absent.where
    assert absent.fix
    (tmp_path / "folder.toml").mkdir()
    assert refused(tmp_path / "folder.toml").fix


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    error = refused(write(tmp_path, TOML + "#" * BYTES_MAX))
    assert "too large" in error.what
    assert error.fix


@pytest.mark.parametrize("name", ["policy.ini", "policy", "policy.TOML"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    error = refused(write(tmp_path, TOML, name))
    assert error.fix == "name the file .toml, .yaml or .json"


def test_a_name_that_is_no_policy_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy("defualt")
    assert caught.value.where == "--policy"
    for name in policy_names():
        assert name in caught.value.fix
        assert load_policy(name) is BUILT_IN[name]


def test_too_many_rules_are_refused() -> None:
    rules = [{"name": f"r{n}"} for n in range(PLUGINS_MAX + 1)]
    with pytest.raises(ConfigError, match="too many rules"):
        parse_policy({"name": "x", "plugins": rules}, where="here")
    assert len(parse_policy({"name": "x", "plugins": rules[1:]}, where="here").plugins) == 200


def test_seconds_become_nanoseconds() -> None:
    queue = QueuePolicy(backoff=BackoffPolicy(3, 30, 4, 5), flush_seconds=7, batch_max=9)
    settings = queue_settings(Policy("x", (PluginEntry("NodeName"),), queue=queue))
    assert settings.flush_after_ns == 7_000_000_000
    assert settings.batch_max == 9
    backoff = settings.backoff
    assert (backoff.initial_ns, backoff.max_ns) == (3_000_000_000, 30_000_000_000)
    assert (backoff.retries_max, backoff.backoff_ns_max) == (4, 5_000_000_000)


# ---- the digest -------------------------------------------------------------------------


def plain() -> dict[str, Any]:
    return {
        "name": "mine",
        "version": "3",
        "ties": "name",
        "plugins": [
            {"name": "NodeName"},
            {"name": "NodeResourcesFit", "weight": 7, "args": {"a": 1, "b": {"c": [1, 2]}}},
        ],
    }


def digest_of(given: dict[str, Any]) -> str:
    return parse_policy(given, where="here").digest


def test_the_digest_has_its_form_and_is_the_same_for_the_same_policy() -> None:
    digest = digest_of(plain())
    assert digest.startswith("@sha256:")
    assert len(digest) == len("@sha256:") + 64
    turned = dict(reversed(plain().items()))
    turned["plugins"][1]["args"] = {"b": {"c": [1, 2]}, "a": 1}
    assert digest_of(turned) == digest


def test_the_digest_of_the_default_policy_is_pinned() -> None:
    """It names the policy in logs that outlive a release: a change here is a new policy."""
    assert BUILT_IN["default"].digest == Policy("default", BUILT_IN["default"].plugins).digest
    assert len({policy.digest for policy in BUILT_IN.values()}) == len(BUILT_IN)


CHANGES: list[tuple[str, Any]] = [
    ("name", "other"),
    ("version", "4"),
    ("ties", "hash"),
    ("queue", {"batch_max": 1}),
    ("queue", {"flush_seconds": 1}),
    ("queue", {"sort": "NodeName"}),
    ("queue", {"backoff": {"initial_seconds": 2}}),
    ("queue", {"backoff": {"max_seconds": 11}}),
    ("queue", {"backoff": {"retries_max": 0}}),
    ("queue", {"backoff": {"total_seconds_max": 0}}),
    ("queue", {"order": {"rung1_steps_max": 1}}),
    ("queue", {"order": {"both_steps_max": 1}}),
    ("queue", {"order": {"graph_nodes_max": 1}}),
    ("queue", {"order": {"weak_thousandths_max": 1}}),
    ("queue", {"order": {"dropped_percent_max": 1}}),
    ("plugins", plain()["plugins"][:1]),
    ("plugins", plain()["plugins"][::-1]),
    ("plugins", [*plain()["plugins"], {"name": "NodePorts"}]),
    ("plugins", [{"name": "NodeName", "weight": 1}, plain()["plugins"][1]]),
    ("plugins", [{"name": "NodeName", "weight": 0}, plain()["plugins"][1]]),
    ("plugins", [{"name": "NodeName", "args": {"x": None}}, plain()["plugins"][1]]),
    (
        "plugins",
        [plain()["plugins"][0], {"name": "NodeResourcesFit", "weight": 7, "args": {"a": 2}}],
    ),
    (
        "plugins",
        [
            plain()["plugins"][0],
            {"name": "NodeResourcesFit", "weight": 7, "args": {"a": 1, "b": {"c": [2, 1]}}},
        ],
    ),
]


def test_every_change_of_a_policy_changes_its_digest() -> None:
    digests = {digest_of(plain())}
    for key, value in CHANGES:
        digests.add(digest_of({**plain(), key: value}))
    assert len(digests) == len(CHANGES) + 1
