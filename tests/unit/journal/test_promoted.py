"""A promotion in the middle of a journal: what it changes, and that a replay has the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from herz.commit.audit.entry import Model as Entry
from herz.commit.audit.entry import opened
from herz.config import Policy
from herz.errors import ConfigError
from herz.journaling import Change, continued, replayed, verified
from herz.knowledge.sla.classes import CLASS_LABEL
from herz.knowledge.sla.model import Model
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.recomputing import recomputed
from tests.support.journal import Written, entries_of
from tests.support.machine import SECOND, Kept, make_policy
from tests.support.objects import make_node, make_pod
from tests.support.promises_model import arguments, made_model, profile, sample, several

CHANGE = Change("ops", "a restart", 5)
RULES = ("Understood", "NodeResourcesFit", "SLAClasses", "SLARefuse", "SLAFit")


def other_model() -> Model:
    """It thinks that crowded nodes are the quiet ones."""
    line = made_model().body.line
    ((column, weight),) = line.weights
    turned = msgspec.structs.replace(line, bias=-line.bias, weights=((column, -weight),))
    return made_model(line=turned)


def policy_of(model: Model, candidate: Model | None = None) -> Policy:
    args = several(model)
    if candidate is not None:
        args["candidateData"] = arguments(candidate)["modelData"]
    return make_policy(RULES, {"SLAFit": args, "SLARefuse": args})


def promote(made: Written, model: Model) -> None:
    made.machine.promote(
        model.dump(), name=model.digest, actor="adjust", reason="it was better", time_ns=made.now
    )


def placed(made: Written, first: int, count: int = 6) -> None:
    """Pods come one by one and are bound."""
    for number in range(first, first + count):
        made.apply(
            make_pod(f"w{number}", {"cpu": "100m"}, labels={"app": "web", CLASS_LABEL: "online"})
        )
        made.bound(made.step(SECOND))
        made.step()


def journal(folder: Path, middle: Callable[[Written], object]) -> Kept:
    """Six placements, something in the middle, and six more."""
    kept = Kept()
    made = Written(folder, policy=policy_of(made_model(), other_model()), sinks=[kept])
    for number in range(4):
        made.apply(make_node(f"n{number}", cpu="64"))
        made.apply(sample(f"n{number}"))
    made.apply(profile("web", cpu_used=100, bandwidth_used=900))
    placed(made, 0)
    middle(made)
    placed(made, 6)
    made.close()
    return kept


def test_promotion_changes_decisions_and_the_policy_from_there_on(tmp_path: Path) -> None:
    plain = journal(tmp_path / "plain", lambda _: None)
    kept = journal(tmp_path / "promoted", lambda made: promote(made, other_model()))
    assert [one.node for one in kept.records[:6]] == [one.node for one in plain.records[:6]]
    assert [one.node for one in kept.records[6:]] != [one.node for one in plain.records[6:]]
    before, after = policy_of(made_model(), other_model()), policy_of(other_model(), made_model())
    told = [one.policy.digest for one in kept.records]
    assert told == [before.digest] * 6 + [after.digest] * 6
    # The model before is the one on trial now: what it says is recorded.
    for one in kept.records:
        assert all(each.shadow >= 0 for each in one.promises)
    last = kept.records[-1].promises[0]
    assert last.shadow < last.probability


def test_journal_with_a_promotion_replays_to_the_same_records(tmp_path: Path) -> None:
    journal(tmp_path / "j", lambda made: promote(made, other_model()))
    found = replayed(tmp_path / "j")
    assert (found.first, found.records) == (None, 12)
    assert verified(tmp_path / "j").problem is None
    (entry,) = [one for one in entries_of(tmp_path / "j") if one.leaf[1] == Kind.MODEL]
    content = opened(entry)[1]
    assert isinstance(content, Entry)
    assert (content.name, content.actor) == (other_model().digest, "adjust")


def test_replay_from_a_state_behind_a_promotion_has_its_model(tmp_path: Path) -> None:
    def middle(made: Written) -> None:
        promote(made, other_model())
        assert made.machine.keep_state()

    kept = journal(tmp_path / "j", middle)
    entries = entries_of(tmp_path / "j")
    at = next(n for n, one in enumerate(entries) if one.leaf[1] == Kind.STATE)
    found = replayed(tmp_path / "j", first=at)
    assert (found.first, found.records) == (None, 6)
    record = kept.records[-1]
    where = [n for n, one in enumerate(entries) if one.leaf[1] == Kind.RECORD][-1]
    said = recomputed(tmp_path / "j", record, where, record.node)
    assert said.is_state


def test_restart_goes_on_with_the_promoted_model(tmp_path: Path) -> None:
    journal(tmp_path / "j", lambda made: promote(made, other_model()))
    policy, kept = policy_of(made_model(), other_model()), Kept()
    for expected in (policy_of(other_model(), made_model()), policy_of(made_model())):
        given = policy if expected != policy_of(made_model()) else expected
        with continued(tmp_path / "j", change=CHANGE, sinks=[kept]) as make:
            machine = make(given)
            machine.apply(ObjectApplied(time_ns=0, object=make_node("n0")))
            pod = make_pod("w", {"cpu": "100m"}, labels={CLASS_LABEL: "online"})
            machine.apply(ObjectApplied(time_ns=0, object=pod))
            machine.step(0, 10)
        # Another policy's file counts more than what was promoted under the one before.
        assert kept.records[-1].policy.digest == expected.digest
    assert replayed(tmp_path / "j").first is None


def test_promotion_that_is_none_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    def middle(made: Written) -> None:
        size = made.store.size
        with pytest.raises(ConfigError, match="not JSON"):
            made.machine.promote(b"x", name="x", actor="a", reason="r", time_ns=0)
        assert made.store.size == size

    journal(tmp_path / "j", middle)
    assert replayed(tmp_path / "j").first is None


def test_model_that_was_judged_and_stays_is_told_and_changes_nothing(tmp_path: Path) -> None:
    plain = journal(tmp_path / "plain", lambda _: None)
    kept = journal(tmp_path / "j", lambda made: promote(made, made_model()))
    assert [one.node for one in kept.records] == [one.node for one in plain.records]
    assert len({one.policy.digest for one in kept.records}) == 1
    assert replayed(tmp_path / "j").first is None
