"""What another policy would have decided, given at each step what the journal's machine was given.

A second machine gets the same events and is asked at the same times. It never acts: what the API
answered was an answer to the first machine, whose placements the second one sees as it sees those
of anybody (a pod that the API shows on a node is there). So each of its decisions is about the
cluster as it was, not about one that has drifted away from it since morning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from herz.commit.audit.entry import Content, Start, Step, opened
from herz.commit.audit.replay import INPUTS, Make
from herz.errors import AuditError, ConfigError
from herz.model.effects import Bind, DeletePod, Evict, PatchClaim, PatchVolume
from herz.model.events import Event, ObjectApplied, ObjectDeleted, OrderLimited
from herz.model.journal import Sealed
from herz.model.outcomes import BindFinished, BindOutcome, PatchRefused, RemovalRefused
from herz.model.record import Decided, Record
from herz.ports import Machine

PATCHES_MAX: Final = 4_096
NOT_ASKED: Final = "another policy asks; nobody asked the API"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two decisions about a pod in one step.

    Args:
        time_ns: the step's.
        logged: what the journal says; None: nothing in that step.
        other: what the other policy says; None: nothing in that step.
    """

    time_ns: int
    logged: Record | None
    other: Record | None

    @property
    def pod(self) -> str:
        """The pod as namespace/name."""
        record = self.logged or self.other
        assert record is not None, "one of them said something"
        return f"{record.pod.namespace}/{record.pod.name}"

    @property
    def is_same(self) -> bool:
        """Whether verdict and node are the same; reasons may differ."""
        one, two = self.logged, self.other
        if one is None or two is None:
            return False
        return (one.decided, one.node) == (two.decided, two.node)


class Otherwise:
    """One pass over a journal with another policy.

    Args:
        make: makes the machine of the other policy from a start.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._machine: Machine | None = None
        self._now_ns = 0
        # What both decided in the last step, by uid. Bound: the decisions of one step.
        self._logged: dict[str, Record] = {}
        self._other: dict[str, Record] = {}
        # What the other machine asked for that the journal's asked for, too: the API's answers
        # are for both. What it asked for alone is refused at once. Bound: the pods that wait.
        self._asked: dict[str, Bind] = {}
        self._removals: dict[str, None] = {}
        # What the journal's machine decided: nodes by uid, and victims, until they are gone.
        self._nodes: dict[str, str] = {}
        self._sentenced: dict[str, None] = {}
        self._patches: list[PatchClaim | PatchVolume] = []

    def append(self, record: Record, canonical: bytes, digest: bytes) -> None:
        """Take a record from the other machine (`herz.ports.RecordSink`)."""
        del canonical, digest
        self._other[record.pod.uid] = record

    def run(self, entries: Iterable[tuple[int, Sealed]]) -> Iterator[Pair]:
        """The decisions, pair by pair, in the order of the journal's.

        Raises:
            AuditError: an entry is damaged or erased, or no start stands before it.
        """
        for index, entry in entries:
            try:
                kind, content = opened(entry)
            except AuditError as error:
                raise AuditError(f"entry {index}: {error}") from error
            if isinstance(content, Record):
                self._logged[content.pod.uid] = content
                continue
            yield from self._pairs()
            if isinstance(content, Start):
                self._machine = self._make(content, (self,))
                for known in (self._asked, self._removals, self._nodes, self._sentenced):
                    known.clear()
            elif isinstance(content, Step):
                self._step(index, content)
            elif kind in INPUTS:
                self._apply(index, content)
        yield from self._pairs()

    def _pairs(self) -> Iterator[Pair]:
        """What both decided in the last step; what the other one asked for alone is refused."""
        if not self._logged and not self._other:
            return
        found = [
            Pair(self._now_ns, self._logged.get(uid), self._other.get(uid))
            for uid in dict.fromkeys((*self._logged, *self._other))
        ]
        placed = {uid: one for uid, one in self._logged.items() if one.decided is Decided.PLACE}
        self._nodes.update((uid, one.node) for uid, one in placed.items())
        for one in self._logged.values():
            self._sentenced.update((victim.uid, None) for victim in one.victims)
        decided, self._logged, self._other = self._other, {}, {}
        for uid in decided:
            if uid in self._asked and uid not in placed:
                self._answer(uid, BindOutcome.REFUSED, NOT_ASKED)
        for uid in [uid for uid in self._removals if uid not in self._sentenced]:
            self._refuse(uid, NOT_ASKED)
        yield from found

    def _step(self, index: int, step: Step) -> None:
        self._now_ns = step.now_ns
        for effect in self._running(index).step(step.now_ns, step.limit):
            if isinstance(effect, Bind):
                self._asked[effect.uid] = effect
            elif isinstance(effect, DeletePod | Evict):
                self._removals[effect.uid] = None
            elif isinstance(effect, PatchClaim | PatchVolume):
                # Bound: what is asked at once; who asked longer ago has given up.
                self._patches = [*self._patches[-PATCHES_MAX:], effect]

    def _apply(self, index: int, content: Content) -> None:
        self._running(index)
        match content:
            case BindFinished(uid=uid, outcome=outcome, message=message):
                asked = self._asked.get(uid)
                # Bound elsewhere than the other one wants it, the pod is shown so.
                if asked is not None and (
                    outcome is BindOutcome.REFUSED or asked.node == self._nodes.get(uid)
                ):
                    self._now_ns = max(self._now_ns, content.time_ns)
                    self._answer(uid, outcome, message)
            case RemovalRefused(uid=uid, message=message):
                self._sentenced.pop(uid, None)
                if uid in self._removals:
                    self._now_ns = max(self._now_ns, content.time_ns)
                    self._refuse(uid, message)
            case PatchRefused(effect=effect):
                if effect in self._patches:
                    self._tell(content)
            case ObjectApplied() | ObjectDeleted() | OrderLimited():
                if isinstance(content, ObjectDeleted):
                    uid = content.object.metadata.uid
                    self._removals.pop(uid, None)
                    self._sentenced.pop(uid, None)
                self._now_ns = max(self._now_ns, content.time_ns)
                self._tell(content)
            case _:
                pass

    def _answer(self, uid: str, outcome: BindOutcome, message: str) -> None:
        asked = self._asked[uid]
        if outcome is not BindOutcome.UNKNOWN:
            del self._asked[uid]
            self._nodes.pop(uid, None)
        self._tell(
            BindFinished(
                time_ns=self._now_ns,
                uid=uid,
                decision=asked.decision,
                outcome=outcome,
                message=message,
            )
        )

    def _refuse(self, uid: str, message: str) -> None:
        del self._removals[uid]
        self._tell(RemovalRefused(time_ns=self._now_ns, uid=uid, message=message))

    def _tell(self, event: Event) -> None:
        with suppress(ConfigError):
            self._running(0).apply(event)

    def _running(self, index: int) -> Machine:
        if self._machine is None:
            raise AuditError(f"entry {index}: no machine has begun before it")
        return self._machine
