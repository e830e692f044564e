"""A machine that is made from a state goes on as the one that it was taken of."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from herz import app
from herz.app import load_policy
from herz.commit.audit.entry import State, opened
from herz.cycle import Cycle
from herz.errors import AuditError, ConfigError, InvariantError
from herz.journaling import replayed, written
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.model.outcomes import BindFinished, BindOutcome
from herz.ports import RecordSink
from herz.state import frozen, is_quiet, settle, thawed
from herz.world.store.files import FileStore, Reader
from tests.support.journal import entries_of, forge, simulated
from tests.support.machine import Kept, only
from tests.support.objects import make_node, make_pod


def machine(sinks: Sequence[RecordSink] = ()) -> Cycle:
    """A new one."""
    return app.build_machine(load_policy("default"), 3, sinks)


def applied(cycle: Cycle, *things: Any, now: int = 0) -> None:
    """The API shows these objects."""
    for thing in things:
        cycle.apply(ObjectApplied(time_ns=now, object=thing))


def quiet() -> Cycle:
    """A machine that has placed a pod, and refused one."""
    cycle = machine()
    applied(cycle, make_node("a"), make_pod("p"), make_pod("q", {"cpu": "100"}))
    for bind in (one for one in cycle.step(1, 10) if type(one).__name__ == "Bind"):
        cycle.apply(_bound(bind))
    cycle.step(2, 10)
    return cycle


def _bound(bind: Any) -> BindFinished:
    return BindFinished(time_ns=1, uid=bind.uid, decision=bind.decision, outcome=BindOutcome.BOUND)


def test_a_machine_is_quiet_when_nothing_is_ready_or_under_way() -> None:
    from herz.model.effects import Bind

    cycle = machine()
    assert is_quiet(cycle)
    applied(cycle, make_node("a"), make_pod("p"))
    assert not is_quiet(cycle)
    (bind,) = only(Bind, cycle.step(1, 10))
    assert not is_quiet(cycle), "a bind is under way"
    with pytest.raises(InvariantError, match="quiet"):
        frozen(cycle)
    cycle.apply(_bound(bind))
    cycle.step(2, 10)
    assert is_quiet(cycle)


def test_a_state_that_was_read_is_written_again_byte_for_byte() -> None:
    data = frozen(quiet())
    assert frozen(thawed(machine(), data)) == data


def test_what_is_refused_is_woken_and_placed_after_a_resume() -> None:
    kept, others = Kept(), Kept()
    original = quiet()
    data = frozen(original)
    settle(original)
    resumed = thawed(machine([others]), data)
    original._chain._sinks = (kept,)
    for cycle in (original, resumed):
        applied(cycle, make_node("large", cpu="200"), now=60_000_000_000)
        cycle.step(60_000_000_000, 10)
    assert others.lines == kept.lines
    assert [record.node for record in others.records] == ["large"]


def _boundaries(folder: Path, places: Sequence[int]) -> set[int]:
    """The first state and the last, and those on both sides of where two segments meet."""
    found = {0, len(places) - 1}
    for first, _ in Reader(folder).segments()[1:]:
        after = bisect_left(places, first)
        found |= {max(after - 1, 0), min(after, len(places) - 1)}
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_simulated_day_is_replayed_from_twenty_states_and_all_at_boundaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(FileStore.open, segment_bytes_max=400_000)
    monkeypatch.setattr(FileStore, "open", small)
    simulated(tmp_path, seed=2, state_every=8)
    entries = entries_of(tmp_path)
    whole = replayed(tmp_path)
    places = [at for at, entry in enumerate(entries) if entry.leaf[1] == Kind.STATE]
    assert whole.first is None
    assert whole.states == len(places) > 30
    boundaries = _boundaries(tmp_path, places)
    assert len(boundaries) > 4
    for number in boundaries | set(random.Random(1).sample(range(len(places)), 20)):
        found = replayed(tmp_path, first=places[number])
        assert found.first is None
        assert found.states == len(places) - number - 1
        done = sum(entry.leaf[1] == Kind.RECORD for entry in entries[places[number] :])
        assert found.records == done


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_states_in_chaos_are_resumed_from(tmp_path: Path) -> None:
    with written(tmp_path, state_every=200) as wrap:
        app.run_simulation(
            scenario="chaos",
            policy="hard-budgets",
            seed=3,
            runs=1,
            data=None,
            list_name=None,
            load=None,
            progress=None,
            wrap=wrap,
        )
    places = [at for at, entry in enumerate(entries_of(tmp_path)) if entry.leaf[1] == Kind.STATE]
    assert len(places) > 5
    assert replayed(tmp_path, first=places[len(places) // 2]).first is None


def test_replay_goes_on_behind_erased_entries(tmp_path: Path) -> None:
    simulated(tmp_path, state_every=100)
    entries = entries_of(tmp_path)
    places = [at for at, entry in enumerate(entries) if entry.leaf[1] == Kind.STATE]
    from herz.commit.audit.replay import Replay
    from herz.journaling import machine_of, taken

    reader = Reader(tmp_path)
    gone = places[0] + 5
    left = [
        (at, entry._replace(salt=b"", payload=b"") if at in (gone, gone + 7) else entry)
        for at, entry in enumerate(entries)
    ]

    def restore(cycle: Any, state: State) -> Any:
        return thawed(cycle, reader.get(state.blob))

    found = Replay(lambda *given: machine_of(reader, *given), taken, restore).run(left)
    assert found.first is None
    assert found.lost == [(gone, places[1] - 1)]
    assert found.states == len(places) - 1


def test_a_state_that_was_changed_is_refused(tmp_path: Path) -> None:
    simulated(tmp_path, state_every=100)
    entries = enumerate(entries_of(tmp_path))
    at, entry = next((at, entry) for at, entry in entries if entry.leaf[1] == Kind.STATE)
    state = opened(entry)[1]
    assert isinstance(state, State)
    path = tmp_path / "blobs" / state.blob
    path.write_bytes(path.read_bytes().replace(b'"cpu":"8"', b'"cpu":"9"', 1))
    with pytest.raises(AuditError, match="another digest"):
        replayed(tmp_path, first=at)


def test_a_state_that_the_inputs_do_not_give_differs(tmp_path: Path) -> None:
    simulated(tmp_path, state_every=100)
    entries = entries_of(tmp_path)
    one, two = [at for at, entry in enumerate(entries) if entry.leaf[1] == Kind.STATE][:2]
    entries[one], entries[two] = entries[two], entries[one]
    forge(tmp_path, entries)
    found = replayed(tmp_path).first
    assert found is not None
    assert found.entry == one


def test_without_a_state_before_it_nothing_is_resumed_from(tmp_path: Path) -> None:
    simulated(tmp_path, state_every=100)
    with pytest.raises(ConfigError, match="no state"):
        replayed(tmp_path, first=3)


def changed(**fields: Any) -> bytes:
    """A state in which something is otherwise."""
    state = json.loads(frozen(quiet()))
    return msgspec.json.encode(state | fields)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no state"),
        (b"{}", "no state"),
        (changed(version=9), "version 9"),
        (changed(more=1), "no state"),
        (changed(nodes=[]), "not what its digest is over"),
        (changed(remembered={"_queue": ["run", "rm"]}), "no value of a state"),
        (changed(remembered={"_queue": ["new", 0, "os:system", []]}), "does not make"),
        (changed(remembered={"_queue": ["new", 0, "herz.app:build_machine", []]}), "no class"),
        (changed(remembered={"_queue": ["new", 0, "herz.app:Nobody", []]}), "there is no"),
    ],
)
def test_what_is_no_state_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(AuditError, match=what):
        thawed(machine(), data)


def test_a_value_that_no_state_can_hold_is_refused() -> None:
    cycle = quiet()
    cycle._uids["a"] = object()  # type: ignore[assignment]
    with pytest.raises(InvariantError, match=r"_uids.*no state can hold a object"):
        frozen(cycle)
