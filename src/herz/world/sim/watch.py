"""The watch streams: changes of the simulated API, as the machine gets to see them.

A kind's events keep their order (a slow one holds up those behind it); between kinds there is no
order, as in Kubernetes. Here events are duplicated, merged and held up. The stream never invents:
what is delivered last for an object is how the API holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from herz.model.events import ObjectApplied, ObjectDeleted, WorldEvent
from herz.model.objects import Node, Pod
from herz.world.sim.engine import Engine, Rank
from herz.world.sim.faults import Dice


class Change(msgspec.Struct, gc=False):
    """One change on its way; `is_void` when a later one has taken its place."""

    object: object
    key: tuple[str, str]
    is_deletion: bool
    is_void: bool = False
    is_doubled: bool = False
    is_lagging: bool = False
    stands_for_deletion: bool = False


class Watch:
    """Delivers changes after the watch's latency.

    Args:
        engine: virtual time.
        dice: faults.
        latency_ns: from the change to its delivery.
        stall_ns: how long a stall lasts.
        deliver: takes each event, at its time.

    `unlisted` names, by uid, the unknown spec fields that a pod's events carry.
    """

    def __init__(
        self,
        engine: Engine,
        dice: Dice,
        latency_ns: int,
        stall_ns: int,
        deliver: Callable[[WorldEvent], None],
    ) -> None:
        self._engine = engine
        self._dice = dice
        self._latency_ns = latency_ns
        self._stall_ns = stall_ns
        self._deliver = deliver
        self._free_ns: dict[str, int] = {}
        self._stalls = dice.rates.watch_stalled > 0
        self._doubles = dice.rates.watch_duplicated > 0
        self._breaks = dice.rates.watch_gap > 0
        # What a broken watch of a kind has missed, by object; a kind without a gap is not here.
        self._missed: dict[str, dict[tuple[str, str], Change]] = {}
        self._merges = dice.rates.watch_merged > 0 or dice.rates.recreation_merged > 0
        # Bound: one entry for each object with an undelivered change; kept while merging is on.
        self._last: dict[tuple[str, str], Change] = {}
        self.unlisted: dict[str, tuple[str, ...]] = {}

    def applied(self, thing: object) -> None:
        """An object was added or changed."""
        self._send(thing, is_deletion=False)

    def deleted(self, thing: object) -> None:
        """An object is gone."""
        self._send(thing, is_deletion=True)

    def _send(self, thing: object, *, is_deletion: bool) -> None:
        kind = type(thing).__name__
        if self._breaks and self._is_missed(kind, thing, is_deletion=is_deletion):
            return
        self._pass_on(kind, thing, is_deletion=is_deletion)

    def _pass_on(self, kind: str, thing: object, *, is_deletion: bool) -> None:
        if not self._merges:
            # The plain way, which most runs go: nothing to compare, only the order to keep.
            self._schedule(kind, Change(thing, (kind, ""), is_deletion))
            return
        change = Change(thing, (kind, cast(Pod, thing).metadata.key), is_deletion)
        self._merge(change)
        self._last[change.key] = change
        change.is_lagging = self._dice.strikes("watch_merged")
        self._schedule(kind, change)

    def _schedule(self, kind: str, change: Change) -> None:
        due_ns = self._engine.now_ns + self._latency_ns
        if change.is_lagging or (self._stalls and self._dice.strikes("watch_stalled")):
            due_ns += self._stall_ns
        free_ns = self._free_ns.get(kind, 0)
        due_ns = max(due_ns, free_ns)
        self._free_ns[kind] = due_ns
        self._engine.at(due_ns, Rank.WATCH, self._hand_over, change)
        change.is_doubled = self._doubles and self._dice.strikes("watch_duplicated")

    def _is_missed(self, kind: str, thing: object, *, is_deletion: bool) -> bool:
        """Whether a gap swallows the change; a new gap may begin with it."""
        missed = self._missed.get(kind)
        if missed is None:
            if not self._dice.strikes("watch_gap"):
                return False
            missed = self._missed[kind] = {}
            self._engine.at(self._engine.now_ns + self._stall_ns, Rank.API, self._relist, kind)
        # By uid: the list shows that an object of another uid has taken the place of one.
        key = (cast(Pod, thing).metadata.key, _uid(thing))
        missed.pop(key, None)
        missed[key] = Change(thing, key, is_deletion)
        return True

    def _relist(self, kind: str) -> None:
        """The gap is over: tell how each object that changed in it is now."""
        for change in self._missed.pop(kind).values():
            self._pass_on(kind, change.object, is_deletion=change.is_deletion)

    def _merge(self, change: Change) -> None:
        """Void the change before this one where the two come as one.

        A deletion is always delivered, even of what was never seen, as are the first sight of a new
        uid that stands for the old one's deletion, and everything that is not lagging.
        """
        before = self._last.get(change.key)
        if before is None or before.is_void:
            return
        if _uid(before.object) != _uid(change.object):
            # Not where the new one is gone, too: nothing would then tell that the old one is.
            if (
                before.is_deletion
                and not change.is_deletion
                and self._dice.strikes("recreation_merged")
            ):
                before.is_void = change.stands_for_deletion = True
        elif before.is_lagging and not before.is_deletion and not before.stands_for_deletion:
            before.is_void = True

    def _hand_over(self, change: Change) -> None:
        if self._merges:
            if self._last.get(change.key) is change:
                del self._last[change.key]
            if change.is_void:
                return
        now_ns = self._engine.now_ns
        thing = cast("Pod | Node", change.object)
        event: WorldEvent
        if change.is_deletion:
            event = ObjectDeleted(time_ns=now_ns, object=thing)
        else:
            unlisted = self.unlisted.get(_uid(thing), ()) if self.unlisted else ()
            event = ObjectApplied(time_ns=now_ns, object=thing, unlisted=unlisted)
        self._deliver(event)
        if change.is_doubled:
            self._deliver(event)


def _uid(thing: object) -> str:
    return cast(Pod, thing).metadata.uid
