"""A live scheduler's rounds: samples in, outcomes back, models judged, promoted and taken back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from herz import judging, signals
from herz.commit.audit.entry import Model as Entry
from herz.commit.audit.entry import opened
from herz.errors import AuditError
from herz.feedback.adjust import drift
from herz.feedback.adjust.drift import DriftWatch
from herz.feedback.observe.promises import Placement, PromiseObserver
from herz.front.cli.entry import main
from herz.front.cli.metering import ACTOR
from herz.journaling import replayed
from herz.judging import left, outcomes, placements, trials_judged, watched
from herz.model.journal import Kind
from herz.model.service_levels import NodeSignals
from tests.support.journal import entries_of
from tests.support.metering import (
    PODS,
    Said,
    lived,
    mostly_kept,
    narrow_model,
    records,
    resumed,
)
from tests.support.promises_model import made_model
from tests.unit.journal.test_promoted import other_model

ROOT = Path(__file__).parents[3]
BEFORE_RESTART = "it was in force before the restart"


def reasons(folder: Path) -> list[tuple[str, str]]:
    """Model and reason of each promotion in the journal."""
    found = []
    for entry in entries_of(folder):
        if entry.leaf[1] == Kind.MODEL:
            content = opened(entry)[1]
            assert isinstance(content, Entry)
            assert content.actor == ACTOR
            if content.reason != BEFORE_RESTART:
                found.append((content.name, content.reason))
    return found


def test_samples_of_all_nodes_reach_the_machine(tmp_path: Path) -> None:
    _, driver = lived(tmp_path / "j", made_model(), None, mostly_kept, rounds=2)
    assert [one.metadata.name for one in driver.samples] == [
        f"n{number}" for number in range(4)
    ] * 2
    signals = [entry for entry in entries_of(tmp_path / "j") if b"NodeSignals" in entry.payload]
    assert len(signals) == 12, "they are inputs of the journal"


def test_better_candidate_is_promoted_in_the_journal(tmp_path: Path) -> None:
    told, _ = lived(tmp_path / "j", other_model(), made_model(), mostly_kept)
    ((name, reason),) = reasons(tmp_path / "j")
    assert name == made_model().digest
    assert reason.startswith("trial 1: Brier improvement 0.")
    assert "1161 outcomes" in reason, "the first one of the thirtieth window"
    assert told == [f"model {name} is in force: {reason}"]
    assert trials_judged(tmp_path / "j") == 1
    assert replayed(tmp_path / "j").first is None


def test_candidate_that_is_no_better_is_judged_once_and_counted(tmp_path: Path) -> None:
    told, _ = lived(tmp_path / "j", made_model(), other_model(), mostly_kept, rounds=60)
    ((name, reason),) = reasons(tmp_path / "j")
    assert name == made_model().digest, "what was in force stays"
    assert reason.startswith("trial 1, kept: ")
    assert len(told) == 1
    assert trials_judged(tmp_path / "j") == 1
    assert replayed(tmp_path / "j").first is None


def test_source_that_fails_is_told_once_and_when_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: Said, nodes: Collection[str]) -> list[NodeSignals]:
        del nodes
        self.window += 1
        self.problems = {"signal cpu": f"metrics-slow: {self.window}"} if self.window < 3 else {}
        return []

    monkeypatch.setattr(Said, "sample", failing)
    told, _ = lived(tmp_path / "j", made_model(), None, mostly_kept, rounds=5)
    assert told == ["metrics, signal cpu: metrics-slow: 1", "metrics, signal cpu: well again"]


def test_drift_is_told_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "PLACEMENTS_MIN", 20)
    observed: list[PromiseObserver] = []
    told, _ = lived(tmp_path / "j", narrow_model(), None, mostly_kept, 3, observed)
    (said,) = told
    assert said.startswith("metrics, model: model-drift: 100 % of the last 40 placements")
    assert "expected_io" in said
    (observer,) = observed
    assert observer.counters[signals.MODEL_DRIFT] == 1
    name = signals.PROMISES_BEYOND.format(feature="node_cpu_utilisation")
    assert observer.counters[name] == PODS


def killed(folder: Path, rounds: int, about: str = "trial") -> None:
    """A process that is killed when it has so many rounds behind it."""
    command = [sys.executable, "-m", "tests.support.metering", str(folder), str(rounds), about]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr.decode()


@pytest.mark.slow
def test_trial_of_a_process_that_was_killed_comes_to_the_same_verdict(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    lived(whole, other_model(), made_model(), mostly_kept)
    killed(parts, 20)
    assert reasons(parts) == []
    told, driver = resumed(parts, other_model(), made_model(), mostly_kept, 20, 32)
    assert reasons(parts) == reasons(whole)
    ((name, reason),) = reasons(parts)
    assert "1161 outcomes" in reason, "760 of them before it was killed"
    assert told == [f"model {name} is in force: {reason}"]
    assert [event.reason for event in driver.events] == ["ModelPromoted", "ModelPromoted"]
    assert list(outcomes(parts)) == list(outcomes(whole)), "none is lost, none is there twice"
    assert replayed(parts).first is None


@pytest.mark.slow
def test_promotion_is_watched_and_taken_back_over_restarts(tmp_path: Path) -> None:
    folder = tmp_path / "j"

    def turned(window: int, uid: str) -> bool:
        """Up to the promotion as `mostly_kept`; then almost all are broken."""
        return mostly_kept(window, uid) == (window < 32)

    lived(folder, other_model(), made_model(), turned)
    assert left(folder).stage == "watch"
    # What was placed before is of another policy: only the new pods judge the promotion.
    some = resumed(folder, other_model(), made_model(), turned, 32, 50, range(100, 134))
    assert (left(folder).stage, some[1].events) == ("watch", [])
    told, driver = resumed(folder, other_model(), made_model(), turned, 50, 70)
    _, (name, reason) = reasons(folder)
    assert name == other_model().digest
    assert reason.startswith("rolled back: Brier improvement 0.")
    assert "987 outcomes" in reason, "34 pods: the first one of the thirtieth window"
    assert told == [f"model {name} is in force: {reason}"]
    assert [one.reason for one in driver.events] == ["ModelRolledBack"] * 2
    assert left(folder).stage == "over"
    assert replayed(folder).first is None


@pytest.mark.slow
def test_candidate_that_was_judged_is_not_judged_again_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    lived(folder, made_model(), other_model(), mostly_kept, rounds=60)
    assert left(folder).stage == "over"
    resumed(folder, made_model(), other_model(), mostly_kept, 60, 95)
    assert len(reasons(folder)) == 1
    assert trials_judged(folder) == 1


@pytest.mark.slow
def test_drift_goes_on_where_a_process_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = tmp_path / "j", narrow_model()
    monkeypatch.setattr(drift, "PLACEMENTS_MIN", PODS + 10)
    killed(folder, 2, "drift")
    told, _ = resumed(folder, model, None, mostly_kept, 2, 3)
    assert told == [], "too little was seen"
    observed: list[PromiseObserver] = []
    told, _ = resumed(folder, model, None, mostly_kept, 3, 4, range(100, 110), observed)
    (said,) = told
    assert said.startswith("metrics, model: model-drift: 100 % of the last 50 placements")
    (observer,) = observed
    name = signals.PROMISES_BEYOND.format(feature="node_cpu_utilisation")
    assert observer.counters[name] == 10, "a counter begins anew with its process"
    assert observer.counters[signals.MODEL_DRIFT] == 1
    resumed(folder, model, None, mostly_kept, 4, 5, range(0), observed)
    assert observed[1].counters[signals.MODEL_DRIFT] == 1, "before anything is placed"
    assert [one.sequence for one in watched(folder)] == [one.sequence for one in records(folder)]


def test_watch_for_drift_has_what_it_had_before_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, model = tmp_path / "j", narrow_model()
    seen: list[Placement] = []
    monkeypatch.setattr(DriftWatch, "restore", lambda _, before: seen.extend(before))
    lived(folder, model, None, mostly_kept, rounds=1)
    assert watched(folder) == [], "the machine that runs began with none"
    resumed(folder, model, None, mostly_kept, 1, 2, range(100, 105))
    assert [one.sequence for one in seen] == list(range(1, PODS + 1))
    monkeypatch.setattr(judging, "LOOKED_AT_MAX", 3)
    resumed(folder, model, None, mostly_kept, 2, 3)
    assert [one.sequence for one in seen[PODS:]] == [PODS + 3, PODS + 4, PODS + 5]
    resumed(folder, made_model(), None, mostly_kept, 3, 4)
    assert len(seen) == PODS + 3, "another policy: its models were asked about nothing yet"


@pytest.mark.slow
def test_promotion_begins_the_watch_for_drift_anew_and_a_lost_trial_does_not(
    tmp_path: Path,
) -> None:
    kept, new = tmp_path / "kept", tmp_path / "new"
    lived(kept, made_model(), other_model(), mostly_kept, rounds=60)
    resumed(kept, made_model(), other_model(), mostly_kept, 60, 61, range(100, 102))
    assert len(watched(kept)) == PODS
    resumed(kept, made_model(), other_model(), mostly_kept, 61, 62)
    assert len(watched(kept)) == PODS + 2
    lived(new, other_model(), made_model(), mostly_kept)
    for first, count in ((50, 0), (51, 2)):
        resumed(
            new,
            other_model(),
            made_model(),
            mostly_kept,
            first,
            first + 1,
            range(2 * first, 2 * first + 2),
        )
        assert len(watched(new)) == count
        assert left(new).stage == "watch"


def test_watch_for_drift_passes_over_what_is_erased_and_refuses_what_is_damaged(
    tmp_path: Path,
) -> None:
    folder, model = tmp_path / "j", narrow_model()
    lived(folder, model, None, mostly_kept, rounds=1)
    resumed(folder, model, None, mostly_kept, 1, 2)
    at = next(at for at, one in enumerate(entries_of(folder)) if one.leaf[1] == Kind.RECORD)
    where = ["--journal", str(folder), "--from", str(at), "--to", str(at)]
    assert main(["audit", "erase", *where, "--actor", "ops", "--reason", "asked for"]) == 0
    assert [one.sequence for one in watched(folder)] == list(range(2, PODS + 1))
    payload = next(one.payload for one in entries_of(folder) if b'"promises":' in one.payload)
    (segment,) = (folder / "segments").glob("*")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(payload, payload.replace(b"uid-w1", b"uid-w2")))
    with pytest.raises(AuditError):
        watched(folder)


def test_annotation_that_names_another_pods_record_restores_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "j"
    lived(folder, made_model(), None, mostly_kept, rounds=1)
    (first, second, *_) = [one for one in records(folder) if one.node]
    asked = {first.pod.uid: second.sequence, second.pod.uid: second.sequence, "none": 10**9}
    assert set(placements(folder, asked)) == {second.pod.uid}
