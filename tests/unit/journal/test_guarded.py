"""Under a proof mode nothing is bound while too much is unsigned or unwitnessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from herz.commit.audit.checkpoint import Checkpoint, parse_signed
from herz.commit.audit.entry import Clock, Mode, Step, opened
from herz.commit.audit.exposure import MODES
from herz.commit.audit.guarded import RETRY_NS, Guarded
from herz.errors import WorldError
from herz.journaling import last_told, replayed, verified
from herz.model.effects import Bind, Effect, WakeAt
from herz.model.events import ObjectApplied
from herz.model.outcomes import BindFinished, BindOutcome
from herz.ports import Deferring
from herz.world.store.files import Reader
from tests.support.adversaries import SIGNER
from tests.support.journal import Written, entries_of
from tests.support.objects import make_node, make_pod

S = 1_000_000_000


class Signing:
    """A signer that can be away."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = 0

    def __call__(self, checkpoint: Checkpoint) -> bytes:
        self.asked += 1
        if self.is_away:
            raise WorldError("the TPM does not answer", is_retryable=True)
        return SIGNER.sign(checkpoint.text).data


class Case:
    """A guarded machine in a journal, with a node that takes all pods."""

    def __init__(self, folder: Path, mode: str, *, witnessed: int | None = None) -> None:
        self.signing = Signing()
        self.written = Written(folder, notary=self.signing)
        self.machine = Guarded(
            self.written.machine, self.written.log, MODES[mode], witnessed=witnessed, now_ns=0
        )
        self.machine.apply(ObjectApplied(time_ns=0, object=make_node("a", pods="5000")))
        self.count = 0

    def bind_at(self, now: int) -> list[Effect]:
        """A pod comes at this second; what is done about it."""
        self.count += 1
        pod = make_pod(f"p{self.count}", {"cpu": "1m", "memory": "1Mi"})
        self.machine.apply(ObjectApplied(time_ns=now * S, object=pod))
        return self.again_at(now)

    def again_at(self, now: int) -> list[Effect]:
        """Another step at this second; binds are confirmed."""
        effects = self.machine.step(now * S, 10)
        for bind in effects:
            if isinstance(bind, Bind):
                self.machine.apply(
                    BindFinished(
                        time_ns=now * S,
                        uid=bind.uid,
                        decision=bind.decision,
                        outcome=BindOutcome.BOUND,
                    )
                )
        return effects


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def binds(effects: list[Effect]) -> int:
    return sum(isinstance(effect, Bind) for effect in effects)


def test_a_checkpoint_is_signed_within_a_second_of_decisions(folder: Path) -> None:
    case = Case(folder, "strict")
    for now in (0, 1, 2, 3):
        assert binds(case.bind_at(now)) == 1
    assert case.signing.asked == 3
    assert case.machine.exposure.unsigned(3 * S).age_ns == 0


@pytest.mark.parametrize(("mode", "last"), [("strict", 5), ("relaxed", 3600)])
def test_a_signer_may_be_away_up_to_the_modes_bound_and_then_nothing_is_bound(
    folder: Path, mode: str, last: int
) -> None:
    case = Case(folder, mode)
    case.signing.is_away = True
    assert binds(case.bind_at(0)) == 1
    assert binds(case.bind_at(last)) == 1
    assert case.machine.signer_error == "the TPM does not answer"
    size = case.written.log.size
    assert case.again_at(last + 1) == [WakeAt(time_ns=(last + 1) * S + RETRY_NS)]
    assert case.machine.refusal.startswith(f"proof mode {mode}:")
    assert case.written.log.size == size, "a step that decides nothing is not logged"
    assert binds(case.bind_at(last + 2)) == 0
    case.signing.is_away = False
    assert binds(case.again_at(last + 3)) == 1
    assert case.machine.refusal == ""
    assert parse_signed(Reader(folder).notes()[-1])[0].size > 0


def test_what_need_not_wait_for_the_disk_keeps_to_the_mode_too(folder: Path) -> None:
    case = Case(folder, "strict")
    assert isinstance(case.machine, Deferring)
    case.signing.is_away = True
    for now, allowed in ((0, 1), (5, 1), (6, 0)):
        pod = make_pod(f"p-{now}", {"cpu": "1m"})
        case.machine.apply(ObjectApplied(time_ns=now * S, object=pod))
        size = case.written.log.size
        effects, sync = case.machine.decide(now * S, 10)
        assert binds(effects) == allowed
        assert (sync is not None) == (case.written.log.size > size) == bool(allowed)
        if sync is not None:
            sync()
    assert effects == [WakeAt(time_ns=6 * S + RETRY_NS)]
    assert case.machine.refusal.startswith("proof mode strict: ")
    case.signing.is_away = False
    case.machine.tend(8 * S)
    effects, sync = case.machine.decide(8 * S, 10)
    assert (binds(effects), sync is not None) == (1, True)
    assert sync is not None
    sync()


def test_what_is_due_is_signed_while_nothing_is_decided(folder: Path) -> None:
    case = Case(folder, "strict")
    case.bind_at(0)
    case.machine.tend(S - 1)
    assert case.signing.asked == 0
    case.machine.tend(S)
    assert (case.signing.asked, case.machine.exposure.unsigned(S).entries) == (1, 0)


