"""A machine in a journal: nothing leaves before it is on the disk, and one leader writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from herz.app import run_simulation
from herz.commit.audit.entry import Start, opened
from herz.commit.audit.replay import Replay
from herz.errors import ConfigError, WorldError
from herz.journaling import machine_of, replayed, written
from herz.model.effects import Bind
from herz.model.events import ObjectApplied
from herz.model.journal import Kind
from herz.ports import Machine, RecordSink
from herz.world.store.evidence import StaleWriterError
from herz.world.store.files import Reader
from tests.support.journal import SMALL, Written, simulated
from tests.support.machine import Kept, only
from tests.support.objects import make_node, make_pod


def kinds(folder: Path) -> list[Kind]:
    """The kinds of all entries."""
    return [opened(entry)[0] for _, entry in Reader(folder).read()]


def test_inputs_stand_before_the_decisions_that_use_them(tmp_path: Path) -> None:
    kept = Kept()
    written = Written(tmp_path, sinks=[kept])
    written.apply(make_node("a"), make_pod("p"), make_pod("q"))
    assert kinds(tmp_path) == [Kind.START], "nothing is kept before it is needed"
    binds = only(Bind, written.step())
    assert [bind.name for bind in binds] == ["p", "q"]
    expected = [Kind.START, *[Kind.INPUT] * 3, Kind.STEP, *[Kind.RECORD] * 2]
    assert kinds(tmp_path) == expected
    written.bound(binds)
    written.close()
    assert kinds(tmp_path) == [*expected, *[Kind.OUTCOME] * 2]
    records = [entry.payload for _, entry in Reader(tmp_path).read(5, 7)]
    assert records == kept.lines


def test_what_leaves_is_on_the_disk_for_certain(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_pod("p"))
    binds = only(Bind, written.step())
    assert binds
    assert written.store.is_for_certain
    # A step that changes nothing outside waits for no disk; the next one that does takes it along.
    written.bound(binds)
    assert written.step(), "the event that tells of the bind"
    assert written.store.is_for_certain
    assert written.step() == []
    assert not written.store.is_for_certain
    written.apply(make_pod("q"))
    assert only(Bind, written.step())
    assert written.store.is_for_certain
    written.close()


def test_a_state_waits_for_a_rest_but_not_for_ever(tmp_path: Path) -> None:
    written = Written(tmp_path, state_every=3)
    written.apply(make_node("a"))

    def decided(names: str) -> int:
        """These pods are placed and bound, by a driver that does not wait; the states there are."""
        for name in names:
            written.apply(make_pod(name))
            effects, sync = written.machine.decide(written.now, 10)
            assert sync is not None
            sync()
            written.bound(effects)
            assert written.machine.decide(written.now, 10)[1] is None
        return kinds(tmp_path).count(Kind.STATE)

    assert decided("ab") == 0
    written.machine.rest()
    assert decided("c") == 0, "no state is due at a rest, and none is taken while it decides"
    written.machine.rest()
    assert decided("") == 1
    assert decided("defgh") == 1
    decided("i")
    assert decided("j") == 2, "the driver never rested"
    written.close()
    assert replayed(tmp_path).first is None


def test_what_the_machine_refuses_is_an_input_too(tmp_path: Path) -> None:
    written = Written(tmp_path)
    bad = make_node("a", cpu="much")
    with pytest.raises(ConfigError):
        written.apply(bad)
    written.apply(make_node("b"), make_pod("p"))
    written.step()
    written.close()
    assert kinds(tmp_path).count(Kind.INPUT) == 3
    assert replayed(tmp_path).records == 1


def test_if_the_disk_fails_nothing_is_bound(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_pod("p"))
    written.store.close()
    with pytest.raises(WorldError, match="closed"):
        written.step()
    with pytest.raises(WorldError, match="not written any more"):
        written.step()
    assert kinds(tmp_path) == [Kind.START]


def test_a_leader_that_was_away_binds_nothing_and_the_chain_is_one(tmp_path: Path) -> None:
    old = Written(tmp_path, term=1)
    old.apply(make_node("a"), make_pod("p"), make_pod("q"))
    assert [bind.name for bind in old.bound(old.step(limit=1))] == ["p"]
    # It is away for longer than its lease. Another one takes over, from what the journal says.
    new = Written(tmp_path, term=2)
    new.apply(make_node("a"), make_pod("p", node="a"), make_pod("q"))
    assert [bind.name for bind in new.bound(new.step())] == ["q"]
    with pytest.raises(StaleWriterError, match="term 1 is over"):
        old.step()
    with pytest.raises(WorldError):
        old.step()
    new.close()
    found = replayed(tmp_path)
    assert (found.starts, found.records, found.first) == (2, 2, None)


def test_a_machine_goes_on_from_the_chain_of_the_one_before(tmp_path: Path) -> None:
    for term in (1, 2, 3):
        written = Written(tmp_path, term=term)
        written.apply(make_node("a"), make_pod(f"p{term}"))
        written.step()
        written.close()
    starts = [opened(entry)[1] for _, entry in Reader(tmp_path).read() if entry.leaf[1] == 1]
    assert [start.sequence for start in starts if isinstance(start, Start)] == [0, 1, 2]
    assert [start.term for start in starts if isinstance(start, Start)] == [1, 2, 3]
    assert len({start.head for start in starts if isinstance(start, Start)}) == 3
    found = replayed(tmp_path)
    assert (found.starts, found.records, found.first) == (3, 3, None)


def test_a_journal_is_not_written_over(tmp_path: Path) -> None:
    Written(tmp_path).close()
    with pytest.raises(ConfigError, match="there is a journal"), written(tmp_path):
        pass


@pytest.mark.slow
def test_a_simulated_day_is_replayed_to_the_same_records(tmp_path: Path) -> None:
    summary = simulated(tmp_path)
    found = replayed(tmp_path)
    assert found.first is None
    assert found.records == summary.runs[0].decisions > 300
    assert (found.starts, found.tail, found.lost) == (1, 0, [])


@pytest.mark.slow
def test_the_journal_changes_no_decision(tmp_path: Path) -> None:
    alone = run_simulation(
        scenario=str(SMALL),
        policy="default",
        seed=5,
        runs=1,
        data=None,
        list_name=None,
        load=None,
        progress=None,
    )
    assert simulated(tmp_path).runs[0].decisions_digest == alone.runs[0].decisions_digest


def test_the_first_record_that_differs_is_named(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_node("b"))
    for number in range(4):
        written.apply(make_pod(f"p{number}"))
        written.bound(written.step(after=1))
    written.close()
    reader = Reader(tmp_path)

    def with_other_ties(start: Start, sinks: Sequence[RecordSink]) -> Machine:
        return machine_of(reader, replace(start, seed=start.seed + 1), sinks)

    found = Replay(with_other_ties).run(reader.read())
    assert found.first is not None
    assert found.first.logged != found.first.replayed
    assert found.first.logged == next(reader.read(found.first.entry))[1].payload
    records = [index for index, entry in reader.read() if entry.leaf[1] == Kind.RECORD]
    assert found.records == records.index(found.first.entry)


def test_a_record_too_few_and_one_too_many_differ(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_pod("p"), make_pod("q"))
    written.step(limit=1)
    written.step(limit=1)
    written.close()
    reader = Reader(tmp_path)
    entries = list(reader.read())
    places = [at for at, (_, entry) in enumerate(entries) if entry.leaf[1] == Kind.RECORD]

    def make(start: Start, sinks: Sequence[RecordSink]) -> Machine:
        return machine_of(reader, start, sinks)

    less = entries[: places[0]] + entries[places[0] + 1 :]
    found = Replay(make).run(less).first
    assert found is not None
    assert (found.logged, bool(found.replayed)) == (b"", True)
    more = entries[: places[0] + 1] + entries[places[0] :]
    found = Replay(make).run(more).first
    assert found is not None
    assert (bool(found.logged), found.replayed) == (True, b"")


def test_a_journal_that_ends_inside_a_step_says_so(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.apply(make_node("a"), make_pod("p"))
    written.step()
    written.close()
    reader = Reader(tmp_path)
    entries = list(reader.read())[:-1]
    found = Replay(lambda start, sinks: machine_of(reader, start, sinks)).run(entries)
    assert (found.first, found.tail) == (None, 1)


def test_another_engine_is_refused_by_name(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.close()
    reader = Reader(tmp_path)
    start = opened(next(reader.read())[1])[1]
    assert isinstance(start, Start)
    engine = replace(start.engine, digest="0" * 96, image="i:1")
    with pytest.raises(ConfigError, match="use the image i:1"):
        machine_of(reader, replace(start, engine=engine), [])


def test_events_that_follow_each_other_are_kept_whole(tmp_path: Path) -> None:
    written = Written(tmp_path)
    event = ObjectApplied(time_ns=3, object=make_pod("p"), unlisted=("newField",))
    written.machine.apply(event)
    written.close()
    assert opened(list(Reader(tmp_path).read())[-1][1]) == (Kind.INPUT, event)
