"""What would help is told for every reason that a built-in rule can have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herz.builtin import PLUGINS
from herz.front.cli import main
from herz.front.remedies import REMEDIES, remedy
from herz.model.record import Rejection
from herz.plugin import Filter
from tests.support.journal import Written
from tests.support.objects import make_node, make_pod

Captured = pytest.CaptureFixture[str]


def test_every_rule_that_refuses_nodes_has_a_remedy() -> None:
    refusing = {name for name, rule in PLUGINS.items() if Filter in getattr(rule, "__mro__", ())}
    assert {"TaintToleration", "VolumeBinding"} <= refusing
    assert refusing - set(REMEDIES) == {"NodeResourcesFit"}, "whose reasons say what is lacking"


def test_what_is_lacking_is_named() -> None:
    assert "more example.com/gpu free" in remedy(
        Rejection(3, (), "NodeResourcesFit", "Insufficient example.com/gpu")
    )
    assert "fewer pods" in remedy(Rejection(3, (), "NodeResourcesFit", "Too many pods"))
    assert "Mine no longer refuses" in remedy(Rejection(3, (), "Mine", "not today"))


def test_explain_says_what_would_help(tmp_path: Path, capsys: Captured) -> None:
    made = Written(tmp_path / "journal")
    made.apply(make_node("small", cpu="1"))
    made.apply(make_node("kept", cpu="8", taints=[("kept", "", "NoSchedule")]))
    made.apply(make_pod("web", {"cpu": "4"}))
    made.step()
    made.log.commit()
    made.store.close()
    asked = ["explain", "shop/web", "--journal", str(tmp_path / "journal")]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "would help: more cpu free on one node" in shown
    assert "would help: a toleration of their taints" in shown
    assert main([*asked, "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["remedies"]
    assert [(one["plugin"], one["nodes"]) for one in told] == [
        ("NodeResourcesFit", 1),
        ("TaintToleration", 1),
    ]


def test_a_placed_pod_needs_no_help(tmp_path: Path, capsys: Captured) -> None:
    made = Written(tmp_path / "journal")
    made.apply(make_node("n0"), make_pod("web", {"cpu": "100m"}))
    made.step()
    made.log.commit()
    made.store.close()
    asked = ["explain", "web", "--journal", str(tmp_path / "journal"), "--output", "json"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["remedies"] == []