def test_an_absent_signer_is_asked_once_a_second_and_never_ends_the_journal(folder: Path) -> None:
    case = Case(folder, "relaxed")
    case.signing.is_away = True
    case.bind_at(0)
    for _ in range(50):
        case.again_at(2)
    assert case.signing.asked == 1
    # A thousand entries are signed by the log itself: it, too, goes on without.
    for _ in range(700):
        case.bind_at(2)
    assert case.written.log.signed == 0
    assert binds(case.bind_at(3)) == 1


def test_witnessed_needs_cosignatures_and_goes_on_with_them(folder: Path) -> None:
    case = Case(folder, "witnessed", witnessed=0)
    assert binds(case.bind_at(0)) == 1
    covered = case.written.log.committed
    assert binds(case.bind_at(120)) == 1
    assert binds(case.bind_at(121)) == 0
    assert "unwitnessed for 121 s" in case.machine.refusal
    case.machine.witnessed(covered)
    assert binds(case.again_at(121)) == 1


def test_without_witnesses_relaxed_asks_for_none(folder: Path) -> None:
    case = Case(folder, "relaxed")
    for now in (0, 4000, 9000):
        assert binds(case.bind_at(now)) == 1


def test_a_clock_that_steps_back_is_an_entry_and_no_time_goes_back(folder: Path) -> None:
    case = Case(folder, "relaxed")
    assert binds(case.bind_at(100)) == 1
    assert binds(case.bind_at(40)) == 1
    assert binds(case.bind_at(60)) == 1
    assert binds(case.bind_at(101)) == 1
    assert binds(case.bind_at(100)) == 1
    case.written.close()
    contents = [opened(entry)[1] for entry in entries_of(folder)]
    clocks = [one for one in contents if isinstance(one, Clock)]
    assert [(one.now_ns // S, one.told_ns // S) for one in clocks] == [(40, 100), (100, 101)]
    steps = [one.now_ns // S for one in contents if isinstance(one, Step)]
    assert steps == [100, 100, 100, 101, 101]
    times = [one.time_ns for one in contents if isinstance(one, ObjectApplied | BindFinished)]
    assert times == sorted(times)
    assert case.machine.figures(101 * S)["herz_audit_clock_steps_total"] == 2
    assert replayed(folder).first is None
    assert verified(folder).problem is None


def test_a_machine_after_a_restart_is_told_no_earlier_time(folder: Path) -> None:
    case = Case(folder, "relaxed")
    case.bind_at(100)
    case.machine.switch(MODES["strict"], actor="ops", reason="drill", now_ns=100 * S)
    case.written.close()
    told_ns, mode = last_told(folder)
    assert (told_ns, mode) == (100 * S, "strict")
    again = Written(folder, term=1)
    guarded = Guarded(
        again.machine, again.log, MODES[mode], witnessed=None, now_ns=told_ns, told_ns=told_ns
    )
    guarded.apply(ObjectApplied(time_ns=7 * S, object=make_node("a")))
    guarded.step(8 * S, 10)
    again.close()
    assert guarded.clock_steps == 1
    assert last_told(folder)[0] == 100 * S
    assert replayed(folder).first is None


def test_a_switch_of_the_mode_is_an_entry_and_holds_at_once(folder: Path) -> None:
    case = Case(folder, "relaxed")
    case.signing.is_away = True
    assert binds(case.bind_at(0)) == 1
    assert binds(case.bind_at(10)) == 1
    at = case.machine.switch(MODES["strict"], actor="ops", reason="audit season", now_ns=10 * S)
    assert binds(case.bind_at(11)) == 0
    assert case.machine.mode.name == "strict"
    case.written.store.close()
    told = opened(entries_of(folder)[at])[1]
    assert isinstance(told, Mode)
    assert (told.actor, told.mode, told.reason) == ("ops", "strict", "audit season")


def test_what_is_exposed_is_told_to_metrics(folder: Path) -> None:
    case = Case(folder, "relaxed", witnessed=0)
    case.signing.is_away = True
    case.bind_at(0)
    size = case.written.log.committed
    found = case.machine.figures(30 * S)
    assert found["herz_audit_unsigned_entries"] == size
    assert found["herz_audit_unsigned_seconds"] == 30.0
    assert found["herz_audit_unwitnessed_entries"] == size
    case.signing.is_away = False
    case.machine.witnessed(size)
    found = case.machine.figures(31 * S)
    assert found["herz_audit_unsigned_entries"] == found["herz_audit_unwitnessed_entries"] == 0
    assert found["herz_audit_unsigned_seconds"] == 0.0


def test_deciding_does_not_count_the_pods_that_are_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, asked = Case(folder, "strict"), 0

    def held(_: object) -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {}

    monkeypatch.setattr(type(case.written.machine), "held", property(held))
    assert isinstance(case.machine, Deferring)
    asked = 0
    for now in (1, 2):
        case.machine.decide(now * S, 10)
    assert asked == 0
