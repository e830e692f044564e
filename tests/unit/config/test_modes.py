"""Which rules a policy may let give way, and what it says where it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from herz import app, engine
from herz.config import RESERVATIONS, PluginEntry, Policy, RuleTerms, parse_policy, rule_terms
from herz.config.modes import lasting
from herz.config.policy import QueuePolicy, StarvationPolicy
from herz.errors import ConfigError
from herz.front.cli import main
from herz.model.effects import Bind
from herz.model.events import ObjectApplied
from herz.plugin import SKIP, Filter, Mode, PreBind, Reads, Reserve, Rows, Summing, View
from tests.support.machine import SECOND, Kept
from tests.support.objects import make_node, make_pod

OFF = QueuePolicy(starvation=StarvationPolicy(after_seconds=0))
BOTH = (Mode.REFUSE, Mode.PREFER)


class Rule(Filter):
    """A filter that says nothing of its modes."""

    name: ClassVar[str] = "Rule"
    reads: ClassVar[Reads] = Reads.NOTHING
    reads_all: ClassVar[Reads] = Reads.NOTHING

    def sign(self, pod: Any) -> object:
        return None

    def prepare(self, pod: Any, view: View) -> Any:
        return SKIP

    def filter(self, state: Any, view: View, rows: Rows) -> Any:
        raise AssertionError("it is skipped")


class Advice(Rule):
    modes: ClassVar[tuple[Mode, ...]] = (Mode.PREFER, Mode.REFUSE)


class Soft(Rule):
    modes: ClassVar[tuple[Mode, ...]] = (Mode.PREFER,)


class Hard(Rule):
    modes: ClassVar[tuple[Mode, ...]] = (Mode.REFUSE,)


class Devices(Advice, Reserve):
    pass


class Sums(Advice, Summing):
    pass


class Volumes(Advice, PreBind):
    bind_timeout_ns = 1


class Gate:
    name: ClassVar[str] = "Rule"


def terms_of(kind: Any, **entry: Any) -> Mapping[str, RuleTerms]:
    name = entry.pop("name", "Rule")
    return rule_terms(Policy("p", (PluginEntry(name, **entry),), queue=OFF), [(kind(), 1)])


def terms(mode: Mode, seconds: int = 0) -> RuleTerms:
    return RuleTerms(mode, seconds * SECOND)


@pytest.mark.parametrize(
    ("kind", "entry", "found"),
    [
        (Rule, {}, None),
        (Rule, {"mode": "Prefer"}, terms(Mode.PREFER)),
        (Rule, {"mode": "Refuse"}, terms(Mode.REFUSE, 300)),
        (Rule, {"mode": "Refuse", "fall_back_after_seconds": 7}, terms(Mode.REFUSE, 7)),
        (Rule, {"mode": "Refuse", "fall_back_after_seconds": 0}, terms(Mode.REFUSE)),
        (Rule, {"fall_back_after_seconds": 7}, terms(Mode.REFUSE, 7)),
        (Advice, {}, terms(Mode.PREFER)),
        (Advice, {"mode": "Refuse"}, terms(Mode.REFUSE, 300)),
        (Soft, {}, terms(Mode.PREFER)),
        (Soft, {"mode": "Prefer"}, terms(Mode.PREFER)),
        (Hard, {}, None),
        (Devices, {}, None),
        (Gate, {}, None),
    ],
)
def test_terms_are_the_policys_or_the_rules_own(
    kind: Any, entry: dict[str, Any], found: RuleTerms | None
) -> None:
    assert terms_of(kind, **entry) == ({} if found is None else {"Rule": found})


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (Rule, "NodeName", "kube-scheduler's"),
        (Rule, "NodeResourcesFit", "kube-scheduler's"),
        (Rule, RESERVATIONS, r"queue\.starvation"),
        (Hard, "Rule", "does not offer this mode"),
        (Devices, "Rule", "given away twice"),
        (Sums, "Rule", "given away twice"),
        (Volumes, "Rule", "given away twice"),
        (Gate, "Rule", "refuses no node"),
    ],
)
@pytest.mark.parametrize(
    ("key", "value"), [("mode", "Prefer"), ("mode", "Refuse"), ("fall_back_after_seconds", 7)]
)
def test_a_rule_that_cannot_give_way_is_told_with_field_value_and_remedy(
    kind: Any, name: str, why: str, key: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        terms_of(kind, name=name, **{key: value})
    assert caught.value.where == f"policy p plugins[0].{key}"
    assert caught.value.value == value
    assert caught.value.fix == f"leave {key} out"
    assert name in caught.value.what


def test_a_mode_that_the_rule_does_not_offer_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not offer this mode"):
        terms_of(Soft, mode="Refuse")


def test_a_rule_that_is_off_at_filter_has_no_mode() -> None:
    assert terms_of(Advice, off=("filter",)) == {}
    with pytest.raises(ConfigError, match="refuses no node"):
        terms_of(Advice, off=("filter",), mode="Prefer")


@pytest.mark.parametrize("kind", [Rule, Advice, Soft])
def test_a_rule_that_prefers_has_no_limit(kind: Any) -> None:
    mode = None if kind is not Rule else "Prefer"
    with pytest.raises(ConfigError, match="limit of a rule that prefers") as caught:
        terms_of(kind, mode=mode, fall_back_after_seconds=7)
    assert caught.value.where == "policy p plugins[0].fall_back_after_seconds"


def test_kept_room_is_a_rule_where_room_is_kept() -> None:
    def kept(**given: Any) -> Mapping[str, RuleTerms]:
        queue = QueuePolicy(starvation=StarvationPolicy(**given))
        return rule_terms(Policy("p", (PluginEntry("Rule"),), queue=queue), [(Rule(), 1)])

    assert kept() == {RESERVATIONS: terms(Mode.REFUSE)}
    assert kept(mode="Prefer") == {RESERVATIONS: terms(Mode.PREFER)}
    assert kept(fall_back_after_seconds=9) == {RESERVATIONS: terms(Mode.REFUSE, 9)}
    assert kept(after_seconds=0, mode="Prefer") == {}


def test_rules_with_terms_are_asked_last_and_otherwise_in_their_order() -> None:
    class Other(Rule):
        name: ClassVar[str] = "Other"

    class Third(Rule):
        name: ClassVar[str] = "Third"

    rules = [(Rule(), 1), (Other(), 2), (Third(), 3)]
    given = {"Rule": terms(Mode.PREFER), "Third": terms(Mode.PREFER)}
    assert [rule.name for rule, _ in lasting(rules, given)] == ["Other", "Rule", "Third"]
    assert lasting(rules, {}) == rules


# ---- as a file ------------------------------------------------------------------------------


def policy(rule: dict[str, Any] | None = None, starvation: dict[str, Any] | None = None) -> Any:
    return {
        "name": "p",
        "plugins": [{"name": "NodeName"}, {"name": "Rule", **(rule or {})}],
        "queue": {"starvation": starvation or {}},
    }


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (policy({"mode": "Maybe"}), "plugins[1].mode"),
        (policy({"mode": "prefer"}), "plugins[1].mode"),
        (policy({"mode": True}), "plugins[1].mode"),
        (policy({"fall_back_after_seconds": -1}), "plugins[1].fall_back_after_seconds"),
        (policy({"fall_back_after_seconds": "5m"}), "plugins[1].fall_back_after_seconds"),
        (policy({"fall_back_after_seconds": 1.5}), "plugins[1].fall_back_after_seconds"),
        (
            policy({"mode": "Prefer", "fall_back_after_seconds": 0}),
            "plugins[1].fall_back_after_seconds",
        ),
        (policy(starvation={"mode": "Perhaps"}), "queue.starvation.mode"),
        (policy(starvation={"mode": None}), "queue.starvation.mode"),
        (
            policy(starvation={"fall_back_after_seconds": -1}),
            "queue.starvation.fall_back_after_seconds",
        ),
        (
            policy(starvation={"mode": "Prefer", "fall_back_after_seconds": 1}),
            "queue.starvation.fall_back_after_seconds",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(given: Any, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_policy(given, where="file")
    assert caught.value.where.replace("[...]", "[1]") == f"file {where}"
    assert caught.value.fix


def test_the_digest_covers_modes_and_limits() -> None:
    files = [
        policy(),
        policy({"mode": "Prefer"}),
        policy({"mode": "Refuse"}),
        policy({"mode": "Refuse", "fall_back_after_seconds": 300}),
        policy(starvation={"mode": "Prefer"}),
        policy(starvation={"fall_back_after_seconds": 1}),
    ]
    assert len({parse_policy(file, where="file").digest for file in files}) == len(files)


@pytest.mark.parametrize("name", ["TaintToleration", "GpuShare", "Understood"])
def test_built_in_rules_of_which_none_gives_way(name: str) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        app.check(Policy("p", (PluginEntry(name, mode="Prefer"),)))
    assert caught.value.value == "Prefer"


# ---- a rule of another package --------------------------------------------------------------

PACKAGE = """
import numpy as np
from herz.plugin import Filter, Kind, Mode, Reads

