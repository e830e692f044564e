"""Building a scheduler: its rules, third parties', scales, and the digest of the engine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import herz.app
import herz.engine
from herz.app import (
    build_machine,
    build_plugins,
    load_policy,
    policy_names,
)
from herz.builtin import BUILT_IN, DEFAULT_RULES, PLUGINS
from herz.config import PluginEntry, Policy
from herz.engine import WIRING, engine_digest, third_party
from herz.errors import ConfigError
from herz.place.explain import NO_NODES
from herz.plugin import EventKind, ReasonBook
from herz.profiles import hint_rules
from tests.support.machine import Kept, make_policy

RULE = """
from herz.plugin import Plugin

class Rule:
    name = "Mine"
    def __init__(self, args, reasons):
        self.args = dict(args)

class Misnamed(Rule):
    name = "Other"

def broken(args, reasons):
    raise RuntimeError("no licence")
"""


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that offers rules under several names."""
    (tmp_path / "offers.py").write_text(RULE)
    info = tmp_path / "offers-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offers\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[herz.plugins]\nMine = offers:Rule\nThine = offers:Misnamed\nNone = offers:absent\n"
        "Gone = nowhere:Rule\nBroken = offers:broken\nNodeName = offers:Rule\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    third_party.cache_clear()
    engine_digest.cache_clear()
    yield tmp_path
    third_party.cache_clear()
    engine_digest.cache_clear()
    sys.modules.pop("offers", None)


def build(*entries: PluginEntry) -> list[Any]:
    return [rule for rule, _ in build_plugins(Policy("test", entries), ReasonBook())]


def test_a_third_partys_rule_is_found_by_its_entry_point(offered: Path) -> None:
    (rule,) = build(PluginEntry("Mine", args={"x": 1}))
    assert type(rule).__name__ == "Rule"
    assert rule.args == {"x": 1}


def test_a_built_in_rule_cannot_be_replaced_by_name(offered: Path) -> None:
    (rule,) = build(PluginEntry("NodeName"))
    assert type(rule) is PLUGINS["NodeName"]


def test_unknown_rules_are_answered_with_those_that_there_are(offered: Path) -> None:
    with pytest.raises(ConfigError, match="unknown rule") as caught:
        build(PluginEntry("Nobody"))
    assert "Mine" in caught.value.fix
    assert "NodeAffinity" in caught.value.fix
    assert caught.value.where == "policy test plugins"


@pytest.mark.parametrize("name", ["Thine", "None", "Gone", "Broken"])
def test_a_third_partys_rule_that_is_none_is_refused(offered: Path, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(PluginEntry(name))
    assert name in str(caught.value)
    assert caught.value.fix


def test_third_parties_are_part_of_the_engines_digest(offered: Path) -> None:
    with_them = engine_digest()
    engine_digest.cache_clear()
    info = offered / "offers-1.2.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("1.2", "1.3"))
    third_party.cache_clear()
    assert engine_digest() != with_them


# ---- weights and scales -----------------------------------------------------------------


def test_weights_are_kubernetes_unless_the_policy_says_otherwise() -> None:
    weights = {
        rule.name: weight for rule, weight in build_plugins(BUILT_IN["default"], ReasonBook())
    }
    assert (weights["TaintToleration"], weights["NodeAffinity"]) == (3, 2)
    assert weights["NodeResourcesFit"] == weights["ImageLocality"] == 1
    given = Policy("t", (PluginEntry("NodeAffinity", 9), PluginEntry("ImageLocality", 0)))
    assert [weight for _, weight in build_plugins(given, ReasonBook())] == [9, 0]


def test_a_rule_with_a_scale_of_its_own_must_be_the_only_score() -> None:
    mixed = Policy("t", (PluginEntry("HerzPack"), PluginEntry("NodeResourcesFit")))
    with pytest.raises(ConfigError, match="scale of its own") as caught:
        build_plugins(mixed, ReasonBook())
    assert caught.value.value == "HerzPack"
    assert "give weight 0 to NodeResourcesFit" in caught.value.fix
    alone = Policy("t", (PluginEntry("HerzPack"), PluginEntry("NodeResourcesFit", 0)))
    assert len(build_plugins(alone, ReasonBook())) == 2


def test_default_rules_are_kubernetes_and_shares() -> None:
    assert DEFAULT_RULES[-1] == "GpuShare"
    assert "NodeResourcesFit" in DEFAULT_RULES
    assert "HerzPack" not in DEFAULT_RULES


@pytest.mark.parametrize("name", policy_names())
def test_every_built_in_policy_builds_a_machine(name: str) -> None:
    machine = build_machine(load_policy(name), 1, [Kept()])
    assert machine.ready == 0
    assert machine.step(0, 1) == []


def test_a_machine_is_not_built_without_asserts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Flags:
        optimize = 1

    monkeypatch.setattr(sys, "flags", Flags)
    with pytest.raises(ConfigError, match="asserts are switched off"):
        build_machine(make_policy(), 1, [])


def test_hints_name_the_rules_and_an_empty_cluster_waits_for_a_node() -> None:
    rules = hint_rules(build_plugins(make_policy(), ReasonBook()))
    assert rules[0].plugin == NO_NODES
    assert rules[0].kinds == (EventKind.NODE_ADD,)
    assert {"NodeAffinity", "NodePorts", "Understood"} <= {rule.plugin for rule in rules}


# ---- the engine's digest ----------------------------------------------------------------


def digest_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(herz.engine, "__file__", str(home / "engine.py"))
    engine_digest.cache_clear()
    try:
        return engine_digest()
    finally:
        engine_digest.cache_clear()


def test_every_file_of_the_house_decides_or_is_known_not_to() -> None:
    home = Path(herz.app.__file__).parent
    tells = "__init__ checking comparing journaling judging ports recomputing signals state"
    files = {path.name for path in home.glob("*.py")}
    assert files == {*WIRING, *(f"{name}.py" for name in tells.split())}


@pytest.mark.slow
def test_the_engines_digest_follows_what_decides_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(herz.app.__file__).parent
    home = tmp_path / "herz"
    shutil.copytree(source, home, ignore=shutil.ignore_patterns("__pycache__"))
    here = digest_at(source, monkeypatch)
    assert digest_at(home, monkeypatch) == here, "where it lies does not count"
    for name in ("front/cli/printing.py", "world/sim/driver.py", "signals.py"):
        with (home / name).open("a") as file:
            file.write("\n# more\n")
    assert digest_at(home, monkeypatch) == here
    seen = {here}
    native = next(home.glob("_native*.so"))
    deciding = [
        home / "cycle.py",
        home / "app.py",
        home / "place" / "plugins" / "node_name.py",
        home / "model" / "pod.py",
        home / "intake" / "queue" / "rooms.py",
        home / "commit" / "bind.py",
        home / "config" / "profiles.py",
        native,
    ]
    for number, path in enumerate(deciding):
        with path.open("ab") as file:
            file.write(b"\n# more\n")
        seen.add(digest_at(home, monkeypatch))
        assert len(seen) == number + 2, path
    (home / "place" / "extra.py").write_text("")
    seen.add(digest_at(home, monkeypatch))
    assert len(seen) == len(deciding) + 2
