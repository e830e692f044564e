"""Before a start comparators and rules are tried; a comparator that fails later ends its policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from herz import app, builtin
from herz.checking import CASES, OWN_CASES, POOLS, check_start
from herz.commit.audit.entry import Check, opened
from herz.config import PluginEntry, Policy
from herz.config.policy import QueuePolicy
from herz.errors import ConfigError
from herz.front.cli import main
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.plugin import Codes, Filter, QueueSort, Reads, ReasonBook, Rows, View
from herz.plugin import Kind as Why
from herz.world.store.files import Reader
from tests.support.machine import Kept
from tests.support.objects import make_node, make_pod


class Order(QueueSort):
    name = "Order"

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._good = args.get("good", 0)

    def less(self, left: Any, right: Any) -> bool:
        self._good -= 1
        if self._good < 0:
            return bool(left.item.priority >= right.item.priority)
        return bool(left.item.priority > right.item.priority)


class Odd(Filter):
    """Answers in a wrong type."""

    name = "Odd"
    reads = Reads.NOTHING
    reads_all = Reads.NOTHING

    def __init__(self, args: Mapping[str, Any], reasons: ReasonBook) -> None:
        self._code = reasons.code(Why.UNFIT, self.name, ("odd",))

    def sign(self, pod: Any) -> Any:
        return None

    def prepare(self, pod: Any, view: View) -> Any:
        return None

    def filter(self, state: Any, view: View, rows: Rows) -> Codes:
        codes: Codes = view.unschedulable[rows]  # type: ignore[assignment]
        return codes


@pytest.fixture(autouse=True)
def more_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "PLUGINS", {**builtin.PLUGINS, "Order": Order, "Odd": Odd})


def policy_of(*more: PluginEntry, sort: str | None = None) -> Policy:
    rules = (PluginEntry("SchedulingGates"), PluginEntry("NodeResourcesFit"), *more)
    return Policy("test", rules, queue=QueuePolicy(sort=sort))


def test_what_is_sound_is_counted() -> None:
    check = check_start(policy_of(PluginEntry("PrioritySort"), sort="PrioritySort"))
    assert check.comparators == (("PrioritySort", POOLS),)
    assert dict(check.rules)["NodeResourcesFit"] == OWN_CASES < CASES


def test_a_faulty_comparator_is_named() -> None:
    with pytest.raises(ConfigError, match=r"queueSort Order.*before itself"):
        check_start(policy_of(PluginEntry("Order"), sort="Order"))


def test_a_faulty_rule_is_named() -> None:
    with pytest.raises(ConfigError, match=r"rule Odd.*wrong type"):
        check_start(policy_of(PluginEntry("Odd")))


def test_a_start_with_a_faulty_rule_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('name = "odd"\nplugins = [{ name = "NodeResourcesFit" }, { name = "Odd" }]\n')
    assert main(["simulate", "shop", "--policy", str(file)]) == 2
    assert "rule Odd" in capsys.readouterr().err


@pytest.mark.slow
def test_the_check_is_in_the_journal(tmp_path: Path) -> None:
    scenario = Path(__file__).parents[1] / "data" / "scenarios" / "small.toml"
    folder = tmp_path / "journal"
    assert main(["simulate", str(scenario), "--journal", str(folder)]) == 0
    entries = [opened(entry) for _, entry in Reader(folder).read()]
    (found,) = [content for kind, content in entries if kind is Kind.CHECK]
    assert isinstance(found, Check)
    assert len(found.rules) == len(builtin.BUILT_IN["default"].plugins)
    assert main(["audit", "replay", "--journal", str(folder)]) == 0


def test_a_comparator_that_fails_later_ends_its_policy() -> None:
    policy = policy_of(PluginEntry("Order", args={"good": 200}), sort="Order")
    kept = Kept()
    machine = app.build_machine(policy, 0, [kept])
    machine.apply(ObjectApplied(time_ns=0, object=make_node("n", cpu="64")))
    for number in range(60):
        pod = make_pod(f"p{number}", {"cpu": "10m"}, priority=number % 3)
        machine.apply(ObjectApplied(time_ns=0, object=pod))
        if number < 3:
            machine.step(number, 1)
    machine.step(100, 100)
    named = [record.policy.digest for record in kept.records]
    faults = [bool(record.order.fault) for record in kept.records]
    at = faults.index(True)
    assert at > 0
    assert set(named[:at]) == {policy.digest}
    assert set(named[at:]) == {app.without_comparator(policy).digest}
    assert policy.digest != app.without_comparator(policy).digest
