"""The chain: numbers, links, sinks, and short records for verdicts that repeat."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from herz.commit.audit.chain import NO_RECORD, Chain
from herz.model.record import Decided, Order, PolicyReference, Rejection, Statement, canonical
from tests.support.machine import Kept, World
from tests.support.objects import make_pod

POLICY = PolicyReference("@sha256:0", "test", "1")
ORDER = Order(batch=0, rung=1)
WORLD = World()
POD = WORLD.read(make_pod("p"))
OTHER = WORLD.read(make_pod("q"))
LAST = Kept()
"""A sink of every chain here."""
NO: dict[str, Any] = {"message": "no", "rejections": (Rejection(1, ("a",), "R", "no"),)}


def say(
    chain: Chain, pod: Any = POD, decided: Decided = Decided.UNSCHEDULABLE, **verdict: Any
) -> Any:
    """The record that the chain makes of it."""
    sequence, repeats = chain.append(pod, decided, ORDER, "ab", 5, Statement(**(verdict or NO)))
    chain.seal()
    record = LAST.records[-1]
    assert (record.sequence, record.repeats) == (sequence, repeats)
    return record


def test_each_record_is_numbered_and_names_the_one_before() -> None:
    kept = Kept()
    chain = Chain("engine", [POLICY], [kept, LAST], term=3)
    assert chain.head == NO_RECORD == "0" * 96
    for number in (1, 2, 3):
        before = chain.head
        record = say(chain, message=f"no {number}")
        assert (record.sequence, record.previous, record.term) == (number, before, 3)
        assert (record.engine, record.policy, record.time_ns) == ("engine", POLICY, "5")
        assert kept.digests[-1] == hashlib.sha3_384(canonical(record)).digest()
        assert chain.head == kept.digests[-1].hex()
    assert chain.sequence == 3


def test_every_sink_gets_every_record_in_order() -> None:
    sinks = [Kept(), Kept()]
    chain = Chain("engine", [POLICY], [*sinks, LAST])
    made = [say(chain, message=str(number)) for number in range(4)]
    for sink in sinks:
        assert sink.records == made
        assert sink.lines == [canonical(record) for record in made]


def test_records_are_handed_on_when_they_are_sealed_and_once() -> None:
    kept, other = Kept(), Kept()
    chain, one_by_one = Chain("e", [POLICY], [kept]), Chain("e", [POLICY], [other, LAST])
    for number in range(4):
        chain.append(POD, Decided.WAIT, ORDER, "ab", 5, Statement(message=str(number)))
        say(one_by_one, decided=Decided.WAIT, message=str(number))
    assert (kept.records, chain.head) == ([], NO_RECORD)
    chain.seal()
    chain.seal()
    assert (kept.lines, kept.digests, chain.head) == (other.lines, other.digests, one_by_one.head)


def test_a_sink_that_fails_gets_no_record_twice() -> None:
    class Full(Kept):
        def append(self, record: Any, canonical: bytes, digest: bytes) -> None:
            super().append(record, canonical, digest)
            if len(self.records) == 2:
                raise OSError("no space left")

    full = Full()
    chain = Chain("e", [POLICY], [full])
    for number in range(3):
        chain.append(POD, Decided.WAIT, ORDER, "ab", 5, Statement(message=str(number)))
    with pytest.raises(OSError, match="no space left"):
        chain.seal()
    chain.seal()
    assert [record.sequence for record in full.records] == [1, 2, 3]
    assert full.records[2].previous == full.digests[1].hex()


def test_a_repeated_no_is_short_and_counts() -> None:
    chain = Chain("engine", [POLICY], [LAST])
    assert (say(chain).repeats, say(chain).repeats) == (0, 1)
    third = say(chain)
    assert (third.repeats, third.repeated, third.message, third.rejections) == (1, 3, "", ())


def test_pods_repeat_themselves_not_each_other() -> None:
    chain = Chain("engine", [POLICY], [LAST])
    say(chain)
    assert say(chain, OTHER).repeats == 0
    assert say(chain).repeats == 1
    assert say(chain, OTHER).repeats == 2


def test_another_verdict_kind_or_mark_is_told_in_full() -> None:
    chain = Chain("engine", [POLICY], [LAST])
    say(chain)
    assert say(chain, decided=Decided.WAIT).repeats == 0
    assert say(chain, **NO, marks=("unlisted:x",)).repeats == 0
    assert say(chain).repeats == 0, "only the last verdict is repeated"
    assert say(chain).repeats == 4


def test_a_placement_or_a_pods_end_closes_what_was_told() -> None:
    chain = Chain("engine", [POLICY], [LAST])
    say(chain)
    placed = say(chain, decided=Decided.PLACE, node="a")
    assert placed.repeats == 0
    assert say(chain, decided=Decided.PLACE, node="a").repeats == 0, "placements never repeat"
    assert say(chain).repeats == 0
    chain.forget(POD.uid)
    chain.forget("nobody")
    assert say(chain).repeats == 0