class AwayFromOld(Filter):
    name = "AwayFromOld"
    reads = Reads.LABELS
    reads_all = Reads.NOTHING

    def __init__(self, args, reasons):
        self._code = reasons.code(Kind.UNFIT, self.name, ("node(s) were old",))

    def sign(self, pod):
        return None

    def prepare(self, pod, view):
        return None

    def filter(self, state, view, rows):
        is_old = view.labels("old")[rows] == view.label_id("true")
        return np.where(is_old, self._code, 0).astype(np.int16)

class Advises(AwayFromOld):
    name = "Advises"
    modes = (Mode.PREFER, Mode.REFUSE)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a rule that refuses and one that advises."""
    (tmp_path / "old_rules.py").write_text(PACKAGE)
    info = tmp_path / "old_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: old-rules\nVersion: 1.0\n")
    points = [f"{name} = old_rules:{name}" for name in ("AwayFromOld", "Advises")]
    (info / "entry_points.txt").write_text("\n".join(["[herz.plugins]", *points, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))
    engine.third_party.cache_clear()
    engine.engine_digest.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    engine.third_party.cache_clear()
    engine.engine_digest.cache_clear()


def asked(name: str, **more: Any) -> Policy:
    # The rule stands first, and is asked last all the same where it has a mode.
    return Policy("p", (PluginEntry(name, **more), PluginEntry("NodeResourcesFit")))


@pytest.mark.parametrize(
    ("given", "at", "mark"),
    [
        (("AwayFromOld", {}), None, ""),
        (("AwayFromOld", {"mode": "Prefer"}), 0, "preferred-against:AwayFromOld"),
        (("AwayFromOld", {"mode": "Refuse"}), 300, "fell-back:AwayFromOld"),
        (("Advises", {}), 0, "preferred-against:Advises"),
    ],
)
def test_a_packages_rule_is_run_as_the_policy_says(
    installed: Path, given: tuple[str, dict[str, Any]], at: int | None, mark: str
) -> None:
    name, entry = given
    kept = Kept()
    machine = app.build_machine(asked(name, **entry), 0, [kept])
    machine.apply(ObjectApplied(time_ns=0, object=make_node("old", labels={"old": "true"})))
    machine.apply(ObjectApplied(time_ns=0, object=make_pod("one", {"cpu": "1"})))
    bound = None
    for second in (0, 299, 300, 1000):
        effects = machine.step(second * SECOND, 10)
        if any(isinstance(effect, Bind) for effect in effects):
            bound = second
            assert kept.records[-1].marks == (mark,)
    assert bound == at


def test_show_fills_modes_in(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.json"
    rules = [{"name": "Advises"}, {"name": "AwayFromOld", "mode": "Refuse"}, {"name": "NodeName"}]
    file.write_text(json.dumps({"name": "p", "plugins": rules}))
    assert main(["config", "validate", str(file)]) == 0
    assert main(["config", "show", str(file)]) == 0
    assert "Refuse, falls back after 300 s" in capsys.readouterr().out
    assert main(["config", "show", str(file), "--output", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    found = [
        (rule.get("mode"), rule.get("fall_back_after_seconds"))
        for rule in shown["policies"][0]["rules"]
    ]
    assert found == [("Prefer", None), ("Refuse", 300), (None, None)]
    assert shown["configuration"]["queue"]["starvation"]["mode"] == "Refuse"
