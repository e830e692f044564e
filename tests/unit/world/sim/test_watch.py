"""What a watch tells when changes come as one: in the end, nobody believes in what is gone."""

from __future__ import annotations

import random

from herz.model.events import ObjectApplied, ObjectDeleted, WorldEvent
from herz.model.meta import ObjectMeta
from herz.model.objects import Pod
from herz.world.sim.engine import Engine
from herz.world.sim.faults import MILLION, Dice, Faults
from herz.world.sim.watch import Watch


class Certain(Dice):
    """Faults that strike whenever they may, of those that are on."""

    def __init__(self, *on: str) -> None:
        super().__init__(Faults(**dict.fromkeys(on, MILLION)), random.Random(0))
        self.on = set(on)

    def strikes(self, name: str) -> bool:
        return name in self.on


class Told:
    """A watch of pods of one name, and what it told."""

    def __init__(self, *faults: str) -> None:
        self.dice, self.engine = Certain(*faults), Engine()
        self.events: list[WorldEvent] = []
        self.watch = Watch(self.engine, self.dice, 1, 1_000, self.events.append)

    def change(self, uid: str, *, is_deleted: bool = False) -> None:
        pod = Pod(metadata=ObjectMeta(name="web", namespace="shop", uid=uid))
        (self.watch.deleted if is_deleted else self.watch.applied)(pod)

    def seen(self) -> list[tuple[str, str]]:
        """(Event, uid) in order, once all is delivered."""
        self.engine.advance(self.engine.now_ns + 10_000)
        return [
            (type(one).__name__, one.object.metadata.uid)
            for one in self.events
            if isinstance(one, ObjectApplied | ObjectDeleted)
        ]


def test_pod_that_was_made_anew_in_a_gap_and_is_gone_too_leaves_nothing_behind() -> None:
    told = Told("recreation_merged", "watch_gap")
    told.dice.on.remove("watch_gap")
    told.change("old")
    assert told.seen() == [("ObjectApplied", "old")]
    told.dice.on.add("watch_gap")
    told.change("old", is_deleted=True)
    told.change("new")
    told.change("new", is_deleted=True)
    assert ("ObjectDeleted", "old") in told.seen()


def test_new_uid_may_stand_for_the_deletion_of_the_old() -> None:
    told = Told("recreation_merged")
    told.change("old", is_deleted=True)
    told.change("new")
    assert told.seen() == [("ObjectApplied", "new")]
